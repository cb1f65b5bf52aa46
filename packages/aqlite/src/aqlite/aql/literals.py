"""Values of AQL's literal tokens."""

from __future__ import annotations

import math
import re

from aqlite.aql.values import Number, bounded_int
from aqlite.errors import ArangoError

_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|[\s\S])")
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_SURROGATE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def string_value(token: str) -> str:
    """Content of a quoted string: JSON's escapes, and a backslash before any other character stands for it."""
    body = token[1:-1]
    if "\\" not in body:
        return body
    text = _ESCAPE.sub(_unescape, body)
    text = _SURROGATE_PAIR.sub(lambda pair: pair.group().encode("utf-16", "surrogatepass").decode("utf-16"), text)
    return _LONE_SURROGATE.sub("\ufffd", text)


def _unescape(match: re.Match[str]) -> str:
    escaped = match.group(1)
    return chr(int(escaped[1:], 16)) if len(escaped) == 5 else _ESCAPED.get(escaped, escaped)


def quoted_name(token: str) -> str:
    """Content of a name in backticks or forward ticks."""
    return string_value(token)


def number_value(token: str) -> Number:
    """Value of a decimal, hexadecimal (``0x``) or binary (``0b``) literal; too wide integers become floats.

    Raises:
        ArangoError: 1504, beyond the range of doubles.
    """
    lower = token.lower()
    if lower.startswith(("0x", "0b")):
        number = bounded_int(int(lower[2:], 16 if lower[1] == "x" else 2))
    elif lower.isdigit():
        number = bounded_int(int(lower)) if len(lower) < 400 else None
    else:
        number = float(lower)
    if number is None or not math.isfinite(number):
        raise ArangoError(1504, f"AQL: number out of range: '{token[:40]}' (while parsing)")
    return number
