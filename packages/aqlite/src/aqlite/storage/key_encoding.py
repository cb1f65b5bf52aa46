"""Order-preserving bytes of AQL values: comparing keys as bytes gives ArangoDB's type and value order.

Keys are what persistent indexes store. A key of several values is their concatenation: no encoding is a prefix of
another, so a prefix of values is a prefix of bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from aqlite.collation import collation_key

_NULL, _FALSE, _TRUE, _NUMBER, _STRING, _ARRAY, _OBJECT = (bytes([tag]) for tag in range(1, 8))
_END, _MORE = b"\x00", b"\x01"
_INVERT = bytes(255 - byte for byte in range(256))
_SIGN = 1 << 63
_ALL = (1 << 64) - 1


def encode_value(value: Any) -> bytes:
    """Bytes that sort like the value sorts in AQL."""
    kind = type(value)
    if kind is str:
        return _encode_string(value)
    if kind is int or kind is float:
        return _encode_number(value)
    if value is None:
        return _NULL
    if kind is bool:
        return _TRUE if value else _FALSE
    if kind is list:
        return _encode_array(value)
    return _encode_object(value)


def encode_values(values: Iterable[Any]) -> bytes:
    """Concatenated encodings."""
    return b"".join([encode_value(value) for value in values])


def prefix_end(prefix: bytes) -> bytes | None:
    """The smallest byte string above everything that starts with ``prefix``; ``None`` when there is none."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else None


def _encode_number(value: float) -> bytes:
    # The nearest double decides; integers above 2**53 that share a double are told apart by what it lost.
    double = float(value)
    rest = value - int(double) if type(value) is int else 0
    (bits,) = struct.unpack(">Q", struct.pack(">d", double + 0.0))
    ordered = bits ^ _ALL if bits & _SIGN else bits | _SIGN
    return _NUMBER + struct.pack(">QH", ordered, rest + 0x8000)


def _encode_string(value: str) -> bytes:
    parts = [_STRING]
    for part in collation_key(value):
        parts.append(_MORE)
        parts.append(_terminated(part.encode("utf-8", "surrogatepass")))
    parts.append(_END)
    return b"".join(parts)


def _terminated(raw: bytes) -> bytes:
    return raw.replace(b"\x00", b"\x00\xff") + b"\x00\x00"


def _encode_array(values: list) -> bytes:
    end = len(values)
    while end and values[end - 1] is None:
        end -= 1
    return _ARRAY + encode_values(values[:end]) + _END


def _encode_object(value: dict) -> bytes:
    # An object with an attribute is greater than one that lacks it, so earlier names must sort as greater.
    parts = [_OBJECT]
    for name in sorted(name for name, item in value.items() if item is not None):
        inverted = name.encode("utf-8", "surrogatepass").translate(_INVERT)
        parts += [_MORE, inverted, b"\xff", encode_value(value[name])]
    parts.append(_END)
    return b"".join(parts)
