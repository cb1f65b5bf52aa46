"""What AQL functions and operators know about the query that calls them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from threading import Event
from typing import TYPE_CHECKING

from aqlite.errors import ArangoError

if TYPE_CHECKING:
    from aqlite.storage.api import StoreView


LARGE_VALUE_BYTES = 2**20


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass
class CallContext:
    """One query's state as its expressions see it.

    Attributes:
        view: the transaction's view of the data, for ``DOCUMENT()`` and its like.
        now: time of the query in UTC; ``DATE_NOW()`` gives the same answer in every row.
        deadline: ``time.monotonic()`` value after which the query is killed, or None.
        killed: set by whoever wants the query to stop.
        database, user: what ``CURRENT_DATABASE()`` and ``CURRENT_USER()`` answer.
        fail_on_warning: turn the first warning into an error (cursor option ``failOnWarning``).
        max_warnings: how many warnings are kept; later ones are dropped.
        memory_limit: bytes that the large values of one row may take, 0 for no limit.
        reserved: bytes of the large values made for the current row; each loop sets it back at its next item.
        warnings: ``{"code": int, "message": str}`` in order of appearance.
    """

    view: StoreView | None = None
    now: datetime = field(default_factory=_utc_now)
    deadline: float | None = None
    killed: Event | None = None
    database: str = "_system"
    user: str | None = "root"
    fail_on_warning: bool = False
    max_warnings: int = 10
    memory_limit: int = 0
    reserved: int = 0
    warnings: list[dict[str, int | str]] = field(default_factory=list)

    def warn(self, number: int, message: str) -> None:
        """Keep a warning, or raise it when the query wants ``failOnWarning``.

        Raises:
            ArangoError: the warning itself, with ``fail_on_warning``.
        """
        if self.fail_on_warning:
            raise ArangoError(number, message)
        if len(self.warnings) < self.max_warnings:
            self.warnings.append({"code": number, "message": message})

    def check(self) -> None:
        """Stop a query that ran out of time or was killed; called in every long loop.

        Raises:
            ArangoError: 1500.
        """
        if self.killed is not None and self.killed.is_set():
            raise ArangoError(1500)
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise ArangoError(1500, "query killed (maximum run time exceeded)")

    def reserve(self, size: int) -> None:
        """Account for a value of so many bytes that an expression is about to make.

        Raises:
            ArangoError: 32, when the row's values would take more than ``memory_limit``; 1500 as ``check`` does.
        """
        self.reserved += size
        if self.memory_limit and self.reserved > self.memory_limit:
            raise ArangoError(32, f"query would use more memory than allowed: {self.memory_limit} bytes")
        if size > LARGE_VALUE_BYTES:
            self.check()

    def remaining_seconds(self) -> float | None:
        """Seconds until the deadline, never negative; None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())
