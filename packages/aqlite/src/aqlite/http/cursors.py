"""Routes of ``/_api/cursor``."""

from __future__ import annotations

import time
from typing import Any

from aqlite.aql import QueryOptions, QueryResult, query_collections, run_query
from aqlite.errors import ArangoError
from aqlite.http.queries import bind_variables, query_text
from aqlite.http.request import Reply, Request, ok
from aqlite.services.cursors import Cursor

DEFAULT_BATCH, DEFAULT_TTL = 1000, 30.0
_WITH_PLAN = 2  # value of the option ``profile``


def create(request: Request) -> Reply:
    """POST /_api/cursor."""
    given = request.object()
    text, variables = query_text(given), bind_variables(given)
    batch_size = _number(given, "batchSize", DEFAULT_BATCH)
    if batch_size < 1:
        raise ArangoError(10, "batchSize must be a positive number")
    ttl = _number(given, "ttl", DEFAULT_TTL)
    options = given.get("options")
    options = {} if options is None else options
    if type(options) is not dict:
        raise ArangoError(10, "expecting an object for <options>")
    result, extra = _run(request, text, variables, given, options)
    counted = given.get("count") is True and not options.get("stream")
    cursor = Cursor(
        id=str(request.server.store.next_tick()),
        database=request.database,
        user=request.user,
        rows=result.rows,
        batch_size=int(batch_size),
        ttl=ttl,
        count=len(result.rows) if counted else None,
        extra=extra,
        allow_retry=bool(options.get("allowRetry")),
        size=result.kept_bytes,
    )
    first = cursor.next_batch()
    if "id" in first:
        request.server.cursors.add(cursor)
    return ok(first, 201)


def fetch(request: Request) -> Reply:
    """POST or PUT /_api/cursor/{id}."""
    cursor = request.server.cursors.find(request.path["id"], request.database, request.user)
    with cursor.held():
        if cursor.position >= len(cursor.rows):
            raise ArangoError(1600)
        cursor.batch += 1
        shown = cursor.next_batch()
        if "id" not in shown:
            request.server.cursors.remove(cursor.id)
        return ok({**shown, "id": cursor.id} if shown["hasMore"] else shown)


def fetch_batch(request: Request) -> Reply:
    """POST /_api/cursor/{id}/{batch}: the next batch, or the last one again."""
    cursor = request.server.cursors.find(request.path["id"], request.database, request.user)
    wanted = request.path["batch"]
    with cursor.held():
        if wanted == str(cursor.batch) and cursor.allow_retry:
            return ok(cursor.last)
        if wanted != str(cursor.batch + 1) or cursor.position >= len(cursor.rows):
            raise ArangoError(1600, "batch not found")
        cursor.batch += 1
        shown = cursor.next_batch()
        if "id" not in shown:
            request.server.cursors.remove(cursor.id)
        return ok(shown)


def delete(request: Request) -> Reply:
    """DELETE /_api/cursor/{id}."""
    cursor = request.server.cursors.find(request.path["id"], request.database, request.user)
    with cursor.held():
        request.server.cursors.remove(cursor.id)
    return ok({"id": cursor.id}, 202)


def _run(
    request: Request, text: str, variables: dict[str, Any], given: dict[str, Any], options: dict[str, Any]
) -> tuple[QueryResult, dict[str, Any]]:
    """Run the query in the right kind of view; returns the result, and what the answer tells beside the rows."""
    started = time.monotonic()
    _, writes = query_collections(text, variables)
    limits = request.server.limits
    with request.server.queries.running(request.database, request.user, text, variables, writes=bool(writes)) as query:
        run_options = QueryOptions(
            full_count=bool(options.get("fullCount")),
            max_runtime=_number(options, "maxRuntime", 0.0) or limits.query_seconds,
            memory_limit=int(_number(given, "memoryLimit", 0)) or limits.query_memory,
            fail_on_warning=bool(options.get("failOnWarning")),
            max_warning_count=int(_number(options, "maxWarningCount", 10)),
            user=request.user,
            killed=query.killed,
            profile=_WITH_PLAN if options.get("profile") == _WITH_PLAN else 0,
            statistics=query.statistics,
        )
        with request.writing() if writes else request.reading() as view:
            parsed = time.monotonic()
            result = run_query(view, text, variables, run_options)
            extra: dict[str, Any] = {"warnings": result.warnings, "stats": result.stats}
            if options.get("profile"):
                extra["profile"] = {"parsing": parsed - started, "executing": time.monotonic() - parsed}
            if result.plan is not None:
                extra["plan"] = result.plan
            return result, extra


def _number(given: dict[str, Any], name: str, default: float) -> float:
    value = given.get(name)
    if value is None:
        return default
    if type(value) not in (int, float) or value < 0:
        raise ArangoError(10, f"expecting a non-negative number for <{name}>")
    return value
