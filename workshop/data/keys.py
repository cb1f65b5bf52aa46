"""Document keys for ids of any kind: what a shop or a catalogue calls its things may be any text."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote

from workshop.errors import DataInvalidError

MOST_BYTES = 120
"""ArangoDB takes keys of 254 bytes; an edge's key names two."""
_ESCAPE = "="
"""In the place of a URL's ``%``, which drivers that put a key into a URL as it is would take for their own."""
_UNQUOTED = "_-.@()+,;$!*'"
_PLAIN = re.compile(rf"[A-Za-z0-9{re.escape(_UNQUOTED)}]{{1,{MOST_BYTES}}}")


def document_key(identifier: str) -> str:
    """An ArangoDB ``_key`` for an id; equal for equal ids, and different for different ones.

    Ids of letters, digits and most punctuation stay as they are. Of other characters the UTF-8 bytes are written as
    ``=2F``, and a key that would be too long ends in a hash.

    Raises:
        DataInvalidError: the id is empty.
    """
    if not identifier:
        raise DataInvalidError("an id is empty", hint="every product, film or person needs one")
    if _PLAIN.fullmatch(identifier):
        return identifier
    encoded = quote(identifier, safe=_UNQUOTED).replace("~", "%7E").replace("%", _ESCAPE)
    if len(encoded) <= MOST_BYTES:
        return encoded
    digest = hashlib.sha256(identifier.encode()).hexdigest()[:24]
    return f"{encoded[: MOST_BYTES - len(digest) - 2]}=={digest}"


def pair_key(first: str, second: str) -> str:
    """The ``_key`` of an edge between two keys, different for different pairs."""
    return f"{first.replace(':', '=3A')}:{second.replace(':', '=3A')}"
