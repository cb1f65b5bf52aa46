"""Readers beside writers, long queries that can be stopped, and bounds of what clients may leave open."""

from __future__ import annotations

import gzip
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import orjson
import psutil
import pytest
import requests
from arango.exceptions import AQLQueryExecuteError
from hypothesis import given
from hypothesis import strategies as st
from server_process import PASSWORD, ServerProcess

from aqlite.errors import ArangoError
from aqlite.http import cursors
from aqlite.http.request import Reply, Request, parse_json
from aqlite.services.cursors import CursorRegistry
from aqlite.services.jobs import JobLimits, JobRegistry
from aqlite.services.server import Limits, Server
from aqlite.storage import ddl
from aqlite.storage.store import Store
from aqlite.storage.write_lock import WriteLock

AUTH = ("root", PASSWORD)


# --- lanes ----------------------------------------------------------------------------------------------------
def test_reads_do_not_wait_for_queued_writes(server, db):
    collection = db.create_collection("queued")
    collection.insert({"_key": "there"})
    url = f"{server.url}/_db/{db.name}/_api"
    holder = db.begin_transaction(write="queued")
    with ThreadPoolExecutor(80) as pool:
        writes = [pool.submit(requests.post, f"{url}/document/queued", json={}, auth=AUTH) for _ in range(80)]
        assert not wait_for(lambda: any(write.done() for write in writes), seconds=1)
        started = time.monotonic()
        assert collection.count() == 1
        assert list(db.aql.execute("FOR d IN queued RETURN d._key")) == ["there"]
        assert time.monotonic() - started < 3
        holder.abort_transaction()
        assert [write.result().status_code for write in writes] == [202] * 80
    assert collection.count() == 81


def test_a_write_that_waited_in_vain_is_told_who_holds_the_lock(tmp_path):
    opened = Server(tmp_path / "data", root_password="x", limits=Limits(lock_seconds=0.1))
    opened.store.lock_writer(1, "a long import")
    with pytest.raises(ArangoError, match="held by a long import") as error, opened.store.write("_system"):
        pass
    assert error.value.error_num == 1200
    opened.store.unlock_writer()
    opened.close()


def test_the_write_lock_is_handed_on_in_order():
    lock, order = WriteLock(), []
    assert lock.try_acquire("first")
    assert not lock.try_acquire("second")
    waiters = [lock.enqueue(str(number)) for number in range(4)]
    for number, waiter in enumerate(waiters):
        waiter.granted.add_done_callback(lambda _, number=number: order.append(number))
    lock.withdraw(waiters[1])
    for expected in ([0], [0, 2], [0, 2, 3]):
        lock.release()
        assert order == expected
    with pytest.raises(ArangoError, match="held by 3"):
        lock.acquire(0.01, "late")
    lock.withdraw(waiters[3])  # it was granted: giving it up hands it on
    assert lock.try_acquire("after all")


@pytest.mark.parametrize("compressed", [False, True])
def test_pings_are_answered_while_a_large_body_arrives(server, db, compressed):
    db.create_collection(f"large{compressed:d}")
    body = b"\n".join([b'{"text": "%s"}' % (b"x" * 1000)] * 30_000)
    headers = {"content-encoding": "gzip"} if compressed else {}
    url = f"{server.url}/_db/{db.name}/_api/import?type=documents&collection=large{compressed:d}"
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(
            requests.post, url, data=gzip.compress(body, 1) if compressed else body, headers=headers, auth=AUTH
        )
        slowest = slowest_ping(server, sent)
        assert sent.result().json()["created"] == 30_000
    assert slowest < 2


def slowest_ping(server: ServerProcess, until: Future) -> float:
    slowest = 0.0
    with requests.Session() as session:
        while not until.done():
            started = time.monotonic()
            assert session.get(f"{server.url}/_api/version", auth=AUTH).status_code == 200
            slowest = max(slowest, time.monotonic() - started)
    return slowest


SORT = "FOR i IN 1..700000 SORT RAND() LIMIT 600000, 10 RETURN i"


def test_a_long_sort_ends_at_max_runtime_and_lets_pings_through(server, db):
    with ThreadPoolExecutor(1) as pool:
        started = time.monotonic()
        sorting = pool.submit(db.aql.execute, SORT, max_runtime=1.0)
        slowest = slowest_ping(server, sorting)
        with pytest.raises(AQLQueryExecuteError) as error:
            sorting.result()
        assert time.monotonic() - started < 4
    assert error.value.error_code == 1500
    assert slowest < 1


def test_killing_ends_a_long_sort(server, db):
    with ThreadPoolExecutor(1) as pool:
        sorting = pool.submit(db.aql.execute, SORT)
        assert wait_for(lambda: db.aql.queries(), seconds=10)
        db.aql.kill(db.aql.queries()[0]["id"])
        killed = time.monotonic()
        with pytest.raises(AQLQueryExecuteError) as error:
            sorting.result()
        assert time.monotonic() - killed < 3
    assert error.value.error_code == 1500


