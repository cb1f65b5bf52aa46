"""One HTTP request as the handlers see it, and the replies they give."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from aqlite.errors import ArangoError
from aqlite.services.permissions import READ, WRITE, allows
from aqlite.services.server import Server
from aqlite.services.users import ROOT
from aqlite.storage.snapshot import Snapshot, everything
from aqlite.storage.transaction import Transaction

_TRUE, _FALSE = ("true", "yes", "on", "y", "1"), ("false", "no", "off", "n", "0")


@dataclass
class Reply:
    """Status, JSON value or raw bytes, and extra headers of an answer."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"

    def encoded(self) -> bytes:
        """Bytes of the body. Raises ArangoError 32 when the value is nested too deep for JSON."""
        if self.body is None:
            return b""
        if isinstance(self.body, bytes):
            return self.body
        try:
            return b"".join(_json_pieces(self.body))
        except TypeError as error:
            raise ArangoError(32, f"result cannot be written as JSON: {error}") from error


_STEP = 4096


def _json_pieces(value: Any) -> Iterator[bytes]:
    """JSON text of a value; arrays of many items are written in steps, so that other threads run between them."""
    if type(value) is list and len(value) > _STEP:
        for start in range(0, len(value), _STEP):
            yield (b"," if start else b"[") + orjson.dumps(value[start : start + _STEP])[1:-1]
        yield b"]"
    elif type(value) is dict and any(type(item) is list and len(item) > _STEP for item in value.values()):
        for position, (name, item) in enumerate(value.items()):
            yield (b"," if position else b"{") + orjson.dumps(name) + b":"
            yield from _json_pieces(item)
        yield b"}"
    else:
        yield orjson.dumps(value)


def ok(values: Mapping[str, Any] | None = None, status: int = 200, **headers: str) -> Reply:
    """A success with ArangoDB's ``error`` and ``code`` attributes added."""
    return Reply({"error": False, "code": status, **(values or {})}, status, headers)


def failure(error: ArangoError) -> Reply:
    """The answer to an error."""
    return Reply(
        {"error": True, "code": error.http, "errorNum": error.error_num, "errorMessage": error.message}, error.http
    )


class WriteLockBusyError(Exception):
    """The handler has to run again with the write lock, which is to be had within ``timeout`` seconds."""

    def __init__(self, timeout: float) -> None:
        super().__init__()
        self.timeout = timeout


