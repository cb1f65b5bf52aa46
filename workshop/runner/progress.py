"""Progress of a long cell on one line, rarely enough to keep the executed notebook short."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


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
