"""Plan nodes to generators. A stage drives the stage before it, sets its variables in the frame and yields per row.

All rows of a query share one frame: a stage that keeps rows (sorting, writing) keeps copies and puts them back.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import Any, ClassVar

from aqlite.aql import ast
from aqlite.aql import plan as p
from aqlite.aql import values as v
from aqlite.aql.collect import collect_stage
from aqlite.aql.expressions import Closure, ExpressionCompiler, Frame
from aqlite.aql.modify import modify_stage, upsert_stage
from aqlite.aql.paths import path_stage
from aqlite.aql.runtime import NodeProfile, Runtime
from aqlite.aql.scans import exact_vector_stage, index_documents, near_vector_stage
from aqlite.aql.sorting import let_go, sorted_in_steps
from aqlite.aql.stages import Stage, loop_stage
from aqlite.aql.traversal import traversal_stage
from aqlite.aql.window import window_stage
from aqlite.errors import ArangoError

_BUILDING = (ast.Array, ast.Object, ast.Range, ast.Ternary, ast.Call, p.ResolvedExpansion, p.SubqueryValue)
"""Expressions that may repeat a large value within a larger one, so that their size is looked at."""


class Pipeline:
    """Compiles a plan for one execution."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.expressions = ExpressionCompiler(runtime, self.compile_subquery)

    def compile_rows(self, block: p.BlockPlan) -> Callable[[Frame], Iterator[Any]]:
        """Function that runs a block and yields its results one by one."""
        stage: Stage = _once
        for node in block.nodes:
            if isinstance(node, p.ReturnNode):
                return self._profiled(node, self._results(stage, node))
            stage = self._profiled(node, self._stages[type(node)](self, stage, node))

        def no_results(frame: Frame) -> Iterator[Any]:
            for _ in stage(frame):
                pass
            return iter(())

        return no_results

    def _profiled(self, node: p.PlanNode, run: Callable[[Frame], Iterator[Any]]) -> Callable[[Frame], Iterator[Any]]:
        """The same operation, counted and timed when the query is profiled."""
        if self.runtime.profiles is None:
            return run
        profile = self.runtime.profiles.setdefault(id(node), NodeProfile())

        def counted(frame: Frame) -> Iterator[Any]:
            profile.calls += 1
            rows = iter(run(frame))
            while True:
                started = time.perf_counter()
                try:
                    row = next(rows)
                except StopIteration:
                    return
                finally:
                    profile.seconds += time.perf_counter() - started
                profile.items += 1
                yield row

        return counted

    def compile_subquery(self, block: p.BlockPlan) -> Closure:
        """Function that runs a block and gives the array of its results."""
        rows = self.compile_rows(block)
        runtime = self.runtime

        def run(frame: Frame) -> list:
            before = runtime.memory
            found = list(rows(frame))
            runtime.release(before)
            runtime.keep(found)
            return found

        return run

    def _results(self, stage: Stage, node: p.ReturnNode) -> Callable[[Frame], Iterator[Any]]:
        value = self.expressions.compile(node.value)
        keep = self.runtime.keep

        def rows(frame: Frame) -> Iterator[Any]:
            for _ in stage(frame):
                result = value(frame)
                keep(result)
                yield result

        def distinct_rows(frame: Frame) -> Iterator[Any]:
            seen = set()
            for _ in stage(frame):
                result = value(frame)
                key = v.equality_key(result)
                if key not in seen:
                    seen.add(key)
                    keep(result)
                    yield result

        return distinct_rows if node.distinct else rows

    # --- sources ----------------------------------------------------------------------------------------------
    def _enumerate_collection(self, source: Stage, node: p.EnumerateCollection) -> Stage:
        view, statistics, name = self.runtime.view, self.runtime.statistics, node.collection
        emptied = self.expressions.enter_loop(node.variable)

        def documents(_: Frame) -> Iterator[dict]:
            for document in view.scan(name):
                statistics.scanned_full += 1
                yield document

        return loop_stage(self.runtime, source, documents, node.variable.slot, emptied)

    def _index_scan(self, source: Stage, node: p.IndexScan) -> Stage:
        documents = index_documents(self.runtime, self.expressions, node)
        emptied = self.expressions.enter_loop(node.variable)
        return loop_stage(self.runtime, source, documents, node.variable.slot, emptied)

    def _enumerate_list(self, source: Stage, node: p.EnumerateList) -> Stage:
        items = self._items(node.source)
        emptied = self.expressions.enter_loop(node.variable)
        return loop_stage(self.runtime, source, items, node.variable.slot, emptied)

    def _items(self, source: ast.Expr) -> Callable[[Frame], Iterable]:
        if isinstance(source, ast.Range):
            low, high = self.expressions.compile(source.low), self.expressions.compile(source.high)
            return lambda frame: v.integer_range(low(frame), high(frame))
        value = self.expressions.compile(source)

        def items(frame: Frame) -> list:
            array = value(frame)
            if array.__class__ is list:
                return array
            raise ArangoError(
                1563,
                "collection or array expected as operand to FOR loop; you provided a value of type "
                f"'{v.type_name(array)}'",
            )

        return items

    # --- row by row -------------------------------------------------------------------------------------------
    def _calculation(self, source: Stage, node: p.Calculation) -> Stage:
        node.variable.level = self.expressions.level_of(node.value)
        value, slot = self.expressions.compile(node.value), node.variable.slot
        check = self.runtime.check_value if isinstance(node.value, _BUILDING) else _unchecked

        def stage(frame: Frame) -> Iterator[None]:
            for _ in source(frame):
                result = frame[slot] = value(frame)
                check(result)
                yield

        return stage

    def _filter(self, source: Stage, node: p.FilterNode) -> Stage:
        condition, statistics = self.expressions.compile(node.condition), self.runtime.statistics

        def stage(frame: Frame) -> Iterator[None]:
            for _ in source(frame):
                value = condition(frame)
                if value is True or v.truthy(value):
                    yield
                else:
                    statistics.filtered += 1

        return stage

    def _limit(self, source: Stage, node: p.LimitNode) -> Stage:
        offset, end, statistics = node.offset, node.offset + node.count, self.runtime.statistics

        def stage(frame: Frame) -> Iterator[None]:
            if end == offset and not node.full_count:
                return
            seen = 0
            for _ in source(frame):
                seen += 1
                if offset < seen <= end:
                    yield
                if seen >= end and not node.full_count:
                    return
            if node.full_count:
                statistics.full_count = seen

        return stage

    def _sort(self, source: Stage, node: p.SortNode) -> Stage:
        closures = [self.expressions.compile(value) for value, _ in node.keys]
        directions = [descending for _, descending in node.keys]
        runtime = self.runtime
        keys_of = _single_key(closures[0]) if len(closures) == 1 else _several_keys(closures, directions)

        def keyed(frame: Frame) -> Iterator[tuple]:
            for _ in source(frame):
                yield keys_of(frame), runtime.keep_row(frame)

        def stage(frame: Frame) -> Iterator[None]:
            before = runtime.memory
            rows = _ordered(keyed(frame), directions[0], node.limit, runtime.context.check)
            rows.reverse()
            try:
                while rows:
                    frame[:] = rows.pop()[1]
                    yield
            finally:
                let_go(rows)
            runtime.release(before)

        return stage

    # --- the rest has modules of its own ----------------------------------------------------------------------
    _stages: ClassVar[dict[type, Callable[[Pipeline, Stage, Any], Stage]]] = {
        p.EnumerateCollection: _enumerate_collection,
        p.IndexScan: _index_scan,
        p.EnumerateList: _enumerate_list,
        p.Calculation: _calculation,
        p.FilterNode: _filter,
        p.LimitNode: _limit,
        p.SortNode: _sort,
        p.CollectNode: lambda self, source, node: collect_stage(self.runtime, self.expressions, source, node),
        p.WindowNode: lambda self, source, node: window_stage(self.runtime, self.expressions, source, node),
        p.ModifyNode: lambda self, source, node: modify_stage(self.runtime, self.expressions, source, node),
        p.UpsertNode: lambda self, source, node: upsert_stage(self.runtime, self.expressions, source, node),
        p.TraversalNode: lambda self, source, node: traversal_stage(self.runtime, self.expressions, source, node),
        p.PathNode: lambda self, source, node: path_stage(self.runtime, self.expressions, source, node),
        p.EnumerateNearVectors: lambda self, source, node: near_vector_stage(
            self.runtime, self.expressions, source, node
        ),
        p.ExactVectors: lambda self, source, node: exact_vector_stage(self.runtime, self.expressions, source, node),
    }


