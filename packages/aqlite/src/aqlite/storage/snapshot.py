"""The view of a reading transaction: a snapshot of one database on one SQLite connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import orjson

from aqlite.errors import ArangoError
from aqlite.storage import graphs
from aqlite.storage.api import (
    UNBOUNDED,
    CollectionInfo,
    Direction,
    Document,
    GraphInfo,
    IndexInfo,
    VectorColumn,
)
from aqlite.storage.catalog import Catalog, Collection
from aqlite.storage.indexes import VECTOR, kind_of
from aqlite.storage.indexes.base import Bounds, Row
from aqlite.storage.indexes.vector import is_trained
from aqlite.storage.indexes.vector_lists import ListChanges
from aqlite.storage.shared import Shared

_CHUNK = 512
Permits = Callable[[str, bool], bool]
"""Whether the view's user may read a collection of that name, or write it (second argument true)."""


def everything(name: str, write: bool) -> bool:
    """The permission of a view that the server itself uses."""
    return True


class Snapshot:
    """A consistent snapshot of one database; implements the reading half of ``api.StoreView``.

    One thread at a time may use a view.
    """

    writable = False

    def __init__(self, shared: Shared, connection: sqlite3.Connection, catalog: Catalog, database: str) -> None:
        catalog.require_database(database)
        self.database = database
        self.catalog = catalog
        self.shared = shared
        self.connection = connection
        self.permits: Permits = everything
        self._cursors: set[sqlite3.Cursor] = set()

    def close(self) -> None:
        """Stop unfinished reads; the owner of the connection ends the SQLite transaction."""
        for cursor in self._cursors:
            cursor.close()
        self._cursors.clear()

    # --- catalog ----------------------------------------------------------------------------------------------
    def find(self, name: str) -> Collection:
        """A collection with its storage details. Raises ArangoError 1203, and 11 when its user may not read it."""
        collection = self.catalog.collection(self.database, name)
        self.require(collection, write=False)
        return collection

    def require(self, collection: Collection, *, write: bool) -> None:
        """Raises ArangoError 11 unless the view's user may read the collection, or write it."""
        if not self.permits(collection.name, write):
            raise ArangoError(11, f"insufficient rights to access collection '{collection.name}'")

    def collection(self, name: str) -> CollectionInfo:
        """See ``StoreView``."""
        return self.find(name).info

    def has_collection(self, name: str) -> bool:
        """See ``StoreView``."""
        return name in self.catalog.collections[self.database]

    def collection_names(self) -> list[str]:
        """See ``StoreView``."""
        return [collection.name for collection in self.collections()]

    def collections(self) -> list[Collection]:
        """All collections that the view's user may read, sorted by name."""
        found = self.catalog.collections[self.database]
        return [found[name] for name in sorted(found) if self.permits(name, False)]

    def count(self, name: str) -> int:
        """See ``StoreView``."""
        return self._statistic(self.find(name), "documents")

    def revision(self, collection: Collection) -> int:
        """Revision of the last change of a collection, 0 before the first."""
        return self._statistic(collection, "revision")

    def committed_version(self, collection: Collection) -> int:
        """Number of the collection's committed state that the view started from; each commit adds one."""
        return self._statistic(collection, "version")

    def data_version(self, collection: Collection) -> int | None:
        """Number of the collection's state; ``None`` while it has changes that are not committed."""
        return self.committed_version(collection)

    def own_changes(self, collection: Collection) -> set[int] | None:
        """Ids of all rows that the view itself changed, perhaps some more; ``None`` when they are too many."""
        return set()

    def _statistic(self, collection: Collection, column: str) -> int:
        row = self.connection.execute(
            f"SELECT {column} FROM statistics WHERE collection = ?", (collection.id,)
        ).fetchone()
        return row[0]

    def graph(self, name: str) -> GraphInfo:
        """See ``StoreView``."""
        return graphs.read_graph(self, name)

    # --- reading ----------------------------------------------------------------------------------------------
    def get(self, name: str, key: str) -> Document | None:
        """See ``StoreView``."""
        return self.document_by_key(self.find(name), key)

    def scan(self, name: str) -> Iterator[Document]:
        """See ``StoreView``."""
        collection = self.find(name)
        return self.documents(collection, self.rows(collection.sql.scan))

    def edges(self, name: str, vertex_id: str, direction: Direction) -> Iterator[Document]:
        """See ``StoreView``."""
        collection = self.find(name)
        if not collection.is_edge:
            raise ArangoError(1237, f"collection type mismatch: '{name}' is not an edge collection")
        rows = self.connection.execute(collection.sql.edges[direction], (vertex_id,)).fetchall()
        return iter(self.hydrate(collection, rows))

    def index_lookup(
        self,
        name: str,
        index: IndexInfo,
        equal: Sequence[Any],
        lower: Any = UNBOUNDED,
        lower_inclusive: bool = True,
        upper: Any = UNBOUNDED,
        upper_inclusive: bool = True,
        reverse: bool = False,
        attribute: str = "",
    ) -> Iterable[Document]:
        """See ``StoreView``."""
        bounds = Bounds(equal, lower, lower_inclusive, upper, upper_inclusive, reverse, attribute)
        return kind_of(index).lookup(self, self.find(name), index, bounds)

    def vector_column(self, name: str, path: tuple[str, ...], dimension: int) -> VectorColumn | None:
        """See ``StoreView``."""
        return self.shared.columns.column(self, self.find(name), tuple(path), dimension)

    def documents_of(self, name: str, rows: Sequence[Row]) -> list[Document]:
        """See ``StoreView``."""
        return self.hydrate(self.find(name), rows)

    def vector_search(
        self,
        name: str,
        index: IndexInfo,
        query: Sequence[float],
        k: int,
        n_probe: int | None,
        accept: Callable[[Document], bool] | None,
    ) -> list[tuple[Document, float]]:
        """See ``StoreView``."""
        return VECTOR.search(self, self.find(name), index, query, k, n_probe, accept)

    # --- for the storage itself -------------------------------------------------------------------------------
    def all_rows(self, collection: Collection) -> list[Row]:
        """Row id and revision of every document in scan order."""
        return self.connection.execute(collection.sql.scan).fetchall()

    def rows_among(self, collection: Collection, rids: list[int]) -> list[Row]:
        """Row id and revision of those rows that exist, in scan order."""
        return self.connection.execute(collection.sql.among, (orjson.dumps(rids).decode(),)).fetchall()

    def centroids(self, index: IndexInfo) -> np.ndarray | None:
        """Centroids of a vector index, float32 [nLists, d]; ``None`` before training."""
        if not is_trained(self, index):
            return None
        held = self.shared.centroids.get(index.id)
        if held is None:
            held = self.shared.centroids[index.id] = self._stored_centroids(index)
        return held

    def _stored_centroids(self, index: IndexInfo) -> np.ndarray:
        ((stored,),) = self.connection.execute("SELECT trained FROM indexes WHERE id = ?", (int(index.id),)).fetchall()
        return np.frombuffer(stored, dtype=np.float32).reshape(index.params["nLists"], index.params["dimension"])

    def list_changes(self, index: IndexInfo) -> ListChanges:
        """What the snapshot's own transaction changed in the lists of a vector index."""
        return ListChanges()

    def bodies(self, collection: Collection) -> Iterator[tuple[int, Document]]:
        """Row id and attributes of every document in scan order, past the cache; ``_id`` may have an old name."""
        cursor = self.connection.execute(collection.sql.all_bodies)
        try:
            while rows := cursor.fetchmany(_CHUNK):
                for rid, body in rows:
                    yield rid, orjson.loads(body)
        finally:
            cursor.close()

    def documents_by_rid(self, collection: Collection, rids: list[int]) -> list[Document]:
        """Documents of row ids that exist, in their order."""
        revisions = dict(self.rows_among(collection, rids))
        return self.hydrate(collection, [(rid, revisions[rid]) for rid in rids])

    def document_by_key(self, collection: Collection, key: str) -> Document | None:
        """One document by ``_key``; ``None`` when there is none."""
        try:
            row = self.connection.execute(collection.sql.by_key, (key,)).fetchone()
        except UnicodeEncodeError:  # half a surrogate pair is in no key
            return None
        return None if row is None else self._document(collection, row)

    def body_bytes(self, collection: Collection) -> int:
        """Total size of the documents' JSON texts."""
        return self.connection.execute(collection.sql.size).fetchone()[0]

    def hydrate(self, collection: Collection, rows: Sequence[Row]) -> list[Document]:
        """Documents of rows ``(row id, revision)``, in their order; rows that are gone are left out.

        In a writing view a row may have changed since it was listed: then the document is its newer state.
        """
        cached = self.shared.documents.get
        if collection.is_renamed:
            documents = [cached(collection.cache_key(rev)) for _, rev in rows]
        else:
            documents = [cached(rev) for _, rev in rows]
        missing = [position for position, document in enumerate(documents) if document is None]
        if not missing:
            return documents
        if len(missing) <= 4:
            for position in missing:
                documents[position] = self._load(collection, rows[position][0])
        else:
            positions = {rows[position][0]: position for position in missing}
            wanted = orjson.dumps(list(positions)).decode()
            for rid, rev, body in self.connection.execute(collection.sql.bodies, (wanted,)):
                documents[positions[rid]] = self._decode(collection, rev, body)
        return [document for document in documents if document is not None]

    def _document(self, collection: Collection, row: Row) -> Document | None:
        return self.shared.documents.get(collection.cache_key(row[1])) or self._load(collection, row[0])

    def _load(self, collection: Collection, rid: int) -> Document | None:
        found = self.connection.execute(collection.sql.body, (rid,)).fetchone()
        return None if found is None else self._decode(collection, *found)

    def _decode(self, collection: Collection, rev: int, body: bytes) -> Document:
        document = orjson.loads(body)
        if collection.is_renamed:
            document["_id"] = f"{collection.name}/{document['_key']}"
        self.shared.documents.put(collection.cache_key(rev), document, len(body))
        return document

    def documents(self, collection: Collection, rows: Iterable[Row]) -> Iterator[Document]:
        """Documents of rows, in their order, read in chunks."""
        rows, size = iter(rows), 32
        while chunk := list(islice(rows, size)):
            yield from self.hydrate(collection, chunk)
            size = _CHUNK

    def rows(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        """Rows of a statement, read step by step."""
        cursor = self.connection.execute(sql, values)
        self._cursors.add(cursor)
        try:
            while chunk := cursor.fetchmany(_CHUNK):
                yield from chunk
        finally:
            self._cursors.discard(cursor)
            cursor.close()
