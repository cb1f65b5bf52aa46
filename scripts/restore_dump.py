"""Restore a dump in arangodump's format into the store; a second run changes nothing.

python scripts/restore_dump.py dump/movies
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from workshop.errors import WorkshopError
from workshop.settings import load_settings
from workshop.store.connection import connect
from workshop.store.restore import restore_dump


def main(arguments: list[str] | None = None) -> int:
    """Restore one dump; the exit code is 1 when that failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a folder that holds dump.json")
    parser.add_argument("--database", help="default: the setting WORKSHOP_ARANGO_DATABASE; made when it is missing")
    options = parser.parse_args(arguments)
    settings = load_settings()
    console = Console(soft_wrap=True)
    try:
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task(f"restoring {options.folder.name}")
            report = restore_dump(
                connect(settings, database=options.database),
                options.folder,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    except WorkshopError as error:
        console.print(f"[red]failed[/red]  {error}")
        return 1
    for name, documents in report.documents.items():
        console.print(f"[green]restored[/green] {name}: {documents} documents")
    for graph in report.graphs:
        console.print(f"[green]restored[/green] graph {graph}")
    for skipped in report.skipped:
        console.print(f"[yellow]skipped[/yellow]  {skipped}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
