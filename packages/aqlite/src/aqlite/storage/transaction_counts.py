"""How many transactions there were, and how they ended."""

from __future__ import annotations

import threading


class TransactionCounts:
    """Counts of the store's transactions since it was opened; any thread may add to them."""

    def __init__(self) -> None:
        self.started = 0
        self.reading = 0
        self.committed = 0
        self.aborted = 0
        self._lock = threading.Lock()

    def start(self, *, reading: bool) -> None:
        """One began; ``reading``: without access for writing."""
        with self._lock:
            self.started += 1
            self.reading += reading

    def end(self, *, committed: bool) -> None:
        """One was committed, or given up."""
        with self._lock:
            self.committed += committed
            self.aborted += not committed
