"""Rewrites a plan into a faster one with the same result. Rule names are those of ArangoDB where it has the rule."""

from __future__ import annotations

from collections.abc import Iterator

from aqlite.aql import ast
from aqlite.aql import plan as p
from aqlite.aql.conditions import Comparison, alternatives, attribute_path, comparison_of, conjuncts
from aqlite.aql.facts import deterministic, used_variables
from aqlite.aql.index_choice import Lookup, best_lookup, index_scan, lookup_in, sorting_index, sorts_by
from aqlite.aql.rewriting import rewrite
from aqlite.aql.vector_rules import use_exact_vectors, use_vector_index
from aqlite.errors import ArangoError
from aqlite.storage.api import IndexInfo, StoreView

_BARRIERS = (p.LimitNode, p.CollectNode, p.WindowNode, p.ModifyNode, p.UpsertNode, p.ReturnNode)
_MAX_HEAP = 100_000
"""Rows up to which keeping the best ones in a heap is worth it."""


def optimize(view: StoreView, plan: p.QueryPlan) -> None:
    """Apply the rules to every block of the plan, in place."""
    _Optimizer(view, plan).block(plan.body)


class _Optimizer:
    def __init__(self, view: StoreView, plan: p.QueryPlan) -> None:
        self.view = view
        self.plan = plan

    def applied(self, rule: str) -> None:
        if rule not in self.plan.rules:
            self.plan.rules.append(rule)

    def block(self, block: p.BlockPlan) -> None:
        for node in block.nodes:
            for expression in node.expressions():
                for part in p.walk(expression):
                    if isinstance(part, p.SubqueryValue):
                        self.block(part.block)
        self._split_filters(block)
        self._inline_attributes(block)
        self._move_filters_up(block)
        use_vector_index(self.view, self.plan, block, self.applied)
        self._use_indexes(block)
        self._remove_unused_calculations(block)
        self._count_directly(block)
        self._drop_constant_sorts(block)
        self._move_calculations_down(block)
        use_exact_vectors(self.plan, block, self.applied)
        self._limit_sorts(block)
        self._prepare_writes(block)

    # --- filters and calculations -----------------------------------------------------------------------------
    def _split_filters(self, block: p.BlockPlan) -> None:
        nodes: list[p.PlanNode] = []
        for node in block.nodes:
            if isinstance(node, p.FilterNode):
                nodes.extend(p.FilterNode(part) for part in conjuncts(node.condition))
            else:
                nodes.append(node)
        block.nodes = nodes

    def _inline_attributes(self, block: p.BlockPlan) -> None:
        """In filters and sorts, put ``d.a`` for ``x`` after ``LET x = d.a``, so that they can use an index."""
        aliases = {
            node.variable: node.value
            for node in block.nodes
            if isinstance(node, p.Calculation) and isinstance(node.value, ast.Attribute) and _is_path(node.value)
        }
        if not aliases:
            return

        def resolved(part: ast.Expr) -> ast.Expr | None:
            return aliases.get(part.variable) if isinstance(part, p.VarRef) else None

        for node in block.nodes:
            if isinstance(node, p.FilterNode):
                node.condition = rewrite(node.condition, resolved)
            elif isinstance(node, p.SortNode):
                node.keys = tuple((rewrite(value, resolved), down) for value, down in node.keys)
            elif isinstance(node, _BARRIERS):
                break

    def _move_filters_up(self, block: p.BlockPlan) -> None:
        for position, node in enumerate(block.nodes):
            if not isinstance(node, p.FilterNode) or not deterministic(node.condition):
                continue
            used = used_variables(node.condition)
            target = position
            while target > 0 and self._may_pass(block.nodes[target - 1], used):
                target -= 1
            if target < position:
                block.nodes.insert(target, block.nodes.pop(position))
                if any(not isinstance(passed, p.FilterNode) for passed in block.nodes[target + 1 : position + 1]):
                    self.applied("move-filters-up")

    def _may_pass(self, node: p.PlanNode, used: set[p.Variable]) -> bool:
        if isinstance(node, (*_BARRIERS, p.FilterNode)) or not used.isdisjoint(node.outputs()):
            return False
        return all(deterministic(expression) for expression in node.expressions())

    def _remove_unused_calculations(self, block: p.BlockPlan) -> None:
        for position in range(len(block.nodes) - 1, -1, -1):
            node = block.nodes[position]
            if not isinstance(node, p.Calculation) or not deterministic(node.value):
                continue
            if not any(node.variable in _variables(later) for later in block.nodes[position + 1 :]):
                del block.nodes[position]
                self.applied("remove-unnecessary-calculations")

    def _move_calculations_down(self, block: p.BlockPlan) -> None:
        """Compute what only later operations need after filters, sorts and limits have thinned the rows out."""
        for position in range(len(block.nodes) - 1, -1, -1):
            node = block.nodes[position]
            if not isinstance(node, p.Calculation) or not deterministic(node.value):
                continue
            target = position
            while isinstance(block.nodes[target + 1], (p.FilterNode, p.SortNode, p.LimitNode, p.Calculation)) and (
                node.variable not in _variables(block.nodes[target + 1])
            ):
                target += 1
            while target > position and isinstance(block.nodes[target], p.Calculation):
                target -= 1
            if target > position:
                block.nodes.insert(target, block.nodes.pop(position))
                self.applied("move-calculations-down")

    # --- indexes ----------------------------------------------------------------------------------------------
    def _use_indexes(self, block: p.BlockPlan) -> None:
        for position, node in enumerate(block.nodes):
            if isinstance(node, p.EnumerateCollection) and node.options.get("disableIndex") is not True:
                self._use_index(block, position, node)

    def _use_index(self, block: p.BlockPlan, position: int, loop: p.EnumerateCollection) -> None:
        indexes = self._candidates(loop)
        filters = list(_filters_after(block, position))
        unknown = {variable for later in block.nodes[position + 1 :] for variable in later.outputs()}
        found = {f: comparison_of(f.condition, loop.variable, unknown) for f in filters}
        comparisons = [comparison for comparison in found.values() if comparison is not None]
        lookup = best_lookup(indexes, comparisons)
        sort, paths, descending = self._sort_after(block, position, loop.variable)
        if lookup is not None:
            self._apply_lookup(block, position, loop, lookup, found)
            if sort is not None and sorts_by(lookup, paths):
                block.nodes[position].reverse = descending
                self._remove_sort(block, sort)
            return
        if self._use_alternatives(block, position, loop, indexes, filters, unknown):
            return
        index = sorting_index(indexes, paths) if sort is not None and self._limited(block, sort) else None
        if index is not None:
            block.nodes[position] = p.IndexScan(
                loop.variable, loop.collection, index, (p.KeyBounds(),), reverse=descending, options=loop.options
            )
            self._remove_sort(block, sort)
        elif loop.options.get("forceIndexHint") is True and "indexHint" in loop.options:
            raise ArangoError(1577, "AQL: could not use forced index hint (while optimizing plan)")

    def _candidates(self, loop: p.EnumerateCollection) -> list[IndexInfo]:
        """Indexes of the collection, those hinted at first; only those when the hint is forced."""
        indexes = list(self.view.collection(loop.collection).indexes)
        hint = loop.options.get("indexHint")
        names = [hint] if isinstance(hint, str) else hint if isinstance(hint, list) else []
        hinted = [index for name in names for index in indexes if index.name == name]
        if loop.options.get("forceIndexHint") is True and names:
            return hinted
        return hinted + [index for index in indexes if index not in hinted]

    def _apply_lookup(
        self,
        block: p.BlockPlan,
        position: int,
        loop: p.EnumerateCollection,
        lookup: Lookup,
        found: dict[p.FilterNode, Comparison | None],
    ) -> None:
        covered = [f for f, comparison in found.items() if comparison in lookup.service.used]
        condition = _conjunction([f.condition for f in covered])
        block.nodes[position] = index_scan(loop, [lookup], condition)
        self.applied("use-indexes")
        for node in covered:
            if lookup.service.exact or found[node].exact():
                block.nodes.remove(node)
                self.applied("remove-filter-covered-by-index")

    def _use_alternatives(
        self,
        block: p.BlockPlan,
        position: int,
        loop: p.EnumerateCollection,
        indexes: list[IndexInfo],
        filters: list[p.FilterNode],
        unknown: set[p.Variable],
    ) -> bool:
        """Answer ``a == 1 OR a == 2`` by several lookups in one index; the filter stays."""
        for node in filters:
            branches = alternatives(node.condition, loop.variable, unknown)
            for index in indexes if branches else ():
                lookups = [lookup_in(index, branch) for branch in branches]
                if all(lookup is not None for lookup in lookups) and len({x.service.attribute for x in lookups}) == 1:
                    block.nodes[position] = index_scan(loop, lookups, node.condition)
                    self.applied("use-indexes")
                    return True
        return False

    def _sort_after(
        self, block: p.BlockPlan, position: int, variable: p.Variable
    ) -> tuple[p.SortNode | None, list, bool]:
        """The sort by attributes of the loop variable in one direction that follows a loop, if it is the only loop."""
        loops = (p.EnumerateCollection, p.IndexScan, p.EnumerateList, p.TraversalNode, p.PathNode)
        if any(isinstance(node, loops) for node in block.nodes[:position]):
            return None, [], False
        for node in block.nodes[position + 1 :]:
            if isinstance(node, (p.FilterNode, p.Calculation)):
                continue
            if not isinstance(node, p.SortNode):
                break
            paths = [attribute_path(value, variable) for value, _ in node.keys]
            directions = {descending for _, descending in node.keys}
            if None in paths or len(directions) > 1:
                break
            return node, paths, directions.pop()
        return None, [], False

    def _limited(self, block: p.BlockPlan, sort: p.SortNode) -> bool:
        return any(isinstance(node, p.LimitNode) for node in block.nodes[block.nodes.index(sort) :])

    def _remove_sort(self, block: p.BlockPlan, sort: p.SortNode) -> None:
        block.nodes.remove(sort)
        self.applied("use-index-for-sort")

    # --- sorting, counting, writing ---------------------------------------------------------------------------
    def _drop_constant_sorts(self, block: p.BlockPlan) -> None:
        """``SORT null`` sorts nothing; after ``COLLECT`` it says that the groups may come in any order."""
        for position in range(len(block.nodes) - 1, -1, -1):
            node = block.nodes[position]
            if not isinstance(node, p.SortNode):
                continue
            node.keys = tuple(key for key in node.keys if not isinstance(key[0], ast.Literal))
            if not node.keys:
                before = block.nodes[position - 1] if position else None
                if isinstance(before, p.CollectNode):
                    before.sorted_output = False
                del block.nodes[position]
                self.applied("remove-redundant-sorts")

    def _count_directly(self, block: p.BlockPlan) -> None:
        """``FOR d IN c COLLECT WITH COUNT INTO n``: ask the collection for its count."""
        for position in range(len(block.nodes) - 1):
            loop, collect = block.nodes[position : position + 2]
            if (
                isinstance(loop, p.EnumerateCollection)
                and isinstance(collect, p.CollectNode)
                and position == 0
                and not collect.groups
                and collect.into is None
                and len(collect.aggregates) == 1
                and collect.aggregates[0].function == "LENGTH"
                and isinstance(collect.aggregates[0].argument, ast.Literal)
            ):
                count = ast.Call("COLLECTION_COUNT", (ast.Literal(loop.collection),))
                block.nodes[position : position + 2] = [p.Calculation(collect.aggregates[0].variable, count)]
                self.applied("optimize-count")
                return

    def _limit_sorts(self, block: p.BlockPlan) -> None:
        for node, following in zip(block.nodes, block.nodes[1:], strict=False):
            if isinstance(node, p.SortNode) and isinstance(following, p.LimitNode) and not following.full_count:
                needed = following.offset + following.count
                if needed <= _MAX_HEAP:
                    node.limit = needed
                    self.applied("sort-limit")

    def _prepare_writes(self, block: p.BlockPlan) -> None:
        for position, node in enumerate(block.nodes):
            if isinstance(node, (p.ModifyNode, p.UpsertNode)):
                node.buffered = any(_reads(earlier) for earlier in block.nodes[:position])
                node.rows_needed = position + 1 < len(block.nodes)


