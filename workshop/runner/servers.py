"""Which servers of the local stack a set of notebooks needs."""

from __future__ import annotations

from collections.abc import Iterable

from workshop import stack
from workshop.runner.index import Entry
from workshop.settings import Settings

SERVICE_OF_NEED = {"triton": "triton", "arangodb": "aqlite"}


def needed_services(entries: Iterable[Entry], settings: Settings) -> list[str]:
    """Names of the local services that the notebooks need, for ``stack.running``.

    Servers that the settings place elsewhere are not among them: they are expected to run there.
    """
    needs = set().union(*(entry.needs for entry in entries))
    wanted = {service for need, service in SERVICE_OF_NEED.items() if need in needs}
    return [service for service in stack.local_services(settings) if service in wanted]
