"""Which servers a set of notebooks needs, and those of them that run on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from workshop import stack
from workshop.runner.index import Entry
from workshop.settings import Settings

SERVICE_OF_NEED = {"triton": "triton", "arangodb": "aqlite"}


@contextmanager
def servers_for(entries: Sequence[Entry], settings: Settings) -> Iterator[list[str]]:
    """Have the local servers that the notebooks need up for the time of a ``with`` block.

    Servers that the settings place elsewhere are expected to run there. Those that were up before stay up afterwards.

    Yields:
        The names of the local services in use.

    Raises:
        StackError: a server does not start.
    """
    needs = set().union(*(entry.needs for entry in entries))
    wanted = {service for need, service in SERVICE_OF_NEED.items() if need in needs}
    services = [service for service in stack.local_services(settings) if service in wanted]
    if not services:
        yield []
        return
    with stack.running(settings, services):
        yield services
