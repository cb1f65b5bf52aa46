"""What the server does by itself: expiry of documents, idle transactions and cursors. In-process, without sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aqlite.aql import parser
from aqlite.errors import ArangoError
from aqlite.http import cursors
from aqlite.http.request import Request
from aqlite.services.server import Limits, Server
from aqlite.storage import ddl
from aqlite.storage.api import IndexInfo


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that tidies up every second, with an empty collection ``c``."""
    limits = Limits(transaction_idle_seconds=0.1, expiry_seconds=0.0, lock_seconds=0.1)
    opened = Server(tmp_path / "data", root_password="x", limits=limits)
    with opened.store.write("_system") as view:
        ddl.create_collection(view, "c", "document", {})
    yield opened
    opened.close()


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether the condition becomes true within ten seconds."""
    deadline, pause = time.monotonic() + 10, threading.Event()
    while time.monotonic() < deadline:
        if condition():
            return True
        pause.wait(0.05)
    return False


def test_the_grammar_is_built_before_the_server_is_ready(tmp_path):
    parser.parse("RETURN 1")  # whose tree stays cached, so that parsing it again would need no parser
    parser.build_parser.cache_clear()
    opened = Server(tmp_path / "data", root_password="x")
    built = parser.build_parser.cache_info().currsize
    opened.close()
    assert built == 1


def test_idle_transactions_are_aborted_and_free_the_lock(server):
    transaction = server.transactions.begin("_system", "root", frozenset(["c"]), 0.1)
    with server.transactions.using(transaction.id, "_system", "root") as view:
        view.insert("c", {"_key": "lost"})
    with pytest.raises(ArangoError, match="write lock"), server.store.write("_system"):
        pass
    assert eventually(lambda: server.transactions.status(transaction.id, "_system", "root") == "aborted")
    with server.store.write("_system") as view:
        assert view.count("c") == 0


def test_expired_documents_are_removed(server):
    ttl = IndexInfo("", "t", "ttl", (("at",),), sparse=True, options={"expireAfter": 0})
    with server.store.write("_system") as view:
        ddl.create_index(view, "c", ttl)
        view.insert("c", {"at": time.time() - 1})
        view.insert("c", {"at": time.time() + 1000})

    def count() -> int:
        with server.store.read("_system") as view:
            return view.count("c")

    assert eventually(lambda: count() == 1)


def test_idle_cursors_are_dropped(server):
    body = b'{"query": "FOR i IN 1..10 RETURN i", "batchSize": 1, "ttl": 0}'
    request = Request(server, "_system", "root", "POST", {}, {}, {}, body)
    id_ = cursors.create(request).body["id"]

    def gone() -> bool:
        try:
            server.cursors.find(id_, "_system", "root")
        except ArangoError as error:
            return error.error_num == 1600
        return False

    assert eventually(gone)


def test_a_closed_server_refuses_work(server):
    server.close()
    for refused in (server.store.read, server.store.write):
        with pytest.raises(ArangoError) as error, refused("_system"):
            pass
        assert error.value.error_num == 30
