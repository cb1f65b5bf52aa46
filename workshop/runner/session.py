"""A run: several notebooks in order, what each one showed, and a report for people and for programs."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from workshop.errors import RunnerError
from workshop.files import write_text
from workshop.runner.execute import execute_notebook, kernel_environment
from workshop.runner.html import export_html
from workshop.runner.index import Entry
from workshop.runner.progress import silent_cells
from workshop.runner.record import read_records
from workshop.settings import PROJECT_ROOT, Settings

RUNS_DIR = PROJECT_ROOT / "runs"

Status = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class NotebookResult:
    """What became of one notebook.

    ``problems`` says why it failed or was skipped, and ``cell`` is the one that broke. ``remarks`` name what does not
    make it fail: long cells without progress.
    """

    name: str
    status: Status
    seconds: float = 0.0
    figures: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    cell: int | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """The outcome of a run; ``folder`` holds the executed notebooks, their HTML and ``report.json``."""

    folder: Path
    data_size: str
    results: tuple[NotebookResult, ...]

    @property
    def passed(self) -> bool:
        """Whether every notebook passed."""
        return all(result.status == "passed" for result in self.results)

    def write(self) -> Path:
        """Write ``report.json`` into the run's folder, atomically."""
        content = {
            "data_size": self.data_size,
            "passed": self.passed,
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "notebooks": [asdict(result) for result in self.results],
        }
        target = self.folder / "report.json"
        write_text(target, json.dumps(content, indent=2) + "\n")
        return target


class Watcher(Protocol):
    """Someone who wants to know how a run goes on."""

    def notebook_begins(self, entry: Entry) -> None:
        """A notebook is about to start."""

    def cell_begins(self, begun: int, total: int, line: str) -> None:
        """Cell number ``begun`` of ``total`` starts."""

    def notebook_ends(self, result: NotebookResult) -> None:
        """A notebook passed, failed or was skipped."""


def new_run_folder(runs_dir: Path = RUNS_DIR) -> Path:
    """Make the folder of a new run, named by the time; a second run in the same second gets a suffix."""
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for suffix in ("", *(f"_{n}" for n in range(2, 100))):
        folder = runs_dir / f"{stamp}{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise RunnerError(f"{runs_dir} already holds 99 runs of {stamp}")


def run_notebooks(
    entries: Sequence[Entry],
    *,
    parameters: Mapping[str, Mapping[str, object]],
    settings: Settings,
    watcher: Watcher,
    folder: Path,
) -> Report:
    """Run notebooks in the order given, each in its own kernel, against servers that are already up.

    A notebook that fails does not stop the others, save those that depend on it: they are skipped. A notebook also
    fails when a file that the index declares is not there afterwards, or a figure is missing or out of bounds.

    Args:
        entries: what ``Index.select`` returned.
        parameters: per notebook, as ``assign_parameters`` checked and returned them.
        settings: the kernels see the same.
        watcher: told about progress.
        folder: receives the executed notebooks and the report, which is kept up to date after every notebook.
    """
    results: dict[str, NotebookResult] = {}
    report = Report(folder, settings.data_size, ())
    for entry in entries:
        watcher.notebook_begins(entry)
        waiting_for = [name for name in entry.depends_on if name in results and results[name].status != "passed"]
        if waiting_for:
            reason = f"needs {', '.join(name[:2] for name in waiting_for)}"
            result = NotebookResult(entry.name, "skipped", problems=(reason,))
        else:
            result = run_entry(entry, parameters[entry.name], settings, folder, watcher)
        results[entry.name] = result
        watcher.notebook_ends(result)
        report = Report(folder, settings.data_size, tuple(results.values()))
        report.write()
    return report


def run_entry(
    entry: Entry, parameters: Mapping[str, object], settings: Settings, folder: Path, watcher: Watcher
) -> NotebookResult:
    """Run one notebook and hold what it left against the index."""
    executed = folder / f"{entry.name}.ipynb"
    started = time.monotonic()
    failure = execute_notebook(
        entry.path,
        executed,
        parameters=parameters,
        environment=kernel_environment(settings),
        timeout=entry.timeout,
        on_cell=watcher.cell_begins,
    )
    seconds = time.monotonic() - started
    figures = read_records(executed) if executed.exists() else {}
    problems = [str(failure)] if failure else _unkept_promises(entry, figures, settings, parameters)
    if executed.exists():
        export_html(executed, entry.path.parent)
    status: Status = "failed" if problems else "passed"
    remarks = silent_cells(executed) if executed.exists() else []
    cell = failure.cell if failure else None
    return NotebookResult(entry.name, status, seconds, figures, tuple(problems), cell, tuple(remarks))


def _unkept_promises(
    entry: Entry, figures: dict[str, float], settings: Settings, parameters: Mapping[str, object]
) -> list[str]:
    missing = [f"left no {path}" for path, files in entry.output_files(settings).items() if not files]
    given = {name for name, value in settings.model_dump().items() if value}
    given |= {name.lower() for name, value in parameters.items() if value}
    return missing + entry.figure_problems(figures, settings.data_size, frozenset(given))
