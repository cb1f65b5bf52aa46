"""Rules of documents: keys, handles, system attributes, merging."""

from __future__ import annotations

import math
import re
import unicodedata
from functools import lru_cache
from typing import Any

import orjson

from aqlite.errors import ArangoError
from aqlite.storage.api import Document

KEY_PATTERN = re.compile(r"[A-Za-z0-9_\-:.@()+,=;$!*'%]{1,254}\Z")
_NAME = re.compile(r"[^\x00-\x1f/0-9. ](?:[^\x00-\x1f/]*[^\x00-\x1f/ ])?\Z")
_COLLECTION_NAME_BYTES, _DATABASE_NAME_BYTES = 256, 128
_SYSTEM = frozenset(("_key", "_id", "_rev", "_from", "_to"))


@lru_cache(maxsize=4096)
def is_collection_name(name: Any) -> bool:
    """Whether it may name a collection or an index: ArangoDB's extended naming."""
    return type(name) is str and _NAME.match(name) is not None and _is_short(name, _COLLECTION_NAME_BYTES)


def is_database_name(name: Any) -> bool:
    """Whether it may name a database: ArangoDB's extended naming, without colons and a leading underscore."""
    return (
        type(name) is str
        and _NAME.match(name) is not None
        and ":" not in name
        and not name.startswith("_")
        and _is_short(name, _DATABASE_NAME_BYTES)
    )


def _is_short(name: str, most_bytes: int) -> bool:
    """Whether a name has few enough bytes and is in normal form C, so that it is always written the same."""
    try:
        return len(name.encode()) <= most_bytes and unicodedata.is_normalized("NFC", name)
    except UnicodeEncodeError:
        return False


def check_key(key: Any) -> str:
    """The key itself. Raises ArangoError 1221 unless it is a legal ``_key``."""
    if type(key) is not str or not KEY_PATTERN.match(key):
        raise ArangoError(1221)
    return key


def split_handle(handle: Any) -> tuple[str, str]:
    """Collection and key of a handle ``collection/key``. Raises ArangoError 1205."""
    if type(handle) is str:
        name, slash, key = handle.partition("/")
        if slash and is_collection_name(name) and KEY_PATTERN.match(key):
            return name, key
    raise ArangoError(1205)


def check_vertex(handle: Any) -> str:
    """The handle itself. Raises ArangoError 1233 unless it can be an edge's ``_from`` or ``_to``."""
    try:
        split_handle(handle)
    except ArangoError:
        raise ArangoError(1233) from None
    return handle


def require_object(document: Any) -> Document:
    """The document itself. Raises ArangoError 1227 unless it is an object."""
    if type(document) is not dict:
        raise ArangoError(1227)
    return document


def assemble(collection: str, key: str, rev: str, attributes: Document, *, edge: bool) -> Document:
    """Document as it is stored: system attributes first. Raises ArangoError 1233 for an edge without its ends."""
    document: Document = {"_key": key, "_id": f"{collection}/{key}", "_rev": rev}
    if edge:
        document["_from"] = check_vertex(attributes.get("_from"))
        document["_to"] = check_vertex(attributes.get("_to"))
        hidden = _SYSTEM
    else:
        hidden = _SYSTEM_OF_VERTICES
    for name, value in attributes.items():
        if name not in hidden:
            document[name] = value
    return document


_SYSTEM_OF_VERTICES = frozenset(("_key", "_id", "_rev"))


def merge_patch(old: Document, patch: Document, *, keep_null: bool, merge_objects: bool) -> Document:
    """``old`` with the attributes of ``patch``; objects merge deeply, null removes unless ``keep_null``."""
    merged = dict(old)
    for name, value in patch.items():
        if value is None and not keep_null:
            merged.pop(name, None)
        elif merge_objects and type(value) is dict and type(merged.get(name)) is dict:
            merged[name] = merge_patch(merged[name], value, keep_null=keep_null, merge_objects=True)
        elif type(value) is dict and not keep_null:
            merged[name] = without_nulls(value)
        else:
            merged[name] = value
    return merged


def is_outdated(old: Document, new: Document, version_attribute: str | None) -> bool:
    """Whether both have a version, and the new one is not larger, rounded down: such a write is ignored.

    A version is a number that is not negative, in a top-level attribute.
    """
    if version_attribute is None:
        return False
    before, after = (_version(document.get(version_attribute)) for document in (old, new))
    return before is not None and after is not None and after <= before


def _version(value: Any) -> int | None:
    return math.floor(value) if type(value) in (int, float) and value >= 0 else None


def without_nulls(value: Document) -> Document:
    """The object without its null attributes, nested objects too."""
    return {
        name: without_nulls(item) if type(item) is dict else item for name, item in value.items() if item is not None
    }


def to_json(document: Document) -> bytes:
    """JSON text of a document. Raises ArangoError 600 when it is nested too deep or holds what JSON cannot."""
    try:
        return orjson.dumps(document)
    except TypeError as error:
        raise ArangoError(600, f"invalid JSON object: {error}") from error
