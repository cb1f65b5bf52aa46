"""Readers and writers at the same time: snapshots stay whole, nothing is lost, caches never mix states."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from aqlite.errors import ArangoError
from aqlite.storage import ddl
from aqlite.storage.api import IndexInfo

ACCOUNTS, TOTAL, SECONDS = 40, 40_000, 1.5


def run_together(*workers: Callable[[], None]) -> list[BaseException]:
    """Run every worker in a thread of its own until the time is up; returns what they raised."""
    raised: list[BaseException] = []
    deadline = time.monotonic() + SECONDS

    def repeat(work: Callable[[], None]) -> None:
        try:
            while time.monotonic() < deadline:
                work()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=repeat, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_money_moves_but_never_appears_or_vanishes(store):
    store.lock_timeout = 30
    index = IndexInfo("", "by_balance", "persistent", (("balance",),))
    with store.write("_system") as view:
        index, _ = ddl.create_index(view, "c", index)
        for number in range(ACCOUNTS):
            view.insert("c", {"_key": str(number), "balance": TOTAL // ACCOUNTS, "v": [1.0, 0.0]})
    chance = random.Random(1)
    moves, looks = [], []

    def move() -> None:
        source, target = (str(n) for n in chance.sample(range(ACCOUNTS), 2))
        amount = chance.randrange(100)
        with store.write("_system") as view:
            view.update("c", source, {"balance": view.get("c", source)["balance"] - amount})
            view.update("c", target, {"balance": view.get("c", target)["balance"] + amount, "v": [amount, 1.0]})
        moves.append(amount)

    def move_and_fail() -> None:
        with suppress(ArangoError), store.write("_system") as view:
            view.update("c", "0", {"balance": -1_000_000})
            raise ArangoError(4)

    def look_at_documents() -> None:
        with store.read("_system") as view:
            assert sum(document["balance"] for document in view.scan("c")) == TOTAL
            assert sum(view.get("c", str(number))["balance"] for number in range(ACCOUNTS)) == TOTAL
        looks.append("documents")

    def look_at_the_index() -> None:
        with store.read("_system") as view:
            found = list(view.index_lookup("c", index, []))
            balances = [document["balance"] for document in found]
            assert balances == sorted(balances)
            assert sum(balances) == TOTAL
        looks.append("index")

    def look_at_the_vectors() -> None:
        with store.read("_system") as view:
            width = len(view.get("c", "0")["v"])
            column = view.vector_column("c", ("v",), width)
            assert column.matrix.tolist() == [document["v"] for document in view.scan("c")]
        looks.append("vectors")

    raised = run_together(move, move, move_and_fail, look_at_documents, look_at_the_index, look_at_the_vectors)
    assert raised == []
    assert len(moves) > 10
    assert set(looks) == {"documents", "index", "vectors"}


def test_collections_come_and_go_under_readers(store):
    store.lock_timeout = 30
    seen = []

    def make_and_drop() -> None:
        with store.write("_system") as view:
            ddl.create_collection(view, "passing", "document", {})
            for number in range(20):
                view.insert("passing", {"n": number})
        with store.write("_system") as view:
            ddl.drop_collection(view, "passing")

    def look() -> None:
        with store.read("_system") as view:
            if view.has_collection("passing"):
                assert [document["n"] for document in view.scan("passing")] == list(range(20))
                assert view.count("passing") == 20
                seen.append(True)

    assert run_together(make_and_drop, look, look) == []
    assert seen
