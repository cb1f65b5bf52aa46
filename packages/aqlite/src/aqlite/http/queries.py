"""Running queries, and the routes that parse, explain, list and kill them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from aqlite import aql
from aqlite.errors import ArangoError
from aqlite.http.request import READ, Reply, Request, ok
from aqlite.http.users import require_system

MAX_QUERY_CHARACTERS = 256 * 1024
_SHOWN_CHARACTERS = 4096


@dataclass
class RunningQuery:
    """One query while it runs; ``killed`` asks it to stop."""

    id: str
    database: str
    user: str
    text: str
    bind_vars: dict[str, Any]
    started: float = field(default_factory=time.time)
    killed: threading.Event = field(default_factory=threading.Event)

    def shown(self) -> dict[str, Any]:
        """As the HTTP interface shows it."""
        started = datetime.fromtimestamp(self.started, tz=timezone.utc)
        return {
            "id": self.id,
            "database": self.database,
            "user": self.user,
            "query": self.text[:_SHOWN_CHARACTERS],
            "bindVars": self.bind_vars,
            "started": started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "runTime": time.time() - self.started,
            "state": "killed" if self.killed.is_set() else "executing",
            "stream": False,
            "modificationQuery": False,
        }


class QueryRegistry:
    """The queries that run now."""

    def __init__(self) -> None:
        self._running: dict[str, RunningQuery] = {}
        self._last = 0
        self._lock = threading.Lock()

    @contextmanager
    def running(self, request: Request, text: str, bind_vars: dict[str, Any]) -> Iterator[RunningQuery]:
        """Register a query for the length of the block."""
        with self._lock:
            self._last += 1
            query = RunningQuery(str(self._last), request.database, request.user, text, bind_vars)
            self._running[query.id] = query
        try:
            yield query
        finally:
            with self._lock:
                del self._running[query.id]

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


def query_text(given: dict[str, Any]) -> str:
    """The query of a request body. Raises ArangoError 1502, 10, and 1524 when it is too long."""
    text = given.get("query")
    if text is None or text == "":
        raise ArangoError(1502)
    if type(text) is not str:
        raise ArangoError(10, "expecting a string for <query>")
    if len(text) > MAX_QUERY_CHARACTERS:
        raise ArangoError(
            1524,
            f"query text has {len(text)} characters, at most {MAX_QUERY_CHARACTERS} are taken; use bind parameters",
        )
    return text


def bind_variables(given: dict[str, Any]) -> dict[str, Any]:
    """The bind variables of a request body. Raises ArangoError 10."""
    variables = given.get("bindVars")
    if variables is None:
        return {}
    if type(variables) is not dict:
        raise ArangoError(10, "expecting an object for <bindVars>")
    return variables


# --- routes ---------------------------------------------------------------------------------------------------
def parse(request: Request) -> Reply:
    """POST /_api/query."""
    request.require(READ)
    parsed = aql.parse_query(query_text(request.object()))
    return ok(
        {
            "parsed": True,
            "collections": parsed.collections,
            "bindVars": parsed.bind_vars,
            "ast": parsed.ast,
        }
    )


def explain(request: Request) -> Reply:
    """POST /_api/explain."""
    given = request.object()
    request.require(READ)
    with request.reading() as view:
        options = aql.QueryOptions(user=request.user)
        explained = aql.explain_query(view, query_text(given), bind_variables(given), options)
    options = given.get("options")
    if type(options) is not dict or not options.get("allPlans"):
        return ok(explained)
    plan = explained.pop("plan")
    return ok({**explained, "plans": [plan]})


def current(request: Request) -> Reply:
    """GET /_api/query/current."""
    request.require(READ)
    return Reply([query.shown() for query in request.server.queries.of(request.database)])


def slow(request: Request) -> Reply:
    """GET /_api/query/slow: aqlite keeps no list of slow queries."""
    request.require(READ)
    return Reply([])


def clear_slow(request: Request) -> Reply:
    """DELETE /_api/query/slow."""
    request.require(READ)
    return ok()


def kill(request: Request) -> Reply:
    """DELETE /_api/query/{id}."""
    request.require(READ)
    request.server.queries.kill(request.database, request.path["id"])
    return ok()


def properties(request: Request) -> Reply:
    """GET /_api/query/properties."""
    request.require(READ)
    return ok(
        {
            "enabled": True,
            "trackSlowQueries": False,
            "trackBindVars": True,
            "maxSlowQueries": 0,
            "slowQueryThreshold": 10,
            "maxQueryStringLength": _SHOWN_CHARACTERS,
        }
    )


def server_queries(request: Request) -> Reply:
    """GET /_admin/server/aql-queries."""
    require_system(request)
    return ok({"result": {"queries": []}})
