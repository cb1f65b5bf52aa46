"""AQL statements that write: INSERT, UPDATE, REPLACE, REMOVE, UPSERT, their options, OLD and NEW, and their rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from aql_support import Database


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(tmp_path_factory.mktemp("writes"))
    yield database
    database.close()


@pytest.fixture
def db(shared: Database) -> Iterator[Database]:
    """Three documents in ``c``, nothing in ``d``."""
    shared.collection("c", [{"_key": str(n), "n": n, "o": {"x": n}} for n in range(3)])
    shared.collection("d")
    yield shared
    shared.drop("c")
    shared.drop("d")


def content(db: Database, collection: str = "c") -> dict[str, Any]:
    """Documents by key, without system attributes."""
    documents = db.rows("FOR x IN @@c RETURN x", {"@c": collection})
    return {x["_key"]: {name: value for name, value in x.items() if name[0] != "_"} for x in documents}


def test_insert_returns_new(db: Database) -> None:
    (new,) = db.rows("INSERT {_key: 'k', n: 9} INTO d RETURN NEW")
    assert (new["_key"], new["_id"], new["n"]) == ("k", "d/k", 9)
    assert new["_rev"]
    assert db.rows("INSERT {n: 1} INTO d RETURN [OLD, NEW.n]") == [[None, 1]]


def test_insert_in_a_loop_counts(db: Database) -> None:
    result = db.result("FOR i IN 1..500 INSERT {n: i} INTO d")
    assert result.rows == []
    assert result.stats["writesExecuted"] == 500
    assert db.value("LENGTH(d)") == 500


def test_insert_from_the_same_collection_ends(db: Database) -> None:
    db.rows("FOR x IN c INSERT {n: x.n + 10} INTO c")
    assert sorted(x["n"] for x in content(db).values()) == [0, 1, 2, 10, 11, 12]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("overwriteMode: 'ignore'", {"n": 1, "o": {"x": 1}}),
        ("overwriteMode: 'replace'", {"o": {"y": 1}, "z": None}),
        ("overwrite: true", {"o": {"y": 1}, "z": None}),
        ("overwriteMode: 'update'", {"n": 1, "o": {"x": 1, "y": 1}, "z": None}),
        ("overwriteMode: 'update', keepNull: false", {"n": 1, "o": {"x": 1, "y": 1}}),
        ("overwriteMode: 'update', mergeObjects: false", {"n": 1, "o": {"y": 1}, "z": None}),
    ],
)
def test_insert_overwrites(db: Database, options: str, expected: dict) -> None:
    db.rows(f"INSERT {{_key: '1', o: {{y: 1}}, z: null}} INTO c OPTIONS {{{options}}}")
    assert content(db)["1"] == expected


@pytest.mark.parametrize("operation", ["UPDATE", "REPLACE"])
@pytest.mark.parametrize(
    "key", ["'1'", "{_key: '1'}", "{_id: 'c/1'}", "DOCUMENT('c/1')", "FIRST(FOR x IN c FILTER x.n == 1 RETURN x)"]
)
def test_keys_of_changes(db: Database, operation: str, key: str) -> None:
    rows = db.rows(f"{operation} {key} WITH {{z: 5}} IN c RETURN [OLD.n, OLD.z, NEW.n, NEW.z]")
    assert rows == [[1, None, 1 if operation == "UPDATE" else None, 5]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("UPDATE {_key: '1', n: 7} IN c", {"n": 7, "o": {"x": 1}}),
        ("REPLACE {_key: '1', n: 7} IN c", {"n": 7}),
        ("UPDATE '1' WITH {o: {y: 2}} IN c", {"n": 1, "o": {"x": 1, "y": 2}}),
        ("UPDATE '1' WITH {o: {y: 2}} IN c OPTIONS {mergeObjects: false}", {"n": 1, "o": {"y": 2}}),
        ("UPDATE '1' WITH {n: null} IN c", {"n": None, "o": {"x": 1}}),
        ("UPDATE '1' WITH {n: null} IN c OPTIONS {keepNull: false}", {"o": {"x": 1}}),
        ("FOR x IN c FILTER x.n == 1 UPDATE x WITH {n: x.n + 1} IN c", {"n": 2, "o": {"x": 1}}),
        ("FOR x IN c FILTER x.n == 1 UPDATE x._key WITH {n: x.n + 1} INTO c", {"n": 2, "o": {"x": 1}}),
    ],
)
def test_changes(db: Database, query: str, expected: dict) -> None:
    db.rows(query)
    assert content(db)["1"] == expected


def test_remove(db: Database) -> None:
    assert db.rows("FOR x IN c FILTER x.n > 0 REMOVE x IN c RETURN OLD.n") == [1, 2]
    assert content(db) == {"0": {"n": 0, "o": {"x": 0}}}
    assert db.rows("REMOVE {_key: '0'} IN c LET gone = OLD RETURN gone._key") == ["0"]


def test_upsert_inserts_or_updates(db: Database) -> None:
    query = "UPSERT {n: @n} INSERT {n: @n, made: true} UPDATE {n: OLD.n, seen: OLD.n} IN c RETURN [OLD._key, NEW.seen]"
    assert db.rows(query, {"n": 1}) == [["1", 1]]
    assert db.rows(query, {"n": 5}) == [[None, None]]
    assert db.rows("UPSERT {_key: '2'} INSERT {} REPLACE {only: 1} IN c RETURN NEW.only") == [1]
    assert content(db)["2"] == {"only": 1}


def test_upsert_sees_what_earlier_rows_wrote(db: Database) -> None:
    rows = db.rows("FOR w IN ['a', 'b', 'a'] UPSERT {w: w} INSERT {w: w, n: 1} UPDATE {n: OLD.n + 1} IN d RETURN NEW.n")
    assert rows == [1, 1, 2]
    same = db.rows("FOR i IN 1..3 UPSERT {w: 'z'} INSERT {w: 'z', n: 1} UPDATE {n: OLD.n + 1} IN d RETURN NEW.n")
    assert same == [1, 2, 3]


def test_upsert_example_compares_inner_attributes(db: Database) -> None:
    assert db.rows("UPSERT {o: {x: 2}} INSERT {} UPDATE {hit: true} IN c RETURN NEW._key") == ["2"]
    assert db.rows("UPSERT @e INSERT {} UPDATE {hit: true} IN c RETURN NEW._key", {"e": {"o": {"x": 1}}}) == ["1"]
    assert db.rows("UPSERT FILTER CURRENT.n >= 2 INSERT {} UPDATE {hit: 2} IN c RETURN NEW._key") == ["2"]


def test_writes_in_subqueries_and_rows_after_writes(db: Database) -> None:
    assert db.rows("LET a = (INSERT {_key: 'x'} INTO d RETURN NEW._key) FOR v IN a RETURN v") == ["x"]
    rows = db.rows("FOR x IN c UPDATE x WITH {n: 10 - x.n} IN c SORT NEW.n LIMIT 2 RETURN [x.n, NEW.n]")
    assert rows == [[2, 8], [1, 9]]
    assert sorted(x["n"] for x in content(db).values()) == [8, 9, 10]
    db.rows("FOR x IN c INSERT {_key: x._key} INTO d REMOVE x IN c")
    assert (len(content(db)), len(content(db, "d"))) == (0, 4)


def test_failed_write_undoes_the_whole_query(db: Database) -> None:
    error = db.error("FOR k IN ['7', '8', '1'] INSERT {_key: k} INTO c")
    assert error.error_num == 1210
    assert "(while executing)" in error.message
    assert sorted(content(db)) == ["0", "1", "2"]


def test_ignore_errors(db: Database) -> None:
    result = db.result("FOR k IN ['7', '1', '8'] INSERT {_key: k} INTO c OPTIONS {ignoreErrors: true} RETURN NEW._key")
    assert result.rows == ["7", "8"]
    assert (result.stats["writesExecuted"], result.stats["writesIgnored"]) == (2, 1)
    assert db.rows("REMOVE 'nobody' IN c OPTIONS {ignoreErrors: true}") == []


def test_revisions_are_checked_on_demand(db: Database) -> None:
    document = db.rows("FOR x IN c FILTER x._key == '1' RETURN x")[0]
    db.rows("UPDATE '1' WITH {n: 5} IN c")
    stale = {"stale": document}
    assert db.error("UPDATE @stale WITH @stale IN c OPTIONS {ignoreRevs: false}", stale).error_num == 1200
    assert db.error("REMOVE @stale IN c OPTIONS {ignoreRevs: false}", stale).error_num == 1200
    assert db.rows("UPDATE @stale WITH {n: 6} IN c RETURN NEW.n", stale) == [6]


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("REMOVE 'nobody' IN c", 1202),
        ("UPDATE 'nobody' WITH {} IN c", 1202),
        ("INSERT 5 INTO c", 1227),
        ("UPDATE '1' WITH 'x' IN c", 1227),
        ("REMOVE {n: 1} IN c", 1226),
        ("REMOVE 5 IN c", 1221),
        ("REMOVE {_id: 'd/1'} IN c", 1213),
        ("INSERT {_key: 'a b'} INTO c", 1221),
        ("INSERT {_key: 5} INTO c", 1221),
        ("INSERT {} INTO nowhere", 1203),
        ("INSERT {} INTO c OPTIONS {overwriteMode: 'x'}", 10),
        ("UPSERT {} INSERT {} UPDATE {} IN c", 1501),
        ("UPSERT 5 INSERT {} UPDATE {} IN c", 1501),
        ("FOR x IN c INSERT {} INTO c FOR y IN c RETURN y", 1579),
        ("INSERT {} INTO c RETURN LENGTH(c)", 1579),
        ("INSERT {} INTO c INSERT {} INTO c", 1579),
        ("INSERT {} INTO c UPSERT {a: 1} INSERT {} UPDATE {} IN c", 1579),
        ("LET a = (INSERT {} INTO c) FOR x IN c RETURN x", 1579),
        ("INSERT {} INTO c WINDOW {preceding: 1} AGGREGATE n = COUNT() RETURN n", 1595),
        ("FOR x IN c INSERT {} INTO d OPTIONS {exclusive: x.n}", 1575),
        ("REMOVE '1' IN c RETURN NEW", 1512),
        ("RETURN OLD", 1512),
    ],
)
def test_refused_writes(db: Database, query: str, number: int) -> None:
    error = db.error(query)
    assert error.error_num == number
    assert error.message.startswith("AQL: ")
    assert sorted(content(db)) == ["0", "1", "2"]


def test_unknown_options_warn(db: Database) -> None:
    result = db.result("INSERT {} INTO d OPTIONS {speed: 9}")
    assert [warning["code"] for warning in result.warnings] == [1539]
    assert "'speed'" in result.warnings[0]["message"]
