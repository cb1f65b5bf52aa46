"""The view of a writing transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aqlite.errors import ArangoError
from aqlite.storage import vectors
from aqlite.storage.api import Document, IndexInfo, OverwriteMode, WriteResult
from aqlite.storage.catalog import Catalog, Collection
from aqlite.storage.documents import assemble, check_key, merge_patch, require_object, to_json
from aqlite.storage.entries import index_entries, table_name, violation
from aqlite.storage.keygen import next_key, note_key
from aqlite.storage.revisions import revision_text
from aqlite.storage.snapshot import Row, Snapshot

if TYPE_CHECKING:
    from aqlite.storage.store import Store


class Transaction(Snapshot):
    """The view of a writing transaction: sees and makes changes; the store commits or rolls back."""

    writable = True

    def __init__(self, store: Store, connection: sqlite3.Connection, catalog: Catalog, database: str) -> None:
        super().__init__(store, connection, catalog, database)
        self.documents_added: dict[int, int] = {}
        self.revisions: dict[int, int] = {}
        self.changed_rids: dict[int, set[int] | None] = {}
        self.writable_names: frozenset[str] | None = None

    def count(self, name: str) -> int:
        """See ``StoreView``."""
        return super().count(name) + self.documents_added.get(self.find(name).id, 0)

    def revision(self, collection: Collection) -> int:
        """Revision of the last change of a collection."""
        return self.revisions.get(collection.id) or super().revision(collection)

    def data_version(self, collection: Collection) -> int | None:
        """See ``Snapshot``."""
        return None if collection.id in self.revisions else super().data_version(collection)

    def own_changes(self, collection: Collection) -> set[int] | None:
        """See ``Snapshot``."""
        return self.changed_rids.get(collection.id, set())

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
        collection = self.find_writable(name)
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
        self._changed(collection, rev, cursor.lastrowid, added=1)
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
        collection = self.find_writable(name)
        require_object(patch)
        row, old = self._existing(collection, key, rev)
        merged = merge_patch(old, _without_system(patch), keep_null=keep_null, merge_objects=merge_objects)
        return self._store(collection, row, old, merged)

    def replace(self, name: str, key: str, doc: Document, *, rev: str | None = None) -> WriteResult:
        """See ``StoreView``."""
        collection = self.find_writable(name)
        require_object(doc)
        row, old = self._existing(collection, key, rev)
        return self._store(collection, row, old, doc)

    def remove(self, name: str, key: str, *, rev: str | None = None) -> WriteResult:
        """See ``StoreView``."""
        collection = self.find_writable(name)
        row, old = self._existing(collection, key, rev)
        for index in collection.entry_indexes:
            self._delete_entries(index, index_entries(index, old), row[0])
        self.connection.execute(collection.sql.delete, (row[0],))
        self._changed(collection, self.store.clock.next(), row[0], added=-1)
        self.store.cache.discard(collection.cache_key(row[1]))
        return WriteResult(old, None)

    def truncate(self, name: str) -> None:
        """Remove all documents of a collection."""
        collection = self.find_writable(name)
        count = self.count(name)
        self.connection.execute(collection.sql.clear)
        for index in collection.entry_indexes:
            self.connection.execute(f"DELETE FROM {table_name(index)}")
        self._changed(collection, self.store.clock.next(), None, added=-count)

    def write_index_entries(self, collection: Collection, index: IndexInfo) -> None:
        """Fill a new index from the documents. Raises ArangoError 1210 when it is unique and they are not."""
        table = table_name(index)
        for rid, rev in self.all_rows(collection):
            for document in self.hydrate(collection, [(rid, rev)]):
                for entry in index_entries(index, document):
                    if index.unique:
                        self._check_unique(collection, index, entry, rid)
                    self.connection.execute(f"INSERT INTO {table} VALUES (?, ?)", (entry, rid))

    def find_writable(self, name: str) -> Collection:
        """A collection to be changed. Raises ArangoError 1203, 11, and 1652 when the transaction did not declare it."""
        collection = self.catalog.collection(self.database, name)
        self.require(collection, write=True)
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
        changed = [(index, stale, fresh) for index, fresh in entries if (stale := index_entries(index, old)) != fresh]
        for index, stale, _ in changed:
            self._delete_entries(index, stale, row[0])
        self.connection.execute(collection.sql.update, (*self._columns(collection, document, (rev, body)), row[0]))
        self._write_entries([(index, fresh) for index, _, fresh in changed], row[0])
        self._changed(collection, rev, row[0])
        self.store.cache.discard(collection.cache_key(row[1]))
        return WriteResult(old, document)

    def _columns(self, collection: Collection, document: Document, values: tuple) -> tuple:
        return (*values, document["_from"], document["_to"]) if collection.is_edge else values

    def _changed(self, collection: Collection, rev: int, rid: int | None, added: int = 0) -> None:
        """Account for a change of one row, or of all rows when ``rid`` is ``None``."""
        self.documents_added[collection.id] = self.documents_added.get(collection.id, 0) + added
        self.revisions[collection.id] = rev
        rids = self.changed_rids.setdefault(collection.id, set())
        if rids is not None:
            if rid is None or len(rids) >= vectors.MAX_LOGGED_ROWS:
                self.changed_rids[collection.id] = None
            else:
                rids.add(rid)

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
