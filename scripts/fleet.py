"""A local fleet of Triton servers: ``python scripts/fleet.py up N|status|rollout|publish|proxy|down``.

Exit status: 0 when all is well; ``status`` gives 3 when a server is not ready and 4 when a model is not; 1 on errors.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler

from workshop.errors import SettingsError, WorkshopError, print_error
from workshop.scale import fleet
from workshop.scale.object_store import publish
from workshop.scale.proxy import Backend, nginx_config
from workshop.scale.rollout import Probe, roll_out
from workshop.settings import Settings, load_settings
from workshop.stack import ServiceStatus
from workshop.triton.client import TritonClient

NOT_READY, MODEL_NOT_READY = 3, 4


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = parse_arguments(argv)
    logging.basicConfig(level="WARNING", format="%(message)s", handlers=[RichHandler(show_path=False, show_time=False)])
    try:
        return options.run(load_settings(), options)
    except WorkshopError as error:
        print_error(error)
        return 1


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; ``run`` in the result is the function to call."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="command")

    command = commands.add_parser("up", help="bring the fleet to so many servers, and wait until they are ready")
    command.add_argument("count", type=int, metavar="N")
    command.add_argument(
        "--models", nargs="*", metavar="MODEL", help="models that each loads; default: all complete ones"
    )
    command.add_argument("--timeout", type=float, help="seconds a server may take to become ready")
    command.set_defaults(run=run_up)

    command = commands.add_parser("status", help="how each server and each model is")
    command.add_argument("--json", action="store_true", help="as JSON, for scripts")
    command.set_defaults(run=run_status)

    command = commands.add_parser(
        "rollout",
        help="serve a new version of a model: verified on every server first, taken back from all if one fails",
    )
    command.add_argument("model")
    command.add_argument("version", type=int)
    command.add_argument("--probe", type=Path, required=True, help="known input and answer, of Probe(...).save(FILE)")
    command.set_defaults(run=run_rollout)

    command = commands.add_parser("publish", help="copy models into an object store, from where servers read them")
    command.add_argument("models", nargs="*", metavar="MODEL", help="default: every complete one")
    command.set_defaults(run=run_publish)

    command = commands.add_parser("proxy", help="print the configuration of nginx before the servers of the fleet")
    command.add_argument("--http", default="127.0.0.1:8000", help="address for HTTP (default %(default)s)")
    command.add_argument("--grpc", default="127.0.0.1:8001", help="address for gRPC (default %(default)s)")
    command.add_argument("--folder", default="/tmp", help="where nginx may write (default %(default)s)")
    command.set_defaults(run=run_proxy)

    command = commands.add_parser("down", help="stop the servers")
    command.set_defaults(run=run_down)
    return parser.parse_args(argv)


def run_up(settings: Settings, options: argparse.Namespace) -> int:
    """Start what lacks, stop what is too many, show the fleet."""
    show(fleet.up(settings, options.count, models=options.models, start_timeout=options.timeout))
    print(f"WORKSHOP_TRITON_ENDPOINTS={','.join(server.grpc_url for server in fleet.servers(settings))}")
    return 0


def run_status(settings: Settings, options: argparse.Namespace) -> int:
    """Show every server; the exit status tells scripts."""
    statuses = fleet.status(settings)
    if options.json:
        print(json.dumps([{**asdict(status), "healthy": status.healthy} for status in statuses], indent=2))
    else:
        show(statuses)
    if not statuses or any(status.state != "ready" for status in statuses):
        return NOT_READY
    return 0 if all(status.healthy for status in statuses) else MODEL_NOT_READY


def run_rollout(settings: Settings, options: argparse.Namespace) -> int:
    """Roll a version out over the local fleet, or over the servers of the settings."""
    urls = [server.grpc_url for server in fleet.servers(settings)] or settings.triton_endpoint_urls
    if not urls:
        raise SettingsError(
            "no servers to roll out on", hint="fleet.py up N, or WORKSHOP_TRITON_ENDPOINTS=host:port,..."
        )
    probe = Probe.load(options.probe)
    with ExitStack() as stack:
        clients = [stack.enter_context(TritonClient.from_settings(settings, url=url, protocol="grpc")) for url in urls]
        roll_out(clients, settings.model_repository, options.model, options.version, probe, report=print)
    print(f"{options.model} version {options.version} serves on {len(urls)} servers")
    return 0


def run_publish(settings: Settings, options: argparse.Namespace) -> int:
    """Copy what changed."""
    if not settings.model_repository_url:
        raise SettingsError("no object store is set", hint="WORKSHOP_MODEL_REPOSITORY_URL=s3://bucket/folder")
    done = publish(settings.model_repository, settings.model_repository_url, options.models, report=print)
    print(f"{len(done.written)} files written, {done.unchanged} unchanged")
    return 0


def run_proxy(settings: Settings, options: argparse.Namespace) -> int:
    """Print the configuration."""
    backends = [Backend("127.0.0.1", server.http, server.grpc) for server in fleet.servers(settings)]
    print(nginx_config(backends, http=options.http, grpc=options.grpc, folder=options.folder), end="")
    return 0


def run_down(settings: Settings, options: argparse.Namespace) -> int:
    """Stop all."""
    print(f"stopped {fleet.down(settings)} servers")
    return 0


def show(statuses: Sequence[ServiceStatus]) -> None:
    """One line a server, one a model that is not ready."""
    console = Console(soft_wrap=True, highlight=False)
    if not statuses:
        console.print("no fleet: python scripts/fleet.py up 2")
    for number, status in enumerate(statuses, start=1):
        ports = ", ".join(f"{purpose} {port}" for purpose, port in status.ports.items())
        ready = sum(state == "READY" for state in status.models.values())
        console.print(
            f"{number}: {status.state}, {ready} models ready, {status.memory_mb:.0f} MB, {ports}, log {status.log}"
        )
        for name, state in status.models.items():
            if state != "READY":
                console.print(f"   {name}: {state}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
