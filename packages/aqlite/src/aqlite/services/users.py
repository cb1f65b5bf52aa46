"""Users: passwords, tokens and permissions."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from typing import Any

import jwt

from aqlite.errors import ArangoError
from aqlite.storage.store import Store
from aqlite.storage.users import User, delete_user, load_users, save_user, token_secret

ROOT = "root"
TOKEN_SECONDS = 3600
_SCRYPT = {"n": 2**14, "r": 8, "p": 1}
_REMEMBERED = 256


class Users:
    """All users of the data folder, in memory, written through to SQLite.

    Verified ``Authorization`` headers are remembered by their SHA-256, so that scrypt runs once per client.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._verified: OrderedDict[bytes, str] = OrderedDict()
        with store.write("_system") as view:
            self._secret = token_secret(view)
            self._users = load_users(view)

    # --- who is it --------------------------------------------------------------------------------------------
    def remembered(self, header: str) -> str | None:
        """User of an ``Authorization`` header that was verified before; ``None`` when it is not known."""
        return self._verified.get(_digest(header))

    def authenticate(self, header: str) -> str:
        """User of an ``Authorization`` header. Raises ArangoError 401."""
        scheme, _, credentials = header.partition(" ")
        if scheme.lower() == "bearer":
            return self._token_user(credentials.strip())
        if scheme.lower() != "basic":
            raise ArangoError(401)
        try:
            name, _, password = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise ArangoError(401) from None
        self.check_password(name, password)
        with self._lock:
            self._verified[_digest(header)] = name
            while len(self._verified) > _REMEMBERED:
                self._verified.popitem(last=False)
        return name

    def check_password(self, name: str, password: str) -> None:
        """Raises ArangoError 401 unless the user is active and the password right."""
        user = self._users.get(name)
        stored = user.password if user else _UNKNOWN_USER
        if not verify_password(password, stored) or user is None or not user.active:
            raise ArangoError(401, "Wrong credentials")

    def token(self, name: str) -> str:
        """A JSON web token for the user."""
        now = int(time.time())
        claims = {"preferred_username": name, "iss": "arangodb", "iat": now, "exp": now + TOKEN_SECONDS}
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def _token_user(self, token: str) -> str:
        try:
            claims = jwt.decode(
                token, self._secret, algorithms=["HS256"], issuer="arangodb", options={"require": ["exp", "iss"]}
            )
        except jwt.InvalidTokenError:
            raise ArangoError(401) from None
        user = self._users.get(claims.get("preferred_username", ""))
        if user is None or not user.active:
            raise ArangoError(401)
        return user.name

    # --- what may it ------------------------------------------------------------------------------------------
    def level(self, name: str, database: str, collection: str | None = None) -> str:
        """Effective access level ``none``, ``ro`` or ``rw``; the most specific grant decides."""
        if name == ROOT:
            return "rw"
        user = self._users.get(name)
        if user is None:
            return "none"
        grants = user.permissions
        keys = [(database, ""), ("*", "")]
        if collection is not None:
            keys = [(database, collection), (database, "*"), *keys, ("*", "*")]
        for place, what in keys:
            if what in grants.get(place, {}):
                return grants[place][what]
        return "none"

    def grant(self, name: str, database: str, collection: str, level: str | None) -> None:
        """Set a grant, or remove it with ``None``; ``collection`` is "" for the database itself."""
        user = self.get(name)
        permissions = {place: dict(grants) for place, grants in user.permissions.items()}
        if level is None:
            permissions.get(database, {}).pop(collection, None)
        else:
            permissions.setdefault(database, {})[collection] = level
        self._save(User(user.name, user.password, user.active, user.extra, permissions))

    # --- the users themselves ---------------------------------------------------------------------------------
    def __contains__(self, name: str) -> bool:
        return name in self._users

    def all(self) -> list[User]:
        """Every user, by name."""
        return [self._users[name] for name in sorted(self._users)]

    def get(self, name: str) -> User:
        """Raises ArangoError 1703."""
        if name not in self._users:
            raise ArangoError(1703)
        return self._users[name]

    def create(self, name: Any, password: Any, *, active: Any = None, extra: Any = None) -> User:
        """Raises ArangoError 1700 (name), 1702 (exists)."""
        if type(name) is not str or not name or "/" in name or name.startswith(":role:"):
            raise ArangoError(1700)
        if name in self._users:
            raise ArangoError(1702)
        user = User(name, hash_password(_password_text(password)), active is not False, _extra_object(extra))
        self._save(user)
        return user

    def change(self, name: str, changes: dict[str, Any], *, replace: bool) -> User:
        """Update or replace password, active and extra. Raises ArangoError 1703."""
        user = self.get(name)
        password = user.password
        if replace or changes.get("passwd") is not None:
            password = hash_password(_password_text(changes.get("passwd")))
        active, extra = changes.get("active"), changes.get("extra")
        active = (replace or user.active) if active is None else bool(active)
        extra = ({} if replace else user.extra) if extra is None else _extra_object(extra)
        changed = User(name, password, active, extra, user.permissions)
        self._save(changed)
        return changed

    def remove(self, name: str) -> None:
        """Raises ArangoError 1703, and 11 for root."""
        self.get(name)
        if name == ROOT:
            raise ArangoError(11)
        with self._store.write("_system") as view:
            delete_user(view, name)
        del self._users[name]
        self._verified.clear()

    def _save(self, user: User) -> None:
        with self._store.write("_system") as view:
            save_user(view, user)
        self._users[user.name] = user
        self._verified.clear()


def _digest(header: str) -> bytes:
    return hashlib.sha256(header.encode("utf-8", "surrogateescape")).digest()


def hash_password(password: str) -> str:
    """Salted scrypt hash as text."""
    salt = secrets.token_bytes(16)
    digest = hashlib.scrypt(password.encode(), salt=salt, **_SCRYPT)
    return f"{salt.hex()}${digest.hex()}"


def verify_password(password: str, stored: str) -> bool:
    """Whether the password is the one that was hashed."""
    salt, digest = stored.split("$")
    given = hashlib.scrypt(password.encode("utf-8", "surrogateescape"), salt=bytes.fromhex(salt), **_SCRYPT)
    return hmac.compare_digest(given, bytes.fromhex(digest))


# Wrong names cost the same time as wrong passwords.
_UNKNOWN_USER = f"{'00' * 16}${'00' * 64}"


def _password_text(password: Any) -> str:
    if password is None:
        return ""
    if type(password) is not str:
        raise ArangoError(400, "password must be a string")
    return password


def _extra_object(extra: Any) -> dict[str, Any]:
    if extra is None:
        return {}
    if type(extra) is not dict:
        raise ArangoError(400, "extra must be an object")
    return extra
