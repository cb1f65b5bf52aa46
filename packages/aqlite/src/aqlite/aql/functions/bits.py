"""Bit functions on whole numbers from 0 to 2**32 - 1. Source: the page "Bit functions in AQL" of ArangoDB 3.12."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aqlite.aql.aggregates import aggregator
from aqlite.aql.functions.registry import Registry, warn
from aqlite.aql.values import Value, is_number

if TYPE_CHECKING:
    from aqlite.aql.context import CallContext

FUNCTIONS = Registry()
_MISSING = object()


def is_bits_value(value: Value) -> bool:
    """Whether the bit functions take the value: a whole number between 0 and 2**32 - 1."""
    return _is_count(value, 2**32 - 1)


def _is_count(value: Value, highest: int = 32) -> bool:
    return is_number(value) and 0 <= value <= highest and value == int(value)


def _define_combination(name: str) -> None:
    """``name(numbers)``, where nulls are left out, or ``name(number, number)``."""

    @FUNCTIONS.define(name)
    def call(ctx: CallContext, values: Value, other: Value = _MISSING) -> int | None:
        given = values if other is _MISSING else [values, other]
        if type(given) is not list:
            return warn(ctx, name)
        operands = [value for value in given if value is not None] if other is _MISSING else given
        if not all(map(is_bits_value, operands)):
            return warn(ctx, name)
        combined = aggregator(name)
        for operand in operands:
            combined.add(operand)
        return combined.result()


for _name in ("BIT_AND", "BIT_OR", "BIT_XOR"):
    _define_combination(_name)


@FUNCTIONS.define("BIT_CONSTRUCT")
def construct(ctx: CallContext, positions: Value) -> int | None:
    """Number with the bits at the given positions set."""
    if type(positions) is not list or not all(_is_count(position, 31) for position in positions):
        return warn(ctx, "BIT_CONSTRUCT")
    return sum(1 << position for position in {int(position) for position in positions})


@FUNCTIONS.define("BIT_DECONSTRUCT")
def deconstruct(ctx: CallContext, number: Value) -> list[int] | None:
    """Positions of the set bits."""
    if not is_bits_value(number):
        return warn(ctx, "BIT_DECONSTRUCT")
    return [position for position in range(32) if int(number) >> position & 1]


@FUNCTIONS.define("BIT_FROM_STRING")
def from_string(ctx: CallContext, text: Value) -> int | None:
    """Number of a string of 0 and 1, up to 32 of them."""
    if type(text) is not str or not re.fullmatch("[01]{1,32}", text):
        return warn(ctx, "BIT_FROM_STRING")
    return int(text, 2)


@FUNCTIONS.define("BIT_TO_STRING")
def to_bit_string(ctx: CallContext, number: Value, width: Value) -> str | None:
    """String of 0 and 1 with the lowest ``width`` bits."""
    if not is_bits_value(number) or not _is_count(width):
        return warn(ctx, "BIT_TO_STRING")
    return format(_cut(int(number), width), f"0{int(width)}b") if width else ""


@FUNCTIONS.define("BIT_NEGATE")
def negate(ctx: CallContext, number: Value, width: Value) -> int | None:
    """Inverted lowest ``width`` bits."""
    if not is_bits_value(number) or not _is_count(width):
        return warn(ctx, "BIT_NEGATE")
    return _cut(~int(number), width)


@FUNCTIONS.define("BIT_POPCOUNT")
def popcount(ctx: CallContext, number: Value) -> int | None:
    """Number of set bits."""
    return int(number).bit_count() if is_bits_value(number) else warn(ctx, "BIT_POPCOUNT")


@FUNCTIONS.define("BIT_SHIFT_LEFT")
def shift_left(ctx: CallContext, number: Value, shift: Value, width: Value) -> int | None:
    """Bits moved left, the lowest ``width`` of the result kept."""
    if not is_bits_value(number) or not _is_count(shift) or not _is_count(width):
        return warn(ctx, "BIT_SHIFT_LEFT")
    return _cut(int(number) << int(shift), width)


@FUNCTIONS.define("BIT_SHIFT_RIGHT")
def shift_right(ctx: CallContext, number: Value, shift: Value, width: Value) -> int | None:
    """Bits moved right, the lowest ``width`` of the result kept."""
    if not is_bits_value(number) or not _is_count(shift) or not _is_count(width):
        return warn(ctx, "BIT_SHIFT_RIGHT")
    return _cut(int(number) >> int(shift), width)


@FUNCTIONS.define("BIT_TEST")
def test(ctx: CallContext, number: Value, index: Value) -> bool | None:
    """Whether the bit at that position is set."""
    if not is_bits_value(number) or not _is_count(index, 31):
        return warn(ctx, "BIT_TEST")
    return bool(int(number) >> int(index) & 1)


def _cut(number: int, width: int) -> int:
    return number & ((1 << int(width)) - 1)
