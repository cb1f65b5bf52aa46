"""Type checks, control flow, database, geographic functions, the registry and the accumulators."""

import contextlib
import time
from types import SimpleNamespace

import pytest
from function_calls import call, call_with, warning_of
from hypothesis import given, settings
from hypothesis import strategies as st

from aqlite.aql.aggregates import AGGREGATES, aggregator
from aqlite.aql.context import CallContext
from aqlite.aql.functions import FUNCTIONS
from aqlite.aql.values import compare
from aqlite.errors import ArangoError

BERLIN, COLOGNE = [13.3777, 52.5163], [6.94, 50.9322]
SQUARE = [[0, 0], [1, 0], [1, 1], [0, 0]]


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("TO_BOOL", ([],), True),
        ("TO_BOOL", (-0.0,), False),
        ("TO_NUMBER", (" 12 ",), 12),
        ("TO_STRING", (None,), ""),
        ("TO_ARRAY", ({"a": 1},), [1]),
        ("TO_LIST", (5,), [5]),
        ("IS_NULL", (None,), True),
        ("IS_BOOL", (0,), False),
        ("IS_NUMBER", (True,), False),
        ("IS_NUMBER", (-4.56,), True),
        ("IS_STRING", ("",), True),
        ("IS_LIST", ([],), True),
        ("IS_ARRAY", ({},), False),
        ("IS_OBJECT", ({},), True),
        ("IS_DOCUMENT", ([],), False),
        ("IS_KEY", ("a:b-c_1@x()+,=;$!*'%.",), True),
        ("IS_KEY", ("a/b",), False),
        ("IS_KEY", ("",), False),
        ("IS_KEY", ("x" * 255,), False),
        ("IS_KEY", ("ü",), False),
        ("TYPENAME", (None,), "null"),
        ("TYPENAME", (True,), "bool"),
        ("TYPENAME", (-4.56,), "number"),
        ("TYPENAME", ("123",), "string"),
        ("TYPENAME", (["foo", True],), "array"),
        ("TYPENAME", ({"foo": None},), "object"),
        ("NOT_NULL", (None, None, 0, 1), 0),
        ("NOT_NULL", (None,), None),
        ("FIRST_LIST", ({}, [1], []), [1]),
        ("FIRST_DOCUMENT", ([1], {"a": 1}), {"a": 1}),
        ("FIRST_DOCUMENT", ([1],), None),
        ("MIN_MATCH", (True, False, 1, 2), True),
        ("MIN_MATCH", (True, False, 0, 2), False),
        ("IN_RANGE", (4, 3, 5, True, True), True),
        ("IN_RANGE", (3, 3, 5, False, True), False),
        ("IN_RANGE", ("fox", "fo", "fp", True, False), True),
        ("IN_RANGE", (5, 5, 3, True, True), False),
        ("CHECK_DOCUMENT", ({},), True),
        ("CHECK_DOCUMENT", ([],), False),
        ("ASSERT", (1, "never"), True),
        ("WARN", ("x", "never"), True),
        ("NOOPT", (1,), 1),
        ("NOEVAL", (1,), 1),
        ("PASSTHRU", ([1],), [1]),
        ("SLEEP", (0.001,), None),
        ("CURRENT_DATABASE", (), "_system"),
        ("CURRENT_USER", (), "root"),
        ("APPLY", ("SUBSTRING", ["this is a test", 0, 7]), "this is"),
        ("CALL", ("substring", "this is a test", 0, 4), "this"),
        ("APPLY", ("PI",), 3.141592653589793),
        ("DECODE_REV", ("_YU0HOEG---",), {"date": "2019-03-11T16:15:05.314Z", "count": 0}),
        ("SHARD_ID", ("c", {"a": 1}), "c"),
        ("DISTANCE", (52.5163, 13.3777, 50.9322, 6.94), 476918.89688380965),
        ("GEO_DISTANCE", (BERLIN, {"type": "Point", "coordinates": COLOGNE}), 476918.89688380965),
        ("GEO_IN_RANGE", (BERLIN, COLOGNE, 0, 500_000), True),
        ("GEO_IN_RANGE", (BERLIN, BERLIN, 0, 0, False), False),
        ("GEO_POINT", (1, 2), {"type": "Point", "coordinates": [1, 2]}),
        ("GEO_EQUALS", ({"type": "Point"}, {"type": "Point"}), True),
        ("GEO_LINESTRING", ([[0, 0], [1, 1]],), {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}),
        ("GEO_POLYGON", (SQUARE,), {"type": "Polygon", "coordinates": [SQUARE]}),
        ("GEO_MULTIPOLYGON", ([[SQUARE]],), {"type": "MultiPolygon", "coordinates": [[SQUARE]]}),
    ],
)
def test_documented_answers(name, args, expected):
    assert call(name, *args) == (pytest.approx(expected, rel=1e-9) if type(expected) is float else expected)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("DECODE_REV", ("",)),
        ("DECODE_REV", (1,)),
        ("DECODE_REV", ("a b",)),
        ("DECODE_REV", ("z" * 11,)),
        ("SLEEP", (-1,)),
        ("APPLY", ("ABS", 1)),
        ("CALL", (1,)),
        ("DISTANCE", (1, 2, 3, "4")),
        ("GEO_DISTANCE", ([1, 2], "x")),
        ("GEO_DISTANCE", ([1, 2], [1, 2], "wgs84")),
        ("GEO_POINT", (181, 0)),
        ("GEO_POINT", (0, "1")),
        ("GEO_LINESTRING", ([[0, 0]],)),
        ("GEO_POLYGON", ([[0, 0], [1]],)),
        ("GEO_MULTIPOINT", ("x",)),
        ("GEO_EQUALS", (1, {})),
        ("COLLECTION_COUNT", (1,)),
    ],
)
def test_bad_arguments_are_null_with_a_warning(name, args):
    assert warning_of(name, *args) in (1542, 1572)


