"""Users as the data folder keeps them."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from aqlite.storage.snapshot import Snapshot
from aqlite.storage.transaction import Transaction


@dataclass(frozen=True)
class User:
    """One user; ``permissions`` maps a database (or ``*``) to ``{"": level, collection: level}``."""

    name: str
    password: str
    active: bool = True
    extra: dict[str, Any] = field(default_factory=dict)
    permissions: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class AccessToken:
    """One access token; times are Unix times in seconds, ``digest`` is the SHA-256 of its text."""

    id: int
    user: str
    name: str
    valid_until: float
    created_at: float
    fingerprint: str
    digest: str


def load_users(view: Snapshot) -> dict[str, User]:
    """Every user by name."""
    rows = view.connection.execute("SELECT name, password, active, extra, permissions FROM users")
    return {
        name: User(name, password, bool(active), orjson.loads(extra), orjson.loads(permissions))
        for name, password, active, extra, permissions in rows
    }


def save_user(view: Transaction, user: User) -> None:
    """Store a user, new or changed."""
    extra, permissions = orjson.dumps(user.extra).decode(), orjson.dumps(user.permissions).decode()
    view.connection.execute(
        "INSERT OR REPLACE INTO users VALUES (?, ?, ?, ?, ?)",
        (user.name, user.password, user.active, extra, permissions),
    )


def delete_user(view: Transaction, name: str) -> None:
    """Forget a user."""
    view.connection.execute("DELETE FROM users WHERE name = ?", (name,))


def token_secret(view: Transaction) -> str:
    """The folder's own secret for signing tokens, made on first use."""
    view.connection.execute("INSERT OR IGNORE INTO meta VALUES ('jwt', ?)", (secrets.token_hex(32),))
    return view.connection.execute("SELECT value FROM meta WHERE name = 'jwt'").fetchone()[0]


def load_access_tokens(view: Snapshot) -> tuple[AccessToken, ...]:
    """Every access token, oldest first."""
    row = view.connection.execute("SELECT value FROM meta WHERE name = 'access_tokens'").fetchone()
    return () if row is None else tuple(AccessToken(**stored) for stored in orjson.loads(row[0]))


def save_access_tokens(view: Transaction, tokens: Iterable[AccessToken]) -> None:
    """Store all access tokens."""
    text = orjson.dumps([asdict(token) for token in tokens]).decode()
    view.connection.execute("INSERT OR REPLACE INTO meta VALUES ('access_tokens', ?)", (text,))
