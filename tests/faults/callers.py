"""Callers that keep asking while something breaks."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Call:
    """One call: when it began, how long it took, and its answer or its error."""

    began: float
    seconds: float
    answer: object = None
    error: Exception | None = None


class Callers:
    """Threads that call ``ask(n)`` one call after the other while the ``with`` block runs.

    Args:
        ask: gets a number that no other call has; what it raises ends that call, not the caller.
        threads: how many.

    Attributes:
        calls: those that have ended, in the order of their ends.
    """

    def __init__(self, ask: Callable[[int], object], threads: int) -> None:
        self.calls: list[Call] = []
        self._ask, self._over, self._numbers = ask, threading.Event(), itertools.count()
        self._threads = [threading.Thread(target=self._call) for _ in range(threads)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            try:
                answer, error = self._ask(next(self._numbers)), None
            except Exception as problem:
                answer, error = None, problem
            self.calls.append(Call(began, time.monotonic() - began, answer, error))

    def errors(self) -> list[Exception]:
        """What the calls that failed have raised."""
        return [call.error for call in self.calls if call.error]

    def answered(self, since: float = 0.0) -> int:
        """How many calls that began after a moment were answered."""
        return sum(1 for call in list(self.calls) if call.error is None and call.began >= since)


def at_once(ask: Callable[[int], object], count: int) -> list[Call]:
    """The same call from so many threads at the same moment, each once."""
    gate = threading.Barrier(count)
    calls: list[Call] = []

    def one(number: int) -> None:
        gate.wait()
        began = time.monotonic()
        try:
            answer, error = ask(number), None
        except Exception as problem:
            answer, error = None, problem
        calls.append(Call(began, time.monotonic() - began, answer, error))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return calls


def chunks(items: list, size: int) -> Iterator[list]:
    """Cut a list into pieces of at most ``size``."""
    return (items[start : start + size] for start in range(0, len(items), size))
