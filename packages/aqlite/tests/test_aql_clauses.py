"""AQL statements that read: loops, sorting, limits, grouping, windows, subqueries; and against plain Python."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from aql_support import Database
from hypothesis import given, settings
from hypothesis import strategies as st

from aqlite.aql import QueryOptions
from aqlite.aql.values import sort_key

PEOPLE = [
    {"_key": "ann", "age": 30, "city": "Rome", "tags": ["x", "y"]},
    {"_key": "bob", "age": 25, "city": "Rome", "tags": []},
    {"_key": "cid", "age": 30, "city": "Oslo", "tags": ["y"]},
    {"_key": "dan", "age": None, "city": "Oslo"},
    {"_key": "eve", "age": 41, "city": None, "tags": ["x"]},
]


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(tmp_path_factory.mktemp("clauses"))
    database.collection("people", PEOPLE)
    yield database
    database.close()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("FOR x IN [3, 1, 2] RETURN x", [3, 1, 2]),
        ("FOR x IN 3..1 RETURN x", [3, 2, 1]),
        ("FOR p IN people RETURN p._key", ["ann", "bob", "cid", "dan", "eve"]),
        ("FOR x IN 1..2 FOR y IN x..2 RETURN [x, y]", [[1, 1], [1, 2], [2, 2]]),
        ("FOR x IN [[1, 2], [3]] FOR y IN x RETURN y", [1, 2, 3]),
        ("LET x = 2, y = x * 2 RETURN y", [4]),
        ("FOR x IN 1..5 FILTER x > 1 FILTER x < 5 RETURN x", [2, 3, 4]),
        ("FOR p IN people FILTER p.age RETURN p._key", ["ann", "bob", "cid", "eve"]),
        ("FOR p IN people FILTER p.age < 30 RETURN p._key", ["bob", "dan"]),
        ("FOR p IN people SORT p.age, p.city DESC RETURN p._key", ["dan", "bob", "ann", "cid", "eve"]),
        ("FOR p IN people SORT p.age DESC, p._key RETURN p._key", ["eve", "ann", "cid", "bob", "dan"]),
        ("FOR p IN people SORT p.age DESC, p._key LIMIT 2 RETURN p._key", ["eve", "ann"]),
        ("FOR x IN [2, 'a', null, [1], true, {a: 1}] SORT x RETURN x", [None, True, 2, "a", [1], {"a": 1}]),
        ("FOR x IN [2, 1] SORT null RETURN x", [2, 1]),
        ("FOR x IN 1..9 LIMIT 3 RETURN x", [1, 2, 3]),
        ("FOR x IN 1..9 LIMIT 7, 5 RETURN x", [8, 9]),
        ("FOR x IN 1..9 LIMIT 0 RETURN x", []),
        ("FOR x IN 1..9 LIMIT 1 + 1 RETURN x", [1, 2]),
        ("FOR x IN 1..9 LIMIT LENGTH([0, 1, 2][* FILTER CURRENT > 0]) RETURN x", [1, 2]),
        ("FOR x IN [1, 1.0, '1', 1] RETURN DISTINCT x", [1, "1"]),
        ("FOR x IN [[1], [1, null], {a: 1}, {a: 1, b: null}] RETURN DISTINCT x", [[1], {"a": 1}]),
        ("LET s = (FOR x IN 1..3 RETURN x * x) RETURN SUM(s)", [14]),
        ("FOR x IN 1..3 RETURN (FOR y IN 1..x RETURN y)", [[1], [1, 2], [1, 2, 3]]),
        ("FOR x IN 1..2 LET s = (FOR y IN 1..3 FILTER y != x RETURN y) RETURN s", [[2, 3], [1, 3]]),
        ("RETURN LENGTH(FOR x IN people FILTER x.age == 30 RETURN 1)", [2]),
        ("RETURN [LENGTH(people), COUNT(people)]", [[5, 5]]),
        ("FOR x IN (FOR y IN 1..3 SORT y DESC LIMIT 2 RETURN y) RETURN x", [3, 2]),
        ("FOR x IN 1..2 FOR y IN (FOR z IN 1..2 RETURN z * x) SORT x DESC, y RETURN [x, y]",
         [[2, 2], [2, 4], [1, 1], [1, 2]]),
        ("LET x = 1 FOR y IN 1..2 LET z = x + y SORT z DESC RETURN [x, y, z]", [[1, 2, 3], [1, 1, 2]]),
    ],
)  # fmt: skip
def test_reading(db: Database, query: str, expected: list) -> None:
    assert db.rows(query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("COLLECT c = p.city RETURN c", [None, "Oslo", "Rome"]),
        ("COLLECT c = p.city, a = p.age RETURN [c, a]",
         [[None, 41], ["Oslo", None], ["Oslo", 30], ["Rome", 25], ["Rome", 30]]),
        ("COLLECT c = p.city WITH COUNT INTO n RETURN [c, n]", [[None, 1], ["Oslo", 2], ["Rome", 2]]),
        ("COLLECT WITH COUNT INTO n RETURN n", [5]),
        ("FILTER p.age > 99 COLLECT WITH COUNT INTO n RETURN n", [0]),
        ("COLLECT c = p.city INTO g RETURN [c, g[*].p._key]",
         [[None, ["eve"]], ["Oslo", ["cid", "dan"]], ["Rome", ["ann", "bob"]]]),
        ("LET k = p._key COLLECT c = p.city INTO g KEEP k RETURN g",
         [[{"k": "eve"}], [{"k": "cid"}, {"k": "dan"}], [{"k": "ann"}, {"k": "bob"}]]),
        ("COLLECT c = p.city INTO keys = p._key RETURN keys", [["eve"], ["cid", "dan"], ["ann", "bob"]]),
        ("COLLECT AGGREGATE low = MIN(p.age), high = MAX(p.age) RETURN [low, high]", [[25, 41]]),
        ("FILTER p.age > 99 COLLECT AGGREGATE n = LENGTH(1), s = SUM(p.age), m = MAX(p.age) RETURN [n, s, m]",
         [[0, None, None]]),
        ("FILTER p.age > 99 COLLECT c = p.city RETURN c", []),
        ("COLLECT c = p.city AGGREGATE ages = UNIQUE(p.age), n = COUNT() RETURN [c, ages, n]",
         [[None, [41], 1], ["Oslo", [30, None], 2], ["Rome", [30, 25], 2]]),
        ("COLLECT c = p.city AGGREGATE s = SUM(p.age) INTO g RETURN [s, LENGTH(g)]", [[41, 1], [30, 2], [55, 2]]),
        ("COLLECT AGGREGATE d = COUNT_DISTINCT(p.age), u = SORTED_UNIQUE(p.age) RETURN [d, u]",
         [[4, [None, 25, 30, 41]]]),
        ("COLLECT AGGREGATE v = VARIANCE(p.age), s = STDDEV_SAMPLE(p.age), a = AVG(p.age) RETURN [v, s, a]",
         [[statistics.pvariance([30, 25, 30, 41]), statistics.stdev([30, 25, 30, 41]), 31.5]]),
        ("COLLECT AGGREGATE s = SUM(p.city), a = AVERAGE(p._key), v = VARIANCE(p._key) RETURN [s, a, v]",
         [[None, None, None]]),
        ("COLLECT AGGREGATE a = BIT_AND(p.age), o = BIT_OR(p.age), x = BIT_XOR(p.age) RETURN [a, o, x]",
         [[30 & 25 & 41, 30 | 25 | 41, 30 ^ 25 ^ 30 ^ 41]]),
        ("COLLECT c = p.city OPTIONS {method: 'sorted'} SORT c DESC RETURN c", ["Rome", "Oslo", None]),
        ("COLLECT c = p.city COLLECT WITH COUNT INTO n RETURN n", [3]),
        ("COLLECT p2 = p.city LET p = 1 RETURN p", [1, 1, 1]),
    ],
)  # fmt: skip
def test_collect(db: Database, query: str, expected: list) -> None:
    found = db.rows(f"FOR p IN people {query}")
    assert [pytest.approx(row) if _floats(row) else row for row in expected] == found


def _floats(row: Any) -> bool:
    return isinstance(row, list) and any(isinstance(item, float) for item in row)


def test_collect_into_holds_the_variables_of_its_own_level(db: Database) -> None:
    query = "LET o = 1 RETURN (LET i = 2 FOR x IN [3] LET y = 4 COLLECT g = 1 INTO members RETURN members)"
    assert db.rows(query) == [[[{"i": 2, "x": 3, "y": 4}]]]


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("{preceding: 1, following: 1}", [3, 6, 9, 7]),
        ("{preceding: 1}", [1, 3, 5, 7]),
        ("{following: 1}", [3, 5, 7, 4]),
        ("{preceding: 'unbounded', following: 0}", [1, 3, 6, 10]),
        ("{preceding: 'unbounded', following: 'unbounded'}", [10, 10, 10, 10]),
        ("{preceding: 9, following: 9}", [10, 10, 10, 10]),
        ("{preceding: 0, following: 0}", [1, 2, 3, 4]),
    ],
)
def test_window_by_rows(db: Database, window: str, expected: list[int]) -> None:
    assert db.rows(f"FOR x IN 1..4 WINDOW {window} AGGREGATE s = SUM(x) RETURN s") == expected


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("{preceding: 2}", [[1, 1], [2, 2], [4, 2], [8, 1]]),
        ("{preceding: 2, following: 4}", [[1, 3], [2, 3], [4, 3], [8, 1]]),
        ("{preceding: 'unbounded'}", [[1, 1], [2, 2], [4, 3], [8, 4]]),
    ],
)
def test_window_by_value_sorts(db: Database, window: str, expected: list) -> None:
    query = f"FOR x IN [8, 1, 4, 2] WINDOW x WITH {window} AGGREGATE n = COUNT() RETURN [x, n]"
    assert db.rows(query) == expected


def test_window_by_duration(db: Database) -> None:
    query = """
        FOR t IN ['2021-05-25 08:00:00', '2021-05-25 07:00:00', '2021-05-25 07:20:00', 'never']
        WINDOW DATE_TIMESTAMP(t) WITH {preceding: 'PT30M'} AGGREGATE n = COUNT() RETURN [t, n]
    """
    assert db.rows(query)[1:] == [["2021-05-25 07:00:00", 1], ["2021-05-25 07:20:00", 2], ["2021-05-25 08:00:00", 1]]


@pytest.mark.parametrize(
    "bounds", ["{}", "{preceding: -1}", "{preceding: 'x'}", "{before: 1}", "5", "{preceding: 1.5}"]
)
def test_window_bounds_are_checked(db: Database, bounds: str) -> None:
    error = db.error(f"FOR x IN 1..3 WINDOW {bounds} AGGREGATE s = SUM(x) RETURN s")
    assert error.error_num == 1501
    assert "WINDOW" in error.message


def test_full_count_counts_past_the_limit(db: Database) -> None:
    result = db.result("FOR p IN people SORT p.age LIMIT 1, 2 RETURN p", options=QueryOptions(full_count=True))
    assert len(result.rows) == 2
    assert result.stats["fullCount"] == 5
    assert "fullCount" not in db.result("FOR p IN people LIMIT 2 RETURN p").stats


def test_statistics(db: Database) -> None:
    stats = db.result("FOR p IN people FILTER p.age == 30 RETURN p").stats
    assert stats["scannedFull"] == 5
    assert stats["filtered"] == 3
    assert stats["scannedIndex"] == stats["writesExecuted"] == 0
    assert stats["executionTime"] > 0
    assert stats["peakMemoryUsage"] > 0


@pytest.mark.parametrize(
    ("value", "kind"), [(None, "null"), (True, "bool"), (1, "number"), ("text", "string"), ({"a": 1}, "object")]
)
def test_a_loop_over_no_array_is_refused(db: Database, value: Any, kind: str) -> None:
    error = db.error("FOR x IN @value RETURN x", {"value": value})
    assert error.error_num == 1563
    assert f"'{kind}'" in error.message


def test_values_that_no_loop_changes_are_computed_once(db: Database) -> None:
    started = db.result("FOR x IN 1..300 LET s = (FOR y IN 1..3000 RETURN y) RETURN LENGTH(s)").stats["executionTime"]
    assert started < 2
    rows = db.rows("FOR x IN 1..2 FOR y IN 1..2 LET s = (FOR z IN [x] RETURN z * 10) RETURN s[0] + y")
    assert rows == [11, 12, 21, 22]
    assert len(set(db.rows("FOR x IN 1..50 RETURN RAND()"))) > 1


# --- against plain Python -------------------------------------------------------------------------------------
records = st.lists(
    st.fixed_dictionaries(
        {
            "k": st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "b"]),
            "v": st.integers(-5, 5),
        }
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(records)
def test_grouping_agrees_with_python(db: Database, rows: list[dict]) -> None:
    groups: dict[Any, list[int]] = defaultdict(list)
    for row in rows:
        groups[sort_key(row["k"])].append(row["v"])
    expected = [[sum(groups[key]), min(groups[key]), len(groups[key]), groups[key]] for key in sorted(groups)]
    query = """
        FOR r IN @rows COLLECT k = r.k AGGREGATE s = SUM(r.v), m = MIN(r.v), n = LENGTH(r), list = PUSH(r.v)
        RETURN [s, m, n, list]
    """
    assert db.rows(query, {"rows": rows}) == expected


@settings(max_examples=60, deadline=None)
@given(records, st.booleans(), st.booleans(), st.integers(0, 5), st.integers(0, 8))
def test_sorting_agrees_with_python(
    db: Database, rows: list[dict], down_k: bool, down_v: bool, skip: int, count: int
) -> None:
    expected = sorted(rows, key=lambda row: row["v"], reverse=down_v)
    expected.sort(key=lambda row: sort_key(row["k"]), reverse=down_k)
    order = f"r.k {'DESC' if down_k else 'ASC'}, r.v {'DESC' if down_v else ''}"
    limited = db.rows(f"FOR r IN @rows SORT {order} LIMIT {skip}, {count} RETURN r", {"rows": rows})
    assert limited == expected[skip : skip + count]
    assert db.rows(f"FOR r IN @rows SORT {order} RETURN r", {"rows": rows}) == expected


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-9, 9), max_size=10), st.integers(0, 4), st.integers(0, 4))
def test_windows_agree_with_python(db: Database, items: list[int], before: int, after: int) -> None:
    expected = [sum(items[max(0, i - before) : i + after + 1]) for i in range(len(items))]
    bounds = f"{{preceding: {before}, following: {after}}}"
    assert db.rows(f"FOR x IN @x WINDOW {bounds} AGGREGATE s = SUM(x) RETURN s", {"x": items}) == expected
    near = [[x, sum(y for y in items if x - before <= y <= x + after)] for x in sorted(items)]
    assert db.rows(f"FOR x IN @x WINDOW x WITH {bounds} AGGREGATE s = SUM(x) RETURN [x, s]", {"x": items}) == near
