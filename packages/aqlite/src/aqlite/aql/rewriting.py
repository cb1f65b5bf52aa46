"""Replacing parts of expressions inside a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any

from aqlite.aql import ast
from aqlite.aql import plan as p

Replacement = Callable[[ast.Expr], ast.Expr | None]


def rewrite(value: Any, replacement: Replacement) -> Any:
    """The expression with every part exchanged for which ``replacement`` gives another; subqueries change in place."""
    if isinstance(value, ast.Node):
        exchanged = replacement(value) if isinstance(value, ast.Expr) else None
        if exchanged is not None:
            return exchanged
        if isinstance(value, p.SubqueryValue):
            rewrite_nodes(value.block.nodes, replacement)
            return value
        changes = _changes(value, replacement)
        return replace(value, **changes) if changes else value
    if isinstance(value, tuple):
        items = tuple(rewrite(item, replacement) for item in value)
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    if isinstance(value, (p.Aggregate, p.KeyBounds)):
        _rewrite_in_place(value, replacement)
    return value


def rewrite_nodes(nodes: Iterable[p.PlanNode], replacement: Replacement) -> None:
    """Exchange parts of all expressions of the nodes, in place."""
    for node in nodes:
        _rewrite_in_place(node, replacement)


def _rewrite_in_place(holder: Any, replacement: Replacement) -> None:
    for name, value in _changes(holder, replacement).items():
        setattr(holder, name, value)


def _changes(holder: Any, replacement: Replacement) -> dict[str, Any]:
    if not is_dataclass(holder):
        return {}
    old = {spec.name: getattr(holder, spec.name) for spec in fields(holder)}
    new = {name: rewrite(value, replacement) for name, value in old.items()}
    return {name: value for name, value in new.items() if value is not old[name]}
