"""Requests that run in the background: ``x-arango-async`` and the ``/_api/job`` routes."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass

from aqlite.errors import ArangoError
from aqlite.http.request import Reply, Request, ok

_KEPT = 1000


@dataclass(frozen=True)
class Job:
    """A background request; ``future`` gives its reply."""

    id: str
    user: str
    started: float
    future: Future[Reply]


class JobRegistry:
    """Background requests by id; replies wait until they are fetched, at most ``_KEPT`` of them."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="job")
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._last = 0
        self._lock = threading.Lock()

    def submit(self, user: str, run: Callable[[], Reply], *, keep: bool) -> str | None:
        """Run in the background; returns the job's id when its reply is to be kept."""
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

    def find(self, id_: str, user: str) -> Job:
        """Raises ArangoError 404."""
        job = self._jobs.get(id_)
        if job is None or job.user != user:
            raise ArangoError(404)
        return job

    def of(self, user: str, *, done: bool, older_than: float | None = None) -> list[Job]:
        """The user's jobs that are done, or not; optionally only those started before a time."""
        with self._lock:
            return [
                job
                for job in self._jobs.values()
                if job.user == user and job.future.done() == done and (older_than is None or job.started < older_than)
            ]

    def remove(self, id_: str) -> None:
        """Forget a job and its reply."""
        with self._lock:
            self._jobs.pop(id_, None)

    def close(self) -> None:
        """Cancel what has not started and wait for the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)


# --- routes ---------------------------------------------------------------------------------------------------
def fetch(request: Request) -> Reply:
    """PUT /_api/job/{id}: the reply, once."""
    jobs = request.server.jobs
    job = jobs.find(request.path["id"], request.user)
    if not job.future.done():
        return Reply(None, 204)
    jobs.remove(job.id)
    try:
        reply = job.future.result()
    except CancelledError:
        raise ArangoError(21) from None
    reply.headers["x-arango-async-id"] = job.id
    return reply


def show(request: Request) -> Reply:
    """GET /_api/job/{id}: 200 when done, 204 while pending; or the ids of the done or pending jobs."""
    what = request.path["id"]
    if what in ("done", "pending"):
        return Reply([job.id for job in request.server.jobs.of(request.user, done=what == "done")])
    job = request.server.jobs.find(what, request.user)
    return Reply(None, 200 if job.future.done() else 204)


def delete(request: Request) -> Reply:
    """DELETE /_api/job/{id}, /all or /expired?stamp=..."""
    jobs, what = request.server.jobs, request.path["id"]
    if what in ("all", "expired"):
        try:
            stamp = float(request.query["stamp"]) if what == "expired" else None
        except (KeyError, ValueError):
            raise ArangoError(10, "expecting a number for <stamp>") from None
        for job in jobs.of(request.user, done=True, older_than=stamp):
            jobs.remove(job.id)
    else:
        jobs.remove(jobs.find(what, request.user).id)
    return Reply({"result": True})


def cancel(request: Request) -> Reply:
    """PUT /_api/job/{id}/cancel: stops a job that has not started."""
    request.server.jobs.find(request.path["id"], request.user).future.cancel()
    return ok({"result": True})
