"""A run as people see it: a moving line per cell on a terminal, plain lines in a log, a table at the end."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from workshop.runner.index import Entry
from workshop.runner.session import NotebookResult, Report

COLOURS = {"passed": "green", "failed": "red", "skipped": "yellow"}


class TerminalWatcher:
    """Prints a line when a notebook starts and ends; in between, a terminal shows a bar and the running cell."""

    def __init__(self, console: Console, entries: Sequence[Entry]) -> None:
        self._console = console
        self._order = {entry.name: position for position, entry in enumerate(entries, start=1)}
        self._progress = Progress(
            TextColumn("      {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("cells"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[line]}", style="dim", markup=False, table_column=Column(no_wrap=True)),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> TerminalWatcher:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def notebook_begins(self, entry: Entry) -> None:
        """Print the notebook's place in the run, its name and goal."""
        position = f"[{self._order[entry.name]}/{len(self._order)}]"
        self._console.print(f"{escape(position)} [bold]{entry.name}[/bold]  {escape(entry.title)}")
        self._task = self._progress.add_task(entry.name, total=None, line="")

    def cell_begins(self, begun: int, total: int, line: str) -> None:
        """Move the bar, and show the running cell by its first line."""
        self._progress.update(self._task, completed=begun, total=total, line=line)

    def notebook_ends(self, result: NotebookResult) -> None:
        """Replace the bar by the outcome."""
        self._progress.remove_task(self._task)
        colour = COLOURS[result.status]
        self._console.print(f"      [{colour}]{result.status}[/{colour}] in {result.seconds:.1f} s")
        for problem in result.problems:
            self._console.print(f"      {escape(problem)}", style=colour)
        for remark in result.remarks:
            self._console.print(f"      {escape(remark)}", style="yellow")


def print_report(report: Report, console: Console) -> None:
    """Print the table of notebooks, seconds, figures and results, and where the executed notebooks are."""
    table = Table(title=f"Notebooks, data size {report.data_size}", title_justify="left")
    table.add_column("notebook", no_wrap=True)
    table.add_column("seconds", justify="right")
    table.add_column("figures")
    table.add_column("result")
    for result in report.results:
        colour = COLOURS[result.status]
        why = f" ({result.problems[0]})" if result.status == "skipped" else ""
        table.add_row(
            result.name,
            f"{result.seconds:.1f}",
            "\n".join(f"{name} = {value:.6g}" for name, value in result.figures.items()),
            f"[{colour}]{result.status}[/{colour}]{escape(why)}",
        )
    console.print(table)
    console.print(f"Executed notebooks, HTML and report.json: {report.folder}", soft_wrap=True)
