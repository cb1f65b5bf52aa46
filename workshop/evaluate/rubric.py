"""A scored rubric: points for what was measured, and for every point that is missing the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from workshop.errors import DataInvalidError


@dataclass(frozen=True)
class Criterion:
    """One line of a rubric.

    Attributes:
        name: what is judged.
        most: points for all of it.
        share: how much of it was reached, from 0 to 1.
        missing: what to do for the rest.
    """

    name: str
    most: int
    share: float
    missing: str

    @property
    def points(self) -> int:
        """Points reached, rounded down: all of them only for all of it."""
        return int(self.most * self.share + 1e-9)

    @property
    def reason(self) -> str:
        """What is missing; nothing where all points were reached."""
        return "" if self.points == self.most else self.missing


def criterion(name: str, most: int, reached: float, missing: str, *, needed: float = 1.0) -> Criterion:
    """A criterion from something measured.

    Args:
        name: what is judged.
        most: points for all of it, at least 1.
        reached: the measured number, or whether something holds.
        missing: what to do for the rest.
        needed: the number that gives all points; half of it gives half of them.

    Raises:
        DataInvalidError: a number makes no sense, NaN for instance.
    """
    if most < 1 or not needed > 0 or not reached >= 0:
        raise DataInvalidError(
            f"criterion {name!r}: expected positive points and needed, and reached of 0 or more; "
            f"received {most}, {needed}, {reached}"
        )
    return Criterion(name, most, min(1.0, reached / needed), missing)


@dataclass(frozen=True)
class Rubric:
    """Criteria with their sum."""

    criteria: Sequence[Criterion]

    @property
    def points(self) -> int:
        """Points reached."""
        return sum(part.points for part in self.criteria)

    @property
    def most(self) -> int:
        """Points that there are."""
        return sum(part.most for part in self.criteria)

    def table(self) -> pd.DataFrame:
        """A row for each criterion: points, the most there are, and what is missing."""
        rows = {part.name: (part.points, part.most, part.reason) for part in self.criteria}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["points", "of", "what is missing"])
