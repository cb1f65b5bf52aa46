"""Routes of ``/_api/document`` and ``/_api/edges``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aqlite.errors import ArangoError
from aqlite.http.request import Reply, Request, failure, ok
from aqlite.storage.api import Document, WriteResult
from aqlite.storage.catalog import Collection
from aqlite.storage.documents import split_handle
from aqlite.storage.transaction import Transaction

OVERWRITE_MODES = ("conflict", "ignore", "replace", "update")


@dataclass(frozen=True)
class WriteOptions:
    """Query parameters of the writing routes."""

    return_new: bool
    return_old: bool
    silent: bool
    keep_null: bool
    merge_objects: bool
    ignore_revs: bool
    overwrite_mode: str
    wait_for_sync: bool
    version_attribute: str | None

    @classmethod
    def of(cls, request: Request) -> WriteOptions:
        """Read and check the parameters. Raises ArangoError 10."""
        mode = request.query.get("overwriteMode") or ("replace" if request.flag("overwrite") else "conflict")
        if mode not in OVERWRITE_MODES:
            raise ArangoError(10, f"invalid overwriteMode: {mode!r}")
        return cls(
            return_new=request.flag("returnNew"),
            return_old=request.flag("returnOld"),
            silent=request.flag("silent"),
            keep_null=request.flag("keepNull", True),
            merge_objects=request.flag("mergeObjects", True),
            ignore_revs=request.flag("ignoreRevs", True),
            overwrite_mode=mode,
            wait_for_sync=request.flag("waitForSync"),
            version_attribute=request.query.get("versionAttribute") or None,
        )


def insert(request: Request) -> Reply:
    """POST /_api/document/{collection}: one document or an array of them."""
    options = WriteOptions.of(request)
    body = request.json

    def write(view: Transaction, collection: Collection, document: Any) -> WriteResult:
        return view.insert(
            collection.name,
            document,
            overwrite_mode=options.overwrite_mode,
            keep_null=options.keep_null,
            merge_objects=options.merge_objects,
            version_attribute=options.version_attribute,
        )

    return _written(request, request.path["collection"], body, options, write, created=True)


def insert_by_parameter(request: Request) -> Reply:
    """POST /_api/document?collection=name."""
    if "collection" not in request.query:
        raise ArangoError(1204)
    request.path["collection"] = request.query["collection"]
    return insert(request)


def update(request: Request) -> Reply:
    """PATCH /_api/document/{collection}/{key}."""
    return _modify_one(request, _updating)


def replace(request: Request) -> Reply:
    """PUT /_api/document/{collection}/{key}."""
    return _modify_one(request, _replacing)


def update_many(request: Request) -> Reply:
    """PATCH /_api/document/{collection}."""
    return _modify_many(request, _updating)


def replace_many(request: Request) -> Reply:
    """PUT /_api/document/{collection}; with ``onlyget`` it reads instead."""
    if request.flag("onlyget"):
        return get_many(request)
    return _modify_many(request, _replacing)


def remove(request: Request) -> Reply:
    """DELETE /_api/document/{collection}/{key}."""
    options = WriteOptions.of(request)
    rev = if_match(request)
    key = request.path["key"]
    if rev is None and not options.ignore_revs and request.body.strip():
        rev = request.object().get("_rev")

    def write(view: Transaction, collection: Collection, _: Any) -> WriteResult:
        return _checked(view, collection, key, rev, lambda: view.remove(collection.name, key, rev=rev))

    return _written(request, request.path["collection"], {}, options, write)


def remove_many(request: Request) -> Reply:
    """DELETE /_api/document/{collection}."""
    options = WriteOptions.of(request)
    _require_array(request.json)

    def write(view: Transaction, collection: Collection, selector: Any) -> WriteResult:
        key, rev = selector_of(collection, selector)
        return view.remove(collection.name, key, rev=None if options.ignore_revs else rev)

    return _written(request, request.path["collection"], request.json, options, write)


def get(request: Request) -> Reply:
    """GET and HEAD /_api/document/{collection}/{key}."""
    name, key = request.path["collection"], request.path["key"]
    with request.reading() as view:
        document = view.get(name, key)
    if document is None:
        raise ArangoError(1202)
    etag = {"etag": f'"{document["_rev"]}"'}
    wanted = if_match(request)
    if wanted is not None and wanted != document["_rev"]:
        return precondition_failed(document, "conflict")
    unwanted = request.headers.get("if-none-match", "").strip().strip('"')
    if unwanted == document["_rev"]:
        return Reply(None, 304, etag)
    return Reply(document, 200, etag)


def get_many(request: Request) -> Reply:
    """PUT /_api/document/{collection}?onlyget=true: keys or documents in, documents or errors out, in their order."""
    name = request.path["collection"]
    _require_array(request.json)
    ignore_revs = request.flag("ignoreRevs", True)
    results: list[Any] = []
    with request.reading() as view:
        collection = view.find(name)
        for selector in request.json:
            try:
                key, rev = selector_of(collection, selector)
                document = view.get(collection.name, key)
                if document is None:
                    raise ArangoError(1202)
                if not ignore_revs and rev is not None and rev != document["_rev"]:
                    raise ArangoError(1200)
                results.append(document)
            except ArangoError as error:
                results.append(_error_entry(error))
    return Reply(results, 200, _error_codes(results))


def edges(request: Request) -> Reply:
    """GET /_api/edges/{collection}?vertex=...&direction=in|out|any."""
    name = request.path["collection"]
    vertex, direction = request.query.get("vertex"), _direction(request)
    directions = {"in": "inbound", "out": "outbound", "any": "any"}
    if vertex is None:
        raise ArangoError(1205, "illegal document handle")
    split_handle(vertex)
    if direction not in directions:
        raise ArangoError(400, "<direction> must by any, in, or out")
    with request.reading() as view:
        if not view.find(name).is_edge:
            raise ArangoError(1218)
        found = list(view.edges(name, vertex, directions[direction]))
    stats = {"scannedIndex": len(found), "filtered": 0}
    return ok({"edges": found, "stats": stats})


def _direction(request: Request) -> str:
    given = request.query.get("direction", "any")
    return "any" if given == "undefined" else given  # what the JavaScript driver sends for none


def selector_of(collection: Collection, selector: Any) -> tuple[str, str | None]:
    """Key and revision that an entry of an array request names. Raises ArangoError 1205, 1221, 1227."""
    if type(selector) is str:
        if "/" not in selector:
            return selector, None
        selector = {"_id": selector}
    if type(selector) is not dict:
        raise ArangoError(1227)
    rev = selector.get("_rev")
    if type(selector.get("_key")) is str:
        return selector["_key"], rev
    if "_id" in selector:
        name, key = split_handle(selector["_id"])
        if name != collection.name:
            raise ArangoError(1213)
        return key, rev
    raise ArangoError(1221)


Writer = Callable[[Transaction, Collection, Any], WriteResult]
Modifier = Callable[[Transaction, Collection, str, Document, "WriteOptions", "str | None"], WriteResult]


def _updating(
    view: Transaction, collection: Collection, key: str, patch: Document, options: WriteOptions, rev: str | None
) -> WriteResult:
    return view.update(
        collection.name,
        key,
        patch,
        rev=rev,
        keep_null=options.keep_null,
        merge_objects=options.merge_objects,
        version_attribute=options.version_attribute,
    )


def _replacing(
    view: Transaction, collection: Collection, key: str, document: Document, options: WriteOptions, rev: str | None
) -> WriteResult:
    return view.replace(collection.name, key, document, rev=rev, version_attribute=options.version_attribute)


def _modify_one(request: Request, modify: Modifier) -> Reply:
    options = WriteOptions.of(request)
    key, body = request.path["key"], request.json
    if type(body) is not dict:
        raise ArangoError(1227)
    rev = if_match(request)
    if rev is None and not options.ignore_revs:
        rev = body.get("_rev")

    def write(view: Transaction, collection: Collection, document: Document) -> WriteResult:
        return _checked(view, collection, key, rev, lambda: modify(view, collection, key, document, options, rev))

    return _written(request, request.path["collection"], body, options, write, created=True)


def _modify_many(request: Request, modify: Modifier) -> Reply:
    options = WriteOptions.of(request)
    _require_array(request.json)

    def write(view: Transaction, collection: Collection, document: Any) -> WriteResult:
        if type(document) is not dict:
            raise ArangoError(1227)
        key, rev = selector_of(collection, document)
        return modify(view, collection, key, document, options, None if options.ignore_revs else rev)

    return _written(request, request.path["collection"], request.json, options, write, created=True)


class _PreconditionFailed(Exception):  # noqa: N818 (not an error of the server)
    """A revision given by the client is not the stored one; rolls the transaction back."""

    def __init__(self, document: Document) -> None:
        self.document = document
        super().__init__()


def _checked(
    view: Transaction, collection: Collection, key: str, rev: str | None, write: Callable[[], WriteResult]
) -> WriteResult:
    if rev is not None:
        document = view.get(collection.name, key)
        if document is not None and document["_rev"] != rev:
            raise _PreconditionFailed(document)
    return write()


def _written(
    request: Request, name: str, body: Any, options: WriteOptions, write: Writer, *, created: bool = False
) -> Reply:
    """Run ``write`` for the document or for each of the array, in one transaction, and report as ArangoDB does."""
    try:
        with request.writing() as view:
            collection = view.find_writable(name)
            if type(body) is list:
                results = [_attempt(view, collection, document, options, write) for document in body]
            else:
                result = write(view, collection, body)
    except _PreconditionFailed as failed:
        return precondition_failed(failed.document, "conflict, _rev values do not match")
    synced = options.wait_for_sync or collection.properties.get("waitForSync", False)
    status = (201 if created else 200) if synced else 202
    if type(body) is list:
        if options.silent:
            failures = [entry for entry in results if "error" in entry]
            return Reply(failures, status, _error_codes(failures))
        return Reply(results, status, _error_codes(results))
    document = result.new or result.old
    etag = {"etag": f'"{document["_rev"]}"'} if document else {}
    return Reply({} if options.silent else write_entry(result, options), status, etag)


def _attempt(
    view: Transaction, collection: Collection, document: Any, options: WriteOptions, write: Writer
) -> dict[str, Any]:
    try:
        return write_entry(write(view, collection, document), options)
    except ArangoError as error:
        return _error_entry(error)


def write_entry(result: WriteResult, options: WriteOptions) -> dict[str, Any]:
    """What the server tells about one written document."""
    document = result.new or result.old
    entry: dict[str, Any] = {"_id": document["_id"], "_key": document["_key"], "_rev": document["_rev"]}
    if result.old is not None and result.new is not None:
        entry["_oldRev"] = result.old["_rev"]
    left_alone = result.ignored and result.new is None
    if options.return_old and result.old is not None and not left_alone:
        entry["old"] = result.old
    if options.return_new and result.new is not None:
        entry["new"] = result.new
    return entry


def _error_entry(error: ArangoError) -> dict[str, Any]:
    return {"error": True, "errorNum": error.error_num, "errorMessage": error.message}


def _error_codes(results: list[Any]) -> dict[str, str]:
    counted = Counter(entry["errorNum"] for entry in results if "errorNum" in entry and entry.get("error") is True)
    if not counted:
        return {}
    return {"x-arango-error-codes": ",".join(f"{number}:{count}" for number, count in counted.items())}


def precondition_failed(document: Document, message: str) -> Reply:
    """The answer when ``If-Match`` names another revision than the stored one."""
    reply = failure(ArangoError(1200, message, http=412))
    reply.body |= {name: document[name] for name in ("_id", "_key", "_rev")}
    reply.headers["etag"] = f'"{document["_rev"]}"'
    return reply


def if_match(request: Request) -> str | None:
    """Revision of the ``If-Match`` header."""
    value = request.headers.get("if-match", "").strip().strip('"')
    return value if value and value != "*" else None


def _require_array(body: Any) -> None:
    if type(body) is not list:
        raise ArangoError(400, "expecting a JSON array as the request body")
