"""``LIKE`` patterns and regular expressions.

Regular expressions run in the ``regex`` module, whose syntax covers what ICU's users write and which can be stopped:
a pattern that backtracks for ever ends with ArangoDB's error 1500 and never holds the interpreter lock.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import regex

from aqlite.errors import ArangoError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aqlite.aql.context import CallContext

MAX_MATCH_SECONDS = 5.0
MAX_PATTERN_CHARS = 10_000
_RECURSION = regex.compile(r"(?<!\\)(?:\\\\)*\(\?(?:R|[0-9]|[+-][0-9]|&|P>)")
"""Patterns that call themselves: ICU knows none, and ``regex`` would run out of memory on some."""


@lru_cache(maxsize=1024)
def like_pattern(pattern: str, ignore_case: bool = False) -> regex.Pattern:
    r"""Compiled ``LIKE`` pattern: ``%`` any text, ``_`` one character, ``\`` takes the next one literally.

    Every ``%...`` part but the last is atomic: the leftmost match of a part is always good enough, so matching
    takes time linear in ``len(text) * len(pattern)`` whatever the pattern.

    Raises:
        ArangoError: 32, for a pattern of more than ``MAX_PATTERN_CHARS``.
    """
    if len(pattern) > MAX_PATTERN_CHARS:
        raise ArangoError(32, f"pattern of {len(pattern)} characters, at most {MAX_PATTERN_CHARS} are taken")
    parts, literal = [], ""
    chars = iter(pattern)
    for char in chars:
        if char == "%":
            parts.append(literal)
            literal = ""
        elif char == "_":
            literal += "."
        elif char == "\\":
            literal += _escaped(next(chars, ""))
        else:
            literal += regex.escape(char)
    parts.append(literal)
    if len(parts) == 1:
        body = literal
    else:
        body = parts[0] + "".join(f"(?>.*?{part})" for part in parts[1:-1] if part) + ".*" + parts[-1]
    flags = regex.DOTALL | (regex.IGNORECASE | regex.FULLCASE if ignore_case else 0)
    return regex.compile(rf"(?:{body})\Z", flags | regex.V0)


def _escaped(char: str) -> str:
    if char in ("%", "_", "\\"):
        return regex.escape(char)
    return r"\\" + regex.escape(char)


def like(text: str, pattern: str, ignore_case: bool = False) -> bool:
    """AQL ``text LIKE pattern``, both strings; false for any other type."""
    if type(text) is not str or type(pattern) is not str:
        return False
    return like_pattern(pattern, ignore_case).match(text, concurrent=len(text) > 10_000) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str, ignore_case: bool) -> regex.Pattern | None:
    if len(pattern) > MAX_PATTERN_CHARS or _RECURSION.search(pattern):
        return None
    try:
        return regex.compile(pattern, regex.V0 | (regex.IGNORECASE if ignore_case else 0))
    except (regex.error, RecursionError, OverflowError):
        return None


def compile_regex(ctx: CallContext, pattern: str, ignore_case: bool = False) -> regex.Pattern | None:
    """Compiled regular expression, or None with warning 1543 when it is none."""
    compiled = _compiled(pattern, ignore_case)
    if compiled is None:
        ctx.warn(1543, "invalid regex value")
    return compiled


def bounded_match(ctx: CallContext, operation: Callable[..., Any], *args: Any) -> Any:
    """Run a method of a compiled pattern, for example ``pattern.search``, within the query's time.

    Raises:
        ArangoError: 1500, when matching takes more than ``MAX_MATCH_SECONDS`` or the rest of the query's time.
    """
    remaining = ctx.remaining_seconds()
    seconds = MAX_MATCH_SECONDS if remaining is None else min(MAX_MATCH_SECONDS, remaining)
    try:
        return operation(*args, timeout=max(seconds, 0.001), concurrent=True)
    except TimeoutError as error:
        raise ArangoError(1500, f"query killed (regular expression ran for more than {seconds:.1f} s)") from error


def regex_test(ctx: CallContext, text: str, pattern: str, ignore_case: bool = False) -> bool | None:
    """AQL ``text =~ pattern``: a match anywhere in the text; None with a warning for an invalid pattern."""
    compiled = compile_regex(ctx, pattern, ignore_case)
    return None if compiled is None else bounded_match(ctx, compiled.search, text) is not None
