"""Array functions. Source: the page "Array functions" of ArangoDB 3.12. Set-like answers keep the order of input."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from aqlite.aql.functions.registry import Registry, warn
from aqlite.aql.values import (
    MAX_RANGE_ITEMS,
    Number,
    Value,
    contains,
    equality_key,
    equals,
    number_or_null,
    reserve_items,
    sorted_values,
    to_array,
    to_number,
    to_string,
    truthy,
)
from aqlite.errors import ArangoError

if TYPE_CHECKING:
    from aqlite.aql.context import CallContext

FUNCTIONS = Registry()


@FUNCTIONS.define("LENGTH", "COUNT")
def length(ctx: CallContext, value: Value) -> int:
    """Number of elements, attributes or characters; 1 for true, 0 for false and null."""
    kind = type(value)
    if kind is list or kind is dict or kind is str:
        return len(value)
    if value is None or kind is bool:
        return int(value is True)
    return len(to_string(value))


# --- elements -------------------------------------------------------------------------------------------------
@FUNCTIONS.define("FIRST")
def first(ctx: CallContext, values: Value) -> Value:
    """First element, null of an empty array."""
    if type(values) is not list:
        return warn(ctx, "FIRST", 1563)
    return values[0] if values else None


@FUNCTIONS.define("LAST")
def last(ctx: CallContext, values: Value) -> Value:
    """Last element, null of an empty array."""
    if type(values) is not list:
        return warn(ctx, "LAST", 1563)
    return values[-1] if values else None


@FUNCTIONS.define("NTH")
def nth(ctx: CallContext, values: Value, position: Value) -> Value:
    """Element at a position from 0, null beyond the array."""
    if type(values) is not list:
        return warn(ctx, "NTH", 1563)
    index = position if type(position) is int else int(to_number(position))
    return values[index] if 0 <= index < len(values) else None


@FUNCTIONS.define("POSITION", "CONTAINS_ARRAY")
def position(ctx: CallContext, values: Value, search: Value, return_index: Value = False) -> bool | int | None:
    """Whether, or with ``return_index`` where, a value is in the array."""
    if type(values) is not list:
        return warn(ctx, "POSITION", 1563)
    if not truthy(return_index):
        return contains(values, search)
    return next((index for index, value in enumerate(values) if equals(value, search)), -1)


# --- adding and removing --------------------------------------------------------------------------------------
@FUNCTIONS.define("APPEND")
def append(ctx: CallContext, values: Value, added: Value, unique: Value = False) -> list[Value] | None:
    """Array with the elements of another one at its end, without duplicates when ``unique``."""
    if values is None:
        return to_array(added)
    if type(values) is not list:
        return warn(ctx, "APPEND")
    if added is None or added == []:
        return values
    others = added if type(added) is list else [added]
    reserve_items(ctx, len(values) + len(others))
    combined = values + others
    return _distinct(combined) if truthy(unique) else combined


@FUNCTIONS.define("PUSH")
def push(ctx: CallContext, values: Value, added: Value, unique: Value = False) -> list[Value] | None:
    """Array with one more element at its end; ``unique`` leaves out what is there already."""
    return _with(ctx, "PUSH", values, added, unique, at_end=True)


@FUNCTIONS.define("UNSHIFT")
def unshift(ctx: CallContext, values: Value, added: Value, unique: Value = False) -> list[Value] | None:
    """Array with one more element at its start; ``unique`` leaves out what is there already."""
    return _with(ctx, "UNSHIFT", values, added, unique, at_end=False)


def _with(
    ctx: CallContext, name: str, values: Value, added: Value, unique: Value, *, at_end: bool
) -> list[Value] | None:
    if values is None:
        return [added]
    if type(values) is not list:
        return warn(ctx, name)
    if truthy(unique) and contains(values, added):
        return values
    return [*values, added] if at_end else [added, *values]


@FUNCTIONS.define("POP")
def pop(ctx: CallContext, values: Value) -> list[Value] | None:
    """Array without its last element."""
    if type(values) is not list:
        return None if values is None else warn(ctx, "POP")
    return values[:-1]


@FUNCTIONS.define("SHIFT")
def shift(ctx: CallContext, values: Value) -> list[Value] | None:
    """Array without its first element."""
    if type(values) is not list:
        return None if values is None else warn(ctx, "SHIFT")
    return values[1:]


@FUNCTIONS.define("REMOVE_NTH")
def remove_nth(ctx: CallContext, values: Value, position: Value) -> list[Value] | None:
    """Array without the element at a position; negative ones count from the end."""
    if type(values) is not list:
        return [] if values is None else warn(ctx, "REMOVE_NTH")
    index = int(to_number(position))
    if not -len(values) <= index < len(values):
        return values
    index %= len(values)
    return values[:index] + values[index + 1 :]


@FUNCTIONS.define("REPLACE_NTH")
def replace_nth(
    ctx: CallContext, values: Value, position: Value, replacement: Value, padding: Value = None
) -> list[Value] | None:
    """Array with the element at a position replaced; the array grows with ``padding`` as far as needed.

    Raises:
        ArangoError: 1542, when padding is needed and not given.
    """
    if type(values) is not list:
        return warn(ctx, "REPLACE_NTH")
    index = int(to_number(position))
    index = max(0, index + len(values)) if index < 0 else index
    if index > len(values) and padding is None:
        raise ArangoError(1542, "invalid argument type in call to function 'REPLACE_NTH()'")
    reserve_items(ctx, max(index, len(values)))
    padded = values + [padding] * (index - len(values))
    return [*padded[:index], replacement, *padded[index + 1 :]]


@FUNCTIONS.define("REMOVE_VALUE")
def remove_value(ctx: CallContext, values: Value, removed: Value, limit: Value = None) -> list[Value] | None:
    """Array without a value, at most ``limit`` times."""
    if type(values) is not list:
        return [] if values is None else warn(ctx, "REMOVE_VALUE")
    left = len(values) if limit is None else int(to_number(limit))
    kept = []
    for value in values:
        if left > 0 and equals(value, removed):
            left -= 1
        else:
            kept.append(value)
    return kept


@FUNCTIONS.define("REMOVE_VALUES")
def remove_values(ctx: CallContext, values: Value, removed: Value) -> list[Value] | None:
    """Array without any of the given values."""
    if removed is None:
        return values
    if values is None:
        return []
    if type(values) is not list or type(removed) is not list:
        return warn(ctx, "REMOVE_VALUES")
    unwanted = {equality_key(value) for value in removed}
    return [value for value in values if equality_key(value) not in unwanted]


@FUNCTIONS.define("SLICE")
def slice_array(ctx: CallContext, values: Value, start: Value, count: Value = None) -> list[Value] | None:
    """Part of an array; a negative start counts from the end, a negative count is an end that is left out."""
    if type(values) is not list:
        return warn(ctx, "SLICE", 1563)
    begin = int(to_number(start))
    begin = max(0, len(values) + begin) if begin < 0 else begin
    if count is None:
        return values[begin:]
    number = int(to_number(count))
    return values[begin : begin + number if number >= 0 else max(0, len(values) + number)]


@FUNCTIONS.define("FLATTEN")
def flatten(ctx: CallContext, values: Value, depth: Value = 1) -> list[Value] | None:
    """Array with the elements of inner arrays, so many levels deep."""
    if type(values) is not list:
        return warn(ctx, "FLATTEN", 1563)
    flat = values
    for _ in range(int(min(max(to_number(depth), 1), MAX_RANGE_ITEMS))):
        if not any(type(value) is list for value in flat):
            break
        flat = [inner for value in flat for inner in (value if type(value) is list else [value])]
        reserve_items(ctx, len(flat))
    return flat


@FUNCTIONS.define("REVERSE")
def reverse(ctx: CallContext, value: Value) -> Value:
    """Elements or characters in reverse order."""
    if type(value) is list:
        return value[::-1]
    return to_string(value)[::-1]


@FUNCTIONS.define("SORTED")
def sort(ctx: CallContext, values: Value) -> list[Value] | None:
    """Elements in AQL order."""
    return sorted_values(values) if type(values) is list else None


@FUNCTIONS.define("SORTED_UNIQUE")
def sort_unique(ctx: CallContext, values: Value) -> list[Value] | None:
    """Distinct elements in AQL order."""
    return sorted_values(_distinct(values)) if type(values) is list else None


@FUNCTIONS.define("UNIQUE")
def unique_values(ctx: CallContext, values: Value) -> list[Value] | None:
    """Distinct elements."""
    return _distinct(values) if type(values) is list else warn(ctx, "UNIQUE", 1563)


@FUNCTIONS.define("COUNT_DISTINCT", "COUNT_UNIQUE")
def count_distinct(ctx: CallContext, values: Value) -> int | None:
    """Number of distinct elements."""
    return len(_distinct(values)) if type(values) is list else warn(ctx, "COUNT_DISTINCT", 1563)


# --- sets -----------------------------------------------------------------------------------------------------
def _distinct(values: list[Value]) -> list[Value]:
    found: dict = {}
    for value in values:
        found.setdefault(equality_key(value), value)
    return list(found.values())


def _all_arrays(ctx: CallContext, name: str, arrays: tuple[Value, ...]) -> bool:
    if all(type(values) is list for values in arrays):
        reserve_items(ctx, sum(map(len, arrays)))
        return True
    warn(ctx, name)
    return False


@FUNCTIONS.define("UNION", min_args=2)
def union(ctx: CallContext, *arrays: Value) -> list[Value] | None:
    """Elements of all arrays."""
    return [value for values in arrays for value in values] if _all_arrays(ctx, "UNION", arrays) else None


@FUNCTIONS.define("UNION_DISTINCT", min_args=2)
def union_distinct(ctx: CallContext, *arrays: Value) -> list[Value] | None:
    """Distinct elements of all arrays."""
    if not _all_arrays(ctx, "UNION_DISTINCT", arrays):
        return None
    return _distinct([value for values in arrays for value in values])


@FUNCTIONS.define("INTERSECTION", min_args=2)
def intersection(ctx: CallContext, *arrays: Value) -> list[Value] | None:
    """Distinct elements that are in every array."""
    if not _all_arrays(ctx, "INTERSECTION", arrays):
        return None
    others = [{equality_key(value) for value in values} for values in arrays[1:]]
    return [value for value in _distinct(arrays[0]) if all(equality_key(value) in other for other in others)]


@FUNCTIONS.define("OUTERSECTION", min_args=2)
def outersection(ctx: CallContext, *arrays: Value) -> list[Value] | None:
    """Elements that occur once in all arrays together."""
    if not _all_arrays(ctx, "OUTERSECTION", arrays):
        return None
    values = [value for members in arrays for value in members]
    occurrences = Counter(map(equality_key, values))
    return [value for value in values if occurrences[equality_key(value)] == 1]


@FUNCTIONS.define("MINUS", min_args=2)
def minus(ctx: CallContext, *arrays: Value) -> list[Value] | None:
    """Distinct elements of the first array that are in none of the others."""
    if not _all_arrays(ctx, "MINUS", arrays):
        return None
    others = {equality_key(value) for values in arrays[1:] for value in values}
    return [value for value in _distinct(arrays[0]) if equality_key(value) not in others]


@FUNCTIONS.define("JACCARD")
def jaccard(ctx: CallContext, left: Value, right: Value) -> Number | None:
    """Size of the intersection over the size of the union; 1 for two empty arrays."""
    if not _all_arrays(ctx, "JACCARD", (left, right)):
        return None
    left_keys, right_keys = set(map(equality_key, left)), set(map(equality_key, right))
    together = len(left_keys | right_keys)
    return number_or_null(len(left_keys & right_keys) / together) if together else 1


@FUNCTIONS.define("INTERLEAVE", min_args=1)
def interleave(ctx: CallContext, *arrays: Value) -> list[Value] | None:
    """Elements taken from the arrays in turn; a single array of arrays works too."""
    if not _all_arrays(ctx, "INTERLEAVE", arrays):
        return None
    if len(arrays) == 1:
        arrays = tuple(arrays[0])
        if not _all_arrays(ctx, "INTERLEAVE", arrays):
            return None
    longest = max(map(len, arrays), default=0)
    return [values[index] for index in range(longest) for values in arrays if index < len(values)]
