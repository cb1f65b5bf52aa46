"""How good are "movies like this one"? Judged by genres and keywords, which the recommender must not have been shown.

A recommender that reads genres or keywords itself is judged by what it was made to leave out: :func:`left_out_terms`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from workshop.data.movies import Movie
from workshop.recommend.movie_terms import Weights
from workshop.recommend.movies import LINKS, MovieRecommender
from workshop.recommend.recommendation import Recommendation
from workshop.store.bulk import Progress

Judge = Literal["genres", "keywords"]
Candidates = Mapping[str, Sequence[Recommendation]]
"""Everything ``hybrid`` considered, with the terms of its score, by the key of the movie it was asked for."""

ALL_CANDIDATES = Weights(variety=0)
"""Repetition depends on what stands above, so it is no term of a candidate that others will rank."""

Neighbours = Mapping[str, Sequence[str]]
"""Keys of the recommended movies, best first, by the key of the movie they were recommended for."""


@dataclass(frozen=True, eq=False)
class Relevance:
    """How well the recommendations of each movie fit it, both float64 ``[movies]``, means over its recommendations.

    Attributes:
        genre_overlaps: Jaccard index of the genres.
        keywords_shared: number of keywords in common.
    """

    genre_overlaps: np.ndarray
    keywords_shared: np.ndarray

    @property
    def genre_overlap(self) -> float:
        """Mean over the movies."""
        return float(self.genre_overlaps.mean())

    @property
    def shared_keywords(self) -> float:
        """Mean over the movies."""
        return float(self.keywords_shared.mean())

    def by(self, judge: Judge) -> np.ndarray:
        """What ``judge`` says of each movie."""
        return self.genre_overlaps if judge == "genres" else self.keywords_shared


def relevance(neighbours: Neighbours, movies: Mapping[str, Movie]) -> Relevance:
    """Judge recommendations. A pair of movies without any genre has no overlap, nor has an empty list."""
    overlaps, shared = [], []
    for key, others in neighbours.items():
        genres, keywords = set(movies[key].genres), set(movies[key].keywords)
        unions = [genres.union(movies[other].genres) for other in others]
        common = [len(genres.intersection(movies[other].genres)) for other in others]
        pairs = [number / len(union) if union else 0.0 for number, union in zip(common, unions, strict=True)]
        overlaps.append(np.mean(pairs or [0.0]))
        shared.append(np.mean([len(keywords.intersection(movies[other].keywords)) for other in others] or [0.0]))
    return Relevance(np.array(overlaps), np.array(shared))


def left_out_terms(
    recommender: MovieRecommender,
    movies: Sequence[Movie],
    judge: Judge,
    *,
    pool: int = 100,
    progress: Progress | None = None,
) -> Candidates:
    """All candidates of the hybrid query, made without what will judge them.

    With ``keywords`` as the judge they are no links; with ``genres`` the genre overlap, which they alone make, is 0.

    Args:
        recommender: whose hybrid it is.
        movies: the movies to ask for.
        judge: what is left out.
        pool: as in ``hybrid``.
        progress: called with the number of movies done and the number of all.

    Raises:
        StoreSchemaError: a movie has no embedding yet.
    """
    links = [link for link in LINKS if not (judge == "keywords" and link == "has_keyword")]
    every = {}
    for done, movie in enumerate(movies, start=1):
        found = recommender.recommend(liked=[movie.key], weights=ALL_CANDIDATES, limit=3 * pool, pool=pool, links=links)
        every[movie.key] = [_without_genres(candidate) for candidate in found] if judge == "genres" else found
        if progress:
            progress(done, len(movies))
    return every


def ranked(candidates: Candidates, weights: Weights, k: int = 10) -> Neighbours:
    """The ``k`` best candidates of each movie by their terms, weighted; the smaller key wins a tie."""

    def order(candidate: Recommendation) -> tuple[float, str]:
        return -weights.score(candidate.terms), candidate.key

    return {key: [candidate.key for candidate in sorted(found, key=order)[:k]] for key, found in candidates.items()}


def choose_weights(
    candidates: Candidates, movies: Mapping[str, Movie], judge: Judge, grid: Iterable[Weights], k: int = 10
) -> Weights:
    """The weights of ``grid`` whose recommendations ``judge`` likes best; the first ones win a tie."""
    return max(grid, key=lambda weights: relevance(ranked(candidates, weights, k), movies).by(judge).mean())


def _without_genres(candidate: Recommendation) -> Recommendation:
    return replace(candidate, terms={**candidate.terms, "genre_overlap": 0.0})


def random_neighbours(keys: Sequence[str], movies: Mapping[str, Movie], k: int, seed: int = 0) -> Neighbours:
    """For each movie of ``keys``, ``k`` others drawn at random."""
    generator = np.random.default_rng(seed)
    every = np.array(list(movies))
    drawn = {key: generator.choice(every, size=k + 1, replace=False) for key in keys}
    return {key: [str(other) for other in others if other != key][:k] for key, others in drawn.items()}


def tfidf_neighbours(keys: Sequence[str], movies: Mapping[str, Movie], k: int) -> Neighbours:
    """For each movie of ``keys``, the ``k`` others nearest by TF-IDF of the text that is embedded too.

    English stop words are left out and counts are dampened, which served this baseline best.
    """
    every = list(movies)
    vectorizer = TfidfVectorizer(stop_words="english", sublinear_tf=True)
    matrix = vectorizer.fit_transform(movie.text for movie in movies.values())
    position = {key: row for row, key in enumerate(every)}
    rows = [position[key] for key in keys]
    similarity = (matrix[rows] @ matrix.T).toarray()
    similarity[np.arange(len(rows)), rows] = -1
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return {key: [every[other] for other in others] for key, others in zip(keys, order, strict=True)}
