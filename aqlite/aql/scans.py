"""Reading a collection through an index, or through its cached column of vectors."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from aqlite.aql import plan as p
from aqlite.aql import values as v
from aqlite.aql.expressions import UNSET, Closure, ExpressionCompiler, Frame
from aqlite.aql.runtime import CHECK_MASK, Runtime
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

        wanted = min(node.offset + node.count, view.count(node.collection))
        test = None if condition is None else accept
        found = view.vector_search(node.collection, node.index, query_vector(query(frame)), wanted, node.n_probe, test)
        statistics.scanned_index += len(found)
        yield from found

    return rows_stage(runtime, source, rows, [slot, node.score.slot], emptied)


def query_vector(value: Any) -> list[float]:
    """The query vector of an approximate search.

    Raises:
        ArangoError: 10, when it is no array of numbers.
    """
    if value.__class__ is not list or not all(v.is_number(item) for item in value):
        raise ArangoError(10, "AQL: bad parameter: the query vector must be an array of numbers (while executing)")
    return value


def exact_vector_stage(runtime: Runtime, expressions: ExpressionCompiler, source: Stage, node: p.ExactVectors) -> Stage:
    """Stage that yields the documents with the best scores, best first.

    The cached matrix gives single-precision scores for the whole collection; documents are then scored exactly in that
    order, until no later one can be among the best. Where the collection has no such matrix, each document is scored.
    """
    vector = expressions.compile(node.call.arguments[1])
    emptied = expressions.enter_loop(node.variable, node.score)
    scorer = _ExactScorer(
        runtime, node, expressions.compile(node.call), expressions.compile_all(node.conditions), emptied
    )
    view, statistics = runtime.view, runtime.statistics

    def rows(frame: Frame) -> list[tuple]:
        if node.count == 0:
            return []
        column = view.vector_matrix(node.collection, node.path)
        ranking = None if column is None else rank_column(node.call.name, vector(frame), *column[1:])
        statistics.scanned_full += view.count(node.collection)
        if ranking is None:
            return scorer.best_of_all(frame)
        return scorer.best_by_ranking(frame, column[0], ranking)

    return rows_stage(runtime, source, rows, [node.variable.slot, node.score.slot], emptied)


@dataclass(frozen=True)
class _ExactScorer:
    """Scores documents exactly and picks the best; both ways give (document, score) pairs, best first."""

    runtime: Runtime
    node: p.ExactVectors
    call: Closure
    conditions: list[Closure]
    emptied: list[int]

    def score(self, frame: Frame, document: dict[str, Any]) -> tuple[bool, Any]:
        """Whether all conditions hold for a document, and its score."""
        frame[self.node.variable.slot] = document
        for memo in self.emptied:
            frame[memo] = UNSET
        score = frame[self.node.score.slot] = self.call(frame)
        accepted = all(v.truthy(condition(frame)) for condition in self.conditions)
        self.runtime.statistics.filtered += not accepted
        return accepted, score

    def best_by_ranking(self, frame: Frame, keys: list[str], ranking: Ranking) -> list[tuple]:
        """Score documents in the order of the ranking, until no other one can be among the best."""
        node, view = self.node, self.runtime.view
        best: list[tuple] = []
        bound = None
        for number, position in enumerate(ranking.order(node.descending)):
            if not number & CHECK_MASK:
                self.runtime.context.check()
            if bound is not None and ranking.beyond(position, bound, node.descending):
                break
            document = view.get(node.collection, keys[position])
            accepted, score = self.score(frame, document)
            if accepted:
                best.append((score, position, document))
                if len(best) == node.count:
                    bound = (min if node.descending else max)(entry[0] for entry in best)
        best.sort(key=lambda entry: (-entry[0] if node.descending else entry[0], entry[1]))
        return [(document, score) for score, _, document in best[: node.count]]

    def best_of_all(self, frame: Frame) -> list[tuple]:
        """Score every document."""
        scored = self._scored(frame)
        pick = heapq.nlargest if self.node.descending else heapq.nsmallest
        return [(document, score) for _, document, score in pick(self.node.count, scored, key=itemgetter(0))]

    def _scored(self, frame: Frame) -> Iterator[tuple]:
        for number, document in enumerate(self.runtime.view.scan(self.node.collection)):
            if not number & CHECK_MASK:
                self.runtime.context.check()
            accepted, score = self.score(frame, document)
            if accepted:
                yield v.sort_key(score), document, score


@dataclass(frozen=True)
class Ranking:
    """Single-precision scores of a collection's documents, float32 [n], and a bound of their error."""

    scores: np.ndarray
    error: float

    def order(self, descending: bool) -> list[int]:
        """Positions, best score first, equal scores in order of position."""
        return np.argsort(-self.scores if descending else self.scores, kind="stable").tolist()

    def beyond(self, position: int, bound: float, descending: bool) -> bool:
        """Whether a document's exact score is certainly worse than ``bound``."""
        score = float(self.scores[position])
        return score + self.error < bound if descending else score - self.error > bound


def rank_column(function: str, query: Any, matrix: np.ndarray, norms: np.ndarray) -> Ranking | None:
    """Scores of all rows of ``matrix`` float32 [n, d], with Euclidean ``norms`` float32 [n], against a query.

    None when the query is no vector of that width, when a cosine has no value, or when single precision overflows.
    """
    if query.__class__ is not list or len(query) != matrix.shape[1] or not all(map(v.is_number, query)):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = np.asarray(query, dtype=np.float32)
        length, longest = float(np.linalg.norm(wanted)), float(norms.max())
        if function == "L2_DISTANCE":
            ranking = Ranking(np.linalg.norm(matrix - wanted, axis=1), 1e-5 * (1 + length + longest))
        elif length > 0 and norms.min() > 0:
            ranking = Ranking(matrix @ wanted / (norms * length), 1e-4)
        else:
            return None
    return ranking if np.isfinite(ranking.scores).all() else None
