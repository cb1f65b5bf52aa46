"""Closures for the binary operators, with short cuts for numbers and for constants on the right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aqlite.aql import values as v
from aqlite.aql.context import CallContext
from aqlite.aql.patterns import like, regex_test

Closure = Callable[[list], Any]
_SAFE = 2**62
_NUMBERS = (int, float)


def comparison(ctx: CallContext, op: str) -> Callable[[Any, Any], bool]:
    """The test ``test(left, right)`` behind a comparison operator."""
    tests: dict[str, Callable[[Any, Any], bool]] = {
        "==": v.equals,
        "!=": lambda left, right: not v.equals(left, right),
        "<": v.less,
        "<=": v.less_equal,
        ">": lambda left, right: v.less(right, left),
        ">=": lambda left, right: v.less_equal(right, left),
        "IN": lambda left, right: v.contains(right, left),
        "NOT IN": lambda left, right: right.__class__ is list and not v.contains(right, left),
        "LIKE": lambda left, right: like(v.to_string(left), v.to_string(right)),
        "NOT LIKE": lambda left, right: not like(v.to_string(left), v.to_string(right)),
        "=~": lambda left, right: regex_test(ctx, v.to_string(left), v.to_string(right)),
        "!~": lambda left, right: _negated(regex_test(ctx, v.to_string(left), v.to_string(right))),
    }
    return tests[op]


def _negated(matched: bool | None) -> bool | None:
    return None if matched is None else not matched


def binary_operator(ctx: CallContext, op: str, left: Closure, right: Closure, constant: Any, unknown: Any) -> Closure:
    """Closure of ``left op right``; ``constant`` is the right value where it is known, else ``unknown``."""
    if op == "AND":
        return _and(left, right)
    if op == "OR":
        return _or(left, right)
    if op in _ARITHMETIC:
        return _ARITHMETIC[op](ctx, left, right)
    if op in ("==", "!=") and constant is not unknown and (constant.__class__ is str or constant is None):
        if op == "==":
            return lambda frame: left(frame) == constant
        return lambda frame: left(frame) != constant
    if op in ("IN", "NOT IN") and constant is not unknown and constant.__class__ is list and len(constant) > 8:
        return _membership(left, constant, negated=op == "NOT IN")
    if op in _ORDER:
        return _ORDER[op](left, right)
    test = comparison(ctx, op)
    return lambda frame: test(left(frame), right(frame))


def _and(left: Closure, right: Closure) -> Closure:
    def conjunction(frame: list) -> Any:
        value = left(frame)
        if value is True:
            return right(frame)
        return right(frame) if v.truthy(value) else value

    return conjunction


def _or(left: Closure, right: Closure) -> Closure:
    def disjunction(frame: list) -> Any:
        value = left(frame)
        return value if v.truthy(value) else right(frame)

    return disjunction


def _membership(left: Closure, members: list, negated: bool) -> Closure:
    keys = {v.equality_key(member) for member in members}
    if negated:
        return lambda frame: v.equality_key(left(frame)) not in keys
    return lambda frame: v.equality_key(left(frame)) in keys


# --- order ----------------------------------------------------------------------------------------------------
def _less(left: Closure, right: Closure) -> Closure:
    def test(frame: list) -> bool:
        a, b = left(frame), right(frame)
        return a < b if a.__class__ in _NUMBERS and b.__class__ in _NUMBERS else v.compare(a, b) < 0

    return test


def _less_equal(left: Closure, right: Closure) -> Closure:
    def test(frame: list) -> bool:
        a, b = left(frame), right(frame)
        return a <= b if a.__class__ in _NUMBERS and b.__class__ in _NUMBERS else v.compare(a, b) <= 0

    return test


_ORDER: dict[str, Callable[[Closure, Closure], Closure]] = {
    "<": _less,
    "<=": _less_equal,
    ">": lambda left, right: _swapped(_less, left, right),
    ">=": lambda left, right: _swapped(_less_equal, left, right),
}


def _swapped(make: Callable[[Closure, Closure], Closure], left: Closure, right: Closure) -> Closure:
    return make(right, left)


# --- arithmetic -----------------------------------------------------------------------------------------------
def _plus(_: CallContext, left: Closure, right: Closure) -> Closure:
    def plus(frame: list) -> Any:
        a, b = left(frame), right(frame)
        if a.__class__ is int and b.__class__ is int:
            total = a + b
            if -_SAFE < total < _SAFE:
                return total
        return v.add(a, b)

    return plus


def _minus(_: CallContext, left: Closure, right: Closure) -> Closure:
    def minus(frame: list) -> Any:
        a, b = left(frame), right(frame)
        if a.__class__ is int and b.__class__ is int:
            difference = a - b
            if -_SAFE < difference < _SAFE:
                return difference
        return v.subtract(a, b)

    return minus


def _times(_: CallContext, left: Closure, right: Closure) -> Closure:
    def times(frame: list) -> Any:
        a, b = left(frame), right(frame)
        if a.__class__ is float and b.__class__ is float:
            product = a * b
            if -1e308 < product < 1e308:
                return product
        return v.multiply(a, b)

    return times


_ARITHMETIC: dict[str, Callable[[CallContext, Closure, Closure], Closure]] = {
    "+": _plus,
    "-": _minus,
    "*": _times,
    "/": lambda ctx, left, right: lambda frame: v.divide(ctx, left(frame), right(frame)),
    "%": lambda ctx, left, right: lambda frame: v.modulo(ctx, left(frame), right(frame)),
}


# --- array comparison -----------------------------------------------------------------------------------------
def quantified_comparison(
    quantifier: str,
    amount: Closure | None,
    test: Callable[[Any, Any], bool],
    left: Closure,
    right: Closure,
    needs_array: bool,
) -> Closure:
    """Closure of ``left ANY|ALL|NONE|AT LEAST (amount) op right``; false unless ``left`` is an array."""

    def compare(frame: list) -> bool:
        items, other = left(frame), right(frame)
        if items.__class__ is not list or (needs_array and other.__class__ is not list):
            return False
        results = (test(item, other) for item in items)
        if quantifier == "ANY":
            return any(results)
        if quantifier == "ALL":
            return all(results)
        if quantifier == "NONE":
            return not any(results)
        return sum(map(bool, results)) >= v.to_number(amount(frame))

    return compare
