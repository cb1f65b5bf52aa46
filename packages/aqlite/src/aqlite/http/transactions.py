"""Routes of ``/_api/transaction``."""

from __future__ import annotations

from typing import Any

from aqlite.errors import ArangoError
from aqlite.http.request import Reply, Request, ok


def begin(request: Request) -> Reply:
    """POST /_api/transaction/begin."""
    given = request.object()
    collections = given.get("collections")
    if type(collections) is not dict:
        raise ArangoError(10, "missing/invalid 'collections'")
    read = _names(collections, "read")
    write = _names(collections, "write") | _names(collections, "exclusive")
    with request.reading() as view:
        for name in read:
            view.find(name)
        for name in write:
            view.require(view.find(name), write=True)
    timeout = given.get("lockTimeout", request.server.limits.lock_seconds)
    if type(timeout) not in (int, float) or timeout < 0:
        raise ArangoError(10, "lockTimeout must be a non-negative number")
    timeout = min(timeout or request.server.limits.lock_seconds, 900)
    started = request.server.transactions.begin(request.database, request.user, write, timeout, request.lock_writer)
    return ok({"result": {"id": started.id, "status": started.status}}, 201)


def status(request: Request) -> Reply:
    """GET /_api/transaction/{id}."""
    id_ = request.path["id"]
    found = request.server.transactions.status(id_, request.database, request.user)
    return ok({"result": {"id": id_, "status": found}})


def commit(request: Request) -> Reply:
    """PUT /_api/transaction/{id}."""
    return _end(request, commit=True)


def abort(request: Request) -> Reply:
    """DELETE /_api/transaction/{id}."""
    return _end(request, commit=False)


def running(request: Request) -> Reply:
    """GET /_api/transaction."""
    found = request.server.transactions.running(request.database, request.user)
    return Reply({"transactions": [{"id": t.id, "state": t.status} for t in found]})


def javascript(request: Request) -> Reply:
    """POST /_api/transaction."""
    raise ArangoError(501, "JavaScript transactions are not supported by aqlite; use a stream transaction")


def _end(request: Request, *, commit: bool) -> Reply:
    id_ = request.path["id"]
    result = request.server.transactions.end(id_, request.database, request.user, commit=commit)
    return ok({"result": {"id": id_, "status": result}})


def _names(collections: dict[str, Any], access: str) -> frozenset[str]:
    names = collections.get(access, [])
    names = [names] if type(names) is str else names
    if type(names) is not list or not all(type(name) is str for name in names):
        raise ArangoError(10, f"invalid 'collections.{access}'")
    return frozenset(names)
