"""Kinds of indexes: one class each, which checks definitions, holds documents and answers conditions."""

from __future__ import annotations

from typing import Any

from aqlite.errors import ArangoError
from aqlite.storage.api import IndexInfo
from aqlite.storage.documents import is_collection_name
from aqlite.storage.fields import parse_field
from aqlite.storage.indexes.base import IndexKind
from aqlite.storage.indexes.entries import PersistentIndex, TtlIndex
from aqlite.storage.indexes.identity import EdgeIndex, PrimaryIndex
from aqlite.storage.indexes.vector import VectorIndex

VECTOR, TTL = VectorIndex(), TtlIndex()
KINDS: dict[str, IndexKind] = {
    kind.type: kind for kind in (PrimaryIndex(), EdgeIndex(), PersistentIndex(), TTL, VECTOR)
}
ALIASES = {"hash": "persistent", "skiplist": "persistent"}
_LEFT_OUT = ("fulltext", "geo", "geo1", "geo2", "inverted", "mdi", "mdi-prefixed", "zkd")


def kind_of(index: IndexInfo) -> IndexKind:
    """The kind of an index."""
    return KINDS[index.type]


def requested_index(given: dict[str, Any]) -> IndexInfo:
    """Checked definition of a new index as the HTTP interface has it. Raises ArangoError 10, 1208, 1220, 501."""
    type_ = given.get("type", "persistent")
    type_ = ALIASES.get(type_, type_) if type(type_) is str else type_
    if type_ in _LEFT_OUT:
        raise ArangoError(501, f"indexes of type '{type_}' are not supported by aqlite")
    kind = KINDS.get(type_) if type(type_) is str else None
    if kind is None or kind.implicit:
        raise ArangoError(10, f"invalid index type: {type_!r}")
    name = given.get("name") or ""
    if name and not (type(name) is str and is_collection_name(name)):
        raise ArangoError(1208)
    fields = given.get("fields")
    if type(fields) is not list or not fields:
        raise ArangoError(10, "fields must be a non-empty array of attribute paths")
    paths = tuple(parse_field(field) for field in fields)
    if len(set(paths)) != len(paths):
        raise ArangoError(10, "duplicate attribute path in index fields")
    return kind.validate(name, paths, given)
