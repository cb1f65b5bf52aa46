"""The store's write lock: first come, first served, for threads and for an event loop."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field

from aqlite.errors import ArangoError


@dataclass(frozen=True, eq=False)
class Waiter:
    """Somebody's place in the queue; ``granted`` is done as soon as the lock is theirs."""

    holder: str
    granted: Future[None] = field(default_factory=Future)


class WriteLock:
    """A lock that is handed on in the order of asking, so that nobody starves; ``holder`` is told to who waits."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._holder: str | None = None
        self._waiting: deque[Waiter] = deque()

    def try_acquire(self, holder: str) -> bool:
        """Take the lock if it is free now."""
        with self._guard:
            if self._holder is not None:
                return False
            self._holder = holder
            return True

    def enqueue(self, holder: str) -> Waiter:
        """Take a place in the queue without waiting; whoever gives it up calls ``withdraw``."""
        waiter = Waiter(holder)
        with self._guard:
            if self._holder is None:
                self._holder = holder
                waiter.granted.set_result(None)
            else:
                self._waiting.append(waiter)
        return waiter

    def withdraw(self, waiter: Waiter) -> None:
        """Give up a place, or the lock when it has just been granted."""
        with self._guard:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
                return
        self.release()

    def acquire(self, timeout: float | None, holder: str) -> None:
        """Wait for the lock in a thread, ``None``: for ever. Raises ArangoError 1200 after ``timeout`` seconds."""
        waiter = self.enqueue(holder)
        try:
            waiter.granted.result(timeout)
        except FutureTimeoutError:
            error = self.timeout_error()
            self.withdraw(waiter)
            raise error from None
        except BaseException:
            self.withdraw(waiter)
            raise

    def rename(self, holder: str) -> None:
        """Say who holds the lock, once that is known."""
        self._holder = holder

    def release(self) -> None:
        """Hand the lock to whoever has waited longest."""
        with self._guard:
            if self._waiting:
                waiter = self._waiting.popleft()
                self._holder = waiter.holder
                waiter.granted.set_result(None)
            else:
                self._holder = None

    def timeout_error(self) -> ArangoError:
        """The error of whoever has waited too long."""
        return ArangoError(1200, f"conflict: timeout waiting for the write lock, held by {self._holder}")
