"""Syntax tree of an AQL query, as the parser builds it: names and bind parameters are not resolved yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Node:
    """Base of every node of the tree."""

    def children(self) -> Iterator[Node]:
        """Direct child nodes, in source order."""
        for spec in fields(self):
            yield from _nodes_in(getattr(self, spec.name))


def _nodes_in(value: Any) -> Iterator[Node]:
    if isinstance(value, Node):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _nodes_in(item)


def walk(*roots: Node) -> Iterator[Node]:
    """All nodes below and including the roots; iterative, so that depth does not matter."""
    pending = list(roots)
    while pending:
        node = pending.pop()
        yield node
        pending.extend(node.children())


def depth(root: Node) -> int:
    """Number of levels of the tree; iterative."""
    deepest, pending = 0, [(root, 1)]
    while pending:
        node, level = pending.pop()
        deepest = max(deepest, level)
        pending.extend((child, level + 1) for child in node.children())
    return deepest


# --- expressions ----------------------------------------------------------------------------------------------
class Expr(Node):
    """Base of everything that has a value."""


@dataclass(frozen=True)
class Literal(Expr):
    """A constant; ``value`` is an AQL value."""

    value: Any


@dataclass(frozen=True)
class Name(Expr):
    """A variable, or a collection where no such variable exists. ``CURRENT``, ``OLD`` and ``NEW`` are names too."""

    name: str


UNNAMED = "["
"""How the names of variables start that only hold what is taken apart; no written name does."""


@dataclass(frozen=True)
class Bind(Expr):
    """``@name``."""

    name: str


@dataclass(frozen=True)
class CollectionBind(Expr):
    """``@@name``; ``name`` is without any sign."""

    name: str


@dataclass(frozen=True)
class Array(Expr):
    """``[a, b]``."""

    items: tuple[Expr, ...]


@dataclass(frozen=True)
class Object(Expr):
    """``{name: value, [expression]: value}``; each key is an expression, a literal for plain names."""

    entries: tuple[tuple[Expr, Expr], ...]


@dataclass(frozen=True)
class Attribute(Expr):
    """``base.name`` or ``base.@bind``."""

    base: Expr
    name: str | Bind


@dataclass(frozen=True)
class Index(Expr):
    """``base[index]``."""

    base: Expr
    index: Expr


@dataclass(frozen=True)
class InlineLimit(Node):
    """``LIMIT offset, count`` inside ``[* ...]``."""

    offset: Expr
    count: Expr


@dataclass(frozen=True)
class Expansion(Expr):
    """``base[* FILTER .. LIMIT .. RETURN ..]`` followed by accessors.

    ``levels`` counts the stars; ``tail`` is what follows the bracket, written as accesses to ``CURRENT``.
    """

    base: Expr
    levels: int
    condition: Expr | None = None
    limit: InlineLimit | None = None
    projection: Expr | None = None
    tail: Expr = Name("CURRENT")
    grouped: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Question(Expr):
    """``base[? quantifier FILTER condition]``; the quantifier is a word, a number, a range or ``AT LEAST (n)``."""

    base: Expr
    quantifier: str | None = None
    amount: Expr | None = None
    condition: Expr | None = None


@dataclass(frozen=True)
class Unary(Expr):
    """``op`` is ``-``, ``+`` or ``!``."""

    op: str
    operand: Expr


@dataclass(frozen=True)
class Binary(Expr):
    """A binary operator; ``op`` in upper case, ``AND``/``OR`` for ``&&``/``||``."""

    op: str
    left: Expr
    right: Expr
    grouped: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class ArrayComparison(Expr):
    """``left ANY|ALL|NONE|AT LEAST (amount) op right``."""

    quantifier: str
    amount: Expr | None
    op: str
    left: Expr
    right: Expr
    grouped: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Ternary(Expr):
    """``condition ? then : otherwise``; ``then`` is None in the short form ``condition ?: otherwise``."""

    condition: Expr
    then: Expr | None
    otherwise: Expr
    grouped: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Range(Expr):
    """``low..high``."""

    low: Expr
    high: Expr


@dataclass(frozen=True)
class Call(Expr):
    """``NAME(arguments)``; ``name`` in upper case."""

    name: str
    arguments: tuple[Expr, ...]


@dataclass(frozen=True)
class Subquery(Expr):
    """``(FOR ... RETURN ...)``."""

    body: Block


# --- statements -----------------------------------------------------------------------------------------------
class Statement(Node):
    """Base of everything that stands at statement level."""


@dataclass(frozen=True)
class Block(Node):
    """The statements of one query or subquery, in order."""

    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Query(Node):
    """A whole query: the collections its ``WITH`` announces, and its statements."""

    collections: tuple[Expr, ...]
    body: Block


@dataclass(frozen=True)
class For(Statement):
    """``FOR variable IN source [SEARCH condition] [OPTIONS]``."""

    variable: str
    source: Expr
    search: Expr | None = None
    options: Expr | None = None


@dataclass(frozen=True)
class EdgeSet(Node):
    """One edge collection of a traversal, with its own direction if it has one."""

    collection: Expr
    direction: str | None = None


@dataclass(frozen=True)
class Prune(Node):
    """``PRUNE [variable =] condition``."""

    condition: Expr
    variable: str | None = None


@dataclass(frozen=True)
class Traversal(Statement):
    """``FOR v, e, p IN steps direction start GRAPH graph | edge sets``; one of ``graph`` and ``edges`` is given."""

    variables: tuple[str, ...]
    steps: Expr | None
    direction: str
    start: Expr
    graph: Expr | None
    edges: tuple[EdgeSet, ...]
    prune: Prune | None = None
    options: Expr | None = None


@dataclass(frozen=True)
class PathSearch(Statement):
    """``FOR ... IN steps direction kind start TO target ...``; ``kind`` like ``SHORTEST_PATH``."""

    kind: str
    variables: tuple[str, ...]
    steps: Expr | None
    direction: str
    start: Expr
    target: Expr
    graph: Expr | None
    edges: tuple[EdgeSet, ...]
    options: Expr | None = None


@dataclass(frozen=True)
class Filter(Statement):
    """``FILTER condition``."""

    condition: Expr


@dataclass(frozen=True)
class Let(Statement):
    """``LET variable = value``."""

    variable: str
    value: Expr


@dataclass(frozen=True)
class SortKey(Node):
    """One criterion of ``SORT``."""

    value: Expr
    descending: bool = False


@dataclass(frozen=True)
class Sort(Statement):
    """``SORT a, b DESC``."""

    keys: tuple[SortKey, ...]


@dataclass(frozen=True)
class Limit(Statement):
    """``LIMIT offset, count``."""

    offset: Expr
    count: Expr


@dataclass(frozen=True)
class Return(Statement):
    """``RETURN [DISTINCT] value``."""

    value: Expr
    distinct: bool = False


@dataclass(frozen=True)
class Assignment(Node):
    """``variable = value`` within ``COLLECT`` and ``WINDOW``."""

    variable: str
    value: Expr


@dataclass(frozen=True)
class Collect(Statement):
    """``COLLECT groups AGGREGATE aggregates INTO into = projection KEEP keep`` or ``... WITH COUNT INTO count``."""

    groups: tuple[Assignment, ...] = ()
    aggregates: tuple[Assignment, ...] = ()
    into: str | None = None
    projection: Expr | None = None
    keep: tuple[str, ...] | None = None
    count: str | None = None
    options: Expr | None = None


@dataclass(frozen=True)
class Window(Statement):
    """``WINDOW [range_value WITH] bounds AGGREGATE aggregates``."""

    range_value: Expr | None
    bounds: Expr
    aggregates: tuple[Assignment, ...]


@dataclass(frozen=True)
class Insert(Statement):
    """``INSERT document INTO collection``."""

    document: Expr
    collection: Expr
    options: Expr | None = None


@dataclass(frozen=True)
class Update(Statement):
    """``UPDATE key WITH patch IN collection``; ``patch`` is None in ``UPDATE document IN collection``."""

    key: Expr
    patch: Expr | None
    collection: Expr
    options: Expr | None = None


@dataclass(frozen=True)
class Replace(Statement):
    """``REPLACE key WITH document IN collection``; ``patch`` as in ``Update``."""

    key: Expr
    patch: Expr | None
    collection: Expr
    options: Expr | None = None


@dataclass(frozen=True)
class Remove(Statement):
    """``REMOVE key IN collection``."""

    key: Expr
    collection: Expr
    options: Expr | None = None


@dataclass(frozen=True)
class Upsert(Statement):
    """``UPSERT example INSERT document UPDATE|REPLACE patch IN collection``.

    ``condition`` stands instead of ``example`` in the form ``UPSERT FILTER condition``; it sees ``CURRENT``.
    """

    example: Expr | None
    condition: Expr | None
    document: Expr
    patch: Expr
    replace: bool
    collection: Expr
    options: Expr | None = None
