"""Embed the collection ``films`` of a database by the model ``embed``, slowly enough to be killed on the way.

Usage: python embed_films.py DATABASE
"""

from __future__ import annotations

import sys
import time

import numpy as np
import served_models

from workshop.settings import Settings, load_settings
from workshop.store.connection import connect
from workshop.store.embeddings import embed_collection
from workshop.store.pending import PendingReport
from workshop.triton.client import TritonClient

PAUSE = 0.05
"""Seconds between two batches."""


def embed_films(settings: Settings, name: str, *, batch_texts: int = 100) -> PendingReport:
    """Embed what is pending in ``films`` of the database called ``name``."""
    with TritonClient.from_settings(settings, timeout=20) as client:

        def embed(texts: list[str]) -> np.ndarray:
            time.sleep(PAUSE)
            return client.infer("embed", {"TEXT": np.array(texts, object)[:, None]})["EMBEDDING"]

        return embed_collection(
            connect(settings, database=name),
            "films",
            embed,
            model_version="embed 1",
            dimension=served_models.WIDTH,
            batch_texts=batch_texts,
        )


if __name__ == "__main__":
    sys.stdout.write(f"{embed_films(load_settings(), sys.argv[1])}\n")
