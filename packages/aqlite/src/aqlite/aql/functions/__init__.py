"""The AQL function library: ``FUNCTIONS`` maps upper-case names to their implementations.

One module per chapter of ArangoDB's function reference. ``LENGTH(collection)`` is not told apart here: the compiler
calls ``COLLECTION_COUNT`` when the argument is written as a collection name.
"""

from __future__ import annotations

from aqlite.aql.functions import (
    arrays,
    bits,
    control,
    database,
    dates,
    encoding,
    geo,
    numeric,
    objects,
    similarity,
    statistics,
    strings,
    types,
    unsupported,
    vectors,
)
from aqlite.aql.functions.dynamic import calls_into
from aqlite.aql.functions.registry import Function, Registry

_CHAPTERS = (
    arrays,
    bits,
    control,
    database,
    dates,
    encoding,
    geo,
    numeric,
    objects,
    similarity,
    statistics,
    strings,
    types,
    unsupported,
    vectors,
)

FUNCTIONS = Registry()
for _chapter in _CHAPTERS:
    FUNCTIONS.update(_chapter.FUNCTIONS)
FUNCTIONS.update(calls_into(FUNCTIONS))

__all__ = ["FUNCTIONS", "Function", "Registry"]
