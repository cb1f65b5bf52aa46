"""How fast the packages are to set up, to install and to import."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from workshop.settings import PROJECT_ROOT

sys.path.append(str(PROJECT_ROOT / "packages/aqlite/tests"))  # aqlite's own helpers for a fresh installation

REPEATS = 5
CLIENT_CODE = """
import sys, time
start = time.perf_counter()
import workshop.triton.client
import workshop.text.embedder
print(time.perf_counter() - start, bool({"torch", "torch_geometric"} & sys.modules.keys()))
"""


def client_import() -> tuple[float, bool, str]:
    """Median seconds that both clients take to import in a new Python, and whether torch stayed out."""
    seconds, with_torch = [], False
    for _ in range(REPEATS):
        command = [sys.executable, "-c", CLIENT_CODE]
        taken, torch = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        seconds.append(float(taken))
        with_torch |= torch == "True"
    return statistics.median(seconds), not with_torch, "torch is imported" if with_torch else "without torch"


def setup_warm() -> tuple[float, bool, str]:
    """Median seconds of ``make setup`` when nothing is left to do, and whether it kept to one line."""
    # as typed in a terminal: a make that runs below another one tells of the folders it enters
    outside = {name: value for name, value in os.environ.items() if name not in ("MAKELEVEL", "MAKEFLAGS", "MFLAGS")}

    def setup() -> subprocess.CompletedProcess:
        return subprocess.run(
            ["make", "setup"],
            cwd=PROJECT_ROOT,
            env=outside,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )

    seconds, most = [], 0
    setup()
    for _ in range(REPEATS):
        started = time.perf_counter()
        done = setup()
        seconds.append(time.perf_counter() - started)
        most = max(most, len(done.stdout.splitlines()))
    return statistics.median(seconds), most <= 1, f"prints {most} line(s)"


def aqlite_wheel() -> tuple[float, bool, str]:
    """Seconds from aqlite's wheel to the first answer of a server in a fresh environment, and whether it is right."""
    from fresh_install import build_wheel, first_answer, install_wheel

    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        started = time.perf_counter()
        answer = first_answer(install_wheel(wheel, Path(folder) / "environment"), Path(folder))
        seconds = time.perf_counter() - started
    return seconds, answer == [1, 4, 9], "environment, pip install, start, one query"


BENCHMARKS: dict[str, tuple[Callable[[], tuple[float, bool, str]], float]] = {
    "client_import": (client_import, 0.4),
    "setup_warm": (setup_warm, 0.8),
    "aqlite_wheel": (aqlite_wheel, 24.0),
}
"""Id to what measures it and the most seconds it may take."""


def measure(ids: set[str]) -> Iterator[dict]:
    """Yield a result for each of ``ids``."""
    for name, (benchmark, bar) in BENCHMARKS.items():
        if name in ids:
            seconds, right, note = benchmark()
            yield {
                "id": name,
                "value": seconds,
                "unit": "s",
                "peer": None,
                "ratio": None,
                "bar": f"<= {bar:g} s",
                "holds": right and seconds <= bar,
                "note": note,
            }
