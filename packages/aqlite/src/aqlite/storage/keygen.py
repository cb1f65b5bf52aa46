"""Keys for documents that come without one: ArangoDB's four key generators."""

from __future__ import annotations

import sqlite3
import uuid

from aqlite.errors import ArangoError
from aqlite.storage.catalog import Collection
from aqlite.storage.shared import Ticks

GENERATORS = ("traditional", "autoincrement", "uuid", "padded")
_MAX_NUMBER = 2**63 - 1


def next_key(connection: sqlite3.Connection, ticks: Ticks, collection: Collection) -> str:
    """A key that no document of the collection has."""
    options = collection.properties.get("keyOptions", {})
    generator = options.get("type", "traditional")
    if generator == "uuid":
        return str(uuid.uuid4())
    if generator == "padded":
        return f"{ticks.next():016x}"
    if generator == "autoincrement":
        return _next_number(connection, collection, options)
    while True:
        key = str(ticks.next())
        if connection.execute(collection.sql.by_key, (key,)).fetchone() is None:
            return key


def note_key(connection: sqlite3.Connection, collection: Collection, key: str) -> None:
    """Take account of a key that the user chose. Raises ArangoError 1222 when users may not choose keys."""
    options = collection.properties.get("keyOptions", {})
    if not options.get("allowUserKeys", True):
        raise ArangoError(1222)
    if options.get("type") == "autoincrement":
        if not key.isdigit() or int(key) > _MAX_NUMBER:
            raise ArangoError(1221)
        if int(key) > _last_number(connection, collection):
            _keep_number(connection, collection, int(key))


def _next_number(connection: sqlite3.Connection, collection: Collection, options: dict) -> str:
    increment, offset = options.get("increment", 1), options.get("offset", 0)
    last = _last_number(connection, collection)
    number = offset if last < offset else last + increment - (last - offset) % increment
    if number > _MAX_NUMBER:
        raise ArangoError(1225)
    _keep_number(connection, collection, number)
    return str(number)


def _last_number(connection: sqlite3.Connection, collection: Collection) -> int:
    name = f"autoincrement_{collection.id}"
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return 0 if row is None else row[0]


def _keep_number(connection: sqlite3.Connection, collection: Collection, number: int) -> None:
    name = f"autoincrement_{collection.id}"
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, number))
