"""Control flow and assertions. Source: "Miscellaneous functions in AQL" of ArangoDB 3.12."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aqlite import ARANGODB_VERSION
from aqlite.aql.functions.registry import Registry, warn
from aqlite.aql.values import Value, less, less_equal, to_number, to_string, truthy
from aqlite.errors import ArangoError

if TYPE_CHECKING:
    from aqlite.aql.context import CallContext

FUNCTIONS = Registry()

_SLEEP_SLICE_SECONDS = 0.05


@FUNCTIONS.define("NOT_NULL", min_args=1)
def not_null(ctx: CallContext, *alternatives: Value) -> Value:
    """First argument that is not null."""
    return next((value for value in alternatives if value is not None), None)


@FUNCTIONS.define("FIRST_LIST", min_args=1)
def first_list(ctx: CallContext, *alternatives: Value) -> list[Value] | None:
    """First argument that is an array."""
    return next((value for value in alternatives if type(value) is list), None)


@FUNCTIONS.define("FIRST_DOCUMENT", min_args=1)
def first_document(ctx: CallContext, *alternatives: Value) -> dict[str, Value] | None:
    """First argument that is an object."""
    return next((value for value in alternatives if type(value) is dict), None)


@FUNCTIONS.define("MIN_MATCH", min_args=2)
def min_match(ctx: CallContext, *conditions: Value) -> bool:
    """Whether at least so many (last argument) of the conditions before hold."""
    return sum(map(truthy, conditions[:-1])) >= to_number(conditions[-1])


@FUNCTIONS.define("IN_RANGE")
def in_range(ctx: CallContext, value: Value, low: Value, high: Value, include_low: Value, include_high: Value) -> bool:
    """Whether a value is between two others in AQL order."""
    above = less_equal(low, value) if truthy(include_low) else less(low, value)
    below = less_equal(value, high) if truthy(include_high) else less(value, high)
    return above and below


@FUNCTIONS.define("CHECK_DOCUMENT")
def check_document(ctx: CallContext, value: Value) -> bool:
    """Whether the value is an object; stored ones never hold an attribute twice."""
    return type(value) is dict


@FUNCTIONS.define("ASSERT", deterministic=False)
def assert_condition(ctx: CallContext, condition: Value, message: Value) -> bool:
    """True, or an end of the query.

    Raises:
        ArangoError: 1593, when the condition does not hold.
    """
    if not truthy(condition):
        raise ArangoError(1593, to_string(message))
    return True


@FUNCTIONS.define("WARN", deterministic=False)
def warn_condition(ctx: CallContext, condition: Value, message: Value) -> bool:
    """Whether the condition holds; a warning when not."""
    if truthy(condition):
        return True
    ctx.warn(1594, to_string(message))
    return False


@FUNCTIONS.define("FAIL", deterministic=False)
def fail(ctx: CallContext, reason: Value = "") -> None:
    """End the query.

    Raises:
        ArangoError: 1569, always.
    """
    raise ArangoError(1569, f"FAIL({to_string(reason)}) called")


@FUNCTIONS.define("NOOPT", "V8", deterministic=False)
def noopt(ctx: CallContext, value: Value) -> Value:
    """The argument, computed for every row."""
    return value


@FUNCTIONS.define("NOEVAL", "PASSTHRU")
def noeval(ctx: CallContext, value: Value) -> Value:
    """The argument."""
    return value


@FUNCTIONS.define("SLEEP", deterministic=False)
def sleep(ctx: CallContext, seconds: Value) -> None:
    """Wait, at most until the query's deadline.

    Raises:
        ArangoError: 1500, after the deadline.
    """
    if to_number(seconds) < 0:
        return warn(ctx, "SLEEP")
    end = time.monotonic() + to_number(seconds)
    while (left := end - time.monotonic()) > 0:
        ctx.check()
        time.sleep(min(left, _SLEEP_SLICE_SECONDS))
    return None


@FUNCTIONS.define("VERSION")
def version(ctx: CallContext) -> str:
    """Version of ArangoDB that aqlite answers as."""
    return ARANGODB_VERSION
