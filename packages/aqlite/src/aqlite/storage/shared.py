"""What all snapshots and transactions of a store share: caches, and the numbers that are given out once."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aqlite.storage.cache import DocumentCache
from aqlite.storage.columns import ColumnCache
from aqlite.storage.indexes.vector_lists import ListCache
from aqlite.storage.revisions import RevisionClock


class Ticks:
    """Numbers never used before in a data folder: ids of databases, collections and indexes, generated keys."""

    def __init__(self, last: int) -> None:
        self._lock = threading.Lock()
        self.last = last

    def next(self) -> int:
        """The next number."""
        with self._lock:
            self.last += 1
            return self.last


@dataclass(frozen=True)
class Shared:
    """One per store.

    Attributes:
        folder: the data folder.  documents: decoded documents.  columns: vectors of whole collections.
        lists: inverted lists of vector indexes.  centroids: of committed vector indexes, float32 [nLists, d], by id.
        clock: revisions.  ticks: other numbers.
    """

    folder: Path
    documents: DocumentCache
    columns: ColumnCache
    lists: ListCache
    clock: RevisionClock
    ticks: Ticks
    centroids: dict[str, np.ndarray] = field(default_factory=dict)
