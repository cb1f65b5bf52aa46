"""Routes of ``/_api/collection``."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from aqlite.errors import ArangoError
from aqlite.http.request import Reply, Request, ok
from aqlite.storage import ddl
from aqlite.storage.catalog import Collection
from aqlite.storage.graphs import graphs_using, rename_in_graphs
from aqlite.storage.keygen import GENERATORS
from aqlite.storage.revisions import revision_text
from aqlite.storage.snapshot import Snapshot

_LOADED = 3
_KINDS = {2: "document", 3: "edge", "document": "document", "edge": "edge"}
_UNSUPPORTED = ("schema", "computedValues")


def listing(request: Request) -> Reply:
    """GET /_api/collection."""
    without_system = request.flag("excludeSystem")
    with request.reading() as view:
        found = [c for c in view.collections() if not (without_system and c.name.startswith("_"))]
    return ok({"result": [summary(collection) for collection in found]})


def create(request: Request) -> Reply:
    """POST /_api/collection."""
    given = request.object()
    wanted = given.get("type", 2)
    kind = _KINDS.get(wanted) if isinstance(wanted, (int, str)) else None
    if kind is None:
        raise ArangoError(1218)
    for name in _UNSUPPORTED:
        if given.get(name):
            raise ArangoError(501, f"'{name}' is not supported by aqlite")
    properties = {
        "waitForSync": bool(given.get("waitForSync", False)),
        "isSystem": bool(given.get("isSystem", False)),
        "cacheEnabled": bool(given.get("cacheEnabled", False)),
        "keyOptions": key_options(given.get("keyOptions")),
    }
    with request.defining() as view:
        collection = ddl.create_collection(view, given.get("name"), kind, properties)
    return ok({**summary(collection), **details(collection)})


def key_options(given: Any) -> dict[str, Any]:
    """Checked key options. Raises ArangoError 1232."""
    if given is None:
        given = {}
    if type(given) is not dict or given.get("type", "traditional") not in GENERATORS:
        raise ArangoError(1232)
    options: dict[str, Any] = {
        "type": given.get("type", "traditional"),
        "allowUserKeys": bool(given.get("allowUserKeys", True)),
    }
    if options["type"] == "autoincrement":
        for name, default, lowest in (("increment", 1, 1), ("offset", 0, 0)):
            value = given.get(name, default)
            if type(value) is not int or not lowest <= value < 2**53:
                raise ArangoError(1232, f"invalid key generator: {name} must be an integer of at least {lowest}")
            options[name] = value
    return options


def summary(collection: Collection) -> dict[str, Any]:
    """What every collection route shows."""
    return {
        "id": str(collection.id),
        "name": collection.name,
        "status": _LOADED,
        "type": 3 if collection.is_edge else 2,
        "isSystem": collection.name.startswith("_"),
        "globallyUniqueId": f"h{collection.id:x}/{collection.id}",
    }


def details(collection: Collection) -> dict[str, Any]:
    """Properties of a collection."""
    properties = collection.properties
    return {
        "waitForSync": properties.get("waitForSync", False),
        "cacheEnabled": properties.get("cacheEnabled", False),
        "keyOptions": properties.get("keyOptions", {"type": "traditional", "allowUserKeys": True}),
        "statusString": "loaded",
        "writeConcern": 1,
        "replicationFactor": 1,
        "numberOfShards": 1,
        "shardKeys": ["_key"],
        "syncByRevision": True,
        "usesRevisionsAsDocumentIds": True,
        "internalValidatorType": 0,
        "isDisjoint": False,
        "isSmart": False,
        "isSmartChild": False,
        "minReplicationFactor": 1,
        "schema": None,
        "computedValues": None,
        "tempObjectId": "0",
        "objectId": str(collection.id),
    }


def get(request: Request) -> Reply:
    """GET /_api/collection/{name}."""
    with _viewed(request) as (_, collection):
        return ok(summary(collection))


def properties(request: Request) -> Reply:
    """GET /_api/collection/{name}/properties."""
    with _viewed(request) as (_, collection):
        return ok({**summary(collection), **details(collection)})


def change_properties(request: Request) -> Reply:
    """PUT /_api/collection/{name}/properties."""
    given = request.object()
    for name in _UNSUPPORTED:
        if given.get(name):
            raise ArangoError(501, f"'{name}' is not supported by aqlite")
    changes = {name: bool(given[name]) for name in ("waitForSync", "cacheEnabled") if name in given}
    with request.defining() as view:
        collection = ddl.change_properties(view, request.path["name"], changes)
        return ok({**summary(collection), **details(collection)})


def count(request: Request) -> Reply:
    """GET /_api/collection/{name}/count."""
    with _viewed(request) as (view, collection):
        return ok({**summary(collection), **details(collection), "count": view.count(collection.name)})


def figures(request: Request) -> Reply:
    """GET /_api/collection/{name}/figures."""
    with _viewed(request) as (view, collection):
        documents_size = view.body_bytes(collection)
        return ok(
            {
                **summary(collection),
                **details(collection),
                "count": view.count(collection.name),
                "figures": {
                    "indexes": {"count": len(collection.indexes), "size": 0},
                    "documentsSize": documents_size,
                    "cacheInUse": False,
                    "cacheSize": 0,
                    "cacheUsage": 0,
                },
            }
        )


def revision(request: Request) -> Reply:
    """GET /_api/collection/{name}/revision."""
    with _viewed(request) as (view, collection):
        return ok({**summary(collection), "revision": _revision(view, collection)})


def checksum(request: Request) -> Reply:
    """GET /_api/collection/{name}/checksum: CRC-32 of keys, on request also of revisions and of all attributes."""
    with_revisions, with_data = request.flag("withRevisions"), request.flag("withData")
    with _viewed(request) as (view, collection):
        total = 0
        for document in view.scan(collection.name):
            if with_data:
                shown = {k: v for k, v in document.items() if with_revisions or k != "_rev"}
            else:
                shown = {"_key": document["_key"], **({"_rev": document["_rev"]} if with_revisions else {})}
            total ^= zlib.crc32(orjson.dumps(shown, option=orjson.OPT_SORT_KEYS))
        return ok({**summary(collection), "checksum": str(total), "revision": _revision(view, collection)})


def shards(request: Request) -> Reply:
    """GET /_api/collection/{name}/shards and PUT .../responsibleShard."""
    raise ArangoError(501, "only available in a cluster; aqlite is a single server")


def load(request: Request) -> Reply:
    """PUT /_api/collection/{name}/load and /unload: nothing to do."""
    with _viewed(request) as (view, collection):
        return ok({**summary(collection), "count": view.count(collection.name)})


def load_indexes(request: Request) -> Reply:
    """PUT /_api/collection/{name}/loadIndexesIntoMemory and /compact: nothing to do."""
    with _viewed(request) as (_, collection):
        return ok({**summary(collection), "result": True})


def recalculate_count(request: Request) -> Reply:
    """PUT /_api/collection/{name}/recalculateCount."""
    with _viewed(request) as (view, collection):
        return ok({"result": True, "count": view.count(collection.name)})


def truncate(request: Request) -> Reply:
    """PUT /_api/collection/{name}/truncate."""
    with request.writing() as view:
        collection = view.find(request.path["name"])
        view.truncate(collection.name)
        return ok(summary(collection))


def rename(request: Request) -> Reply:
    """PUT /_api/collection/{name}/rename."""
    with request.defining() as view:
        old_name = view.find(request.path["name"]).name
        collection = ddl.rename_collection(view, old_name, request.object().get("name"))
        rename_in_graphs(view, old_name, collection.name)
        return ok(summary(collection))


def drop(request: Request) -> Reply:
    """DELETE /_api/collection/{name}."""
    name = request.path["name"]
    with request.defining() as view:
        collection = view.find_writable(name)
        if collection.name.startswith("_") and not request.flag("isSystem"):
            raise ArangoError(11)
        users = graphs_using(view, collection.name)
        if users:
            raise ArangoError(1942, f"must not drop collection while part of graph: {', '.join(users)}")
        dropped = ddl.drop_collection(view, name)
    return ok({"id": str(dropped.id)})


def _revision(view: Snapshot, collection: Collection) -> str:
    revision_number = view.revision(collection)
    return revision_text(revision_number) if revision_number else "0"


@contextmanager
def _viewed(request: Request) -> Iterator[tuple[Snapshot, Collection]]:
    """The view and the collection named in the path, for a user who may read it."""
    with request.reading() as view:
        yield view, view.find(request.path["name"])
