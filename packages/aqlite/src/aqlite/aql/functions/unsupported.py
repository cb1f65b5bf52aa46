"""Functions that ArangoDB has and aqlite has not: they fail with a clear error instead of as unknown names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aqlite.aql.functions.registry import Registry
from aqlite.aql.values import Value
from aqlite.errors import ArangoError

if TYPE_CHECKING:
    from aqlite.aql.context import CallContext

FUNCTIONS = Registry()

_GROUPS = {
    "geo indexes and shapes": "GEO_AREA GEO_CONTAINS GEO_INTERSECTS IS_IN_POLYGON NEAR WITHIN WITHIN_RECTANGLE",
    "full-text search": "ANALYZER BM25 BOOST EXISTS FULLTEXT LEVENSHTEIN_MATCH MINHASH MINHASH_MATCH NGRAM_MATCH "
    "OFFSET_INFO PHRASE TFIDF",
    "schema validation": "SCHEMA_GET SCHEMA_VALIDATE",
}


def _define(name: str, feature: str) -> None:
    @FUNCTIONS.define(name, deterministic=False)
    def call(ctx: CallContext, *arguments: Value) -> Value:
        raise ArangoError(9, f"{name}(): {feature}: not supported by aqlite")


for _feature, _names in _GROUPS.items():
    for _name in _names.split():
        _define(_name, _feature)
