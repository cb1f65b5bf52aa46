"""AQL values: types, total order, equality, truthiness, casts and arithmetic.

An AQL value is a plain Python object as ``orjson`` makes it: ``None``, ``bool``, ``int``, ``float``, ``str``,
``list`` or ``dict``. Integers are exact within 64 bits, everything beyond is a ``float``; NaN and infinities do not
exist: an operation that would produce one gives ``None`` (AQL ``null``).

Sources: the pages "Type and value order", "Operators" and "Type check and cast functions" of ArangoDB 3.12.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterable
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

import orjson

from aqlite.aql.sorting import sorted_in_steps
from aqlite.collation import collation_key
from aqlite.errors import ArangoError

if TYPE_CHECKING:
    from aqlite.aql.context import CallContext

Value = bool | int | float | str | list | dict | None
Number = int | float

MIN_INT, MAX_INT = -(2**63), 2**63 - 1
EXACT_FLOAT = 2.0**53
MAX_RANGE_ITEMS = 10_000_000
ITEM_BYTES = 40
SMALL_ARRAY, SMALL_TEXT = 1_000, 10_000

_RANK = {type(None): 0, bool: 1, int: 2, float: 2, str: 3, list: 4, dict: 5}
_TYPE_NAMES = ("null", "bool", "number", "string", "array", "object")
_NUMBER_TEXT = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?\Z", re.ASCII)
_WHITE_SPACE = " \t\n\r\v\f"


def type_rank(value: Value) -> int:
    """Position of the value's type in ArangoDB's type order: null 0, bool 1, number 2, string 3, array 4, object 5."""
    return _RANK[type(value)]


def type_name(value: Value) -> str:
    """Name that ``TYPENAME()`` gives: null, bool, number, string, array or object."""
    return _TYPE_NAMES[_RANK[type(value)]]


def is_number(value: Value) -> bool:
    """True for ``int`` and ``float``, not for ``bool``."""
    kind = type(value)
    return kind is int or kind is float


# --- order ----------------------------------------------------------------------------------------------------
def compare(left: Value, right: Value) -> int:
    """-1, 0 or 1: AQL's total order. Missing array elements and object attributes count as null."""
    left_rank, right_rank = _RANK[type(left)], _RANK[type(right)]
    if left_rank != right_rank:
        return -1 if left_rank < right_rank else 1
    if left_rank == 3:
        if left == right:
            return 0
        return -1 if collation_key(left) < collation_key(right) else 1
    if left_rank == 4:
        return _compare_arrays(left, right)
    if left_rank == 5:
        return _compare_objects(left, right)
    if left_rank == 0:
        return 0
    return (left > right) - (left < right)


def _compare_arrays(left: list, right: list) -> int:
    shared = min(len(left), len(right))
    for index in range(shared):
        order = compare(left[index], right[index])
        if order:
            return order
    if any(item is not None for item in left[shared:]):
        return 1
    return -1 if any(item is not None for item in right[shared:]) else 0


def _compare_objects(left: dict, right: dict) -> int:
    for name in sorted(left.keys() | right.keys()):
        order = compare(left.get(name), right.get(name))
        if order:
            return order
    return 0


def equals(left: Value, right: Value) -> bool:
    """AQL ``==``: no casts, ``1 == 1.0``, ``true != 1``, ``{} == {a: null}``."""
    kind = type(left)
    if kind is str or left is None:
        return left == right
    if kind is int or kind is float:
        return left == right and type(right) is not bool
    if kind is bool:
        return left is right
    return compare(left, right) == 0


def less(left: Value, right: Value) -> bool:
    """AQL ``<``."""
    if type(left) is type(right) and type(left) in (int, float):
        return left < right
    return compare(left, right) < 0


def less_equal(left: Value, right: Value) -> bool:
    """AQL ``<=``."""
    if type(left) is type(right) and type(left) in (int, float):
        return left <= right
    return compare(left, right) <= 0


_NULL_KEY, _BOOL_KEYS = (0,), {False: (1, False), True: (1, True)}


@lru_cache(maxsize=4096)
def _descending_name(name: str) -> tuple[int, ...]:
    # An object that has an attribute is greater than one that lacks it, so earlier names must sort as greater.
    return (*(-ord(char) for char in name), 1)


