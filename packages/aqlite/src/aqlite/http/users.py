"""Routes of ``/_api/user`` and ``/_open/auth``."""

from __future__ import annotations

from typing import Any

from aqlite.errors import ArangoError
from aqlite.http.request import Reply, Request, ok, parse_json
from aqlite.services.permissions import LEVELS
from aqlite.storage.users import User


def login(request: Request) -> Reply:
    """POST /_open/auth."""
    given = parse_json(request.body)
    if type(given) is not dict or type(given.get("username")) is not str or type(given.get("password")) is not str:
        raise ArangoError(400, "expecting an object with 'username' and 'password'")
    request.server.users.check_password(given["username"], given["password"])
    return Reply({"jwt": request.server.users.token(given["username"])})


def renew(request: Request) -> Reply:
    """POST /_open/auth/renew: a token that lasts longer than the one the request came with."""
    return Reply({"jwt": request.server.users.token(request.user)})


def list_users(request: Request) -> Reply:
    """GET /_api/user."""
    return ok({"result": [_shown(user) for user in request.server.users.all()]})


def get_user(request: Request) -> Reply:
    """GET /_api/user/{user}."""
    return ok(_shown(request.server.users.get(request.path["user"])))


def create_user(request: Request) -> Reply:
    """POST /_api/user."""
    given = request.object()
    user = request.server.users.create(
        given.get("user"), given.get("passwd"), active=given.get("active"), extra=given.get("extra")
    )
    return ok(_shown(user), 201)


def update_user(request: Request) -> Reply:
    """PATCH /_api/user/{user}."""
    return ok(_shown(request.server.users.change(request.path["user"], request.object(), replacing=False)))


def replace_user(request: Request) -> Reply:
    """PUT /_api/user/{user}."""
    return ok(_shown(request.server.users.change(request.path["user"], request.object(), replacing=True)))


def delete_user(request: Request) -> Reply:
    """DELETE /_api/user/{user}."""
    request.server.users.remove(request.path["user"])
    return ok(status=202)


def list_permissions(request: Request) -> Reply:
    """GET /_api/user/{user}/database."""
    users, name = request.server.users, request.path["user"]
    permissions = users.get(name).permissions
    with request.server.store.read("_system") as view:
        databases = {database: list(found) for database, found in sorted(view.catalog.collections.items())}
    if not request.flag("full"):
        levels = {database: users.level(name, database) for database in databases}
        return ok({"result": {database: level for database, level in levels.items() if level != "none"}})
    result: dict[str, Any] = {}
    for database, collections in databases.items():
        grants = permissions.get(database, {})
        result[database] = {
            "permission": grants.get("", "undefined"),
            "collections": {
                **{collection: grants.get(collection, "undefined") for collection in sorted(collections)},
                "*": grants.get("*", "undefined"),
            },
        }
    result["*"] = {
        "permission": permissions.get("*", {}).get("", "undefined"),
        "collections": {"*": permissions.get("*", {}).get("*", "undefined")},
    }
    return ok({"result": result})


def get_permission(request: Request) -> Reply:
    """GET /_api/user/{user}/database/{database}[/{collection}]."""
    request.server.users.get(request.path["user"])
    level = request.server.users.level(request.path["user"], request.path["name"], request.path.get("collection"))
    return ok({"result": level})


def set_permission(request: Request) -> Reply:
    """PUT /_api/user/{user}/database/{database}[/{collection}]."""
    level = request.object().get("grant")
    if level not in LEVELS:
        raise ArangoError(400, "grant must be one of none, ro, rw")
    name, database, collection = request.path["user"], request.path["name"], request.path.get("collection")
    _require_place(request, database, collection)
    request.server.users.grant(name, database, collection or "", level)
    place = database if collection is None else f"{database}/{collection}"
    return ok({place: level})


def reset_permission(request: Request) -> Reply:
    """DELETE /_api/user/{user}/database/{database}[/{collection}]."""
    request.server.users.grant(request.path["user"], request.path["name"], request.path.get("collection") or "", None)
    return ok(status=202)


def _require_place(request: Request, database: str, collection: str | None) -> None:
    if database == "*":
        return
    with request.server.store.read(database) as view:
        if collection not in (None, "*"):
            view.find(collection)


def _shown(user: User) -> dict[str, Any]:
    return {"user": user.name, "active": user.active, "extra": user.extra}
