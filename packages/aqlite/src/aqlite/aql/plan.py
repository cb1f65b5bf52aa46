"""The execution plan: what the planner makes of the syntax tree, the optimiser rewrites and the pipeline runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aqlite.aql import ast
from aqlite.storage.api import GraphInfo, IndexInfo


@dataclass(eq=False)
class Variable:
    """One variable of a query.

    Attributes:
        name: as written; internal variables have a number.
        slot: position in the frame, the list that holds the values of one row.
        level: depth of the loop that binds it; set when the pipeline is built (0: bound once per query).
        internal: made by the planner, invisible to ``COLLECT ... INTO``.
    """

    name: str
    slot: int
    internal: bool = False
    level: int = 0


@dataclass(frozen=True)
class VarRef(ast.Expr):
    """A resolved variable."""

    variable: Variable


@dataclass(frozen=True, eq=False)
class SubqueryValue(ast.Expr):
    """A planned subquery; its value is the array of its results."""

    block: BlockPlan


@dataclass(frozen=True, eq=False)
class ResolvedExpansion(ast.Expansion):
    """An array expansion whose ``CURRENT`` is a variable."""

    current: Variable | None = None


@dataclass(frozen=True, eq=False)
class ResolvedQuestion(ast.Question):
    """A question mark operator whose ``CURRENT`` is a variable."""

    current: Variable | None = None


@dataclass(eq=False)
class PlanNode:
    """One operation on the stream of rows. Subclasses say what they evaluate and what they set."""

    def expressions(self) -> Iterator[ast.Expr]:
        """Expressions evaluated by the node."""
        return self._expressions()

    def outputs(self) -> tuple[Variable, ...]:
        """Variables that the node sets."""
        return self._outputs()

    def _expressions(self) -> Iterator[ast.Expr]:
        return iter(())

    def _outputs(self) -> tuple[Variable, ...]:
        return ()


@dataclass(eq=False)
class BlockPlan:
    """The operations of one query or subquery, in order."""

    nodes: list[PlanNode]


@dataclass(eq=False)
class EnumerateCollection(PlanNode):
    """All documents of a collection."""

    variable: Variable
    collection: str
    options: dict[str, Any] = field(default_factory=dict)

    def _outputs(self) -> tuple[Variable, ...]:
        return (self.variable,)


@dataclass(eq=False)
class KeyBounds:
    """One lookup in an index: values of the leading fields, then a range on the next one."""

    equal: tuple[ast.Expr, ...] = ()
    lower: ast.Expr | None = None
    lower_inclusive: bool = True
    upper: ast.Expr | None = None
    upper_inclusive: bool = True
    in_list: bool = False
    """The last of ``equal`` is an array, each of whose members is looked up."""

    def expressions(self) -> Iterator[ast.Expr]:
        """Expressions whose values the lookup needs."""
        yield from self.equal
        yield from (bound for bound in (self.lower, self.upper) if bound is not None)


@dataclass(eq=False)
class IndexScan(PlanNode):
    """Documents found through an index; several bounds are alternatives (``OR``)."""

    variable: Variable
    collection: str
    index: IndexInfo
    bounds: tuple[KeyBounds, ...]
    index_attribute: str = ""
    """Which of ``_key``/``_id`` or ``_from``/``_to`` a lookup in the primary or edge index is by."""
    condition: ast.Expr | None = None
    """What the bounds stand for, shown by ``explain``."""
    reverse: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def _expressions(self) -> Iterator[ast.Expr]:
        for bound in self.bounds:
            yield from bound.expressions()

    def _outputs(self) -> tuple[Variable, ...]:
        return (self.variable,)


@dataclass(eq=False)
class EnumerateNearVectors(PlanNode):
    """The nearest documents by a vector index, best first, with their score."""

    variable: Variable
    score: Variable
    collection: str
    index: IndexInfo
    query: ast.Expr
    offset: int
    count: int
    n_probe: int | None
    condition: ast.Expr | None = None

    def _expressions(self) -> Iterator[ast.Expr]:
        yield self.query
        if self.condition is not None:
            yield self.condition

    def _outputs(self) -> tuple[Variable, ...]:
        return (self.variable, self.score)


@dataclass(eq=False)
class ExactVectors(PlanNode):
    """The ``count`` best documents by an exact score against one query vector, best first.

    ``call`` computes the score of one document; ``before`` and ``after`` are the conditions that stand before and
    after its computation and must hold for each document.
    """

    variable: Variable
    score: Variable
    collection: str
    path: tuple[str, ...]
    call: ast.Call
    before: tuple[ast.Expr, ...]
    after: tuple[ast.Expr, ...]
    descending: bool
    count: int

    def _expressions(self) -> Iterator[ast.Expr]:
        yield from self.before
        yield self.call
        yield from self.after

    def _outputs(self) -> tuple[Variable, ...]:
        return (self.variable, self.score)


@dataclass(eq=False)
class EnumerateList(PlanNode):
    """The elements of an array or range."""

    variable: Variable
    source: ast.Expr

    def _expressions(self) -> Iterator[ast.Expr]:
        yield self.source

    def _outputs(self) -> tuple[Variable, ...]:
        return (self.variable,)


@dataclass(eq=False)
class GraphAccess:
    """Edge collections to walk, each with its direction."""

    edges: tuple[tuple[str, str], ...]
    vertex_collections: tuple[str, ...]
    graph: GraphInfo | None


@dataclass(eq=False)
class TraversalNode(PlanNode):
    """A graph traversal."""

    variables: tuple[Variable | None, Variable | None, Variable | None]
    start: ast.Expr
    min_depth: int
    max_depth: int
    access: GraphAccess
    prune: ast.Expr | None
    prune_variable: Variable | None
    options: dict[str, Any]

    def _expressions(self) -> Iterator[ast.Expr]:
        yield self.start
        if self.prune is not None:
            yield self.prune

    def _outputs(self) -> tuple[Variable, ...]:
        return tuple(v for v in (*self.variables, self.prune_variable) if v is not None)


@dataclass(eq=False)
class PathNode(PlanNode):
    """``SHORTEST_PATH``, ``ALL_SHORTEST_PATHS``, ``K_SHORTEST_PATHS`` or ``K_PATHS``."""

    kind: str
    variables: tuple[Variable, ...]
    start: ast.Expr
    target: ast.Expr
    min_depth: int
    max_depth: int
    access: GraphAccess
    options: dict[str, Any]

    def _expressions(self) -> Iterator[ast.Expr]:
        yield self.start
        yield self.target

    def _outputs(self) -> tuple[Variable, ...]:
        return self.variables


@dataclass(eq=False)
class Calculation(PlanNode):
    """``LET``."""

    variable: Variable
    value: ast.Expr

    def _expressions(self) -> Iterator[ast.Expr]:
        yield self.value

    def _outputs(self) -> tuple[Variable, ...]:
        return (self.variable,)


@dataclass(eq=False)
class FilterNode(PlanNode):
    """``FILTER``."""

    condition: ast.Expr

    def _expressions(self) -> Iterator[ast.Expr]:
        yield self.condition


@dataclass(eq=False)
class SortNode(PlanNode):
    """``SORT``; ``limit`` is how many rows are needed at most (from a following ``LIMIT``)."""

    keys: tuple[tuple[ast.Expr, bool], ...]
    limit: int | None = None

    def _expressions(self) -> Iterator[ast.Expr]:
        return (value for value, _ in self.keys)


@dataclass(eq=False)
class LimitNode(PlanNode):
    """``LIMIT``; ``full_count``: go on counting after the last row."""

    offset: int
    count: int
    full_count: bool = False


@dataclass(eq=False)
class Aggregate:
    """One aggregation: output, function name and argument."""

    variable: Variable
    function: str
    argument: ast.Expr


@dataclass(eq=False)
class CollectNode(PlanNode):
    """``COLLECT``. ``into_variables`` are the variables whose values become the attributes of each ``INTO`` element."""

    groups: tuple[tuple[Variable, ast.Expr], ...]
    aggregates: tuple[Aggregate, ...]
    into: Variable | None
    projection: ast.Expr | None
    into_variables: tuple[Variable, ...]
    method: str
    sorted_output: bool = True

    def _expressions(self) -> Iterator[ast.Expr]:
        yield from (value for _, value in self.groups)
        yield from (aggregate.argument for aggregate in self.aggregates)
        if self.projection is not None:
            yield self.projection
        if self.into is not None and self.projection is None:
            yield from (VarRef(variable) for variable in self.into_variables)

    def _outputs(self) -> tuple[Variable, ...]:
        into = () if self.into is None else (self.into,)
        return (*(v for v, _ in self.groups), *(a.variable for a in self.aggregates), *into)


@dataclass(eq=False)
class WindowNode(PlanNode):
    """``WINDOW``; with ``range_value`` the bounds are distances between values, else numbers of rows."""

    range_value: ast.Expr | None
    preceding: Any
    following: Any
    aggregates: tuple[Aggregate, ...]

    def _expressions(self) -> Iterator[ast.Expr]:
        if self.range_value is not None:
            yield self.range_value
        yield from (aggregate.argument for aggregate in self.aggregates)

    def _outputs(self) -> tuple[Variable, ...]:
        return tuple(aggregate.variable for aggregate in self.aggregates)


@dataclass(eq=False)
class ModifyNode(PlanNode):
    """``INSERT``, ``UPDATE``, ``REPLACE`` or ``REMOVE``; ``key`` is the document itself for ``INSERT``."""

    kind: str
    collection: str
    key: ast.Expr
    patch: ast.Expr | None
    options: dict[str, Any]
    old: Variable
    new: Variable
    buffered: bool = True
    """Read all input before the first write, because the input comes from the same collection."""
    rows_needed: bool = True
    """Whether a later operation looks at the rows."""

    def _expressions(self) -> Iterator[ast.Expr]:
        yield self.key
        if self.patch is not None:
            yield self.patch

    def _outputs(self) -> tuple[Variable, ...]:
        return (self.old, self.new)


@dataclass(eq=False)
class UpsertNode(PlanNode):
    """``UPSERT``; ``find`` yields the document that matches, bound to ``old``."""

    collection: str
    find: SubqueryValue
    document: ast.Expr
    patch: ast.Expr
    replace: bool
    options: dict[str, Any]
    old: Variable
    new: Variable
    buffered: bool = True
    rows_needed: bool = True

    def _expressions(self) -> Iterator[ast.Expr]:
        yield self.find
        yield self.document
        yield self.patch

    def _outputs(self) -> tuple[Variable, ...]:
        return (self.old, self.new)


@dataclass(eq=False)
class ReturnNode(PlanNode):
    """``RETURN``."""

    value: ast.Expr
    distinct: bool

    def _expressions(self) -> Iterator[ast.Expr]:
        yield self.value


@dataclass(eq=False)
class QueryPlan:
    """A planned query.

    Attributes:
        body: its operations.
        frame_size: number of variable slots.
        reads, writes: names of the collections used.
        rules: optimiser rules that changed the plan, in order.
        warnings: to be given when the query runs, as (number, message).
    """

    body: BlockPlan
    variables: list[Variable]
    reads: set[str]
    writes: set[str]
    rules: list[str] = field(default_factory=list)
    warnings: list[tuple[int, str]] = field(default_factory=list)

    @property
    def modifies(self) -> bool:
        """Whether the query writes."""
        return bool(self.writes)


def walk(root: ast.Expr) -> Iterator[ast.Node]:
    """All nodes of a resolved expression; a subquery is one node, its inside is not entered."""
    pending: list[ast.Node] = [root]
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, (SubqueryValue, VarRef, ast.Literal)):
            pending.extend(node.children())
