"""What a service that recommends talks to: Triton and the store, connected when first needed, shared by all who ask."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from arango.database import StandardDatabase

from workshop.errors import RepositoryError, StoreSchemaError
from workshop.recommend.movie_graph import MovieCollections
from workshop.recommend.movies import MovieRecommender
from workshop.recommend.products import ProductRecommender
from workshop.settings import Settings
from workshop.store.connection import connect, store_errors
from workshop.store.queries import run_query
from workshop.store.vector_index import VectorSearch
from workshop.text.embedder import TextEmbedder
from workshop.triton.client import TritonClient
from workshop.triton.listing import list_models
from workshop.triton.transport import ModelState

ANSWER_SECONDS = 30.0
"""Longest time that somebody waits for a server."""
MOVIES_REMEDY = 'make run NOTEBOOKS="06"  (notebook 06 loads and embeds the films)'
PRODUCTS_REMEDY = 'make run NOTEBOOKS="07"  (notebook 07 loads and embeds the products)'
EXACT = VectorSearch(False, "a few thousand vectors are compared in a moment", 0)


class Connections:
    """Connections of the process, which threads may share. Everything blocks, and belongs into a thread.

    Args:
        settings: where the servers are.
    """

    def __init__(self, settings: Settings) -> None:
        quick = {"triton_timeout": min(settings.triton_timeout, ANSWER_SECONDS), "triton_protocol": "grpc"}
        self.settings = settings.model_copy(update=quick)
        self.triton = TritonClient.from_settings(self.settings)
        self._databases: dict[str, StandardDatabase] = {}
        self._embedder: TextEmbedder | None = None
        self._opening, self._reading = threading.Lock(), threading.Lock()

    def __enter__(self) -> Connections:
        return self

    def __exit__(self, *_: object) -> None:
        self.triton.close()

    def models(self) -> list[ModelState]:
        """The models of the server's repository and their states; where listing wants a key, those that count.

        Raises:
            ServingError: the server, or its metrics, do not answer.
        """
        return list_models(self.triton, self.settings)

    def database(self, name: str = "") -> StandardDatabase:
        """A database of the store; empty: the one of the settings.

        Raises:
            StoreError: as :func:`workshop.store.connection.connect`.
        """
        name = name or self.settings.arango_database
        with self._opening:
            if name not in self._databases:
                self._databases[name] = connect(self.settings, database=name, request_timeout=ANSWER_SECONDS)
            return self._databases[name]

    @property
    def products_database(self) -> StandardDatabase:
        """Where notebook 07 keeps the catalogue of the data size that is set."""
        name, size = self.settings.arango_database, self.settings.data_size
        return self.database(name if size == "default" else f"{name}_{size}")

    @property
    def movies(self) -> MovieRecommender:
        """The recommender of films."""
        return MovieRecommender(self.database(), self.embed, EXACT, collections=self.movie_collections)

    @property
    def movie_collections(self) -> MovieCollections:
        """Where notebook 06 keeps the films."""
        return MovieCollections(self.settings.movies_prefix)

    @property
    def products(self) -> ProductRecommender:
        """The recommender of products."""
        return ProductRecommender(self.products_database)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts through the served sentence model, whichever is served now; float32 ``[texts, width]``.

        Raises:
            ServingError: as :class:`workshop.text.embedder.TextEmbedder`.
            RepositoryError: likewise.
        """
        with self._reading:
            embedder = self._embedder or TextEmbedder(self.triton)
            self._embedder = embedder
        try:
            return embedder(texts)
        except RepositoryError:  # the model was replaced since: read again what it is
            fresh = TextEmbedder(self.triton)
            with self._reading:
                self._embedder = fresh
            return fresh(texts)


def missing_vectors(database: StandardDatabase, collection: str) -> str:
    """What recommending from a collection lacks, in words: it is absent, empty or without embeddings; empty: nothing.

    Raises:
        StoreError: the store does not answer.
    """
    where = f"database {database.name!r}"
    with store_errors(f"look for collection {collection!r}"):
        if not database.has_collection(collection) or not database.collection(collection).count():
            return f"Collection {collection!r} in {where} holds nothing yet."
    try:
        if run_query(database, "count_embedded", {"@collection": collection}):
            return ""
    except StoreSchemaError:  # dropped this moment
        pass
    return f"Collection {collection!r} in {where} has no embeddings yet."
