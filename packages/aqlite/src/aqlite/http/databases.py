"""Routes of ``/_api/database``."""

from __future__ import annotations

from aqlite.errors import ArangoError
from aqlite.http.request import Reply, Request, ok
from aqlite.services.permissions import WRITE
from aqlite.services.users import ROOT
from aqlite.storage import ddl


def names(request: Request) -> Reply:
    """GET /_api/database."""
    with request.server.store.read("_system") as view:
        return ok({"result": sorted(view.catalog.databases)})


def accessible(request: Request) -> Reply:
    """GET /_api/database/user."""
    users = request.server.users
    with request.server.store.read("_system") as view:
        return ok({"result": [n for n in sorted(view.catalog.databases) if users.level(request.user, n) != "none"]})


def current(request: Request) -> Reply:
    """GET /_api/database/current."""
    with request.server.store.read(request.database) as view:
        number = view.catalog.databases[request.database]
    return ok(
        {
            "result": {
                "name": request.database,
                "id": str(number),
                "isSystem": request.database == ddl.SYSTEM_DATABASE,
                "path": "none",
                "sharding": "",
                "replicationFactor": 1,
                "writeConcern": 1,
            }
        }
    )


def create(request: Request) -> Reply:
    """POST /_api/database: also creates the users that the request names and gives them write access."""
    given = request.object()
    name = given.get("name")
    if type(name) is not str:
        raise ArangoError(1229)
    members = given.get("users") or []
    if type(members) is not list or not all(type(m) is dict and type(m.get("username")) is str for m in members):
        raise ArangoError(10, "users must be an array of objects with a 'username'")
    with request.defining() as view:
        ddl.create_database(view, name)
    users = request.server.users
    if request.user != ROOT:
        users.grant(request.user, name, "", WRITE)
    for member in members:
        username = member["username"]
        if username not in users:
            users.create(username, member.get("passwd"), active=member.get("active"), extra=member.get("extra"))
        users.grant(username, name, "", WRITE)
        users.grant(username, name, "*", WRITE)
    return ok({"result": True}, 201)


def drop(request: Request) -> Reply:
    """DELETE /_api/database/{name}."""
    with request.defining() as view:
        ddl.drop_database(view, request.path["name"])
    request.server.users.forget_database(request.path["name"])
    return ok({"result": True})
