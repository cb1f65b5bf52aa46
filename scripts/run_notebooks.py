#!/usr/bin/env python3
"""Run the notebooks of the index, with the local stack up for as long as they need it.

Exit status: 0 all passed, 1 some did not, 2 the request cannot be carried out, 130 interrupted.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from rich.console import Console

from workshop import stack
from workshop.errors import WorkshopError
from workshop.runner.execute import check_kernel
from workshop.runner.extras import check_extras
from workshop.runner.index import INDEX_PATH, Entry, load_index
from workshop.runner.parameters import assign_parameters, given_settings, parse_assignments
from workshop.runner.servers import needed_services
from workshop.runner.session import RUNS_DIR, Report, new_run_folder, run_notebooks
from workshop.runner.terminal import TerminalWatcher, print_report
from workshop.settings import DataSize, Settings, load_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, run, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "notebooks", nargs="*", metavar="NOTEBOOK", help="number or name, or core; none: all of the index"
    )
    parser.add_argument("--data-size", choices=get_args(DataSize), help="default: WORKSHOP_DATA_SIZE, else 'default'")
    parser.add_argument("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", help="may be repeated")
    parser.add_argument("--index", type=Path, default=INDEX_PATH, help="default: notebooks/index.toml")
    parser.add_argument("--runs-dir", type=Path, default=RUNS_DIR, help="default: runs")
    parser.add_argument("--no-stack", action="store_true", help="start no servers, they are up already")
    options = parser.parse_args(arguments)

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # the runner reports failures itself
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: stop kernel and stack on the way out
    console = Console(width=None if sys.stdout.isatty() else 140)
    try:
        given = parse_assignments(options.parameter)
        entries = load_index(options.index).select(options.notebooks)
        parameters = assign_parameters(entries, given)
        sized = {"data_size": options.data_size} if options.data_size else {}
        settings = load_settings(**sized | given_settings(given))
        check_kernel()
        check_extras(entries)
        services = [] if options.no_stack else needed_services(entries, settings)
        if services:
            console.print(f"Servers: {', '.join(services)}")
        with stack.running(settings, services):
            report = run(entries, parameters, settings, console, options.runs_dir)
    except WorkshopError as error:
        console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
        return 2
    except KeyboardInterrupt:
        console.print("Interrupted.", style="yellow")
        return 130
    print_report(report, console)
    return 0 if report.passed else 1


def run(
    entries: Sequence[Entry],
    parameters: Mapping[str, Mapping[str, object]],
    settings: Settings,
    console: Console,
    runs_dir: Path,
) -> Report:
    """Run the notebooks into a new folder, with progress on the console."""
    folder = new_run_folder(runs_dir)
    with TerminalWatcher(console, entries) as watcher:
        return run_notebooks(entries, parameters=parameters, settings=settings, watcher=watcher, folder=folder)


if __name__ == "__main__":
    raise SystemExit(main())
