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
from aqlite.storage.api import UNBOUNDED, VectorColumn

Documents = Callable[[Frame], Iterator[dict[str, Any]]]

_SHORTEST, _LONGEST = 1e-15, 1e15
"""Lengths of vectors whose squares and products single precision holds."""


def index_documents(runtime: Runtime, expressions: ExpressionCompiler, node: p.IndexScan) -> Documents:
    """Function that yields the documents of an index scan for the current row, each document once."""
    lookups = [_lookup(runtime, expressions, node, bound) for bound in node.bounds]
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


def _lookup(runtime: Runtime, expressions: ExpressionCompiler, node: p.IndexScan, bound: p.KeyBounds) -> Documents:
    view, name, index, attribute = runtime.view, node.collection, node.index, node.index_attribute
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
                attribute,
            )

    return documents


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

    The cached column of vectors gives single-precision scores; its documents are then scored exactly in that order,
    until no later one can be among the best. Documents that single precision cannot rank are scored one by one.
    """
    vector = expressions.compile(node.call.arguments[1])
    emptied = expressions.enter_loop(node.variable, node.score)
    scorer = _ExactScorer(
        runtime,
        node,
        expressions.compile_all(node.before),
        expressions.compile(node.call),
        expressions.compile_all(node.after),
        emptied,
    )
    view, statistics = runtime.view, runtime.statistics

    def rows(frame: Frame) -> list[tuple]:
        if node.count == 0:
            return []
        statistics.scanned_full += view.count(node.collection)
        query = vector(frame)
        column = view.vector_column(node.collection, node.path, len(query)) if _is_vector(query) else None
        ranking = None if column is None else rank_column(node.call.name, query, column)
        scored = scorer.all_scores(frame) if ranking is None else scorer.best_by_ranking(frame, ranking)
        pick = heapq.nlargest if node.descending else heapq.nsmallest
        return [(document, score) for _, document, score in pick(node.count, scored, key=itemgetter(0))]

    return rows_stage(runtime, source, rows, [node.variable.slot, node.score.slot], emptied)


Scored = tuple[tuple, dict[str, Any], Any]
"""Sort key of a score, document, score."""


@dataclass(frozen=True)
class _ExactScorer:
    """Scores documents exactly: the conditions before the score, the score, the conditions after it."""

    runtime: Runtime
    node: p.ExactVectors
    before: list[Closure]
    call: Closure
    after: list[Closure]
    emptied: list[int]

    def score(self, frame: Frame, document: dict[str, Any]) -> Scored | None:
        """A document with its score; None when a condition does not hold."""
        frame[self.node.variable.slot] = document
        for memo in self.emptied:
            frame[memo] = UNSET
        if all(v.truthy(condition(frame)) for condition in self.before):
            score = frame[self.node.score.slot] = self.call(frame)
            if all(v.truthy(condition(frame)) for condition in self.after):
                return v.sort_key(score), document, score
        self.runtime.statistics.filtered += 1
        return None

    def all_scores(self, frame: Frame) -> Iterator[Scored]:
        """All documents of the collection in scan order."""
        for number, document in enumerate(self.runtime.view.scan(self.node.collection)):
            if not number & CHECK_MASK:
                self.runtime.context.check()
            scored = self.score(frame, document)
            if scored is not None:
                yield scored

    def best_by_ranking(self, frame: Frame, ranking: Ranking) -> list[Scored]:
        """In scan order: the documents that the ranking leaves out, and those of it that may be among the best."""
        descending, count = self.node.descending, self.node.count
        found = [
            (rid, scored)
            for rid, document in self._documents(ranking.left_out())
            if (scored := self.score(frame, document)) is not None
        ]
        ranked: list[tuple[int, Scored]] = []
        bound = None
        positions = ranking.order(descending)
        for position, (rid, document) in zip(positions, self._documents(ranking.rows(positions)), strict=True):
            if bound is not None and ranking.beyond(position, bound, descending):
                break
            scored = self.score(frame, document)
            if scored is not None:
                ranked.append((rid, scored))
                if len(ranked) == count:
                    bound = (min if descending else max)(score for _, (_, _, score) in ranked)
        return [scored for _, scored in sorted(found + ranked, key=itemgetter(0))]

    def _documents(self, rows: np.ndarray) -> Iterator[tuple[int, dict[str, Any]]]:
        """Row id and document of rows int64 [n, 2]."""
        view, name = self.runtime.view, self.node.collection
        for start in range(0, len(rows), CHECK_MASK + 1):
            self.runtime.context.check()
            chunk = rows[start : start + CHECK_MASK + 1].tolist()
            for (rid, _), document in zip(chunk, view.documents_of(name, chunk), strict=True):
                yield rid, document


@dataclass(frozen=True)
class Ranking:
    """Single-precision scores of a column's vectors, float32 [n], and a bound of the error of those in ``usable``.

    The others are too long, too short or without direction for single precision: ``usable`` is bool [n].
    """

    column: VectorColumn
    scores: np.ndarray
    usable: np.ndarray
    error: float

    def order(self, descending: bool) -> np.ndarray:
        """Usable positions, best score first."""
        positions = np.flatnonzero(self.usable)
        scores = self.scores[positions]
        return positions[np.argsort(-scores if descending else scores, kind="stable")]

    def rows(self, positions: np.ndarray) -> np.ndarray:
        """Row ids and revisions of positions, int64 [len(positions), 2]."""
        return np.stack([self.column.rids[positions], self.column.revs[positions]], axis=1)

    def left_out(self) -> np.ndarray:
        """Rows without a usable vector in scan order, int64 [m, 2]."""
        rows = np.concatenate([self.column.others, self.rows(np.flatnonzero(~self.usable))])
        return rows[np.argsort(rows[:, 0])]

    def beyond(self, position: int, bound: float, descending: bool) -> bool:
        """Whether a document's exact score is certainly worse than ``bound``."""
        score = float(self.scores[position])
        return score + self.error < bound if descending else score - self.error > bound


def rank_column(function: str, query: list[v.Number], column: VectorColumn) -> Ranking | None:
    """Scores of a column's vectors against a query of their width; None when single precision cannot hold the query."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        wanted = np.asarray(query, dtype=np.float32)
        length, norms = float(np.linalg.norm(wanted)), column.norms
        if function == "L2_DISTANCE":
            usable = norms < _LONGEST
            longest = float(norms[usable].max(initial=0))
            scores, error = np.linalg.norm(column.matrix - wanted, axis=1), 1e-5 * (1 + length + longest)
            return Ranking(column, scores, usable, error) if length < _LONGEST else None
        if not _SHORTEST < length < _LONGEST:
            return None
        usable = (norms > _SHORTEST) & (norms < _LONGEST)
        return Ranking(column, column.matrix @ (wanted / length) / norms, usable, 1e-4)


def _is_vector(value: Any) -> bool:
    return value.__class__ is list and len(value) > 0 and all(map(v.is_number, value))
