"""Indexes that keep sorted keys in a table of their own: persistent and ttl."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from itertools import product
from typing import Any

from aqlite.errors import ArangoError
from aqlite.storage.api import UNBOUNDED, Document, IndexInfo
from aqlite.storage.fields import attribute, expanded_values, is_expanded
from aqlite.storage.indexes.base import (
    Bounds,
    Comparison,
    IndexKind,
    Path,
    Reader,
    Row,
    Service,
    StoredCollection,
    selectivity,
    violation,
)
from aqlite.storage.key_encoding import encode_value, encode_values, prefix_end

_EQUAL = ("==", "IN", "CONTAINS")
_LOWER, _UPPER = (">", ">="), ("<", "<=")


class EntryIndex(IndexKind):
    """Keys as bytes that sort as AQL sorts the values, each with the row ids of its documents."""

    maintained = True

    def create(self, connection: sqlite3.Connection, index: IndexInfo) -> None:
        """See ``IndexKind``."""
        connection.execute(
            f"CREATE TABLE {table_name(index)} (k BLOB, rid INTEGER, PRIMARY KEY (k, rid)) WITHOUT ROWID"
        )

    def drop(self, connection: sqlite3.Connection, index: IndexInfo) -> None:
        """See ``IndexKind``."""
        connection.execute(f"DROP TABLE {table_name(index)}")

    def clear(self, writer: Any, index: IndexInfo) -> None:
        """See ``IndexKind``."""
        writer.connection.execute(f"DELETE FROM {table_name(index)}")

    def build(self, writer: Any, collection: StoredCollection, index: IndexInfo) -> None:
        """See ``IndexKind``."""
        for rid, document in writer.bodies(collection):
            keys = self.keys(index, document)
            self.check(writer, collection, index, keys, rid)
            self.insert(writer, index, keys, rid)

    def check(
        self, writer: Any, collection: StoredCollection, index: IndexInfo, keys: list[bytes], rid: int | None
    ) -> None:
        """See ``IndexKind``."""
        if not index.unique:
            return
        for key in keys:
            found = writer.connection.execute(
                f"SELECT d.key, d.rid FROM {table_name(index)} i JOIN {collection.sql.table} d ON d.rid = i.rid "
                "WHERE i.k = ?",
                (key,),
            ).fetchone()
            if found is not None and found[1] != rid:
                raise violation(index, found[0])

    def insert(self, writer: Any, index: IndexInfo, keys: list[bytes], rid: int) -> None:
        """See ``IndexKind``."""
        writer.connection.executemany(f"INSERT INTO {table_name(index)} VALUES (?, ?)", [(key, rid) for key in keys])

    def delete(self, writer: Any, index: IndexInfo, keys: list[bytes], rid: int) -> None:
        """See ``IndexKind``."""
        writer.connection.executemany(
            f"DELETE FROM {table_name(index)} WHERE k = ? AND rid = ?", [(key, rid) for key in keys]
        )


class PersistentIndex(EntryIndex):
    """Documents sorted by one or several attributes, or by the members of an array."""

    type = "persistent"

    def validate(self, name: str, fields: tuple[Path, ...], given: dict[str, Any]) -> IndexInfo:
        """See ``IndexKind``."""
        options = {
            option: bool(given[option]) for option in ("deduplicate", "estimates", "cacheEnabled") if option in given
        }
        stored = given.get("storedValues", [])
        if type(stored) is not list or not all(type(path) is str and path for path in stored):
            raise ArangoError(10, "storedValues must be an array of attribute paths")
        if stored:
            options["storedValues"] = stored
        return IndexInfo(
            "", name, self.type, fields, bool(given.get("unique", False)), bool(given.get("sparse", False)), {}, options
        )

    def same_definition(self, left: IndexInfo, right: IndexInfo) -> bool:
        """See ``IndexKind``."""
        stored = [index.options.get("storedValues", []) for index in (left, right)]
        return super().same_definition(left, right) and stored[0] == stored[1]

    def describe(self, reader: Reader, collection: StoredCollection, index: IndexInfo, *, stats: bool) -> Document:
        """See ``IndexKind``."""
        shown = super().describe(reader, collection, index, stats=stats)
        shown["deduplicate"] = index.options.get("deduplicate", True)
        shown["estimates"] = index.options.get("estimates", True)
        shown["cacheEnabled"] = index.options.get("cacheEnabled", False)
        if "storedValues" in index.options:
            shown["storedValues"] = index.options["storedValues"]
        counted = stats and not index.unique
        shown["selectivityEstimate"] = selectivity(reader.connection, table_name(index), "k") if counted else 1.0
        return shown

    def keys(self, index: IndexInfo, document: Document) -> list[bytes]:
        """Sorted keys; none when the index is sparse and a field is null."""
        columns = [expanded_values(document, path) for path in index.fields]
        keys = [
            encode_values(values)
            for values in product(*columns)
            if not (index.sparse and any(value is None for value in values))
        ]
        distinct = sorted(set(keys))
        if index.unique and len(distinct) < len(keys) and not index.options.get("deduplicate", True):
            raise violation(index, document["_key"])
        return distinct

    def can_serve(self, index: IndexInfo, comparisons: Sequence[Comparison]) -> Service | None:
        """See ``IndexKind``."""
        if index.sparse and not all(_excludes_null(path, comparisons) for path in index.fields):
            return None
        equal: list[Comparison] = []
        in_list = False
        for path in index.fields:
            found = _first(comparisons, path, _EQUAL)
            if found is None or in_list:
                break
            equal.append(found)
            in_list = found.op == "IN"
        service = Service(20 * len(equal) - in_list, tuple(equal), in_list, ordered=not in_list)
        if len(equal) == len(index.fields):
            service.score += 200 if index.unique else 5
        elif not in_list:
            path = index.fields[len(equal)]
            service.lower, service.upper = _first(comparisons, path, _LOWER), _first(comparisons, path, _UPPER)
            service.score += 5 * ((service.lower is not None) + (service.upper is not None))
        return service if service.used else None

    def can_sort(self, index: IndexInfo, paths: tuple[Path, ...]) -> bool:
        """See ``IndexKind``."""
        return not index.sparse and index.fields[: len(paths)] == paths

    def lookup(
        self, reader: Reader, collection: StoredCollection, index: IndexInfo, bounds: Bounds
    ) -> Iterable[Document]:
        """See ``IndexKind``."""
        start, end = key_range(bounds)
        order = "DESC" if bounds.reverse else "ASC"
        bound, values = ("", (start,)) if end is None else (" AND i.k < ?", (start, end))
        rows = reader.rows(
            f"SELECT d.rid, d.rev FROM {table_name(index)} i CROSS JOIN {collection.sql.table} d ON d.rid = i.rid "
            f"WHERE i.k >= ?{bound} ORDER BY i.k {order}, i.rid {order}",
            values,
        )
        if any(map(is_expanded, index.fields)):
            rows = _distinct_rows(rows)
        return reader.documents(collection, rows)


class TtlIndex(EntryIndex):
    """Documents by the time at which they expire. Its keys are not the attribute's values, so it answers no filter."""

    type = "ttl"

    def validate(self, name: str, fields: tuple[Path, ...], given: dict[str, Any]) -> IndexInfo:
        """See ``IndexKind``."""
        if len(fields) != 1 or is_expanded(fields[0]):
            raise ArangoError(10, "an index of type 'ttl' has exactly one field, which cannot expand an array")
        seconds = given.get("expireAfter")
        if type(seconds) not in (int, float) or seconds < 0:
            raise ArangoError(10, "expireAfter attribute must be a non-negative number")
        return IndexInfo("", name, self.type, fields, False, True, {}, {"expireAfter": seconds})

    def same_definition(self, left: IndexInfo, right: IndexInfo) -> bool:
        """See ``IndexKind``."""
        return super().same_definition(left, right) and left.options == right.options

    def check_beside(self, others: Sequence[IndexInfo]) -> None:
        """See ``IndexKind``."""
        if others:
            raise ArangoError(
                10,
                f"there can only be one ttl index per collection, it has '{others[0].name}' already; "
                "drop that one first to change the field or expireAfter",
            )

    def describe(self, reader: Reader, collection: StoredCollection, index: IndexInfo, *, stats: bool) -> Document:
        """See ``IndexKind``."""
        shown = super().describe(reader, collection, index, stats=stats)
        return {**shown, "expireAfter": index.options["expireAfter"], "estimates": False}

    def keys(self, index: IndexInfo, document: Document) -> list[bytes]:
        """The time of expiry as a number of seconds, whichever way the document states it."""
        moment = expiry_time(index, document)
        return [] if moment is None else [encode_value(moment)]

    def expired(
        self, connection: sqlite3.Connection, collection: StoredCollection, index: IndexInfo, now: float, limit: int
    ) -> list[str]:
        """Keys of at most ``limit`` documents that expired before ``now`` (Unix time in seconds)."""
        found = connection.execute(
            f"SELECT d.key FROM {table_name(index)} i JOIN {collection.sql.table} d ON d.rid = i.rid "
            "WHERE i.k < ? LIMIT ?",
            (encode_value(now), limit),
        )
        return [key for (key,) in found]


