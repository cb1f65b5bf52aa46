"""Wait out a store that restarts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from workshop.errors import StoreTimeoutError, StoreUnreachableError
from workshop.triton.calls import Deadline

Result = TypeVar("Result")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


def patiently(action: Callable[[], Result], seconds: float) -> Result:
    """Do what may be done twice, and do it again while the store does not answer.

    Args:
        action: what to do; it must have the same effect done twice as once.
        seconds: how long to go on trying; the last attempt may end later.

    Raises:
        StoreUnreachableError, StoreTimeoutError: of the last attempt.
        WorkshopError: what else ``action`` raises, at once.
    """
    deadline, pause = Deadline(seconds), FIRST_PAUSE
    while True:
        try:
            return action()
        except (StoreUnreachableError, StoreTimeoutError):
            if deadline.is_over:
                raise
        time.sleep(deadline.limit(pause))
        pause = min(2 * pause, LONGEST_PAUSE)
