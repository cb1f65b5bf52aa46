"""Aggregate functions of ``COLLECT`` and ``WINDOW`` (manual: "COLLECT", "Aggregation")."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from operator import and_, or_, xor
from typing import Any, Protocol

from aqlite.aql import values as v


class Aggregator(Protocol):
    """Running state of one aggregation."""

    def add(self, value: Any) -> None:
        """Take one more value in."""

    def result(self) -> Any:
        """The aggregate of all values taken in so far."""


class _Length:
    def __init__(self) -> None:
        self.count = 0

    def add(self, value: Any) -> None:
        self.count += 1

    def result(self) -> int:
        return self.count


class _Extreme:
    """``MIN`` and ``MAX``: null is ignored."""

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.best: Any = None

    def add(self, value: Any) -> None:
        if value is not None and (self.best is None or v.compare(value, self.best) * self.sign > 0):
            self.best = value

    def result(self) -> Any:
        return self.best


class _Sum:
    """``SUM``: null is ignored, any other value that is no number makes the result null."""

    def __init__(self) -> None:
        self.total: Any = 0
        self.invoked = False
        self.valid = True

    def add(self, value: Any) -> None:
        self.invoked = True
        if value is None:
            return
        if v.is_number(value):
            self.total += value
        else:
            self.valid = False

    def result(self) -> Any:
        if not (self.valid and self.invoked):
            return None
        return v.add(self.total, 0)


class _Average(_Sum):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def add(self, value: Any) -> None:
        super().add(value)
        self.count += value is not None

    def result(self) -> Any:
        if not self.valid or self.count == 0:
            return None
        return v.number_or_null(self.total / self.count)


class _Spread:
    """Variance by Welford's method (Technometrics 4(3), 1962); ``sample`` divides by n - 1."""

    def __init__(self, sample: bool, root: bool) -> None:
        self.sample, self.root = sample, root
        self.count, self.mean, self.squares, self.valid = 0, 0.0, 0.0, True

    def add(self, value: Any) -> None:
        if value is None:
            return
        if not v.is_number(value):
            self.valid = False
            return
        self.count += 1
        delta = value - self.mean
        self.mean += delta / self.count
        self.squares += delta * (value - self.mean)

    def result(self) -> Any:
        divisor = self.count - self.sample
        if not self.valid or divisor < 1:
            return None
        variance = self.squares / divisor
        return v.number_or_null(math.sqrt(variance) if self.root else variance)


class _Unique:
    """``UNIQUE``, ``SORTED_UNIQUE`` and ``COUNT_DISTINCT`` share the set of values seen."""

    def __init__(self, finish: Callable[[list], Any]) -> None:
        self.finish = finish
        self.values: dict[Any, Any] = {}

    def add(self, value: Any) -> None:
        self.values.setdefault(v.equality_key(value), value)

    def result(self) -> Any:
        return self.finish(list(self.values.values()))


class _Push:
    def __init__(self) -> None:
        self.values: list[Any] = []

    def add(self, value: Any) -> None:
        self.values.append(value)

    def result(self) -> list[Any]:
        return list(self.values)


class _Bits:
    """``BIT_AND``, ``BIT_OR``, ``BIT_XOR`` over unsigned 32-bit numbers; null is ignored."""

    def __init__(self, combine: Callable[[int, int], int]) -> None:
        self.combine = combine
        self.values: list[int] = []
        self.valid = True

    def add(self, value: Any) -> None:
        if value is None:
            return
        if v.is_number(value) and value == int(value) and 0 <= value < 2**32:
            self.values.append(int(value))
        else:
            self.valid = False

    def result(self) -> int | None:
        return reduce(self.combine, self.values) if self.valid and self.values else None


_MAKERS: dict[str, Callable[[], Aggregator]] = {
    "LENGTH": _Length,
    "MIN": lambda: _Extreme(-1),
    "MAX": lambda: _Extreme(1),
    "SUM": _Sum,
    "AVERAGE": _Average,
    "VARIANCE_POPULATION": lambda: _Spread(sample=False, root=False),
    "VARIANCE_SAMPLE": lambda: _Spread(sample=True, root=False),
    "STDDEV_POPULATION": lambda: _Spread(sample=False, root=True),
    "STDDEV_SAMPLE": lambda: _Spread(sample=True, root=True),
    "UNIQUE": lambda: _Unique(list),
    "SORTED_UNIQUE": lambda: _Unique(v.sorted_values),
    "COUNT_DISTINCT": lambda: _Unique(len),
    "PUSH": _Push,
    "BIT_AND": lambda: _Bits(and_),
    "BIT_OR": lambda: _Bits(or_),
    "BIT_XOR": lambda: _Bits(xor),
}

AGGREGATES: dict[str, str] = {name: name for name in _MAKERS} | {
    "COUNT": "LENGTH",
    "AVG": "AVERAGE",
    "VARIANCE": "VARIANCE_POPULATION",
    "STDDEV": "STDDEV_POPULATION",
    "COUNT_UNIQUE": "COUNT_DISTINCT",
}
"""Names usable in ``AGGREGATE`` -> canonical name."""


def aggregator(name: str) -> Aggregator:
    """A fresh state for a canonical aggregate name."""
    return _MAKERS[name]()
