"""Access tokens: long random texts that stand for a user's password until a chosen time."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from typing import Any

from aqlite.errors import ArangoError
from aqlite.storage.store import Store
from aqlite.storage.users import AccessToken, load_access_tokens, save_access_tokens

PREFIX = "v1."
_TOKENS_PER_USER = 64


class AccessTokens:
    """All access tokens of the data folder, in memory, written through; only their SHA-256 is kept."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        with store.read("_system") as view:
            self._tokens = load_access_tokens(view)

    def create(self, user: str, name: Any, valid_until: Any) -> tuple[AccessToken, str]:
        """A new token and its text, which is told only once. Raises ArangoError 10, 1207, 32."""
        if type(name) is not str or not name:
            raise ArangoError(10, "expecting a non-empty string for <name>")
        if type(valid_until) not in (int, float) or valid_until <= time.time():
            raise ArangoError(10, "expecting a Unix time in the future for <valid_until>")
        text = f"{PREFIX}{secrets.token_hex(32)}"
        with self._lock:
            own = self.of(user)
            if any(token.name == name for token in own):
                raise ArangoError(1207, f"duplicate name: the user has an access token '{name}'")
            if len(own) >= _TOKENS_PER_USER:
                raise ArangoError(32, f"a user has at most {_TOKENS_PER_USER} access tokens; delete some")
            number = 1 + max((token.id for token in self._tokens), default=0)
            token = AccessToken(number, user, name, valid_until, time.time(), f"v1...{text[-6:]}", _hash(text))
            self._save((*self._tokens, token))
        return token, text

    def of(self, user: str) -> list[AccessToken]:
        """The user's tokens, oldest first."""
        return [token for token in self._tokens if token.user == user]

    def remove(self, user: str, id_: str) -> None:
        """Raises ArangoError 404."""
        with self._lock:
            kept = tuple(token for token in self._tokens if (token.user, str(token.id)) != (user, id_))
            if len(kept) == len(self._tokens):
                raise ArangoError(404, f"user '{user}' has no access token {id_}")
            self._save(kept)

    def forget(self, user: str) -> None:
        """Remove all tokens of a user that is there no more."""
        with self._lock:
            if self.of(user):
                self._save(tuple(token for token in self._tokens if token.user != user))

    def owner(self, text: str) -> str | None:
        """Name of the user whose token it is, while it is valid."""
        digest = _hash(text)
        found = (token for token in self._tokens if secrets.compare_digest(token.digest, digest))
        return next((token.user for token in found if token.valid_until > time.time()), None)

    def _save(self, tokens: tuple[AccessToken, ...]) -> None:
        with self._store.write("_system") as view:
            save_access_tokens(view, tokens)
        self._tokens = tokens


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
