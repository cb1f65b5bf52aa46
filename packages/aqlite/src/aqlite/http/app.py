"""The ASGI application: routing, authentication, request bodies, errors."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.datastructures import State
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from aqlite.errors import ArangoError
from aqlite.http import admin, cursors, documents, queries, transactions
from aqlite.http.access import check_access
from aqlite.http.left_out import is_left_out
from aqlite.http.observed import Observed
from aqlite.http.request import Reply, Request, WriteLockBusyError, decompressed, failure
from aqlite.http.routes import ENDPOINTS, Endpoint, Handler
from aqlite.services.metrics import Observation
from aqlite.services.server import Server
from aqlite.services.users import unauthorized
from aqlite.storage.store import Store

logger = logging.getLogger("aqlite")

_DATABASE_PREFIX = re.compile(r"/_db/([^/]+)(/.*)?\Z", re.DOTALL)
_QUEUE_TIME = "x-arango-queue-time-seconds"
# Requests that read, queries, which may run for long, and requests that write have lanes of their own, so that no read
# waits for a thread behind others.
# A write does not wait for the write lock in a thread either. Those of open transactions, which may hold the lock, are
# counted apart.
_READERS, _QUERIES, _WRITERS, _TRANSACTION_WORKERS = 16, 24, 16, 16
# These take less time than handing them to a worker does, and killing a query must not wait for one.
_QUICK = (documents.get, admin.version, queries.current, queries.kill)
_READING_POSTS = (cursors.fetch, cursors.fetch_batch, cursors.delete, queries.parse, queries.explain)
_LARGE_BODY = 2**18


def create_app(server: Server) -> ASGIApp:
    """The application for a server; closing the server is left to the caller."""
    routes = [_route(server, endpoint) for endpoint in ENDPOINTS]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> Any:
        app.state.readers = anyio.CapacityLimiter(_READERS)
        app.state.queries = anyio.CapacityLimiter(_QUERIES)
        app.state.writers = anyio.CapacityLimiter(_WRITERS)
        app.state.transaction_workers = anyio.CapacityLimiter(_TRANSACTION_WORKERS)
        yield

    app = Starlette(routes=routes, exception_handlers={HTTPException: _routing_error}, lifespan=lifespan)
    app.router.redirect_slashes = False
    return Observed(_DatabasePrefix(app), server.requests)


class _DatabasePrefix:
    """Takes ``/_db/{name}`` off the path; the name goes to ``scope["database"]``."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            found = _DATABASE_PREFIX.match(scope["path"])
            database, path = (found[1], found[2] or "/") if found else ("_system", scope["path"])
            scope = {**scope, "database": database, "path": path}
        await self._app(scope, receive, send)


def _route(server: Server, endpoint: Endpoint) -> Route:
    async def answer(http: HttpRequest) -> Response:
        try:
            reply = await _answer(server, http, endpoint)
        except ArangoError as error:
            reply = failure(error)
        return _response(reply)

    return Route(endpoint.path, answer, methods=[endpoint.method], name=f"{endpoint.method} {endpoint.path}")


async def _answer(server: Server, http: HttpRequest, endpoint: Endpoint) -> Reply:
    handler, database = endpoint.handler, http.scope["database"]
    user = ""
    if endpoint.need.login:
        user = http.scope["observation"].user = await _user(server, http)
        check_access(server, endpoint.need, user, database, http.path_params)
    request = Request(
        server=server,
        database=database,
        user=user,
        method=http.method,
        path=dict(http.path_params),
        query=dict(http.query_params),
        headers=http.headers,
        body=await _body(server, http),
        id=http.scope["request_id"],
    )
    run = partial(_handled, handler, request, time.monotonic(), http.scope["observation"])
    background = http.headers.get("x-arango-async", "").lower()
    if background in ("store", "true") and endpoint.need.login:
        http.scope["observation"].in_background = True
        id_ = server.jobs.submit(user, run, keep=background == "store")
        return Reply(None, 202, {"x-arango-async-id": id_} if id_ else {})
    in_transaction = request.transaction_id is not None or handler in (transactions.commit, transactions.abort)
    if handler in _QUICK and not in_transaction:
        return run()
    state = http.app.state
    workers = state.transaction_workers if in_transaction else _lane(state, endpoint)
    request.may_wait = False
    try:
        try:
            return await anyio.to_thread.run_sync(run, limiter=workers)
        except WriteLockBusyError as busy:
            await _lock_writer(server.store, busy.timeout)
            request.holds_lock = True
            return await anyio.to_thread.run_sync(run, limiter=state.writers)
    finally:
        if request.holds_lock:
            server.store.unlock_writer()


