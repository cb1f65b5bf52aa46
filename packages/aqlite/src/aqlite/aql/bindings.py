"""Bind parameters: every one the query declares has a value, every value a declaration, each of the right type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aqlite.aql import ast
from aqlite.errors import ArangoError


def declared_parameters(query: ast.Query) -> list[str]:
    """Names of the bind parameters in order of appearance; collection parameters start with ``@``."""
    names = {
        (f"@{node.name}" if isinstance(node, ast.CollectionBind) else node.name): None
        for node in ast.walk(query)
        if isinstance(node, (ast.Bind, ast.CollectionBind))
    }
    return list(names)


def check_bindings(query: ast.Query, values: Mapping[str, Any]) -> None:
    """Compare declared and given bind parameters.

    Raises:
        ArangoError: 1550 (not an object), 1551 (no value), 1552 (not declared), 1553 (wrong type).
    """
    if not isinstance(values, Mapping):
        raise ArangoError(1550, "AQL: invalid structure of bind parameters: expecting an object (while parsing)")
    declared = declared_parameters(query)
    for name in declared:
        if name not in values:
            raise ArangoError(1551, f"AQL: no value specified for declared bind parameter '{name}' (while parsing)")
        if name.startswith("@") and not (isinstance(values[name], str) and values[name]):
            raise wrong_type(name)
    for name in values:
        if name not in declared:
            raise ArangoError(1552, f"AQL: bind parameter '{name}' was not declared in the query (while parsing)")


def wrong_type(name: str) -> ArangoError:
    """Error 1553 for a parameter whose value cannot stand where the query uses it."""
    return ArangoError(1553, f"AQL: bind parameter '{name}' has an invalid value or type (while parsing)")
