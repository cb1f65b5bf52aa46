"""``COLLECT``: grouping by hash, aggregation, and the groups' members."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aqlite.aql import plan as p
from aqlite.aql import values as v
from aqlite.aql.aggregates import Aggregator, aggregator
from aqlite.aql.expressions import ExpressionCompiler, Frame
from aqlite.aql.runtime import Runtime
from aqlite.aql.sorting import sorted_in_steps
from aqlite.aql.stages import Stage, rows_stage


class _Group:
    """Values, running aggregates and members of one group."""

    __slots__ = ("aggregators", "members", "values")

    def __init__(self, values: list[Any], aggregators: list[Aggregator]) -> None:
        self.values = values
        self.aggregators = aggregators
        self.members: list[Any] = []


def collect_stage(runtime: Runtime, expressions: ExpressionCompiler, source: Stage, node: p.CollectNode) -> Stage:
    """Stage of a ``COLLECT``: reads all rows, then yields one per group, ordered by the group's values.

    Without group variables there is exactly one group, even when there is no row.
    """
    keys = [expressions.compile(value) for _, value in node.groups]
    arguments = [expressions.compile(item.argument) for item in node.aggregates]
    names = [item.function for item in node.aggregates]
    projection = None if node.projection is None else expressions.compile(node.projection)
    members = [(variable.name, variable.slot) for variable in node.into_variables]
    outputs = node.outputs()
    emptied = expressions.enter_loop(*outputs)

    def member(frame: Frame) -> Any:
        if projection is not None:
            return projection(frame)
        return {name: frame[slot] for name, slot in members}

    def gather(frame: Frame) -> dict[Any, _Group]:
        groups: dict[Any, _Group] = {}
        if not keys:
            groups[()] = _Group([], [aggregator(name) for name in names])
        for _ in source(frame):
            values = [key(frame) for key in keys]
            identity = tuple(map(v.equality_key, values))
            group = groups.get(identity)
            if group is None:
                group = groups[identity] = _Group(values, [aggregator(name) for name in names])
                runtime.keep(values)
            for state, argument in zip(group.aggregators, arguments, strict=True):
                state.add(argument(frame))
            if node.into is not None:
                group.members.append(member(frame))
                runtime.keep(group.members[-1])
        return groups

    def rows(frame: Frame) -> Iterator[tuple]:
        before = runtime.memory
        groups = list(gather(frame).values())
        if node.sorted_output:
            groups = sorted_in_steps(groups, _sort_keys, check=runtime.context.check)
        for group in groups:
            into = () if node.into is None else (group.members,)
            yield (*group.values, *(state.result() for state in group.aggregators), *into)
        runtime.release(before)

    return rows_stage(runtime, _single, rows, [variable.slot for variable in outputs], emptied)


def _sort_keys(group: _Group) -> list[tuple]:
    return [v.sort_key(value) for value in group.values]


def _single(_: Frame) -> Iterator[None]:
    yield