def _lane(state: State, endpoint: Endpoint) -> anyio.CapacityLimiter:
    """The workers for a request outside of stream transactions."""
    if endpoint.handler is cursors.create:
        return state.queries
    reads = endpoint.method == "GET" or endpoint.handler in _READING_POSTS
    return state.readers if reads else state.writers


async def _lock_writer(store: Store, timeout: float) -> None:
    """Wait for the write lock without a thread. Raises ArangoError 1200 after ``timeout`` seconds."""
    waiter = store.write_lock.enqueue("another request")
    try:
        await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(waiter.granted)), timeout)
    except BaseException as error:
        too_late = store.write_lock.timeout_error()
        store.write_lock.withdraw(waiter)
        if isinstance(error, asyncio.TimeoutError):
            raise too_late from None
        raise


def _handled(handler: Handler, request: Request, arrived: float, observation: Observation) -> Reply:
    """Run a handler and encode its reply, in a worker thread; the reply says how long the request waited for it."""
    began = time.monotonic()
    queued = began - arrived
    reply = _reply(handler, request, queued)
    observation.queued, observation.handled = queued, time.monotonic() - began
    reply.headers[_QUEUE_TIME] = f"{queued:.6f}"
    return reply


def _reply(handler: Handler, request: Request, queued: float) -> Reply:
    try:
        if 0 < _longest_queue_time(request) < queued:
            raise ArangoError(21004)
        reply = handler(request)
        reply.body = reply.encoded()
    except ArangoError as error:
        return failure(error)
    except WriteLockBusyError:
        raise
    except RecursionError:
        return failure(ArangoError(1524))
    except MemoryError:
        return failure(ArangoError(32))
    except Exception:
        # A defect of aqlite: the client gets ArangoDB's internal error, the log gets the traceback.
        logger.exception(
            "%s %s failed, request id %s",
            request.method,
            handler.__name__,
            request.id or "not given",
            extra={"request_id": request.id},
        )
        return failure(ArangoError(4))
    return reply


def _longest_queue_time(request: Request) -> float:
    """Seconds that the client is willing to see its request queued; 0 for any."""
    try:
        return float(request.headers.get(_QUEUE_TIME, 0))
    except ValueError:
        return 0


async def _user(server: Server, http: HttpRequest) -> str:
    header = http.headers.get("authorization")
    if header is None:
        raise unauthorized()
    known = server.users.remembered(header)
    return known or await anyio.to_thread.run_sync(server.users.authenticate, header)


async def _body(server: Server, http: HttpRequest) -> bytes:
    """The whole body. Raises ArangoError 413 when it is too large, 408 when it does not arrive in time.

    A body that is too large is read to its end and dropped, because most clients look for an answer only then.
    """
    limit = server.limits.body_bytes
    chunks: list[bytes] = []
    size = 0
    try:
        with anyio.fail_after(server.limits.request_seconds):
            async for chunk in http.stream():
                size += len(chunk)
                if size <= limit:
                    chunks.append(chunk)
                else:
                    chunks.clear()
    except (TimeoutError, ClientDisconnect):
        raise ArangoError(408) from None
    if size > limit:
        raise ArangoError(413, f"payload too large: {size} bytes, at most {limit} are taken")
    whole = partial(_whole_body, chunks, http.headers.get("content-encoding", ""), limit)
    return await anyio.to_thread.run_sync(whole) if size > _LARGE_BODY else whole()


def _whole_body(chunks: list[bytes], encoding: str, limit: int) -> bytes:
    return decompressed(b"".join(chunks), encoding, limit)


async def _routing_error(http: HttpRequest, error: Exception) -> Response:
    path = http.scope["path"]
    if is_left_out(http.method, path):
        return _response(failure(ArangoError(501, f"'{http.method} {path}' is not supported by aqlite")))
    if getattr(error, "status_code", 404) == 405:
        return _response(failure(ArangoError(405)))
    return _response(failure(ArangoError(404, f"unknown path '{path}'")))


def _response(reply: Reply) -> Response:
    headers = {"server": "ArangoDB", "x-content-type-options": "nosniff", **reply.headers}
    if reply.status == 401:
        headers["www-authenticate"] = 'Bearer token_type="JWT", realm="ArangoDB"'
    if reply.status in (408, 413):
        headers["connection"] = "close"
    body = reply.encoded()
    return Response(body, reply.status, headers, media_type=reply.content_type if body else None)
