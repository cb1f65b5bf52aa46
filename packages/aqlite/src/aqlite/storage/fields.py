"""Attribute paths: reading the value at one, and their form in the HTTP interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aqlite.errors import ArangoError
from aqlite.storage.api import Document

EXPANSION = "[*]"


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


def is_expanded(path: Sequence[str]) -> bool:
    """Whether the path names the members of an array."""
    return any(part.endswith(EXPANSION) for part in path)


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
