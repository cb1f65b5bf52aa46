"""The movie catalogue as a graph in the store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from arango.database import StandardDatabase

from workshop.data.movies import Edge, Movie, MovieCatalogue, Named
from workshop.store.bulk import Document, Progress, UpsertReport, upsert
from workshop.store.data_sets import DataSet, check_data_set, mixed
from workshop.store.queries import collection_bind_vars, run_query_on
from workshop.store.schema import EdgeDefinition, GraphSchema, PersistentIndex, ensure_schema

EDGES = {
    "acted_in": ("people", "movies"),
    "directed": ("people", "movies"),
    "has_genre": ("movies", "genres"),
    "has_keyword": ("movies", "keywords"),
    "produced_by": ("movies", "companies"),
    "produced_in": ("movies", "countries"),
}
"""Kind of edge to what it leads from and to."""
VERTICES = ("movies", "people", "genres", "keywords", "companies", "countries")


@dataclass(frozen=True)
class MovieCollections:
    """Where a catalogue lies in its database; each catalogue of one database has names of its own.

    Attributes:
        prefix: what the names of its collections and of its graph begin with, ``"mine_"`` for instance.
    """

    prefix: str = ""

    def name(self, kind: str) -> str:
        """The collection of a kind of vertex or edge."""
        return f"{self.prefix}{kind}"

    @property
    def movies(self) -> str:
        """The collection of the movies."""
        return self.name("movies")

    @property
    def graph(self) -> str:
        """The named graph."""
        return self.name("movie_graph")

    @property
    def schema(self) -> GraphSchema:
        """Collections, named graph and indexes."""
        return GraphSchema(
            graph=self.graph,
            vertices=tuple(self.name(kind) for kind in VERTICES),
            edges=tuple(
                EdgeDefinition(self.name(kind), (self.name(source),), (self.name(target),))
                for kind, (source, target) in EDGES.items()
            ),
            indexes=(
                PersistentIndex(self.movies, ("year",)),
                PersistentIndex(self.movies, ("language",)),
                PersistentIndex(self.movies, ("genres[*]",)),
                PersistentIndex(self.name("people"), ("name",)),
            ),
        )

    def query(self, database: StandardDatabase, name: str, bind_vars: Mapping[str, Any] | None = None) -> list[Any]:
        """Run one of the ``movie_*`` queries on these collections.

        Raises:
            QueryError: the store refuses the query, or it fails.
        """
        return run_query_on(database, name, self._names, bind_vars)

    def bind_vars(self, text: str) -> dict[str, str]:
        """The bind variables that give a query of one's own its ``@@movies``, ``@@acted_in`` ..."""
        return collection_bind_vars(text, self._names)

    @property
    def _names(self) -> dict[str, str]:
        return {kind: self.name(kind) for kind in (*VERTICES, *EDGES)}


MOVIE_COLLECTIONS = MovieCollections()
MOVIES = MOVIE_COLLECTIONS.movies
MOVIE_GRAPH = MOVIE_COLLECTIONS.schema


def load_movie_graph(
    database: StandardDatabase,
    catalogue: MovieCatalogue,
    *,
    collections: MovieCollections = MOVIE_COLLECTIONS,
    progress: Progress | None = None,
) -> dict[str, UpsertReport]:
    """Write a catalogue's records and edges; what the store knows besides, such as embeddings, stays.

    Args:
        database: the store.
        catalogue: what to write.
        collections: where it goes; each catalogue of a database has its own.
        progress: called with the number of records and edges written, and the number of all.

    Returns:
        What was written, by collection.

    Raises:
        DocumentsRejectedError: the store refused documents.
        StoreSchemaError: as :func:`check_movies`.
    """
    check_movies(database, catalogue, collections=collections)
    counts = catalogue.counts()
    kinds = (*VERTICES, *EDGES)
    total = sum(counts[kind] for kind in kinds)
    reports: dict[str, UpsertReport] = {}
    done = 0
    for kind in kinds:
        name = collections.name(kind)
        reports[name] = upsert(database, name, _documents(catalogue, kind, collections))
        done += counts[kind]
        if progress:
            progress(done, total)
    return reports


def check_movies(
    database: StandardDatabase, catalogue: MovieCatalogue, *, collections: MovieCollections = MOVIE_COLLECTIONS
) -> None:
    """Create the collections and the named graph where they are missing; refuse movies of other tables in them.

    Every movie is marked with the tables it was made from, those of a slice with the whole's. Movies without a mark
    were loaded by an earlier version, or restored from its dump. They are taken for the same catalogue when one of the
    two contains the other, by keys and titles, as a slice and the whole do. In doubt nothing is written: what was
    refused can be loaded elsewhere, and what was overwritten is gone.

    Raises:
        StoreSchemaError: a collection or the graph exists and is different, or movies of other tables are there.
    """
    ensure_schema(database, collections.schema)
    data_set = _data_set(catalogue)
    place = {
        "graph": collections.graph,
        "own_place": "MOVIES_PREFIX='mine_' in notebook 06, or the setting WORKSHOP_MOVIES_PREFIX=mine_, which gives a "
        "catalogue collections of its own (in code: collections=MovieCollections('mine_'))",
    }
    if check_data_set(database, collections.movies, data_set, differ_in="rows", **place):
        return
    there = {(row["key"], row["title"]) for row in collections.query(database, "movie_unmarked")}
    ours = {(movie.key, movie.title) for movie in catalogue.movies}
    if not (there <= ours or ours <= there):
        told = f"films without a mark, which are not those of {data_set.name}; the two cannot be mixed"
        raise mixed(database, collections.movies, told, **place)


def _data_set(catalogue: MovieCatalogue) -> DataSet:
    return DataSet(catalogue.source, catalogue.source_hash)


def _documents(catalogue: MovieCatalogue, kind: str, collections: MovieCollections) -> Iterator[Document]:
    if kind == "movies":
        return _movies(catalogue.movies, _data_set(catalogue))
    if kind in EDGES:
        source, target = (collections.name(end) for end in EDGES[kind])
        return _edges(getattr(catalogue, kind), source, target)
    return _named(getattr(catalogue, kind))


def text_hash(movie: Movie) -> str:
    """Stands for the text that is embedded: another text, another hash."""
    return hashlib.sha1(movie.text.encode(), usedforsecurity=False).hexdigest()[:16]


def _movies(movies: Iterable[Movie], data_set: DataSet) -> Iterator[Document]:
    for movie in movies:
        yield {
            "_key": movie.key,
            "title": movie.title,
            "original_title": movie.original_title,
            "overview": movie.overview,
            "text_hash": text_hash(movie),
            "year": movie.year,
            "release_date": movie.release_date,
            "runtime": movie.runtime,
            "language": movie.language,
            "genres": list(movie.genres),
            "popularity": movie.popularity,
            "vote_average": movie.vote_average,
            "vote_count": movie.vote_count,
            **data_set.marks,
        }


def _named(items: Iterable[Named]) -> Iterator[Document]:
    for item in items:
        yield {"_key": item.key, "name": item.name}


def _edges(edges: Iterable[Edge], source: str, target: str) -> Iterator[Document]:
    for edge in edges:
        yield {
            "_key": edge.key,
            "_from": f"{source}/{edge.source}",
            "_to": f"{target}/{edge.target}",
            **edge.facts,
        }
