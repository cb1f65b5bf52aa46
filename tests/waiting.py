"""Waits for what must come about, in place of sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Look again until ``condition`` holds.

    Raises:
        AssertionError: it did not within ``seconds``.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.01)
