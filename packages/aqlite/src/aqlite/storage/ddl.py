"""Changes of the catalog: databases, collections and indexes come and go inside a writing transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from aqlite.errors import ArangoError
from aqlite.storage.api import CollectionKind, IndexInfo
from aqlite.storage.catalog import Collection, index_to_json, load_catalog
from aqlite.storage.documents import is_collection_name, is_database_name
from aqlite.storage.indexes import VECTOR, kind_of
from aqlite.storage.indexes.vector import is_trained
from aqlite.storage.transaction import Transaction

SYSTEM_DATABASE = "_system"
SYSTEM_COLLECTIONS = ("_analyzers", "_aqlfunctions", "_graphs", "_jobs", "_queues")


def create_database(view: Transaction, name: str) -> None:
    """Create a database with its system collections. Raises ArangoError 1229, 1207."""
    if name != SYSTEM_DATABASE and not is_database_name(name):
        raise ArangoError(1229)
    if name in view.catalog.databases:
        raise ArangoError(1207, "duplicate name: database already exists")
    view.connection.execute("INSERT INTO databases VALUES (?, ?)", (view.shared.ticks.next(), name))
    for collection in SYSTEM_COLLECTIONS:
        _add_collection(view, name, collection, "document", {"isSystem": True})
    _refresh(view)


def drop_database(view: Transaction, name: str) -> None:
    """Drop a database with everything in it. Raises ArangoError 1228, and 11 for the system database."""
    if name == SYSTEM_DATABASE:
        raise ArangoError(11)
    view.catalog.require_database(name)
    for collection in view.catalog.collections[name].values():
        _remove_collection(view, collection)
    view.connection.execute("DELETE FROM databases WHERE name = ?", (name,))
    _refresh(view)


def create_collection(view: Transaction, name: str, kind: CollectionKind, properties: dict[str, Any]) -> Collection:
    """Create a collection. Raises ArangoError 1208 (name), 1207 (exists)."""
    check_collection_name(name, system=bool(properties.get("isSystem")))
    if view.has_collection(name):
        raise ArangoError(1207, f"duplicate name: {name}")
    _add_collection(view, view.database, name, kind, properties)
    _refresh(view)
    return view.catalog.collection(view.database, name)


def check_collection_name(name: Any, *, system: bool) -> None:
    """Raises ArangoError 1208 unless the name is legal; a leading underscore is for system collections."""
    if type(name) is not str or not is_collection_name(name) or name.startswith("_") != system:
        raise ArangoError(1208)


def drop_collection(view: Transaction, name: str) -> Collection:
    """Drop a collection with its documents and indexes. Raises ArangoError 1203, 11."""
    collection = view.find_writable(name)
    _remove_collection(view, collection)
    _refresh(view)
    return collection


def rename_collection(view: Transaction, name: str, new_name: Any) -> Collection:
    """Rename a collection. Raises ArangoError 1203, 11, 1207, 1208."""
    collection = view.find_writable(name)
    check_collection_name(new_name, system=collection.name.startswith("_"))
    if view.has_collection(new_name):
        raise ArangoError(1207, f"duplicate name: {new_name}")
    view.connection.execute("UPDATE collections SET name = ? WHERE id = ?", (new_name, collection.id))
    _refresh(view)
    return view.catalog.collection(view.database, new_name)


def change_properties(view: Transaction, name: str, changes: dict[str, Any]) -> Collection:
    """Set properties of a collection. Raises ArangoError 1203, 11."""
    collection = view.find_writable(name)
    text = orjson.dumps({**collection.properties, **changes}).decode()
    view.connection.execute("UPDATE collections SET properties = ? WHERE id = ?", (text, collection.id))
    _refresh(view)
    return view.find(collection.name)


def create_index(view: Transaction, name: str, wanted: IndexInfo) -> tuple[IndexInfo, bool]:
    """Create an index over the documents there are; ``(index, False)`` when an equal one exists.

    Raises:
        ArangoError: 1203, 11; 10 when the collection cannot have another one of its kind; 1207 when another index has
            the name; 1210 when it is unique and the documents are not.
    """
    collection, kind = view.find_writable(name), kind_of(wanted)
    alike = [index for index in collection.indexes if index.type == wanted.type]
    for index in alike:
        if kind.same_definition(index, wanted):
            return index, False
    kind.check_beside(alike)
    if wanted.name and wanted.name in (index.name for index in collection.indexes):
        raise ArangoError(1207, f"duplicate value for `{wanted.name}` in index name")
    number = view.shared.ticks.next()
    index = IndexInfo(**{**wanted.__dict__, "id": str(number), "name": wanted.name or f"idx_{number}"})
    view.connection.execute("INSERT INTO indexes VALUES (?, ?, ?, NULL)", (number, collection.id, index_to_json(index)))
    kind.create(view.connection, index)
    kind.build(view, collection, index)
    _refresh(view)
    return index, True


def train_waiting_indexes(view: Transaction, collections: Iterable[Collection]) -> None:
    """Train the vector indexes of the collections that have enough documents by now."""
    for collection in collections:
        for index in collection.indexes:
            waits = index.type == VECTOR.type and not is_trained(view, index)
            if waits and view.count(collection.name) >= index.params["nLists"]:
                VECTOR.build(view, collection, index)


def drop_index(view: Transaction, name: str, index_id: str) -> IndexInfo:
    """Drop an index by its id or name. Raises ArangoError 1203, 1212, and 11 for primary and edge indexes."""
    collection = view.find_writable(name)
    index = find_index(collection, index_id)
    if kind_of(index).implicit:
        raise ArangoError(11)
    _remove_index(view, index)
    _refresh(view)
    return index


def find_index(collection: Collection, index_id: str) -> IndexInfo:
    """An index of the collection by id or name. Raises ArangoError 1212."""
    for index in collection.indexes:
        if index_id in (index.id, index.name):
            return index
    raise ArangoError(1212)


def _add_collection(
    view: Transaction, database: str, name: str, kind: CollectionKind, properties: dict[str, Any]
) -> None:
    number = view.shared.ticks.next()
    text = orjson.dumps(properties).decode()
    view.connection.execute(
        "INSERT INTO collections VALUES (?, ?, ?, ?, ?, ?)", (number, database, name, kind, name, text)
    )
    view.connection.execute("INSERT INTO statistics VALUES (?, 0, 0, 0)", (number,))
    for statement in Collection(number, database, name, kind, name).sql.create:
        view.connection.execute(statement)


def _remove_collection(view: Transaction, collection: Collection) -> None:
    for index in collection.indexes:
        _remove_index(view, index)
    view.connection.execute(collection.sql.drop)
    view.connection.execute("DELETE FROM collections WHERE id = ?", (collection.id,))
    view.connection.execute("DELETE FROM statistics WHERE collection = ?", (collection.id,))
    view.connection.execute("DELETE FROM meta WHERE name = ?", (f"autoincrement_{collection.id}",))
    view.documents_added.pop(collection.id, None)
    view.revisions.pop(collection.id, None)


def _remove_index(view: Transaction, index: IndexInfo) -> None:
    kind_of(index).drop(view.connection, index)
    view.changed_lists.pop(index.id, None)
    view.connection.execute("DELETE FROM indexes WHERE id = ?", (int(index.id),))


def _refresh(view: Transaction) -> None:
    view.connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'catalog'")
    view.catalog = load_catalog(view.connection)
