"""Calls by name: ``CALL`` and ``APPLY``, made for the library whose functions they call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aqlite.aql.functions.registry import Registry, warn
from aqlite.aql.values import Value
from aqlite.errors import ArangoError

if TYPE_CHECKING:
    from aqlite.aql.context import CallContext


def calls_into(library: Registry) -> Registry:
    """``CALL`` and ``APPLY``, which look a function up in ``library`` when they run.

    They raise ArangoError 1540 (unknown), 1541 (number of arguments), 1578 (calls of each other).
    """
    functions = Registry()

    def called(ctx: CallContext, caller: str, name: Value, arguments: list[Value]) -> Value:
        if type(name) is not str:
            return warn(ctx, caller)
        function = library.get(name.upper())
        if function is None:
            raise ArangoError(1540, f"usage of unknown function '{name.upper()}()'")
        if function.name in functions:
            raise ArangoError(1578, f"disallowed dynamic call to '{function.name}'")
        if not function.accepts(len(arguments)):
            raise ArangoError(1541, f"invalid number of arguments for function '{function.name}()'")
        return function.call(ctx, *arguments)

    @functions.define("CALL", deterministic=False)
    def call(ctx: CallContext, name: Value, *arguments: Value) -> Value:
        return called(ctx, "CALL", name, list(arguments))

    @functions.define("APPLY", deterministic=False)
    def apply(ctx: CallContext, name: Value, arguments: Value = None) -> Value:
        if arguments is not None and type(arguments) is not list:
            return warn(ctx, "APPLY")
        return called(ctx, "APPLY", name, arguments or [])

    return functions
