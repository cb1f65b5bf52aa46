"""Faults of the store: killed, frozen, its disk full, its files cut or damaged, its clock set."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from arango.request import Request
from small_disk import on_small_disk

from workshop import stack
from workshop.errors import ServerDiedError, StoreError, StoreTimeoutError, StoreUnreachableError
from workshop.stack import process
from workshop.stack.private import private_settings
from workshop.stack.store import store_service
from workshop.store.bulk import upsert
from workshop.store.connection import connect, store_errors, wait_ready

DOCUMENTS = [{"_key": f"k{number:05d}", "batch": number // 500, "text": "x" * 200} for number in range(20_000)]
CLOCK = Path(__file__).with_name("clock")
DAY = 86_400


def server_process(settings) -> psutil.Process:
    return process.read_identity(settings.stack_dir.resolve(), "aqlite").process()


def batches(database) -> dict[int, int]:
    """Number of the batch to how many of its documents are there."""
    counted = "FOR d IN c COLLECT batch = d.batch WITH COUNT INTO n RETURN [batch, n]"
    return dict(database.aql.execute(counted))


@pytest.fixture
def own(tmp_path):
    """Settings of a store of the case's own; stopped at its end."""
    settings = private_settings(tmp_path / "stack", arango_password="")
    yield settings
    stack.down(settings, ["aqlite"])


