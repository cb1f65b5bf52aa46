"""Routes of ``/_api/job``."""

from __future__ import annotations

from concurrent.futures import CancelledError

from aqlite.errors import ArangoError
from aqlite.http.request import Reply, Request, ok


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
