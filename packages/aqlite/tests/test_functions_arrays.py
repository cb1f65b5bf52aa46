"""Array and object functions, against the documentation's own examples and edge cases."""

import copy
import itertools

import pytest
from function_calls import call, warning_of
from hypothesis import given
from hypothesis import strategies as st

from aqlite.aql.values import compare, contains, equals
from aqlite.errors import ArangoError

NESTED = [1, 2, [3, 4], 5, [6, 7], [8, [9, 10]]]
DOC = {"foo": {"bar": {"foo": 1, "baz": 2}, "baz": 3}, "baz": 4}
STORED = {"foo": "bar", "_key": "123", "_custom": "yes"}


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("APPEND", ([1, 2, 3], [5, 6, 9]), [1, 2, 3, 5, 6, 9]),
        ("APPEND", ([1, 2, 3], [3, 4, 5, 2, 9], True), [1, 2, 3, 4, 5, 9]),
        ("APPEND", ([1], 2), [1, 2]),
        ("APPEND", (None, [1]), [1]),
        ("APPEND", ([1, 1], [], True), [1, 1]),
        ("COUNT_DISTINCT", (["yes", "no", "yes", "sauron", "no", "yes"],), 3),
        ("COUNT_UNIQUE", ([1, 1.0, True, None, None],), 3),
        ("FIRST", ([1, 2, 3],), 1),
        ("FIRST", ([],), None),
        ("LAST", ([1, 2, 3, 4, 5],), 5),
        ("LAST", ([],), None),
        ("NTH", (["foo", "bar", "baz"], 2), "baz"),
        ("NTH", (["foo", "bar", "baz"], 3), None),
        ("NTH", (["foo", "bar", "baz"], -1), None),
        ("NTH", (["foo", "bar"], 1.9), "bar"),
        ("FLATTEN", (NESTED,), [1, 2, 3, 4, 5, 6, 7, 8, [9, 10]]),
        ("FLATTEN", (NESTED, 2), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ("FLATTEN", ([[[1]]], 1e300), [1]),
        ("INTERLEAVE", ([1, 1, 1], [2, 2, 2], [3, 3, 3]), [1, 2, 3, 1, 2, 3, 1, 2, 3]),
        ("INTERLEAVE", ([1], [2, 2], [3, 3, 3]), [1, 2, 3, 2, 3, 3]),
        ("INTERSECTION", ([1, 2, 3, 4, 5], [2, 3, 4, 5, 6], [3, 4, 5, 6, 7]), [3, 4, 5]),
        ("INTERSECTION", ([2, 4, 6], [8, 10, 12]), []),
        ("INTERSECTION", ([1, {"a": None}, [1]], [{}, [1.0]]), [{"a": None}, [1]]),
        ("JACCARD", ([1, 2, 3, 4], [3, 4, 5, 6]), 1 / 3),
        ("JACCARD", ([1, 1, 2, 2, 2, 3], [2, 2, 3, 4]), 0.5),
        ("JACCARD", ([1, 2, 3], []), 0),
        ("JACCARD", ([], []), 1),
        ("LENGTH", ("🥑",), 1),
        ("LENGTH", (1234,), 4),
        ("LENGTH", ([1, 2, 3],), 3),
        ("LENGTH", ({"a": 1, "b": {"c": 2}},), 2),
        ("COUNT", (True,), 1),
        ("LENGTH", (False,), 0),
        ("LENGTH", (None,), 0),
        ("MINUS", ([1, 2, 3, 4], [3, 4, 5, 6], [5, 6, 7, 8]), [1, 2]),
        ("MINUS", ([1, 1, 2], [3]), [1, 2]),
        ("OUTERSECTION", ([1, 2, 3], [2, 3, 4], [3, 4, 5]), [1, 5]),
        ("POP", ([1, 2, 3, 4],), [1, 2, 3]),
        ("POP", ([],), []),
        ("POP", (None,), None),
        ("SHIFT", ([1, 2, 3, 4],), [2, 3, 4]),
        ("PUSH", ([1, 2, 3], 4), [1, 2, 3, 4]),
        ("PUSH", ([1, 2, 2, 3], 2, True), [1, 2, 2, 3]),
        ("PUSH", (None, 1), [1]),
        ("UNSHIFT", ([1, 2, 3], 4), [4, 1, 2, 3]),
        ("UNSHIFT", ([1, 2, 3], 2, True), [1, 2, 3]),
        ("POSITION", ([2, 4, 6, 8], 4), True),
        ("POSITION", ([2, 4, 6, 8], 4, True), 1),
        ("CONTAINS_ARRAY", ([2, True], 1, True), -1),
        ("REMOVE_NTH", (["a", "b", "c", "d", "e"], 1), ["a", "c", "d", "e"]),
        ("REMOVE_NTH", (["a", "b", "c", "d", "e"], -2), ["a", "b", "c", "e"]),
        ("REMOVE_NTH", (["a"], 5), ["a"]),
        ("REPLACE_NTH", (["a", "b", "c"], 1, "z"), ["a", "z", "c"]),
        ("REPLACE_NTH", (["a", "b", "c"], 3, "z"), ["a", "b", "c", "z"]),
        ("REPLACE_NTH", (["a", "b", "c"], 6, "z", "y"), ["a", "b", "c", "y", "y", "y", "z"]),
        ("REPLACE_NTH", (["a", "b", "c"], -1, "z"), ["a", "b", "z"]),
        ("REPLACE_NTH", (["a", "b", "c"], -9, "z"), ["z", "b", "c"]),
        ("REMOVE_VALUE", (["a", "b", "b", "a", "c"], "a"), ["b", "b", "c"]),
        ("REMOVE_VALUE", (["a", "b", "b", "a", "c"], "a", 1), ["b", "b", "a", "c"]),
        ("REMOVE_VALUES", (["a", "a", "b", "c", "d", "e", "f"], ["a", "f", "d"]), ["b", "c", "e"]),
        ("REVERSE", ([2, 4, 6],), [6, 4, 2]),
        ("SLICE", ([1, 2, 3, 4, 5], 0, 1), [1]),
        ("SLICE", ([1, 2, 3, 4, 5], 1, 2), [2, 3]),
        ("SLICE", ([1, 2, 3, 4, 5], 3), [4, 5]),
        ("SLICE", ([1, 2, 3, 4, 5], 1, -1), [2, 3, 4]),
        ("SLICE", ([1, 2, 3, 4, 5], 0, -2), [1, 2, 3]),
        ("SLICE", ([1, 2, 3, 4, 5], -3, 2), [3, 4]),
        ("SLICE", ([1, 2], 0, -5), []),
        ("SORTED", ([8, 4, "a", None, 2],), [None, 2, 4, 8, "a"]),
        ("SORTED_UNIQUE", ([8, 4, 2, 10, 6, 2, 8, 6, 4],), [2, 4, 6, 8, 10]),
        ("SORTED", ("no array",), None),
        ("UNION", ([1, 2, 3], [1, 2]), [1, 2, 3, 1, 2]),
        ("UNION_DISTINCT", ([1, 2, 3], [1, 2]), [1, 2, 3]),
        ("UNIQUE", ([1, 2, 2, 3, 3, 3],), [1, 2, 3]),
    ],
)
def test_documented_answers(name, args, expected):
    before = copy.deepcopy(args)
    assert call(name, *args) == (pytest.approx(expected) if type(expected) is float else expected)
    assert args == before, "arguments are never changed"


