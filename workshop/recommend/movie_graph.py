"""The movie catalogue as a graph in the store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from arango.database import StandardDatabase

from workshop.data.movies import Edge, Movie, MovieCatalogue, Named
from workshop.store.bulk import Document, Progress, UpsertReport, upsert
from workshop.store.schema import EdgeDefinition, GraphSchema, PersistentIndex, ensure_schema

MOVIES = "movies"

MOVIE_GRAPH = GraphSchema(
    graph="movie_graph",
    vertices=(MOVIES, "people", "genres", "keywords", "companies", "countries"),
    edges=(
        EdgeDefinition("acted_in", ("people",), (MOVIES,)),
        EdgeDefinition("directed", ("people",), (MOVIES,)),
        EdgeDefinition("has_genre", (MOVIES,), ("genres",)),
        EdgeDefinition("has_keyword", (MOVIES,), ("keywords",)),
        EdgeDefinition("produced_by", (MOVIES,), ("companies",)),
        EdgeDefinition("produced_in", (MOVIES,), ("countries",)),
    ),
    indexes=(
        PersistentIndex(MOVIES, ("year",)),
        PersistentIndex(MOVIES, ("language",)),
        PersistentIndex(MOVIES, ("genres[*]",)),
        PersistentIndex("people", ("name",)),
    ),
)


def load_movie_graph(
    database: StandardDatabase, catalogue: MovieCatalogue, *, progress: Progress | None = None
) -> dict[str, UpsertReport]:
    """Write a catalogue's records and edges; what the store knows besides, such as embeddings, stays.

    Args:
        database: the store.
        catalogue: what to write.
        progress: called with the number of records and edges written, and the number of all.

    Returns:
        What was written, by collection.

    Raises:
        DocumentsRejectedError: the store refused documents.
        StoreSchemaError: a collection or the graph exists and is different.
    """
    ensure_schema(database, MOVIE_GRAPH)
    counts = catalogue.counts()
    total = sum(counts[name] for name in MOVIE_GRAPH.collections)
    reports: dict[str, UpsertReport] = {}
    done = 0
    for name in MOVIE_GRAPH.collections:
        reports[name] = upsert(database, name, documents(catalogue, name))
        done += counts[name]
        if progress:
            progress(done, total)
    return reports


def documents(catalogue: MovieCatalogue, collection: str) -> Iterator[Document]:
    """The documents of one collection of :data:`MOVIE_GRAPH`."""
    if collection == MOVIES:
        return _movies(catalogue.movies)
    for edge in MOVIE_GRAPH.edges:
        if edge.collection == collection:
            return _edges(getattr(catalogue, collection), edge.sources[0], edge.targets[0])
    return _named(getattr(catalogue, collection))


def text_hash(movie: Movie) -> str:
    """Stands for the text that is embedded: another text, another hash."""
    return hashlib.sha1(movie.text.encode(), usedforsecurity=False).hexdigest()[:16]


def _movies(movies: Iterable[Movie]) -> Iterator[Document]:
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
