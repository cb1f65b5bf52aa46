"""Cursors: query results handed out in batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aqlite.errors import ArangoError

_MAX_CURSORS = 1000


@dataclass
class Cursor:
    """The rest of a result, about ``size`` bytes. ``last`` keeps the batch sent last, for clients that ask again."""

    id: str
    database: str
    user: str
    rows: list[Any]
    batch_size: int
    ttl: float
    count: int | None
    extra: dict[str, Any]
    allow_retry: bool
    size: int = 0
    position: int = 0
    batch: int = 1
    last: dict[str, Any] = field(default_factory=dict)
    expires: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_batch(self) -> dict[str, Any]:
        """The next rows, as the HTTP interface shows them."""
        end = self.position + self.batch_size
        rows, self.position = self.rows[self.position : end], end
        more = end < len(self.rows)
        shown: dict[str, Any] = {"result": rows, "hasMore": more, "cached": False, "extra": self.extra}
        if self.count is not None:
            shown["count"] = self.count
        if more or self.allow_retry:
            shown["id"] = self.id
        if more:
            shown["nextBatchId"] = str(self.batch + 1)
        self.expires = time.monotonic() + self.ttl
        self.last = shown
        return shown

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the cursor for one request. Raises ArangoError 1601 when another request has it."""
        if not self.lock.acquire(blocking=False):
            raise ArangoError(1601)
        try:
            yield
        finally:
            self.lock.release()


class CursorRegistry:
    """Open cursors by id."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._cursors: dict[str, Cursor] = {}
        self._lock = threading.Lock()

    def add(self, cursor: Cursor) -> None:
        """Keep a cursor. Raises ArangoError 32 when there are too many, or when all together hold too much."""
        with self._lock:
            if len(self._cursors) >= _MAX_CURSORS:
                raise ArangoError(32, f"too many open cursors, at most {_MAX_CURSORS}; close some or lower their ttl")
            held = sum(other.size for other in self._cursors.values())
            if held + cursor.size > self._max_bytes:
                raise ArangoError(
                    32,
                    f"open cursors hold about {held} bytes and this result {cursor.size}, at most {self._max_bytes} "
                    "are allowed; read or close some, or ask for fewer rows",
                )
            self._cursors[cursor.id] = cursor

    def find(self, id_: str, database: str, user: str) -> Cursor:
        """Raises ArangoError 1600."""
        cursor = self._cursors.get(id_)
        if cursor is None or cursor.database != database or cursor.user != user:
            raise ArangoError(1600)
        return cursor

    def remove(self, id_: str) -> None:
        """Forget a cursor."""
        with self._lock:
            self._cursors.pop(id_, None)

    def drop_expired(self) -> None:
        """Forget the cursors that nobody asked for during their ttl."""
        now = time.monotonic()
        with self._lock:
            for id_ in [c.id for c in self._cursors.values() if c.expires < now and not c.lock.locked()]:
                del self._cursors[id_]

    def totals(self) -> tuple[int, int]:
        """Number of open cursors, and the bytes that all of them hold."""
        with self._lock:
            return len(self._cursors), sum(cursor.size for cursor in self._cursors.values())

    def clear(self) -> None:
        """Forget all cursors, at shutdown."""
        with self._lock:
            self._cursors.clear()
