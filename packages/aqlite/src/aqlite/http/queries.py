"""Routes that parse, explain, list and kill queries."""

from __future__ import annotations

from typing import Any

from aqlite import aql
from aqlite.errors import ArangoError
from aqlite.http.request import Reply, Request, ok
from aqlite.services.queries import SHOWN_CHARACTERS

MAX_QUERY_CHARACTERS = 256 * 1024


def query_text(given: dict[str, Any]) -> str:
    """The query of a request body. Raises ArangoError 1502, 10, and 1524 when it is too long."""
    text = given.get("query")
    if text is None or text == "":
        raise ArangoError(1502)
    if type(text) is not str:
        raise ArangoError(10, "expecting a string for <query>")
    if len(text) > MAX_QUERY_CHARACTERS:
        raise ArangoError(
            1524,
            f"query text has {len(text)} characters, at most {MAX_QUERY_CHARACTERS} are taken; use bind parameters",
        )
    return text


def bind_variables(given: dict[str, Any]) -> dict[str, Any]:
    """The bind variables of a request body. Raises ArangoError 10."""
    variables = given.get("bindVars")
    if variables is None:
        return {}
    if type(variables) is not dict:
        raise ArangoError(10, "expecting an object for <bindVars>")
    return variables


def parse(request: Request) -> Reply:
    """POST /_api/query."""
    parsed = aql.parse_query(query_text(request.object()))
    return ok(
        {
            "parsed": True,
            "collections": parsed.collections,
            "bindVars": parsed.bind_vars,
            "ast": parsed.ast,
        }
    )


def explain(request: Request) -> Reply:
    """POST /_api/explain."""
    given = request.object()
    options = given.get("options")
    options = options if type(options) is dict else {}
    query_options = aql.QueryOptions(
        user=request.user,
        full_count=bool(options.get("fullCount")),
        fail_on_warning=bool(options.get("failOnWarning")),
    )
    with request.reading() as view:
        explained = aql.explain_query(view, query_text(given), bind_variables(given), query_options)
    if not options.get("allPlans"):
        return ok(explained)
    plan = explained.pop("plan")
    return ok({**explained, "plans": [plan]})


def current(request: Request) -> Reply:
    """GET /_api/query/current."""
    return Reply([query.shown() for query in request.server.queries.of(request.database)])


def slow(request: Request) -> Reply:
    """GET /_api/query/slow: aqlite keeps no list of slow queries."""
    return Reply([])


def clear_slow(request: Request) -> Reply:
    """DELETE /_api/query/slow."""
    return ok()


def kill(request: Request) -> Reply:
    """DELETE /_api/query/{id}."""
    request.server.queries.kill(request.database, request.path["id"])
    return ok()


def properties(request: Request) -> Reply:
    """GET /_api/query/properties."""
    return ok(
        {
            "enabled": True,
            "trackSlowQueries": False,
            "trackBindVars": True,
            "maxSlowQueries": 0,
            "slowQueryThreshold": 10,
            "maxQueryStringLength": SHOWN_CHARACTERS,
        }
    )


def server_queries(request: Request) -> Reply:
    """GET /_admin/server/aql-queries."""
    return ok({"result": {"queries": []}})
