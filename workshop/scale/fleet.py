"""A fleet on this machine: real tritonservers over one model repository, each with state, log and ports of its own.

What runs is on record in ``<stack_dir>/fleet/fleet.json``. The servers are started, found and stopped as the local
stack's one is, see :mod:`workshop.stack`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from workshop import stack
from workshop.errors import SettingsError, StackError
from workshop.files import write_text
from workshop.settings import Settings
from workshop.stack import ServiceStatus
from workshop.stack.private import free_ports
from workshop.stack.process import locked

TRITON = "triton"
MOST_SERVERS = 32
_LOCK_TIMEOUT = 150.0


@dataclass(frozen=True)
class Server:
    """One server of the fleet: where its state lies and its ports on 127.0.0.1."""

    folder: str
    http: int
    grpc: int
    metrics: int

    @property
    def grpc_url(self) -> str:
        """``host:port`` for clients."""
        return f"127.0.0.1:{self.grpc}"

    def settings(self, shared: Settings) -> Settings:
        """The fleet's settings as this server takes them: its own folder and ports, the shared repository."""
        own = {
            "stack_dir": Path(self.folder),
            "triton_host": "127.0.0.1",
            "triton_http_port": self.http,
            "triton_grpc_port": self.grpc,
            "triton_metrics_port": self.metrics,
            "sagemaker_port": 0,
        }
        return shared.model_copy(update=own)


def servers(settings: Settings) -> list[Server]:
    """The servers on record, running or not."""
    record = _record(settings)
    if not record.is_file():
        return []
    try:
        return [Server(**entry) for entry in json.loads(record.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise StackError(
            f"{record} is not a record of a fleet: {error}", hint="python scripts/fleet.py down"
        ) from error


def up(
    settings: Settings,
    count: int,
    *,
    models: Sequence[str] | None = None,
    cores: Sequence[Sequence[int]] = (),
    start_timeout: float | None = None,
) -> list[ServiceStatus]:
    """Bring the fleet to ``count`` servers: start those that lack, all at once, and stop those beyond.

    Args:
        settings: the shared model repository, a folder or a URL, control key and ``stack_dir``.
        count: servers, 1 to 32.
        models: names of the models each loads; ``None``: all complete ones of the repository's folder.
        cores: processor cores that each server may use, one entry a server; empty: all.
        start_timeout: seconds a server may take to become ready; ``None``: its own default.

    Returns:
        The status of each.

    Raises:
        SettingsError: another count, or not one entry of ``cores`` for each server.
        StackError: a server could not be started. Those that ran before keep running, what was started now is stopped.
    """
    if not 1 <= count <= MOST_SERVERS:
        raise SettingsError(f"a fleet has 1 to {MOST_SERVERS} servers, asked for {count}")
    if cores and len(cores) != count:
        raise SettingsError(f"{count} servers need {count} sets of cores, got {len(cores)}")
    with locked(_folder(settings), _LOCK_TIMEOUT):
        before = servers(settings)
        _stop(settings, before[count:])
        fleet = before[:count] + _new(settings, before, count)
        _write(settings, fleet)

        def start(number: int) -> ServiceStatus:
            with _on_cores(cores[number] if cores else ()):
                own = fleet[number].settings(settings)
                (status,) = stack.up(own, [TRITON], models=models, start_timeout=start_timeout)
                return status

        try:
            with ThreadPoolExecutor(count) as starters:
                return list(starters.map(start, range(count)))
        except BaseException:
            _stop(settings, fleet[len(before) :])
            _write(settings, fleet[: len(before)])
            raise


def status(settings: Settings) -> list[ServiceStatus]:
    """How each server on record is."""
    return [one for server in servers(settings) for one in stack.status(server.settings(settings), [TRITON])]


def down(settings: Settings) -> int:
    """Stop every server and forget the fleet; returns how many ran. A damaged record is made good by the folders."""
    with locked(_folder(settings), _LOCK_TIMEOUT):
        folders = sorted(path for path in _folder(settings).iterdir() if path.is_dir())
        found = [Server(str(folder), 1, 2, 3) for folder in folders]  # only the folder matters for a stop
        stopped = _stop(settings, found)
        _record(settings).unlink(missing_ok=True)
        for folder in folders:
            shutil.rmtree(folder)
        return stopped


@contextmanager
def running(settings: Settings, count: int, **options: object) -> Iterator[list[Server]]:
    """A fleet for the time of a ``with`` block; ``options`` as for :func:`up`."""
    try:
        up(settings, count, **options)
        yield servers(settings)
    finally:
        down(settings)


def _folder(settings: Settings) -> Path:
    return settings.stack_dir.resolve() / "fleet"


def _record(settings: Settings) -> Path:
    return _folder(settings) / "fleet.json"


def _write(settings: Settings, fleet: Sequence[Server]) -> None:
    write_text(_record(settings), json.dumps([asdict(server) for server in fleet], indent=2) + "\n")


def _new(settings: Settings, before: Sequence[Server], count: int) -> list[Server]:
    numbers = range(len(before) + 1, count + 1)
    ports = iter(free_ports(3 * len(numbers)) if numbers else [])
    return [Server(str(_folder(settings) / f"server-{n}"), next(ports), next(ports), next(ports)) for n in numbers]


def _stop(settings: Settings, fleet: Sequence[Server]) -> int:
    with ThreadPoolExecutor(MOST_SERVERS) as stoppers:
        return sum(map(bool, stoppers.map(lambda server: stack.down(server.settings(settings), [TRITON]), fleet)))


@contextmanager
def _on_cores(cores: Sequence[int]) -> Iterator[None]:
    """What this thread starts within the block runs on these cores."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, cores)
        yield
    except OSError as error:
        raise SettingsError(f"cores {list(cores)} cannot be used: {error}; this process may use {before}") from error
    finally:
        os.sched_setaffinity(0, before)
