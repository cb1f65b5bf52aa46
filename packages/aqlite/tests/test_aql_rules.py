"""What AQL refuses: wrong names, parameters and calls; and its limits on time, memory, nesting and warnings."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aql_strategies import queries
from aql_support import Database
from aql_text import text_of
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from aqlite.aql import QueryOptions, ast, parse_query, query_collections
from aqlite.errors import ArangoError


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(tmp_path_factory.mktemp("rules"))
    database.collection("c", [{"_key": "1", "n": 1}])
    database.collection("CamelCase", [{"a": 1, "b": [1, 2]}, {"filter": "x"}])
    database.collection("b", [{"_from": "c/1", "_to": "c/1", "a": -1}], kind="edge")
    yield database
    database.close()


@pytest.mark.parametrize(
    ("query", "number", "message"),
    [
        ("RETURN x", 1203, "collection or view not found: x"),
        ("FOR x IN nowhere RETURN x", 1203, "collection or view not found: nowhere"),
        ("WITH nowhere RETURN 1", 1203, "nowhere"),
        ("RETURN c", 1568, "collection 'c' used as expression operand"),
        ("RETURN c.n", 1568, "'c'"),
        ("RETURN LENGTH([c])", 1568, "'c'"),
        ("LET x = 1 LET x = 2 RETURN x", 1511, "variable 'x' is assigned multiple times"),
        ("FOR x IN [1] FOR x IN [2] RETURN x", 1511, "'x'"),
        ("LET x = 1 RETURN (FOR x IN [2] RETURN x)", 1511, "'x'"),
        ("FOR x IN [1] COLLECT y = x RETURN x", 1203, "x"),
        ("FOR x IN [1] COLLECT y = x, y = x RETURN y", 1511, "'y'"),
        ("FOR x IN [1] COLLECT y = x INTO g KEEP z RETURN g", 1512, "unknown variable 'z'"),
        ("RETURN CURRENT", 1512, "'CURRENT'"),
        ("RETURN NO_SUCH(1)", 1540, "usage of unknown function 'NO_SUCH()'"),
        ("RETURN my::own(1)", 1582, "user function 'MY::OWN()' not found"),
        ("RETURN LENGTH()", 1541, "'LENGTH()', expected number of arguments: minimum: 1, maximum: 1"),
        ("RETURN LENGTH(1, 2)", 1541, "minimum: 1, maximum: 1"),
        ("FOR x IN [1] COLLECT AGGREGATE y = x RETURN y", 1574, "invalid aggregate expression"),
        ("FOR x IN [1] COLLECT AGGREGATE y = UPPER(x) RETURN y", 1574, "invalid aggregate expression"),
        ("FOR x IN [1] COLLECT AGGREGATE y = SUM() RETURN y", 1541, "'SUM()'"),
        ("FOR x IN [1] LIMIT x RETURN x", 1501, "LIMIT"),
        ("FOR x IN [1] LIMIT -1 RETURN x", 1504, "LIMIT"),
        ("FOR x IN [1] LIMIT 'a' RETURN x", 1504, "LIMIT"),
        ("FOR d IN c SEARCH d.n == 1 RETURN d", 9, "not supported by aqlite"),
        ("RETURN FULLTEXT('c', 'n', 'x')", 9, "not supported by aqlite"),
        ("RETURN 1e999", 1504, "number out of range"),
        ("FOR x IN 1..3 RETURN FAIL('stop')", 1569, "stop"),
    ],
)
def test_refused(db: Database, query: str, number: int, message: str) -> None:
    error = db.error(query)
    assert error.error_num == number
    assert message in error.message
    assert error.message.startswith("AQL: ")


@pytest.mark.parametrize(
    ("query", "bind_vars", "number", "message"),
    [
        ("RETURN @x", {}, 1551, "no value specified for declared bind parameter 'x'"),
        ("FOR d IN @@x RETURN d", {}, 1551, "'@x'"),
        ("RETURN 1", {"x": 1}, 1552, "bind parameter 'x' was not declared in the query"),
        ("RETURN @x", {"x": 1, "y": 2}, 1552, "'y'"),
        ("RETURN @x", {"@x": "c"}, 1551, "'x'"),
        ("FOR d IN @@x RETURN d", {"@x": 5}, 1553, "bind parameter '@x' has an invalid value or type"),
        ("FOR d IN @@x RETURN d", {"@x": ""}, 1553, "'@x'"),
        ("FOR d IN @@x RETURN d", {"@x": "c RETURN 1"}, 1203, "c RETURN 1"),
        ("FOR d IN c RETURN d.@x", {"x": 5}, 1553, "'x'"),
        ("FOR d IN c RETURN d.@x", {"x": []}, 1553, "'x'"),
        ("FOR d IN c RETURN d.@x", {"x": ["a", 1]}, 1553, "'x'"),
        ("RETURN {@x: 1}", {"x": 5}, 1553, "'x'"),
        ("FOR d IN OUTBOUND 'c/1' GRAPH @g RETURN d", {"g": 5}, 1553, "'g'"),
        ("RETURN @@x", {"@x": "c"}, 1568, "'c'"),
        ("RETURN 1", ["x"], 1550, "expecting an object"),
    ],
)
def test_bind_parameters(db: Database, query: str, bind_vars: Any, number: int, message: str) -> None:
    error = db.error(query, bind_vars)
    assert error.error_num == number
    assert message in error.message


@pytest.mark.parametrize("text", ["'; REMOVE '1' IN c", "` RETURN 1", "@y", "d.n", "\\", "1) RETURN (2", "/* */"])
def test_values_and_names_stay_values_and_names(db: Database, text: str) -> None:
    assert db.rows("RETURN @x", {"x": text}) == [text]
    assert db.rows("FOR d IN c RETURN d.@x", {"x": text}) == [None]
    assert db.rows("RETURN {[@x]: 1}", {"x": text}) == [{text: 1}]
    assert db.error("FOR d IN @@x RETURN d", {"@x": text}).error_num == 1203
    assert db.value("LENGTH(c)") == 1


def test_run_time_is_bounded(db: Database) -> None:
    with pytest.raises(ArangoError, match="run time") as caught:
        db.result("FOR x IN 1..1000000000 FILTER x < 0 RETURN x", options=QueryOptions(max_runtime=0.05))
    assert caught.value.error_num == 1500
    nested = "FOR a IN 1..1000000000 FOR b IN 1..2 FOR c IN 1..2 FILTER a < 0 RETURN SUM(FOR d IN 1..9 RETURN d)"
    with pytest.raises(ArangoError, match="run time"):
        db.result(nested, options=QueryOptions(max_runtime=0.05))
    inline = "RETURN LENGTH((1..3000)[* FILTER LENGTH((1..3000)[* FILTER CURRENT > 5]) < 0])"
    with pytest.raises(ArangoError, match="run time"):
        db.result(inline.replace("> 5", "> RAND()"), options=QueryOptions(max_runtime=0.05))


def test_running_query_can_be_killed(db: Database) -> None:
    killed = threading.Event()
    timer = threading.Timer(0.05, killed.set)
    timer.start()
    with pytest.raises(ArangoError, match="killed") as caught:
        db.result("FOR x IN 1..1000000000 FILTER x < 0 RETURN x", options=QueryOptions(killed=killed))
    timer.join()
    assert caught.value.error_num == 1500


@pytest.mark.parametrize(
    "query",
    [
        "FOR x IN 1..1000000 RETURN CONCAT('some text ', x)",
        "FOR x IN 1..1000000 SORT -x RETURN x",
        "FOR x IN 1..1000000 COLLECT g = x INTO all_ RETURN 1",
        "LET a = (FOR x IN 1..1000000 RETURN x) RETURN LENGTH(a)",
        "LET a = 1..1000000 RETURN LENGTH(a)",
        "LET a = 1..1000 LET b = a[* RETURN a] LET d = b[* RETURN b] RETURN d",
        "LET a = 1..1000 LET b = [a, a, a, a, a, a, a, a] LET d = [b, b, b, b, b, b, b, b] "
        "LET f = [d, d, d, d, d, d, d, d] LET g = [f, f, f, f, f, f, f, f] RETURN JSON_STRINGIFY(g)",
        "FOR x IN 1..1000000 INSERT {x} INTO c RETURN NEW",
    ],
)
def test_memory_is_bounded(db: Database, query: str) -> None:
    with pytest.raises(ArangoError, match="more memory than allowed") as caught:
        db.result(query, options=QueryOptions(memory_limit=2**20))
    assert caught.value.error_num == 32
    assert db.value("LENGTH(c)") >= 1


def test_memory_is_released(db: Database) -> None:
    query = "FOR x IN 1..200 LET s = (FOR y IN 1..500 SORT y DESC RETURN y + x) FILTER s[0] < 0 RETURN s"
    assert db.result(query, options=QueryOptions(memory_limit=2**20)).rows == []


def test_ranges_are_bounded(db: Database) -> None:
    assert db.error("RETURN LENGTH(1..100000000)").error_num == 32
    assert db.rows("FOR x IN 1..100000000000 LIMIT 2 RETURN x") == [1, 2]


@pytest.mark.parametrize(
    ("opening", "inside", "closing"),
    [
        ("[", "x", "]"),
        ("- ", "x", ""),
        ("ABS(", "x", ")"),
        ("x + ", "x", ""),
        ("x && ", "x", ""),
        ("x ? 1 : ", "x", ""),
        ("{a: ", "x", "}"),
        ("[1][? FILTER ", "x", "]"),
    ],
)
def test_deep_queries_run_or_are_refused(db: Database, opening: str, inside: str, closing: str) -> None:
    text = "FOR x IN 1..2 RETURN LENGTH([{}])"
    assert db.rows(text.format(opening * 240 + inside + closing * 240)) == [1, 1]
    assert db.error(text.format(opening * 3000 + inside + closing * 3000)).error_num == 1524


def test_deep_subqueries_run_in_a_thread(db: Database) -> None:
    outcome: list[Any] = []

    def run() -> None:
        outcome.append(db.rows("RETURN LENGTH(" + "(RETURN " * 120 + "1" + ")" * 120 + ")"))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert outcome == [[1]]


def test_warnings_are_capped_or_raised(db: Database) -> None:
    query = "FOR x IN 1..50 RETURN 1 / 0 + x"
    assert len(db.result(query).warnings) == 1
    query = "FOR x IN 1..50 RETURN x / 0"
    assert len(db.result(query).warnings) == 10
    assert len(db.result(query, options=QueryOptions(max_warning_count=3)).warnings) == 3
    with pytest.raises(ArangoError, match="division by zero") as caught:
        db.result(query, options=QueryOptions(fail_on_warning=True))
    assert caught.value.error_num == 1562


anything = st.none() | st.integers(-2, 3) | st.lists(st.text(max_size=3), max_size=2) | st.just("c/1")
SOME_NAMES = "LET any_value = @v LET `filter` = 1 LET `x y` = [{a: 1}, 'c/1'] LET `ümlaut` = {a: [1, {b: 2}]}\n"


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(queries, anything)
def test_any_query_runs_or_is_refused(db: Database, query: ast.Query, value: Any) -> None:
    text = SOME_NAMES + text_of(query)
    try:
        bind_vars = {name: "c" if name == "@c" else value for name in parse_query(text).bind_vars}
        db.result(text, bind_vars, QueryOptions(max_runtime=0.2, memory_limit=2**24))
        db.plan(text, bind_vars)
    except ArangoError as error:
        event(f"error {error.error_num}")


def test_query_collections() -> None:
    text = (
        "FOR d IN @@r FOR v IN OUTBOUND d e LET s = (FOR x IN other RETURN x) LET y = s FOR z IN y INSERT {} INTO @@w"
    )
    reads, writes = query_collections(text, {"@r": "docs", "@w": "target"})
    assert reads == {"docs", "e", "other"}
    assert writes == {"target"}
    assert query_collections("LET a = (REMOVE 'x' IN c) RETURN a", {}) == (set(), {"c"})
    assert query_collections("UPSERT {a: 1} INSERT {} UPDATE {} IN c", {}) == ({"c"}, {"c"})