@pytest.mark.parametrize(
    ("name", "args", "number"),
    [
        ("APPEND", ("a", [1]), 1542),
        ("FIRST", ("abc",), 1563),
        ("LAST", ({},), 1563),
        ("NTH", (None, 0), 1563),
        ("POSITION", ("abc", "a"), 1563),
        ("FLATTEN", ("abc",), 1563),
        ("UNIQUE", (1,), 1563),
        ("UNION", ([1], None), 1542),
        ("UNION_DISTINCT", ([1], "x"), 1542),
        ("INTERSECTION", (None, [1]), 1542),
        ("MINUS", ([1], 1), 1542),
        ("OUTERSECTION", ([1], {}), 1542),
        ("JACCARD", ([1], None), 1542),
        ("INTERLEAVE", ([1], 2), 1542),
        ("PUSH", ("a", 1), 1542),
        ("POP", ("a",), 1542),
        ("SLICE", (1, 0), 1563),
    ],
)
def test_no_array_is_null_with_a_warning(name, args, number):
    assert warning_of(name, *args) == number


def test_replace_nth_without_padding_fails():
    with pytest.raises(ArangoError, match="REPLACE_NTH") as error:
        call("REPLACE_NTH", ["a"], 6, "z")
    assert error.value.error_num == 1542
    with pytest.raises(ArangoError, match="at most"):
        call("REPLACE_NTH", ["a"], 1e12, "z", 0)


