"""Functions over arrays of numbers. Source: the page "Numeric functions" of ArangoDB 3.12."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from aqlite.aql.aggregates import aggregator
from aqlite.aql.functions.registry import Registry, warn
from aqlite.aql.values import Number, Value, is_number, number_or_null, to_number

if TYPE_CHECKING:
    from aqlite.aql.context import CallContext

FUNCTIONS = Registry()


def _numbers(ctx: CallContext, name: str, values: Value) -> list[Number] | None:
    """The array's numbers without nulls; None with a warning when it is no array or holds anything else."""
    if type(values) is not list:
        return warn(ctx, name, 1563)
    kinds = set(map(type, values))
    if kinds <= {int, float}:
        return values
    if kinds <= {int, float, type(None)}:
        return [value for value in values if value is not None]
    return warn(ctx, name, 1561)


@FUNCTIONS.define("SUM")
def total(ctx: CallContext, values: Value) -> Number | None:
    """Sum of the numbers, 0 when there is none."""
    numbers = _numbers(ctx, "SUM", values)
    return None if numbers is None else number_or_null(sum(numbers))


@FUNCTIONS.define("PRODUCT")
def product(ctx: CallContext, values: Value) -> Number | None:
    """Product of the numbers, 1 when there is none."""
    numbers = _numbers(ctx, "PRODUCT", values)
    if numbers is None:
        return None
    result: Number = 1
    for number in numbers:
        result = number_or_null(result * number)
        if result is None:
            return None
    return result


@FUNCTIONS.define("AVERAGE", "AVG")
def average(ctx: CallContext, values: Value) -> Number | None:
    """Arithmetic mean of the numbers, null when there is none."""
    numbers = _numbers(ctx, "AVERAGE", values)
    return number_or_null(float(sum(numbers)) / len(numbers)) if numbers else None


@FUNCTIONS.define("MEDIAN")
def median(ctx: CallContext, values: Value) -> Number | None:
    """Middle number, or the mean of the two middle ones; null when there is none."""
    numbers = sorted(_numbers(ctx, "MEDIAN", values) or [])
    if not numbers:
        return None
    low, high = numbers[(len(numbers) - 1) // 2], numbers[len(numbers) // 2]
    return number_or_null((low + high) / 2)


@FUNCTIONS.define("PERCENTILE")
def percentile(ctx: CallContext, values: Value, percent: Value, method: Value = "rank") -> Number | None:
    """The n-th percentile by nearest rank or by interpolation between ranks."""
    if not is_number(percent) or not 0 < percent <= 100 or method not in ("rank", "interpolation"):
        return warn(ctx, "PERCENTILE")
    numbers = sorted(_numbers(ctx, "PERCENTILE", values) or [])
    if len(numbers) < 2:
        return numbers[0] if numbers else None
    if method == "rank":
        return numbers[math.ceil(percent * len(numbers) / 100) - 1]
    position = percent * (len(numbers) + 1) / 100
    rank = math.floor(position)
    if rank <= 0:
        return None
    if rank >= len(numbers):
        return numbers[-1]
    below, above = numbers[rank - 1], numbers[rank]
    return number_or_null(float(below + (position - rank) * (above - below)))


def _define_extreme(name: str) -> None:
    @FUNCTIONS.define(name)
    def call(ctx: CallContext, values: Value) -> Value:
        return _aggregated(name, values) if type(values) is list else warn(ctx, name, 1563)


def _define_spread(name: str, *aliases: str) -> None:
    @FUNCTIONS.define(name, *aliases)
    def call(ctx: CallContext, values: Value) -> Number | None:
        numbers = _numbers(ctx, name, values)
        return None if numbers is None else _aggregated(name, numbers)


def _aggregated(name: str, values: list[Value]) -> Value:
    state = aggregator(name)
    for value in values:
        state.add(value)
    return state.result()


_define_extreme("MIN")
_define_extreme("MAX")
_define_spread("VARIANCE_POPULATION", "VARIANCE")
_define_spread("VARIANCE_SAMPLE")
_define_spread("STDDEV_POPULATION", "STDDEV")
_define_spread("STDDEV_SAMPLE")


@FUNCTIONS.define("MINHASH_COUNT")
def minhash_count(ctx: CallContext, error: Value) -> Number | None:
    """Number of hashes that keeps the MinHash error at or below ``error``."""
    bound = to_number(error)
    return math.ceil(1 / (bound * bound)) if 1e-150 < bound < 1 else warn(ctx, "MINHASH_COUNT")


@FUNCTIONS.define("MINHASH_ERROR")
def minhash_error(ctx: CallContext, hashes: Value) -> Number | None:
    """Error that a MinHash signature of that many hashes has."""
    count = to_number(hashes)
    return number_or_null(1 / math.sqrt(count)) if count >= 1 else warn(ctx, "MINHASH_ERROR")
