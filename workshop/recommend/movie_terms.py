"""What the score of a recommended movie is made of: its terms, their weights, and the reasons in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workshop.errors import DataInvalidError
from workshop.recommend.recommendation import Reason

TERMS = {
    "text": "similarity",
    "graph": "shared_weight",
    "genre": "genre_overlap",
    "company": "same_company",
    "era": "era",
    "renown": "renown",
    "liking": "liking",
    "language": "same_language",
    "dislike": "dislike",
    "variety": "repetition",
}
"""Name of a weight to the name of the term that it weighs; see :class:`Weights` for what they are."""
COSTS = frozenset({"dislike", "variety"})
"""Weights whose term is taken off the score."""


@dataclass(frozen=True)
class Weights:
    """How much each term counts in a recommended movie's score; 0 switches a term off.

    Every term lies between 0 and 1, a similarity of texts may fall a little below. The score is the weighted sum. The
    defaults are round numbers that no ratings were used to find: people who like a movie like others of its genres,
    its time and its renown, so these count as much as the text does, and the rest less.

    Attributes:
        text: cosine of the texts' embeddings, the wish's or the mean of the liked movies'.
        graph: people and keywords in common, people the rarer the more, keywords likewise down to those of about ten
            movies and less again below, see ``keyword_evidence``; the movie that shares most gets 1.
        genre: overlap of the genres (Jaccard index), averaged over the liked movies.
        company: production companies in common, the smaller the more.
        era: ``exp(-years apart / 10)``, averaged over the liked movies.
        renown: logarithm of the number of votes, as a share of the most-voted candidate's.
        liking: mean vote as a share of 10, drawn towards the candidates' mean where few have voted.
        language: share of the liked movies that are in the same original language.
        dislike: taken off for nearness to the nearest disliked movie, half by text and half by genres.
        variety: taken off for similarity of text to a better recommendation.
        keyword_evidence: movies that a keyword needs for half of its weight; with 0 the rarest keyword counts most.
    """

    text: float = 1.0
    graph: float = 0.5
    genre: float = 1.0
    company: float = 0.2
    era: float = 1.0
    renown: float = 1.0
    liking: float = 0.3
    language: float = 0.3
    dislike: float = 1.0
    variety: float = 0.1
    keyword_evidence: float = 4.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise DataInvalidError(f"weights: {name} is {value!r}", hint="give every weight as a number from 0 on")

    @classmethod
    def only(cls, **weights: float) -> Weights:
        """The weights given, and 0 for every other term."""
        return cls(**{**dict.fromkeys(TERMS, 0.0), **weights})

    def of_term(self, name: str) -> float:
        """The weight of a field of :data:`TERMS`, less than 0 where the term counts against the movie."""
        return -getattr(self, name) if name in COSTS else getattr(self, name)

    def score(self, terms: Mapping[str, float]) -> float:
        """The weighted sum of the terms of a recommendation."""
        return sum(self.of_term(name) * terms[term] for name, term in TERMS.items())


WISH_WEIGHTS = Weights(renown=0.2, liking=0.2)
"""The defaults for a wish alone: what was wished for comes before what everybody knows. Without a liked movie, graph,
genre, company, era and language are 0 whatever they weigh."""


def reasons(row: Mapping[str, Any], weights: Weights, prefix: str = "") -> Iterator[Reason]:
    """Every part of a score that is not 0, in words; their weights add up to the score.

    Args:
        row: of the query ``movie_recommend``.
        weights: those of the query.
        prefix: what the names of the catalogue's collections begin with.
    """
    in_words = {
        "text": f"similarity {row['similarity']:.2f}",
        "genre": ", ".join(row["shared_genres"]),
        "era": str(row["year"]),
        "renown": f"{row['vote_count']:,} votes",
        "liking": f"{row['vote_average']:.1f} of 10",
        "language": row["language"],
        "dislike": "close to what was disliked",
        "variety": "close to a better one",
    }
    for thing in row["shared"]:
        kind = thing["kind"].removeprefix(prefix)
        weight = weights.company if kind == "produced_by" else weights.graph
        if weight * thing["part"]:
            yield Reason(kind, thing["name"], weight * thing["part"], thing["number"])
    for name, said in in_words.items():
        if part := weights.of_term(name) * row[TERMS[name]]:
            yield Reason(name, said, part)