def _unchecked(_: Any) -> None:
    pass


def _once(frame: Frame) -> Iterator[None]:
    yield


class _Turned:
    """Sort key in reverse order."""

    __slots__ = ("key",)

    def __init__(self, key: tuple) -> None:
        self.key = key

    def __lt__(self, other: _Turned) -> bool:
        return other.key < self.key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Turned) and self.key == other.key


def _single_key(closure: Closure) -> Callable[[Frame], tuple]:
    return lambda frame: v.sort_key(closure(frame))


def _several_keys(closures: list[Closure], directions: list[bool]) -> Callable[[Frame], tuple]:
    """Keys that sort in the direction of the first one, which all directions are seen from."""
    turned = [descending != directions[0] for descending in directions]
    if not any(turned):
        return lambda frame: tuple([v.sort_key(closure(frame)) for closure in closures])
    parts = list(zip(closures, turned, strict=True))

    def keys(frame: Frame) -> tuple:
        return tuple([_Turned(v.sort_key(c(frame))) if turn else v.sort_key(c(frame)) for c, turn in parts])

    return keys


_FEW = 10_000


def _ordered(keyed: Iterator[tuple], reverse: bool, limit: int | None, check: Callable[[], None]) -> list[tuple]:
    """(keys, row) pairs in order, equal keys in order of arrival; only the first ``limit`` when given."""
    key = itemgetter(0)
    if limit is not None and limit <= _FEW:
        return (heapq.nlargest if reverse else heapq.nsmallest)(limit, keyed, key=key)
    return sorted_in_steps(keyed, key, reverse=reverse, check=check)[:limit]
