"""Optimiser rules for nearest-neighbour queries: the vector index, and exact scores for a whole collection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aqlite.aql import ast
from aqlite.aql import plan as p
from aqlite.aql.conditions import attribute_path
from aqlite.aql.facts import deterministic, used_variables
from aqlite.aql.rewriting import Replacement, rewrite, rewrite_nodes
from aqlite.errors import ArangoError
from aqlite.storage.api import IndexInfo, StoreView
from aqlite.storage.indexes import kind_of

APPROXIMATE = {
    "APPROX_NEAR_COSINE": ("cosine", True),
    "APPROX_NEAR_L2": ("l2", False),
    "APPROX_NEAR_INNER_PRODUCT": ("innerProduct", True),
}
"""Function -> (metric of the index, whether the nearest have the largest score)."""

EXACT = ("COSINE_SIMILARITY", "L2_DISTANCE")
Applied = Callable[[str], None]


def use_vector_index(view: StoreView, plan: p.QueryPlan, block: p.BlockPlan, applied: Applied) -> None:
    """``FOR d IN c FILTER .. SORT APPROX_NEAR_X(d.v, q) LIMIT n``: let the vector index find the documents.

    Raises:
        ArangoError: 1554, when an ``APPROX_NEAR`` function is used in any other way or no index fits.
    """
    calls = [part for node in block.nodes for x in node.expressions() for part in p.walk(x) if _is_approximate(part)]
    if not calls:
        return
    sort = next((node for node in block.nodes if isinstance(node, p.SortNode)), None)
    found = sort and _scored_loop(block, sort, tuple(APPROXIMATE))
    if not found:
        raise _not_applied("expecting FOR d IN collection, FILTERs, SORT by the function alone, LIMIT")
    loop, call, path, filters, limit = found
    metric, descending = APPROXIMATE[call.name]
    if sort.keys[0][1] is not descending:
        raise _not_applied(f"{call.name}() must be sorted {'DESC' if descending else 'ASC'}")
    index = _vector_index(view, loop.collection, path, metric)
    if index is None:
        raise _not_applied(f"no vector index on '{'.'.join(path)}' of '{loop.collection}' with the metric {metric}")
    score = _new_variable(plan)
    condition = None
    for node in filters:
        condition = node.condition if condition is None else ast.Binary("AND", condition, node.condition)
    near = p.EnumerateNearVectors(
        loop.variable, score, loop.collection, index, call.arguments[1], limit.offset, limit.count,
        _n_probe(call), condition,
    )  # fmt: skip
    block.nodes[block.nodes.index(loop)] = near
    for node in (*filters, sort):
        block.nodes.remove(node)
    rewrite_nodes(block.nodes, _known_score(block, call, score))
    applied("use-vector-index")


def use_exact_vectors(plan: p.QueryPlan, block: p.BlockPlan, applied: Applied) -> None:
    """``FOR d IN c FILTER .. SORT COSINE_SIMILARITY(d.v, q) LIMIT n``: score the whole collection at once."""
    sort = next((node for node in block.nodes if isinstance(node, p.SortNode)), None)
    found = sort and _scored_loop(block, sort, EXACT)
    if not found:
        return
    loop, call, path, filters, limit = found
    if limit.full_count:
        return
    score = _new_variable(plan)
    known = _known_score(block, call, score)
    computed = next(node for node in block.nodes if _mentions(node, known))
    before = tuple(node.condition for node in filters if block.nodes.index(node) < block.nodes.index(computed))
    after = rewrite(tuple(node.condition for node in filters[len(before) :]), known)
    for old in (*filters, sort):
        block.nodes.remove(old)
    rewrite_nodes(block.nodes, known)
    block.nodes[block.nodes.index(loop)] = p.ExactVectors(
        loop.variable, score, loop.collection, path, call, before, after, sort.keys[0][1], limit.offset + limit.count
    )
    applied("score-vectors-at-once")


def _scored_loop(
    block: p.BlockPlan, sort: p.SortNode, functions: tuple[str, ...]
) -> tuple[p.EnumerateCollection, ast.Call, tuple[str, ...], list[p.FilterNode], p.LimitNode] | None:
    """The parts of ``FOR .. FILTER .. LET .. SORT function(d.v, q) LIMIT``, when the block starts like that."""
    if len(sort.keys) != 1:
        return None
    scores = {
        node.variable: node.value
        for node in block.nodes
        if isinstance(node, p.Calculation) and isinstance(node.value, ast.Call) and node.value.name in functions
    }
    key = sort.keys[0][0]
    if isinstance(key, p.VarRef):
        key = scores.get(key.variable)
    if not isinstance(key, ast.Call) or key.name not in functions or len(key.arguments) < 2:
        return None
    position = block.nodes.index(sort)
    loop, filters = None, []
    for node in block.nodes[:position]:
        if isinstance(node, p.EnumerateCollection) and loop is None:
            loop = node
        elif isinstance(node, p.FilterNode) and loop is not None and deterministic(node.condition):
            filters.append(node)
        elif not isinstance(node, p.Calculation):
            return None
    limit = next((n for n in block.nodes[position + 1 :] if not isinstance(n, p.Calculation)), None)
    if loop is None or not isinstance(limit, p.LimitNode):
        return None
    call = _attribute_first(key, loop.variable)
    if call is None or not _row_wise(block, position, loop, call, filters, set(scores)):
        return None
    return loop, call, attribute_path(call.arguments[0], loop.variable), filters, limit


def _attribute_first(call: ast.Call, variable: p.Variable) -> ast.Call | None:
    """The call with the document's attribute first and a query that does not depend on the document second."""
    first, second, *rest = call.arguments
    for attribute, query in ((first, second), (second, first)):
        if attribute_path(attribute, variable) and variable not in used_variables(query):
            return ast.Call(call.name, (attribute, query, *rest))
    return None