@pytest.mark.parametrize(
    ("name", "args", "number"),
    [
        ("FAIL", ("reason",), 1569),
        ("FAIL", (), 1569),
        ("ASSERT", (0, "reason"), 1593),
        ("CALL", ("NO_SUCH", 1), 1540),
        ("CALL", ("ABS",), 1541),
        ("CALL", ("CALL", "ABS", 1), 1578),
        ("APPLY", ("APPLY", ["ABS"]), 1578),
    ],
)
def test_functions_that_end_the_query(name, args, number):
    with pytest.raises(ArangoError) as error:
        call(name, *args)
    assert error.value.error_num == number
    if "reason" in args:
        assert "reason" in error.value.message


def test_warn_answers_false_with_the_message():
    ctx = CallContext()
    assert call_with(ctx, "WARN", 0, "too small") is False
    assert ctx.warnings == [{"code": 1594, "message": "too small"}]


def test_sleep_ends_at_the_deadline():
    started = time.monotonic()
    with pytest.raises(ArangoError, match="query killed"):
        call_with(CallContext(deadline=started + 0.1), "SLEEP", 1e300)
    assert time.monotonic() - started < 2


# --- database -------------------------------------------------------------------------------------------------
ALICE, BOB = {"_key": "alice", "_id": "persons/alice"}, {"_key": "bob", "_id": "persons/bob"}


@pytest.fixture
def ctx():
    persons = {"alice": ALICE, "bob": BOB}
    view = SimpleNamespace(
        has_collection=lambda name: name == "persons",
        get=lambda name, key: persons.get(key),
        count=lambda name: len(persons),
        collection=lambda name: SimpleNamespace(id="42"),
        collection_names=lambda: ["persons"],
    )
    return CallContext(view=view)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("persons", "persons/alice"), ALICE),
        (("persons", "alice"), ALICE),
        (("persons", ["persons/alice", "bob", "nobody", 1]), [ALICE, BOB]),
        (("persons/bob",), BOB),
        ((["persons/bob", "x", "places/rome"],), [BOB]),
        (({"_id": "persons/bob"},), BOB),
        (("persons", "places/alice"), None),
        (("persons", "nobody"), None),
        (("places", "alice"), None),
        (("persons/alice/x",), None),
        ((None,), None),
    ],
)
def test_document(ctx, args, expected):
    assert call_with(ctx, "DOCUMENT", *args) == expected
    assert ctx.warnings == []


