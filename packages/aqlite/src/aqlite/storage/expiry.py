"""Removal of documents that a ttl index says have expired."""

from __future__ import annotations

from aqlite.storage.indexes import TTL
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
            if any(index.type == TTL.type for index in collection.indexes)
        ]
    return sum(_remove(store, database, name, now) for database, name in wanted)


def _remove(store: Store, database: str, name: str, now: float) -> int:
    with store.write(database, lock_timeout=_LOCK_SECONDS) as view:
        collection = view.find(name)
        keys = {
            key
            for index in collection.indexes
            if index.type == TTL.type
            for key in TTL.expired(view.connection, collection, index, now, _BATCH)
        }
        for key in keys:
            view.remove(name, key)
        return len(keys)