def _is_path(node: ast.Expr) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.base
    return isinstance(node, p.VarRef)


def _variables(node: p.PlanNode) -> set[p.Variable]:
    return {variable for expression in node.expressions() for variable in used_variables(expression)}


def _filters_after(block: p.BlockPlan, position: int) -> Iterator[p.FilterNode]:
    """Filters that see every row of a loop: those before anything that changes which rows there are."""
    for node in block.nodes[position + 1 :]:
        if isinstance(node, p.FilterNode):
            yield node
        elif isinstance(node, _BARRIERS):
            return


def _conjunction(conditions: list[ast.Expr]) -> ast.Expr | None:
    joined: ast.Expr | None = None
    for condition in conditions:
        joined = condition if joined is None else ast.Binary("AND", joined, condition)
    return joined


def _reads(node: p.PlanNode) -> bool:
    """Whether an operation, or a subquery or function in it, reads stored documents while rows flow."""
    readers = (p.EnumerateCollection, p.IndexScan, p.ExactVectors, p.EnumerateNearVectors, p.TraversalNode, p.PathNode)
    if isinstance(node, readers):
        return True
    return any(
        isinstance(part, p.SubqueryValue) or (isinstance(part, ast.Call) and not deterministic(part))
        for expression in node.expressions()
        for part in p.walk(expression)
    )
