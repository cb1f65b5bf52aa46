"""Numeric functions. Source: the page "Numeric functions" of ArangoDB 3.12."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from aqlite.aql.functions.registry import Registry, warn
from aqlite.aql.values import (
    MAX_RANGE_ITEMS,
    Number,
    Value,
    bounded_int,
    check_range_size,
    integer_range,
    is_number,
    materialise_range,
    number_or_null,
    reserve_items,
    to_number,
)

if TYPE_CHECKING:
    from aqlite.aql.context import CallContext

FUNCTIONS = Registry()


def _define_unary(name: str, operation: Callable[[float], float]) -> None:
    """``name(value)``: the operand is cast to a number, what has no answer is null."""

    @FUNCTIONS.define(name)
    def call(ctx: CallContext, value: Value) -> Number | None:
        try:
            return number_or_null(float(operation(to_number(value))))
        except (ValueError, OverflowError):
            return None


for _name, _operation in {
    "ACOS": math.acos,
    "ASIN": math.asin,
    "ATAN": math.atan,
    "COS": math.cos,
    "DEGREES": math.degrees,
    "EXP": math.exp,
    "EXP2": lambda value: math.pow(2.0, value),
    "LOG": math.log,
    "LOG2": math.log2,
    "LOG10": math.log10,
    "RADIANS": math.radians,
    "SIN": math.sin,
    "SQRT": math.sqrt,
    "TAN": math.tan,
}.items():
    _define_unary(_name, _operation)


@FUNCTIONS.define("ABS")
def absolute(ctx: CallContext, value: Value) -> Number | None:
    """Absolute value."""
    return abs(to_number(value))


def _rounded(value: Value, operation: Callable[[Number], int]) -> Number | None:
    number = to_number(value)
    return number if type(number) is int else bounded_int(operation(number))


@FUNCTIONS.define("CEIL")
def ceil(ctx: CallContext, value: Value) -> Number | None:
    """Smallest integer not less than the value."""
    return _rounded(value, math.ceil)


@FUNCTIONS.define("FLOOR")
def floor(ctx: CallContext, value: Value) -> Number | None:
    """Largest integer not greater than the value."""
    return _rounded(value, math.floor)


@FUNCTIONS.define("ROUND")
def round_half_up(ctx: CallContext, value: Value) -> Number | None:
    """Nearest integer; halves go up: ``ROUND(-2.5) == -2``."""
    return _rounded(value, lambda number: math.floor(number) + (number - math.floor(number) >= 0.5))


@FUNCTIONS.define("ATAN2")
def atan2(ctx: CallContext, y: Value, x: Value) -> Number | None:
    """Angle of the point (x, y), in radians."""
    return number_or_null(math.atan2(to_number(y), to_number(x)))


@FUNCTIONS.define("POW")
def power(ctx: CallContext, base: Value, exponent: Value) -> Number | None:
    """``base`` to the power of ``exponent``."""
    try:
        return number_or_null(math.pow(to_number(base), to_number(exponent)))
    except (ValueError, OverflowError):
        return None


@FUNCTIONS.define("PI")
def pi(ctx: CallContext) -> float:
    """The number pi."""
    return math.pi


@FUNCTIONS.define("RAND", deterministic=False)
def rand(ctx: CallContext) -> float:
    """Pseudo-random number, at least 0 and below 1."""
    return random.random()


@FUNCTIONS.define("RANGE")
def number_range(ctx: CallContext, start: Value, stop: Value, step: Value = None) -> list[Number] | None:
    """Numbers from ``start`` to ``stop``, both included; integers unless a step is given."""
    if step is None:
        return materialise_range(ctx, integer_range(start, stop))
    first, last, width = to_number(start), to_number(stop), to_number(step)
    if width == 0 or (first < last and width < 0) or (first > last and width > 0):
        return warn(ctx, "RANGE")
    steps = (last - first) / width
    check_range_size(steps)
    reserve_items(ctx, int(steps))
    numbers = (first + index * width for index in range(min(int(steps), MAX_RANGE_ITEMS) + 2))
    return [number_or_null(float(number)) for number in numbers if (number <= last if width > 0 else number >= last)]


# --- decay functions ------------------------------------------------------------------------------------------
def _define_decay(name: str, score: Callable[[float, float, float], float]) -> None:
    """``name(value, origin, scale, offset, decay)`` with ``score(distance, scale, decay)``; arrays are mapped."""

    @FUNCTIONS.define(name)
    def call(ctx: CallContext, value: Value, origin: Value, scale: Value, offset: Value, decay: Value) -> Value:
        values = value if type(value) is list else [value]
        if not all(map(is_number, [*values, origin, scale, offset, decay])):
            return warn(ctx, name)
        if scale <= 0 or offset < 0 or not 0 < decay < 1:
            return warn(ctx, name)
        scores = [number_or_null(float(score(max(0.0, abs(v - origin) - offset), scale, decay))) for v in values]
        return scores if type(value) is list else scores[0]


_define_decay("DECAY_GAUSS", lambda distance, scale, decay: math.exp(math.log(decay) * (distance / scale) ** 2))
_define_decay("DECAY_EXP", lambda distance, scale, decay: math.exp(math.log(decay) * distance / scale))
_define_decay(
    "DECAY_LINEAR",
    lambda distance, scale, decay: max(0.0, (scale / (1 - decay) - distance) / (scale / (1 - decay))),
)
