"""What every recommender returns: an item, its score, the terms the score is made of, and the reasons."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reason:
    """One part of a score, in words.

    Attributes:
        kind: a term such as ``era``, or, for something that two items share, the kind of link, such as ``directed``.
        name: what a reader sees, such as a year or a person.
        weight: what it adds to the score; less than 0 where it counts against the item.
        number: of a shared thing, how many items have it; None for every other reason.
    """

    kind: str
    name: str
    weight: float
    number: int | None = None

    def __str__(self) -> str:
        said = {"acted_in": "actor", "directed": "director", "has_keyword": "keyword", "produced_by": "company"}
        return f"{said.get(self.kind, self.kind)} {self.name}"


@dataclass(frozen=True)
class Recommendation:
    """A recommended item.

    Attributes:
        key: its ``_key`` in the store.
        title: what a reader sees.
        score: what ranks, the larger the better.
        terms: the numbers the score is made of, by name, such as ``similarity`` (a cosine) or ``graph_score``.
        facts: what else is known of the item and of the pair, such as ``year`` or ``bought_together``.
        reasons: the parts of the score in words, heaviest first. Their weights add up to ``score`` where a recommender
            gives any.
    """

    key: str
    title: str
    score: float
    terms: Mapping[str, float]
    facts: Mapping[str, Any]
    reasons: tuple[Reason, ...] = ()

    @property
    def shared(self) -> tuple[Reason, ...]:
        """The reasons that are things shared with what was asked for, such as people and keywords."""
        return tuple(reason for reason in self.reasons if reason.number is not None)

    @classmethod
    def from_row(cls, row: Mapping[str, Any], terms: Collection[str], reasons: Iterable[Reason] = ()) -> Recommendation:
        """Read a row of a query: ``key``, ``title``, ``score`` and ``terms``; the rest are facts."""
        named = {"key", "title", "score", *terms}
        return cls(
            key=row["key"],
            title=row["title"],
            score=row["score"],
            terms={name: row[name] for name in terms},
            facts={name: value for name, value in row.items() if name not in named},
            reasons=tuple(sorted(reasons, key=lambda reason: -abs(reason.weight))),
        )


def as_rows(recommendations: Iterable[Recommendation]) -> list[dict[str, Any]]:
    """Recommendations as flat dicts, for a table."""
    return [
        {"key": item.key, "title": item.title, **item.facts, "score": item.score, **item.terms}
        for item in recommendations
    ]