ITEMS = st.lists(st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["a", 1.0, [1], {}]), max_size=6)


@given(ITEMS, ITEMS)
def test_sets_follow_their_definitions(left, right):
    both, either = call("INTERSECTION", left, right), call("UNION_DISTINCT", left, right)
    only_left = call("MINUS", left, right)
    for item in either:
        assert contains(both, item) == (contains(left, item) and contains(right, item))
    assert len(both) + len(only_left) == call("COUNT_DISTINCT", left)
    assert len(either) == len(only_left) + call("COUNT_DISTINCT", right)
    assert call("SORTED_UNIQUE", left) == call("SORTED", call("UNIQUE", left))


@given(ITEMS)
def test_sorted_is_in_order(items):
    ordered = call("SORTED", items)
    assert all(compare(low, high) <= 0 for low, high in itertools.pairwise(ordered))
    assert call("MAX", items) is None or equals(call("MAX", items), ordered[-1])


# --- objects --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("ATTRIBUTES", (STORED,), ["foo", "_key", "_custom"]),
        ("ATTRIBUTES", (STORED, True), ["foo"]),
        ("KEYS", (STORED, False, True), ["_custom", "_key", "foo"]),
        ("VALUES", ({"_id": "users/jane", "name": "Jane", "age": 35},), ["users/jane", "Jane", 35]),
        ("VALUES", ({"_id": "users/jane", "name": "Jane", "age": 35}, True), ["Jane", 35]),
        ("ENTRIES", ({"foo": "bar", "_key": "123"},), [["foo", "bar"], ["_key", "123"]]),
        ("HAS", ({"name": None}, "name"), True),
        ("HAS", ({"name": "Jane"}, "age"), False),
        ("HAS", ("no object", "age"), False),
        ("IS_SAME_COLLECTION", ("_users", "_users/my-user"), True),
        ("IS_SAME_COLLECTION", ("_users", {"_id": "something/else"}), False),
        ("KEEP", (DOC, "foo"), {"foo": DOC["foo"]}),
        ("KEEP", (DOC, "bar"), {}),
        ("KEEP", (DOC, ["foo", "baz"]), DOC),
        ("KEEP_RECURSIVE", (DOC, "foo"), {"foo": {}}),
        ("KEEP_RECURSIVE", (DOC, "foo", "bar"), {"foo": {"bar": {"foo": 1}}}),
        ("KEEP_RECURSIVE", (DOC, "foo", "baz"), {"foo": {"baz": 3}, "baz": 4}),
        ("KEEP_RECURSIVE", (DOC, ["foo", "bar", "baz"]), DOC),
        ("UNSET", (DOC, "foo"), {"baz": 4}),
        ("UNSET", (DOC, ["foo", "bar"]), {"baz": 4}),
        ("UNSET_RECURSIVE", (DOC, "bar"), {"foo": {"baz": 3}, "baz": 4}),
        ("UNSET_RECURSIVE", (DOC, ["baz"]), {"foo": {"bar": {"foo": 1}}}),
        ("MATCHES", ({"name": "jane", "age": 27}, {"age": 27}), True),
        ("MATCHES", ({"test": 1}, [{"test": 1, "foo": "bar"}, {"foo": 1}, {"test": 1}], True), 2),
        ("MATCHES", ({"test": 1}, [{"test": 2}], True), -1),
        ("MATCHES", ({}, {"missing": None}), True),
        ("MATCHES", (1, {}), False),
        ("MERGE", ({"a": {"x": 1}}, {"a": {"y": 2}}), {"a": {"y": 2}}),
        (
            "MERGE",
            ([{"foo": "bar"}, {"quux": "q", "ruled": True}, {"bar": "baz", "foo": "done"}],),
            {"foo": "done", "quux": "q", "ruled": True, "bar": "baz"},
        ),
        (
            "MERGE_RECURSIVE",
            ({"u": {"name": "Jane", "in": {"city": "LA"}}}, {"u": {"age": 42, "in": {"state": "CA"}}}),
            {"u": {"name": "Jane", "age": 42, "in": {"city": "LA", "state": "CA"}}},
        ),
        ("MERGE_RECURSIVE", ([{"a": {"b": 1}}, {"a": 2}],), {"a": 2}),
        ("PARSE_COLLECTION", ("_users/my-user",), "_users"),
        ("PARSE_IDENTIFIER", ({"_id": "c/k", "value": 1},), {"collection": "c", "key": "k"}),
        ("PARSE_KEY", ("_users/my-user",), "my-user"),
        ("TRANSLATE", ("FR", {"US": "United States", "FR": "France"}), "France"),
        ("TRANSLATE", (42, {"foo": "bar"}), 42),
        ("TRANSLATE", (42, {"foo": "bar"}, "not found!"), "not found!"),
        ("TRANSLATE", (42, {"42": True}), True),
        ("VALUE", ({"foo": {"bar": "baz"}}, ["foo", "bar"]), "baz"),
        ("VALUE", ({"foo": [{}, {"bar": {"inner": True}}]}, ["foo", 1, "bar"]), {"inner": True}),
        ("VALUE", ({"foo": [1]}, ["foo", 7]), None),
        ("VALUE", ({"foo": 1}, ["foo", "bar"]), None),
        ("ZIP", (["name", "active"], ["some user", True]), {"name": "some user", "active": True}),
        ("ZIP", (["a", "a"], [1, 2]), {"a": 1}),
    ],
)
def test_documented_object_answers(name, args, expected):
    before = copy.deepcopy(args)
    assert call(name, *args) == expected
    assert args == before, "arguments are never changed"


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("ATTRIBUTES", (1,)),
        ("VALUES", (None,)),
        ("ENTRIES", ([],)),
        ("KEEP", ("x", "a")),
        ("KEEP_RECURSIVE", ("x", "a")),
        ("UNSET", ([], "a")),
        ("UNSET_RECURSIVE", ([], "a")),
        ("MERGE", ({}, None)),
        ("MERGE_RECURSIVE", ({}, 1)),
        ("MATCHES", ({}, [])),
        ("MATCHES", ({}, 1)),
        ("PARSE_IDENTIFIER", ("nothing",)),
        ("PARSE_KEY", ("a/b/c",)),
        ("PARSE_COLLECTION", ({"name": 1},)),
        ("IS_SAME_COLLECTION", ("c", {"name": 1})),
        ("TRANSLATE", ("a", "b")),
        ("VALUE", ({}, "a")),
        ("ZIP", (["a"], [])),
        ("ZIP", ("a", [])),
    ],
)
def test_no_object_is_null_with_a_warning(name, args):
    assert warning_of(name, *args) == 1542
