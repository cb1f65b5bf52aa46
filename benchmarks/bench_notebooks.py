"""What the notebooks promise to readers: no result typed by hand, and exercises that refuse wrong answers."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from workshop.runner.index import INDEX_PATH
from workshop.runner.prose import literals
from workshop.settings import PROJECT_ROOT

sys.path.append(str(PROJECT_ROOT / "tests"))  # notebooks with their exercises answered

LEAST_REFUSED = 3


def prose_literals() -> tuple[int, bool, str]:
    """Numbers in the text of notebooks and solutions that state a result and are typed by hand."""
    paths = sorted(INDEX_PATH.parent.glob("**/*.ipynb"))
    found = [f"{path.name}, {literal}" for path in paths for literal in literals(path)]
    return len(found), not found, found[0] if found else f"{len(paths)} notebooks"


def exercise_refusals() -> tuple[int, bool, str]:
    """Wrong answers that an exercise refuses, the least of all exercises; the notebooks run at size tiny."""
    from answered import verdicts

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pytest", "tests/notebooks", "-k", "exercises", f"--basetemp={folder}/base"]
        done = subprocess.run(
            command, cwd=PROJECT_ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=3000
        )
        refused = {
            exercise: sum(shown.mistake is not None and shown.status == "not yet" for shown in tries)
            for path in Path(folder).glob("base/executed*/*.ipynb")
            for exercise, tries in verdicts(path).items()
        }
    least = min(refused.values(), default=0)
    note = f"{len(refused)} exercises, {sum(refused.values())} wrong answers refused"
    return least, done.returncode == 0 and least >= LEAST_REFUSED, note if done.returncode == 0 else done.stdout[-300:]


BENCHMARKS: dict[str, tuple[Callable[[], tuple[int, bool, str]], str]] = {
    "prose_literals": (prose_literals, "0"),
    "exercise_refusals": (exercise_refusals, f">= {LEAST_REFUSED} of each exercise"),
}
"""Id to what measures it and the bar."""


def measure(ids: set[str]) -> Iterator[dict]:
    """Yield a result for each of ``ids``."""
    for name, (benchmark, bar) in BENCHMARKS.items():
        if name in ids:
            value, holds, note = benchmark()
            yield {
                "id": name,
                "value": value,
                "unit": None,
                "peer": None,
                "ratio": None,
                "bar": bar,
                "holds": holds,
                "note": note,
            }
