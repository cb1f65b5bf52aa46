"""Cursors, parse, explain, running queries, stream transactions, through python-arango."""

from __future__ import annotations

import threading
import time

import pytest
import requests
from arango.exceptions import (
    AQLQueryExecuteError,
    AQLQueryKillError,
    AQLQueryValidateError,
    ArangoServerError,
    CursorCloseError,
    CursorNextError,
    TransactionAbortError,
    TransactionCommitError,
    TransactionFetchError,
    TransactionInitError,
)
from server_process import PASSWORD


@pytest.fixture(scope="module")
def numbers(db):
    """A collection of 25 numbers."""
    col = db.create_collection("numbers")
    col.import_bulk([{"_key": f"k{n:02d}", "n": n} for n in range(25)])
    return col


def errors(raised: pytest.ExceptionInfo[ArangoServerError]) -> tuple[int, int]:
    return raised.value.http_code, raised.value.error_code


# --- cursors --------------------------------------------------------------------------------------------------
def test_batches_counts_and_statistics(db, numbers):
    cursor = db.aql.execute(
        "FOR d IN numbers FILTER d.n >= @low SORT d.n LIMIT 12 RETURN d.n",
        bind_vars={"low": 5},
        batch_size=5,
        count=True,
        full_count=True,
        ttl=20,
    )
    assert cursor.count() == len(cursor) == 12
    assert cursor.statistics()["fullCount"] == 20
    assert cursor.has_more()
    assert list(cursor.batch()) == [5, 6, 7, 8, 9]
    assert list(cursor) == list(range(5, 17))
    assert cursor.warnings() == []
    assert cursor.cached() is False
    assert cursor.close(ignore_missing=True) is False


def test_small_results_need_no_cursor(db):
    cursor = db.aql.execute("FOR i IN 1..3 RETURN i", batch_size=3)
    assert cursor.id is None
    assert not cursor.has_more()
    assert list(cursor) == [1, 2, 3]
    assert cursor.close() is None


def test_cursors_close_and_vanish(db, server):
    cursor = db.aql.execute("FOR i IN 1..10 RETURN i", batch_size=2)
    assert cursor.close()
    for error, call in ((CursorNextError, cursor.fetch), (CursorCloseError, cursor.close)):
        with pytest.raises(error) as raised:
            call()
        assert errors(raised) == (404, 1600)
    foreign = db.aql.execute("FOR i IN 1..10 RETURN i", batch_size=2)
    url = f"{server.url}/_db/_system/_api/cursor/{foreign.id}"
    assert requests.post(url, auth=("root", PASSWORD), timeout=10).status_code == 404
    short = db.aql.execute("FOR i IN 1..100 RETURN i", batch_size=1, ttl=0)
    fetched = 0

    def fetch_slowly() -> None:
        nonlocal fetched
        while fetched < 20:
            list(db.aql.execute("RETURN SLEEP(0.5)"))
            short.fetch()
            fetched += 1

    with pytest.raises(CursorNextError) as raised:
        fetch_slowly()
    assert errors(raised) == (404, 1600)


def test_a_lost_batch_can_be_fetched_again(db):
    cursor = db.aql.execute("FOR i IN 1..6 RETURN i", batch_size=2, allow_retry=True)
    assert list(cursor.batch()) == [1, 2]
    next_batch = cursor._next_batch_id
    first = cursor.fetch()["batch"]
    cursor._next_batch_id = next_batch
    assert cursor.fetch()["batch"] == first == [3, 4]
    assert cursor.fetch()["batch"] == [5, 6]
    assert not cursor.has_more()
    assert cursor.close()


def test_query_errors_carry_arangodbs_numbers(db, numbers):
    for text, variables, number in (
        ("", None, 1502),
        ("FOR d IN RETURN d", None, 1501),
        ("RETURN @a", None, 1551),
        ("RETURN 1", {"a": 1}, 1552),
        ("FOR d IN @@c RETURN d", {"@c": 5}, 1553),
        ("FOR d IN nothing RETURN d", None, 1203),
        ("RETURN NO_SUCH_FUNCTION()", None, 1540),
        ("RETURN LENGTH()", None, 1541),
        ("RETURN FAIL('no')", None, 1569),
        ("INSERT {_key: 'k00'} INTO numbers", None, 1210),
        ("INSERT {_key: 'a/b'} INTO numbers", None, 1221),
        ("REMOVE 'missing' IN numbers", None, 1202),
        ("FOR v IN 1..2 OUTBOUND 'numbers/k00' GRAPH 'none' RETURN v", None, 1924),
    ):
        with pytest.raises(AQLQueryExecuteError) as raised:
            db.aql.execute(text, bind_vars=variables)
        assert raised.value.error_code == number, text
        assert 400 <= raised.value.http_code < 500
    with pytest.raises(AQLQueryExecuteError, match=r"at position 2:\d+"):
        db.aql.execute("FOR d IN numbers\n  FILTER d. RETURN d")


