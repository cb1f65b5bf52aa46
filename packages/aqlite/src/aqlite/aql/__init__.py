"""AQL, ArangoDB's query language: parse, explain and run queries over a ``StoreView``."""

from aqlite.aql.execute import (
    ParsedQuery,
    QueryOptions,
    QueryResult,
    explain_query,
    parse_query,
    query_collections,
    run_query,
)
from aqlite.aql.parser import build_parser
from aqlite.aql.runtime import Statistics

__all__ = [
    "ParsedQuery",
    "QueryOptions",
    "QueryResult",
    "Statistics",
    "build_parser",
    "explain_query",
    "parse_query",
    "query_collections",
    "run_query",
]
