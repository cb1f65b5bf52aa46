"""Syntax errors in ArangoDB's wording: what was not expected, what was, and where."""

from __future__ import annotations

from typing import NoReturn

from lark import Token
from lark.exceptions import UnexpectedToken

from aqlite.errors import ArangoError

MAX_NESTING = 500
"""Levels of the syntax tree; ArangoDB's own limit."""

_RESERVED = (
    "AGGREGATE ALL ALL_SHORTEST_PATHS AND ANY ASC COLLECT DESC DISTINCT FALSE FILTER FOR GRAPH IN INBOUND INSERT INTO "
    "K_PATHS K_SHORTEST_PATHS LET LIKE LIMIT NONE NOT NULL OR OUTBOUND REMOVE REPLACE RETURN SHORTEST_PATH SORT TRUE "
    "UPDATE UPSERT WINDOW WITH"
)
RESERVED_WORDS = frozenset(_RESERVED.split())
"""Words that name nothing unless they are quoted (manual: "AQL Syntax", keywords)."""

_TERMINALS = {
    "$END": "end of query string",
    "NAME": "identifier",
    "QUOTED_NAME": "identifier",
    "FUNCTION": "identifier",
    "STRING": "quoted string",
    "NUMBER": "number",
    "BIND": "bind parameter",
    "COLLECTION_BIND": "bind data source parameter",
    "IN": "IN operator",
    "NOT_IN": "IN operator",
    "LIKE_OP": "like operator",
    "EQ_OP": "== operator",
    "REL_OP": "< operator",
    "REGEX_OP": "=~ operator",
    "OR": "OR operator",
    "AND": "AND operator",
    "NOT": "not operator",
    "PLUS": "+ operator",
    "MINUS": "- operator",
    "STAR": "* operator",
    "STARS": "* operator",
    "SLASH": "/ operator",
    "PERCENT": "% operator",
    "SORT_ORDER": "sort order",
    "DIRECTION": "graph direction",
    "LPAR": "(",
    "RPAR": ")",
    "LSQB": "[",
    "RSQB": "]",
    "LBRACE": "{",
    "RBRACE": "}",
    "COMMA": ",",
    "COLON": ":",
    "DOT": ".",
    "EQUAL": "assignment",
    "QUESTION": "?",
    "__ANON_0": ".. operator",
}
_DECLARATION_WORDS = "COLLECT FILTER FOR INSERT LET LIMIT REMOVE REPLACE RETURN SORT UPDATE UPSERT WINDOW"
_DECLARATIONS = frozenset(_DECLARATION_WORDS.split())
_NEAR_CHARS = 32
_SHOWN_ALTERNATIVES = 4


class QuerySyntaxError(Exception):
    """Raised by the tree builder, which knows a token but not the whole text."""

    def __init__(self, what: str, token: Token | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.token = token


def nested_too_deep() -> ArangoError:
    """Error 1524."""
    return ArangoError(1524, f"AQL: query nesting too deep: more than {MAX_NESTING} levels (while parsing)")


def fail_at_token(text: str, error: UnexpectedToken) -> NoReturn:
    """Raise error 1501 for a token that the grammar does not allow there."""
    names = sorted({terminal_name(name) for name in error.accepts or ()})
    expecting = f", expecting {' or '.join(names)}" if 0 < len(names) <= _SHOWN_ALTERNATIVES else ""
    at_end = error.token.type == "$END"
    fail(
        text, f"unexpected {terminal_name(error.token.type)}{expecting}", len(text) if at_end else error.token.start_pos
    )


def fail_at_character(text: str, position: int) -> NoReturn:
    """Raise error 1501 for text that is no token."""
    char = text[position]
    if char in "\"'":
        what = "unterminated string literal"
    elif char in "`´":
        what = "unterminated identifier"
    else:
        what = f"unexpected character '{char}'"
    fail(text, what, position)


def terminal_name(terminal: str) -> str:
    """What ArangoDB calls a token of the grammar."""
    if terminal in _DECLARATIONS:
        return f"{terminal} declaration"
    return _TERMINALS.get(terminal) or f"{terminal.replace('_', ' ')} keyword"


def fail(text: str, what: str, position: int) -> NoReturn:
    """Raise error 1501 with line and column, both counted from 1."""
    line = text.count("\n", 0, position) + 1
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    near = text[position:]
    if len(near) > _NEAR_CHARS:
        near = near[: _NEAR_CHARS - 3] + "..."
    raise ArangoError(1501, f"AQL: syntax error, {what} near '{near}' at position {line}:{column} (while parsing)")
