"""AQL's type order, equality, casts, arithmetic and patterns."""

import functools
import itertools
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aqlite.aql import values as v
from aqlite.aql.context import CallContext
from aqlite.aql.patterns import like, regex_test
from aqlite.errors import ArangoError

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.text(alphabet="aAbBäÄzß -_1é", max_size=4)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "ab", "_k"]), inner),
    max_leaves=8,
)


# --- order ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("smaller", "greater"),
    [
        *itertools.combinations([None, False, True, 0, "", " ", "0", "abc", [], {}], 2),
        ([], [0]),
        ([1], [2]),
        ([1, 2], [2]),
        ([99, 99], [100]),
        ([False], [True]),
        ([False, 1], [False, ""]),
        ({}, {"a": 1}),
        ({"a": 1}, {"a": 2}),
        ({"b": 1}, {"a": 0}),
        ({"a": {"c": True}}, {"a": {"c": 0}}),
        ({"a": {"c": True, "a": 0}}, {"a": {"c": False, "a": 1}}),
        (-1.5, 0),
        (9007199254740992.0, 9007199254740993),
        (-0.5, 1),
    ],
)
def test_documented_order(smaller, greater):
    assert v.compare(smaller, greater) == -1
    assert v.compare(greater, smaller) == 1
    assert v.sort_key(smaller) < v.sort_key(greater)
    assert v.less(smaller, greater)
    assert v.less_equal(smaller, greater)
    assert not v.less(greater, smaller)
    assert not v.equals(smaller, greater)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({}, {"a": None}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ([], [None]),
        ([1, None], [1]),
        (1, 1.0),
        (0.0, -0.0),
        ([{"a": [1.0]}], [{"a": [1, None]}]),
    ],
)
def test_equal_although_written_differently(left, right):
    assert v.compare(left, right) == 0
    assert v.equals(left, right)
    assert v.sort_key(left) == v.sort_key(right)
    assert v.equality_key(left) == v.equality_key(right)


@pytest.mark.parametrize(("left", "right"), [(True, 1), (0, False), ("1", 1), (None, False), ([True], [1]), ("", None)])
def test_no_implicit_casts_in_equality(left, right):
    assert not v.equals(left, right)
    assert v.equality_key(left) != v.equality_key(right)


def test_strings_sort_like_a_dictionary():
    words = [
        "zebra",
        "Äpfel",
        "apple",
        "Apple",
        "_x",
        "10",
        "2",
        "",
        "älter",
        "é",
        "e",
        "E",
        "f",
        "naïve",
        "naive",
        "-",
    ]
    expected = ["", "_x", "-", "10", "2", "älter", "Äpfel", "apple", "Apple"]
    expected += ["e", "E", "é", "f", "naive", "naïve", "zebra"]
    assert v.sorted_values(words) == expected
    assert v.sorted_values(["b", "A", "a", "B", "ä"]) == ["a", "A", "ä", "b", "B"]
    assert v.sorted_values(["ß", "st", "sr"]) == ["sr", "ß", "st"]


def test_sorted_values_of_mixed_types():
    mixed = [{"a": 1}, "b", 2, None, [1], True, 1.5, "a", False]
    assert v.sorted_values(mixed) == [None, False, True, 1.5, 2, "a", "b", [1], {"a": 1}]
    assert v.sorted_values([3, 1.5, 2], reverse=True) == [3, 2, 1.5]


@given(VALUES, VALUES)
def test_order_is_antisymmetric_and_agrees_with_keys(left, right):
    order = v.compare(left, right)
    assert v.compare(right, left) == -order
    left_key, right_key = v.sort_key(left), v.sort_key(right)
    assert (left_key > right_key) - (left_key < right_key) == order
    assert v.equals(left, right) == (order == 0)
    assert (v.equality_key(left) == v.equality_key(right)) == (order == 0)
    assert v.less(left, right) == (order < 0)
    assert v.less_equal(left, right) == (order <= 0)


@given(VALUES, VALUES, VALUES)
def test_order_is_transitive(first, second, third):
    low, middle, high = sorted([first, second, third], key=functools.cmp_to_key(v.compare))
    assert v.compare(low, middle) <= 0
    assert v.compare(middle, high) <= 0
    assert v.compare(low, high) <= 0


@given(st.lists(SCALARS, max_size=8))
def test_sorted_values_agrees_with_compare(items):
    assert v.sorted_values(items) == sorted(items, key=functools.cmp_to_key(v.compare))


