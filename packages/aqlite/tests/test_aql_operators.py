"""AQL expressions: operators, access, expansion, inline filters; and against plain Python on random arithmetic."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from aql_support import Database
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(tmp_path_factory.mktemp("operators"))
    yield database
    database.close()


LOGIC = [
    ("1 && 2", 2),
    ("0 && 2", 0),
    ("null && 2", None),
    ("'' || 'x'", "x"),
    ("[] || 1", []),
    ("false || null", None),
    ("!0", True),
    ("!!{}", True),
    ("NOT 'a'", False),
    ("true ? 1 : 2", 1),
    ("'' ? 1 : 2", 2),
    ("null ?: 'else'", "else"),
    ("5 ?: 'else'", 5),
    ("false && FAIL('never')", False),
    ("1 || FAIL('never')", 1),
    ("true ? 1 : FAIL('never')", 1),
]
COMPARISON = [
    ("null < false", True),
    ("true < 0", True),
    ("9e300 < ''", True),
    ("'z' < []", True),
    ("[9] < {}", True),
    ("1 == 1.0", True),
    ("1 == '1'", False),
    ("0 == null", False),
    ("[1, null] == [1]", True),
    ("{a: 1, b: null} == {a: 1}", True),
    ("{a: 1, b: 2} == {b: 2, a: 1}", True),
    ("[1, 2] < [1, 3]", True),
    ("{a: 2} > {b: 1}", True),
    ("1 != 2", True),
    ("2 >= 2", True),
    ("2 IN [1, 2]", True),
    ("2 IN 1..3", True),
    ("1 IN 'abc'", False),
    ("1 NOT IN 'abc'", False),
    ("1 NOT IN [2]", True),
    ("null IN [null]", True),
    ("[1] IN [[1], 2]", True),
    ("'abc' LIKE 'a%'", True),
    ("'abc' LIKE 'A%'", False),
    ("'abc' LIKE '_b_'", True),
    ("'a%c' LIKE 'a\\\\%c'", True),
    ("'abc' NOT LIKE 'b%'", True),
    ("'abc' =~ '^a.c$'", True),
    ("'abc' !~ 'z'", True),
]
QUANTIFIED = [
    ("[1, 2, 3] ALL > 0", True),
    ("[1, 2, 3] ANY == 2", True),
    ("[1, 2, 3] NONE == 4", True),
    ("[1, 2, 3] ANY IN [3, 9]", True),
    ("[1, 2] ALL NOT IN [3]", True),
    ("[1, 2, 3] AT LEAST (2) >= 2", True),
    ("[1, 2, 3] AT LEAST (3) >= 2", False),
    ("[] ALL == 1", True),
    ("[] ANY == 1", False),
    ("[] NONE == 1", True),
    ("[] AT LEAST (0) == 1", True),
    ("1 ALL == 1", False),
    ("null NONE == 1", False),
    ("['ab', 'ac'] ALL LIKE 'a%'", True),
]
ARITHMETIC = [
    ("1 + '2'", 3),
    ("1 + null", 1),
    ("1 + 'x'", 1),
    ("1 + true", 2),
    ("1 + [5]", 6),
    ("1 + [5, 6]", 1),
    ("1 + {}", 1),
    ("7 / 2", 3.5),
    ("8 / 2", 4),
    ("-7 % 3", -1),
    ("7 % -3", 1),
    ("5.5 % 2", 1.5),
    ("-'3'", -3),
    ("+'3'", 3),
    ("-null", 0),
    ("2 * 3 + 4", 10),
    ("2 + 3 * 4", 14),
    ("1e308 * 10", None),
    ("9223372036854775807 + 1", 9223372036854775808),
    ("18446744073709551615 + 1", 18446744073709551616.0),
    ("3..1", [3, 2, 1]),
    ("1.9..'3'", [1, 2, 3]),
]
ACCESS = [
    ("{a: {b: 1}}.a.b", 1),
    ("{a: 1}['a']", 1),
    ("{a: 1}.b.c", None),
    ("[1, 2, 3][0]", 1),
    ("[1, 2, 3][-1]", 3),
    ("[1, 2, 3][3]", None),
    ("[1, 2, 3][-4]", None),
    ("[1, 2, 3]['1']", 2),
    ("[1, 2, 3]['x']", None),
    ("[1, 2, 3][1.9]", 2),
    ("{'1': 'one'}[1]", "one"),
    ("[1, 2][null]", None),
    ("{[CONCAT('a', 'b')]: 1, [1 + 1]: 2}", {"ab": 1, "2": 2}),
    ("@list[1]", 20),
    ("@object.@name", "bound"),
    ("@object.@path", "deep"),
    ("{@name: 1}", {"attr": 1}),
]
EXPANSION = [
    ("[{n: 1}, {n: 2}][*].n", [1, 2]),
    ("[{n: 1}, 5, null][*].n", [1, None, None]),
    ("(null)[*].n", []),
    ("{a: 1}[*]", []),
    ("[[1, 2], [3]][*][0]", [1, 3]),
    ("[{f: [{n: 1}, {n: 2}]}, {f: [{n: 3}]}][*].f[*].n", [[1, 2], [3]]),
    ("[{f: [{n: 1}, {n: 2}]}, {f: [{n: 3}]}][*].f[**].n", [1, 2, 3]),
    ("[[1, [2]], [[3]]][**]", [1, [2], [3]]),
    ("[[1, [2]], [[3]]][***]", [1, 2, 3]),
    ("([{n: 1}, {n: 2}][*].n)[1]", 2),
    ("(1..6)[* FILTER CURRENT % 2 == 0]", [2, 4, 6]),
    ("(1..6)[* LIMIT 2]", [1, 2]),
    ("(1..6)[* FILTER CURRENT > 2 LIMIT 1, 2]", [4, 5]),
    ("(1..3)[* RETURN CURRENT * 10]", [10, 20, 30]),
    ("[{n: 1}, {n: 2}][* RETURN {x: CURRENT}].x.n", [1, 2]),
    ("(1..3)[* RETURN (1..CURRENT)[* FILTER CURRENT > 1]]", [[], [2], [2, 3]]),
    ("[1, 2, 3][? FILTER CURRENT > 2]", True),
    ("[1, 2, 3][? FILTER CURRENT > 3]", False),
    ("[][?]", False),
    ("[0][?]", True),
    ("[1, 2, 3][? 2 FILTER CURRENT > 1]", True),
    ("[1, 2, 3][? 1 FILTER CURRENT > 1]", False),
    ("[1, 2, 3][? 1..2 FILTER CURRENT > 1]", True),
    ("[1, 2, 3][? ALL FILTER CURRENT > 0]", True),
    ("[1, 2, 3][? ANY FILTER CURRENT == 2]", True),
    ("[1, 2, 3][? NONE FILTER CURRENT > 3]", True),
    ("[1, 2, 3][? AT LEAST (2) FILTER CURRENT > 1]", True),
    ("('abc')[? FILTER true]", False),
]
BOUND = {"list": [10, 20], "object": {"attr": "bound", "a": {"b": "deep"}}, "name": "attr", "path": ["a", "b"]}


@pytest.mark.parametrize(("expression", "expected"), LOGIC + COMPARISON + QUANTIFIED + ARITHMETIC + ACCESS + EXPANSION)
def test_expression(db: Database, expression: str, expected: Any) -> None:
    used = {name: value for name, value in BOUND.items() if f"@{name}" in expression}
    assert same(db.value(expression, used), expected)


@pytest.mark.parametrize(("expression", "expected"), [*LOGIC, *COMPARISON, *ARITHMETIC, *QUANTIFIED])
def test_expression_of_loop_variables(db: Database, expression: str, expected: Any) -> None:
    """The same operators where the compiler cannot know any operand: constants go through a loop variable."""
    rows = db.rows(f"FOR one IN [1, 2] LET wrapped = [{expression}, one] RETURN wrapped")
    assert [same(row[0], expected) for row in rows] == [True, True]


def same(left: Any, right: Any) -> bool:
    """Equal, and bool only equals bool."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True) or (
        type(left) in (int, float) and type(right) in (int, float) and left == right
    )


