"""What filter conditions say about the attributes of one loop variable, for choosing an index."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from aqlite.aql import ast
from aqlite.aql import plan as p
from aqlite.aql.facts import deterministic, used_variables

Path = tuple[str, ...]
_FLIPPED = {"==": "==", "<": ">", "<=": ">=", ">": "<", ">=": "<=", "!=": "!="}
_MAX_ALTERNATIVES = 64


@dataclass(frozen=True, eq=False)
class Comparison:
    """``variable.path op value``, where the value does not depend on the variable.

    ``CONTAINS`` stands for ``value IN variable.path[*]``.
    """

    path: Path
    op: str
    value: ast.Expr

    def excludes_null(self) -> bool:
        """Whether a document whose attribute is null or missing can never match."""
        value = self.value
        if self.op == "!=":
            return isinstance(value, ast.Literal) and value.value is None
        if not isinstance(value, ast.Literal):
            return False
        if self.op == "IN":
            return isinstance(value.value, list) and None not in value.value
        if self.op == ">":
            return True
        return self.op in ("==", ">=", "CONTAINS") and value.value is not None

    def exact(self) -> bool:
        """Whether an index lookup answers it completely, so that no filter is needed afterwards."""
        if not isinstance(self.value, ast.Literal):
            return False
        value = self.value.value
        if self.op == "IN":
            return isinstance(value, list) and not any(isinstance(item, (list, dict)) for item in value)
        return not isinstance(value, (list, dict))


def attribute_path(node: ast.Expr, variable: p.Variable) -> Path | None:
    """Path of ``variable.a.b``; None for any other expression."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.name)
        node = node.base
    return tuple(reversed(names)) if names and isinstance(node, p.VarRef) and node.variable is variable else None


def conjuncts(node: ast.Expr, op: str = "AND") -> Iterator[ast.Expr]:
    """Parts of a chain of ``AND`` (or ``OR``)."""
    pending = [node]
    while pending:
        part = pending.pop()
        if isinstance(part, ast.Binary) and part.op == op:
            pending += [part.right, part.left]
        else:
            yield part


def comparison_of(node: ast.Expr, variable: p.Variable, unknown: Collection[p.Variable]) -> Comparison | None:
    """The comparison that a condition is; None when it is none or its value is not known before the loop.

    ``unknown`` are the variables that have no value yet where the loop starts.
    """
    if not isinstance(node, ast.Binary):
        return None
    sides = [(node.left, node.op, node.right)]
    if node.op in _FLIPPED:
        sides.append((node.right, _FLIPPED[node.op], node.left))
    elif node.op == "IN" and isinstance(node.right, p.ResolvedExpansion):
        expansion = node.right
        plain = expansion.levels == 1 and not (expansion.condition or expansion.limit or expansion.projection)
        inner = _member_path(expansion) if plain else None
        path = None if inner is None else attribute_path(expansion.base, variable)
        if path is not None and _known(node.left, variable, unknown):
            marked = (*path[:-1], f"{path[-1]}[*]", *inner)
            return Comparison(marked, "CONTAINS", node.left)
    for attribute, op, value in sides:
        path = attribute_path(attribute, variable)
        if path is not None and (op in _FLIPPED or op == "IN") and _known(value, variable, unknown):
            return Comparison(path, op, value)
    return None


def _member_path(expansion: p.ResolvedExpansion) -> Path | None:
    if isinstance(expansion.tail, p.VarRef):
        return ()
    return attribute_path(expansion.tail, expansion.current)


def _known(value: ast.Expr, variable: p.Variable, unknown: Collection[p.Variable]) -> bool:
    used = used_variables(value)
    return variable not in used and used.isdisjoint(unknown) and deterministic(value)


def alternatives(
    node: ast.Expr, variable: p.Variable, unknown: Collection[p.Variable]
) -> list[list[Comparison]] | None:
    """Branches of an ``OR``, each as the comparisons it demands; None when a branch demands none."""
    branches: list[list[Comparison]] = []
    for branch in conjuncts(node, "OR"):
        found = [comparison_of(part, variable, unknown) for part in conjuncts(branch)]
        known = [comparison for comparison in found if comparison is not None]
        if not known or len(branches) >= _MAX_ALTERNATIVES:
            return None
        branches.append(known)
    return branches if len(branches) > 1 else None
