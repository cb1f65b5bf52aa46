"""What the disk keeps: kill -9, a second process, other formats, damage, a full disk."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from arango.exceptions import ArangoError as ClientError
from server_process import PASSWORD, ServerProcess

from aqlite.errors import ArangoError
from aqlite.storage import ddl
from aqlite.storage.files import DataFolder, DataFolderError
from aqlite.storage.store import Store

ROUNDS = 40


def test_killed_writers_lose_nothing_they_acknowledged(tmp_path):
    script = Path(__file__).with_name("crash_rounds.py")
    result = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "data"), str(ROUNDS), "3"],
        capture_output=True,
        text=True,
        env={"PATH": ""},
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    counts = json.loads(result.stdout)
    assert counts["found"] >= counts["acknowledged"] >= ROUNDS * 3 // 4


def test_a_killed_server_keeps_acknowledged_imports_and_transactions(tmp_path):
    chance = random.Random(5)
    imports: list[int] = []
    transactions: list[int] = []
    for round_ in range(3):
        server = ServerProcess(tmp_path / "data", password=PASSWORD if round_ == 0 else None)
        db = server.database()
        if round_ == 0:
            db.create_collection("imported")
            db.create_collection("paired")
        imported_sizes = dict(
            db.aql.execute("FOR d IN imported COLLECT batch = d.batch WITH COUNT INTO n RETURN [batch, n]")
        )
        paired_sizes = dict(
            db.aql.execute("FOR d IN paired COLLECT batch = d.batch WITH COUNT INTO n RETURN [batch, n]")
        )
        assert set(imports) <= imported_sizes.keys()
        assert set(imported_sizes.values()) <= {200}
        assert set(transactions) <= paired_sizes.keys()
        assert set(paired_sizes.values()) <= {2}
        killer = threading.Timer(chance.uniform(0.2, 0.5), server.kill)
        killer.start()
        with suppress(ClientError, OSError):  # the kill cuts a call off
            for batch in range(round_ * 1000, round_ * 1000 + 1000):
                db.collection("imported").import_bulk([{"batch": batch}] * 200)
                imports.append(batch)
                transaction = db.begin_transaction(write="paired")
                transaction.collection("paired").insert({"batch": batch})
                transaction.aql.execute("INSERT {batch: @b} INTO paired", bind_vars={"b": batch})
                transaction.commit_transaction()
                transactions.append(batch)
        killer.join()
    assert imports
    assert transactions


def test_a_second_process_is_refused(tmp_path, store):
    with pytest.raises(DataFolderError, match="in use by another aqlite process"):
        DataFolder(tmp_path / "data")
    with pytest.raises(RuntimeError, match=r"ended with 1: aqlite: data folder .* is in use"):
        ServerProcess(tmp_path / "data")
    store.close()
    with DataFolder(tmp_path / "data"):
        pass


def test_another_format_version_is_refused(tmp_path, store):
    store._writer.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(DataFolderError, match="data format 99, this aqlite reads format 2"):
        Store(tmp_path / "data")


def test_files_of_other_programs_are_refused(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "aqlite.db").write_bytes(b"not a database at all, just text" * 1000)
    with pytest.raises(DataFolderError, match="damaged or not an aqlite file"):
        Store(folder)
    with pytest.raises(RuntimeError, match=r"ended with 1: aqlite: .*damaged"):
        ServerProcess(folder)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_damaged_file_is_refused_not_served(tmp_path, store, part):
    with store.write("_system") as view:
        for number in range(3000):
            view.insert("c", {"_key": f"k{number}", "text": "x" * 100})
    store._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path = store._folder.path
    store.close()
    content = bytearray(path.read_bytes())
    start = int(len(content) * part) // 4096 * 4096
    content[start : start + 4096] = b"\xa5" * 4096
    path.write_bytes(bytes(content))
    with pytest.raises(DataFolderError, match="is damaged"):
        Store(tmp_path / "data")


def test_a_full_disk_refuses_writes_and_keeps_what_is_there(tmp_path):
    store = Store(tmp_path / "small", max_bytes=2**20)
    with store.write("_system") as view:
        ddl.create_collection(view, "c", "document", {})
    written = 0

    def fill() -> None:
        nonlocal written
        while True:
            with store.write("_system") as view:
                for _ in range(10):
                    view.insert("c", {"text": "x" * 1000})
            written += 10

    with pytest.raises(ArangoError, match="filesystem full") as error:
        fill()
    assert error.value.error_num == 1104
    with store.read("_system") as view:
        assert view.count("c") == sum(1 for _ in view.scan("c")) == written > 100
    with store.write("_system") as view:
        view.truncate("c")
    with store.write("_system") as view:
        view.insert("c", {"text": "x" * 1000})
    store.close()
    with Store(tmp_path / "small").read("_system") as view:
        assert view.count("c") == 1


def test_a_full_disk_over_http(tmp_path):
    server = ServerProcess(tmp_path / "data", options=("--max-size-mb", "1"))
    try:
        db = server.database()
        collection = db.create_collection("c")
        transaction = db.begin_transaction(write="c")
        with pytest.raises(ClientError) as error:
            transaction.collection("c").import_bulk([{"text": "x" * 1000}] * 3000)
        assert error.value.error_code == 1104
        with pytest.raises(ClientError):
            transaction.commit_transaction()
        assert collection.count() == 0
        assert collection.insert({"_key": "small"})["_key"] == "small"
    finally:
        assert server.stop() == 0


def test_a_polite_stop_is_quick_and_ends_open_transactions(tmp_path):
    server = ServerProcess(tmp_path / "data")
    db = server.database()
    collection = db.create_collection("c")
    db.begin_transaction(write="c").collection("c").insert({"_key": "uncommitted"})
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 5
    again = ServerProcess(tmp_path / "data", password=None)
    assert not again.database().collection(collection.name).has("uncommitted")
    again.stop()


def test_a_first_start_needs_a_password(tmp_path):
    for password in (None, ""):
        with pytest.raises(RuntimeError, match="ended with 2: aqlite: set ARANGO_ROOT_PASSWORD"):
            ServerProcess(tmp_path / "data", password=password)


def test_the_password_is_stored_hashed(tmp_path):
    server = ServerProcess(tmp_path / "data", password="correct horse battery")
    server.stop()
    for path in (tmp_path / "data").iterdir():
        assert b"correct horse battery" not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0


def test_other_addresses_need_consent(tmp_path):
    with pytest.raises(RuntimeError, match=r"ended with 2: aqlite: --host 0\.0\.0\.0 needs --allow-remote"):
        ServerProcess(tmp_path / "data", options=("--host", "0.0.0.0"))
