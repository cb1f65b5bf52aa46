"""What an expression depends on: the variables it reads, and whether they alone decide its value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aqlite.aql import ast
from aqlite.aql.functions import FUNCTIONS
from aqlite.aql.plan import ModifyNode, SubqueryValue, UpsertNode, Variable, VarRef


@dataclass(frozen=True)
class Facts:
    """What decides where an expression is computed: the variables it reads, and whether they alone decide it."""

    variables: frozenset[Variable]
    deterministic: bool

    @classmethod
    def of(cls, parts: Iterable[Facts], deterministic: bool = True) -> Facts:
        """Facts of an expression made of parts."""
        parts = list(parts)
        variables = frozenset().union(*(part.variables for part in parts))
        return cls(variables, deterministic and all(part.deterministic for part in parts))


def facts_of(node: ast.Node, known: dict[int, tuple[ast.Node, Facts]] | None = None) -> Facts:
    """Facts of an expression, its subqueries included; ``known`` keeps those of its parts by identity."""
    known = {} if known is None else known
    if id(node) not in known:
        if isinstance(node, VarRef):
            facts = Facts(frozenset((node.variable,)), True)
        elif isinstance(node, SubqueryValue):
            parts = [facts_of(part, known) for inner in node.block.nodes for part in inner.expressions()]
            writes = any(isinstance(inner, (ModifyNode, UpsertNode)) for inner in node.block.nodes)
            facts = Facts.of(parts, not writes)
        else:
            pure = not isinstance(node, ast.Call) or FUNCTIONS[node.name].deterministic
            facts = Facts.of((facts_of(part, known) for part in node.children()), pure)
        known[id(node)] = node, facts
    return known[id(node)][1]


def deterministic(node: ast.Expr) -> bool:
    """Whether the value depends on the variables read alone, and computing it changes nothing."""
    return facts_of(node).deterministic


def used_variables(node: ast.Expr) -> frozenset[Variable]:
    """Variables that an expression reads, those read inside its subqueries included."""
    return facts_of(node).variables
