"""State of one query while it runs: limits, counters and the size of its frame."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from aqlite.aql.context import CallContext
from aqlite.errors import ArangoError
from aqlite.storage.api import StoreView

DEFAULT_MEMORY_LIMIT = 2**30

CHECK_MASK = 255
"""The deadline is looked at each time a loop has made this many more rows, and at its first."""

_SLOT_BYTES = 8
_LIST_BYTES, _DICT_BYTES, _SCALAR_BYTES = 56, 232, 32


@dataclass
class Statistics:
    """Counters of a query, named as ArangoDB's."""

    writes_executed: int = 0
    writes_ignored: int = 0
    document_lookups: int = 0
    scanned_full: int = 0
    scanned_index: int = 0
    filtered: int = 0
    full_count: int | None = None
    peak_memory: int = 0
    started: float = field(default_factory=time.monotonic)

    def as_dict(self) -> dict[str, Any]:
        """The ``stats`` object of a cursor's ``extra``."""
        stats = {
            "writesExecuted": self.writes_executed,
            "writesIgnored": self.writes_ignored,
            "documentLookups": self.document_lookups,
            "seeks": 0,
            "scannedFull": self.scanned_full,
            "scannedIndex": self.scanned_index,
            "cursorsCreated": 0,
            "cursorsRearmed": 0,
            "cacheHits": 0,
            "cacheMisses": 0,
            "filtered": self.filtered,
            "httpRequests": 0,
            "executionTime": time.monotonic() - self.started,
            "peakMemoryUsage": self.peak_memory,
            "intermediateCommits": 0,
        }
        if self.full_count is not None:
            stats["fullCount"] = self.full_count
        return stats


@dataclass
class NodeProfile:
    """What one operation of a plan did: how often it was started, rows it gave, seconds with those before it."""

    calls: int = 0
    items: int = 0
    seconds: float = 0.0


@dataclass
class Runtime:
    """What every operation of a running query shares.

    Attributes:
        frame_size: slots of a frame; grows while the query is compiled.
        memory_limit: bytes that kept rows may take, an estimate; 0 means no limit.
        profiles: what each operation did, by the identity of its plan node; None when nobody asks.
    """

    view: StoreView
    context: CallContext
    frame_size: int
    memory_limit: int = DEFAULT_MEMORY_LIMIT
    statistics: Statistics = field(default_factory=Statistics)
    memory: int = 0
    profiles: dict[int, NodeProfile] | None = None

    def new_slot(self) -> int:
        """Reserve one more slot of the frame."""
        self.frame_size += 1
        return self.frame_size - 1

    def keep(self, value: Any) -> None:
        """Account for a value that stays in memory.

        Raises:
            ArangoError: 32, when the limit is passed.
        """
        self.memory += size_of(value)
        self._check_memory()

    def check_value(self, value: Any) -> None:
        """Refuse a value that alone takes more than the limit, written out.

        Raises:
            ArangoError: 32, when the limit is passed.
        """
        if self.memory_limit and size_of(value) > self.memory_limit:
            raise self._too_much()

    def keep_row(self, frame: list) -> list:
        """A copy of the frame, accounted for."""
        self.memory += _LIST_BYTES + _SLOT_BYTES * len(frame)
        self._check_memory()
        return frame.copy()

    def release(self, since: int) -> None:
        """Rows kept since ``memory`` was ``since`` are gone."""
        self.memory = since

    def _check_memory(self) -> None:
        if self.memory > self.statistics.peak_memory:
            self.statistics.peak_memory = self.memory
            if self.memory_limit and self.memory > self.memory_limit:
                raise self._too_much()

    def _too_much(self) -> ArangoError:
        return ArangoError(
            32, f"AQL: query would use more memory than allowed: {self.memory_limit} bytes (while executing)"
        )


def size_of(value: Any) -> int:
    """Bytes of a value, roughly, everything that it contains included; a part that occurs twice counts twice."""
    if value.__class__ is str:
        return _SCALAR_BYTES + len(value)
    if value.__class__ is not list and value.__class__ is not dict:
        return _SCALAR_BYTES
    return _container_size(value, {})


def _container_size(value: list | dict, known: dict[int, int]) -> int:
    """Size of an array or object; ``known`` are sizes by identity, so that shared parts are measured once."""
    size = known.get(id(value))
    if size is None:
        if value.__class__ is list:
            items, size = value, _LIST_BYTES + _SLOT_BYTES * len(value)
        else:
            items, size = value.values(), _DICT_BYTES + 4 * _SLOT_BYTES * len(value)
        kinds = set(map(type, items))
        if str in kinds:
            size += sum(len(item) for item in items if item.__class__ is str)
        if list in kinds or dict in kinds:
            containers = (item for item in items if item.__class__ is list or item.__class__ is dict)
            size += sum(_container_size(item, known) for item in containers)
        known[id(value)] = size
    return size