def sort_key(value: Value) -> tuple:
    """Key for ``sorted`` and ``heapq``: ``sort_key(a) < sort_key(b)`` exactly when ``compare(a, b) < 0``.

    Keys are hashable and equal exactly when the values are.
    """
    kind = type(value)
    if kind is str:
        return (3, *collation_key(value))
    if kind is int or kind is float:
        return (2, value)
    if value is None:
        return _NULL_KEY
    if kind is bool:
        return _BOOL_KEYS[value]
    if kind is list:
        keys = [sort_key(item) for item in value]
        while keys and keys[-1] is _NULL_KEY:
            keys.pop()
        return (4, tuple(keys))
    present = sorted(name for name, item in value.items() if item is not None)
    return (5, tuple((_descending_name(name), sort_key(value[name])) for name in present))


_MANY = 20_000
"""More values than that are sorted in steps."""


def sorted_values(values: Iterable[Value], *, reverse: bool = False) -> list[Value]:
    """Values in AQL order; lists of only numbers or only strings take a short cut."""
    values = list(values)
    kinds = set(map(type, values))
    key = None if kinds <= {int, float} else collation_key if kinds == {str} else sort_key
    if len(values) > _MANY:
        return sorted_in_steps(values, key or _itself, reverse=reverse)
    return sorted(values, key=key, reverse=reverse)


def _itself(value: Value) -> Value:
    return value


_TRUE_KEY, _FALSE_KEY = ("true",), ("false",)


def equality_key(value: Value) -> Hashable:
    """Hashable key for grouping and ``DISTINCT``: equal exactly when ``equals`` says so, cheaper than ``sort_key``."""
    kind = type(value)
    if kind is bool:
        return _TRUE_KEY if value else _FALSE_KEY
    if kind is list:
        keys = [equality_key(item) for item in value]
        while keys and keys[-1] is None:
            keys.pop()
        return ("list", *keys)
    if kind is dict:
        return frozenset((name, equality_key(item)) for name, item in value.items() if item is not None)
    return value


def contains(values: Value, wanted: Value) -> bool:
    """AQL ``wanted IN values``: false when ``values`` is no array."""
    if type(values) is not list:
        return False
    if type(wanted) is str or wanted is None:
        return wanted in values
    return any(equals(wanted, item) for item in values)


# --- casts ----------------------------------------------------------------------------------------------------
def truthy(value: Value) -> bool:
    """AQL's cast to bool: null, false, 0 and "" are false; every array and object is true."""
    kind = type(value)
    return kind is list or kind is dict or bool(value)


def to_number(value: Value) -> Number:
    """AQL's cast to number (``TO_NUMBER``): whatever holds no number is 0."""
    kind = type(value)
    if kind is int or kind is float:
        return value
    if kind is str:
        return parse_number(value)
    if kind is bool:
        return int(value)
    if kind is list and len(value) == 1:
        return to_number(value[0])
    return 0


def parse_number(text: str) -> Number:
    """Number that a string holds, spaces around it ignored; 0 for any other string and beyond the range of doubles."""
    text = text.strip(_WHITE_SPACE)
    if len(text) > 400 or not _NUMBER_TEXT.match(text):
        return 0
    if text.lstrip("+-").isdigit():
        return bounded_int(int(text)) or 0
    number = float(text)
    return number if math.isfinite(number) else 0


def bounded_int(number: int) -> Number | None:
    """The integer itself within 64 bits, a float beyond, ``None`` beyond the range of doubles."""
    if MIN_INT <= number <= MAX_INT:
        return number
    try:
        return float(number)
    except OverflowError:
        return None


def number_or_null(result: Number) -> Number | None:
    """Result of a numeric function: NaN and infinities are null, whole floats become integers."""
    if type(result) is int:
        return bounded_int(result)
    if result.is_integer():
        return int(result) if -EXACT_FLOAT <= result <= EXACT_FLOAT else result
    return result if math.isfinite(result) else None


def number_text(number: Number) -> str:
    """Shortest text that reads back as the same number, in JavaScript's style: ``1``, ``0.1``, ``2e-7``, ``1e+21``."""
    if type(number) is int:
        return str(number)
    if number.is_integer() and abs(number) < 1e21:
        return str(int(number))
    text = repr(number)
    if 1e-6 <= abs(number) < 1e21:
        return format(Decimal(text), "f")
    mantissa, exponent = text.split("e")
    return f"{mantissa}e{int(exponent):+d}"


def to_string(value: Value) -> str:
    """AQL's cast to string (``TO_STRING``): null is "", arrays and objects are compact JSON."""
    kind = type(value)
    if kind is str:
        return value
    if value is None:
        return ""
    if kind is bool:
        return "true" if value else "false"
    if kind is int or kind is float:
        return number_text(value)
    return to_json(value)