@pytest.mark.fault(
    broken="kill -9 of the store while documents are written in batches",
    expected="StoreUnreachableError; no acknowledged batch is lost, none torn; written again, nothing is there twice",
)
def test_the_store_is_killed_while_writing(store, database):
    database.create_collection("c")
    acknowledged, enough = [0], threading.Event()

    def on_batch(seen: int, _: int) -> None:
        acknowledged[0] = seen
        if seen >= 2000:
            enough.set()

    def kill() -> None:
        enough.wait(60)
        os.kill(server_process(store).pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(StoreUnreachableError, match="could not write 500 documents to 'c'"):
        upsert(database, "c", DOCUMENTS, on_batch=on_batch)
    killer.join()
    stack.up(store, ["aqlite"])
    found = batches(database)
    assert set(range(acknowledged[0] // 500)) <= set(found)
    assert set(found.values()) == {500}
    report = upsert(database, "c", DOCUMENTS)
    assert report.updated == 500 * len(found)
    assert report.written == database.collection("c").count() == len(DOCUMENTS)


@pytest.mark.fault(
    broken="the store's journal (SQLite's write-ahead log) is cut in the middle, as after a crash of the machine",
    expected="it opens; what is there is a beginning of what was written, in whole batches, with its index in step",
)
def test_the_journal_is_cut(own):
    stack.up(own, ["aqlite"])
    database = connect(own)
    database.create_collection("c").add_index({"type": "persistent", "fields": ["batch"]})
    upsert(database, "c", DOCUMENTS[:1500])
    os.kill(server_process(own).pid, signal.SIGKILL)
    journal = own.stack_dir / "aqlite" / "aqlite.db-wal"
    whole = journal.stat().st_size
    os.truncate(journal, whole // 2 + 123)
    stack.up(own, ["aqlite"])
    database = connect(own)
    left = 0
    if database.has_collection("c"):
        found = batches(database)
        left = len(found)
        assert set(found) == set(range(left))
        assert set(found.values()) <= {500}
        by_index = "FOR d IN c FILTER d.batch >= 0 COLLECT WITH COUNT INTO n RETURN n"
        assert list(database.aql.execute(by_index)) == [database.collection("c").count()]
    assert left < 3
    if not database.has_collection("c"):
        database.create_collection("c")
    assert upsert(database, "c", DOCUMENTS[:1500]).updated == 500 * left
    assert batches(database) == {0: 500, 1: 500, 2: 500}


@pytest.mark.fault(
    broken="pages in the middle of the store's data file are overwritten",
    expected="the start is refused by ServerDiedError, which says that the file is damaged; nothing wrong is served",
)
@pytest.mark.long
def test_the_data_file_is_damaged(own):
    stack.up(own, ["aqlite"])
    database = connect(own)
    database.create_collection("c")
    upsert(database, "c", DOCUMENTS[:3000])
    stack.down(own, ["aqlite"])
    path = own.stack_dir / "aqlite" / "aqlite.db"
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 8192] = b"\xa5" * 8192
    path.write_bytes(bytes(content))
    with pytest.raises(ServerDiedError, match=r"aqlite\.db is damaged"):
        stack.up(own, ["aqlite"])
    assert not process.members(own.stack_dir.resolve(), "aqlite")


@pytest.mark.fault(
    broken="the store's disk (a tmpfs of 12 MB) is full",
    expected="StoreError says that it is full; all before is there and read; with room, writing goes on",
)
def test_the_disk_of_the_store_is_full(own):
    folder = (own.stack_dir / "aqlite").resolve()
    service = store_service(own)
    service = replace(service, argv=on_small_disk(service.argv, folder, megabytes=12, ballast_megabytes=6))
    identity = process.start(service)
    database = connect(own)
    database.create_collection("c")
    acknowledged = [0]
    with pytest.raises(StoreError, match="full"):
        upsert(database, "c", DOCUMENTS, on_batch=lambda seen, refused: acknowledged.append(seen - refused))
    assert database.collection("c").count() == acknowledged[-1] > 0
    found = batches(database)
    assert set(found.values()) == {500}
    Path(f"/proc/{identity.pid}/root{folder}/ballast").unlink()
    assert upsert(database, "c", DOCUMENTS[: 500 * len(found) + 500]).created == 500


@pytest.mark.fault(
    broken="the store's clock jumps a day forward, two days back, and a day forward, with a restart between",
    expected="every write gets a later revision than all before; open queries and transactions go on",
)
@pytest.mark.long
def test_the_clock_jumps(own, tmp_path, monkeypatch):
    shift = tmp_path / "shift"
    shift.write_text("0")
    monkeypatch.setenv("PYTHONPATH", str(CLOCK))
    monkeypatch.setenv("FAULTS_CLOCK_SHIFT", str(shift))
    stack.up(own, ["aqlite"])
    database = connect(own)
    collection = database.create_collection("c")
    upsert(database, "c", DOCUMENTS[:1500])
    transaction = database.begin_transaction(write="c")
    transaction.collection("c").insert({"_key": "before"})
    cursor = database.aql.execute("FOR d IN c SORT d._key RETURN d._key", batch_size=100, ttl=60)
    days = []
    for number, seconds in enumerate((DAY, -DAY)):
        shift.write_text(str(seconds))
        transaction.collection("c").insert({"_key": f"jump{number}"})
        days.append(database.conn.send_request(Request("get", "/_admin/time")).body["time"])
    assert days[0] - days[1] > 1.9 * DAY, "the clock of the server did jump"
    transaction.commit_transaction()
    assert list(cursor) == sorted(document["_key"] for document in DOCUMENTS[:1500])
    stack.down(own, ["aqlite"])
    shift.write_text("0")
    stack.up(own, ["aqlite"])
    collection.insert({"_key": "restarted"})
    revisions = "FOR k IN ['k00000', 'before', 'jump0', 'jump1', 'restarted'] RETURN DECODE_REV(DOCUMENT('c', k)._rev)"
    moments = [(moment["date"], moment["count"]) for moment in database.aql.execute(revisions)]
    assert moments == sorted(set(moments)), "a later write has a later revision"


@pytest.mark.fault(
    broken="the store is stopped (SIGSTOP) and goes on later (SIGCONT)",
    expected="calls end by StoreTimeoutError within their limit; afterwards the same server answers",
)
@pytest.mark.long
def test_the_store_freezes_and_thaws(store, database):
    impatient = connect(store, database=database.name, request_timeout=1.0)
    server = server_process(store)
    server.suspend()
    try:
        began = time.monotonic()
        with pytest.raises(StoreTimeoutError), store_errors("ask"):
            impatient.collections()
        assert time.monotonic() - began < 5
        with pytest.raises(StoreUnreachableError, match=r"no store answered at .* within 1 s"):
            wait_ready(store, timeout=1.0)
    finally:
        server.resume()
    assert wait_ready(store, timeout=20)


@pytest.mark.fault(
    broken="a body of more than 64 MB is sent to the store, and one document of 20 MB",
    expected="the first is refused by StoreError before it is read to its end; the second is kept; the store serves on",
)
@pytest.mark.long
def test_a_body_is_oversized(store, database):
    collection = database.create_collection("c")
    with pytest.raises(StoreError), store_errors("write too much"):
        collection.import_bulk([{"text": "x" * 2**20}] * 70)
    assert collection.count() == 0
    report = upsert(database, "c", [{"_key": "large", "text": "x" * 20 * 2**20}, {"_key": "small"}])
    assert report.created == 2
    assert len(collection.get("large")["text"]) == 20 * 2**20


@pytest.mark.fault(
    broken="a second store is started on the data of a running one",
    expected="ServerDiedError says that the folder is in use; the first goes on",
)
@pytest.mark.long
def test_two_stores_share_a_folder(store, database, tmp_path):
    second = private_settings(tmp_path / "second", arango_password="")
    data = str((store.stack_dir / "aqlite").resolve())
    service = store_service(second)
    own_data = service.argv.index("--data") + 1
    service = replace(service, argv=(*service.argv[:own_data], data, *service.argv[own_data + 1 :]))
    with pytest.raises(ServerDiedError, match="is in use by another aqlite process"):
        process.start(service)
    assert database.create_collection("c").insert({"_key": "kept"})["_key"] == "kept"
