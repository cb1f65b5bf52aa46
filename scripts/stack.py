"""Start, stop and inspect the local stack: ``python scripts/stack.py up|down|status|logs|password``.

Exit status: 0 when all is well; ``status`` gives 3 when a server is not ready and 4 when a model is not; 1 on errors.
"""

from __future__ import annotations

import argparse
import getpass
import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass, replace

from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.table import Table

from workshop import stack
from workshop.errors import WorkshopError, print_error
from workshop.logs import configure_logs
from workshop.settings import Settings, load_settings
from workshop.stack.activity import read
from workshop.stack.process import tail
from workshop.stack.tables import activity
from workshop.store.connection import change_password

NOT_READY, MODEL_NOT_READY = 3, 4


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = parse_arguments(argv)
    logging.basicConfig(level="WARNING", format="%(message)s", handlers=[RichHandler(show_path=False, show_time=False)])
    try:
        settings = load_settings()
        if settings.log_format == "json" or settings.log_requests:
            configure_logs(settings.log_format, requests=settings.log_requests)
        return options.run(settings, options)
    except WorkshopError as error:
        print_error(error)
        return 1


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line; ``run`` in the result is the function to call."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="command")
    services = {"nargs": "*", "metavar": "service", "help": f"one of {', '.join(stack.SERVICES)}; default: all"}

    command = commands.add_parser("up", help="start what does not run yet, and wait until it is ready")
    command.add_argument("services", **services)
    command.add_argument("--timeout", type=float, help="seconds a server may take to become ready")
    command.set_defaults(run=run_up)

    command = commands.add_parser("down", help="stop the servers, and what killed ones left behind")
    command.add_argument("services", **services)
    command.set_defaults(run=run_down)

    command = commands.add_parser("status", help="how each server and each model is")
    command.add_argument("--json", action="store_true", help="as JSON, for scripts")
    command.set_defaults(run=run_status)

    command = commands.add_parser("logs", help="the last lines of the servers' logs")
    command.add_argument("services", **services)
    command.add_argument("--lines", type=int, default=40, help="lines of each log (default 40)")
    command.set_defaults(run=run_logs)

    command = commands.add_parser(
        "password", help="give ArangoDB's user the password of the settings, after it was changed there; data stay"
    )
    command.set_defaults(run=run_password)
    return parser.parse_args(argv)


def run_up(settings: Settings, options: argparse.Namespace) -> int:
    """Start the stack and show how it is; a model that cannot load is shown, and leaves the others serving."""
    show(stack.up(settings, options.services or None, start_timeout=options.timeout))
    return 0


def run_down(settings: Settings, options: argparse.Namespace) -> int:
    """Stop the stack."""
    stopped = stack.down(settings, options.services or None)
    Console().print(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")
    return 0


def run_status(settings: Settings, options: argparse.Namespace) -> int:
    """Show how the stack is, as a table or as JSON."""
    statuses = stack.status(settings)
    ready = {status.name for status in statuses if status.state == "ready"}
    reading = read(settings) if ready else None
    if options.json:
        did = {"triton": reading and reading.models, "aqlite": reading and reading.store}
        entries = [{**asdict(status), "activity": _plain(did[status.name])} for status in statuses]
        sys.stdout.write(json.dumps(entries, indent=2) + "\n")
    else:
        show(statuses)
        if reading:
            silent = {"triton": "triton" not in ready, "store": "aqlite" not in ready}
            problems = {server: text for server, text in reading.problems.items() if not silent[server]}
            Console(soft_wrap=True).print(activity(replace(reading, problems=problems)))
    if any(status.state != "ready" for status in statuses):
        return NOT_READY
    return 0 if all(status.healthy for status in statuses) else MODEL_NOT_READY


def _plain(activity: Mapping[str, object] | None) -> dict[str, object]:
    return {name: asdict(value) if is_dataclass(value) else value for name, value in (activity or {}).items()}


def run_logs(settings: Settings, options: argparse.Namespace) -> int:
    """Show the last lines of the logs."""
    for name in options.services or stack.SERVICES:
        path = stack.log_path(settings, name)
        sys.stdout.write(f"==> {path} <==\n{tail(path, options.lines)}\n")
    return 0


def run_password(settings: Settings, options: argparse.Namespace) -> int:
    """Bring the store's password in line with the settings; a server elsewhere is asked for with its old one."""
    if settings.arango_url:
        change_password(settings, getpass.getpass(f"Password that {settings.arango_url} has now: "))
    else:
        stack.set_password(settings)
    Console().print(f"{settings.effective_arango_url} has the password of the settings")
    return 0


def show(statuses: list[stack.ServiceStatus]) -> None:
    """Print the servers as a table, then the models that are not ready with their reasons."""
    table = Table(box=None, header_style="bold")
    for heading in ("server", "state", "pid", "up", "memory", "ports on 127.0.0.1", "models"):
        table.add_column(heading)
    for status in statuses:
        ready = sum(state == "READY" for state in status.models.values())
        table.add_row(
            status.name,
            f"[{'green' if status.healthy else 'red'}]{status.state}[/]",
            str(status.pid or "-"),
            f"{status.uptime:.0f} s",
            f"{status.memory_mb:.0f} MB",
            ", ".join(f"{purpose} {port}" for purpose, port in status.ports.items()),
            f"{ready} of {len(status.models)} ready" if status.models else "-",
        )
    console = Console(soft_wrap=True)
    console.print(table)
    for status in statuses:
        for model, state in status.models.items():
            if state != "READY":
                console.print(f"[red]{model}[/]: {escape(state)}")


if __name__ == "__main__":
    sys.exit(main())
