"""Ratings made up by a stated model of taste, for trying what judges by ratings where there are none.

They say nothing about people, and a recommender that wins on them has shown only that it finds what was put in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workshop.data.movies import Movie
from workshop.data.ratings import Ratings
from workshop.errors import DataInvalidError

LATENT = 3
"""Directions of taste that no fact of the catalogue tells, so that ratings know more than it does."""


def synthetic_ratings(
    movies: Sequence[Movie], *, users: int = 1500, per_user: int = 60, films: int = 400, seed: int = 0
) -> Ratings:
    """Ratings from 1 to 5 of made-up users.

    A user has a few favourite genres (a sparse Dirichlet draw), a time (a year around 1999, and how strictly the user
    keeps to it), some trust in reputation, and a hidden direction of taste. What a user watches is drawn by renown
    (the square root of the votes), oftener from the favourite genres and years; the rating grows with genre, closeness
    in time on a bell curve, mean vote and the hidden direction, under much noise, and is rounded to half points.

    Args:
        movies: the catalogue; those without year or genre are never watched.
        users: number of users.
        per_user: films that each watches.
        films: so many of the most voted films are there to watch.
        seed: the same seed makes the same table.

    Raises:
        DataInvalidError: there are fewer films than a user watches.
    """
    known = sorted((movie for movie in movies if movie.year and movie.genres), key=lambda movie: -movie.vote_count)
    known = known[:films]
    if len(known) < 2 * per_user:
        raise DataInvalidError(f"{len(known)} films with year and genre are too few for users who watch {per_user}")
    rng = np.random.default_rng(seed)
    names = sorted({genre for movie in known for genre in movie.genres})
    has = np.array([[genre in movie.genres for genre in names] for movie in known], dtype=float)
    has /= has.sum(axis=1, keepdims=True)
    year = np.array([movie.year for movie in known])
    votes = np.array([movie.vote_count for movie in known])
    esteem = np.array([movie.vote_average for movie in known]) - 6
    hidden = rng.normal(size=(len(known), LATENT))
    rows = []
    for user in range(users):
        genre = has @ rng.dirichlet(np.full(len(names), 0.25))
        close = np.exp(-(((year - rng.normal(1999, 9)) / rng.uniform(4, 12)) ** 2))
        seen_by = np.sqrt(1 + votes) * (0.05 + genre / genre.max()) * (0.03 + close)
        watched = rng.choice(len(known), size=per_user, replace=False, p=seen_by / seen_by.sum())
        wish = 3 * genre / genre.max() + close + rng.uniform(0, 0.6) * esteem + hidden @ rng.normal(0, 0.4, LATENT)
        said = wish[watched] + rng.normal(0, 1, per_user)
        spread = (said - said.mean()) / max(said.std(), 1e-9)
        rating = np.clip(np.round(2 * (3.4 + spread)) / 2, 1, 5)
        rows += [(user, film, value, when) for when, (film, value) in enumerate(zip(watched, rating, strict=True))]
    user, film, rating, time = (np.array(column) for column in zip(*rows, strict=True))
    watched, film = np.unique(film, return_inverse=True)
    return Ratings(
        user=user.astype(np.int64),
        film=film.astype(np.int64),
        rating=rating.astype(np.float64),
        time=time.astype(np.float64),
        users=tuple(f"made-up {number}" for number in range(users)),
        films=tuple(known[number].key for number in watched),
        synthetic=True,
    )
