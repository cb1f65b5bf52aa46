"""Keys for documents that come without one: ArangoDB's four key generators."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from aqlite.errors import ArangoError

if TYPE_CHECKING:
    from aqlite.storage.catalog import Collection
    from aqlite.storage.transaction import Transaction

GENERATORS = ("traditional", "autoincrement", "uuid", "padded")
_MAX_NUMBER = 2**63 - 1


def next_key(view: Transaction, collection: Collection) -> str:
    """A key that no document of the collection has."""
    options = collection.properties.get("keyOptions", {})
    generator = options.get("type", "traditional")
    if generator == "uuid":
        return str(uuid.uuid4())
    if generator == "padded":
        return f"{view.store.next_tick():016x}"
    if generator == "autoincrement":
        return _next_number(view, collection, options)
    while True:
        key = str(view.store.next_tick())
        if view.connection.execute(collection.sql.by_key, (key,)).fetchone() is None:
            return key


def note_key(view: Transaction, collection: Collection, key: str) -> None:
    """Take account of a key that the user chose. Raises ArangoError 1222 when users may not choose keys."""
    options = collection.properties.get("keyOptions", {})
    if not options.get("allowUserKeys", True):
        raise ArangoError(1222)
    if options.get("type") == "autoincrement":
        if not key.isdigit() or int(key) > _MAX_NUMBER:
            raise ArangoError(1221)
        if int(key) > _last_number(view, collection):
            _keep_number(view, collection, int(key))


def _next_number(view: Transaction, collection: Collection, options: dict) -> str:
    increment, offset = options.get("increment", 1), options.get("offset", 0)
    last = _last_number(view, collection)
    number = offset if last < offset else last + increment - (last - offset) % increment
    if number > _MAX_NUMBER:
        raise ArangoError(1225)
    _keep_number(view, collection, number)
    return str(number)


def _last_number(view: Transaction, collection: Collection) -> int:
    name = f"autoincrement_{collection.id}"
    row = view.connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return 0 if row is None else row[0]


def _keep_number(view: Transaction, collection: Collection, number: int) -> None:
    name = f"autoincrement_{collection.id}"
    view.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, number))
