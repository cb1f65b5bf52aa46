"""The AQL parser: precedence, literals, names, errors with their place, and text to tree and back."""

from __future__ import annotations

import string

import pytest
from aql_strategies import expressions, queries
from aql_text import text_of
from hypothesis import given, settings
from hypothesis import strategies as st

from aqlite.aql import ast, parse_query
from aqlite.aql.parser import parse
from aqlite.errors import ArangoError


def returned(expression: str) -> ast.Expr:
    """Tree of one expression."""
    return parse(f"RETURN {expression}").body.statements[0].value


@pytest.mark.parametrize(
    ("text", "grouped"),
    [
        ("1 + 2 * 3", "1 + (2 * 3)"),
        ("1 - 2 - 3", "(1 - 2) - 3"),
        ("8 / 4 % 3", "(8 / 4) % 3"),
        ("1..2 + 3", "1..(2 + 3)"),
        ("1..3 < 4", "(1..3) < 4"),
        ("1 < 2 == true", "(1 < 2) == true"),
        ("1 IN [1] == true", "(1 IN [1]) == true"),
        ("1 < 2 IN [true]", "(1 < 2) IN [true]"),
        ("1 == 2 && 3 == 4", "(1 == 2) && (3 == 4)"),
        ("1 || 2 && 3", "1 || (2 && 3)"),
        ("1 OR 2 and 3", "1 || (2 && 3)"),
        ("NOT a IN b", "(NOT a) IN b"),
        ("NOT a == b", "(NOT a) == b"),
        ("!a.b", "!(a.b)"),
        ("-a[0]", "-(a[0])"),
        ("- 2 + 3", "(-2) + 3"),
        ("a ? b : c ? d : e", "a ? b : (c ? d : e)"),
        ("a ? b ? 1 : 2 : 3", "a ? (b ? 1 : 2) : 3"),
        ("a || b ? c : d", "(a || b) ? c : d"),
        ("a ?: b ?: c", "a ?: (b ?: c)"),
        ("a ALL == b && c", "(a ALL == b) && c"),
        ("a == b LIKE c", "(a == b) LIKE c"),
        ("a NOT IN b NOT IN c", "(a NOT IN b) NOT IN c"),
        ("a =~ b == c", "(a =~ b) == c"),
        ("a.b[*].c == 1", "(a.b[*].c) == 1"),
    ],
)
def test_precedence(text: str, grouped: str) -> None:
    assert returned(text) == returned(grouped)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("0x1F", 31),
        ("0b101", 5),
        ("1.5e3", 1500.0),
        (".5", 0.5),
        ("2E-2", 0.02),
        ("18446744073709551615", 18446744073709551616.0),
        ("18446744073709551616", 1.8446744073709552e19),
        ("'it''s'".replace("''", "\\'"), "it's"),
        (r'"tab\tnew\nline"', "tab\tnew\nline"),
        (r"'\u00e4\/\\\q'", "ä/\\q"),
        (r"'\ud83d\ude00'", "😀"),
        (r"'\ud83d'", "\ufffd"),
        ('"line\nbreak"', "line\nbreak"),
        ("tRuE", True),
        ("Null", None),
    ],
)
def test_literals(text: str, value: object) -> None:
    node = returned(text)
    assert node == ast.Literal(value)
    assert type(node.value) is type(value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("`filter`", "filter"),
        ("´for´", "for"),
        ("`a b`", "a b"),
        (r"`tick\`s`", "tick`s"),
        ("_x1", "_x1"),
        ("$x", "$x"),
        ("count", "count"),
        ("keep", "keep"),
        ("options", "options"),
        ("to", "to"),
        ("search", "search"),
        ("formula", "formula"),
        ("nothing", "nothing"),
        ("inner_", "inner_"),
    ],
)
def test_names(text: str, name: str) -> None:
    assert returned(text) == ast.Name(name)
    assert returned(f"x.{text}") == ast.Attribute(ast.Name("x"), name)


def test_comments_and_white_space_mean_nothing() -> None:
    text = "// one\nFOR/* two\n */x IN[1]//three\r\n  RETURN x /**/"
    assert parse(text) == parse("FOR x IN [1] RETURN x")


def test_expansions_nest_and_flatten() -> None:
    current = ast.Name("CURRENT")
    inner = ast.Expansion(ast.Attribute(current, "b"), 1, tail=ast.Attribute(current, "c"))
    assert returned("a[*].b[*].c") == ast.Expansion(ast.Name("a"), 1, tail=inner)
    first = ast.Expansion(ast.Name("a"), 1, tail=ast.Attribute(current, "b"))
    assert returned("a[*].b[**].c") == ast.Expansion(first, 2, tail=ast.Attribute(current, "c"))
    assert returned("(a[*].b)[0]") == ast.Index(first, ast.Literal(0))


@pytest.mark.parametrize("separator", ["IN", "INTO"])
def test_target_of_a_write(separator: str) -> None:
    for key in ("d", "{a: 1} || {}", "a ? b : c", "x == y", "1 IN [2]"):
        text = f"REMOVE {key} {separator} c"
        assert parse(text).body.statements == (ast.Remove(returned(key), ast.Name("c")),)


