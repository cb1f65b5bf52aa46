"""What every recommender returns: an item, its score, the terms the score is made of, and the reasons."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reason:
    """Something two items share, and how much it counts: rare things count more."""

    kind: str
    name: str
    weight: float

    def __str__(self) -> str:
        said = {"acted_in": "actor", "directed": "director", "has_keyword": "keyword"}
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
        reasons: what it shares with the item asked for, heaviest first.
    """

    key: str
    title: str
    score: float
    terms: Mapping[str, float]
    facts: Mapping[str, Any]
    reasons: tuple[Reason, ...] = ()

    @classmethod
    def from_row(cls, row: Mapping[str, Any], terms: Collection[str]) -> Recommendation:
        """Read a row of a query: ``key``, ``title``, ``score``, ``terms``, perhaps ``reasons``; the rest are facts."""
        named = {"key", "title", "score", "reasons", *terms}
        return cls(
            key=row["key"],
            title=row["title"],
            score=row["score"],
            terms={name: row[name] for name in terms},
            facts={name: value for name, value in row.items() if name not in named},
            reasons=tuple(
                Reason(reason["kind"], reason["name"], reason["weight"]) for reason in row.get("reasons", ())
            ),
        )


def as_rows(recommendations: Iterable[Recommendation]) -> list[dict[str, Any]]:
    """Recommendations as flat dicts, for a table."""
    return [
        {"key": item.key, "title": item.title, **item.facts, "score": item.score, **item.terms}
        for item in recommendations
    ]
