"""Routes of ``/_api/index``."""

from __future__ import annotations

from typing import Any

from aqlite.errors import ArangoError
from aqlite.http.request import Reply, Request, ok
from aqlite.storage import ddl
from aqlite.storage.api import IndexInfo
from aqlite.storage.catalog import ENTRY_INDEX_TYPES, Collection
from aqlite.storage.documents import COLLECTION_NAME
from aqlite.storage.entries import EXPANSION, field_text, parse_field
from aqlite.storage.snapshot import Snapshot
from aqlite.storage.vectors import METRICS

_ALIASES = {"hash": "persistent", "skiplist": "persistent"}
_UNSUPPORTED = ("fulltext", "geo", "geo1", "geo2", "inverted", "mdi", "mdi-prefixed", "zkd")
_MAX_DIMENSION = 2**16


def listing(request: Request) -> Reply:
    """GET /_api/index?collection=name."""
    name = request.query.get("collection")
    if not name:
        raise ArangoError(1204)
    with request.reading() as view:
        collection = view.find(name)
        stats = request.flag("withStats")
        shown = [described(view, collection, index, stats=stats) for index in collection.indexes]
    return ok({"indexes": shown, "identifiers": {entry["id"]: entry for entry in shown}})


def get(request: Request) -> Reply:
    """GET /_api/index/{collection}/{id}."""
    with request.reading() as view:
        collection = view.find(request.path["collection"])
        index = ddl.find_index(collection, request.path["id"])
        return ok(described(view, collection, index, stats=True))


def create(request: Request) -> Reply:
    """POST /_api/index?collection=name."""
    name = request.query.get("collection")
    if not name:
        raise ArangoError(1204)
    wanted = requested_index(request.object())
    with request.defining() as view:
        index, created = ddl.create_index(view, name, wanted)
        collection = view.find(name)
        shown = described(view, collection, index, stats=True)
    return ok({**shown, "isNewlyCreated": created}, 201 if created else 200)


def drop(request: Request) -> Reply:
    """DELETE /_api/index/{collection}/{id}."""
    name = request.path["collection"]
    with request.defining() as view:
        index = ddl.drop_index(view, name, request.path["id"])
        return ok({"id": f"{view.find(name).name}/{index.id}"})


def requested_index(given: dict[str, Any]) -> IndexInfo:
    """Checked definition of a new index. Raises ArangoError 10, 1208, 1220, 501."""
    kind = given.get("type", "persistent")
    kind = _ALIASES.get(kind, kind) if type(kind) is str else kind
    if kind in _UNSUPPORTED:
        raise ArangoError(501, f"indexes of type '{kind}' are not supported by aqlite")
    if kind not in (*ENTRY_INDEX_TYPES, "vector"):
        raise ArangoError(10, f"invalid index type: {kind!r}")
    name = given.get("name") or ""
    if name and (type(name) is not str or not COLLECTION_NAME.match(name)):
        raise ArangoError(1208)
    fields = given.get("fields")
    if type(fields) is not list or not fields:
        raise ArangoError(10, "fields must be a non-empty array of attribute paths")
    paths = tuple(parse_field(field) for field in fields)
    if len(set(paths)) != len(paths):
        raise ArangoError(10, "duplicate attribute path in index fields")
    options = {name: given[name] for name in ("deduplicate", "estimates", "cacheEnabled") if name in given}
    unique, sparse, params = bool(given.get("unique", False)), bool(given.get("sparse", False)), {}
    if kind != "persistent" and len(paths) != 1:
        raise ArangoError(10, f"an index of type '{kind}' has exactly one field")
    if kind == "ttl":
        options["expireAfter"] = _expire_after(given.get("expireAfter"))
        unique, sparse = False, True
    if kind == "vector":
        params = _vector_params(given.get("params"))
        unique = False
    if kind != "persistent" and any(part.endswith(EXPANSION) for path in paths for part in path):
        raise ArangoError(10, f"an index of type '{kind}' cannot expand an array")
    return IndexInfo("", name, kind, paths, unique, sparse, params, options)


def described(view: Snapshot, collection: Collection, index: IndexInfo, *, stats: bool) -> dict[str, Any]:
    """The index as the HTTP interface shows it."""
    shown: dict[str, Any] = {
        "id": f"{collection.name}/{index.id}",
        "type": index.type,
        "name": index.name,
        "fields": [field_text(path) for path in index.fields],
        "unique": index.unique,
        "sparse": index.sparse,
    }
    if index.type == "persistent":
        shown["deduplicate"] = index.options.get("deduplicate", True)
        shown["estimates"] = index.options.get("estimates", True)
        shown["cacheEnabled"] = index.options.get("cacheEnabled", False)
    if index.type == "ttl":
        shown["expireAfter"] = index.options["expireAfter"]
        shown["estimates"] = False
    if index.type == "vector":
        shown["params"] = index.params
        ready = view.trained_index(index) is not None
        shown["trainingState"] = "ready" if ready else "unusable"
        if not ready:
            shown["errorMessage"] = f"not trained: at least nLists = {index.params['nLists']} documents are needed"
    if index.type in ("primary", "edge", "persistent"):
        estimated = stats and not index.unique
        shown["selectivityEstimate"] = view.selectivity(collection, index) if estimated else 1.0
    return shown


def _expire_after(value: Any) -> float:
    if type(value) not in (int, float) or value < 0:
        raise ArangoError(10, "expireAfter attribute must be a non-negative number")
    return value


def _vector_params(given: Any) -> dict[str, Any]:
    """Checked parameters of a vector index, defaults filled in."""
    if type(given) is not dict:
        raise ArangoError(10, "a vector index needs an object 'params'")
    unknown = set(given) - {"metric", "dimension", "nLists", "defaultNProbe", "trainingIterations", "factory"}
    if unknown:
        raise ArangoError(10, f"unknown attribute in params: {', '.join(sorted(unknown))}")
    if given.get("metric") not in METRICS:
        raise ArangoError(10, f"params.metric must be one of {', '.join(METRICS)}")
    params = {
        "metric": given["metric"],
        "dimension": _whole(given, "dimension", None, _MAX_DIMENSION),
        "nLists": _whole(given, "nLists", None, 2**20),
        "defaultNProbe": _whole(given, "defaultNProbe", 1, 2**20),
        "trainingIterations": _whole(given, "trainingIterations", 25, 10_000),
    }
    factory = given.get("factory")
    if factory is not None:
        if type(factory) is not str or not factory.startswith(f"IVF{params['nLists']}"):
            raise ArangoError(10, f"params.factory must start with IVF{params['nLists']} to fit nLists")
        params["factory"] = factory
    return params


def _whole(given: dict[str, Any], name: str, default: int | None, most: int) -> int:
    value = given.get(name, default)
    if type(value) is not int or not 1 <= value <= most:
        raise ArangoError(10, f"params.{name} must be an integer from 1 to {most}")
    return value
