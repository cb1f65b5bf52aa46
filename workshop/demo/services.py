"""What the tabs talk to: Triton and the store, connected when they are first needed and shared by all browsers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from arango.database import StandardDatabase

from workshop.errors import RepositoryError, ServingAuthError
from workshop.recommend.movies import MovieRecommender
from workshop.recommend.products import ProductRecommender
from workshop.settings import Settings
from workshop.store.connection import connect
from workshop.store.vector_index import VectorSearch
from workshop.text.embedder import TextEmbedder
from workshop.triton.aio import AsyncTritonClient
from workshop.triton.client import TritonClient
from workshop.triton.metrics import fetch_counts
from workshop.triton.transport import ModelState

ANSWER_SECONDS = 30.0
"""Longest time that a browser waits for a server."""
EXACT = VectorSearch(False, "a few thousand vectors are compared in a moment", 0)


class Services:
    """Connections of the process. Everything but :attr:`streams` blocks, and belongs into a thread.

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

    @cached_property
    def streams(self) -> AsyncTritonClient:
        """The client for what arrives piece by piece; belongs to the event loop that asks first."""
        return AsyncTritonClient.from_settings(self.settings)

    async def close(self) -> None:
        """Close the connections to Triton."""
        self.triton.close()
        if "streams" in vars(self):
            await self.streams.close()

    def models(self) -> list[ModelState]:
        """The models of the server's repository and their states; where listing wants a key, those that count.

        Raises:
            ServingError: the server, or its metrics, do not answer.
        """
        try:
            return self.triton.models()
        except ServingAuthError:  # as in Compose, where only JupyterLab has the key
            names = fetch_counts(self.settings)
            return [ModelState(name, "", "READY", "") for name in names if self.triton.is_ready(name)]

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
        return MovieRecommender(self.database(), self.embed, EXACT)

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
