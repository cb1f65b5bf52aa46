"""The console's queries against the real store: whatever is written, nothing changes and nothing runs away."""

from __future__ import annotations

import time

import pytest
from movie_world import fresh_database

from workshop.errors import QueryError
from workshop.store.read_only import LONGEST_QUERY, Limits, read_only_query


@pytest.fixture(scope="module")
def database(local_store):
    database = fresh_database(local_store, "read_only")
    database.create_collection("things").insert_many([{"_key": str(i), "n": i} for i in range(1000)])
    database.create_collection("ties", edge=True).insert({"_from": "things/1", "_to": "things/2"})
    return database


def contents(database):
    return {
        name: sorted((each["_key"], each["_rev"]) for each in database.collection(name)) for name in ("things", "ties")
    }


@pytest.mark.parametrize(
    "query",
    [
        "INSERT { n: 1 } INTO things",
        "FOR t IN things UPDATE t WITH { n: 0 } IN things",
        "FOR t IN things REPLACE t WITH { } IN things",
        "FOR t IN things REMOVE t IN things RETURN OLD",
        "UPSERT { _key: '1' } INSERT { } UPDATE { n: 5 } IN things",
        "LET gone = (FOR t IN things REMOVE t IN things RETURN 1) RETURN LENGTH(gone)",
        "RETURN 1 /* ; */ \n // \n INSERT { n: 1 } INTO things",
        "INSERT { _from: 'things/1', _to: 'things/3' } INTO ties",
        "FOR t IN things LIMIT 1 INSERT { n: t.n } INTO ties OPTIONS { exclusive: true }",
        "RETURN 1; REMOVE '1' IN things",
        "'); db._drop('things'); //",
        "FOR u IN _users RETURN u",
        "FOR u IN @@users RETURN u",
    ],
)
def test_a_query_that_does_more_than_read_is_refused_and_changes_nothing(database, query):
    before = contents(database)
    with pytest.raises(QueryError):
        read_only_query(database, query)
    assert contents(database) == before


def test_values_are_values_whatever_they_hold(database):
    hostile = "1 REMOVE '1' IN things RETURN \"</script>"
    assert read_only_query(database, "RETURN @it", {"it": hostile}).rows == [hostile]


def test_rows_are_limited_and_the_answer_says_so(database):
    found = read_only_query(database, "FOR t IN things SORT t.n RETURN t.n", limits=Limits(rows=7))
    assert (found.rows, found.more) == ([0, 1, 2, 3, 4, 5, 6], True)
    assert not read_only_query(database, "FOR t IN things LIMIT 7 RETURN 1", limits=Limits(rows=7)).more


@pytest.mark.parametrize("query", ["RETURN SLEEP(30)", "FOR a IN things FOR b IN things FOR c IN things RETURN 1"])
def test_time_is_limited(database, query):
    started = time.monotonic()
    with pytest.raises(QueryError, match="LIMIT what it looks at"):
        read_only_query(database, query, limits=Limits(seconds=0.5, megabytes=32))
    assert time.monotonic() - started < 10


def test_memory_is_limited(database):
    with pytest.raises(QueryError, match="4 MB here"):
        read_only_query(database, "FOR i IN 1..10000000 SORT i DESC RETURN i", limits=Limits(megabytes=4))


@pytest.mark.parametrize(
    ("query", "words"),
    [("", "blank"), (" \n ", "blank"), ("x" * (LONGEST_QUERY + 1), "20,001 characters"), ("FOR FOR", "error 1501")],
)
def test_what_is_no_query_is_refused_in_words(database, query, words):
    with pytest.raises(QueryError, match=words):
        read_only_query(database, query)


def test_no_transaction_is_left_open(database):
    with pytest.raises(QueryError):
        read_only_query(database, "REMOVE '1' IN things")
    read_only_query(database, "FOR t IN things RETURN t", limits=Limits(rows=1))
    assert [each for each in database.list_transactions() if each["state"] == "running"] == []
