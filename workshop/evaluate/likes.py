"""Do the recommendations agree with what people like? Judged by any table of ratings, in the lesson or a reader's own.

A user likes what the user rated at least as high as the own mean. Each user's ratings are cut in the middle by time:
the earlier half is what a recommender may learn from, the later half judges, and no mean is taken over it. The question
is that of "films like this one": of each film that enough users like later on, the ten films are wanted that the same
users like, too, more than their number of likes explains (cosine of the two films' users, shrunk where they are few).
All methods choose among the films of the table, since what nobody rated cannot be wanted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from workshop.data.movies import Movie
from workshop.data.orders import Orders
from workshop.data.ratings import Ratings, read_ratings
from workshop.data.synthetic_ratings import synthetic_ratings
from workshop.errors import DataInvalidError
from workshop.evaluate.baskets import Baskets, Quality
from workshop.evaluate.metrics import Interval, difference_interval, mean_interval, ndcg_at_k, recall_at_k
from workshop.evaluate.relevance import ALL_CANDIDATES, Candidates
from workshop.recommend.baskets import Scorer, ease, item_knn, popularity, recommend
from workshop.recommend.movie_terms import Weights
from workshop.recommend.movies import MovieRecommender
from workshop.settings import Settings
from workshop.store.bulk import Progress

LEAST_LIKES = 10
"""Later likes that a film needs to be asked about."""
LEAST_TOGETHER = 3
"""Users who must like two films for one to be wanted with the other."""
SHRINKAGE = 5.0
"""Added to the cosine's denominator, in users, as in item-kNN."""
LEAST_ASKED = 10
HYBRID, TEXT_ONLY, GRAPH_ONLY = "hybrid", "text only", "graph only"
OURS: Mapping[str, Weights] = {
    HYBRID: ALL_CANDIDATES,
    TEXT_ONLY: Weights.only(text=1),
    GRAPH_ONLY: Weights.only(graph=1),
}
"""What is judged of ours. Variety is left out: it trades agreement for a list that repeats itself less."""


@dataclass(frozen=True)
class Likes:
    """A table of ratings cut in two.

    Attributes:
        earlier: the earlier likes, an "order" a user.
        asked: the films asked about and what is wanted with each, one film a "basket".
        films: the films' keys, in the numbering of both.
    """

    earlier: Orders
    asked: Baskets
    films: tuple[str, ...]

    @property
    def asked_keys(self) -> list[str]:
        """Keys of the films asked about."""
        return [self.films[film] for film in self.asked.given.indices]


@dataclass(frozen=True, eq=False)
class Judged:
    """One method's lists.

    Attributes:
        quality: recall and NDCG of each film asked about.
        coverage: share of the table's films that are in any list.
    """

    quality: Quality
    coverage: float


@dataclass(frozen=True)
class LikesReport:
    """What :func:`judge_by_likes` found.

    Attributes:
        ratings: what was judged by.
        methods: each method's name to how it did.
        num_asked: films asked about.
    """

    ratings: Ratings
    methods: Mapping[str, Judged]
    num_asked: int

    def ahead(self, name: str, other: str) -> Interval:
        """Recall of one method less that of another, film by film, with its interval."""
        return difference_interval(self.methods[name].quality.recalls, self.methods[other].quality.recalls)

    def table(self) -> pd.DataFrame:
        """Recall@k and NDCG@k with intervals, coverage, and what the hybrid finds more; one row a method."""
        rows = {}
        for name, judged in self.methods.items():
            quality = judged.quality
            rows[name] = {
                f"recall@{quality.k}": str(mean_interval(quality.recalls)),
                f"NDCG@{quality.k}": str(mean_interval(quality.ndcgs)),
                "coverage": f"{judged.coverage:.0%}",
                "hybrid finds more by": "" if name == HYBRID else str(self.ahead(HYBRID, name)),
            }
        return pd.DataFrame(rows).T


