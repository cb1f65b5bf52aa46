"""How good are "movies like this one"? Judged by what the recommender was not shown: genres and keywords."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from workshop.data.movies import Movie

Neighbours = Mapping[str, Sequence[str]]
"""Keys of the recommended movies, best first, by the key of the movie they were recommended for."""


@dataclass(frozen=True)
class Relevance:
    """Means over all recommended pairs: Jaccard index of the genres, and number of keywords in common."""

    genre_overlap: float
    shared_keywords: float


def relevance(neighbours: Neighbours, movies: Mapping[str, Movie]) -> Relevance:
    """Judge recommendations. A pair of movies without any genre counts as no overlap."""
    overlaps, shared = [], []
    for key, others in neighbours.items():
        genres, keywords = set(movies[key].genres), set(movies[key].keywords)
        for other in others:
            union = genres.union(movies[other].genres)
            overlaps.append(len(genres.intersection(movies[other].genres)) / len(union) if union else 0.0)
            shared.append(len(keywords.intersection(movies[other].keywords)))
    return Relevance(float(np.mean(overlaps)), float(np.mean(shared)))


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
