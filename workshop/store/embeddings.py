"""Vectors of documents: what they must be like, how they are stored, and embedding the texts of a collection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from arango.database import StandardDatabase

from workshop.errors import DataInvalidError
from workshop.store.bulk import Document, Progress
from workshop.store.pending import EMBEDDING, PendingReport, compute_pending

Embed = Callable[[list[str]], npt.NDArray[np.float32]]
"""Texts in, one row per text out: float32 ``[len(texts), dimension]``."""

STORED_DECIMALS = 7
"""A float32 of a normalised vector keeps this many decimals; writing more digits makes documents twice as long."""
BATCH_TEXTS = 1024
"""Between two batches a served model runs dry for a moment, so batches are large; a stop loses two at most."""


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
) -> PendingReport:
    """Embed and store every document whose vector is missing, of another model, or of another text.

    Resumable as :func:`workshop.store.pending.compute_pending` is. Documents without a text are left out.

    Args:
        database: the store.
        collection: documents with ``text_attributes`` and, optionally, ``text_hash``.
        embed: the text model.
        model_version: name of the model and its weights; stored beside every vector.
        dimension: expected length of a vector.
        equivalent_versions: vectors of these models are as good and stay.
        text_attributes: a document's text is these attributes, joined by ``". "``; absent and empty ones are left out.
        batch_texts: texts per call of ``embed``. Texts of similar length share a batch, so little padding is computed.
        progress: called with the number of vectors stored and the number wanted.

    Raises:
        DataInvalidError: ``embed`` returned vectors of a wrong shape, NaN, an infinity or zeros; not stored.
        WorkshopError: what ``embed`` or the store raises; all batches acknowledged before it stay.
    """

    def batches(page: list[Document]) -> Iterator[list[Document]]:
        return _by_length([document for document in page if document["text"]], batch_texts)

    def compute(batch: list[Document]) -> Iterator[Document]:
        vectors = embed([document["text"] for document in batch])
        check_vectors(vectors, count=len(batch), dimension=dimension)
        return (
            {"_key": document["_key"], EMBEDDING: as_stored(vector)}
            for document, vector in zip(batch, vectors, strict=True)
        )

    return compute_pending(
        database,
        collection,
        compute,
        batches=batches,
        model_version=model_version,
        equivalent_versions=equivalent_versions,
        text_attributes=text_attributes,
        progress=progress,
    )


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


def _by_length(documents: list[dict[str, Any]], batch_texts: int) -> Iterator[list[dict[str, Any]]]:
    ordered = sorted(documents, key=lambda document: len(document["text"]))
    for start in range(0, len(ordered), batch_texts):
        yield ordered[start : start + batch_texts]