def to_json(value: Value, *, sort_keys: bool = False) -> str:
    """Compact JSON text.

    Raises:
        ArangoError: 32, when the value is nested deeper than the JSON writer goes.
    """
    try:
        return orjson.dumps(_with_whole_numbers(value), option=orjson.OPT_SORT_KEYS if sort_keys else None).decode()
    except (TypeError, RecursionError) as error:
        raise ArangoError(32, "value is nested too deep to be written as JSON") from error


def _with_whole_numbers(value: Value) -> Value:
    kind = type(value)
    if kind is float:
        return number_or_null(value)
    if kind is list:
        return [_with_whole_numbers(item) for item in value]
    if kind is dict:
        return {name: _with_whole_numbers(item) for name, item in value.items()}
    return value


def to_array(value: Value) -> list[Value]:
    """AQL's cast to array (``TO_ARRAY``): null is ``[]``, an object is the array of its values."""
    kind = type(value)
    if kind is list:
        return value
    if value is None:
        return []
    return list(value.values()) if kind is dict else [value]


# --- arithmetic -----------------------------------------------------------------------------------------------
def _settled(result: Number) -> Number | None:
    """A result within the number range: too wide integers become floats, overflow becomes null."""
    if type(result) is int:
        return result if MIN_INT <= result <= MAX_INT else bounded_int(result)
    return result if -math.inf < result < math.inf else None


def add(left: Value, right: Value) -> Number | None:
    """AQL ``+``: operands are cast to numbers; null on overflow."""
    if type(left) is not float or type(right) is not float:
        left, right = to_number(left), to_number(right)
    return _settled(left + right)


def subtract(left: Value, right: Value) -> Number | None:
    """AQL ``-``: operands are cast to numbers; null on overflow."""
    if type(left) is not float or type(right) is not float:
        left, right = to_number(left), to_number(right)
    return _settled(left - right)


def multiply(left: Value, right: Value) -> Number | None:
    """AQL ``*``: operands are cast to numbers; null on overflow."""
    if type(left) is not float or type(right) is not float:
        left, right = to_number(left), to_number(right)
    return _settled(left * right)


def divide(ctx: CallContext, left: Value, right: Value) -> Number | None:
    """AQL ``/``: null with warning 1562 when the divisor is 0."""
    dividend, divisor = to_number(left), to_number(right)
    if divisor == 0:
        ctx.warn(1562, "division by zero")
        return None
    if type(dividend) is int and type(divisor) is int and dividend % divisor == 0:
        return bounded_int(dividend // divisor)
    try:
        return number_or_null(dividend / divisor)
    except OverflowError:
        return None


def modulo(ctx: CallContext, left: Value, right: Value) -> Number | None:
    """AQL ``%``: the sign follows the dividend; null with warning 1562 when the divisor is 0."""
    dividend, divisor = to_number(left), to_number(right)
    if divisor == 0:
        ctx.warn(1562, "division by zero")
        return None
    if type(dividend) is int and type(divisor) is int:
        remainder = abs(dividend) % abs(divisor)
        return -remainder if dividend < 0 else remainder
    return number_or_null(math.fmod(dividend, divisor))


def negate(value: Value) -> Number | None:
    """AQL unary ``-``: the operand is cast to a number."""
    return _settled(-to_number(value))


# --- ranges ---------------------------------------------------------------------------------------------------
def integer_range(low: Value, high: Value) -> range:
    """AQL ``low..high``: both bounds included, cut to integers, downwards when ``low > high``."""
    first, last = int(to_number(low)), int(to_number(high))
    return range(first, last + 1) if first <= last else range(first, last - 1, -1)


def materialise_range(ctx: CallContext, items: range) -> list[int]:
    """The range as an array.

    Raises:
        ArangoError: 32, above 10 million elements, or more than the query's memory.
    """
    reserve_items(ctx, abs(items.stop - items.start))
    return list(items)


def reserve_items(ctx: CallContext, count: int) -> None:
    """Account for an array of so many elements before it is made.

    Raises:
        ArangoError: 32, above 10 million elements, or more than the query's memory.
    """
    if count > SMALL_ARRAY:
        check_range_size(count)
        ctx.reserve(count * ITEM_BYTES)


def reserve_text(ctx: CallContext, length: int) -> None:
    """Account for a string of so many characters before it is made.

    Raises:
        ArangoError: 32, when it is more than the query's memory.
    """
    if length > SMALL_TEXT:
        ctx.reserve(length)


def check_range_size(items: float) -> None:
    """Refuse arrays of more than ``MAX_RANGE_ITEMS`` numbers.

    Raises:
        ArangoError: 32, above 10 million elements.
    """
    if items > MAX_RANGE_ITEMS:
        raise ArangoError(32, f"range of {items:.3g} elements asked for, at most {MAX_RANGE_ITEMS} are built")
