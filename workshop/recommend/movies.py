"""Recommend movies: like this one, for a wish in plain words, and along the graph with reasons."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arango.database import StandardDatabase

from workshop.errors import DataInvalidError, ModelSourceError, StoreSchemaError
from workshop.models.sentence_bert import SIGNATURE
from workshop.models.sources import TORCH_DTYPES
from workshop.models.tracing import read_sidecar
from workshop.serving.repository import version_folders
from workshop.store.connection import store_errors
from workshop.store.embeddings import EMBEDDING, Embed, as_stored, check_vectors
from workshop.store.queries import run_query
from workshop.store.vector_index import VectorSearch

LEAST_SIMILARITY = 0.3
"""A wish whose best movie is less similar than this matched nothing. Of all 4,803 movies, the best is 0.45 to 0.7 from
wishes for movies, and 0.18 to 0.32 from code, invoices and letters typed at random."""


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
    """How much each part counts in a graph-aware recommendation; each part lies between 0 and 1."""

    text: float = 0.6
    graph: float = 0.3
    genre: float = 0.1


@dataclass(frozen=True)
class Reason:
    """Something two movies share, and how much it counts: rare things count more."""

    kind: str
    name: str
    weight: float

    def __str__(self) -> str:
        said = {"acted_in": "actor", "directed": "director", "has_keyword": "keyword"}
        return f"{said.get(self.kind, self.kind)} {self.name}"


@dataclass(frozen=True)
class Recommendation:
    """A recommended movie. ``score`` ranks; ``similarity`` is the cosine of the two texts' embeddings."""

    key: str
    title: str
    year: int | None
    language: str
    genres: tuple[str, ...]
    score: float
    similarity: float
    shared_weight: float = 0.0
    genre_overlap: float = 0.0
    shared_genres: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = field(default=())


@dataclass(frozen=True)
class EmbeddingVersions:
    """Names of text models, as they are stored beside vectors: the served one, and those whose vectors are as good."""

    served: str
    equivalent: tuple[str, ...]


def embedding_versions(repository: Path) -> EmbeddingVersions:
    """The version of the served ``sentence_bert``: its name, the hash of its weights, and its precision.

    Vectors of the same weights at another precision differ by rounding only (cosine at least 0.999), so they need not
    be made again.

    Raises:
        ModelSourceError: the model was not traced yet.
    """
    folder = repository / SIGNATURE.name
    versions = version_folders(folder) if folder.is_dir() else []
    sidecar = read_sidecar(versions[-1]) if versions else None
    if sidecar is None:
        raise ModelSourceError(f"{folder} holds no traced model", hint="run notebook 01_trace_sentence_bert")
    names = {precision: f"{sidecar.model} {sidecar.source_sha256[:12]} {precision}" for precision in TORCH_DTYPES}
    served = names.pop(sidecar.precision)
    return EmbeddingVersions(served, tuple(names.values()))


class MovieRecommender:
    """Recommendations from a store that holds the movie graph and its embeddings.

    Args:
        database: the store.
        embed: the model that embedded the movies; used for wishes.
        search: whether the vector index is used, from ``ensure_vector_index``.
    """

    def __init__(self, database: StandardDatabase, embed: Embed, search: VectorSearch) -> None:
        self._database = database
        self._embed = embed
        self._search = search

    def find(self, title: str, year: int | None = None) -> dict[str, Any]:
        """The movie of that title; the one with the most votes when there are several.

        Raises:
            DataInvalidError: no movie has that title; the hint names similar ones.
        """
        found = run_query(self._database, "movie_find", {"title": title.strip(), "year": year})
        if found:
            return found[0]
        titles = {known.lower(): known for known in run_query(self._database, "movie_titles")}
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
        return nearest if nearest and nearest[0].similarity >= LEAST_SIMILARITY else []

    def hybrid(
        self,
        title: str,
        weights: Weights | None = None,
        *,
        year: int | None = None,
        limit: int = 10,
        pool: int = 100,
    ) -> list[Recommendation]:
        """Movies that share meaning, people, keywords and genres with the movie ``title``, and why.

        One AQL query mixes the three. What two movies share counts ``1 / log(number of movies that share it)``
        (Adamic and Adar, "Friends and neighbors on the Web", 2003); the movie that shares most gets 1.

        Args:
            title: the movie to start from.
            weights: how much text, graph and genres count.
            year: tells movies of the same title apart.
            limit: number of recommendations.
            pool: candidates taken from the text side and, again, from the graph side.

        Raises:
            DataInvalidError: there is no such movie.
            StoreSchemaError: it has no embedding yet.
        """
        weights = weights or Weights()
        key = self.find(title, year)["_key"]
        self._vector(key)
        bind_vars = {
            "key": key,
            "pool": pool,
            "limit": limit,
            "text_weight": weights.text,
            "graph_weight": weights.graph,
            "genre_weight": weights.genre,
        }
        return [_recommendation(row) for row in run_query(self._database, "movie_recommend", bind_vars)]

    def _nearest(
        self, vector: list[float], filters: MovieFilters | None, limit: int, exclude: str | None = None
    ) -> list[Recommendation]:
        bind_vars = {"vector": vector, "exclude": exclude, "limit": limit, **(filters or MovieFilters()).bind_vars()}
        if self._search.approximate:
            bind_vars["n_probe"] = self._search.n_probe
            rows = run_query(self._database, "movie_nearest_approximate", bind_vars)
        else:
            rows = run_query(self._database, "movie_nearest_exact", bind_vars)
        return [_recommendation({**row, "score": row["similarity"]}) for row in rows]

    def _vector(self, key: str) -> list[float]:
        with store_errors(f"read movie {key!r}"):
            movie = self._database.collection("movies").get(key)
        if not movie or not movie.get(EMBEDDING):
            raise StoreSchemaError(f"movie {key!r} has no embedding", hint="run embed_collection first")
        return movie[EMBEDDING]


def _recommendation(row: dict[str, Any]) -> Recommendation:
    reasons = tuple(Reason(reason["kind"], reason["name"], reason["weight"]) for reason in row.get("reasons", ()))
    shared_genres = tuple(row.get("shared_genres", ()))
    return Recommendation(**{**row, "genres": tuple(row["genres"]), "shared_genres": shared_genres, "reasons": reasons})
