"""Short cuts for functions that inner loops call most; anything unusual goes on to the function itself."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np

from aqlite.aql.context import CallContext
from aqlite.aql.functions.vectors import as_vector, cosine_similarity
from aqlite.aql.values import number_or_null

Closure = Callable[[list], Any]
Function = Callable[..., Any]


def _nth(ctx: CallContext, function: Function, array: Closure, position: Closure) -> Closure:
    def nth(frame: list) -> Any:
        items, index = array(frame), position(frame)
        if items.__class__ is list and index.__class__ is int and 0 <= index < len(items):
            return items[index]
        return function(ctx, items, index)

    return nth


def _pow(ctx: CallContext, function: Function, base: Closure, exponent: Closure) -> Closure:
    def power(frame: list) -> Any:
        value, times = base(frame), exponent(frame)
        if value.__class__ is float and times == 2 and -1e150 < value < 1e150:
            return value * value
        return function(ctx, value, times)

    return power


def _sqrt(ctx: CallContext, function: Function, argument: Closure) -> Closure:
    def square_root(frame: list) -> Any:
        value = argument(frame)
        return sqrt(value) if value.__class__ is float and value >= 0 else function(ctx, value)

    return square_root


def _to_number(ctx: CallContext, function: Function, argument: Closure) -> Closure:
    def to_number(frame: list) -> Any:
        value = argument(frame)
        return value if value.__class__ is float or value.__class__ is int else function(ctx, value)

    return to_number


def _cosine_similarity(ctx: CallContext, function: Function, left: Closure, right: Closure) -> Closure:
    left_vector, right_vector = _last_vector(), _last_vector()

    def cosine(frame: list) -> Any:
        x, y = left(frame), right(frame)
        if x.__class__ is list and y.__class__ is list and len(x) == len(y):
            a, b = left_vector(x), right_vector(y)
            result = None if a is None or b is None else cosine_similarity(a, b)
            if result is not None:
                return number_or_null(result)
        return function(ctx, x, y)

    return cosine


def _last_vector() -> Callable[[list], np.ndarray | None]:
    """``as_vector`` that does not convert the same array twice in a row: the query vector is the same in all rows."""
    last: tuple[list | None, np.ndarray | None] = None, None

    def vector(values: list) -> np.ndarray | None:
        nonlocal last
        if values is not last[0]:
            last = values, as_vector(values)
        return last[1]

    return vector


INLINE_CALLS: dict[tuple[str, int], Callable[..., Closure]] = {
    ("NTH", 2): _nth,
    ("POW", 2): _pow,
    ("SQRT", 1): _sqrt,
    ("TO_NUMBER", 1): _to_number,
    ("COSINE_SIMILARITY", 2): _cosine_similarity,
}
"""(name, number of arguments) -> maker of the closure."""
