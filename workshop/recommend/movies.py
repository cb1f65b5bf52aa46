"""Recommend movies: like this one, for a wish in plain words, and along the graph with reasons."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from arango.database import StandardDatabase

from workshop.errors import DataInvalidError, StoreSchemaError
from workshop.recommend.movie_graph import MOVIE_COLLECTIONS, MovieCollections
from workshop.recommend.recommendation import Recommendation
from workshop.store.connection import store_errors
from workshop.store.embeddings import Embed, as_stored, check_vectors
from workshop.store.pending import EMBEDDING
from workshop.store.vector_index import VectorSearch

LEAST_SIMILARITY = 0.3
"""A wish whose best movie is less similar than this matched nothing. Of all 4,803 movies, the best is 0.45 to 0.7 from
wishes for movies, and 0.18 to 0.32 from code, invoices and letters typed at random."""

LINKS = ("acted_in", "directed", "has_keyword")
"""Edges over which ``hybrid`` finds what movies share."""
HYBRID_TERMS = ("similarity", "shared_weight", "genre_overlap")
"""Of ``hybrid``, in the order of the fields of :class:`Weights`."""


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


@dataclass(frozen=True)
class Weights:
    """How much each part counts in a graph-aware recommendation; each part lies between 0 and 1.

    The defaults stand between what keywords choose as a judge and what genres choose, each left out of the score that
    it judges; see :mod:`workshop.evaluate.relevance`.
    """

    text: float = 0.7
    graph: float = 0.2
    genre: float = 0.1


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
        """Movies whose text is nearest in meaning to a wish in plain words.

        Returns:
            At most ``limit`` movies, best first; none when not even the best that passes the filters comes near.

        Raises:
            DataInvalidError: the wish is blank.
        """
        if not text.strip():
            raise DataInvalidError("the wish is blank", hint="describe a movie in a few words")
        vectors = self._embed([text.strip()])
        check_vectors(vectors, count=1, dimension=vectors.shape[-1])
        nearest = self._nearest(as_stored(vectors[0]), filters, limit)
        return nearest if nearest and nearest[0].score >= LEAST_SIMILARITY else []

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
        """Movies that share meaning, people, keywords and genres with the movie ``title``, and why.

        One AQL query mixes the three. What two movies share counts ``1 / log(3 + number of movies that share it)``
        after Adamic and Adar, "Friends and neighbors on the Web", 2003; the movie that shares most gets 1. Without
        the 3 a keyword of two movies would count three times as much as a director of eight; with it the
        recommendations agree better with genres that were left out of the score.

        Args:
            title: the movie to start from.
            weights: how much text, graph and genres count.
            year: tells movies of the same title apart.
            limit: number of recommendations.
            pool: candidates taken from the text side and, again, from the graph side.
            links: which of :data:`LINKS` count, for instance without those that will judge the result.

        Raises:
            DataInvalidError: there is no such movie, or a link is none of :data:`LINKS`.
            StoreSchemaError: it has no embedding yet.
        """
        weights = weights or Weights()
        if unknown := sorted(set(links) - set(LINKS)):
            raise DataInvalidError(f"movies share nothing over {unknown}", hint=f"choose among {list(LINKS)}")
        key = self.find(title, year)["_key"]
        self._vector(key)
        bind_vars = {
            "source": f"{self._collections.movies}/{key}",
            "pool": pool,
            "links": [self._collections.name(link) for link in links],
            "limit": limit,
            "text_weight": weights.text,
            "graph_weight": weights.graph,
            "genre_weight": weights.genre,
        }
        rows = self._query("movie_recommend", bind_vars)
        for row in rows:
            for reason in row["reasons"]:
                reason["kind"] = reason["kind"].removeprefix(self._collections.prefix)
        return [Recommendation.from_row(row, HYBRID_TERMS) for row in rows]

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
