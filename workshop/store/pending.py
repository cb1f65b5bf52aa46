"""Ask the store what is pending, compute it, store it: overlapped, and resumable after a stop at any point."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from arango.collection import StandardCollection
from arango.database import StandardDatabase

from workshop.store.bulk import Document, Progress, update_existing
from workshop.store.connection import store_errors
from workshop.store.key_ranges import ALL_KEYS, KeyRange
from workshop.store.queries import run_query

EMBEDDING = "embedding"
MODEL_OF_EMBEDDING = "embedding_model"
TEXT_OF_EMBEDDING = "embedding_of"
"""The ``text_hash`` a document had when it was embedded: a changed text makes its vector stale."""

PAGE_DOCUMENTS = 4096


@dataclass(frozen=True)
class PendingReport:
    """What :func:`compute_pending` did.

    Attributes:
        stored: documents that were computed and stored.
        already_there: documents that were up to date before.
        skipped: pending documents that ``batches`` left out.
        seconds: how long it took.
    """

    stored: int
    already_there: int
    skipped: int
    seconds: float


def compute_pending(
    database: StandardDatabase,
    collection: str,
    compute: Callable[[list[Document]], Iterable[Document]],
    *,
    batches: Callable[[list[Document]], Iterable[list[Document]]],
    model_version: str,
    equivalent_versions: Sequence[str] = (),
    text_attributes: Sequence[str] = (),
    progress: Progress | None = None,
) -> PendingReport:
    """Compute and store what a model says of every document that it has not seen, or not with its present text.

    While one batch is being stored, the next is being computed. A batch is stored whole or not at all, and nothing
    else is remembered: after a stop, calling again continues with the documents that are still pending. A vector index
    over vectors of another length is dropped, since it would refuse the new ones.

    Args:
        database: the store.
        collection: where the documents are.
        compute: takes a batch of pending documents ``{_key, text_hash, text}``, returns for each ``_key`` what to
            store, an ``embedding`` included; model version and text hash are added here.
        batches: cuts a page of pending documents into batches; what it leaves out stays pending.
        model_version: name of the model and its weights; stored beside what it computes.
        equivalent_versions: what these models computed is as good and stays.
        text_attributes: ``text`` is these attributes, joined by ``". "``; absent and empty ones are left out.
        progress: called with the number of documents stored and the number wanted.

    Raises:
        WorkshopError: what ``compute`` or the store raises; all batches acknowledged before it stay.
    """
    started = time.monotonic()
    scope = pending_scope(collection, model_version, equivalent_versions)
    wanted, total = run_query(database, "count_pending_embeddings", scope)[0]
    seen = stored = taken = 0

    def store(documents: list[Document]) -> int:
        if documents and not stored:  # what follows has the same length
            make_room(database, collection, len(documents[0][EMBEDDING]))
        return update_existing(database, collection, documents)

    def finished(storing: Future[int] | None) -> int:
        done = storing.result() if storing else 0
        if storing and progress:
            progress(stored + done, wanted)
        return done

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="store") as background:
        storing: Future[int] | None = None
        for page in pending_pages(database, scope, text_attributes):
            seen += len(page)
            for batch in batches(page):
                taken += len(batch)
                documents = marked(compute(batch), batch, model_version)
                stored += finished(storing)
                storing = background.submit(store, documents)
        stored += finished(storing)
    return PendingReport(stored, total - wanted, seen - taken, time.monotonic() - started)


def embedding_indexes(target: StandardCollection) -> list[dict[str, Any]]:
    """The vector indexes over a collection's embeddings, as the server describes them."""
    return [index for index in target.indexes() if index["type"] == "vector" and index["fields"] == [EMBEDDING]]


def make_room(database: StandardDatabase, collection: str, dimension: int) -> None:
    """Drop vector indexes over embeddings of another length than ``dimension``: they would refuse the new ones."""
    target = database.collection(collection)
    with store_errors(f"make room in {collection!r} for vectors of {dimension} numbers"):
        for index in embedding_indexes(target):
            if index["params"]["dimension"] != dimension:
                target.delete_index(index["id"])


def marked(computed: Iterable[Document], batch: Iterable[Document], model_version: str) -> list[Document]:
    """What was computed of a batch, with the model and the text it was computed by: what makes it no longer pending.

    Args:
        computed: documents ``{_key, ...}``.
        batch: the pending documents ``{_key, text_hash, ...}`` they were computed of.
        model_version: name of the model and its weights.
    """
    text_hash = {document["_key"]: document["text_hash"] for document in batch}
    return [
        {**document, MODEL_OF_EMBEDDING: model_version, TEXT_OF_EMBEDDING: text_hash[document["_key"]]}
        for document in computed
    ]


def pending_scope(collection: str, model_version: str, equivalent_versions: Sequence[str] = ()) -> dict[str, Any]:
    """Bind variables of the queries about pending documents; arguments are those of :func:`compute_pending`."""
    return {"@collection": collection, "current": [model_version, *equivalent_versions]}


def pending_pages(
    database: StandardDatabase,
    scope: Mapping[str, Any],
    text_attributes: Sequence[str],
    keys: KeyRange = ALL_KEYS,
    page_documents: int = PAGE_DOCUMENTS,
) -> Iterator[list[Document]]:
    """Pages of ``{_key, text_hash, text}`` in the store's order of keys. Paging by key is safe while documents change.

    Args:
        database: the store.
        scope: of :func:`pending_scope`.
        text_attributes: as for :func:`compute_pending`.
        keys: which documents.
        page_documents: most documents in a page.
    """
    after = keys.after
    while True:
        bounds = {"after": after, "until": keys.until, "limit": page_documents}
        page = run_query(database, "pending_embeddings", {**scope, **bounds, "text_attributes": list(text_attributes)})
        if page:
            yield page
        if len(page) < page_documents:
            return
        after = page[-1]["_key"]