@dataclass
class Request:
    """A request whose user is known and whose body is read.

    Attributes:
        path: parameters of the route.  query: last value of every query parameter.  headers: by lower-case name.
        id: what the client calls its request, empty where it names none.
        may_wait: whether the thread may wait for the write lock; else ``WriteLockBusyError`` says that it has to.
        holds_lock: somebody took the write lock for the request, which has not used it yet.
    """

    server: Server
    database: str
    user: str
    method: str
    path: dict[str, str]
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes
    id: str = ""
    may_wait: bool = True
    holds_lock: bool = False

    @cached_property
    def json(self) -> Any:
        """The parsed body. Raises ArangoError 600."""
        return parse_json(self.body)

    def object(self) -> dict[str, Any]:
        """The parsed body, which must be an object; an empty body counts as one. Raises ArangoError 600, 400."""
        if not self.body.strip():
            return {}
        if type(self.json) is not dict:
            raise ArangoError(400, "expecting a JSON object as the request body")
        return self.json

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean query parameter; another value (drivers send ``undefined``) counts as none."""
        value = self.query.get(name, "").lower()
        return value in _TRUE or (default and value not in _FALSE)

    @property
    def transaction_id(self) -> str | None:
        """Stream transaction that the request belongs to."""
        return self.headers.get("x-arango-trx-id")

    @contextmanager
    def reading(self) -> Iterator[Snapshot]:
        """A view for reading: the stream transaction's, or a fresh snapshot."""
        if self.transaction_id is not None:
            opened = self.server.transactions.using(self.transaction_id, self.database, self.user)
        else:
            opened = self.server.store.read(self.database)
        with opened as view:
            yield self._authorized(view)

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """A view for writing: the stream transaction's, or a transaction of the request's own."""
        if self.transaction_id is not None:
            opened = self.server.transactions.using(self.transaction_id, self.database, self.user)
        else:
            opened = self._own_transaction()
        with opened as view:
            if not view.writable:
                raise ArangoError(1652, "unregistered collection used in transaction: no write access declared")
            yield self._authorized(view)

    @contextmanager
    def defining(self) -> Iterator[Transaction]:
        """A view for changing the catalog; grants follow the collections.

        Raises:
            ArangoError: 1653 inside a stream transaction.
        """
        if self.transaction_id is not None:
            raise ArangoError(1653, "disallowed operation inside transaction")
        with self._own_transaction() as view:
            before = _names_by_id(view)
            yield self._authorized(view)
            after = _names_by_id(view)
        if after != before:
            self.server.users.follow_collections(self.database, before, after, creator=self.user)

    @contextmanager
    def _own_transaction(self) -> Iterator[Transaction]:
        self.lock_writer(self.server.limits.lock_seconds)
        with self.server.store.write(self.database, locked=True) as view:
            yield view

    def lock_writer(self, timeout: float, holder: str = "another request") -> None:
        """Take the write lock, or the one that was taken for the request; whoever calls this releases it.

        Raises:
            WriteLockBusyError: the lock is not free and the request may not wait in its thread.
            ArangoError: 1200 after ``timeout`` seconds.
        """
        store = self.server.store
        if self.holds_lock:
            store.write_lock.rename(holder)
        elif not store.try_lock_writer(holder):
            if not self.may_wait:
                raise WriteLockBusyError(timeout)
            store.lock_writer(timeout, holder)
        # What the handler has done once must not be done again: from here on it waits where it is.
        self.holds_lock, self.may_wait = False, True

    def _authorized(self, view: Snapshot) -> Any:
        view.permits = everything if self.user == ROOT else self._permits
        return view

    def _permits(self, collection: str, write: bool) -> bool:
        held = self.server.users.level(self.user, self.database, collection)
        return allows(held, WRITE if write else READ)


def _names_by_id(view: Snapshot) -> dict[int, str]:
    collections = view.catalog.collections.get(view.database, {})
    return {collection.id: name for name, collection in collections.items()}


def parse_json(text: bytes) -> Any:
    """Parse a JSON text; long arrays of objects in steps, so that other threads run between. Raises ArangoError 600."""
    try:
        if len(text) > PARSE_STEP and text[:1] == b"[":
            items = _array_in_steps(text)
            if items is not None:
                return items
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ArangoError(600, f"VPackError error: {error}") from None


PARSE_STEP = 2**18


def _array_in_steps(text: bytes) -> list[Any] | None:
    """Items of an array, parsed some hundred kilobytes at a time; ``None`` when it is not to be had like that.

    A piece ends behind a ``}`` that a comma follows. When the piece is valid, so many brackets and quotes are closed
    in it as are opened: then its end is between two items, not inside of one.
    """
    end, position, misses = text.rfind(b"]"), 1, 0
    items: list[Any] = []
    while (cut := text.find(b"},", position + PARSE_STEP, end)) != -1:
        part = None
        while part is None:
            try:
                part = orjson.loads(b"[%b]" % text[position : cut + 1])
            except orjson.JSONDecodeError:
                misses += 1
                cut = text.find(b"},", cut + 2, end)
                if cut == -1 or misses > 64 + len(items):
                    return None
        items += part
        position = cut + 2
    rest = text[position:]
    return None if rest.strip() == b"]" else items + orjson.loads(b"[" + rest)


def decompressed(body: bytes, encoding: str, limit: int) -> bytes:
    """Body after ``content-encoding``. Raises ArangoError 400 when it is damaged or unknown, 413 above the limit."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise ArangoError(400, f"unsupported content-encoding: {encoding}")
    inflate = zlib.decompressobj(wbits=47)
    try:
        plain = inflate.decompress(body, limit + 1)
    except zlib.error as error:
        raise ArangoError(400, f"request body is not valid {encoding} data: {error}") from None
    if len(plain) > limit:
        raise ArangoError(413)
    if not inflate.eof:
        raise ArangoError(400, f"request body is not complete {encoding} data")
    return plain
