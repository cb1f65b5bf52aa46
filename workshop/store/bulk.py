"""Write many documents: batches small enough for any server, and no refusal goes unnoticed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from arango.database import StandardDatabase
from arango.errno import DOCUMENT_NOT_FOUND
from arango.exceptions import ArangoServerError

from workshop.errors import DataInvalidError, DocumentsRejectedError
from workshop.store.connection import store_errors

Document = dict[str, Any]
Progress = Callable[[int, int], None]
"""Called with the number of items done and the number of all items."""

BATCH_DOCUMENTS = 500
BATCH_BYTES = 8_000_000
REASONS_SHOWN = 5


@dataclass(frozen=True)
class UpsertReport:
    """What a bulk write did. Documents that were there before count as ``updated``, even if nothing changed."""

    created: int
    updated: int
    batches: int

    @property
    def written(self) -> int:
        """Documents the store has acknowledged."""
        return self.created + self.updated


def upsert(
    database: StandardDatabase,
    collection: str,
    documents: Iterable[Document],
    *,
    on_duplicate: Literal["update", "replace"] = "update",
    batch_documents: int = BATCH_DOCUMENTS,
    batch_bytes: int = BATCH_BYTES,
    on_batch: Callable[[int, int], None] | None = None,
) -> UpsertReport:
    """Insert documents, or merge them into those that have the same ``_key``.

    Writing the same documents again leaves the collection as it is, so an interrupted load is repaired by running it
    again. Acknowledged batches stay when a later one fails.

    Args:
        database: where to write.
        collection: an existing collection.
        documents: each with a ``_key``; edges with ``_from`` and ``_to``.
        on_duplicate: ``"update"`` keeps attributes the new document lacks, ``"replace"`` drops them.
        batch_documents: most documents sent in one request.
        batch_bytes: most bytes of JSON sent in one request; a larger document travels alone.
        on_batch: called after each answered batch with the number of documents sent so far, and how many of these the
            store refused.

    Raises:
        DocumentsRejectedError: the store refused documents; all others are written.
        DataInvalidError: a document holds NaN, an infinity or a type that JSON lacks; its batch is not sent.
    """
    created = updated = batches = seen = 0
    reasons: list[str] = []
    refused = 0
    target = database.collection(collection)
    for batch in _batches(documents, collection, batch_documents, batch_bytes):
        try:
            with store_errors(f"write {len(batch)} documents to {collection!r}"):
                result = target.import_bulk(batch, halt_on_error=False, details=True, on_duplicate=on_duplicate)
        except (ValueError, TypeError) as error:
            raise _not_json(batch, collection) from error
        created += result["created"]
        updated += result["updated"]
        refused += result["errors"] + result.get("empty", 0)
        reasons += result.get("details", [])[: REASONS_SHOWN - len(reasons)]
        batches += 1
        seen += len(batch)
        if on_batch:
            on_batch(seen, refused)
    if refused:
        raise _refusal(collection, refused, seen, reasons)
    return UpsertReport(created, updated, batches)


def update_existing(database: StandardDatabase, collection: str, documents: Iterable[Document]) -> int:
    """Merge documents into those that have the same ``_key``; one that is no longer there is not made again.

    Args:
        database: where to write.
        collection: an existing collection.
        documents: each with a ``_key``.

    Returns:
        How many documents were there and are updated.

    Raises:
        DocumentsRejectedError: the store refused documents; all others are written.
        DataInvalidError: a document holds NaN, an infinity or a type that JSON lacks; its batch is not sent.
    """
    updated = seen = 0
    refused: list[ArangoServerError] = []
    target = database.collection(collection)
    for batch in _batches(documents, collection, BATCH_DOCUMENTS, BATCH_BYTES):
        try:
            with store_errors(f"update {len(batch)} documents of {collection!r}"):
                answers = target.update_many(batch, check_rev=False)
        except (ValueError, TypeError) as error:
            raise _not_json(batch, collection) from error
        errors = [answer for answer in answers if isinstance(answer, ArangoServerError)]
        refused += [error for error in errors if error.error_code != DOCUMENT_NOT_FOUND]
        updated += len(batch) - len(errors)
        seen += len(batch)
    if refused:
        raise _refusal(collection, len(refused), seen, [str(error) for error in refused[:REASONS_SHOWN]])
    return updated


def _refusal(collection: str, refused: int, seen: int, reasons: list[str]) -> DocumentsRejectedError:
    shown = "\n  ".join(reason[:300] for reason in reasons)
    return DocumentsRejectedError(
        f"{collection!r} refused {refused} of {seen} documents; the others are written. First reasons:\n  {shown}"
    )


def _batches(
    documents: Iterable[Document], collection: str, most_documents: int, most_bytes: int
) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in documents:
        try:
            length = len(orjson.dumps(document))
        except TypeError as error:
            raise _not_json([document], collection) from error
        if batch and (len(batch) == most_documents or size + length > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(document)
        size += length + 1
    if batch:
        yield batch


def _not_json(batch: list[Document], collection: str) -> DataInvalidError:
    for document in batch:
        try:
            json.dumps(document, allow_nan=False), orjson.dumps(document)  # each refuses what the other takes
        except (ValueError, TypeError, RecursionError) as error:
            reason = f"document {document.get('_key')!r}: {error}"
            break
    return DataInvalidError(
        f"{collection!r}: {reason}",
        hint="numbers must be finite, texts without half characters, arrays plain lists: array.tolist()",
    )
