"""How long ``make run`` takes once everything is there."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator

from workshop.settings import PROJECT_ROOT

SECONDS_EACH = 30.0


def measure(ids: set[str]) -> Iterator[dict]:
    """Yield ``warm_run``: seconds of ``make run`` with the environment, data and weights in place."""
    if "warm_run" not in ids:
        return
    started = time.perf_counter()
    finished = subprocess.run(
        ["make", "run"], cwd=PROJECT_ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1800
    )
    seconds = time.perf_counter() - started
    report = json.loads(max((PROJECT_ROOT / "runs").glob("*/report.json")).read_text())
    passed = finished.returncode == 0
    yield {
        "id": "warm_run",
        "value": seconds,
        "unit": "s",
        "peer": None,
        "ratio": None,
        "bar": f"<= {SECONDS_EACH:g} s a notebook",
        "holds": passed and seconds <= SECONDS_EACH * len(report["notebooks"]),
        "note": f"{len(report['notebooks'])} notebooks" + ("" if passed else f", failed: {finished.stdout[-300:]}"),
    }
