"""The queries that run now."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from aqlite.aql import Statistics
from aqlite.errors import ArangoError
from aqlite.services.metrics import QUERY_SECONDS, Histogram

SHOWN_CHARACTERS = 4096


@dataclass
class RunningQuery:
    """One query while it runs; ``killed`` asks it to stop."""

    id: str
    database: str
    user: str
    text: str
    bind_vars: dict[str, Any]
    writes: bool = False
    statistics: Statistics = field(default_factory=Statistics)
    started: float = field(default_factory=time.time)
    killed: threading.Event = field(default_factory=threading.Event)

    def shown(self) -> dict[str, Any]:
        """As the HTTP interface shows it."""
        started = datetime.fromtimestamp(self.started, tz=timezone.utc)
        return {
            "id": self.id,
            "database": self.database,
            "user": self.user,
            "query": self.text[:SHOWN_CHARACTERS],
            "bindVars": self.bind_vars,
            "started": started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "runTime": time.time() - self.started,
            "state": "killed" if self.killed.is_set() else "executing",
            "stream": False,
            "modificationQuery": self.writes,
            "peakMemoryUsage": self.statistics.peak_memory,
        }


class QueryRegistry:
    """The queries that run now; ``seconds`` counts those that ended by how long they took."""

    def __init__(self) -> None:
        self.seconds = Histogram(QUERY_SECONDS)
        self._running: dict[str, RunningQuery] = {}
        self._last = 0
        self._lock = threading.Lock()

    @contextmanager
    def running(
        self, database: str, user: str, text: str, bind_vars: dict[str, Any], *, writes: bool
    ) -> Iterator[RunningQuery]:
        """Register a query for the length of the block."""
        with self._lock:
            self._last += 1
            query = RunningQuery(str(self._last), database, user, text, bind_vars, writes)
            self._running[query.id] = query
        began = time.perf_counter()
        try:
            yield query
        finally:
            with self._lock:
                del self._running[query.id]
                self.seconds.add(time.perf_counter() - began)

    @property
    def count(self) -> int:
        """How many queries run."""
        return len(self._running)

    def of(self, database: str) -> list[RunningQuery]:
        """The queries of one database."""
        with self._lock:
            return [query for query in self._running.values() if query.database == database]

    def kill(self, database: str, id_: str) -> None:
        """Ask a query to stop. Raises ArangoError 1591."""
        for query in self.of(database):
            if query.id == id_:
                query.killed.set()
                return
        raise ArangoError(1591)

    def kill_all(self) -> None:
        """Ask every query to stop, at shutdown."""
        with self._lock:
            for query in self._running.values():
                query.killed.set()
