"""Hashes and encodings. Source: the pages "String functions" and "Miscellaneous functions" of ArangoDB 3.12."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
import secrets
import string
import uuid
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

import orjson

from aqlite.aql.functions.registry import Registry, warn
from aqlite.aql.values import Value, is_number, reserve_text, to_json, to_number, to_string

if TYPE_CHECKING:
    from aqlite.aql.context import CallContext

FUNCTIONS = Registry()
MAX_TOKEN_CHARS = 65_536
_CHUNK_BYTES = 2**18
_TOKEN_CHARS = string.ascii_letters + string.digits
_IPV4 = re.compile(r"(?:0|[1-9]\d{0,2})(?:\.(?:0|[1-9]\d{0,2})){3}", re.ASCII)


def _define_text_encoding(name: str, encode: Callable[[CallContext, bytes], str]) -> None:
    """``name(text)`` of the text's UTF-8 bytes."""

    @FUNCTIONS.define(name)
    def call(ctx: CallContext, text: Value) -> str:
        data = to_string(text).encode()
        reserve_text(ctx, 2 * len(data))
        return encode(ctx, data)


@lru_cache(maxsize=1)
def _crc32c_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        remainder = byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (0x82F63B78 if remainder & 1 else 0)  # 0x1EDC6F41, bits reversed
        table.append(remainder)
    return tuple(table)


def _chunks(ctx: CallContext, data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _CHUNK_BYTES):
        ctx.check()
        yield data[start : start + _CHUNK_BYTES]


def crc32c(ctx: CallContext, data: bytes) -> int:
    """CRC-32 with the Castagnoli polynomial (RFC 3720, appendix B.4)."""
    table, checksum = _crc32c_table(), 0xFFFFFFFF
    for chunk in _chunks(ctx, data):
        for byte in chunk:
            checksum = checksum >> 8 ^ table[(checksum ^ byte) & 0xFF]
    return checksum ^ 0xFFFFFFFF


def fnv1a_64(ctx: CallContext, data: bytes) -> int:
    """64-bit FNV-1a hash (http://www.isthe.com/chongo/tech/comp/fnv/)."""
    digest = 0xCBF29CE484222325
    for chunk in _chunks(ctx, data):
        for byte in chunk:
            digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return digest


for _name, _encode in {
    "MD5": lambda ctx, data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
    "SHA1": lambda ctx, data: hashlib.sha1(data, usedforsecurity=False).hexdigest(),
    "SHA256": lambda ctx, data: hashlib.sha256(data).hexdigest(),
    "SHA512": lambda ctx, data: hashlib.sha512(data).hexdigest(),
    "CRC32": lambda ctx, data: format(crc32c(ctx, data), "X"),
    "FNV64": lambda ctx, data: format(fnv1a_64(ctx, data), "X"),
    "TO_BASE64": lambda ctx, data: base64.b64encode(data).decode(),
    "TO_HEX": lambda ctx, data: data.hex(),
    "ENCODE_URI_COMPONENT": lambda ctx, data: quote(data, safe="-_.!~*'()"),
}.items():
    _define_text_encoding(_name, _encode)


@FUNCTIONS.define("HASH")
def hash_value(ctx: CallContext, value: Value) -> int:
    """53-bit number, equal for equal values; the order of attributes does not count."""
    canonical = to_json(value, sort_keys=True).encode()
    return int.from_bytes(hashlib.blake2b(canonical, digest_size=8).digest(), "big") >> 11


@FUNCTIONS.define("UUID", deterministic=False)
def random_uuid(ctx: CallContext) -> str:
    """Random UUID."""
    return str(uuid.uuid4())


@FUNCTIONS.define("RANDOM_TOKEN", deterministic=False)
def random_token(ctx: CallContext, length: Value) -> str | None:
    """Random letters and digits."""
    count = int(to_number(length))
    if not 0 <= count <= MAX_TOKEN_CHARS:
        return warn(ctx, "RANDOM_TOKEN")
    return "".join(secrets.choice(_TOKEN_CHARS) for _ in range(count))


@FUNCTIONS.define("JSON_PARSE")
def json_parse(ctx: CallContext, text: Value) -> Value:
    """Value of a JSON text; null with a warning for anything else."""
    if type(text) is not str:
        return warn(ctx, "JSON_PARSE")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return warn(ctx, "JSON_PARSE")


@FUNCTIONS.define("JSON_STRINGIFY")
def json_stringify(ctx: CallContext, value: Value) -> str:
    """Compact JSON text of a value."""
    return to_json(value)


@FUNCTIONS.define("IPV4_FROM_NUMBER")
def ipv4_from_number(ctx: CallContext, number: Value) -> str | None:
    """Dotted form of a numeric IPv4 address."""
    if not is_number(number) or not 0 <= number <= 0xFFFFFFFF or number != int(number):
        return warn(ctx, "IPV4_FROM_NUMBER")
    return str(ipaddress.IPv4Address(int(number)))


@FUNCTIONS.define("IPV4_TO_NUMBER")
def ipv4_to_number(ctx: CallContext, text: Value) -> int | None:
    """Number of a dotted IPv4 address."""
    return int(ipaddress.IPv4Address(text)) if is_ipv4(ctx, text) else warn(ctx, "IPV4_TO_NUMBER")


@FUNCTIONS.define("IS_IPV4")
def is_ipv4(ctx: CallContext, text: Value) -> bool:
    """Whether the value is a dotted IPv4 address without padding zeros."""
    return type(text) is str and bool(_IPV4.fullmatch(text)) and all(int(part) <= 255 for part in text.split("."))
