"""What every kind of pipeline stage is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from aqlite.aql.expressions import UNSET, Frame
from aqlite.aql.runtime import CHECK_MASK, Runtime

Stage = Callable[[Frame], Iterator[None]]
"""Runs on a frame; yields once per row, with the row's values in the frame."""


def loop_stage(
    runtime: Runtime, source: Stage, items: Callable[[Frame], Iterable[Any]], slot: int, emptied: list[int]
) -> Stage:
    """A stage that sets one variable to each of the items in turn, for each row of the source."""
    context, check = runtime.context, runtime.context.check

    def stage(frame: Frame) -> Iterator[None]:
        for _ in source(frame):
            found = items(frame)
            reserved = context.reserved
            for position, item in enumerate(found):
                context.reserved = reserved
                if not position & CHECK_MASK:
                    check()
                frame[slot] = item
                for memo in emptied:
                    frame[memo] = UNSET
                yield

    return stage


def rows_stage(
    runtime: Runtime,
    source: Stage,
    rows: Callable[[Frame], Iterable[tuple]],
    slots: list[int],
    emptied: list[int],
) -> Stage:
    """A stage that sets several variables at once, for each row of the source."""
    context, check = runtime.context, runtime.context.check

    def stage(frame: Frame) -> Iterator[None]:
        for _ in source(frame):
            found = rows(frame)
            reserved = context.reserved
            for position, row in enumerate(found):
                context.reserved = reserved
                if not position & CHECK_MASK:
                    check()
                for slot, value in zip(slots, row, strict=True):
                    frame[slot] = value
                for memo in emptied:
                    frame[memo] = UNSET
                yield

    return stage
