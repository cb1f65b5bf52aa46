"""Give documents their embeddings: only those that lack one, in an order that survives a stop at any point."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from arango.database import StandardDatabase

from workshop.errors import DataInvalidError
from workshop.store.bulk import Progress, upsert
from workshop.store.queries import run_query

Embed = Callable[[list[str]], npt.NDArray[np.float32]]
"""Texts in, one row per text out: float32 ``[len(texts), dimension]``."""

EMBEDDING = "embedding"
MODEL_OF_EMBEDDING = "embedding_model"
TEXT_OF_EMBEDDING = "embedding_of"
"""The ``text_hash`` a document had when it was embedded: a changed text makes its vector stale."""

STORED_DECIMALS = 7
"""A float32 of a normalised vector keeps this many decimals; writing more digits makes documents twice as long."""
PAGE_DOCUMENTS = 4096
BATCH_TEXTS = 1024
"""Between two batches a served model runs dry for a moment, so batches are large; a stop loses two at most."""


@dataclass(frozen=True)
class EmbedReport:
    """What :func:`embed_collection` did."""

    embedded: int
    already_there: int
    without_text: int
    seconds: float


def embed_collection(
    database: StandardDatabase,
    collection: str,
    embed: Embed,
    *,
    model_version: str,
    dimension: int,
    equivalent_versions: Sequence[str] = (),
    text_attributes: Sequence[str] = ("title", "overview"),
    batch_texts: int = BATCH_TEXTS,
    progress: Progress | None = None,
) -> EmbedReport:
    """Embed and store every document whose vector is missing, of another model, or of another text.

    While one batch is being stored, the next is being embedded. A batch is stored whole or not at all, and nothing
    else is remembered: after a stop, calling again continues with the documents that still lack a vector.

    Args:
        database: the store.
        collection: documents with ``text_attributes`` and, optionally, ``text_hash``.
        embed: the text model.
        model_version: name of the model and its weights; stored beside every vector.
        dimension: expected length of a vector.
        equivalent_versions: vectors of these models are as good and stay, such as those of the same weights at
            another precision.
        text_attributes: a document's text is these attributes, joined by ``". "``; absent and empty ones are left out.
        batch_texts: texts per call of ``embed``. Texts of similar length share a batch, so little padding is computed.
        progress: called with the number of vectors stored and the number wanted.

    Raises:
        DataInvalidError: ``embed`` returned vectors of a wrong shape, NaN, an infinity or zeros; not stored.
        WorkshopError: what ``embed`` or the store raises; all batches acknowledged before it stay.
    """
    started = time.monotonic()
    scope = {"@collection": collection, "current": [model_version, *equivalent_versions]}
    wanted, total = run_query(database, "count_pending_embeddings", scope)[0]
    stored = without_text = 0

    def store(keys: list[dict[str, Any]], vectors: npt.NDArray[np.float32]) -> int:
        upsert(database, collection, _with_vectors(keys, vectors, model_version))
        return len(keys)

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="store") as background:
        storing: Future[int] | None = None
        for page in _pending_pages(database, scope, text_attributes):
            with_text = [document for document in page if document["text"]]
            without_text += len(page) - len(with_text)
            for batch in _by_length(with_text, batch_texts):
                vectors = embed([document["text"] for document in batch])
                check_vectors(vectors, count=len(batch), dimension=dimension)
                if storing:
                    stored += storing.result()
                    _report(progress, stored, wanted)
                storing = background.submit(store, batch, vectors)
        if storing:
            stored += storing.result()
            _report(progress, stored, wanted)
    return EmbedReport(stored, total - wanted, without_text, time.monotonic() - started)


def check_vectors(vectors: npt.NDArray[Any], *, count: int, dimension: int) -> None:
    """Refuse vectors no similarity can be computed with.

    Args:
        vectors: ``[count, dimension]``.
        count: expected number of rows.
        dimension: expected length of a row.

    Raises:
        DataInvalidError: another shape or no numbers, NaN, an infinity, or a row of zeros.
    """
    vectors = np.asarray(vectors)
    if vectors.shape != (count, dimension):
        raise DataInvalidError(f"embeddings: expected shape {(count, dimension)}, received {vectors.shape}")
    if not np.issubdtype(vectors.dtype, np.floating):
        raise DataInvalidError(f"embeddings: expected floating-point numbers, received {vectors.dtype}")
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if broken.size:
        raise DataInvalidError(f"embeddings: {broken.size} rows hold NaN or infinity, the first is row {broken[0]}")
    zero = np.flatnonzero(~vectors.any(axis=1))
    if zero.size:
        raise DataInvalidError(
            f"embeddings: {zero.size} rows are all zeros, the first is row {zero[0]}; a zero vector has no direction"
        )


def as_stored(vector: npt.NDArray[np.floating]) -> list[float]:
    """A vector as the store keeps it: a list of Python numbers, rounded to float32's own precision."""
    return np.round(vector.astype(np.float64), STORED_DECIMALS).tolist()


def _with_vectors(
    documents: list[dict[str, Any]], vectors: npt.NDArray[np.float32], model_version: str
) -> Iterator[dict[str, Any]]:
    for document, vector in zip(documents, vectors, strict=True):
        yield {
            "_key": document["_key"],
            EMBEDDING: as_stored(vector),
            MODEL_OF_EMBEDDING: model_version,
            TEXT_OF_EMBEDDING: document["text_hash"],
        }


def _pending_pages(
    database: StandardDatabase, scope: dict[str, Any], text_attributes: Sequence[str]
) -> Iterator[list[dict[str, Any]]]:
    """Pages of ``{_key, text_hash, text}`` in key order. Paging by key is safe while documents are being changed."""
    after = ""
    while True:
        bind_vars = {**scope, "after": after, "limit": PAGE_DOCUMENTS, "text_attributes": list(text_attributes)}
        page = run_query(database, "pending_embeddings", bind_vars)
        if not page:
            return
        yield page
        after = page[-1]["_key"]


def _by_length(documents: list[dict[str, Any]], batch_texts: int) -> Iterator[list[dict[str, Any]]]:
    ordered = sorted(documents, key=lambda document: len(document["text"]))
    for start in range(0, len(ordered), batch_texts):
        yield ordered[start : start + batch_texts]


def _report(progress: Progress | None, done: int, wanted: int) -> None:
    if progress:
        progress(done, wanted)
