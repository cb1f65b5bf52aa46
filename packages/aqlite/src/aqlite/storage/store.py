"""The store: one SQLite file, many readers on snapshots, one writer at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aqlite.errors import ArangoError
from aqlite.storage import ddl
from aqlite.storage.cache import DocumentCache
from aqlite.storage.catalog import Catalog, catalog_version, load_catalog
from aqlite.storage.columns import ColumnCache
from aqlite.storage.files import BUSY_MS, DataFolder, storage_error
from aqlite.storage.indexes.vector_lists import ListCache
from aqlite.storage.revisions import RevisionClock
from aqlite.storage.shared import Shared, Ticks
from aqlite.storage.snapshot import Snapshot
from aqlite.storage.transaction import Transaction
from aqlite.storage.transaction_counts import TransactionCounts
from aqlite.storage.write_lock import WriteLock

_IDLE_CONNECTIONS = 8
_LOG_WAIT_MS = 1000
_WRITER_CACHE_KIB = 16 * 1024


@dataclass(frozen=True)
class Totals:
    """Numbers of databases, collections and documents, and the size of the data file in bytes."""

    databases: int
    collections: int
    documents: int
    file_bytes: int


class Store:
    """All databases of one data folder.

    Args:
        folder: the data folder; made when missing.
        cache_bytes: bound of the decoded-document cache.
        lock_timeout: seconds a writer waits for another one.
        vector_bytes: bound of the cache of vector indexes' lists.
        max_bytes: bound of the data file's size, ``None`` for none.
        wal_bytes: size of the write-ahead log beyond which no transaction begins while readers keep it from shrinking.

    Raises:
        DataFolderError: the folder is in use, of another format, or damaged.
    """

    def __init__(
        self,
        folder: Path,
        *,
        cache_bytes: int = 192 * 2**20,
        vector_bytes: int = 2**30,
        lock_timeout: float = 15.0,
        max_bytes: int | None = None,
        wal_bytes: int = 2**30,
    ) -> None:
        self._folder = DataFolder(folder, max_bytes=max_bytes)
        self._writer = self._folder.connect(cache_kib=_WRITER_CACHE_KIB)
        self.write_lock = WriteLock()
        self.transactions = TransactionCounts()
        self._wal_bytes = wal_bytes
        self.lock_timeout = lock_timeout
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self._writing_now = False
        self._catalog = load_catalog(self._writer)
        meta = dict(self._writer.execute("SELECT name, value FROM meta WHERE name IN ('tick', 'revision')"))
        self.shared = Shared(
            folder,
            DocumentCache(cache_bytes),
            ColumnCache(),
            ListCache(vector_bytes),
            RevisionClock(meta["revision"]),
            Ticks(meta["tick"]),
        )
        if not self._catalog.databases:
            self._create_system_database()
        if self._folder.migrated:
            self._train_vector_indexes()

    def _create_system_database(self) -> None:
        self._catalog = Catalog(0, {ddl.SYSTEM_DATABASE: 0}, {ddl.SYSTEM_DATABASE: {}})
        with self._writing(ddl.SYSTEM_DATABASE, self._catalog) as view:
            view.catalog = Catalog(0, {}, {})
            ddl.create_database(view, ddl.SYSTEM_DATABASE)

    def _train_vector_indexes(self) -> None:
        for database, collections in self._catalog.collections.items():
            with self.write(database) as view:
                ddl.train_waiting_indexes(view, collections.values())

    def close(self) -> None:
        """Wait for the writer, close all files and release the folder; closing again does nothing."""
        self.write_lock.acquire(None, "the closing store")
        try:
            if self._closed:
                return
            self._closed = True
            while self._idle:
                self._idle.pop().close()
            self._writer.close()
            self._folder.close()
        finally:
            self.write_lock.release()

    def has_database(self, name: str) -> bool:
        """Whether a database of that name exists now."""
        return name in self._catalog.databases

    def next_tick(self) -> int:
        """A number larger than all before, those of earlier processes too: ids of what no commit remembers."""
        return self.shared.clock.next()

    def compact(self) -> None:
        """Return the unused pages of the file to the disk, by way of a temporary file of the size of what is used."""
        self.lock_writer(self.lock_timeout)
        try:
            with reported(), closing(self._folder.connect()) as connection:
                connection.execute("PRAGMA temp_store = FILE")  # what is in use may not fit the memory
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            self.unlock_writer()

    def totals(self) -> Totals:
        """How much there is in all databases."""
        connection = self.take_connection()
        try:
            with reported():
                ((collections, documents),) = connection.execute("SELECT count(*), total(documents) FROM statistics")
        finally:
            self.give_connection(connection)
        return Totals(len(self._catalog.databases), collections, int(documents), self._folder.file_bytes())

    # --- reading ----------------------------------------------------------------------------------------------
    @contextmanager
    def read(self, database: str) -> Iterator[Snapshot]:
        """A snapshot of a database for the length of the block. Raises ArangoError 1228."""
        connection = self.take_connection()
        try:
            with reported():
                view = self.begin_read(connection, database)
                committed = False
                try:
                    yield view
                    committed = True
                finally:
                    self.transactions.end(committed=committed)
                    view.close()
        finally:
            self.give_connection(connection)

    def begin_read(self, connection: sqlite3.Connection, database: str) -> Snapshot:
        """Start a snapshot on a connection."""
        connection.execute("BEGIN")
        snapshot = Snapshot(self.shared, connection, self._catalog_of(connection), database)
        self.transactions.start(reading=True)
        return snapshot

    def take_connection(self) -> sqlite3.Connection:
        """A connection for reading; give it back."""
        try:
            return self._idle.pop()
        except IndexError:
            if self._closed:
                raise ArangoError(30) from None
            return self._folder.connect()

    def give_connection(self, connection: sqlite3.Connection) -> None:
        """End the connection's snapshot and keep it for the next reader."""
        if connection.in_transaction:
            connection.rollback()
        if len(self._idle) < _IDLE_CONNECTIONS and not self._closed:
            self._idle.append(connection)
        else:
            connection.close()

    def _catalog_of(self, connection: sqlite3.Connection) -> Catalog:
        known = self._catalog
        if catalog_version(connection) == known.version:
            return known
        loaded = load_catalog(connection)
        if loaded.version > known.version:
            self._catalog = loaded
        return loaded

    # --- writing ----------------------------------------------------------------------------------------------
    @contextmanager
    def write(self, database: str, *, lock_timeout: float | None = None, locked: bool = False) -> Iterator[Transaction]:
        """A writing transaction for the length of the block: committed at its end, rolled back when it raises.

        Args:
            database: its name.
            lock_timeout: seconds to wait for the write lock, the store's own number by default.
            locked: the caller holds the lock already; it is released at the end all the same.

        Raises:
            ArangoError: 1228; 1200 when another transaction held the write lock for ``lock_timeout`` seconds;
                1104 when the disk is full; 32 when the write-ahead log is.
        """
        if not locked:
            self.lock_writer(self.lock_timeout if lock_timeout is None else lock_timeout)
        try:
            with self._writing(database, None) as view:
                yield view
        finally:
            self.unlock_writer()

    @contextmanager
    def _writing(self, database: str, catalog: Catalog | None) -> Iterator[Transaction]:
        with reported():
            view = self.begin(database, catalog)
            try:
                yield view
                self.commit(view)
            finally:
                self.rollback()

    def lock_writer(self, timeout: float, holder: str = "another request") -> None:
        """Wait for the write lock; ``holder`` is what others are told who wait in vain.

        Raises:
            ArangoError: 1200 after ``timeout`` seconds, 30 when the store is closed.
        """
        self.write_lock.acquire(timeout, holder)
        if self._closed:
            self.write_lock.release()
            raise ArangoError(30)

    def try_lock_writer(self, holder: str = "another request") -> bool:
        """Take the write lock if it is free now. Raises ArangoError 30 when the store is closed."""
        if self._closed:
            raise ArangoError(30)
        return self.write_lock.try_acquire(holder)

    def unlock_writer(self) -> None:
        """Let the next writer in."""
        self.write_lock.release()

    def _check_log(self) -> None:
        """Raises ArangoError 32 when the write-ahead log is too large and readers keep it from being taken over."""
        size = self._folder.log_bytes()
        if size <= self._wal_bytes:
            return
        self._writer.execute(f"PRAGMA busy_timeout = {_LOG_WAIT_MS}")
        ((busy, _, _),) = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._writer.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        if busy:
            raise ArangoError(
                32,
                f"the write-ahead log has {size} bytes, at most {self._wal_bytes} are allowed, and a reader that began "
                "long ago keeps it from shrinking; end long queries and open transactions, or try again later",
            )

    def begin(self, database: str, catalog: Catalog | None = None) -> Transaction:
        """Start a writing transaction; the caller holds the write lock."""
        if self._closed:
            raise ArangoError(30)
        self._check_log()
        self._writer.execute("BEGIN IMMEDIATE")
        self._writing_now = True
        self.transactions.start(reading=False)
        return Transaction(self.shared, self._writer, catalog or self._catalog_of(self._writer), database)

    def commit(self, view: Transaction) -> None:
        """Make the view's changes durable."""
        grown = [c for c in view.catalog.all_collections() if view.documents_added.get(c.id, 0) > 0]
        ddl.train_waiting_indexes(view, grown)
        lists = view.settle_lists()
        versions: dict[int, int] = {}
        for collection, revision in view.revisions.items():
            ((versions[collection],),) = self._writer.execute(
                "UPDATE statistics SET documents = documents + ?, version = version + 1, revision = ? "
                "WHERE collection = ? RETURNING version",
                (view.documents_added.get(collection, 0), revision, collection),
            ).fetchall()
        self._writer.execute(
            "UPDATE meta SET value = ? WHERE name = 'tick' AND value < ?", (self.shared.ticks.last,) * 2
        )
        self._writer.execute("UPDATE meta SET value = ? WHERE name = 'revision'", (self.shared.clock.last,))
        self._writer.execute("COMMIT")
        self._writing_now = False
        self.transactions.end(committed=True)
        for collection, version in versions.items():
            self.shared.columns.note_commit(collection, version, view.changed_rids[collection])
        for change in lists:
            self.shared.lists.carry_over(*change)
        if view.catalog.version > self._catalog.version:
            self._catalog = view.catalog

    def rollback(self) -> None:
        """Drop what the writer did not commit; nothing to do after a commit."""
        if self._writer.in_transaction:
            self._writer.rollback()
        if self._writing_now:  # SQLite itself may have rolled it back
            self._writing_now = False
            self.transactions.end(committed=False)


@contextmanager
def reported() -> Iterator[None]:
    """Turn SQLite's errors into ArangoDB's."""
    try:
        yield
    except sqlite3.Error as error:
        raise storage_error(error) from error
