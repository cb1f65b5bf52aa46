"""What a facilitator waits for: the site of a run that is there, and the two-hour path from a fresh checkout."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from workshop import stack
from workshop.runner.execute import check_kernel
from workshop.runner.index import load_index
from workshop.runner.parameters import assign_parameters
from workshop.runner.servers import needed_services
from workshop.runner.session import new_run_folder, run_notebooks
from workshop.runner.terminal import TerminalWatcher
from workshop.settings import PROJECT_ROOT
from workshop.stack.private import free_ports, private_settings

SITE_SECONDS = 180.0
PATH_SECONDS = 720.0


def measure(ids: set[str]) -> Iterator[dict]:
    """Yield ``docs_build`` and ``two_hour_path``, both in seconds."""
    if "docs_build" in ids:
        yield docs_build()
    if "two_hour_path" in ids:
        yield two_hour_path()


def docs_build() -> dict:
    """Seconds of building the site from the newest run that holds every notebook; it is not looked at in a browser."""
    with tempfile.TemporaryDirectory(prefix="workshop_site_") as site:
        command = [sys.executable, "scripts/build_docs.py", "--site", site]
        started = time.perf_counter()
        finished = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=900)
        seconds = time.perf_counter() - started
        pages = len(list(Path(site).glob("html/**/*.html")))
    if finished.returncode:
        raise RuntimeError((finished.stderr.strip() or finished.stdout.strip()).splitlines()[-1])
    return {
        "id": "docs_build",
        "value": seconds,
        "unit": "s",
        "peer": None,
        "ratio": None,
        "bar": f"<= {SITE_SECONDS:g} s",
        "holds": seconds <= SITE_SECONDS,
        "note": f"{pages} pages from an existing run, library reference and search included",
    }


def two_hour_path() -> dict:
    """Seconds of the two-hour path at the default size, from nothing traced and stored, servers' start included.

    Notebook 05 needs what 02 traces, so 02 is run and counted as well.
    """
    entries = load_index().select(["core"])
    check_kernel()
    with tempfile.TemporaryDirectory(prefix="workshop_path_") as folder:
        repository = _committed_repository(Path(folder))
        settings = private_settings(
            Path(folder) / "stack",
            model_repository=repository,
            sagemaker_port=free_ports(1)[0],
            data_size="default",
        )
        started = time.perf_counter()
        with stack.running(settings, needed_services(entries, settings)):
            report = run_notebooks(
                entries,
                parameters=assign_parameters(entries, {}),
                settings=settings,
                watcher=TerminalWatcher(Console(stderr=True), entries),
                folder=new_run_folder(Path(folder) / "executed"),
            )
        seconds = time.perf_counter() - started
    each = ", ".join(f"{result.name[:2]} {result.seconds:.0f}" for result in report.results)
    silent = [f"{result.name[:2]}: {remark}" for result in report.results for remark in result.remarks]
    failed = [f"{result.name}: {result.problems[0]}" for result in report.results if result.status != "passed"]
    return {
        "id": "two_hour_path",
        "value": seconds,
        "unit": "s",
        "peer": None,
        "ratio": None,
        "bar": f"<= {PATH_SECONDS:g} s, no silent cell",
        "holds": not failed and not silent and seconds <= PATH_SECONDS,
        "note": f"failed: {'; '.join(failed)}" if failed else "; ".join([f"seconds of each notebook: {each}", *silent]),
    }


def _committed_repository(folder: Path) -> Path:
    """The model repository as a checkout has it, without anything traced."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "model_repository"], cwd=PROJECT_ROOT, capture_output=True, check=True
    ).stdout
    export = ["git", "checkout-index", "-z", "--stdin", f"--prefix={folder}/"]
    subprocess.run(export, cwd=PROJECT_ROOT, input=names, check=True)
    return folder / "model_repository"
