"""Functions that read the database. Source: the page "Miscellaneous functions in AQL" of ArangoDB 3.12."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aqlite.aql import dates
from aqlite.aql.functions.objects import identifier_parts
from aqlite.aql.functions.registry import Registry, warn
from aqlite.aql.values import Value

if TYPE_CHECKING:
    from aqlite.aql.context import CallContext

FUNCTIONS = Registry()
_REVISION_CHARS = "-_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_MISSING = object()


def _stored(ctx: CallContext, collection: str | None, identifier: Value) -> dict | None:
    """Document of an ``_id`` or, with a collection, of a key; None when there is none, as for other collections."""
    if type(identifier) is not str:
        identifier = identifier.get("_id") if type(identifier) is dict else None
    if type(identifier) is not str:
        return None
    if "/" in identifier:
        parts = identifier_parts(identifier)
        if parts is None or (collection is not None and parts[0] != collection):
            return None
        collection, key = parts
    else:
        key = identifier
    if collection is None or ctx.view is None or not ctx.view.has_collection(collection):
        return None
    return ctx.view.get(collection, key)


@FUNCTIONS.define("DOCUMENT", deterministic=False, collection_args=(0,))
def document(ctx: CallContext, first: Value, second: Value = _MISSING) -> Value:
    """Document by ``(collection, key or _id)`` or by ``_id``; an array of them gives the documents that exist."""
    collection, wanted = (None, first) if second is _MISSING else (first, second)
    if collection is not None and type(collection) is not str:
        return warn(ctx, "DOCUMENT")
    if type(wanted) is list:
        found = (_stored(ctx, collection, identifier) for identifier in wanted)
        return [document for document in found if document is not None]
    return _stored(ctx, collection, wanted)


@FUNCTIONS.define("COLLECTION_COUNT", deterministic=False, collection_args=(0,))
def collection_count(ctx: CallContext, collection: Value) -> int | None:
    """Number of documents of a collection.

    Raises:
        ArangoError: 1203, when there is no such collection.
    """
    if type(collection) is not str or ctx.view is None:
        return warn(ctx, "COLLECTION_COUNT")
    return ctx.view.count(collection)


@FUNCTIONS.define("COLLECTIONS", deterministic=False)
def collections(ctx: CallContext) -> list[dict[str, str]]:
    """Id and name of every collection."""
    if ctx.view is None:
        return []
    return [{"_id": ctx.view.collection(name).id, "name": name} for name in ctx.view.collection_names()]


@FUNCTIONS.define("SHARD_ID", collection_args=(0,))
def shard_id(ctx: CallContext, collection: Value, shard_keys: Value) -> str | None:
    """Shard of a document: on a single server the collection itself."""
    if type(collection) is not str or type(shard_keys) is not dict:
        return warn(ctx, "SHARD_ID")
    return collection


@FUNCTIONS.define("CURRENT_DATABASE", deterministic=False)
def current_database(ctx: CallContext) -> str:
    """Name of the database the query runs in."""
    return ctx.database


@FUNCTIONS.define("CURRENT_USER", deterministic=False)
def current_user(ctx: CallContext) -> str | None:
    """Name of the user who runs the query."""
    return ctx.user


@FUNCTIONS.define("DECODE_REV")
def decode_rev(ctx: CallContext, revision: Value) -> dict[str, Value] | None:
    """Date and counter that are in a revision: 44 bits of milliseconds, 20 bits of counter, six bits a character."""
    if type(revision) is not str or not 0 < len(revision) <= 11 or set(revision) - set(_REVISION_CHARS):
        return warn(ctx, "DECODE_REV")
    number = 0
    for char in revision:
        number = number << 6 | _REVISION_CHARS.index(char)
    moment = dates.from_timestamp(number >> 20)
    if moment is None or number >= 1 << 64:
        return warn(ctx, "DECODE_REV")
    return {"date": dates.iso_text(moment), "count": number & 0xFFFFF}
