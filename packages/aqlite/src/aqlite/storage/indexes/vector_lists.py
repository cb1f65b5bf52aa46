"""The inverted lists of vector indexes: a table of vectors per index, and a bounded cache of whole lists.

A list is the unit that is read, cached and replaced. Its version is a number that no other state of any list ever
has, so every snapshot finds the state it sees; a commit carries the cached lists it changed over to their new state.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import orjson

from aqlite.storage.api import IndexInfo

_LIST_BITS = 40
"""Row ids stay below 2**40: the place of a vector is its list's number above them, so that lists lie in one piece."""
_BLOCK = 4096
_MAX_NOTED_BYTES = 64 * 2**20


@dataclass(frozen=True)
class VectorList:
    """Row ids int64 [n] and their vectors float32 [n, d]."""

    rids: np.ndarray
    matrix: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes that the arrays take."""
        return self.rids.nbytes + self.matrix.nbytes

    def patched(self, changes: dict[int, bytes | None]) -> VectorList:
        """The list with new vectors for some row ids; ``None`` takes one out."""
        touched = np.fromiter(changes, dtype=np.int64, count=len(changes))
        kept = ~np.isin(self.rids, touched)
        added = {rid: vector for rid, vector in changes.items() if vector is not None}
        rids = np.fromiter(added, dtype=np.int64, count=len(added))
        vectors = np.frombuffer(b"".join(added.values()), dtype=np.float32).reshape(len(added), self.matrix.shape[1])
        return VectorList(np.concatenate([self.rids[kept], rids]), np.concatenate([self.matrix[kept], vectors]))


@dataclass
class ListChanges:
    """What a transaction changed in the lists of one index: by list, vectors by row id.

    ``None`` stands for changes that are not known one by one.
    """

    lists: dict[int, dict[int, bytes | None] | None] = field(default_factory=dict)
    noted_bytes: int = 0

    def note(self, number: int, rid: int, vector: bytes | None, *, remember: bool) -> None:
        """Take account of one vector; ``remember`` it when somebody will profit from that."""
        known = self.lists.setdefault(number, {} if remember else None)
        self.noted_bytes += len(vector or b"")
        if known is None or self.noted_bytes > _MAX_NOTED_BYTES:
            self.lists[number] = None
        else:
            known[rid] = vector

    def forget_details(self) -> None:
        """Some of what was noted has been undone: only which lists may have changed is sure."""
        self.lists = dict.fromkeys(self.lists)


class ListTables:
    """SQL of one index's tables: vectors by place, the list of each row, the version of each list."""

    def __init__(self, index: IndexInfo) -> None:
        number = int(index.id)
        self._vectors, self._places, self._versions = f"v_{number}", f"v_{number}_rows", f"v_{number}_lists"
        self.dimension: int = index.params["dimension"]

    def create(self, connection: sqlite3.Connection) -> None:
        """Make the tables."""
        connection.execute(f"CREATE TABLE {self._vectors} (place INTEGER PRIMARY KEY, vector BLOB NOT NULL)")
        connection.execute(f"CREATE TABLE {self._places} (rid INTEGER PRIMARY KEY, list INTEGER NOT NULL)")
        connection.execute(f"CREATE TABLE {self._versions} (list INTEGER PRIMARY KEY, version INTEGER NOT NULL)")

    def drop(self, connection: sqlite3.Connection) -> None:
        """Drop the tables."""
        for table in (self._vectors, self._places, self._versions):
            connection.execute(f"DROP TABLE {table}")

    def clear(self, connection: sqlite3.Connection) -> None:
        """Empty all lists."""
        for table in (self._vectors, self._places, self._versions):
            connection.execute(f"DELETE FROM {table}")

    def insert(self, connection: sqlite3.Connection, entries: Iterable[tuple[int, int, bytes]]) -> None:
        """Put vectors (list, row id, bytes) into lists; quickest in order of list and row id."""
        for number, rid, vector in entries:
            place = number << _LIST_BITS | rid
            connection.execute(f"INSERT INTO {self._vectors} VALUES (?, ?)", (place, vector))
            connection.execute(f"INSERT INTO {self._places} VALUES (?, ?)", (rid, number))

    def delete(self, connection: sqlite3.Connection, rid: int) -> int | None:
        """Take a row's vector out of its list; returns the list's number, ``None`` when the row is in none."""
        found = connection.execute(f"SELECT list FROM {self._places} WHERE rid = ?", (rid,)).fetchone()
        if found is None:
            return None
        connection.execute(f"DELETE FROM {self._places} WHERE rid = ?", (rid,))
        connection.execute(f"DELETE FROM {self._vectors} WHERE place = ?", (found[0] << _LIST_BITS | rid,))
        return found[0]

    def versions(self, connection: sqlite3.Connection, numbers: list[int]) -> dict[int, int]:
        """Version of each of the lists that is not empty."""
        return dict(
            connection.execute(
                f"SELECT list, version FROM {self._versions} WHERE list IN (SELECT value FROM json_each(?))",
                (orjson.dumps(numbers).decode(),),
            )
        )

    def set_versions(self, connection: sqlite3.Connection, numbers: Iterable[int], version: int) -> None:
        """Give lists a new version."""
        connection.executemany(
            f"INSERT OR REPLACE INTO {self._versions} VALUES (?, ?)", [(number, version) for number in numbers]
        )

    def blocks(self, connection: sqlite3.Connection, number: int) -> Iterator[VectorList]:
        """A list as the connection sees it, some thousand vectors at a time."""
        cursor = connection.execute(
            f"SELECT place, vector FROM {self._vectors} WHERE place BETWEEN ? AND ?",
            (number << _LIST_BITS, (number + 1 << _LIST_BITS) - 1),
        )
        try:
            while rows := cursor.fetchmany(_BLOCK):
                rids = np.array([place for place, _ in rows], dtype=np.int64) & (1 << _LIST_BITS) - 1
                vectors = np.frombuffer(b"".join([vector for _, vector in rows]), dtype=np.float32)
                yield VectorList(rids, vectors.reshape(len(rows), self.dimension))
        finally:
            cursor.close()