def _row_wise(
    block: p.BlockPlan,
    position: int,
    loop: p.EnumerateCollection,
    call: ast.Call,
    filters: list[p.FilterNode],
    scores: set[p.Variable],
) -> bool:
    """Whether filters and query need nothing that is computed inside the loop, the score itself apart."""
    start = block.nodes.index(loop)
    inside = {v for node in block.nodes[start + 1 : position] for v in node.outputs()}
    if not inside.isdisjoint(used_variables(call.arguments[1])):
        return False
    allowed = scores if call.name in EXACT else set()
    return all((used_variables(node.condition) & inside) <= allowed for node in filters)


def _known_score(block: p.BlockPlan, call: ast.Call, score: p.Variable) -> Replacement:
    """Replacement that puts the score, which is known already, wherever the block computes it again."""
    attribute, query, *rest = call.arguments
    spellings = (call, ast.Call(call.name, (query, attribute, *rest)))
    aliases = {node.variable for node in block.nodes if isinstance(node, p.Calculation) and node.value in spellings}

    def known(part: ast.Expr) -> ast.Expr | None:
        same = (isinstance(part, ast.Call) and part in spellings) or (
            isinstance(part, p.VarRef) and part.variable in aliases
        )
        return p.VarRef(score) if same else None

    return known


def _mentions(node: p.PlanNode, known: Replacement) -> bool:
    return any(known(part) is not None for expression in node.expressions() for part in p.walk(expression))


def _is_approximate(part: Any) -> bool:
    return isinstance(part, ast.Call) and part.name in APPROXIMATE


def _vector_index(view: StoreView, collection: str, path: tuple[str, ...], metric: str) -> IndexInfo | None:
    for index in view.collection(collection).indexes:
        if kind_of(index).can_rank(index, path, metric):
            return index
    return None


def _n_probe(call: ast.Call) -> int | None:
    if len(call.arguments) < 3:
        return None
    options = call.arguments[2]
    if not isinstance(options, ast.Literal) or not isinstance(options.value, dict):
        raise _not_applied("the third argument must be a constant object")
    probe = options.value.get("nProbe")
    if probe is None:
        return None
    if isinstance(probe, bool) or not isinstance(probe, int) or probe < 1:
        raise _not_applied(f"nProbe must be a positive whole number, got {probe!r}")
    return probe


def _new_variable(plan: p.QueryPlan) -> p.Variable:
    variable = p.Variable(str(len(plan.variables)), len(plan.variables), internal=True)
    plan.variables.append(variable)
    return variable


def _not_applied(why: str) -> ArangoError:
    return ArangoError(1554, f"AQL: failed vector search: {why} (while optimizing plan)")
