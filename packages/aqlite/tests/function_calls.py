"""Calls of AQL functions as the engine makes them, arguments counted first."""

from aqlite.aql.context import CallContext
from aqlite.aql.functions import FUNCTIONS


def call_with(ctx, name, *args):
    function = FUNCTIONS[name]
    assert function.accepts(len(args)), f"{name} takes {function.min_args} to {function.max_args} arguments"
    return function.call(ctx, *args)


def call(name, *args):
    """Answer of a call that must not warn."""
    ctx = CallContext()
    answer = call_with(ctx, name, *args)
    assert ctx.warnings == []
    return answer


def warning_of(name, *args):
    """Number of the only warning of a call that must answer null."""
    ctx = CallContext()
    assert call_with(ctx, name, *args) is None
    assert len(ctx.warnings) == 1
    assert f"'{name}()'" in ctx.warnings[0]["message"]
    return ctx.warnings[0]["code"]
