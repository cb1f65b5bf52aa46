"""Recommend movies: like this one, for a wish in plain words, and along the graph with reasons."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from arango.database import StandardDatabase

from workshop.errors import DataInvalidError, StoreSchemaError, UnknownKeyError
from workshop.recommend.movie_graph import MOVIE_COLLECTIONS, MovieCollections
from workshop.recommend.movie_terms import TERMS, WISH_WEIGHTS, Weights, reasons
from workshop.recommend.recommendation import Recommendation
from workshop.store.connection import store_errors
from workshop.store.embeddings import Embed, as_stored, check_vectors
from workshop.store.pending import EMBEDDING
from workshop.store.vector_index import VectorSearch

LEAST_SIMILARITY = 0.3
"""A wish whose best movie is less similar than this matched nothing. Of all 4,803 movies, the best is 0.45 to 0.7 from
wishes for movies, and 0.18 to 0.32 from code, invoices and letters typed at random."""

LINKS = ("acted_in", "directed", "has_keyword", "produced_by")
"""Edges over which ``recommend`` finds what movies share."""
ERA_YEARS, USUAL_VOTES = 10, 100
"""Years that count as one era, and votes that a movie's mean needs to count as much as the mean of all."""
LONGEST_WISH = 2000
"""Characters; the model reads the first two hundred words or so."""


@dataclass(frozen=True)
class MovieFilters:
    """What a recommended movie must be; ``None`` does not restrict. Years are inclusive."""

    year_from: int | None = None
    year_to: int | None = None
    language: str | None = None
    genre: str | None = None

    def bind_vars(self) -> dict[str, Any]:
        """Bind variables of the AQL queries."""
        return dict(vars(self))


