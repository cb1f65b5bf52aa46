"""``WINDOW``: aggregation over neighbouring rows, by number of rows or by distance of a value."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import Any

from aqlite.aql import plan as p
from aqlite.aql import values as v
from aqlite.aql.aggregates import aggregator
from aqlite.aql.context import CallContext
from aqlite.aql.expressions import UNSET, ExpressionCompiler, Frame
from aqlite.aql.functions import FUNCTIONS
from aqlite.aql.runtime import Runtime
from aqlite.aql.sorting import sorted_in_steps
from aqlite.aql.stages import Stage
from aqlite.errors import ArangoError

_Bounds = Callable[[int], tuple[int, int] | None]


def window_stage(runtime: Runtime, expressions: ExpressionCompiler, source: Stage, node: p.WindowNode) -> Stage:
    """Stage of a ``WINDOW``: reads all rows, and yields each with the aggregates of its window.

    Rows come in their order, or in the order of the range value.

    Raises:
        ArangoError: 1501, for bounds that are no row counts, distances or durations.
    """
    arguments = [expressions.compile(item.argument) for item in node.aggregates]
    names = [item.function for item in node.aggregates]
    position = None if node.range_value is None else expressions.compile(node.range_value)
    emptied = expressions.enter_loop(*node.outputs())
    slots = [item.variable.slot for item in node.aggregates]
    bounds_of = _row_bounds(node) if position is None else _range_bounds(runtime.context, node)
    check = runtime.context.check

    def stage(frame: Frame) -> Iterator[None]:
        before = runtime.memory
        rows = [
            (
                None if position is None else position(frame),
                [each(frame) for each in arguments],
                runtime.keep_row(frame),
            )
            for _ in source(frame)
        ]
        if position is not None:
            rows = sorted_in_steps(rows, lambda row: v.sort_key(row[0]), check=check)
        bounds = bounds_of([row[0] for row in rows])
        columns = [[row[1][number] for row in rows] for number in range(len(names))]
        windows = [_Sliding(name, column) for name, column in zip(names, columns, strict=True)]
        for number, (_, _, row) in enumerate(rows):
            check()
            frame[:] = row
            span = bounds(number)
            for slot, window in zip(slots, windows, strict=True):
                frame[slot] = None if span is None else window.aggregate(*span)
            for memo in emptied:
                frame[memo] = UNSET
            yield
        runtime.release(before)

    return stage


class _Sliding:
    """One aggregate over windows ``[first, end)`` of a column; a window that only grows is not computed anew."""

    def __init__(self, name: str, column: list[Any]) -> None:
        self.name, self.column = name, column
        self.state = aggregator(name)
        self.first, self.end = 0, 0

    def aggregate(self, first: int, end: int) -> Any:
        if first != self.first or end < self.end:
            self.state = aggregator(self.name)
            self.first = self.end = first
        for value in self.column[self.end : end]:
            self.state.add(value)
        self.end = max(self.end, end)
        return self.state.result()


# --- windows by number of rows --------------------------------------------------------------------------------
def _row_bounds(node: p.WindowNode) -> Callable[[list[Any]], _Bounds]:
    preceding, following = _row_count(node.preceding), _row_count(node.following)

    def bounds_of(values: list[Any]) -> _Bounds:
        size = len(values)

        def bounds(number: int) -> tuple[int, int]:
            first = 0 if preceding is None else max(0, number - preceding)
            end = size if following is None else min(size, number + following + 1)
            return first, end

        return bounds

    return bounds_of


def _row_count(bound: Any) -> int | None:
    if bound == "unbounded":
        return None
    if v.is_number(bound) and bound >= 0 and bound == int(bound):
        return int(bound)
    raise ArangoError(1501, f'AQL: WINDOW expects numbers of rows or "unbounded", got {bound!r} (while parsing)')


# --- windows by distance --------------------------------------------------------------------------------------
def _range_bounds(context: CallContext, node: p.WindowNode) -> Callable[[list[Any]], _Bounds]:
    durations = any(isinstance(bound, str) and bound != "unbounded" for bound in (node.preceding, node.following))
    locate = _date_reach if durations else _number_reach

    def bounds_of(values: list[Any]) -> _Bounds:
        reaches = [locate(context, value, node.preceding, node.following) for value in values]
        valid = [number for number, reach in enumerate(reaches) if reach is not None]
        offset = valid[0] if valid else 0
        centres = [reaches[number][1] for number in valid]

        def bounds(number: int) -> tuple[int, int] | None:
            reach = reaches[number]
            if reach is None:
                return None
            return offset + bisect_left(centres, reach[0]), offset + bisect_right(centres, reach[2])

        return bounds

    return bounds_of


def _number_reach(context: CallContext, value: Any, preceding: Any, following: Any) -> tuple | None:
    """(lowest, own, highest) value of the window; None with a warning when the value is no number."""
    for bound in (preceding, following):
        if bound != "unbounded" and not v.is_number(bound):
            raise ArangoError(
                1501, f"AQL: WINDOW expects numbers or durations as bounds, got {bound!r} (while parsing)"
            )
    if not v.is_number(value):
        context.warn(1561, "invalid arithmetic value")
        return None
    low = float("-inf") if preceding == "unbounded" else value - preceding
    high = float("inf") if following == "unbounded" else value + following
    return low, value, high


def _date_reach(context: CallContext, value: Any, preceding: Any, following: Any) -> tuple | None:
    """Like ``_number_reach`` for dates, in milliseconds; bounds are ISO 8601 durations."""
    own = FUNCTIONS["DATE_TIMESTAMP"].call(context, value)
    if own is None:
        return None
    low, high = float("-inf"), float("inf")
    if preceding != "unbounded":
        low = _shifted(context, "DATE_SUBTRACT", own, preceding)
    if following != "unbounded":
        high = _shifted(context, "DATE_ADD", own, following)
    return low, own, high


def _shifted(context: CallContext, function: str, own: int, duration: Any) -> int:
    if duration == 0:
        return own
    moved = FUNCTIONS[function].call(context, own, duration)
    timestamp = None if moved is None else FUNCTIONS["DATE_TIMESTAMP"].call(context, moved)
    if timestamp is None:
        raise ArangoError(1501, f"AQL: WINDOW expects an ISO 8601 duration, got {duration!r} (while parsing)")
    return timestamp
