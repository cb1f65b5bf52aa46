"""Progress of a long cell on one line, rarely enough to keep the executed notebook short."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import nbformat


def progress_line(what: str, *, seconds: float = 2.0) -> Callable[[int, int], None]:
    """A function that shows ``done of wanted what``: the first time, then once in ``seconds``, and at the end.

    Args:
        what: what is counted, in the plural.
        seconds: shortest time between two lines.
    """
    shown: list[float] = []

    def show(done: int, wanted: int) -> None:
        if done < wanted and shown and time.monotonic() - shown[-1] < seconds:
            return
        shown.append(time.monotonic())
        sys.stdout.write(f"\r{done:,} of {wanted:,} {what}" + ("\n" if done == wanted else ""))
        sys.stdout.flush()

    return show


def silent_cells(executed: Path, *, longest: float = 5.0) -> list[str]:
    """One line for each cell that ran for more than ``longest`` seconds and did not show how far it was.

    A line of progress begins with a carriage return, as this module and tqdm write it. A cell of imports is left out,
    since nothing can be shown there.

    Args:
        executed: a notebook that papermill ran, which notes how long each cell took.
        longest: seconds that people wait without asking.
    """
    cells = nbformat.read(executed, as_version=4).cells
    committed = [cell for cell in cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    lines = []
    for number, cell in enumerate(committed):
        seconds = cell.metadata.get("papermill", {}).get("duration") or 0.0
        shown = "".join(output.text for output in cell.get("outputs", []) if output.output_type == "stream")
        if seconds > longest and "\r" not in shown and not cell.source.startswith(("import ", "from ")):
            lines.append(f"cell {number} ran for {seconds:.0f} s and did not show how far it was")
    return lines
