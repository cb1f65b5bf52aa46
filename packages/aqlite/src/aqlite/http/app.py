"""The ASGI application: routing, authentication, request bodies, errors."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from aqlite.errors import ArangoError
from aqlite.http import (
    admin,
    collections,
    cursors,
    databases,
    documents,
    graph_documents,
    graphs,
    imports,
    indexes,
    jobs,
    queries,
    transactions,
    users,
)
from aqlite.http.request import Reply, Request, decompressed, failure
from aqlite.services.server import Server

logger = logging.getLogger("aqlite")

Handler = Callable[[Request], Reply]
_DATABASE_PREFIX = re.compile(r"/_db/([^/]+)(/.*)?\Z", re.DOTALL)
# Most workers may wait for the write lock; those of open transactions, which may hold it, are counted apart.
_WORKERS, _TRANSACTION_WORKERS = 48, 16
# Reading one document takes less time than handing it to a worker does.
_QUICK = (documents.get, admin.version)

OPEN_ROUTES: list[tuple[str, str, Handler]] = [
    ("POST", "/_open/auth", users.login),
    ("GET", "/_admin/server/availability", admin.availability),
]

_DOCUMENT, _DOCUMENTS = "/_api/document/{collection}/{key}", "/_api/document/{collection}"
_COLLECTION, _USER = "/_api/collection/{name}", "/_api/user/{user}"
_GRAPH = "/_api/gharial/{graph}"

ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", _DOCUMENT, documents.get),
    ("PATCH", _DOCUMENT, documents.update),
    ("PUT", _DOCUMENT, documents.replace),
    ("DELETE", _DOCUMENT, documents.remove),
    ("POST", "/_api/document", documents.insert_by_parameter),
    ("POST", _DOCUMENTS, documents.insert),
    ("PATCH", _DOCUMENTS, documents.update_many),
    ("PUT", _DOCUMENTS, documents.replace_many),
    ("DELETE", _DOCUMENTS, documents.remove_many),
    ("GET", "/_api/edges/{collection}", documents.edges),
    ("POST", "/_api/cursor", cursors.create),
    ("POST", "/_api/cursor/{id}", cursors.fetch),
    ("PUT", "/_api/cursor/{id}", cursors.fetch),
    ("POST", "/_api/cursor/{id}/{batch}", cursors.fetch_batch),
    ("DELETE", "/_api/cursor/{id}", cursors.delete),
    ("POST", "/_api/query", queries.parse),
    ("POST", "/_api/explain", queries.explain),
    ("GET", "/_api/query/current", queries.current),
    ("GET", "/_api/query/slow", queries.slow),
    ("DELETE", "/_api/query/slow", queries.clear_slow),
    ("GET", "/_api/query/properties", queries.properties),
    ("DELETE", "/_api/query/{id}", queries.kill),
    ("POST", "/_api/import", imports.import_documents),
    ("GET", "/_api/collection", collections.listing),
    ("POST", "/_api/collection", collections.create),
    ("GET", _COLLECTION, collections.get),
    ("DELETE", _COLLECTION, collections.drop),
    ("GET", f"{_COLLECTION}/properties", collections.properties),
    ("PUT", f"{_COLLECTION}/properties", collections.change_properties),
    ("GET", f"{_COLLECTION}/count", collections.count),
    ("GET", f"{_COLLECTION}/figures", collections.figures),
    ("GET", f"{_COLLECTION}/revision", collections.revision),
    ("GET", f"{_COLLECTION}/checksum", collections.checksum),
    ("GET", f"{_COLLECTION}/shards", collections.shards),
    ("PUT", f"{_COLLECTION}/responsibleShard", collections.shards),
    ("PUT", f"{_COLLECTION}/load", collections.load),
    ("PUT", f"{_COLLECTION}/unload", collections.load),
    ("PUT", f"{_COLLECTION}/loadIndexesIntoMemory", collections.load_indexes),
    ("PUT", f"{_COLLECTION}/compact", collections.load_indexes),
    ("PUT", f"{_COLLECTION}/recalculateCount", collections.recalculate_count),
    ("PUT", f"{_COLLECTION}/truncate", collections.truncate),
    ("PUT", f"{_COLLECTION}/rename", collections.rename),
    ("GET", "/_api/index", indexes.listing),
    ("POST", "/_api/index", indexes.create),
    ("GET", "/_api/index/{collection}/{id}", indexes.get),
    ("DELETE", "/_api/index/{collection}/{id}", indexes.drop),
    ("GET", "/_api/gharial", graphs.listing),
    ("POST", "/_api/gharial", graphs.create),
    ("GET", _GRAPH, graphs.get),
    ("DELETE", _GRAPH, graphs.drop),
    ("GET", f"{_GRAPH}/vertex", graphs.vertex_collections),
    ("POST", f"{_GRAPH}/vertex", graphs.add_vertex_collection),
    ("DELETE", f"{_GRAPH}/vertex/{{collection}}", graphs.remove_vertex_collection),
    ("GET", f"{_GRAPH}/edge", graphs.edge_collections),
    ("POST", f"{_GRAPH}/edge", graphs.add_edge_definition),
    ("PUT", f"{_GRAPH}/edge/{{collection}}", graphs.replace_edge_definition),
    ("DELETE", f"{_GRAPH}/edge/{{collection}}", graphs.remove_edge_definition),
    ("POST", f"{_GRAPH}/vertex/{{collection}}", graph_documents.insert_vertex),
    ("GET", f"{_GRAPH}/vertex/{{collection}}/{{key}}", graph_documents.get_vertex),
    ("PATCH", f"{_GRAPH}/vertex/{{collection}}/{{key}}", graph_documents.update_vertex),
    ("PUT", f"{_GRAPH}/vertex/{{collection}}/{{key}}", graph_documents.replace_vertex),
    ("DELETE", f"{_GRAPH}/vertex/{{collection}}/{{key}}", graph_documents.remove_vertex),
    ("POST", f"{_GRAPH}/edge/{{collection}}", graph_documents.insert_edge),
    ("GET", f"{_GRAPH}/edge/{{collection}}/{{key}}", graph_documents.get_edge),
    ("PATCH", f"{_GRAPH}/edge/{{collection}}/{{key}}", graph_documents.update_edge),
    ("PUT", f"{_GRAPH}/edge/{{collection}}/{{key}}", graph_documents.replace_edge),
    ("DELETE", f"{_GRAPH}/edge/{{collection}}/{{key}}", graph_documents.remove_edge),
    ("GET", "/_api/transaction", transactions.running),
    ("POST", "/_api/transaction", transactions.javascript),
    ("POST", "/_api/transaction/begin", transactions.begin),
    ("GET", "/_api/transaction/{id}", transactions.status),
    ("PUT", "/_api/transaction/{id}", transactions.commit),
    ("DELETE", "/_api/transaction/{id}", transactions.abort),
    ("GET", "/_api/database", databases.names),
    ("POST", "/_api/database", databases.create),
    ("GET", "/_api/database/user", databases.accessible),
    ("GET", "/_api/database/current", databases.current),
    ("DELETE", "/_api/database/{name}", databases.drop),
    ("GET", "/_api/user", users.list_users),
    ("POST", "/_api/user", users.create_user),
    ("GET", _USER, users.get_user),
    ("PATCH", _USER, users.update_user),
    ("PUT", _USER, users.replace_user),
    ("DELETE", _USER, users.delete_user),
    ("GET", f"{_USER}/database", users.list_permissions),
    ("GET", f"{_USER}/database/{{name}}", users.get_permission),
    ("PUT", f"{_USER}/database/{{name}}", users.set_permission),
    ("DELETE", f"{_USER}/database/{{name}}", users.reset_permission),
    ("GET", f"{_USER}/database/{{name}}/{{collection}}", users.get_permission),
    ("PUT", f"{_USER}/database/{{name}}/{{collection}}", users.set_permission),
    ("DELETE", f"{_USER}/database/{{name}}/{{collection}}", users.reset_permission),
    ("GET", "/_api/job/{id}", jobs.show),
    ("PUT", "/_api/job/{id}", jobs.fetch),
    ("DELETE", "/_api/job/{id}", jobs.delete),
    ("PUT", "/_api/job/{id}/cancel", jobs.cancel),
    ("GET", "/_api/version", admin.version),
    ("GET", "/_api/engine", admin.engine),
    ("GET", "/_api/key-generators", admin.key_generators),
    ("GET", "/_api/view", admin.views),
    ("GET", "/_admin/status", admin.status),
    ("GET", "/_admin/time", admin.server_time),
    ("GET", "/_admin/server/role", admin.role),
    ("GET", "/_admin/server/mode", admin.mode),
    ("GET", "/_admin/server/id", admin.server_id),
    ("GET", "/_admin/server/aql-queries", queries.server_queries),
    ("GET", "/_admin/database/target-version", admin.target_version),
    ("GET", "/_admin/statistics", admin.statistics),
    ("GET", "/_admin/metrics", admin.metrics),
    ("GET", "/_admin/metrics/v2", admin.metrics),
    ("GET", "/_admin/echo", admin.echo),
    ("POST", "/_admin/echo", admin.echo),
    ("PUT", "/_admin/compact", admin.compact),
    ("GET", "/_admin/license", admin.license_info),
]

# Parts of ArangoDB's interface that aqlite knows but does not have.
LEFT_OUT = (
    "/_api/analyzer",
    "/_api/aqlfunction",
    "/_api/batch",
    "/_api/foxx",
    "/_api/query",
    "/_api/replication",
    "/_api/simple",
    "/_api/tasks",
    "/_api/token",
    "/_api/view",
    "/_api/wal",
    "/_admin",
)


def create_app(server: Server) -> ASGIApp:
    """The application for a server; closing the server is left to the caller."""
    routes = [_route(server, *entry, open_=True) for entry in OPEN_ROUTES]
    routes += [_route(server, *entry, open_=False) for entry in ROUTES]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> Any:
        app.state.workers = anyio.CapacityLimiter(_WORKERS)
        app.state.transaction_workers = anyio.CapacityLimiter(_TRANSACTION_WORKERS)
        yield

    app = Starlette(routes=routes, exception_handlers={HTTPException: _routing_error}, lifespan=lifespan)
    app.router.redirect_slashes = False
    return _DatabasePrefix(app)


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


def _route(server: Server, method: str, path: str, handler: Handler, *, open_: bool) -> Route:
    async def endpoint(http: HttpRequest) -> Response:
        try:
            reply = await _answer(server, http, handler, open_=open_)
        except ArangoError as error:
            reply = failure(error)
        return _response(reply)

    return Route(path, endpoint, methods=[method], name=f"{method} {path}")


async def _answer(server: Server, http: HttpRequest, handler: Handler, *, open_: bool) -> Reply:
    user = "" if open_ else await _user(server, http)
    database = http.scope["database"]
    if not server.store.has_database(database):
        raise ArangoError(1228)
    if not open_ and not _may_enter(server, user, database, http.url.path):
        raise ArangoError(401)
    request = Request(
        server=server,
        database=database,
        user=user,
        method=http.method,
        path=dict(http.path_params),
        query=dict(http.query_params),
        headers=http.headers,
        body=await _body(server, http),
    )
    run = partial(_handled, handler, request)
    background = http.headers.get("x-arango-async", "").lower()
    if background in ("store", "true") and not open_:
        id_ = server.jobs.submit(user, run, keep=background == "store")
        return Reply(None, 202, {"x-arango-async-id": id_} if id_ else {})
    in_transaction = request.transaction_id is not None or handler in (transactions.commit, transactions.abort)
    if handler in _QUICK and not in_transaction:
        return run()
    workers = http.app.state.transaction_workers if in_transaction else http.app.state.workers
    return await anyio.to_thread.run_sync(run, limiter=workers)


def _handled(handler: Handler, request: Request) -> Reply:
    """Run a handler and encode its reply, in a worker thread."""
    try:
        reply = handler(request)
        reply.body = reply.encoded()
    except ArangoError as error:
        return failure(error)
    except RecursionError:
        return failure(ArangoError(1524))
    except MemoryError:
        return failure(ArangoError(32))
    except Exception:
        # A defect of aqlite: the client gets ArangoDB's internal error, the log gets the traceback.
        logger.exception("%s %s failed", request.method, handler.__name__)
        return failure(ArangoError(4))
    return reply


def _may_enter(server: Server, user: str, database: str, path: str) -> bool:
    """Whether the user may use the database at all; everybody may look at himself and at the version."""
    own = (f"/_api/user/{user}", "/_api/version", "/_api/database/user")
    return server.users.level(user, database) != "none" or path.startswith(own)


async def _user(server: Server, http: HttpRequest) -> str:
    header = http.headers.get("authorization")
    if header is None:
        raise ArangoError(401)
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
    return decompressed(b"".join(chunks), http.headers.get("content-encoding", ""), limit)


async def _routing_error(http: HttpRequest, error: Exception) -> Response:
    number = getattr(error, "status_code", 404)
    if number == 405:
        return _response(failure(ArangoError(405)))
    path = http.scope["path"]
    if path.startswith(LEFT_OUT):
        return _response(failure(ArangoError(501, f"'{path}' is not supported by aqlite")))
    return _response(failure(ArangoError(404, f"unknown path '{path}'")))


def _response(reply: Reply) -> Response:
    headers = {"server": "ArangoDB", "x-content-type-options": "nosniff", **reply.headers}
    if reply.status == 401:
        headers["www-authenticate"] = 'Bearer token_type="JWT", realm="ArangoDB"'
    if reply.status in (408, 413):
        headers["connection"] = "close"
    return Response(reply.encoded(), reply.status, headers, media_type=reply.content_type)