class ListCache:
    """Whole lists of recent states, together at most ``max_bytes``; lists of an eighth of that are not held."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._held: OrderedDict[tuple[str, int], tuple[int, VectorList]] = OrderedDict()
        self._large: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        self._loading = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._bytes

    def holds(self, index_id: str, number: int) -> bool:
        """Whether some state of the list is held."""
        return (index_id, number) in self._held

    def read(
        self,
        connection: sqlite3.Connection,
        index_id: str,
        tables: ListTables,
        numbers: list[int],
        changes: ListChanges,
    ) -> Iterator[VectorList]:
        """The lists as the connection's snapshot sees them, in one or several pieces each.

        ``changes`` are those that the connection's own transaction has not committed.
        """
        versions = tables.versions(connection, numbers)
        for number in numbers:
            slot, version = (index_id, number), versions.get(number)
            if number in changes.lists:
                yield from self._changed(connection, slot, tables, version, changes.lists[number])
            elif version is not None:
                held = self._get(slot, version) or self._load(connection, slot, tables, version)
                yield from tables.blocks(connection, number) if held is None else (held,)

    def carry_over(self, index_id: str, number: int, old: int | None, new: int, changes: dict | None) -> None:
        """Let a held list follow the commit that led from version ``old`` to ``new``."""
        slot = (index_id, number)
        held = None if old is None or changes is None else self._get(slot, old)
        if held is not None:
            self._put(slot, new, held.patched(changes))

    def _changed(
        self,
        connection: sqlite3.Connection,
        slot: tuple[str, int],
        tables: ListTables,
        version: int | None,
        changes: dict[int, bytes | None] | None,
    ) -> Iterator[VectorList]:
        held = None if changes is None or version is None else self._get(slot, version)
        if held is None or changes is None:
            yield from tables.blocks(connection, slot[1])
        else:
            yield held.patched(changes)

    def _load(
        self, connection: sqlite3.Connection, slot: tuple[str, int], tables: ListTables, version: int
    ) -> VectorList | None:
        """Read and hold a list, once for all who want it now; ``None`` when it is too large to be held."""
        with self._loading:
            held = self._get(slot, version)
            if held is not None or slot in self._large:
                return held
            pieces, size = [], 0
            for piece in tables.blocks(connection, slot[1]):
                pieces.append(piece)
                size += piece.nbytes
                if size > self._max_bytes // 8:
                    self._large.add(slot)
                    return None
            loaded = VectorList(
                np.concatenate([np.empty(0, np.int64), *(piece.rids for piece in pieces)]),
                np.concatenate([np.empty((0, tables.dimension), np.float32), *(piece.matrix for piece in pieces)]),
            )
            self._put(slot, version, loaded)
            return loaded

    def _get(self, slot: tuple[str, int], version: int) -> VectorList | None:
        with self._lock:
            held = self._held.get(slot)
            if held is None or held[0] != version:
                return None
            self._held.move_to_end(slot)
            return held[1]

    def _put(self, slot: tuple[str, int], version: int, loaded: VectorList) -> None:
        with self._lock:
            held = self._held.get(slot)
            if held is not None:
                if held[0] > version:  # an old snapshot does not take the place of a newer state
                    return
                self._bytes -= held[1].nbytes
            self._held[slot] = (version, loaded)
            self._held.move_to_end(slot)
            self._bytes += loaded.nbytes
            while self._bytes > self._max_bytes and len(self._held) > 1:
                self._bytes -= self._held.popitem(last=False)[1][1].nbytes
