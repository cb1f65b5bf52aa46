"""The indexes that come with every collection: the primary one, and the edge index of edge collections."""

from __future__ import annotations

from collections.abc import Iterable

from aqlite.storage.api import Document, IndexInfo
from aqlite.storage.indexes.base import Bounds, ByIdentity, Reader, StoredCollection, selectivity


class PrimaryIndex(ByIdentity):
    """Documents by ``_key`` or ``_id``."""

    type = "primary"
    attributes = ("_key", "_id")
    score = 1000

    def describe(self, reader: Reader, collection: StoredCollection, index: IndexInfo, *, stats: bool) -> Document:
        """See ``IndexKind``."""
        return {**super().describe(reader, collection, index, stats=stats), "selectivityEstimate": 1.0}

    def lookup(
        self, reader: Reader, collection: StoredCollection, index: IndexInfo, bounds: Bounds
    ) -> Iterable[Document]:
        """See ``IndexKind``."""
        key = bounds.equal[0]
        if type(key) is str and bounds.attribute == "_id":
            owner, _, key = key.partition("/")
            if owner != collection.name:
                return ()
        document = reader.document_by_key(collection, key) if type(key) is str else None
        return () if document is None else (document,)


class EdgeIndex(ByIdentity):
    """Edges by ``_from`` or ``_to``."""

    type = "edge"
    attributes = ("_from", "_to")
    score = 400
    connects_vertices = True

    def describe(self, reader: Reader, collection: StoredCollection, index: IndexInfo, *, stats: bool) -> Document:
        """See ``IndexKind``."""
        estimate = selectivity(reader.connection, collection.sql.table, "source") if stats else 1.0
        return {**super().describe(reader, collection, index, stats=stats), "selectivityEstimate": estimate}

    def lookup(
        self, reader: Reader, collection: StoredCollection, index: IndexInfo, bounds: Bounds
    ) -> Iterable[Document]:
        """See ``IndexKind``."""
        vertex = bounds.equal[0]
        if type(vertex) is not str:
            return ()
        direction = "outbound" if bounds.attribute == "_from" else "inbound"
        rows = reader.connection.execute(collection.sql.edges[direction], (vertex,)).fetchall()
        return reader.documents(collection, iter(rows))