@given(VALUES, st.lists(VALUES, max_size=4))
def test_contains_is_a_search_by_equality(wanted, items):
    assert v.contains(items, wanted) == any(v.equals(item, wanted) for item in items)
    assert not v.contains(None, wanted)


# --- casts ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value", "number"),
    [
        (None, 0),
        (False, 0),
        (True, 1),
        (-4.5, -4.5),
        ("99", 99),
        (" \t-1.5e2\n", -150.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("foo", 0),
        ("1 2", 0),
        ("", 0),
        ("1e999", 0),
        ("0x10", 0),
        ("١", 0),
        ("9" * 30, 1e30),
        ([], 0),
        ([7], 7),
        ([["8"]], 8),
        ([2, 4], 0),
        ({}, 0),
        ({"a": 1}, 0),
    ],
)
def test_to_number(value, number):
    assert v.to_number(value) == number
    assert type(v.to_number(value)) is type(number)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (123, "123"),
        (-1.23, "-1.23"),
        (1.0, "1"),
        (0.0000002, "2e-7"),
        (0.00001234, "0.00001234"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        ("x", "x"),
        ([1, 2.0, "a"], '[1,2,"a"]'),
        ({"foo": "bar", "baz": None}, '{"foo":"bar","baz":null}'),
    ],
)
def test_to_string(value, text):
    assert v.to_string(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1))
def test_numbers_survive_text(number):
    assert v.parse_number(v.number_text(number)) == number


@pytest.mark.parametrize("value", [None, False, 0, 0.0, -0.0, ""])
def test_falsy(value):
    assert not v.truthy(value)


@pytest.mark.parametrize("value", [True, -1, 0.1, " ", "0", [], {}, [0], {"a": None}])
def test_truthy(value):
    assert v.truthy(value)


def test_to_array():
    assert v.to_array(None) == []
    assert v.to_array("foo") == ["foo"]
    assert v.to_array([1]) == [1]
    assert v.to_array({"foo": 1, "baz": [3]}) == [1, [3]]


def test_json_of_a_value_nested_too_deep_is_a_resource_error():
    deep = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ArangoError, match="nested too deep") as error:
        v.to_json(deep)
    assert error.value.error_num == 32


# --- arithmetic -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("operation", "left", "right", "result"),
    [
        (v.add, 1, "a", 1),
        (v.add, 1, "99", 100),
        (v.add, None, 1, 1),
        (v.add, 3, [], 3),
        (v.add, 24, [2], 26),
        (v.add, 24, [2, 4], 24),
        (v.subtract, 25, None, 25),
        (v.subtract, 17, True, 16),
        (v.multiply, 23, {}, 0),
        (v.multiply, 5, [7], 35),
        (v.add, 2**63, 2**63, float(2**64)),
        (v.multiply, 1e200, 1e200, None),
        (v.multiply, 2**62, 2**62, float(2**124)),
        (v.add, 1e308, 1e308, None),
    ],
)
def test_arithmetic_casts_and_overflows(operation, left, right, result):
    assert operation(left, right) == result
    assert type(operation(left, right)) is type(result)


@pytest.mark.parametrize(
    ("operation", "left", "right", "result"),
    [
        (v.divide, 24, "12", 2),
        (v.divide, 1, 4, 0.25),
        (v.divide, 13.0, 0.1, 130),
        (v.divide, 1e308, 1e-308, None),
        (v.modulo, 23, 7, 2),
        (v.modulo, -7, 3, -1),
        (v.modulo, 7, -3, 1),
        (v.modulo, 5.5, 2, 1.5),
    ],
)
def test_division(operation, left, right, result):
    ctx = CallContext()
    quotient = operation(ctx, left, right)
    assert quotient == pytest.approx(result)
    assert type(quotient) is type(result)
    assert ctx.warnings == []


@pytest.mark.parametrize("operation", [v.divide, v.modulo])
@pytest.mark.parametrize("zero", [0, 0.0, None, "x", False, []])
def test_division_by_zero_is_null_with_a_warning(operation, zero):
    ctx = CallContext()
    assert operation(ctx, 1, zero) is None
    assert ctx.warnings == [{"code": 1562, "message": "division by zero"}]


def test_negate_casts():
    assert [v.negate(value) for value in ("5", [8], [8, 9], {})] == [-5, -8, 0, 0]


