"""Entries of persistent and ttl indexes: what a document contributes, and ranges over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from itertools import product
from typing import Any

from aqlite.errors import ArangoError
from aqlite.storage.api import UNBOUNDED, Document, IndexInfo
from aqlite.storage.key_encoding import encode_value, encode_values, prefix_end

EXPANSION = "[*]"


def table_name(index: IndexInfo) -> str:
    """Table that holds the index's entries."""
    return f"i_{int(index.id)}"


def attribute(document: Any, path: Sequence[str]) -> Any:
    """Value at an attribute path; ``None`` where the path leads nowhere."""
    value = document
    for name in path:
        if type(value) is not dict:
            return None
        value = value.get(name)
    return value


def expanded_values(document: Document, path: Sequence[str]) -> list[Any]:
    """Values a field contributes: one, or the members of the array that a part ending in ``[*]`` names."""
    for position, part in enumerate(path):
        if part.endswith(EXPANSION):
            members = attribute(document, (*path[:position], part.removesuffix(EXPANSION)))
            if type(members) is not list:
                return []
            return [attribute(member, path[position + 1 :]) for member in members]
    return [attribute(document, path)]


def index_entries(index: IndexInfo, document: Document) -> list[bytes]:
    """Sorted keys that a document has in an index; none when the index is sparse and a field is null.

    A ttl index holds the time of expiry as a number of seconds, whichever way the document states it.
    """
    if index.type == "ttl":
        moment = expiry_time(index, document)
        return [] if moment is None else [encode_value(moment)]
    columns = [expanded_values(document, path) for path in index.fields]
    keys = set()
    for values in product(*columns):
        if index.sparse and any(value is None for value in values):
            continue
        keys.add(encode_values(values))
    return sorted(keys)


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


def key_range(
    equal: Sequence[Any], lower: Any, lower_inclusive: bool, upper: Any, upper_inclusive: bool
) -> tuple[bytes, bytes | None]:
    """First key included and first key excluded (``None``: no end) of a prefix equality and a range after it."""
    prefix = encode_values(equal)
    start, end = prefix, prefix_end(prefix)
    if lower is not UNBOUNDED:
        start = prefix + encode_value(lower)
        if not lower_inclusive:
            start = prefix_end(start) or start + b"\xff"
    if upper is not UNBOUNDED:
        end = prefix + encode_value(upper)
        if upper_inclusive:
            end = prefix_end(end)
    return start, end


def parse_field(field: Any) -> tuple[str, ...]:
    """Attribute path of a field as the HTTP interface has it, ``a.b`` or ``a[*].b``. Raises ArangoError 1220."""
    if type(field) is dict:
        field = field.get("name")
    if type(field) is not str or not field:
        raise ArangoError(1220)
    path = tuple(field.split("."))
    expansions = sum(part.endswith(EXPANSION) for part in path)
    plain = [part.removesuffix(EXPANSION) for part in path]
    if expansions > 1 or any(not part or "[" in part or "]" in part for part in plain):
        raise ArangoError(1220)
    return path


def field_text(path: Sequence[str]) -> str:
    """The path as the HTTP interface shows it."""
    return ".".join(path)


def violation(index: IndexInfo, conflicting_key: str) -> ArangoError:
    """The unique constraint error of an index."""
    fields = ", ".join(field_text(path) for path in index.fields)
    return ArangoError(
        1210,
        f"unique constraint violated - in index {index.name} of type {index.type} over '{fields}'; "
        f"conflicting key: {conflicting_key}",
    )


def distinct_rows(rows: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Rows with each row id once (an array index can hold a document several times)."""
    seen: set[int] = set()
    for row in rows:
        if row[0] not in seen:
            seen.add(row[0])
            yield row