def test_a_failing_query_changes_nothing(db):
    col = db.create_collection("untouched")
    with pytest.raises(AQLQueryExecuteError):
        db.aql.execute("FOR i IN 1..10 INSERT {_key: CONCAT('k', i % 7)} INTO untouched")
    assert col.count() == 0
    cursor = db.aql.execute("FOR i IN 1..10 INSERT {n: i} INTO untouched RETURN NEW.n")
    assert sorted(cursor) == list(range(1, 11))
    assert cursor.statistics()["modified"] == 10


def test_limits_on_time_and_memory(db):
    started = time.monotonic()
    with pytest.raises(AQLQueryExecuteError) as raised:
        db.aql.execute("FOR i IN 1..100000000 FILTER i < 0 RETURN i", max_runtime=0.2)
    assert errors(raised) == (410, 1500)
    assert time.monotonic() - started < 5
    with pytest.raises(AQLQueryExecuteError) as raised:
        db.aql.execute("FOR i IN 1..1000000 RETURN CONCAT('some text ', i)", memory_limit=100_000)
    assert raised.value.error_code == 32
    with pytest.raises(AQLQueryExecuteError) as raised:
        db.aql.execute("RETURN " + "[" * 2000 + "]" * 2000)
    assert raised.value.error_code == 1524


def test_profiles(db, numbers):
    query = "FOR d IN numbers RETURN d"
    assert db.aql.execute(query).profile() is None
    assert set(db.aql.execute(query, profile=True).profile()) == {"parsing", "executing"}
    planned = db.aql.execute(query, profile=2)
    assert planned.plan()["nodes"][0]["type"] == "SingletonNode"


def test_warnings(db):
    cursor = db.aql.execute("RETURN 1 / 0")
    assert list(cursor) == [None]
    assert cursor.warnings()[0]["code"] == 1562
    with pytest.raises(AQLQueryExecuteError) as raised:
        db.aql.execute("RETURN 1 / 0", fail_on_warning=True)
    assert raised.value.error_code == 1562


def test_running_queries_are_listed_and_killed(db):
    outcome: list[Exception] = []

    def run() -> None:
        try:
            db.aql.execute("FOR i IN 1..1000000000 FILTER i < @x RETURN i", bind_vars={"x": 0})
        except AQLQueryExecuteError as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 10
    listed: list[dict] = []
    while not listed and time.monotonic() < deadline:
        listed = db.aql.queries()
    assert listed[0]["bind_vars"] == {"x": 0}
    assert listed[0]["state"] == "executing"
    assert db.aql.kill(listed[0]["id"])
    thread.join(10)
    assert outcome[0].error_code == 1500
    with pytest.raises(AQLQueryKillError) as raised:
        db.aql.kill(listed[0]["id"])
    assert errors(raised) == (404, 1591)
    assert db.aql.slow_queries() == []
    assert db.aql.clear_slow_queries()
    assert db.aql.tracking()["enabled"]


def test_parse_and_explain(db, numbers):
    parsed = db.aql.validate("FOR d IN numbers FILTER d.n == @n RETURN d")
    assert parsed["collections"] == ["numbers"]
    assert parsed["bind_vars"] == ["n"]
    with pytest.raises(AQLQueryValidateError) as raised:
        db.aql.validate("FOR")
    assert errors(raised) == (400, 1501)
    numbers.add_index({"type": "persistent", "fields": ["n"], "name": "by_n"})
    plan = db.aql.explain("FOR d IN numbers FILTER d.n == @n RETURN d", bind_vars={"n": 1})
    nodes = {node["type"]: node for node in plan["nodes"]}
    assert nodes["IndexNode"]["indexes"][0]["name"] == "by_n"
    assert len(db.aql.explain("RETURN 1", all_plans=True)) == 1


def test_bind_values_cannot_break_out(db, numbers):
    hostile = "x' RETURN 1 //\" ` } ) REMOVE d IN numbers"
    assert list(db.aql.execute("FOR d IN numbers FILTER d._key == @k RETURN d", bind_vars={"k": hostile})) == []
    assert list(db.aql.execute("RETURN @o", bind_vars={"o": {hostile: hostile}})) == [{hostile: hostile}]
    assert list(db.aql.execute("FOR d IN numbers LIMIT 1 RETURN d.@a", bind_vars={"a": hostile})) == [None]
    with pytest.raises(AQLQueryExecuteError) as raised:
        db.aql.execute("FOR d IN @@c RETURN d", bind_vars={"@c": "numbers RETURN 1 //"})
    assert raised.value.error_code in (1203, 1208)
    assert numbers.count() == 25


