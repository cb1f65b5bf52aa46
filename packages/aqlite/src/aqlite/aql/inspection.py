"""What a syntax tree tells without any data: the collections it names, and the tree as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from aqlite.aql import ast

_WRITES = (ast.Insert, ast.Update, ast.Replace, ast.Remove, ast.Upsert)


def named_collections(query: ast.Query, bind_vars: Mapping[str, Any] | None = None) -> tuple[set[str], set[str]]:
    """Collections that a query reads and writes by name; without ``bind_vars``, parameters are left out."""
    reads: set[str] = set()
    writes: set[str] = set()
    reads.update(_names(query.collections, bind_vars))
    _visit(query.body, frozenset(), reads, writes, bind_vars)
    return reads, writes


def _visit(
    block: ast.Block,
    known: frozenset[str],
    reads: set[str],
    writes: set[str],
    bind_vars: Mapping[str, Any] | None,
) -> None:
    """Go through a block's statements; ``known`` are the variables visible so far."""
    for statement in block.statements:
        inner_blocks = [node.body for node in _expressions_below(statement) if isinstance(node, ast.Subquery)]
        for inner in inner_blocks:
            _visit(inner, known, reads, writes, bind_vars)
        if isinstance(statement, _WRITES):
            writes.update(_names((statement.collection,), bind_vars))
        if isinstance(statement, ast.Upsert):
            reads.update(_names((statement.collection,), bind_vars))
        if isinstance(statement, (ast.Traversal, ast.PathSearch)):
            reads.update(_names((edge.collection for edge in statement.edges), bind_vars))
        if isinstance(statement, ast.For) and not (
            isinstance(statement.source, ast.Name) and statement.source.name in known
        ):
            reads.update(_names((statement.source,), bind_vars))
        known = known | set(_declared(statement))


def _expressions_below(statement: ast.Statement) -> Iterator[ast.Node]:
    """Nodes of a statement, subqueries included but not entered."""
    pending: list[ast.Node] = [statement]
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, ast.Subquery):
            pending.extend(node.children())


def _declared(statement: ast.Statement) -> Iterator[str]:
    if isinstance(statement, (ast.For, ast.Let)):
        yield statement.variable
    elif isinstance(statement, (ast.Traversal, ast.PathSearch)):
        yield from statement.variables
    elif isinstance(statement, (ast.Collect, ast.Window)):
        yield from (item.variable for item in getattr(statement, "groups", ()))
        yield from (item.variable for item in statement.aggregates)
        yield from (name for name in (getattr(statement, "into", None), getattr(statement, "count", None)) if name)


def _names(sources: Any, bind_vars: Mapping[str, Any] | None) -> Iterator[str]:
    for source in sources:
        if isinstance(source, ast.Name):
            yield source.name
        elif bind_vars is not None and isinstance(source, (ast.CollectionBind, ast.Bind)):
            key = f"@{source.name}" if isinstance(source, ast.CollectionBind) else source.name
            if isinstance(bind_vars.get(key), str):
                yield bind_vars[key]


def syntax_object(node: ast.Node) -> dict[str, Any]:
    """A node as JSON: ``type``, the node's plain attributes, and ``subNodes``."""
    described: dict[str, Any] = {"type": type(node).__name__.lower()}
    for spec in fields(node):
        value = getattr(node, spec.name)
        if isinstance(value, (str, int, float, bool)) and spec.name != "grouped":
            described[spec.name] = value
    children = [syntax_object(child) for child in node.children()]
    return described | ({"subNodes": children} if children else {})
