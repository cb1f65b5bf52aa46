"""Revisions: a clock that never repeats a value, and ArangoDB's text form of it."""

from __future__ import annotations

import threading
import time
from functools import lru_cache

_ALPHABET = "-_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_LOGICAL_BITS = 20


class RevisionClock:
    """Hybrid logical clock: milliseconds in the upper bits, a counter in the lower 20; strictly increasing."""

    def __init__(self, last: int = 0) -> None:
        self._last = last
        self._lock = threading.Lock()

    @property
    def last(self) -> int:
        """The value given out last."""
        return self._last

    def next(self) -> int:
        """A value larger than every value before."""
        with self._lock:
            now = time.time_ns() // 1_000_000 << _LOGICAL_BITS
            self._last = now if now > self._last else self._last + 1
            return self._last


def revision_text(revision: int) -> str:
    """``_rev`` of a revision: ArangoDB's alphabet, most significant character first, no leading ``-``."""
    text = _upper_text(revision >> 24) + _PAIRS[(revision >> 12) & 0xFFF] + _PAIRS[revision & 0xFFF]
    return text if revision >> 24 else text.lstrip("-") or "-"


@lru_cache(maxsize=256)
def _upper_text(upper: int) -> str:
    """The characters above the lowest 24 bits, which change every 16 milliseconds."""
    return "".join(_PAIRS[(upper >> shift) & 0xFFF] for shift in (36, 24, 12, 0)).lstrip("-")
