"""Routes of ``/_api/token``."""

from __future__ import annotations

import time
from typing import Any

from aqlite.http.request import Reply, Request
from aqlite.storage.users import AccessToken


def create(request: Request) -> Reply:
    """POST /_api/token/{user}: the only answer that holds the token itself."""
    users, given = request.server.users, request.object()
    user = users.get(request.path["user"])
    token, text = users.access_tokens.create(user.name, given.get("name"), given.get("valid_until"))
    return Reply({**_shown(token), "token": text})


def listing(request: Request) -> Reply:
    """GET /_api/token/{user}."""
    user = request.server.users.get(request.path["user"])
    return Reply({"tokens": [_shown(token) for token in request.server.users.access_tokens.of(user.name)]})


def delete(request: Request) -> Reply:
    """DELETE /_api/token/{user}/{id}."""
    user = request.server.users.get(request.path["user"])
    request.server.users.access_tokens.remove(user.name, request.path["id"])
    return Reply({})


def _shown(token: AccessToken) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "valid_until": int(token.valid_until),
        "created_at": int(token.created_at),
        "fingerprint": token.fingerprint,
        "active": token.valid_until > time.time(),
    }
