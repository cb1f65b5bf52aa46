"""The data folder: lock, format version, SQLite connections, and SQLite's errors as ArangoDB's."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path
from types import TracebackType

from aqlite.errors import ArangoError
from aqlite.storage.catalog import index_from_json
from aqlite.storage.indexes import VECTOR

FORMAT_VERSION = 2
"""Format 2 keeps vectors in tables of their own; format 1 kept trained Faiss indexes and is migrated on opening."""
_APPLICATION_ID = 0x41514C54  # "AQLT"
_FILE_NAME = "aqlite.db"
BUSY_MS = 5000

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE databases (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE collections (
    id INTEGER PRIMARY KEY, database TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,
    written_name TEXT NOT NULL, properties TEXT NOT NULL, UNIQUE (database, name)
);
CREATE TABLE statistics (
    collection INTEGER PRIMARY KEY, documents INTEGER NOT NULL, version INTEGER NOT NULL, revision INTEGER NOT NULL
);
CREATE TABLE indexes (
    id INTEGER PRIMARY KEY, collection INTEGER NOT NULL, definition TEXT NOT NULL, trained BLOB
);
CREATE TABLE users (
    name TEXT PRIMARY KEY, password TEXT NOT NULL, active INTEGER NOT NULL, extra TEXT NOT NULL,
    permissions TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO meta VALUES ('catalog', 1), ('tick', 100), ('revision', 0);
"""


class DataFolderError(Exception):
    """The data folder cannot be used: held by another process, of another format, or damaged."""


class DataFolder:
    """An exclusively held folder with the SQLite file in it.

    Raises:
        DataFolderError: on opening, when the folder is in use, of an unknown format version, or damaged.
    """

    def __init__(self, folder: Path, *, max_bytes: int | None = None) -> None:
        self._max_bytes = max_bytes
        self.migrated = False
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(folder / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DataFolderError(f"data folder {folder}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise DataFolderError(f"data folder {folder} is in use by another aqlite process") from None
        self.path = folder / _FILE_NAME
        try:
            self._prepare()
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> DataFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the folder."""
        os.close(self._lock)

    def log_bytes(self) -> int:
        """Size of the write-ahead log."""
        try:
            return self.path.with_name(f"{_FILE_NAME}-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def file_bytes(self) -> int:
        """Size of the data file."""
        return self.path.stat().st_size

    def connect(self, *, cache_kib: int = 2048) -> sqlite3.Connection:
        """A connection in autocommit mode: durable commits, write-ahead log, own page cache of ``cache_kib`` KiB."""
        connection = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, cached_statements=1024, timeout=BUSY_MS / 1000
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        connection.execute("PRAGMA mmap_size = 0")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        if self._max_bytes is not None:
            (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
            connection.execute(f"PRAGMA max_page_count = {max(1, self._max_bytes // page_bytes)}")
        return connection

    def _prepare(self) -> None:
        try:
            connection = self.connect()
            try:
                self._check_or_create(connection)
            finally:
                connection.close()
        except sqlite3.DatabaseError as error:
            raise DataFolderError(f"{self.path} is damaged or not an aqlite file: {error}") from error

    def _check_or_create(self, connection: sqlite3.Connection) -> None:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if tables == 0 and application == 0:
            connection.executescript(
                f"BEGIN IMMEDIATE; PRAGMA application_id = {_APPLICATION_ID}; "
                f"PRAGMA user_version = {FORMAT_VERSION}; {_SCHEMA} COMMIT;"
            )
            self.path.chmod(0o600)
            return
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != _APPLICATION_ID:
            raise DataFolderError(f"{self.path} was not written by aqlite")
        if version == 1:
            self._migrate(connection)
            self.migrated = True
        elif version != FORMAT_VERSION:
            raise DataFolderError(
                f"{self.path} has data format {version}, this aqlite reads format {FORMAT_VERSION}; "
                "start it with an empty folder and load the data again"
            )
        (problem,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if problem != "ok":
            raise DataFolderError(f"{self.path} is damaged: {problem}")

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Bring a file of format 1 to format 2: vector indexes get empty tables and wait for their training."""
        connection.execute("BEGIN IMMEDIATE")
        for id_, definition in connection.execute("SELECT id, definition FROM indexes").fetchall():
            index = index_from_json(str(id_), definition)
            if index.type == VECTOR.type:
                VECTOR.create(connection, index)
        connection.execute("UPDATE indexes SET trained = NULL")
        connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        connection.execute("COMMIT")


def storage_error(error: sqlite3.Error) -> ArangoError:
    """ArangoDB's error for an error of SQLite."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name == "SQLITE_FULL":
        return ArangoError(1104)
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return ArangoError(1100)
    if name.startswith("SQLITE_READONLY"):
        return ArangoError(1004)
    if name.startswith("SQLITE_BUSY"):
        return ArangoError(1200, "conflict: timeout waiting for the write lock")
    if name == "SQLITE_TOOBIG":
        return ArangoError(1216)
    return ArangoError(1305, f"storage engine I/O error: {error}")
