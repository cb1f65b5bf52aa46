"""Removal of documents that a ttl index says have expired."""

from __future__ import annotations

from aqlite.storage.entries import table_name
from aqlite.storage.key_encoding import encode_value
from aqlite.storage.store import Store

_LOCK_SECONDS = 1.0
_BATCH = 10_000


def remove_expired(store: Store, now: float) -> int:
    """Remove what expired before ``now`` (Unix time in seconds), in every database; returns how many documents.

    Raises:
        ArangoError: 1200 when another writer holds the lock.
    """
    with store.read("_system") as view:
        wanted = [
            (database, collection.name)
            for database, collections in view.catalog.collections.items()
            for collection in collections.values()
            if any(index.type == "ttl" for index in collection.indexes)
        ]
    return sum(_remove(store, database, name, now) for database, name in wanted)


def _remove(store: Store, database: str, name: str, now: float) -> int:
    with store.write(database, lock_timeout=_LOCK_SECONDS) as view:
        collection = view.find(name)
        (index,) = (index for index in collection.indexes if index.type == "ttl")
        keys = view.connection.execute(
            f"SELECT d.key FROM {table_name(index)} i JOIN d_{collection.id} d ON d.rid = i.rid WHERE i.k < ? LIMIT ?",
            (encode_value(now), _BATCH),
        ).fetchall()
        for (key,) in keys:
            view.remove(name, key)
        return len(keys)
