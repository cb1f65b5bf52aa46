"""Routes of ``/_api/index``."""

from __future__ import annotations

from aqlite.errors import ArangoError
from aqlite.http.request import Reply, Request, ok
from aqlite.storage import ddl
from aqlite.storage.indexes import kind_of, requested_index


def listing(request: Request) -> Reply:
    """GET /_api/index?collection=name."""
    name = request.query.get("collection")
    if not name:
        raise ArangoError(1204)
    with request.reading() as view:
        collection = view.find(name)
        stats = request.flag("withStats")
        shown = [kind_of(index).describe(view, collection, index, stats=stats) for index in collection.indexes]
    return ok({"indexes": shown, "identifiers": {entry["id"]: entry for entry in shown}})


def get(request: Request) -> Reply:
    """GET /_api/index/{collection}/{id}."""
    with request.reading() as view:
        collection = view.find(request.path["collection"])
        index = ddl.find_index(collection, request.path["id"])
        return ok(kind_of(index).describe(view, collection, index, stats=True))


def create(request: Request) -> Reply:
    """POST /_api/index?collection=name."""
    name = request.query.get("collection")
    if not name:
        raise ArangoError(1204)
    wanted = requested_index(request.object())
    with request.defining() as view:
        index, created = ddl.create_index(view, name, wanted)
        collection = view.find(name)
        shown = kind_of(index).describe(view, collection, index, stats=True)
    return ok({**shown, "isNewlyCreated": created}, 201 if created else 200)


def drop(request: Request) -> Reply:
    """DELETE /_api/index/{collection}/{id}."""
    name = request.path["collection"]
    with request.defining() as view:
        index = ddl.drop_index(view, name, request.path["id"])
        return ok({"id": f"{view.find(name).name}/{index.id}"})
