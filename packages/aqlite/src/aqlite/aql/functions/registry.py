"""How functions are declared and found, and how they warn."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aqlite.errors import ERRORS

if TYPE_CHECKING:
    from aqlite.aql.context import CallContext

Implementation = Callable[..., Any]


@dataclass(frozen=True)
class Function:
    """One AQL function.

    Attributes:
        name: upper-case name, the canonical one for an alias.
        min_args, max_args: accepted number of arguments; ``max_args`` None means any number.
        call: ``call(ctx, *args) -> value``; arguments are never changed.
        deterministic: the same arguments give the same answer within one query and nothing is read from the store, so
            a call with constant arguments can be computed once.
        collection_args: positions of arguments that name a collection when they are written as an identifier.
    """

    name: str
    min_args: int
    max_args: int | None
    call: Implementation
    deterministic: bool = True
    collection_args: frozenset[int] = frozenset()

    def accepts(self, count: int) -> bool:
        """Whether the function may be called with that many arguments."""
        return count >= self.min_args and (self.max_args is None or count <= self.max_args)


class Registry(dict[str, Function]):
    """Upper-case function name -> Function."""

    def define(
        self,
        *names: str,
        deterministic: bool = True,
        collection_args: tuple[int, ...] = (),
        min_args: int | None = None,
    ) -> Callable[[Implementation], Implementation]:
        """Decorator: declare ``call(ctx, ...)`` as an AQL function.

        The number of arguments is read from the signature: parameters after ``ctx``, those with a default are
        optional, ``*args`` takes any number. Names after the first are aliases.
        """

        def declare(call: Implementation) -> Implementation:
            low, high = _arity(call)
            function = Function(
                names[0], low if min_args is None else min_args, high, call, deterministic, frozenset(collection_args)
            )
            self.update(dict.fromkeys(names, function))
            return call

        return declare


def _arity(call: Implementation) -> tuple[int, int | None]:
    parameters = list(inspect.signature(call).parameters.values())[1:]
    positional = [p for p in parameters if p.kind is not inspect.Parameter.VAR_POSITIONAL]
    required = sum(p.default is inspect.Parameter.empty for p in positional)
    return required, len(positional) if len(positional) == len(parameters) else None


def warn(ctx: CallContext, function: str, number: int = 1542) -> None:
    """Register ArangoDB's warning for a call that answers null: 1542 wrong type, 1563 no array, 1572 no date ..."""
    text = ERRORS[number][1]
    if number == 1542:
        ctx.warn(number, f"{text} '{function}()'")
    else:
        ctx.warn(number, f"in function '{function}()': {text}")
