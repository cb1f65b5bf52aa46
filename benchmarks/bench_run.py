"""How long ``make run`` takes once everything is there."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator

from workshop.settings import PROJECT_ROOT

SECONDS_EACH = 30.0
LONGEST, OF_WHICH = 360.0, ("12", "13")  # no notebook of these may take longer


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
    each = {result["name"][:2]: result["seconds"] for result in report["notebooks"]}
    silent = [remark for result in report["notebooks"] for remark in result["remarks"]]
    note = f"seconds of each notebook: {', '.join(f'{number} {taken:.0f}' for number, taken in each.items())}"
    yield {
        "id": "warm_run",
        "value": seconds,
        "unit": "s",
        "peer": None,
        "ratio": None,
        "bar": f"<= {SECONDS_EACH:g} s a notebook, {' and '.join(OF_WHICH)} <= {LONGEST:g} s each, no silent cell",
        "holds": passed
        and seconds <= SECONDS_EACH * len(each)
        and all(each[number] <= LONGEST for number in OF_WHICH)
        and not silent,
        "note": "; ".join([note, *silent]) if passed else f"failed: {finished.stdout[-300:]}",
    }