def load_ratings(settings: Settings, movies: Sequence[Movie]) -> Ratings:
    """The table that ``WORKSHOP_RATINGS_CSV`` names; without one, a synthetic table, which says that it is.

    Raises:
        DataMissingError: there is no such file.
        DataInvalidError: see :func:`workshop.data.ratings.read_ratings`.
    """
    if settings.ratings_csv is None:
        return synthetic_ratings(movies)
    return read_ratings(settings.ratings_csv, movies, rename=settings.ratings_columns)


def cut_likes(ratings: Ratings, k: int = 10, *, most_asked: int = 300, seed: int = 0) -> Likes:
    """Cut a table by the protocol above.

    Args:
        ratings: the table.
        k: films wanted with each film.
        most_asked: films asked about, at most, drawn at random.
        seed: of the draw.

    Raises:
        DataInvalidError: fewer than ``LEAST_ASKED`` films have enough likes to be asked about.
    """
    rows = pd.DataFrame({"user": ratings.user, "film": ratings.film, "rating": ratings.rating, "time": ratings.time})
    rows = rows.sort_values(["user", "time"], kind="stable")
    place = rows.groupby("user").cumcount()
    later = place >= rows.groupby("user")["user"].transform("size") / 2
    own_mean = rows[~later].groupby("user")["rating"].mean()
    liked = rows["rating"] >= rows["user"].map(own_mean).fillna(np.inf)
    wanted = _liked_together(rows[later & liked], len(ratings.users), len(ratings.films), k)
    askable = np.flatnonzero(np.diff(wanted.indptr))
    if len(askable) < LEAST_ASKED:
        raise DataInvalidError(
            f"only {len(askable)} of {len(ratings.films)} films are liked with another by {LEAST_TOGETHER} users or"
            f" more in the later half of {len(ratings.rating):,} ratings; expected {LEAST_ASKED}",
            hint="a table of more users, or of more ratings a user",
        )
    film = np.sort(np.random.default_rng(seed).permutation(askable)[:most_asked])
    given = sp.csr_matrix((np.ones(len(film)), (np.arange(len(film)), film)), shape=(len(film), len(ratings.films)))
    asked = Baskets(given, wanted[film], np.full(len(film), -1))
    return Likes(_as_orders(rows[~later & liked], ratings), asked, ratings.films)


def like_scorers(likes: Likes, movies: Mapping[str, Movie], candidates: Candidates) -> dict[str, Scorer]:
    """Every method by name: ours from the candidates of the query, the rivals from the earlier likes or the catalogue.

    Args:
        likes: of :func:`cut_likes`.
        movies: the catalogue, by key.
        candidates: of :func:`ask_for_films`.
    """
    scorers = {name: _of_candidates(likes, candidates, weights) for name, weights in OURS.items()}
    return {
        **scorers,
        "popularity": popularity(likes.earlier),
        "genre and fame": _genre_and_fame(likes, movies),
        "item-kNN": item_knn(likes.earlier),
        "EASE": ease(likes.earlier),
    }


def ask_for_films(
    recommender: MovieRecommender, keys: Sequence[str], *, pool: int = 150, progress: Progress | None = None
) -> Candidates:
    """All candidates of the served query for each film, with their terms, so that any weights can be tried.

    Raises:
        StoreSchemaError: a film has no embedding yet.
    """
    found = {}
    for done, key in enumerate(keys, start=1):
        found[key] = recommender.recommend(liked=[key], weights=ALL_CANDIDATES, limit=3 * pool, pool=pool)
        if progress:
            progress(done, len(keys))
    return found


