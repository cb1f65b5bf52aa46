"""Embed a collection with Ray Data: read by ranges, embedded by Triton, written back, on any number of machines.

Blocks of documents flow through stages that run at once: a range of pending documents is read, actors send the texts to
the Triton endpoints, tasks write the vectors. Ray runs the reading in the actors, where it costs no copy: a
worker reads its next range when the last one is embedded. Ray starts a task only while what is under way fits into its
bounded store, so that the slowest stage sets the pace (back-pressure). ``make bench BENCH=ray_vs_client`` measures how
memory grows with the collection.

What is done stands in the documents alone: the model, and the hash of the text, that each vector was made of. So a
block may be run twice, as Ray does when a worker dies; a run may be stopped at any point; the next one continues with
what is still pending.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
import pyarrow as pa
import ray
from arango.database import StandardDatabase
from ray.data import ActorPoolStrategy, DataContext, Datasource, TaskPoolStrategy
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask
from ray.exceptions import RayError

from workshop.errors import (
    ClusterFailedError,
    RepositoryError,
    ServerUnreachableError,
    ServingTimeoutError,
    WorkshopError,
)
from workshop.scale.cluster import ray_cluster
from workshop.scale.endpoints import EndpointPool
from workshop.scale.patience import patiently
from workshop.settings import Settings
from workshop.store.bulk import Document, update_existing
from workshop.store.connection import connect, store_password
from workshop.store.embeddings import as_stored, check_vectors
from workshop.store.key_ranges import KeyRange, key_ranges
from workshop.store.pending import EMBEDDING, make_room, marked, pending_pages, pending_scope
from workshop.store.queries import run_query, stream_query
from workshop.text.embedder import TextEmbedder, vectors_of
from workshop.text.signatures import SENTENCE_BERT
from workshop.text.tokenization import TextTokenizer
from workshop.triton.client import TritonClient

RANGE_DOCUMENTS = 1024
"""Pending documents in a range: enough that the start of a task does not count, few enough to lose with a worker."""
WORKERS_PER_ENDPOINT = 1
"""One keeps an endpoint busy. Of two, more requests wait in Triton's queue at once, and its batcher (server 2.51) then
spends a fifth of a core on them: on two cores an eighth to a sixth of the rate."""
SHARE_OF_A_CORE = 0.25
"""What a task or worker asks of Ray: it waits for servers most of its time."""
PATIENCE = 60.0
"""Seconds that a worker waits for a store or an endpoint that is gone."""
FIRST_ANSWER = 10.0
"""Seconds an endpoint may take to say what it serves."""
BYTES_OF_A_TEXT = 1000
"""What Ray plans with before it has seen the first block."""


@dataclass(frozen=True)
class Source:
    """Which documents, and where. It is sent to the workers, the store's password included.

    Attributes:
        settings: of the store.
        collection: documents with ``text_attributes`` and, optionally, ``text_hash``.
        model_version: name of the model and its weights; stored beside every vector.
        equivalent_versions: vectors of these models are as good and stay.
        text_attributes: a document's text is these attributes, joined by ``". "``.
        patience: seconds to wait for a store that does not answer.
    """

    settings: Settings
    collection: str
    model_version: str
    equivalent_versions: tuple[str, ...] = ()
    text_attributes: tuple[str, ...] = ("title", "overview")
    patience: float = PATIENCE

    @property
    def scope(self) -> dict[str, Any]:
        """Bind variables of the queries about pending documents."""
        return pending_scope(self.collection, self.model_version, self.equivalent_versions)

    def database(self) -> StandardDatabase:
        """A connection of the calling process."""
        return connect(self.settings)


@dataclass(frozen=True)
class StoredBlock:
    """One block that went through all stages.

    Attributes:
        stored: vectors written.
        worker: process that had it embedded, as ``machine:pid``.
        began: when embedding began, in seconds since the epoch by that machine's clock.
        done: vectors written so far in the run, this block included.
        wanted: documents that were pending when the run began.
    """

    stored: int
    worker: str
    began: float
    done: int
    wanted: int


@dataclass(frozen=True)
class BulkReport:
    """What :func:`embed_with_ray` did.

    Attributes:
        stored: vectors written.
        already_there: documents that were up to date before.
        skipped: pending documents without a text.
        blocks: blocks they came in.
        seconds: how long it took.
        start_seconds: of these, until the first worker had its first block: Ray's fixed cost.
    """

    stored: int
    already_there: int
    skipped: int
    blocks: int
    seconds: float
    start_seconds: float


def embed_with_ray(
    settings: Settings,
    collection: str,
    *,
    model: str = SENTENCE_BERT.name,
    model_version: str,
    equivalent_versions: Sequence[str] = (),
    text_attributes: Sequence[str] = ("title", "overview"),
    range_documents: int = RANGE_DOCUMENTS,
    workers: int | None = None,
    patience: float = PATIENCE,
    request_timeout: float = 60.0,
    on_block: Callable[[StoredBlock], None] | None = None,
) -> BulkReport:
    """Embed and store every document whose vector is missing, of another model, or of another text.

    The same as :func:`workshop.store.embeddings.embed_collection`, in many processes or on many machines: it runs on
    the Ray that this process is connected to, else on that of :func:`workshop.scale.cluster.ray_cluster`. A run that
    failed or was stopped is continued by calling again.

    Args:
        settings: of the store, and of the Triton endpoints. On a cluster all addresses must reach every machine.
        collection: documents with ``text_attributes`` and, optionally, ``text_hash``.
        model: name of the served model.
        model_version: name of the model and its weights; stored beside every vector.
        equivalent_versions: vectors of these models are as good and stay.
        text_attributes: a document's text is these attributes, joined by ``". "``; absent and empty ones are left out.
        range_documents: pending documents in a block.
        workers: processes that send texts to Triton; ``None``: one for each endpoint.
        patience: seconds that a worker waits for the store, or for an endpoint, to come back.
        request_timeout: seconds one request may take at one endpoint.
        on_block: called with every block that is stored.

    Raises:
        DataInvalidError: the model returned vectors of a wrong shape, NaN, an infinity or zeros; not stored.
        ServingError, StoreError: what a worker met after its patience; all blocks acknowledged before stay.
        ClusterFailedError: Ray itself failed.
    """
    started = time.time()
    settings = _self_contained(settings)
    source = Source(settings, collection, model_version, tuple(equivalent_versions), tuple(text_attributes), patience)
    database = source.database()
    wanted, total = run_query(database, "count_pending_embeddings", source.scope)[0]
    if not wanted:
        return BulkReport(0, total, 0, 0, time.time() - started, 0.0)
    embedder, endpoints = _served(settings, model)
    make_room(database, collection, embedder.width)
    ranges = list(key_ranges(stream_query(database, "pending_keys", source.scope), range_documents))
    workers = workers or WORKERS_PER_ENDPOINT * endpoints
    stored, began = 0, []
    with ray_cluster():
        tokenizer = ray.put(embedder.tokenizer)  # held here, so that a worker that is started again finds it
        worker = (settings, model, tokenizer, embedder.width, patience, request_timeout)
        for row in _blocks(source, ranges, range_documents, worker, workers):
            stored += row["stored"]
            began.append(row["began"])
            if on_block:
                on_block(StoredBlock(**row, done=stored, wanted=wanted))
        seconds = time.time() - started  # Ray's stop is not part of it
    start_seconds = min(began, default=started) - started
    return BulkReport(stored, total - wanted, wanted - stored, len(began), seconds, start_seconds)


# --- the stages, each in a process of its own -----------------------------------------------------------------
class PendingTexts(Datasource):
    """Pending documents, one reading task for each range of keys."""

    def __init__(self, source: Source, ranges: Sequence[KeyRange], range_documents: int) -> None:
        super().__init__()
        self._source, self._ranges, self._range_documents = source, ranges, range_documents

    def estimate_inmemory_data_size(self) -> int:
        """Bytes of all texts, roughly."""
        return len(self._ranges) * self._range_documents * BYTES_OF_A_TEXT

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        """One task for each range, however many Ray would like."""
        size = self._range_documents * BYTES_OF_A_TEXT
        about = BlockMetadata(num_rows=None, size_bytes=size, input_files=None, exec_stats=None)
        return [ReadTask(partial(read_range, self._source, keys), about) for keys in self._ranges]


def read_range(source: Source, keys: KeyRange) -> Iterator[pa.Table]:
    """The pending documents of a range that have a text, as one block ``key, text_hash, text``; the hash as JSON."""

    def read() -> list[Document]:
        pages = pending_pages(source.database(), source.scope, source.text_attributes, keys)
        return [document for page in pages for document in page if document["text"]]

    documents = patiently(read, source.patience)
    hashes = [orjson.dumps(document["text_hash"]).decode() for document in documents]
    columns = {
        "key": [document["_key"] for document in documents],
        "text_hash": hashes,
        "text": [document["text"] for document in documents],
    }
    yield pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


class EmbedTexts:
    """A worker: it keeps a tokenizer, and connections to all endpoints.

    Args:
        settings: where the endpoints are.
        model: name of the served model.
        tokenizer: the model's own, in Ray's store, since other machines have no model repository.
        width: numbers in a vector.
        patience: seconds to wait while no endpoint is healthy.
        timeout: seconds one request may take at one endpoint.
    """

    def __init__(
        self, settings: Settings, model: str, tokenizer: ray.ObjectRef, width: int, patience: float, timeout: float
    ) -> None:
        self._pool = EndpointPool.from_settings(settings, patience=patience, timeout=timeout)
        self._tokenizer: TextTokenizer = ray.get(tokenizer)
        self._model, self._width = model, width
        self._name = f"{socket.gethostname()}:{os.getpid()}"

    def __call__(self, block: pa.Table) -> pa.Table:
        """The block with vectors, float32 ``[rows, width]``, instead of texts, and who made them since when."""
        began = time.time()
        texts = block["text"].to_pylist()
        vectors = vectors_of(self._pool, self._model, self._tokenizer, self._width, texts)
        check_vectors(vectors, count=len(texts), dimension=self._width)
        flat = pa.array(vectors.ravel())
        return pa.table(
            {
                "key": block["key"],
                "text_hash": block["text_hash"],
                "vector": pa.FixedSizeListArray.from_arrays(flat, self._width),
                "worker": [self._name] * len(texts),
                "began": [began] * len(texts),
            }
        )


def write_vectors(block: pa.Table, source: Source) -> pa.Table:
    """Store the vectors of a block, and say in one row how many, whose, and since when they were in work."""
    keys, hashes = block["key"].to_pylist(), block["text_hash"].to_pylist()
    vectors = block["vector"].combine_chunks().flatten().to_numpy().reshape(len(keys), -1)
    batch = [{"_key": key, "text_hash": orjson.loads(text_hash)} for key, text_hash in zip(keys, hashes, strict=True)]
    computed = [{"_key": key, EMBEDDING: as_stored(vector)} for key, vector in zip(keys, vectors, strict=True)]
    documents = marked(computed, batch, source.model_version)
    stored = patiently(lambda: update_existing(source.database(), source.collection, documents), source.patience)
    return pa.table({"stored": [stored], "worker": block["worker"][:1], "began": block["began"][:1]})


# --- the stages, put together ---------------------------------------------------------------------------------
def _blocks(
    source: Source, ranges: Sequence[KeyRange], range_documents: int, worker: Sequence[Any], workers: int
) -> Iterator[dict[str, Any]]:
    """Run the stages; gives what :func:`write_vectors` says of each block, as it is stored.

    Raises as :func:`embed_with_ray` does.
    """
    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    with DataContext.current(context):
        dataset = (
            ray.data.read_datasource(
                PendingTexts(source, ranges, range_documents),
                override_num_blocks=len(ranges),
                num_cpus=SHARE_OF_A_CORE,
            )
            .map_batches(
                EmbedTexts,
                fn_constructor_args=worker,
                compute=ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
                batch_size=None,
                batch_format="pyarrow",
                num_cpus=SHARE_OF_A_CORE,
            )
            .map_batches(
                write_vectors,
                fn_args=[source],
                batch_size=None,
                batch_format="pyarrow",
                num_cpus=SHARE_OF_A_CORE,
                compute=TaskPoolStrategy(size=-(-workers // 2)),  # writing is the shorter work
            )
        )
        try:
            yield from dataset.iter_rows()
        except RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, WorkshopError):
                raise cause from error
            raise ClusterFailedError(
                f"Ray could not finish the run: {type(error).__name__}: {error}",
                hint="run it again: it continues with what is pending",
            ) from error


def _served(settings: Settings, model: str) -> tuple[TextEmbedder, int]:
    """How the endpoints encode texts, and how many endpoints there are.

    Raises:
        RepositoryError: two endpoints encode texts differently.
        ServingError: no endpoint answers.
    """
    with EndpointPool.from_settings(settings) as pool:
        urls = pool.urls
    embedders, errors = [], []
    for url in urls:
        with TritonClient.from_settings(settings, protocol="grpc", url=url, timeout=FIRST_ANSWER, retries=0) as client:
            try:
                embedders.append(TextEmbedder(client, model))
            except (ServerUnreachableError, ServingTimeoutError) as error:  # the others go on without it
                errors.append(error)
    if not embedders:
        raise errors[-1]
    for other in embedders[1:]:
        if other.encoding != embedders[0].encoding:
            raise RepositoryError(
                f"model {model!r} encodes texts by {embedders[0].encoding} at {embedders[0].client.url}, and by "
                f"{other.encoding} at {other.client.url}",
                hint="load the same version everywhere first",
            )
    return embedders[0], len(urls)


def _self_contained(settings: Settings) -> Settings:
    """Settings that mean the same on another machine: what is read from files here is written into them."""
    return settings.model_copy(
        update={"arango_url": settings.effective_arango_url, "arango_password": store_password(settings)}
    )
