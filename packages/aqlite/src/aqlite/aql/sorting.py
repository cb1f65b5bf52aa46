"""Sorting many rows in steps, so that a long sort can be stopped and other threads run beside it.

One call of Python's sort holds the interpreter until it ends: seconds for a million rows. Here short runs are sorted
by it and merged block by block, which makes as many comparisons as the one call does.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, TypeVar

Item = TypeVar("Item")
Key = Callable[[Any], Any]

RUN = 1024
"""Items that are sorted or merged in one step, some milliseconds with keys that are slow to compare."""


def sorted_in_steps(
    items: Iterable[Item], key: Key, *, reverse: bool = False, check: Callable[[], None] | None = None
) -> list[Item]:
    """What ``sorted(items, key=key, reverse=reverse)`` gives; ``check`` is called between steps and may raise."""
    remaining = iter(items)
    runs: list[list[Item]] = []
    merged: list[list[Item]] = []
    try:
        while run := list(islice(remaining, RUN)):
            runs.append(run)
            run.sort(key=key, reverse=reverse)
            if check is not None:
                check()
        if reverse:
            # sorting downwards keeps equal items in order: it is sorting the reversed items upwards, and reversing that
            runs.reverse()
            for run in runs:
                run.reverse()
        while len(runs) > 1:
            merged = []
            runs.reverse()
            while runs:
                merged.append(runs.pop() if len(runs) == 1 else _merge(runs.pop(), runs.pop(), key, check))
            runs = merged
    except BaseException:
        for run in (*runs, *merged):
            let_go(run)
        raise
    result = runs[0] if runs else []
    if reverse:
        result.reverse()
    return result


def let_go(items: list[Any]) -> None:
    """Empty a list in steps, because freeing a million rows at once holds the interpreter as well."""
    while items:
        del items[-RUN:]


def _merge(left: list[Item], right: list[Item], key: Key, check: Callable[[], None] | None) -> list[Item]:
    """Merge two sorted lists; of equal items, those of ``left`` come first."""
    merged: list[Item] = []
    i = j = 0
    try:
        while i < len(left) and j < len(right):
            left_end, right_end = min(i + RUN, len(left)), min(j + RUN, len(right))
            left_last, right_last = key(left[left_end - 1]), key(right[right_end - 1])
            if right_last < left_last:
                left_end = bisect_right(left, right_last, i, left_end, key=key)
            else:
                right_end = bisect_left(right, left_last, j, right_end, key=key)
            block = left[i:left_end] + right[j:right_end]
            block.sort(key=key)
            merged += block
            i, j = left_end, right_end
            if check is not None:
                check()
    except BaseException:
        for items in (merged, left, right):
            let_go(items)
        raise
    merged += left[i:]
    merged += right[j:]
    return merged