@pytest.mark.parametrize(
    ("expression", "number"),
    [("1 / 0", 1562), ("1 % 0", 1562), ("1 / null", 1562)],
)
def test_warnings(db: Database, expression: str, number: int) -> None:
    result = db.result(f"RETURN {expression}")
    assert result.rows == [None]
    assert [warning["code"] for warning in result.warnings] == [number]


# --- against plain Python -------------------------------------------------------------------------------------
numbers = st.integers(-50, 50)
operands = numbers.map(str) | st.sampled_from(["a", "b", "c"])
arithmetic = st.recursive(
    operands,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*"), inner) | st.builds("(-({}))".format, inner)
    ),
    max_leaves=12,
)
tests = st.builds("({} {} {})".format, arithmetic, st.sampled_from(["<", "<=", "==", "!=", ">=", ">"]), arithmetic)
conditions = st.recursive(
    tests,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner)
        | st.builds("(not {})".format, inner)
    ),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(arithmetic, conditions, numbers, numbers, numbers)
def test_arithmetic_and_logic_agree_with_python(
    db: Database, formula: str, condition: str, a: int, b: int, c: int
) -> None:
    names = {"a": a, "b": b, "c": c}
    query = f"FOR a IN [@a] FOR b IN [@b] LET c = @c RETURN [{formula}, {condition} ? 1 : 0]"
    expected = [eval(formula, {}, names), int(eval(condition, {}, names))]
    assert db.rows(query, names) == [expected]


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "B", "ä", "10"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "y"]), inner, max_size=2),
    max_leaves=5,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(values, max_size=6), values)
def test_array_operators_agree_with_comparisons_one_by_one(db: Database, items: list, value: Any) -> None:
    query = """
        LET equal = LENGTH(FOR item IN @items FILTER item == @value RETURN 1)
        RETURN [
            (@value IN @items) == (equal > 0),
            (@items ANY == @value) == (equal > 0),
            (@items ALL == @value) == (equal == LENGTH(@items)),
            (@items NONE == @value) == (equal == 0),
            @items[? equal FILTER CURRENT == @value],
            LENGTH(@items[* FILTER CURRENT == @value]) == equal,
            LENGTH(FOR item IN @items FILTER item < @value || item == @value || item > @value RETURN 1)
                == LENGTH(@items)
        ]
    """
    assert db.rows(query, {"items": items, "value": value}) == [[True] * 7]