def table_name(index: IndexInfo) -> str:
    """Table that holds the index's entries."""
    return f"i_{int(index.id)}"


def expiry_time(index: IndexInfo, document: Document) -> float | None:
    """Unix time in seconds at which the document expires; ``None`` when its attribute is no time."""
    value = attribute(document, index.fields[0])
    if type(value) is str:
        try:
            moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return None
        value = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    if type(value) not in (int, float):
        return None
    return value + index.options["expireAfter"]


def key_range(bounds: Bounds) -> tuple[bytes, bytes | None]:
    """First key included and first key excluded (``None``: no end) of a prefix equality and a range after it."""
    prefix = encode_values(bounds.equal)
    start, end = prefix, prefix_end(prefix)
    if bounds.lower is not UNBOUNDED:
        start = prefix + encode_value(bounds.lower)
        if not bounds.lower_inclusive:
            start = prefix_end(start) or start + b"\xff"
    if bounds.upper is not UNBOUNDED:
        end = prefix + encode_value(bounds.upper)
        if bounds.upper_inclusive:
            end = prefix_end(end)
    return start, end


def _first(comparisons: Sequence[Comparison], path: Path, ops: Sequence[str]) -> Comparison | None:
    return next((c for op in ops for c in comparisons if c.path == path and c.op == op), None)


def _excludes_null(path: Path, comparisons: Sequence[Comparison]) -> bool:
    return any(c.path == path and c.excludes_null() for c in comparisons)


def _distinct_rows(rows: Iterator[Row]) -> Iterator[Row]:
    """Rows with each row id once (an array index can hold a document several times)."""
    seen: set[int] = set()
    for row in rows:
        if row[0] not in seen:
            seen.add(row[0])
            yield row
