"""The view of a writing transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from aqlite.errors import ArangoError
from aqlite.storage import columns
from aqlite.storage.api import Document, IndexInfo, OverwriteMode, WriteResult
from aqlite.storage.catalog import Catalog, Collection
from aqlite.storage.documents import assemble, check_key, is_outdated, merge_patch, require_object, to_json
from aqlite.storage.indexes import kind_of
from aqlite.storage.indexes.base import Row, violation
from aqlite.storage.indexes.vector_lists import ListChanges, ListTables
from aqlite.storage.keygen import next_key, note_key
from aqlite.storage.revisions import revision_text
from aqlite.storage.shared import Shared
from aqlite.storage.snapshot import Snapshot


class Transaction(Snapshot):
    """The view of a writing transaction: sees and makes changes; the store commits or rolls back."""

    writable = True

    def __init__(self, shared: Shared, connection: sqlite3.Connection, catalog: Catalog, database: str) -> None:
        super().__init__(shared, connection, catalog, database)
        self.documents_added: dict[int, int] = {}
        self.revisions: dict[int, int] = {}
        self.changed_rids: dict[int, set[int] | None] = {}
        self.writable_names: frozenset[str] | None = None
        self.changed_lists: dict[str, ListChanges] = {}
        self._trained: dict[str, np.ndarray] = {}

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

    def rows(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        """See ``Snapshot``."""
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
            for changes in self.changed_lists.values():
                changes.forget_details()
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
        version_attribute: str | None = None,
    ) -> WriteResult:
        """See ``StoreView``."""
        collection = self.find_writable(name)
        attributes = require_object(doc)
        key = attributes.get("_key")
        if "_key" not in attributes:
            key = next_key(self.connection, self.shared.ticks, collection)
        else:
            check_key(key)
            if overwrite_mode != "conflict" or collection.maintained:
                row = self.connection.execute(collection.sql.by_key, (key,)).fetchone()
                if row is not None:
                    if overwrite_mode == "conflict":
                        raise violation(collection.indexes[0], key)
                    if overwrite_mode == "ignore":
                        return WriteResult(self._document(collection, row), None, ignored=True)
                    if overwrite_mode == "replace":
                        return self.replace(name, key, attributes, version_attribute=version_attribute)
                    return self.update(
                        name,
                        key,
                        attributes,
                        keep_null=keep_null,
                        merge_objects=merge_objects,
                        version_attribute=version_attribute,
                    )
            note_key(self.connection, collection, key)
        rev = self.shared.clock.next()
        document = assemble(collection.name, key, revision_text(rev), attributes, edge=collection.is_edge)
        held = self._checked_keys(collection, document, rid=None)
        body = to_json(document)
        try:
            cursor = self.connection.execute(
                collection.sql.insert, self._columns(collection, document, (key, rev, body))
            )
        except sqlite3.IntegrityError:
            raise violation(collection.indexes[0], key) from None
        for index, keys in held:
            kind_of(index).insert(self, index, keys, cursor.lastrowid)
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
        version_attribute: str | None = None,
    ) -> WriteResult:
        """See ``StoreView``."""
        collection = self.find_writable(name)
        require_object(patch)
        row, old = self._existing(collection, key, rev)
        if is_outdated(old, patch, version_attribute):
            return WriteResult(old, old, ignored=True)
        merged = merge_patch(old, _without_system(patch), keep_null=keep_null, merge_objects=merge_objects)
        return self._store(collection, row, old, merged)

    def replace(
        self, name: str, key: str, doc: Document, *, rev: str | None = None, version_attribute: str | None = None
    ) -> WriteResult:
        """See ``StoreView``."""
        collection = self.find_writable(name)
        require_object(doc)
        row, old = self._existing(collection, key, rev)
        if is_outdated(old, doc, version_attribute):
            return WriteResult(old, old, ignored=True)
        return self._store(collection, row, old, doc)

    def remove(self, name: str, key: str, *, rev: str | None = None) -> WriteResult:
        """See ``StoreView``."""
        collection = self.find_writable(name)
        row, old = self._existing(collection, key, rev)
        for index in collection.maintained:
            kind = kind_of(index)
            kind.delete(self, index, kind.keys(index, old), row[0])
        self.connection.execute(collection.sql.delete, (row[0],))
        self._changed(collection, self.shared.clock.next(), row[0], added=-1)
        self.shared.documents.discard(collection.cache_key(row[1]))
        return WriteResult(old, None)

    def truncate(self, name: str) -> None:
        """Remove all documents of a collection."""
        collection = self.find_writable(name)
        count = self.count(name)
        self.connection.execute(collection.sql.clear)
        for index in collection.maintained:
            kind_of(index).clear(self, index)
        self._changed(collection, self.shared.clock.next(), None, added=-count)

    # --- vector indexes ---------------------------------------------------------------------------------------
    def centroids(self, index: IndexInfo) -> np.ndarray | None:
        """See ``Snapshot``; those of an index that the transaction trained itself are not shared before the commit."""
        own = self._trained.get(index.id)
        return super().centroids(index) if own is None else own

    def set_trained(self, index: IndexInfo, centroids: np.ndarray) -> None:
        """Store the centroids of a vector index, float32 [nLists, d]."""
        stored = np.ascontiguousarray(centroids, dtype=np.float32)
        self.connection.execute("UPDATE indexes SET trained = ? WHERE id = ?", (stored.tobytes(), int(index.id)))
        self._trained[index.id] = stored

    def list_changes(self, index: IndexInfo) -> ListChanges:
        """See ``Snapshot``."""
        return self.changed_lists.setdefault(index.id, ListChanges())

    def note_vector(self, index: IndexInfo, number: int, rid: int, vector: bytes | None) -> None:
        """Take account of a vector that came into a list, or left it with ``None``."""
        held = self.shared.lists.holds(index.id, number)
        self.list_changes(index).note(number, rid, vector, remember=held)

    def settle_lists(self) -> list[tuple[str, int, int | None, int, dict[int, bytes | None] | None]]:
        """Give the changed lists of vector indexes their new version.

        Returns:
            Index id, list, old version (``None`` when it was empty), new version, and the changes when they are known.
        """
        settled = []
        for index in (index for c in self.catalog.all_collections() for index in c.indexes):
            changes = self.changed_lists.get(index.id)
            if changes is not None and changes.lists:
                tables, version = ListTables(index), self.shared.clock.next()
                old = tables.versions(self.connection, list(changes.lists))
                tables.set_versions(self.connection, changes.lists, version)
                settled += [(index.id, n, old.get(n), version, known) for n, known in changes.lists.items()]
        return settled

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

    def _store(self, collection: Collection, row: Row, old: Document, attributes: Document) -> WriteResult:
        rev = self.shared.clock.next()
        document = assemble(collection.name, old["_key"], revision_text(rev), attributes, edge=collection.is_edge)
        held = self._checked_keys(collection, document, rid=row[0])
        body = to_json(document)
        changed = [
            (index, stale, fresh) for index, fresh in held if (stale := kind_of(index).keys(index, old)) != fresh
        ]
        for index, stale, _ in changed:
            kind_of(index).delete(self, index, stale, row[0])
        self.connection.execute(collection.sql.update, (*self._columns(collection, document, (rev, body)), row[0]))
        for index, _, fresh in changed:
            kind_of(index).insert(self, index, fresh, row[0])
        self._changed(collection, rev, row[0])
        self.shared.documents.discard(collection.cache_key(row[1]))
        return WriteResult(old, document)

    def _columns(self, collection: Collection, document: Document, values: tuple) -> tuple:
        return (*values, document["_from"], document["_to"]) if collection.is_edge else values

    def _changed(self, collection: Collection, rev: int, rid: int | None, added: int = 0) -> None:
        """Account for a change of one row, or of all rows when ``rid`` is ``None``."""
        self.documents_added[collection.id] = self.documents_added.get(collection.id, 0) + added
        self.revisions[collection.id] = rev
        rids = self.changed_rids.setdefault(collection.id, set())
        if rids is not None:
            if rid is None or len(rids) >= columns.MAX_LOGGED_ROWS:
                self.changed_rids[collection.id] = None
            else:
                rids.add(rid)

    def _checked_keys(
        self, collection: Collection, document: Document, rid: int | None
    ) -> list[tuple[IndexInfo, list[bytes]]]:
        """Keys of the document in every index; raises before anything is written when one is refused."""
        checked = []
        for index in collection.maintained:
            kind = kind_of(index)
            keys = kind.keys(index, document)
            kind.check(self, collection, index, keys, rid)
            checked.append((index, keys))
        return checked


def _without_system(patch: Document) -> Document:
    return {name: value for name, value in patch.items() if name not in ("_key", "_id", "_rev")}
