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

_KEPT = 1000
Result = TypeVar("Result")


@dataclass(frozen=True)
class Job(Generic[Result]):
    """One piece of background work; ``future`` gives what it returns."""

    id: str
    user: str
    started: float
    future: Future[Result]


class JobRegistry(Generic[Result]):
    """Background work by id; results wait until they are fetched, at most ``_KEPT`` of them."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="job")
        self._jobs: OrderedDict[str, Job[Result]] = OrderedDict()
        self._last = 0
        self._lock = threading.Lock()

    def submit(self, user: str, run: Callable[[], Result], *, keep: bool) -> str | None:
        """Run in the background; returns the job's id when its result is to be kept."""
        future = self._pool.submit(run)
        if not keep:
            return None
        with self._lock:
            self._last += 1
            job = Job(str(self._last), user, time.time(), future)
            self._jobs[job.id] = job
            while len(self._jobs) > _KEPT:
                self._jobs.popitem(last=False)
        return job.id

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

    def close(self) -> None:
        """Cancel what has not started and wait for the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)