def wait_for(condition: Callable[[], object], seconds: float) -> bool:
    """Whether the condition becomes true within the time."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while time.monotonic() < deadline:
        if condition():
            return True
        pause.wait(0.05)
    return False


def repeat(times: int, call: Callable[[], object]) -> None:
    for _ in range(times):
        call()


# --- bounds ---------------------------------------------------------------------------------------------------
@pytest.fixture
def small(tmp_path: Path) -> Iterator[Server]:
    """A server with narrow bounds, in-process."""
    limits = Limits(open_transactions=3, cursor_bytes=100_000, wal_bytes=200_000, lock_seconds=0.2, expiry_seconds=0.0)
    opened = Server(tmp_path / "data", root_password="x", limits=limits)
    with opened.store.write("_system") as view:
        ddl.create_collection(view, "c", "document", {})
    yield opened
    opened.close()


def test_open_transactions_and_their_files_are_bounded(small):
    process = psutil.Process()
    begin = lambda: small.transactions.begin("_system", "root", frozenset(), 0.1)  # noqa: E731
    opened = [begin() for _ in range(3)]
    files = process.num_fds()
    for _ in range(50):
        with pytest.raises(ArangoError, match="too many open transactions, at most 3") as error:
            begin()
        assert error.value.error_num == 32
    assert process.num_fds() == files
    small.transactions.end(opened[0].id, "_system", "root", commit=True)
    begin()
    with pytest.raises(ArangoError):
        small.transactions.begin("_system", "root", frozenset(["no such"]), 0.1)


def test_a_transaction_that_cannot_start_takes_no_place(small):
    for _ in range(5):
        with pytest.raises(ArangoError) as error:
            small.transactions.begin("_system", "root", frozenset(["no such collection"]), 0.1)
        assert error.value.error_num == 1203


def test_all_cursors_together_are_bounded(small):
    body = b'{"query": "FOR i IN 1..200 RETURN REPEAT(\'x\', 100)", "batchSize": 1}'
    request = Request(small, "_system", "root", "POST", {}, {}, {}, body)
    first = cursors.create(request).body["id"]
    with pytest.raises(ArangoError, match="open cursors hold about") as error:
        repeat(20, lambda: cursors.create(request))
    assert error.value.error_num == 32
    small.cursors.clear()
    assert cursors.create(request).body["id"] != first


def test_the_log_is_bounded_under_a_long_reader(small):
    def write() -> None:
        with small.store.write("_system") as view:
            view.insert("c", {"text": "x" * 20_000})

    with small.store.read("_system") as reader:
        assert reader.count("c") == 0
        with pytest.raises(ArangoError, match="write-ahead log has") as error:
            repeat(100, write)
        assert error.value.error_num == 32
        assert reader.count("c") == 0
    repeat(100, write)


def test_jobs_and_their_results_are_bounded():
    gate = threading.Event()
    jobs = JobRegistry(len, JobLimits(pending=4, kept=3, kept_bytes=100))
    ids = [jobs.submit("root", lambda: gate.wait(10) and b"x" * 10, keep=True) for _ in range(4)]
    with pytest.raises(ArangoError, match="queue of background jobs is full, at most 4") as error:
        jobs.submit("root", bytes, keep=False)
    assert error.value.error_num == 503
    gate.set()
    assert wait_for(lambda: len(jobs.of("root", done=True)) == 3, seconds=10)
    assert {job.id for job in jobs.of("root", done=True)} < set(ids)
    last = jobs.submit("root", lambda: b"x" * 95, keep=True)
    assert wait_for(lambda: [job.id for job in jobs.of("root", done=True)] == [last], seconds=10)
    jobs.close()


def test_the_housekeeper_survives_every_failure(tmp_path, monkeypatch, caplog):
    def fail(registry: CursorRegistry) -> None:
        raise RuntimeError("a defect")

    fail.__name__ = "drop_expired"
    monkeypatch.setattr(CursorRegistry, "drop_expired", fail)
    with caplog.at_level(logging.ERROR, logger="aqlite"):
        opened = Server(tmp_path / "data", root_password="x", limits=Limits(transaction_idle_seconds=0.1))
        with opened.store.write("_system") as view:
            ddl.create_collection(view, "c", "document", {})
        for _ in range(2):
            transaction = opened.transactions.begin("_system", "root", frozenset(["c"]), 1.0)
            assert wait_for(lambda begun=transaction: begun.status == "aborted", seconds=10)
        opened.close()
    assert caplog.text.count("drop_expired failed") > 1


def test_readers_keep_their_snapshot_while_the_lock_is_held(tmp_path):
    store = Store(tmp_path / "data")
    with store.write("_system") as view:
        ddl.create_collection(view, "c", "document", {})
    with store.write("_system") as view:
        view.insert("c", {})
        with store.read("_system") as reader:
            assert reader.count("c") == 0
    store.close()


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 9000])
def test_replies_with_many_rows_are_written_in_steps(size):
    rows = [{"n": number, "text": "ä"} for number in range(size)]
    body = {"error": False, "result": rows, "extra": {"stats": {}}, "names": ["a", "b"]}
    assert Reply(body).encoded() == orjson.dumps(body)
    assert Reply(rows).encoded() == orjson.dumps(rows)
    with pytest.raises(ArangoError):
        Reply({"result": [*rows, object()]}).encoded()


nested = st.recursive(
    st.integers(0, 9) | st.sampled_from(["", '"', "\\", "},", "[{", "ä"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "},"]), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(nested, max_size=12), st.sampled_from(["", " ", "\n"]), st.integers(1, 40))
def test_long_arrays_are_parsed_in_steps(items, space, step):
    text = (f"[{space}" + f",{space}".join(orjson.dumps(item).decode() for item in items) + f"{space}]{space}").encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aqlite.http.request.PARSE_STEP", step)
        assert parse_json(text) == orjson.loads(text)
        for wrong in (text[:-1].rstrip(b" \n]"), text.rstrip() + b"]", text[:-1] + b",]", text.replace(b",", b",,")):
            try:
                expected = orjson.loads(wrong)
            except orjson.JSONDecodeError:
                with pytest.raises(ArangoError):
                    parse_json(wrong)
            else:
                assert parse_json(wrong) == expected