# --- stream transactions --------------------------------------------------------------------------------------
def test_transactions_commit_and_abort(db):
    col = db.create_collection("accounts")
    transaction = db.begin_transaction(read="accounts", write="accounts")
    inside = transaction.collection("accounts")
    inside.insert({"_key": "a", "n": 1})
    assert list(transaction.aql.execute("FOR d IN accounts RETURN d._key")) == ["a"]
    assert not col.has("a")
    assert inside.count() == 1
    assert col.count() == 0
    assert transaction.transaction_status() == "running"
    assert {"id": transaction.transaction_id, "state": "running"} in db.list_transactions()
    assert transaction.commit_transaction()
    assert transaction.transaction_status() == "committed"
    assert transaction.commit_transaction()
    assert col.has("a")
    with pytest.raises(TransactionAbortError) as raised:
        transaction.abort_transaction()
    assert errors(raised) == (400, 1653)

    other = db.begin_transaction(exclusive="accounts")
    other.collection("accounts").update({"_key": "a", "n": 2})
    assert other.abort_transaction()
    assert other.transaction_status() == "aborted"
    assert col.get("a")["n"] == 1
    with pytest.raises(ArangoServerError) as raised:
        other.collection("accounts").insert({})
    assert errors(raised) == (404, 1655)
    with pytest.raises(TransactionCommitError):
        other.commit_transaction()


def test_a_failing_call_leaves_the_rest_of_its_transaction(db):
    col = db.create_collection("partly")
    transaction = db.begin_transaction(write="partly")
    transaction.collection("partly").insert({"_key": "a"})
    with pytest.raises(AQLQueryExecuteError):
        transaction.aql.execute("FOR k IN ['b', 'c', 'a'] INSERT {_key: k} INTO partly")
    transaction.collection("partly").insert({"_key": "d"})
    transaction.commit_transaction()
    assert sorted(col.keys()) == ["a", "d"]
    assert col.count() == 2


def test_reading_transactions_see_one_snapshot_and_do_not_block(db):
    col = db.create_collection("seen")
    col.insert({"_key": "a"})
    transaction = db.begin_transaction(read="seen")
    assert transaction.collection("seen").count() == 1
    col.insert({"_key": "b"})
    assert transaction.collection("seen").count() == 1
    with pytest.raises(ArangoServerError) as raised:
        transaction.collection("seen").insert({})
    assert errors(raised) == (400, 1652)
    assert transaction.commit_transaction()


def test_what_transactions_refuse(db, server):
    db.create_collection("declared")
    db.create_collection("undeclared")
    with pytest.raises(TransactionInitError) as raised:
        db.begin_transaction(write="missing")
    assert errors(raised) == (404, 1203)
    transaction = db.begin_transaction(write="declared")
    try:
        for forbidden, number in (
            (lambda: transaction.collection("undeclared").insert({}), 1652),
            (lambda: transaction.aql.execute("INSERT {} INTO undeclared"), 1652),
        ):
            with pytest.raises(ArangoServerError) as raised:
                forbidden()
            assert errors(raised) == (400, number)
        with pytest.raises(
            TransactionInitError, match=f"held by stream transaction {transaction.transaction_id}"
        ) as raised:
            db.begin_transaction(write="undeclared", lock_timeout=0.05)
        assert errors(raised) == (409, 1200)
    finally:
        transaction.abort_transaction()
    with pytest.raises(TransactionFetchError) as raised:
        db.fetch_transaction("999999999")
    assert errors(raised) == (404, 1655)
    answer = requests.post(
        f"{server.url}/_db/{db.name}/_api/transaction", json={"action": "f"}, auth=("root", PASSWORD), timeout=10
    )
    assert answer.status_code == 501


def test_many_waiting_writers_do_not_keep_a_transaction_from_its_end(db, server):
    col = db.create_collection("crowded")
    transaction = db.begin_transaction(write="crowded")
    transaction.collection("crowded").insert({"_key": "first"})
    outcomes: list[int] = []

    def write(number: int) -> None:
        answer = requests.post(
            f"{server.url}/_db/{db.name}/_api/document/crowded",
            json={"_key": f"w{number}"},
            auth=("root", PASSWORD),
            timeout=30,
        )
        outcomes.append(answer.status_code)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(60)]
    for writer in writers:
        writer.start()
    assert transaction.collection("crowded").insert({"_key": "second"})
    assert outcomes == []
    started = time.monotonic()
    assert transaction.commit_transaction()
    assert time.monotonic() - started < 10
    for writer in writers:
        writer.join()
    assert outcomes == [202] * 60
    assert col.count() == 62
