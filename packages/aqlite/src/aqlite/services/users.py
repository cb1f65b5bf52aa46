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
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jwt

from aqlite.errors import ArangoError
from aqlite.services.access_tokens import PREFIX, AccessTokens
from aqlite.services.permissions import NONE, SYSTEM, WRITE, collection_level, database_level
from aqlite.storage.documents import merge_patch
from aqlite.storage.store import Store
from aqlite.storage.users import User, delete_user, load_users, save_user, token_secret

ROOT = "root"
TOKEN_SECONDS = 3600
_SCRYPT = {"n": 2**14, "r": 8, "p": 1}
_REMEMBERED = 256


class Users:
    """All users of the data folder, in memory, written through to SQLite.

    A verified ``Authorization`` header is remembered by its SHA-256 together with the password hash that it matched,
    so that scrypt runs once per client and a header is worth nothing once the password is another.
    """

    def __init__(self, store: Store, secret: str | None = None) -> None:
        self._store = store
        self._changing = threading.Lock()
        self._remembering = threading.Lock()
        self._verified: OrderedDict[bytes, User] = OrderedDict()
        with store.write(SYSTEM) as view:
            self._secret = secret or token_secret(view)
            self._users = load_users(view)
        self.access_tokens = AccessTokens(store)

    # --- who is it --------------------------------------------------------------------------------------------
    def remembered(self, header: str) -> str | None:
        """User of an ``Authorization`` header that was verified before; ``None`` when it is not known any more."""
        user = self._verified.get(_digest(header))
        return user.name if user is not None and self._holds(user) else None

    def authenticate(self, header: str) -> str:
        """User of an ``Authorization`` header. Raises ArangoError 11 with status 401."""
        scheme, _, credentials = header.partition(" ")
        if scheme.lower() == "bearer":
            return self._token_user(credentials.strip())
        if scheme.lower() != "basic":
            raise unauthorized()
        try:
            name, _, password = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise unauthorized() from None
        user = self._verify(name, password)
        if user is None:
            raise unauthorized()
        if password.startswith(PREFIX):
            return user.name
        with self._remembering:
            self._verified[_digest(header)] = user
            while len(self._verified) > _REMEMBERED:
                self._verified.popitem(last=False)
        return name

    def check_password(self, name: str, password: str) -> None:
        """Raises ArangoError 401 unless the user is active and the password right."""
        if self._verify(name, password) is None:
            raise ArangoError(401, "Wrong credentials")

    def _verify(self, name: str, password: str) -> User | None:
        """The active user whose password or access token it is; a token needs no name."""
        owner = self.access_tokens.owner(password) if password.startswith(PREFIX) else None
        if owner is not None:
            user = self._users.get(owner)
            return user if user is not None and user.active and name in ("", owner) else None
        user = self._users.get(name)
        right = verify_password(password, user.password if user else _UNKNOWN_USER)
        return user if right and user is not None and self._holds(user) else None

    def _holds(self, user: User) -> bool:
        """Whether the user is still there, active and with the same password: hashing one takes a while."""
        now = self._users.get(user.name)
        return now is not None and now.active and now.password == user.password

    def token(self, name: str) -> str:
        """A JSON web token for the user."""
        now = int(time.time())
        claims = {"preferred_username": name, "iss": "arangodb", "iat": now, "exp": now + TOKEN_SECONDS}
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def _token_user(self, token: str) -> str:
        try:
            claims = jwt.decode(
                token, self._secret, algorithms=["HS256"], issuer="arangodb", options={"require": ["iss"]}
            )
        except jwt.InvalidTokenError:
            raise unauthorized() from None
        if "server_id" in claims and "preferred_username" not in claims:
            return ROOT  # only who knows the secret makes such a token: ArangoDB's superuser
        user = self._users.get(claims.get("preferred_username", ""))
        if user is None or not user.active:
            raise unauthorized()
        return user.name

    # --- what may it ------------------------------------------------------------------------------------------
    def level(self, name: str, database: str, collection: str | None = None) -> str:
        """Effective access level ``none``, ``ro`` or ``rw`` on a database, or on a collection in it."""
        if name == ROOT:
            return WRITE
        user = self._users.get(name)
        if user is None:
            return NONE
        if collection is None:
            return database_level(user.permissions, database)
        return collection_level(user.permissions, database, collection)

    def grant(self, name: str, database: str, collection: str, level: str | None) -> None:
        """Set a grant, or remove it with ``None``; ``collection`` is "" for the database itself."""

        def granted(user: User) -> User:
            permissions = {place: dict(grants) for place, grants in user.permissions.items()}
            if level is None:
                permissions.get(database, {}).pop(collection, None)
            else:
                permissions.setdefault(database, {})[collection] = level
            return replace(user, permissions=permissions)

        self._change(name, granted)

    def follow_collections(self, database: str, before: dict[int, str], after: dict[int, str], *, creator: str) -> None:
        """Let grants follow the collections of a database, given as names by id before and after a change.

        A renamed collection takes its grants along, a dropped one loses them, and a new one is its creator's to write.
        """
        moved = {name: after.get(id_) for id_, name in before.items() if after.get(id_) != name}
        created = [name for id_, name in after.items() if id_ not in before and not name.startswith("_")]
        for user in self.all():
            new = created if user.name == creator != ROOT else []
            if new or moved.keys() & user.permissions.get(database, {}).keys():
                self._change(user.name, partial(_following, database=database, moved=moved, created=new))

    def forget_database(self, database: str) -> None:
        """Remove every user's grants on a database that is there no more."""
        for user in self.all():
            if database in user.permissions:
                self._change(user.name, partial(_forgetting, database=database))

    # --- the users themselves ---------------------------------------------------------------------------------
    def __contains__(self, name: str) -> bool:
        return name in self._users

    def all(self) -> list[User]:
        """Every user, by name."""
        users = self._users.copy()
        return [users[name] for name in sorted(users)]

    def get(self, name: str) -> User:
        """Raises ArangoError 1703."""
        user = self._users.get(name)
        if user is None:
            raise ArangoError(1703)
        return user

    def create(self, name: Any, password: Any, *, active: Any = None, extra: Any = None) -> User:
        """Raises ArangoError 1700 (name), 1702 (exists)."""
        if type(name) is not str or not name or "/" in name or name.startswith(":role:"):
            raise ArangoError(1700)
        user = User(name, hash_password(_password_text(password)), active is not False, _extra_object(extra))
        with self._changing:
            if name in self._users:
                raise ArangoError(1702)
            self._save(user)
        return user

    def change(self, name: str, changes: dict[str, Any], *, replacing: bool) -> User:
        """Update or replace password, active and extra; an update merges ``extra``. Raises ArangoError 1703."""
        self.get(name)
        password = None
        if replacing or changes.get("passwd") is not None:
            password = hash_password(_password_text(changes.get("passwd")))
        active, extra = changes.get("active"), _extra_object(changes.get("extra"))

        def changed(user: User) -> User:
            return replace(
                user,
                password=password or user.password,
                active=(replacing or user.active) if active is None else bool(active),
                extra=extra if replacing else merge_patch(user.extra, extra, keep_null=True, merge_objects=True),
            )

        return self._change(name, changed)

    def remove(self, name: str) -> None:
        """Raises ArangoError 1703, and 11 for root."""
        self.get(name)
        if name == ROOT:
            raise ArangoError(11)
        with self._changing:
            with self._store.write(SYSTEM) as view:
                delete_user(view, name)
            self._users.pop(name, None)
            self.access_tokens.forget(name)

    def _change(self, name: str, change: Callable[[User], User]) -> User:
        """Save what ``change`` makes of the user as it is now: one change at a time. Raises ArangoError 1703."""
        with self._changing:
            user = change(self.get(name))
            self._save(user)
            return user

    def _save(self, user: User) -> None:
        with self._store.write(SYSTEM) as view:
            save_user(view, user)
        self._users[user.name] = user


def unauthorized() -> ArangoError:
    """What a client is told who is not known, or may not know: its driver then renews its token."""
    return ArangoError(11, "not authorized to execute this request", http=401)


def _following(user: User, *, database: str, moved: dict[str, str | None], created: list[str]) -> User:
    grants = user.permissions.get(database, {})
    kept = {moved.get(name, name): level for name, level in grants.items()} | dict.fromkeys(created, WRITE)
    kept.pop(None, None)
    return replace(user, permissions={**user.permissions, database: kept})


def _forgetting(user: User, *, database: str) -> User:
    return replace(user, permissions={place: grants for place, grants in user.permissions.items() if place != database})


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
