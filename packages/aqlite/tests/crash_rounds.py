"""Run by test_storage_durability: kill a writing process again and again, and check the data after each time.

Usage: python crash_rounds.py FOLDER ROUNDS SEED. Prints one JSON line: how many writes were acknowledged and found.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from aqlite.storage import ddl
from aqlite.storage.api import IndexInfo
from aqlite.storage.store import Store

BATCH = 20


def write_until_killed(folder: Path, acknowledge: int, start: int) -> None:
    """Commit batches for ever; tell the number of each through the pipe after its commit."""
    store = Store(folder)
    for batch in range(start, start + 100_000):
        with store.write("_system") as view:
            for position in range(BATCH):
                view.insert("c", {"_key": f"{batch}-{position}", "batch": batch, "value": random.random()})
            if batch % 3 == 0 and batch > start:
                view.remove("c", f"{batch - 1}-0")
                view.insert("c", {"_key": f"{batch - 1}-0", "batch": batch - 1, "again": True})
        os.write(acknowledge, f"{batch}\n".encode())


def check(folder: Path, acknowledged: list[int]) -> int:
    """Every acknowledged batch is whole, any other whole or absent, and indexes and counts agree; documents found."""
    store = Store(folder)
    with store.read("_system") as view:
        sizes: dict[int, int] = {}
        for document in view.scan("c"):
            sizes[document["batch"]] = sizes.get(document["batch"], 0) + 1
        (index,) = (index for index in view.collection("c").indexes if index.type == "persistent")
        indexed = sum(1 for _ in view.index_lookup("c", index, []))
        assert set(acknowledged) <= sizes.keys(), "an acknowledged batch is lost"
        assert set(sizes.values()) <= {BATCH}, "a batch is torn"
        assert view.count("c") == indexed == BATCH * len(sizes), "count, index and documents disagree"
    store.close()
    return len(sizes)


def main(folder: Path, rounds: int) -> None:
    """Start, kill, check, ``rounds`` times."""
    store = Store(folder)
    with store.write("_system") as view:
        ddl.create_collection(view, "c", "document", {})
        ddl.create_index(view, "c", IndexInfo("", "batch", "persistent", (("batch",),)))
    store.close()
    acknowledged: list[int] = []
    found = 0
    for round_ in range(rounds):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            write_until_killed(folder, writing, start=round_ * 100_000)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            lines = [pipe.readline()] if round_ % 4 else []  # every fourth is killed whatever it is at
            time.sleep(random.uniform(0.01, 0.06))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            acknowledged += [int(line) for line in (*lines, *pipe) if line.endswith("\n")]
        found = check(folder, acknowledged)
    sys.stdout.write(json.dumps({"acknowledged": len(acknowledged), "found": found}) + "\n")


if __name__ == "__main__":
    random.seed(int(sys.argv[3]))
    main(Path(sys.argv[1]), int(sys.argv[2]))
