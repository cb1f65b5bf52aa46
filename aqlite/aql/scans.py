"""Reading a collection through an index, or through its cached column of vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from aqlite.aql import plan as p
from aqlite.aql import values as v
from aqlite.aql.expressions import UNSET, ExpressionCompiler, Frame
from aqlite.aql.runtime import Runtime
from aqlite.aql.stages import Stage, rows_stage
from aqlite.errors import ArangoError
from aqlite.storage.api import UNBOUNDED

Documents = Callable[[Frame], Iterator[dict[str, Any]]]


def index_documents(runtime: Runtime, expressions: ExpressionCompiler, node: p.IndexScan) -> Documents:
    """Function that yields the documents of an index scan for the current row, each document once."""
    lookups = [_LOOKUPS[node.index.type](runtime, expressions, node, bound) for bound in node.bounds]
    statistics = runtime.statistics

    def documents(frame: Frame) -> Iterator[dict[str, Any]]:
        seen: set[str] = set()
        for lookup in lookups:
            for document in lookup(frame):
                if len(lookups) > 1:
                    if document["_key"] in seen:
                        continue
                    seen.add(document["_key"])
                statistics.scanned_index += 1
                yield document

    return documents


def _wanted(values: list[Any], in_list: bool) -> list[Any]:
    """Members to look up one by one: distinct, in order; a single value is its own only member."""
    if not in_list:
        return values[-1:]
    if values[-1].__class__ is not list:
        return []
    return list({v.equality_key(member): member for member in v.sorted_values(values[-1])}.values())


def _primary(runtime: Runtime, expressions: ExpressionCompiler, node: p.IndexScan, bound: p.KeyBounds) -> Documents:
    view, name = runtime.view, node.collection
    closures = expressions.compile_all(bound.equal)
    by_id = node.index_attribute == "_id"

    def documents(frame: Frame) -> Iterator[dict[str, Any]]:
        for key in _wanted([closure(frame) for closure in closures], bound.in_list):
            if key.__class__ is not str:
                continue
            if by_id:
                owner, _, key = key.partition("/")
                if owner != name:
                    continue
            document = view.get(name, key)
            if document is not None:
                yield document

    return documents


def _edge(runtime: Runtime, expressions: ExpressionCompiler, node: p.IndexScan, bound: p.KeyBounds) -> Documents:
    view, name = runtime.view, node.collection
    closures = expressions.compile_all(bound.equal)
    direction = "outbound" if node.index_attribute == "_from" else "inbound"

    def documents(frame: Frame) -> Iterator[dict[str, Any]]:
        for vertex in _wanted([closure(frame) for closure in closures], bound.in_list):
            if vertex.__class__ is str:
                yield from view.edges(name, vertex, direction)

    return documents


def _persistent(runtime: Runtime, expressions: ExpressionCompiler, node: p.IndexScan, bound: p.KeyBounds) -> Documents:
    view, name, index = runtime.view, node.collection, node.index
    equal = expressions.compile_all(bound.equal)
    lower = None if bound.lower is None else expressions.compile(bound.lower)
    upper = None if bound.upper is None else expressions.compile(bound.upper)

    def documents(frame: Frame) -> Iterator[dict[str, Any]]:
        fixed = [closure(frame) for closure in equal]
        alternatives = [[*fixed[:-1], last] for last in _wanted(fixed, bound.in_list)] if fixed else [[]]
        for values in reversed(alternatives) if node.reverse else alternatives:
            yield from view.index_lookup(
                name,
                index,
                values,
                UNBOUNDED if lower is None else lower(frame),
                bound.lower_inclusive,
                UNBOUNDED if upper is None else upper(frame),
                bound.upper_inclusive,
                node.reverse,
            )

    return documents


_LOOKUPS: dict[str, Callable[..., Documents]] = {
    "primary": _primary,
    "edge": _edge,
    "persistent": _persistent,
    "ttl": _persistent,
}


# --- vectors --------------------------------------------------------------------------------------------------
def near_vector_stage(
    runtime: Runtime, expressions: ExpressionCompiler, source: Stage, node: p.EnumerateNearVectors
) -> Stage:
    """Stage that asks a vector index for the nearest documents; a filter is applied inside the search."""
    query = expressions.compile(node.query)
    emptied = expressions.enter_loop(node.variable, node.score)
    condition = None if node.condition is None else expressions.compile(node.condition)
    slot = node.variable.slot
    view, statistics = runtime.view, runtime.statistics

    def rows(frame: Frame) -> Iterator[tuple]:
        def accept(document: dict[str, Any]) -> bool:
            frame[slot] = document
            for memo in emptied:
                frame[memo] = UNSET
            return v.truthy(condition(frame))

        wanted = node.offset + node.count
        test = None if condition is None else accept
        found = view.vector_search(node.collection, node.index, query_vector(query(frame)), wanted, node.n_probe, test)
        statistics.scanned_index += len(found)
        for document, score in found:
            yield document, _shown_score(node.function, score)

    return rows_stage(runtime, source, rows, [slot, node.score.slot], emptied)


def _shown_score(function: str, score: float) -> float:
    return math.sqrt(max(score, 0.0)) if function == "APPROX_NEAR_L2" else score


def query_vector(value: Any) -> list[float]:
    """The query vector of an approximate search.

    Raises:
        ArangoError: 10, when it is no array of numbers.
    """
    if value.__class__ is not list or not all(v.is_number(item) for item in value):
        raise ArangoError(10, "AQL: bad parameter: the query vector must be an array of numbers (while executing)")
    return value


def exact_vector_stage(runtime: Runtime, expressions: ExpressionCompiler, source: Stage, node: p.ExactVectors) -> Stage:
    """Stage that scores all documents of a collection at once, best first when only some are needed.

    Falls back to one call per document when the collection's values there are not vectors of the query's width.
    """
    query = expressions.compile(node.query)
    emptied = expressions.enter_loop(node.variable, node.score)
    call = expressions.compile(node.call)
    slot = node.variable.slot
    view, statistics, context = runtime.view, runtime.statistics, runtime.context

    def rows(frame: Frame) -> Iterator[tuple]:
        column = view.vector_matrix(node.collection, node.path)
        scores = None if column is None else score_column(node.call.name, query(frame), *column[1:])
        if scores is None:
            for document in view.scan(node.collection):
                statistics.scanned_full += 1
                frame[slot] = document
                yield document, call(frame)
            return
        statistics.scanned_full += len(scores)
        context.check()
        if node.count is None:
            for document, score in zip(view.scan(node.collection), scores.tolist(), strict=True):
                yield document, score
            return
        for position in best_positions(scores, node.count, node.descending):
            yield view.get(node.collection, column[0][position]), float(scores[position])

    return rows_stage(runtime, source, rows, [slot, node.score.slot], emptied)


def score_column(function: str, query: Any, matrix: np.ndarray, norms: np.ndarray) -> np.ndarray | None:
    """Scores of all rows of ``matrix`` float32 [n, d] against a query, float64 [n].

    None when the query is no vector of that width, or a row or the query has length zero and the cosine no value.
    """
    if query.__class__ is not list or len(query) != matrix.shape[1] or not all(map(v.is_number, query)):
        return None
    wanted = np.asarray(query, dtype=np.float32)
    if function == "L2_DISTANCE":
        return np.sqrt(((matrix - wanted) ** 2).sum(axis=1, dtype=np.float64))
    length = float(np.linalg.norm(wanted.astype(np.float64)))
    if length == 0.0 or not np.all(norms > 0):
        return None
    return np.clip((matrix @ wanted).astype(np.float64) / (norms.astype(np.float64) * length), -1.0, 1.0)


def best_positions(scores: np.ndarray, count: int, descending: bool) -> list[int]:
    """Positions of the ``count`` best scores, best first, equal scores in order of position."""
    order = np.argsort(-scores if descending else scores, kind="stable")
    return order[:count].tolist()
