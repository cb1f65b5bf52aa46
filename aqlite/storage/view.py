"""Views of one database on one SQLite connection: ``View`` reads a snapshot, ``WriteView`` writes as well."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from aqlite.errors import ArangoError
from aqlite.storage import graphs, vectors
from aqlite.storage.api import (
    UNBOUNDED,
    CollectionInfo,
    Direction,
    Document,
    GraphInfo,
    IndexInfo,
    OverwriteMode,
    WriteResult,
)
from aqlite.storage.catalog import Catalog, Collection
from aqlite.storage.documents import assemble, check_key, merge_patch, require_object, to_json
from aqlite.storage.entries import EXPANSION, distinct_rows, index_entries, key_range, table_name, violation
from aqlite.storage.keygen import next_key, note_key
from aqlite.storage.revisions import revision_text

if TYPE_CHECKING:
    from aqlite.storage.store import Store

_CHUNK = 512
Row = tuple[int, int]
Authorize = Callable[[str, bool], None]
"""Called with a collection's name and whether it is to be written; raises ArangoError 11 when that is forbidden."""


class View:
    """A consistent snapshot of one database; implements the reading half of ``api.StoreView``.

    One thread at a time may use a view.
    """

    writable = False

    def __init__(self, store: Store, connection: sqlite3.Connection, catalog: Catalog, database: str) -> None:
        catalog.require_database(database)
        self.database = database
        self.catalog = catalog
        self.store = store
        self.connection = connection
        self.authorize: Authorize | None = None
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
        if self.authorize is not None:
            self.authorize(collection.name, False)
        return collection

    def collection(self, name: str) -> CollectionInfo:
        """See ``StoreView``."""
        return self.find(name).info

    def has_collection(self, name: str) -> bool:
        """See ``StoreView``."""
        return name in self.catalog.collections[self.database]

    def collection_names(self) -> list[str]:
        """See ``StoreView``."""
        return sorted(self.catalog.collections[self.database])

    def collections(self) -> list[Collection]:
        """All collections, sorted by name."""
        found = self.catalog.collections[self.database]
        return [found[name] for name in sorted(found)]

    def count(self, name: str) -> int:
        """See ``StoreView``."""
        return self._statistic(self.find(name), "documents")

    def revision(self, collection: Collection) -> int:
        """Revision of the last change of a collection, 0 before the first."""
        return self._statistic(collection, "revision")

    def data_version(self, collection: Collection) -> int | None:
        """Number of the collection's state; ``None`` while it has changes that are not committed."""
        return self._statistic(collection, "version")

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
        collection = self.find(name)
        try:
            row = self.connection.execute(collection.sql.by_key, (key,)).fetchone()
        except UnicodeEncodeError:  # half a surrogate pair is in no key
            return None
        return None if row is None else self._document(collection, row)

    def scan(self, name: str) -> Iterator[Document]:
        """See ``StoreView``."""
        collection = self.find(name)
        return self._documents(collection, self._rows(collection.sql.scan))

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
    ) -> Iterator[Document]:
        """See ``StoreView``."""
        collection = self.find(name)
        start, end = key_range(equal, lower, lower_inclusive, upper, upper_inclusive)
        entries, documents = table_name(index), f"d_{collection.id}"
        order = "DESC" if reverse else "ASC"
        bound, values = ("", (start,)) if end is None else (" AND i.k < ?", (start, end))
        rows = self._rows(
            f"SELECT d.rid, d.rev FROM {entries} i CROSS JOIN {documents} d ON d.rid = i.rid "
            f"WHERE i.k >= ?{bound} ORDER BY i.k {order}, i.rid {order}",
            values,
        )
        if any(part.endswith(EXPANSION) for path in index.fields for part in path):
            rows = distinct_rows(rows)
        return self._documents(collection, rows)

    def vector_matrix(self, name: str, path: tuple[str, ...]) -> tuple[list[str], np.ndarray, np.ndarray] | None:
        """See ``StoreView``."""
        column = self.store.vectors.column(self, self.find(name), tuple(path), None)
        if column is None or not column.complete:
            return None
        return column.keys, column.matrix, column.norms

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
        return self.store.vectors.search(self, self.find(name), index, query, k, n_probe, accept)

    # --- for the storage itself -------------------------------------------------------------------------------
    def column_rows(self, collection: Collection) -> list[tuple[int, int, str]]:
        """Row id, revision and key of every document in scan order."""
        return self.connection.execute(collection.sql.columns).fetchall()

    def trained_index(self, index: IndexInfo) -> bytes | None:
        """The trained part of a vector index; ``None`` before training."""
        return self.connection.execute("SELECT trained FROM indexes WHERE id = ?", (int(index.id),)).fetchone()[0]

    def body_bytes(self, collection: Collection) -> int:
        """Total size of the documents' JSON texts."""
        return self.connection.execute(collection.sql.size).fetchone()[0]

    def hydrate(self, collection: Collection, rows: Sequence[Row]) -> list[Document]:
        """Documents of rows ``(row id, revision)``, in their order; rows that are gone are left out.

        In a writing view a row may have changed since it was listed: then the document is its newer state.
        """
        cached = self.store.cache.get
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
        return self.store.cache.get(collection.cache_key(row[1])) or self._load(collection, row[0])

    def _load(self, collection: Collection, rid: int) -> Document | None:
        found = self.connection.execute(collection.sql.body, (rid,)).fetchone()
        return None if found is None else self._decode(collection, *found)

    def _decode(self, collection: Collection, rev: int, body: bytes) -> Document:
        document = orjson.loads(body)
        if collection.is_renamed:
            document["_id"] = f"{collection.name}/{document['_key']}"
        self.store.cache.put(collection.cache_key(rev), document, len(body))
        return document

    def _documents(self, collection: Collection, rows: Iterator[Row]) -> Iterator[Document]:
        size = 32
        while chunk := list(islice(rows, size)):
            yield from self.hydrate(collection, chunk)
            size = _CHUNK

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        cursor = self.connection.execute(sql, values)
        self._cursors.add(cursor)
        try:
            while chunk := cursor.fetchmany(_CHUNK):
                yield from chunk
        finally:
            self._cursors.discard(cursor)
            cursor.close()


