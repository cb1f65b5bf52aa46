"""``make status`` and ``make top``: what the servers do, in the terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time

import numpy as np
import pytest
from rich.console import Console

from workshop import stack
from workshop.settings import PROJECT_ROOT, Settings
from workshop.stack import activity, tables
from workshop.stack.private import private_settings
from workshop.store.connection import connect
from workshop.triton.metrics import ModelCounts

SECONDS = 60


def environment(settings: Settings) -> dict[str, str]:
    """The settings' places and ports as variables, for a command."""
    names = (
        "stack_dir",
        "triton_http_port",
        "triton_grpc_port",
        "triton_metrics_port",
        "sagemaker_port",
        "arango_port",
    )
    return {**os.environ, **{f"WORKSHOP_{name.upper()}": str(getattr(settings, name)) for name in names}}


def drawn(reading: activity.Reading, earlier: activity.Reading | None = None) -> list[str]:
    console = Console(width=160, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(tables.activity(reading, earlier))
    return console.export_text().splitlines()


def test_requests_and_times_of_a_model_are_read(client, local_stack):
    before = activity.read(local_stack).models["look_up"]
    client.infer("look_up", {"ids__0": np.zeros((3, 2), np.int64)})
    end = time.monotonic() + SECONDS
    # the server counts a request shortly after it has sent the answer
    while (after := activity.read(local_stack).models["look_up"]) == before:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert (after.requests - before.requests, after.inferences - before.inferences) == (1, 3)
    assert after.request_seconds > before.request_seconds
    assert after.pending == 0


def test_the_store_s_numbers_are_read(local_store):
    list(connect(local_store).aql.execute("RETURN 1"))
    reading = activity.read(local_store)
    assert reading.store["requests"] > reading.store["queries"] >= 1
    assert reading.store["memory"] > 2**20
    assert "no metrics of Triton at http://127.0.0.1:" in reading.problems["triton"]


def test_a_table_shows_totals_or_rates():
    counts = ModelCounts(10, 1, 40, 5, 2.0, 1.0, 3)
    earlier = activity.Reading(100.0, {"m": ModelCounts()})
    now = activity.Reading(102.0, {"m": counts, "idle": ModelCounts()}, problems={"store": "no answer at [x]"})
    assert drawn(now)[1].split() == ["m", "10", "1", "8.0", "200.0", "100.0", "3"]
    assert drawn(now)[2].split() == ["idle", "0", "0", "-", "-", "-", "0"]
    lines = drawn(now, earlier)
    assert "requests/s" in lines[0]
    assert lines[1].split()[1:3] == ["5", "0.5"]
    assert lines[-1].strip() == "store does not answer: no answer at [x]"


def test_status_shows_models_requests_latencies_and_queue(client, local_stack):
    client.infer("look_up", {"ids__0": np.zeros((1, 2), np.int64)})
    command = [sys.executable, str(PROJECT_ROOT / "scripts/stack.py"), "status"]
    wide = {**environment(local_stack), "COLUMNS": "200"}
    shown = subprocess.run(command, env=wide, capture_output=True, text=True, timeout=120)
    heading = next(line for line in shown.stdout.splitlines() if "in queue" in line)
    assert heading.split()[1:3] == ["requests", "failed"]
    assert "waiting" in heading
    assert re.search(r"^ *look_up +\d+ ", shown.stdout, re.MULTILINE)
    assert "store does not answer" not in shown.stdout, "it was not started"
    report = json.loads(subprocess.run([*command, "--json"], env=wide, capture_output=True, timeout=120).stdout)
    assert report[0]["activity"]["look_up"]["requests"] >= 1


class Terminal:
    """``scripts/top.py`` in a terminal of its own."""

    def __init__(self, settings: Settings) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (40, 160)) if hasattr(termios, "tcsetwinsize") else None
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.shown = ""
        command = [sys.executable, str(PROJECT_ROOT / "scripts/top.py"), "--interval", "0.2"]
        variables = {**environment(settings), "TERM": "xterm", "COLUMNS": "160", "LINES": "40"}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=variables, start_new_session=True
        )

    def await_text(self, text: str) -> None:
        """Read what is drawn until it holds the text, from here on."""
        self.shown, end = "", time.monotonic() + SECONDS
        while text not in self.shown:
            assert time.monotonic() < end, f"no {text!r} within {SECONDS} s: {self.shown[-2000:]}"
            if select.select([self.master], [], [], 0.5)[0]:
                self.shown += os.read(self.master, 65536).decode(errors="replace")

    def end(self) -> int:
        """Read the rest until the program has ended; returns its exit status."""
        end = time.monotonic() + SECONDS
        while self.process.poll() is None and time.monotonic() < end:
            if select.select([self.master], [], [], 0.1)[0]:
                os.read(self.master, 65536)
        return self.process.wait(1)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def store(tmp_path):
    """Settings of a running store of the test's own, beside which no Triton runs."""
    settings = private_settings(tmp_path / "stack", arango_password="")
    with stack.running(settings, ["aqlite"]):
        yield settings
        stack.down(settings)


@pytest.fixture
def terminal(store):
    running = Terminal(store)
    yield running
    running.close()


def test_top_follows_a_server_that_goes_away_and_returns_and_q_ends_it(terminal, store):
    terminal.await_text("queries/s")
    terminal.await_text("triton does not answer")
    stack.down(store, ["aqlite"])
    terminal.await_text("store does not answer")
    stack.up(store, ["aqlite"])
    terminal.await_text("queries/s")
    os.write(terminal.master, b"xq")
    assert terminal.end() == 0
    assert termios.tcgetattr(terminal.slave) == terminal.before, "echo and line mode are back"


def test_ctrl_c_ends_top_and_gives_the_terminal_back(terminal):
    terminal.await_text("queries/s")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert termios.tcgetattr(terminal.slave) == terminal.before


def test_without_a_terminal_top_says_what_to_do_instead(store):
    command = [sys.executable, str(PROJECT_ROOT / "scripts/top.py")]
    refused = subprocess.run(
        command, env=environment(store), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    assert refused.returncode == 1
    assert "top.py --once" in refused.stderr
    once = subprocess.run(
        [*command, "--once", "--interval", "0.1"], env=environment(store), capture_output=True, text=True, timeout=60
    )
    assert once.returncode == 0
    assert "queries/s" in once.stdout
