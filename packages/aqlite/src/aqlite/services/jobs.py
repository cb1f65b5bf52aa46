"""Work that runs in the background: what ``x-arango-async`` asks for."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from aqlite.errors import ArangoError

_WORKERS = 2
Result = TypeVar("Result")


@dataclass(frozen=True)
class JobLimits:
    """Bounds: jobs that wait or run, results that are kept, and the bytes of those; the oldest results go first."""

    pending: int = 1000
    kept: int = 1000
    kept_bytes: int = 256 * 2**20


@dataclass(frozen=True)
class Job(Generic[Result]):
    """One piece of background work; ``future`` gives what it returns."""

    id: str
    user: str
    started: float
    future: Future[Result]


class JobRegistry(Generic[Result]):
    """Background work by id; results wait until they are fetched. ``size`` gives the bytes of a result."""

    def __init__(self, size: Callable[[Result], int], limits: JobLimits) -> None:
        self._pool = ThreadPoolExecutor(max_workers=_WORKERS, thread_name_prefix="job")
        self._size = size
        self._limits = limits
        self._jobs: OrderedDict[str, Job[Result]] = OrderedDict()
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._pending = 0
        self._last = 0
        self._lock = threading.Lock()

    def submit(self, user: str, run: Callable[[], Result], *, keep: bool) -> str | None:
        """Run in the background; returns the job's id when its result is to be kept.

        Raises:
            ArangoError: 503 when too many jobs wait.
        """
        with self._lock:
            if self._pending >= self._limits.pending:
                raise ArangoError(503, f"the queue of background jobs is full, at most {self._limits.pending} wait")
            self._pending += 1
            self._last += 1
            id_ = str(self._last)
            future = self._pool.submit(run)
            if keep:
                self._jobs[id_] = Job(id_, user, time.time(), future)
        future.add_done_callback(lambda done: self._finished(id_, done))
        return id_ if keep else None

    def _finished(self, id_: str, future: Future[Result]) -> None:
        """Take account of a result; let go of the oldest ones beyond the bounds."""
        size = 0 if future.cancelled() or future.exception() is not None else self._size(future.result())
        with self._lock:
            self._pending -= 1
            if id_ not in self._jobs:
                return
            self._sizes[id_] = size
            while len(self._sizes) > self._limits.kept or sum(self._sizes.values()) > self._limits.kept_bytes:
                oldest, _ = self._sizes.popitem(last=False)
                del self._jobs[oldest]

    def find(self, id_: str, user: str) -> Job[Result]:
        """Raises ArangoError 404."""
        job = self._jobs.get(id_)
        if job is None or job.user != user:
            raise ArangoError(404)
        return job

    def of(self, user: str, *, done: bool, older_than: float | None = None) -> list[Job[Result]]:
        """The user's jobs that are done, or not; optionally only those started before a time."""
        with self._lock:
            return [
                job
                for job in self._jobs.values()
                if job.user == user and job.future.done() == done and (older_than is None or job.started < older_than)
            ]

    def remove(self, id_: str) -> None:
        """Forget a job and its result."""
        with self._lock:
            self._jobs.pop(id_, None)
            self._sizes.pop(id_, None)

    def close(self) -> None:
        """Cancel what has not started and wait for the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)
