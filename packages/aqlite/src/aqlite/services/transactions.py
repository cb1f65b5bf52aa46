"""Stream transactions: views that live across requests.

A transaction that declares write access holds the store's only write lock until it ends, so that other writers wait;
readers do not. Idle transactions are aborted after ``Limits.transaction_idle_seconds``.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aqlite.errors import ArangoError
from aqlite.storage.snapshot import Snapshot
from aqlite.storage.store import Store, reported
from aqlite.storage.transaction import Transaction

_REMEMBERED = 1000
LockWriter = Callable[[float, str], None]
"""Takes the store's write lock within a number of seconds for a holder; raises ArangoError 1200."""

RUNNING, COMMITTED, ABORTED = "running", "committed", "aborted"


class StreamTransaction:
    """One open transaction; ``lock`` serialises the requests that use it."""

    def __init__(self, store: Store, id_: str, database: str, user: str) -> None:
        self.id = id_
        self.database = database
        self.user = user
        self.last_used = time.monotonic()
        self.lock = threading.Lock()
        self.status = RUNNING
        self.view: Snapshot | None = None
        self._store = store

    def start(self, write: frozenset[str], lock_writer: LockWriter, lock_timeout: float) -> None:
        """Take the snapshot, and the write lock when collections are to be written."""
        with reported():
            if write:
                lock_writer(lock_timeout, f"stream transaction {self.id}")
                try:
                    view = self._store.begin(self.database)
                    view.writable_names = frozenset(view.find(name).name for name in write)
                    self.view = view
                except BaseException:
                    self._store.rollback()
                    self._store.unlock_writer()
                    raise
            else:
                connection = self._store.take_connection()
                try:
                    self.view = self._store.begin_read(connection, self.database)
                except BaseException:
                    self._store.give_connection(connection)
                    raise

    def finish(self, *, commit: bool) -> None:
        """Commit or abort, and release everything; the caller holds ``lock``."""
        view, self.view = self.view, None
        if view is None:
            return
        self.status = ABORTED
        view.close()
        if not isinstance(view, Transaction):
            self._store.give_connection(view.connection)
            self._store.transactions.end(committed=commit)
            self.status = COMMITTED if commit else ABORTED
            return
        try:
            with reported():
                if commit:
                    self._store.commit(view)
                    self.status = COMMITTED
        finally:
            self._store.rollback()
            self._store.unlock_writer()


class TransactionRegistry:
    """Open stream transactions, how the recent ones ended, and how many ``expired``."""

    def __init__(self, store: Store, idle_seconds: float, most: int) -> None:
        self._store = store
        self._most = most
        self.expired = 0
        self._starting = 0
        self._idle_seconds = idle_seconds
        self._open: dict[str, StreamTransaction] = {}
        self._ended: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._lock = threading.Lock()

    def begin(
        self,
        database: str,
        user: str,
        write: frozenset[str],
        lock_timeout: float,
        lock_writer: LockWriter | None = None,
    ) -> StreamTransaction:
        """Start a transaction.

        Raises:
            ArangoError: 1200 when the write lock is not free in time, 32 when too many transactions are open.
        """
        with self._lock:
            if len(self._open) + self._starting >= self._most:
                raise ArangoError(
                    32, f"too many open transactions, at most {self._most}; commit or abort some, or wait for idle ones"
                )
            self._starting += 1
        try:
            transaction = StreamTransaction(self._store, str(self._store.next_tick()), database, user)
            transaction.start(write, lock_writer or self._store.lock_writer, lock_timeout)
            with self._lock:
                self._open[transaction.id] = transaction
        finally:
            with self._lock:
                self._starting -= 1
        return transaction

    @contextmanager
    def using(self, id_: str, database: str, user: str) -> Iterator[Any]:
        """The transaction's view, for one request: what a failing request wrote is undone. Raises ArangoError 1655."""
        transaction = self._find(id_, database, user)
        with transaction.lock:
            view = transaction.view
            if view is None:
                raise ArangoError(1655, f"transaction '{id_}' not found")
            try:
                with reported():
                    if isinstance(view, Transaction):
                        with view.all_or_nothing():
                            yield view
                    else:
                        yield view
            finally:
                transaction.last_used = time.monotonic()
                if not view.connection.in_transaction:  # SQLite gave up the whole transaction, e.g. on a full disk
                    self._end(transaction, commit=False)

    @property
    def count(self) -> int:
        """How many transactions are open."""
        return len(self._open)

    def status(self, id_: str, database: str, user: str) -> str:
        """``running``, ``committed`` or ``aborted``. Raises ArangoError 1655."""
        ended = self._ended.get(id_)
        if ended is not None and ended[1] == database:
            return ended[0]
        return self._find(id_, database, user).status

    def end(self, id_: str, database: str, user: str, *, commit: bool) -> str:
        """Commit or abort; ending twice the same way is fine. Raises ArangoError 1655, 1653."""
        wanted = COMMITTED if commit else ABORTED
        ended = self._ended.get(id_)
        if ended is not None and ended[1] == database:
            if ended[0] != wanted:
                raise ArangoError(1653, f"disallowed operation inside transaction: it was {ended[0]} before")
            return wanted
        self._finish(self._find(id_, database, user), commit=commit)
        return wanted

    def running(self, database: str, user: str) -> list[StreamTransaction]:
        """Open transactions of a database that the user may see."""
        with self._lock:
            return [t for t in self._open.values() if t.database == database and t.user == user]

    def abort_idle(self) -> None:
        """Abort what was not used for too long."""
        limit = time.monotonic() - self._idle_seconds
        with self._lock:
            idle = [t for t in self._open.values() if t.last_used < limit and not t.lock.locked()]
        for transaction in idle:
            self.expired += 1
            self._finish(transaction, commit=False)

    def abort_all(self) -> None:
        """Abort everything, at shutdown."""
        with self._lock:
            remaining = list(self._open.values())
        for transaction in remaining:
            self._finish(transaction, commit=False)

    def _find(self, id_: str, database: str, user: str) -> StreamTransaction:
        transaction = self._open.get(id_)
        if transaction is None or transaction.database != database or transaction.user != user:
            raise ArangoError(1655, f"transaction '{id_}' not found")
        return transaction

    def _finish(self, transaction: StreamTransaction, *, commit: bool) -> None:
        with transaction.lock:
            self._end(transaction, commit=commit)

    def _end(self, transaction: StreamTransaction, *, commit: bool) -> None:
        try:
            transaction.finish(commit=commit)
        finally:
            with self._lock:
                self._open.pop(transaction.id, None)
                self._ended[transaction.id] = (transaction.status, transaction.database)
                while len(self._ended) > _REMEMBERED:
                    self._ended.popitem(last=False)
