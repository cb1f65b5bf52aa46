"""AQL text to syntax tree, by Lark's LALR parser over ``grammar.lark``."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from lark import Lark
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from aqlite.aql import ast
from aqlite.aql.syntax_errors import (
    MAX_NESTING,
    QuerySyntaxError,
    fail,
    fail_at_character,
    fail_at_token,
    nested_too_deep,
)
from aqlite.aql.tree_builder import TreeBuilder
from aqlite.errors import ArangoError

MAX_QUERY_CHARS = 64 * 2**20
_CACHED_CHARS = 16 * 2**10


def parse(text: str) -> ast.Query:
    """Parse one query.

    Raises:
        ArangoError: 1501 with line and column, 1502 for an empty text, 1524 when nested too deep, 32 when too long.
    """
    if not text.strip():
        raise ArangoError(1502, "query is empty")
    if len(text) > MAX_QUERY_CHARS:
        raise ArangoError(32, f"query string of {len(text)} characters, at most {MAX_QUERY_CHARS} are read")
    return _parse_cached(text) if len(text) <= _CACHED_CHARS else _parse(text)


def _parse(text: str) -> ast.Query:
    try:
        query = build_parser().parse(text)
    except UnexpectedToken as error:
        fail_at_token(text, error)
    except UnexpectedCharacters as error:
        fail_at_character(text, error.pos_in_stream)
    except QuerySyntaxError as error:
        fail(text, error.what, len(text) if error.token is None else error.token.start_pos)
    if ast.depth(query) > MAX_NESTING:
        raise nested_too_deep()
    return query


_parse_cached = lru_cache(maxsize=256)(_parse)


@lru_cache(maxsize=1)
def build_parser() -> Lark:
    """The parser; building its tables takes a second, the first time."""
    grammar = Path(__file__).with_name("grammar.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", transformer=TreeBuilder(), maybe_placeholders=True)
