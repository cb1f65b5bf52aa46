"""Databases, collections and indexes as they are at one catalog version."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from aqlite.errors import ArangoError
from aqlite.storage.api import CollectionInfo, CollectionKind, IndexInfo
from aqlite.storage.indexes import kind_of
from aqlite.storage.tables import CollectionSql

PRIMARY_INDEX = IndexInfo(id="0", name="primary", type="primary", fields=(("_key",),), unique=True)
EDGE_INDEX = IndexInfo(id="1", name="edge", type="edge", fields=(("_from",), ("_to",)))


@dataclass(frozen=True)
class Collection:
    """One collection with everything the storage needs to read and write it.

    ``written_name`` is the name inside stored ``_id`` values; it differs from ``name`` after a rename.
    """

    id: int
    database: str
    name: str
    kind: CollectionKind
    written_name: str
    properties: dict[str, Any] = field(default_factory=dict)
    indexes: tuple[IndexInfo, ...] = ()

    @property
    def is_edge(self) -> bool:
        """Whether documents carry ``_from`` and ``_to``."""
        return self.kind == "edge"

    @cached_property
    def is_renamed(self) -> bool:
        """Whether stored ``_id`` values carry another name than the collection's."""
        return self.written_name != self.name

    def cache_key(self, rev: int) -> int | tuple[int, str]:
        """Where the document cache has a revision; snapshots from before and after a rename see other ``_id``s."""
        return (rev, self.name) if self.is_renamed else rev

    @cached_property
    def info(self) -> CollectionInfo:
        """What the query engine sees."""
        return CollectionInfo(self.name, str(self.id), self.kind, self.indexes)

    @cached_property
    def maintained(self) -> tuple[IndexInfo, ...]:
        """Indexes that keep something of their own for each document."""
        return tuple(index for index in self.indexes if kind_of(index).maintained)

    @cached_property
    def sql(self) -> CollectionSql:
        """Statements on the collection's table."""
        return CollectionSql(f"d_{self.id}", self.is_edge)


@dataclass(frozen=True)
class Catalog:
    """All databases and collections at one catalog version."""

    version: int
    databases: dict[str, int]
    collections: dict[str, dict[str, Collection]]

    def collection(self, database: str, name: str) -> Collection:
        """A collection by name or by its id as text. Raises ArangoError 1203."""
        collections = self.collections[database]
        found = collections.get(name)
        if found is None and name.isdigit():
            found = next((c for c in collections.values() if c.id == int(name)), None)
        if found is None:
            raise ArangoError(1203, f"collection or view not found: {name}")
        return found

    def all_collections(self) -> Iterator[Collection]:
        """The collections of every database."""
        for collections in self.collections.values():
            yield from collections.values()

    def require_database(self, name: str) -> None:
        """Raises ArangoError 1228 when there is no such database."""
        if name not in self.databases:
            raise ArangoError(1228)


def catalog_version(connection: sqlite3.Connection) -> int:
    """The catalog's version in the connection's snapshot."""
    return connection.execute("SELECT value FROM meta WHERE name = 'catalog'").fetchone()[0]


def load_catalog(connection: sqlite3.Connection) -> Catalog:
    """Read the whole catalog in the connection's snapshot."""
    databases = {name: id_ for id_, name in connection.execute("SELECT id, name FROM databases")}
    indexes: dict[int, list[IndexInfo]] = {}
    for id_, collection, definition in connection.execute("SELECT id, collection, definition FROM indexes ORDER BY id"):
        indexes.setdefault(collection, []).append(index_from_json(str(id_), definition))
    collections: dict[str, dict[str, Collection]] = {name: {} for name in databases}
    rows = connection.execute("SELECT id, database, name, kind, written_name, properties FROM collections ORDER BY id")
    for id_, database, name, kind, written_name, properties in rows:
        fixed = (PRIMARY_INDEX, EDGE_INDEX) if kind == "edge" else (PRIMARY_INDEX,)
        collections[database][name] = Collection(
            id_, database, name, kind, written_name, orjson.loads(properties), (*fixed, *indexes.get(id_, ()))
        )
    return Catalog(catalog_version(connection), databases, collections)


def index_to_json(index: IndexInfo) -> str:
    """Stored text of an index definition."""
    return orjson.dumps(
        {
            "name": index.name,
            "type": index.type,
            "fields": index.fields,
            "unique": index.unique,
            "sparse": index.sparse,
            "params": index.params,
            "options": index.options,
        }
    ).decode()


def index_from_json(id_: str, text: str) -> IndexInfo:
    """Read back ``index_to_json``."""
    stored = orjson.loads(text)
    stored["fields"] = tuple(tuple(path) for path in stored["fields"])
    return IndexInfo(id=id_, **stored)