@pytest.mark.parametrize(
    ("text", "what", "place"),
    [
        ("RETURN", "unexpected end of query string", "1:7"),
        ("RETURN 1 2", "unexpected number", "1:10"),
        ("RETURN 1 +", "unexpected end of query string", "1:11"),
        ("FOR x IN y", "unexpected end of query string", "1:11"),
        ("FOR x IN [1]\n  FILTR x\nRETURN x", "unexpected identifier", "2:3"),
        ("RETURN 1 FOR", "unexpected FOR declaration, expecting end of query string", "1:10"),
        ("RETURN d.filter", "unexpected FILTER declaration", "1:10"),
        ("LET for = 1 RETURN 1", "unexpected FOR declaration", "1:5"),
        ("RETURN {a:}", "unexpected }", "1:11"),
        ("RETURN [1,,2]", "unexpected ,", "1:11"),
        ("RETURN 'abc", "unterminated string literal", "1:8"),
        ("RETURN `abc", "unterminated identifier", "1:8"),
        ("RETURN #", "unexpected character '#'", "1:8"),
        ("RETURN 0x", "unexpected", "1:8"),
        ("RETURN 12abc", "unexpected", "1:8"),
        ("RETURN (UPDATE x)", "expecting IN or INTO", "1:9"),
        ("UPDATE x WITH (y IN c)", "expecting IN or INTO", "1:1"),
        ("COLLECT RETURN 1", "unexpected COLLECT declaration", "1:1"),
        ("FOR a, b, c, d IN OUTBOUND 'x/1' e RETURN a", "unexpected fourth variable", "1:1"),
        ("FOR a, b IN [1] RETURN a", "unexpected multiple variables", "1:1"),
        ("FOR p IN 1..2 OUTBOUND K_SHORTEST_PATHS 'x/1' TO 'x/2' e RETURN p", "unexpected depth range", "1:24"),
        ("RETURN x[? 1]", "unexpected quantifier without FILTER", "1:10"),
        ("RETURN (1", "unexpected end of query string", "1:10"),
        ("RETURN FOR(1)", "unexpected FOR", "1:8"),
    ],
)
def test_syntax_errors_name_the_place(text: str, what: str, place: str) -> None:
    with pytest.raises(ArangoError, match="syntax error") as caught:
        parse(text)
    assert caught.value.error_num == 1501
    assert caught.value.http == 400
    assert what in caught.value.message
    assert f"at position {place} (while parsing)" in caught.value.message


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_empty_query(text: str) -> None:
    with pytest.raises(ArangoError, match="empty") as caught:
        parse(text)
    assert caught.value.error_num == 1502


@pytest.mark.parametrize("text", ["// only a comment", "/* x */"])
def test_query_of_comments(text: str) -> None:
    with pytest.raises(ArangoError, match="unexpected end of query string"):
        parse(text)


@pytest.mark.parametrize(
    ("opening", "inside", "closing"),
    [
        ("[", "", "]"),
        ("{a: ", "1", "}"),
        ("- ", "1", ""),
        ("ABS(", "1", ")"),
        ("(RETURN ", "1", ")"),
        ("1 + ", "1", ""),
        ("1 && ", "1", ""),
        ("1 ? 1 : ", "1", ""),
        ("[1][? FILTER ", "1", "]"),
    ],
)
def test_nesting_is_bounded(opening: str, inside: str, closing: str) -> None:
    with pytest.raises(ArangoError, match="nesting too deep") as caught:
        parse("RETURN " + opening * 1_500 + inside + closing * 1_500)
    assert caught.value.error_num == 1524
    shallow = "RETURN " + opening * 150 + inside + closing * 150
    assert parse(shallow).body.statements


def test_brackets_and_expansions_do_not_exhaust_the_stack() -> None:
    assert returned("(" * 10_000 + "1" + ")" * 10_000) == ast.Literal(1)
    with pytest.raises(ArangoError, match="nesting too deep"):
        parse("RETURN " + "[" * 10_000 + "]" * 10_000)
    with pytest.raises(ArangoError, match="nesting too deep"):
        parse("RETURN x" + "[*]" * 10_000)
    with pytest.raises(ArangoError, match="unexpected end of query string"):
        parse("RETURN " + "[" * 10_000)


def test_parse_query_lists_collections_and_parameters() -> None:
    parsed = parse_query(
        "WITH w FOR a IN c LET k = (FOR x IN a.list RETURN x) FOR v IN OUTBOUND @s e, INBOUND f "
        "FILTER a.x == @v UPDATE a WITH {n: @@never} IN d"
    )
    assert parsed.collections == ["c", "d", "e", "f", "w"]
    assert sorted(parsed.bind_vars) == ["@never", "s", "v"]
    assert parsed.ast[0]["type"] == "query"


# --- round trip -----------------------------------------------------------------------------------------------
@settings(max_examples=80, deadline=None)
@given(expressions)
def test_expressions_survive_the_round_trip(expression: ast.Expr) -> None:
    assert returned(text_of(expression)) == expression


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(max_examples=50, deadline=None)
@given(queries)
def test_queries_survive_the_round_trip(query: ast.Query) -> None:
    assert parse(text_of(query)) == query


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=string.printable, max_size=60) | st.text(max_size=30))
def test_any_text_parses_or_is_refused(text: str) -> None:
    assert error_number(text) in (None, 1501, 1502, 1504)


def error_number(text: str) -> int | None:
    """Number of the error that a text gives; None when it parses."""
    try:
        parse(text)
    except ArangoError as error:
        return error.error_num
    return None