@given(VALUES, VALUES)
def test_arithmetic_never_fails_and_stays_in_range(left, right):
    ctx = CallContext()
    results = [operation(left, right) for operation in (v.add, v.subtract, v.multiply)]
    results += [operation(ctx, left, right) for operation in (v.divide, v.modulo)]
    for result in results:
        assert result is None or math.isfinite(result)
        assert type(result) is not int or v.MIN_INT <= result <= v.MAX_INT


# --- ranges, patterns, context --------------------------------------------------------------------------------
def test_ranges():
    ctx = CallContext()
    assert v.materialise_range(ctx, v.integer_range(2010, 2013)) == [2010, 2011, 2012, 2013]
    assert v.materialise_range(ctx, v.integer_range(3, 1)) == [3, 2, 1]
    assert v.materialise_range(ctx, v.integer_range(1.9, "3")) == [1, 2, 3]
    with pytest.raises(ArangoError, match="at most 10000000") as error:
        v.materialise_range(ctx, v.integer_range(0, 1e300))
    assert error.value.error_num == 32


@pytest.mark.parametrize(
    ("text", "pattern", "matches"),
    [
        ("abc", "a%", True),
        ("abc", "_bc", True),
        ("a_b_foo", "a\\_b\\_foo", True),
        ("axb", "a\\_b", False),
        ("carrot", "ca_t", False),
        ("carrot", "ca%t", True),
        ("foo bar baz", "bar", False),
        ("foo bar baz", "%bar%", True),
        ("a\nb", "a_b", True),
        ("a\nb", "%b", True),
        ("", "%", True),
        ("", "", True),
        ("a.c", "a.c", True),
        ("abc", "a.c", False),
        ("aXbXc", "a%X%c", True),
        ("100%", "100\\%", True),
        ("abab", "%ab%ab%ab%", False),
        ("ab", "%%b", True),
        (None, "%", False),
        (1, "1", False),
    ],
)
def test_like(text, pattern, matches):
    assert like(text, pattern) is matches


def test_like_ignores_case_on_request():
    assert not like("FoO", "fOo")
    assert like("FoO bAr BaZ", "fOo%bAz", ignore_case=True)


@given(st.text(alphabet="ab%_", max_size=8), st.text(alphabet="ab", max_size=8))
def test_like_agrees_with_a_plain_matcher(pattern, text):
    @functools.cache
    def matches(p, t):
        if p == len(pattern):
            return t == len(text)
        if pattern[p] == "%":
            return any(matches(p + 1, end) for end in range(t, len(text) + 1))
        return t < len(text) and pattern[p] in ("_", text[t]) and matches(p + 1, t + 1)

    assert like(text, pattern) == matches(0, 0)


@pytest.mark.parametrize("pattern", ["(", "a{99999999999}", "(?R)", "x(?1)(a)", "(?P<n>a)(?&n)", "a" * 10_001])
def test_invalid_regex_is_null_with_a_warning(pattern):
    ctx = CallContext()
    assert regex_test(ctx, "a", pattern) is None
    assert [warning["code"] for warning in ctx.warnings] == [1543]


def test_patterns_that_look_like_recursion_are_none():
    assert regex_test(CallContext(), "(1", r"^\(?1") is True
    assert regex_test(CallContext(), "ab", r"(?P<n>a)(?:b)") is True


def test_like_patterns_are_bounded():
    with pytest.raises(ArangoError, match="at most 10000") as error:
        like("a", "%a" * 5001)
    assert error.value.error_num == 32


def test_a_regex_that_backtracks_for_ever_is_stopped_at_the_deadline():
    ctx = CallContext(deadline=time.monotonic() + 0.2)
    with pytest.raises(ArangoError, match="query killed") as error:
        regex_test(ctx, "a" * 60 + "!", "(a|aa|b?)+(a|aa)+$(x+x+)+y")
    assert error.value.error_num == 1500


def test_context_keeps_ten_warnings_and_can_raise_them():
    ctx = CallContext()
    for _ in range(20):
        ctx.warn(1562, "division by zero")
    assert len(ctx.warnings) == 10
    with pytest.raises(ArangoError, match="division by zero") as error:
        v.divide(CallContext(fail_on_warning=True), 1, 0)
    assert error.value.error_num == 1562


def test_context_check_stops_after_the_deadline():
    CallContext().check()
    assert CallContext().remaining_seconds() is None
    late = CallContext(deadline=time.monotonic() - 1)
    assert late.remaining_seconds() == 0
    with pytest.raises(ArangoError, match="query killed"):
        late.check()
