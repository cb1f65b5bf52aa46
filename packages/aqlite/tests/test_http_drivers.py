"""Every route that ArangoDB's Python driver calls is either there or says that it is left out."""

from __future__ import annotations

import ast
from pathlib import Path

import arango
import pytest
import requests
from server_process import PASSWORD

NAME, HANDLE = "x", "x/x"


def _path(node: ast.expr | None, last: str) -> str | None:
    """The path that an expression of the driver's source gives: a name for each gap, ``last`` for the last."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
        gaps = [position for position, part in enumerate(parts) if part is None]
        return "".join((last if at in gaps[-1:] else NAME) if part is None else part for at, part in enumerate(parts))
    return None


def driver_routes() -> dict[str, set[str]]:
    """Method and path to the ways in which the path may be filled in: its last gap takes a name or a handle."""
    routes: dict[str, set[str]] = {}
    for file in Path(arango.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Request":
                given = {keyword.arg: keyword.value for keyword in node.keywords}
                method = _path(given.get("method"), "")
                paths = [_path(given.get("endpoint"), name) for name in (NAME, HANDLE)]
                if method and paths[0] and not paths[0].startswith("/_api/x"):
                    routes.setdefault(f"{method.upper()} {paths[0].partition('#')[0]}", set()).update(paths)
    return routes


ROUTES = driver_routes()


def test_the_driver_calls_many_routes():
    assert len(ROUTES) > 150


@pytest.mark.parametrize("route", sorted(ROUTES))
def test_the_server_knows_every_route_of_the_driver(server, db, route):
    root = f"{server.url}/_db/{db.name}"
    method = route.split(" ")[0]
    answers = [
        requests.request(method, f"{root}{path}", auth=("root", PASSWORD), json={}, timeout=30)
        for path in sorted(ROUTES[route])
    ]
    assert any(answer.status_code != 405 and "unknown path" not in answer.text for answer in answers), answers[0].text