def test_document_wants_a_collection_name(ctx):
    assert call_with(ctx, "DOCUMENT", 1, "alice") is None
    assert [warning["code"] for warning in ctx.warnings] == [1542]


def test_collections(ctx):
    assert call_with(ctx, "COLLECTIONS") == [{"_id": "42", "name": "persons"}]
    assert call_with(ctx, "COLLECTION_COUNT", "persons") == 2


# --- registry -------------------------------------------------------------------------------------------------
def test_names_and_arities():
    assert all(name == name.upper() for name in FUNCTIONS)
    assert FUNCTIONS["AVG"] is FUNCTIONS["AVERAGE"]
    substring = FUNCTIONS["SUBSTRING"]
    assert [substring.accepts(count) for count in range(5)] == [False, False, True, True, False]
    assert FUNCTIONS["MERGE"].accepts(50)
    assert not FUNCTIONS["UNION"].accepts(1)


def test_what_depends_on_more_than_its_arguments_is_not_deterministic():
    for name in ("RAND", "UUID", "DATE_NOW", "DOCUMENT", "FAIL", "SLEEP", "NOOPT", "COLLECTION_COUNT", "CALL"):
        assert not FUNCTIONS[name].deterministic
    for name in ("ABS", "CONCAT", "DATE_ADD", "COSINE_SIMILARITY"):
        assert FUNCTIONS[name].deterministic


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["2020-01-01", "day", "P1D", "c/k", "(", "%", "Europe/Berlin"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "_id", "type"]), inner),
    max_leaves=5,
)
UNHURRIED = sorted(set(FUNCTIONS) - {"SLEEP"})


@settings(max_examples=400)
@given(st.sampled_from(UNHURRIED), st.lists(ANYTHING, min_size=7, max_size=7))
def test_no_argument_breaks_a_function(name, values):
    function = FUNCTIONS[name]
    highest = 7 if function.max_args is None else function.max_args
    for count in {min(function.min_args, 7), min(highest, 7)}:
        with contextlib.suppress(ArangoError):
            answer = function.call(CallContext(), *values[:count])
            assert compare(answer, answer) == 0, "the answer is an AQL value"


# --- accumulators ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("COUNT", [None, 1, "x"], 3),
        ("LENGTH", [], 0),
        ("MIN", [None, 3, 1, "a"], 1),
        ("MAX", [None, 3, 1, "a"], "a"),
        ("MIN", [None], None),
        ("SUM", [1, None, 2.5], 3.5),
        ("SUM", [1, "x"], None),
        ("AVERAGE", [1, None, 2], 1.5),
        ("AVG", [None], None),
        ("AVERAGE", [1, "x"], None),
        ("VARIANCE", [1, 3, 6, 5, 2], 3.44),
        ("VARIANCE_SAMPLE", [1, 3, 6, 5, 2], 4.3),
        ("VARIANCE_SAMPLE", [1], None),
        ("STDDEV", [1, 3, 6, 5, 2], 1.854723699099141),
        ("STDDEV_SAMPLE", [1, 3, 6, 5, 2], 2.0736441353327724),
        ("STDDEV", ["x"], None),
        ("UNIQUE", [2, 1, 2.0, None], [2, 1, None]),
        ("SORTED_UNIQUE", [2, 1, 2, None], [None, 1, 2]),
        ("COUNT_DISTINCT", [2, 1, 2, "2"], 3),
        ("BIT_AND", [7, None, 3], 3),
        ("BIT_OR", [1, 4], 5),
        ("BIT_XOR", [7, 3], 4),
        ("BIT_OR", [1, -4], None),
        ("PUSH", [1, None], [1, None]),
    ],
)
def test_accumulators(name, values, expected):
    state = aggregator(AGGREGATES[name])
    for value in values:
        state.add(value)
    assert state.result() == (pytest.approx(expected) if type(expected) is float else expected)


def test_accumulators_of_one_query_do_not_share_state():
    first, second = aggregator("PUSH"), aggregator("PUSH")
    first.add(1)
    assert second.result() == []