def judge_by_likes(
    recommender: MovieRecommender,
    ratings: Ratings,
    movies: Mapping[str, Movie],
    *,
    k: int = 10,
    most_asked: int = 300,
    progress: Progress | None = None,
) -> LikesReport:
    """How well the movie recommender and its rivals agree with a table of ratings.

    Args:
        recommender: whose hybrid is judged, and its text and graph alone.
        ratings: of :func:`load_ratings`.
        movies: the catalogue, by key.
        k: length of the lists, and number of films wanted.
        most_asked: films asked about, at most.
        progress: called with the number of films asked for and the number of all.

    Raises:
        DataInvalidError: the table is too small.
        StoreSchemaError: a film has no embedding yet.
    """
    likes = cut_likes(ratings, k, most_asked=most_asked)
    candidates = ask_for_films(recommender, likes.asked_keys, progress=progress)
    wanted = likes.asked.wanted.toarray()
    methods = {}
    for name, scorer in like_scorers(likes, movies, candidates).items():
        lists = recommend(scorer, likes.asked.given, k)
        hits, count = np.take_along_axis(wanted, lists, axis=1), wanted.sum(axis=1)
        quality = Quality(recall_at_k(hits, count), ndcg_at_k(hits, count), k)
        methods[name] = Judged(quality, len(np.unique(lists)) / len(likes.films))
    return LikesReport(ratings, methods, len(wanted))


def _liked_together(later: pd.DataFrame, num_users: int, num_films: int, k: int) -> sp.csr_matrix:
    """With each film that has enough likes the ``k`` films most liked by the same users; zeros and ones."""
    of_user = sp.csr_matrix((np.ones(len(later)), (later["user"], later["film"])), shape=(num_users, num_films))
    count = np.asarray(of_user.sum(axis=0)).ravel()
    together = sp.coo_matrix(of_user.T @ of_user)
    kept = (together.row != together.col) & (together.data >= LEAST_TOGETHER) & (count[together.row] >= LEAST_LIKES)
    row, column, users = together.row[kept], together.col[kept], together.data[kept]
    likeness = users / (np.sqrt(count[row] * count[column]) + SHRINKAGE)
    order = np.lexsort((column, -likeness, row))
    row, column = row[order], column[order]
    best = np.arange(len(row)) - np.searchsorted(row, row) < k
    return sp.csr_matrix((np.ones(best.sum()), (row[best], column[best])), shape=(num_films, num_films))


def _as_orders(likes: pd.DataFrame, ratings: Ratings) -> Orders:
    """The likes of a user as one order, for the recommenders of baskets."""
    return Orders(
        order=likes["user"].to_numpy(np.int64),
        product=likes["film"].to_numpy(np.int64),
        order_ids=list(ratings.users),
        product_ids=list(ratings.films),
        customer=np.arange(len(ratings.users)),
        titles=list(ratings.films),
        categories=None,
    )


def _of_candidates(likes: Likes, candidates: Candidates, weights: Weights) -> Scorer:
    """The candidates by their weighted terms; every other film comes behind them."""
    number = {key: film for film, key in enumerate(likes.films)}

    def score(given: sp.csr_matrix, customer: np.ndarray) -> np.ndarray:
        scores = np.full(given.shape, -np.inf)
        for row, film in enumerate(given.indices):
            for candidate in candidates[likes.films[film]]:
                if candidate.key in number:
                    scores[row, number[candidate.key]] = weights.score(candidate.terms)
        lowest = np.where(np.isfinite(scores), scores, np.inf).min(axis=1, keepdims=True, initial=0.0)
        return np.where(np.isfinite(scores), scores, lowest - 1)

    return score


def _genre_and_fame(likes: Likes, movies: Mapping[str, Movie]) -> Scorer:
    """Overlap of the genres (Jaccard index) and logarithm of the number of votes as a share of the largest."""
    films = [movies[key] for key in likes.films]
    names = sorted({genre for film in films for genre in film.genres})
    has = np.array([[genre in film.genres for genre in names] for film in films], dtype=np.float64)
    fame = np.log1p([film.vote_count for film in films])

    def score(given: sp.csr_matrix, customer: np.ndarray) -> np.ndarray:
        mine = given @ has
        shared = mine @ has.T
        every = mine.sum(axis=1, keepdims=True) + has.sum(axis=1) - shared
        return shared / np.maximum(every, 1) + fame / max(fame.max(), 1e-9)

    return score