class WriteView(View):
    """The view of a writing transaction: sees and makes changes; the store commits or rolls back."""

    writable = True

    def __init__(self, store: Store, connection: sqlite3.Connection, catalog: Catalog, database: str) -> None:
        super().__init__(store, connection, catalog, database)
        self.documents_added: dict[int, int] = {}
        self.revisions: dict[int, int] = {}
        self.writable_names: frozenset[str] | None = None

    def count(self, name: str) -> int:
        """See ``StoreView``."""
        return super().count(name) + self.documents_added.get(self.find(name).id, 0)

    def revision(self, collection: Collection) -> int:
        """Revision of the last change of a collection."""
        return self.revisions.get(collection.id) or super().revision(collection)

    def data_version(self, collection: Collection) -> int | None:
        """See ``View``."""
        return None if collection.id in self.revisions else super().data_version(collection)

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        # Read to the end first: an iterator must not meet the rows that its consumer writes.
        return iter(self.connection.execute(sql, values).fetchall())

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Undo what the block wrote when it raises; the transaction goes on."""
        added, revisions = dict(self.documents_added), dict(self.revisions)
        self.connection.execute("SAVEPOINT request")
        try:
            yield
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK TO request")
                self.connection.execute("RELEASE request")
            self.documents_added, self.revisions = added, revisions
            raise
        self.connection.execute("RELEASE request")

    # --- writing ----------------------------------------------------------------------------------------------
    def insert(
        self,
        name: str,
        doc: Document,
        *,
        overwrite_mode: OverwriteMode = "conflict",
        keep_null: bool = True,
        merge_objects: bool = True,
    ) -> WriteResult:
        """See ``StoreView``."""
        collection = self._writable(name)
        attributes = require_object(doc)
        key = attributes.get("_key")
        if "_key" not in attributes:
            key = next_key(self, collection)
        else:
            check_key(key)
            if overwrite_mode != "conflict" or collection.entry_indexes or collection.vector_indexes:
                row = self.connection.execute(collection.sql.by_key, (key,)).fetchone()
                if row is not None:
                    return self._overwrite(collection, key, row, attributes, overwrite_mode, keep_null, merge_objects)
            note_key(self, collection, key)
        rev = self.store.clock.next()
        document = assemble(collection.name, key, revision_text(rev), attributes, edge=collection.is_edge)
        entries = self._checked_entries(collection, document, rid=None)
        body = to_json(document)
        try:
            cursor = self.connection.execute(
                collection.sql.insert, self._columns(collection, document, (key, rev, body))
            )
        except sqlite3.IntegrityError:
            raise violation(collection.indexes[0], key) from None
        self._write_entries(entries, cursor.lastrowid)
        self._changed(collection, rev, added=1)
        return WriteResult(None, document)

    def update(
        self,
        name: str,
        key: str,
        patch: Document,
        *,
        rev: str | None = None,
        keep_null: bool = True,
        merge_objects: bool = True,
    ) -> WriteResult:
        """See ``StoreView``."""
        collection = self._writable(name)
        require_object(patch)
        row, old = self._existing(collection, key, rev)
        merged = merge_patch(old, _without_system(patch), keep_null=keep_null, merge_objects=merge_objects)
        return self._store(collection, row, old, merged)

    def replace(self, name: str, key: str, doc: Document, *, rev: str | None = None) -> WriteResult:
        """See ``StoreView``."""
        collection = self._writable(name)
        require_object(doc)
        row, old = self._existing(collection, key, rev)
        return self._store(collection, row, old, doc)

    def remove(self, name: str, key: str, *, rev: str | None = None) -> WriteResult:
        """See ``StoreView``."""
        collection = self._writable(name)
        row, old = self._existing(collection, key, rev)
        for index in collection.entry_indexes:
            self._delete_entries(index, index_entries(index, old), row[0])
        self.connection.execute(collection.sql.delete, (row[0],))
        self._changed(collection, self.store.clock.next(), added=-1)
        self.store.cache.discard(collection.cache_key(row[1]))
        return WriteResult(old, None)

    def truncate(self, name: str) -> None:
        """Remove all documents of a collection."""
        collection = self._writable(name)
        count = self.count(name)
        self.connection.execute(collection.sql.clear)
        for index in collection.entry_indexes:
            self.connection.execute(f"DELETE FROM {table_name(index)}")
        self._changed(collection, self.store.clock.next(), added=-count)

    def write_index_entries(self, collection: Collection, index: IndexInfo) -> None:
        """Fill a new index from the documents. Raises ArangoError 1210 when it is unique and they are not."""
        table = table_name(index)
        for rid, rev, _ in self.column_rows(collection):
            for document in self.hydrate(collection, [(rid, rev)]):
                for entry in index_entries(index, document):
                    if index.unique:
                        self._check_unique(collection, index, entry, rid)
                    self.connection.execute(f"INSERT INTO {table} VALUES (?, ?)", (entry, rid))

    def _writable(self, name: str) -> Collection:
        collection = self.find(name)
        if self.authorize is not None:
            self.authorize(collection.name, True)
        if self.writable_names is not None and collection.name not in self.writable_names:
            raise ArangoError(1652, f"unregistered collection used in transaction: {collection.name} [WRITE access]")
        return collection

    def _existing(self, collection: Collection, key: str, rev: str | None) -> tuple[Row, Document]:
        row = self.connection.execute(collection.sql.by_key, (key,)).fetchone()
        document = None if row is None else self._document(collection, row)
        if row is None or document is None:
            raise ArangoError(1202)
        if rev is not None and rev != document["_rev"]:
            raise ArangoError(1200, "conflict, _rev values do not match")
        return row, document

    def _overwrite(
        self,
        collection: Collection,
        key: str,
        row: Row,
        attributes: Document,
        mode: OverwriteMode,
        keep_null: bool,
        merge_objects: bool,
    ) -> WriteResult:
        if mode == "conflict":
            raise violation(collection.indexes[0], key)
        old = self._document(collection, row)
        if old is None:
            raise ArangoError(1202)
        if mode == "ignore":
            return WriteResult(old, old, ignored=True)
        if mode == "replace":
            return self._store(collection, row, old, attributes)
        patch = _without_system(attributes)
        return self._store(
            collection, row, old, merge_patch(old, patch, keep_null=keep_null, merge_objects=merge_objects)
        )

    def _store(self, collection: Collection, row: Row, old: Document, attributes: Document) -> WriteResult:
        rev = self.store.clock.next()
        document = assemble(collection.name, old["_key"], revision_text(rev), attributes, edge=collection.is_edge)
        entries = self._checked_entries(collection, document, rid=row[0])
        body = to_json(document)
        for index, fresh in entries:
            stale = index_entries(index, old)
            if stale != fresh:
                self._delete_entries(index, stale, row[0])
        self.connection.execute(collection.sql.update, (*self._columns(collection, document, (rev, body)), row[0]))
        self._write_entries([(index, fresh) for index, fresh in entries if index_entries(index, old) != fresh], row[0])
        self._changed(collection, rev)
        self.store.cache.discard(collection.cache_key(row[1]))
        return WriteResult(old, document)

    def _columns(self, collection: Collection, document: Document, values: tuple) -> tuple:
        return (*values, document["_from"], document["_to"]) if collection.is_edge else values

    def _changed(self, collection: Collection, rev: int, added: int = 0) -> None:
        self.documents_added[collection.id] = self.documents_added.get(collection.id, 0) + added
        self.revisions[collection.id] = rev

    # --- index entries ----------------------------------------------------------------------------------------
    def _checked_entries(
        self, collection: Collection, document: Document, rid: int | None
    ) -> list[tuple[IndexInfo, list[bytes]]]:
        """Entries of the document in every index; raises before anything is written when one is refused."""
        for index in collection.vector_indexes:
            vectors.check_vector(index, document)
        checked = []
        for index in collection.entry_indexes:
            entries = index_entries(index, document)
            if index.unique:
                for entry in entries:
                    self._check_unique(collection, index, entry, rid)
            checked.append((index, entries))
        return checked

    def _check_unique(self, collection: Collection, index: IndexInfo, entry: bytes, rid: int | None) -> None:
        found = self.connection.execute(
            f"SELECT d.key, d.rid FROM {table_name(index)} i JOIN d_{collection.id} d ON d.rid = i.rid WHERE i.k = ?",
            (entry,),
        ).fetchone()
        if found is not None and found[1] != rid:
            raise violation(index, found[0])

    def _write_entries(self, entries: Iterable[tuple[IndexInfo, list[bytes]]], rid: int) -> None:
        for index, keys in entries:
            self.connection.executemany(f"INSERT INTO {table_name(index)} VALUES (?, ?)", [(key, rid) for key in keys])

    def _delete_entries(self, index: IndexInfo, keys: list[bytes], rid: int) -> None:
        self.connection.executemany(
            f"DELETE FROM {table_name(index)} WHERE k = ? AND rid = ?", [(key, rid) for key in keys]
        )


def _without_system(patch: Document) -> Document:
    return {name: value for name, value in patch.items() if name not in ("_key", "_id", "_rev")}
