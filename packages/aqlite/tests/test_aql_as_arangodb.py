"""Where a query language is easily taken otherwise than ArangoDB takes it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aql_support import Database

from aqlite.storage.shared import Ticks
from aqlite.storage.store import Store


@pytest.fixture
def db(tmp_path) -> Iterator[Database]:
    opened = Database(tmp_path / "data")
    opened.collection("c", [{"_key": "a", "n": 1}, {"_key": "b", "n": 2}])
    opened.collection("other", [{"_key": "a"}])
    opened.collection("e", [{"_key": "1", "_from": "c/a", "_to": "c/b"}], kind="edge")
    opened.collection("f", kind="edge")
    opened.graph("g", "e", "c")
    yield opened
    opened.close()


# --- writes ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "query",
    [
        "UPDATE {_key: 'a', _rev: @rev} WITH {n: 5} IN c OPTIONS {ignoreRevs: false}",
        "REPLACE {_key: 'a', _rev: @rev} WITH {n: 5} IN c OPTIONS {ignoreRevs: false}",
        "UPDATE {_key: 'a', _rev: @rev, n: 5} IN c OPTIONS {ignoreRevs: false}",
        "REMOVE {_key: 'a', _rev: @rev} IN c OPTIONS {ignoreRevs: false}",
        "UPSERT {_key: 'a'} INSERT {} UPDATE {_rev: @rev, n: 5} IN c OPTIONS {ignoreRevs: false}",
    ],
)
def test_an_old_revision_is_a_conflict(db: Database, query: str) -> None:
    (old,) = db.rows("RETURN DOCUMENT('c/a')._rev")
    db.rows("UPDATE 'a' WITH {n: 3} IN c")
    assert db.error(query, {"rev": old}).error_num == 1200
    assert db.value("DOCUMENT('c/a').n") == 3
    (now,) = db.rows("RETURN DOCUMENT('c/a')._rev")
    db.rows(query, {"rev": now})


def test_a_document_that_is_left_alone_is_not_new(db: Database) -> None:
    query = "INSERT {_key: @key, n: 9} INTO c OPTIONS {overwriteMode: 'ignore'} RETURN NEW.n"
    assert db.rows(query, {"key": "a"}) == [None]
    assert db.rows(query, {"key": "z"}) == [9]
    assert db.value("DOCUMENT('c/a').n") == 1
    assert db.error(query.replace("NEW.n", "OLD"), {"key": "a"}).error_num == 1512


@pytest.mark.parametrize(
    "query",
    [
        "UPDATE 'a' WITH {v: @v, n: 9} IN c",
        "REPLACE 'a' WITH {v: @v, n: 9} IN c",
        "INSERT {_key: 'a', v: @v, n: 9} INTO c",
        "UPSERT {_key: 'a'} INSERT {} UPDATE {v: @v, n: 9} IN c",
    ],
)
def test_only_newer_versions_are_written(db: Database, query: str) -> None:
    db.rows("UPDATE 'a' WITH {v: 5} IN c")
    mode = ", overwriteMode: 'update'" if query.startswith("INSERT") else ""
    query += f" OPTIONS {{versionAttribute: 'v'{mode}}}"
    versions = ((5, False), (4.5, False), (5.9, False), (6, True), (6.5, False), (-1, True), (7, True), ("text", True))
    for version, written in versions:
        result = db.result(query, {"v": version})
        assert (result.stats["writesExecuted"], result.stats["writesIgnored"]) == (int(written), int(not written))
    assert db.value("DOCUMENT('c/a').n") == 9


@pytest.mark.parametrize(
    "query",
    [
        "INSERT {} INTO other FOR v IN 1..1 OUTBOUND 'c/a' e RETURN v",
        "INSERT {} INTO c FOR v IN 1..1 OUTBOUND 'c/a' GRAPH 'g' RETURN v",
        "UPDATE 'a' WITH {n: 2} IN c FOR v IN ANY SHORTEST_PATH 'c/a' TO 'c/b' e RETURN v",
        "LET x = (INSERT {} INTO c) FOR v IN 1..1 ANY 'c/a' e RETURN v",
        "INSERT {} INTO c RETURN DOCUMENT('c/a')",
    ],
)
def test_nothing_is_read_after_a_write(db: Database, query: str) -> None:
    assert db.error(query).error_num == 1579


# --- graphs ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("FOR v IN 1..1 ANY 'c/a' nowhere RETURN v", 1203),
        ("FOR v IN 1..1 ANY 'nowhere/a' e RETURN v", 1203),
        ("FOR v IN 0..1 ANY 'nowhere/a' GRAPH 'g' RETURN v", 1203),
        ("FOR v IN ANY SHORTEST_PATH 'nowhere/a' TO 'c/b' e RETURN v", 1203),
        ("FOR p IN ANY K_PATHS 'c/a' TO 'nowhere/b' e RETURN p", 1203),
        ("FOR v IN 1..1 ANY 'c/a' c RETURN v", 1218),
        ("FOR v IN 1..1 ANY 'c/a' e OPTIONS {vertexCollections: 'nowhere'} RETURN v", 1203),
        ("FOR v IN 1..1 ANY 'c/a' e OPTIONS {edgeCollections: ['nowhere']} RETURN v", 1203),
        ("FOR v IN 1..1 ANY 'c/a' GRAPH 'g' OPTIONS {vertexCollections: 'other'} RETURN v", 1926),
        ("FOR v IN 1..1 ANY 'c/a' GRAPH 'g' OPTIONS {edgeCollections: 'c'} RETURN v", 1218),
        ("FOR v IN 1..1 ANY 'c/a' GRAPH 'g' OPTIONS {edgeCollections: 'f'} RETURN v", 1939),
        ("FOR p IN ANY K_PATHS 'c/a' TO 'c/b' GRAPH 'g' OPTIONS {vertexCollections: 'other'} RETURN p", 1926),
    ],
)
def test_collections_that_a_graph_query_cannot_use(db: Database, query: str, number: int) -> None:
    assert db.error(query).error_num == number


def test_a_restriction_of_vertices_spares_the_start(db: Database) -> None:
    rows = db.rows("FOR v IN 0..1 OUTBOUND 'c/a' e OPTIONS {vertexCollections: 'other'} RETURN v._key")
    assert rows == ["a"]


# --- syntax ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("number", ["01", "00", "-01", "007.5", "01e2"])
def test_numbers_have_no_leading_zeros(db: Database, number: str) -> None:
    assert db.error(f"RETURN {number}").error_num == 1501


@pytest.mark.parametrize(
    ("number", "value"), [("0", 0), ("0.5", 0.5), (".5", 0.5), ("10", 10), ("0e1", 0), ("1e05", 1e5), ("0x0F", 15)]
)
def test_numbers(db: Database, number: str, value: float) -> None:
    assert db.value(number) == value


@pytest.mark.parametrize("query", ["RETURN DISTINCT 1", "LET x = 1 RETURN DISTINCT x", "RETURN (RETURN DISTINCT 1)"])
def test_distinct_needs_rows(db: Database, query: str) -> None:
    error = db.error(query)
    assert error.error_num == 1501
    assert "DISTINCT" in error.message
    assert f"at position 1:{query.index('DISTINCT') + 1} " in error.message


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("LET [a, b] = [1, 2, 3] RETURN [a, b]", [[1, 2]]),
        ("LET [, b, , d] = [1, 2, 3] RETURN [b, d]", [[2, None]]),
        ("LET [a, [b, [c]]] = [1, [2, [3]]] RETURN [a, b, c]", [[1, 2, 3]]),
        ("LET {name, age} = {name: 'x'} RETURN [name, age]", [["x", None]]),
        ("LET {name: n, 'first name': f} = {name: 1, 'first name': 2} RETURN [n, f]", [[1, 2]]),
        ("LET {a: {b, c: [d]}} = {a: {b: 1, c: [2]}} RETURN [b, d]", [[1, 2]]),
        ("LET [a] = null, {b} = 'text' RETURN [a, b]", [[None, None]]),
        ("LET [] = [1], [,] = [2] LET [] = 3 RETURN 4", [4]),
        ("LET x = [1], [a] = x, b = a + 1 RETURN b", [2]),
        ("FOR [k, v] IN [['a', 1], ['b', 2]] FILTER v > 1 RETURN {k, v}", [{"k": "b", "v": 2}]),
        ("FOR {_key: k, n} IN c SORT n DESC RETURN [k, n]", [["b", 2], ["a", 1]]),
        ("FOR {n} IN c COLLECT even = n % 2 == 0 INTO found RETURN [even, found]",
         [[False, [{"n": 1}]], [True, [{"n": 2}]]]),
        ("FOR [a] IN [[1], [2]] FOR [b] IN [[a], [3]] RETURN b", [1, 3, 2, 3]),
    ],
)  # fmt: skip
def test_destructuring(db: Database, query: str, rows: list[Any]) -> None:
    assert db.rows(query) == rows


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("LET [a, a] = [1] RETURN a", 1511),
        ("LET a = 1 LET {a} = {} RETURN a", 1511),
        ("LET {'quoted'} = {} RETURN 1", 1501),
        ("LET {} = {} RETURN 1", 1501),
        ("LET [1] = [1] RETURN 1", 1501),
        ("FOR {a}, b IN [1] RETURN 1", 1501),
    ],
)
def test_patterns_that_bind_nothing_sensible(db: Database, query: str, number: int) -> None:
    assert db.error(query).error_num == number


# --- values ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("chosen", [True, False])
@pytest.mark.parametrize(
    "expression", ["@chosen ? {left} : {right}", "(@chosen && {left}) || {right}", "!@chosen ? {right} : {left}"]
)
def test_only_subqueries_of_the_chosen_branch_run(db: Database, expression: str, chosen: bool) -> None:
    left, right = (f"(INSERT {{side: '{target}'}} INTO {target} RETURN NEW.side)" for target in ("c", "other"))
    query = f"LET x = {expression.format(left=left, right=right)} RETURN x"
    assert db.rows(query, {"chosen": chosen}) == [["c" if chosen else "other"]]
    assert (db.value("LENGTH(c)"), db.value("LENGTH(other)")) == ((3, 1) if chosen else (2, 2))


def test_a_subquery_that_is_not_chosen_cannot_fail(db: Database) -> None:
    assert db.value("true ? 1 : (RETURN FAIL('reached'))") == 1
    assert db.error("RETURN false ? 1 : (RETURN FAIL('reached'))").error_num == 1569
    assert db.rows("LET d = DOCUMENT('c/none') RETURN d ? (FOR x IN d.list RETURN x) : 0") == [0]
    assert db.rows("FOR i IN 1..2 RETURN i == 1 ? (RETURN i) : (RETURN i * 10)") == [[1], [20]]


@pytest.mark.parametrize(
    ("hours", "days"), [(12, 1), (36, 2), (60, 3), (-12, -1), (-36, -2), (11, 0), (-11, 0), (0, 0), (13, 1)]
)
def test_differences_of_dates_are_rounded_half_away_from_zero(db: Database, hours: int, days: int) -> None:
    later = "DATE_ADD('2024-01-05', @hours, 'hours')"
    assert db.value(f"DATE_DIFF('2024-01-05', {later}, 'days')", {"hours": hours}) == days


@pytest.mark.parametrize(
    ("call", "value"),
    [
        ("PERCENTILE([1, 2, 3, 4], 0)", None),
        ("PERCENTILE([1, 2, 3, 4], 0.0001)", 1),
        ("PERCENTILE([1, 2, 3, 4], 100)", 4),
        ("PERCENTILE([1, 2, 3, 4], 100.5)", None),
        ("PERCENTILE([1, 2, 3, 4], 100, 'interpolation')", 4),
        ("PERCENTILE([1, 2, 3, 4], 50, 'interpolation')", 2.5),
        ("PERCENTILE([], 50)", None),
        ("PERCENTILE([1, 2, 3, 4], 1, 'interpolation')", None),
        ("PERCENTILE([5], 1, 'interpolation')", 5),
        ("PERCENTILE([5], 100)", 5),
    ],
)
def test_ends_of_percentiles(db: Database, call: str, value: float | None) -> None:
    assert db.value(call) == value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775807 + 1", 2.0**63),
        ("-9223372036854775808 - 1", -(2.0**63)),
        ("18446744073709551616", 2.0**64),
        ("9223372036854775807 * 2", 2.0**64),
        ("SUM([9223372036854775807, 9223372036854775807])", 2.0**64),
        ("PRODUCT([9223372036854775807, 4])", 2.0**65),
        ("ABS(-9223372036854775808)", 2.0**63),
        ("@big", 2.0**70),
        ("@big + 1", 2.0**70),
        ("[@big] == [@big + 0]", True),
        ("ROUND(1e300)", 1e300),
        ("MAX([@big, 1])", 2.0**70),
    ],
)
def test_numbers_beyond_64_bits_are_doubles(db: Database, expression: str, value: float) -> None:
    found = db.value(expression, {"big": 2.0**70} if "@big" in expression else None)
    assert found == value
    assert type(found) is type(value)


def test_ticks_never_go_back() -> None:
    ticks, given, lasts = Ticks(100), [], []

    def draw() -> None:
        for _ in range(2000):
            given.append(ticks.next())
            lasts.append(ticks.last)

    threads = [threading.Thread(target=draw) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(given)) == 16_000
    assert ticks.last == max(given) == 16_100


def test_ticks_never_go_back_when_the_process_ends(tmp_path) -> None:
    store = Store(tmp_path / "data")
    before = [store.next_tick() for _ in range(100)]
    store.close()
    store = Store(tmp_path / "data")
    assert store.next_tick() > max(before)
    store.close()