class MovieRecommender:
    """Recommendations from a store that holds the movie graph and its embeddings.

    Args:
        database: the store.
        embed: the model that embedded the movies; used for wishes.
        search: whether the vector index is used, from ``ensure_vector_index``.
        collections: where the catalogue lies.
    """

    def __init__(
        self,
        database: StandardDatabase,
        embed: Embed,
        search: VectorSearch,
        *,
        collections: MovieCollections = MOVIE_COLLECTIONS,
    ) -> None:
        self._database = database
        self._embed = embed
        self._search = search
        self._collections = collections

    def find(self, title: str, year: int | None = None) -> dict[str, Any]:
        """The movie of that title; the one with the most votes when there are several.

        Raises:
            DataInvalidError: no movie has that title; the hint names similar ones.
        """
        found = self._query("movie_find", {"title": title.strip(), "year": year})
        if found:
            return found[0]
        titles = {known.lower(): known for known in self._query("movie_titles")}
        close = [titles[match] for match in difflib.get_close_matches(title.lower(), titles, n=3, cutoff=0.6)]
        asked = f"{title!r} of {year}" if year else repr(title)
        raise DataInvalidError(
            f"no movie is called {asked} among {len(titles)} titles",
            hint=f"one of {close}" if close else "check the spelling; DATA_SIZE=tiny holds 200 movies only",
        )

    def similar(
        self, title: str, filters: MovieFilters | None = None, *, year: int | None = None, limit: int = 10
    ) -> list[Recommendation]:
        """Movies whose text is nearest in meaning to the text of the movie ``title``.

        Raises:
            DataInvalidError: there is no such movie.
            StoreSchemaError: it has no embedding yet.
        """
        key = self.find(title, year)["_key"]
        return self._nearest(self._vector(key), filters, limit, exclude=key)

    def wish(self, text: str, filters: MovieFilters | None = None, *, limit: int = 10) -> list[Recommendation]:
        """Movies whose text is nearest in meaning to a wish in plain words, and nothing but their text.

        Returns:
            At most ``limit`` movies, best first; none when not even the best that passes the filters comes near.

        Raises:
            DataInvalidError: the wish is blank, or longer than :data:`LONGEST_WISH`.
        """
        nearest = self._nearest(as_stored(self._wish_vector(text)), filters, limit)
        return nearest if nearest and nearest[0].score >= LEAST_SIMILARITY else []

    def recommend(
        self,
        wish: str = "",
        *,
        liked: Sequence[str] = (),
        disliked: Sequence[str] = (),
        filters: MovieFilters | None = None,
        weights: Weights | None = None,
        limit: int = 10,
        pool: int = 100,
        links: Sequence[str] = LINKS,
    ) -> list[Recommendation]:
        """Movies for a wish, for movies that were liked, or for both, with a reason for every part of the score.

        One AQL query, ``movie_recommend``: it takes candidates by text, by what they share with the liked movies, and
        by genre, time and renown, adds up the terms of :class:`~workshop.recommend.movie_terms.Weights`, and puts back
        what repeats a better candidate. What two movies share counts ``1 / log(3 + number of movies that have it)``
        after Adamic and Adar, "Friends and neighbors on the Web", 2003, a keyword less where few movies have it.

        Args:
            wish: plain words; may be empty where a movie is liked.
            liked: keys of movies.
            disliked: keys of movies; what is close to them is put back.
            filters: what a recommended movie must be.
            weights: how much each term counts; None: the defaults, ``WISH_WEIGHTS`` where no movie is liked.
            limit: number of recommendations.
            pool: candidates taken from each of the three sides.
            links: which of :data:`LINKS` count, for instance without those that will judge the result.

        Returns:
            At most ``limit`` movies, best first, none of them liked or disliked; none at all when nothing that passes
            the filters comes near a wish without liked movies. Each has the ``terms`` of its score by the names in
            ``TERMS``, and ``reasons`` whose weights add up to its score; ``facts`` holds ``year``, ``language``,
            ``genres``, ``vote_count``, ``vote_average`` and ``shared_genres``.

        Raises:
            DataInvalidError: there is neither a wish nor a liked movie, the wish is too long, one is liked and
                disliked, a link is none of :data:`LINKS`, or a number makes no sense.
            UnknownKeyError: a key belongs to no movie.
            StoreSchemaError: a liked movie has no embedding yet.
        """
        if unknown := sorted(set(links) - set(LINKS)):
            raise DataInvalidError(f"movies share nothing over {unknown}", hint=f"choose among {list(LINKS)}")
        if limit < 1 or pool < 1:
            raise DataInvalidError(f"expected limit and pool of 1 or more, received limit={limit}, pool={pool}")
        if both := sorted(set(liked) & set(disliked)):
            raise DataInvalidError(f"liked and disliked at once: {', '.join(both)}", hint="decide")
        if not liked and not wish.strip():
            raise DataInvalidError("neither a wish nor a liked movie", hint="describe a movie, or name one you like")
        weights = weights or (Weights() if liked else WISH_WEIGHTS)
        liked, disliked = list(dict.fromkeys(liked)), list(dict.fromkeys(disliked))
        rows = self._query(
            "movie_recommend",
            {
                "vector": as_stored(self._taste(wish, liked, disliked)),
                "liked": [self._id(key) for key in liked],
                "disliked": [self._id(key) for key in disliked],
                "excluded": [self._id(key) for key in (*liked, *disliked)],
                "least_similarity": None if liked else LEAST_SIMILARITY,
                "links": [self._collections.name(link) for link in links],
                "keyword_links": self._collections.name("has_keyword"),
                "company_links": self._collections.name("produced_by"),
                "era_years": ERA_YEARS,
                "usual_votes": USUAL_VOTES,
                "pool": pool,
                "limit": limit,
                "finalists": 2 * limit if weights.variety else limit,
                "weights": vars(weights),
                **(filters or MovieFilters()).bind_vars(),
            },
        )
        return [self._recommended(row, weights) for row in rows]

    def hybrid(
        self,
        title: str,
        weights: Weights | None = None,
        *,
        year: int | None = None,
        limit: int = 10,
        pool: int = 100,
        links: Sequence[str] = LINKS,
    ) -> list[Recommendation]:
        """:meth:`recommend` for somebody who likes the movie ``title``; ``year`` tells movies of the same title apart.

        Raises:
            DataInvalidError: there is no such movie, or as :meth:`recommend`.
            StoreSchemaError: it has no embedding yet.
        """
        key = self.find(title, year)["_key"]
        return self.recommend(liked=[key], weights=weights, limit=limit, pool=pool, links=links)

    def _recommended(self, row: dict[str, Any], weights: Weights) -> Recommendation:
        told = list(reasons(row, weights, self._collections.prefix))
        return Recommendation.from_row(
            {name: value for name, value in row.items() if name != "shared"}, list(TERMS.values()), told
        )

    def _taste(self, wish: str, liked: Sequence[str], disliked: Sequence[str]) -> np.ndarray:
        """The direction of a taste, ``[width]``: the wish's, the mean of the liked movies', or the middle of both."""
        asked = [*liked, *disliked]
        found = self._query("movie_vectors", {"keys": asked}) if asked else []
        vectors = {row["key"]: row["vector"] for row in found}
        if unknown := [key for key in asked if key not in vectors]:
            raise UnknownKeyError(
                f"no movie has the key {', '.join(map(repr, unknown[:5]))}",
                hint="recommender.find(title) gives a movie's key",
            )
        for key in liked:
            if not vectors[key]:
                raise StoreSchemaError(f"movie {key!r} has no embedding", hint="run embed_collection first")
        parts = [np.mean([_unit(np.array(vectors[key])) for key in liked], axis=0)] if liked else []
        if wish.strip():
            parts.append(self._wish_vector(wish))
        return np.mean([_unit(part) for part in parts], axis=0)

    def _wish_vector(self, wish: str) -> np.ndarray:
        """The embedding of a wish, ``[width]``."""
        wish = wish.strip()
        if not wish:
            raise DataInvalidError("the wish is blank", hint="describe a movie in a few words")
        if len(wish) > LONGEST_WISH:
            raise DataInvalidError(
                f"the wish has {len(wish):,} characters; at most {LONGEST_WISH:,} are read", hint="say it in less words"
            )
        vectors = self._embed([wish])
        check_vectors(vectors, count=1, dimension=vectors.shape[-1])
        return vectors[0]

    def _id(self, key: str) -> str:
        return f"{self._collections.movies}/{key}"

    def _nearest(
        self, vector: list[float], filters: MovieFilters | None, limit: int, exclude: str | None = None
    ) -> list[Recommendation]:
        bind_vars = {"vector": vector, "exclude": exclude, "limit": limit, **(filters or MovieFilters()).bind_vars()}
        if self._search.approximate:
            bind_vars["n_probe"] = self._search.n_probe
            rows = self._query("movie_nearest_approximate", bind_vars)
        else:
            rows = self._query("movie_nearest_exact", bind_vars)
        return [Recommendation.from_row({**row, "score": row["similarity"]}, ["similarity"]) for row in rows]

    def _query(self, name: str, bind_vars: dict[str, Any] | None = None) -> list[Any]:
        return self._collections.query(self._database, name, bind_vars)

    def _vector(self, key: str) -> list[float]:
        with store_errors(f"read movie {key!r}"):
            movie = self._database.collection(self._collections.movies).get(key)
        if not movie or not movie.get(EMBEDDING):
            raise StoreSchemaError(f"movie {key!r} has no embedding", hint="run embed_collection first")
        return movie[EMBEDDING]


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
