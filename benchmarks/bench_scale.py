"""Bulk embedding with Ray against the plain client, the price of a lost worker, and a graph of ogbn-products' size."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import resource
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import torch
from products_graph import write_graph

from workshop import stack
from workshop.data.movies import load_movies
from workshop.graph.architecture import Architecture
from workshop.graph.graphsage import GraphSAGE
from workshop.graph.partition import infer_partitioned
from workshop.scale.cluster import ray_cluster
from workshop.scale.embedding import RANGE_DOCUMENTS, BulkReport, StoredBlock, embed_with_ray
from workshop.settings import Settings, load_settings
from workshop.stack.private import private_settings
from workshop.store.bulk import upsert
from workshop.store.connection import connect
from workshop.store.embeddings import embed_collection
from workshop.store.pending import pending_scope
from workshop.store.queries import run_query
from workshop.store.schema import ensure_collection
from workshop.text.embedder import TextEmbedder
from workshop.text.prepare import prepare_sentence_bert
from workshop.text.signatures import SENTENCE_BERT
from workshop.triton.artefact import served_sidecar
from workshop.triton.client import TritonClient

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests/integration"))
import tiny_text_models

FILMS = "films"
LOSS_RANGE, LOSS_WORKERS = 128, 2
CLIENT_SECONDS, LOSS_SECONDS = 90, 55  # how long a run is made, by a first measurement of the rate
RATE_BAR, MEMORY_BAR, LOSS_BAR = 0.9, 0.1, 0.1
ROWS, WIDTH = 200_000, 384
MEGABYTES_OF_A_MILLION_VECTORS = WIDTH * 4
NODES, LINKS, PARTS, MEMORY_LIMIT_GB = 2_449_029, 61_859_140, 32, 24


def measure(ids: set[str]) -> Iterator[dict]:
    """Yield the results of the benchmarks asked for."""
    if "ray_vs_client" in ids:
        yield ray_vs_client()
    if "ray_worker_loss" in ids:
        yield ray_worker_loss()
    if "products_layerwise" in ids:
        yield products_layerwise()


@contextmanager
def servers(sentence_model: str = "") -> Iterator[Settings]:
    """A Triton with a sentence model, and a store with an empty collection."""
    with tempfile.TemporaryDirectory() as folder:
        settings = private_settings(
            Path(folder) / "stack", model_repository=Path(folder) / "models", sentence_model=sentence_model
        )
        prepare_sentence_bert(settings)
        with stack.running(settings, ["triton", "aqlite"], models=[SENTENCE_BERT.name]):
            ensure_collection(connect(settings), FILMS, edge=False)
            yield settings


def fill(settings: Settings, texts: list[str]) -> None:
    """Put documents into the collection, none of them with a vector."""
    database = connect(settings)
    database.collection(FILMS).truncate()
    upsert(database, FILMS, ({"_key": f"{number:06d}", "overview": text} for number, text in enumerate(texts)))


def overviews(settings: Settings, seconds: float) -> list[str]:
    """As many overviews as the served model embeds in about so many seconds, warmed up before."""
    texts = [movie.overview for movie in load_movies(load_settings(), "default").movies if movie.overview]
    with TritonClient.from_settings(settings) as client:
        embed = TextEmbedder(client)
        embed(texts[:128])
        started = time.perf_counter()
        embed(texts[:256])
    wanted = int(seconds * 256 / (time.perf_counter() - started))
    parts = (f"{text} Part {number + 1}." if number else text for number in itertools.count() for text in texts)
    return list(itertools.islice(parts, wanted))


def version(settings: Settings) -> str:
    """The served model's name and weights."""
    return served_sidecar(settings.model_repository, SENTENCE_BERT.name).version_name


def with_client(settings: Settings, progress: Callable[[int, int], None] | None = None) -> float:
    """Embed what is pending with one client; seconds."""
    with TritonClient.from_settings(settings) as client:
        embed = TextEmbedder(client)
        report = embed_collection(
            connect(settings),
            FILMS,
            embed,
            model_version=version(settings),
            dimension=embed.width,
            progress=progress,
        )
    return report.seconds


def with_ray(settings: Settings, on_block: Callable[[StoredBlock], None] | None = None, **options: int) -> BulkReport:
    """Embed what is pending with Ray."""
    return embed_with_ray(settings, FILMS, model_version=version(settings), on_block=on_block, **options)


def ray_vs_client() -> dict:
    """Rates over the same films, each once; and how memory grows with the rows of a long run of a tiny model."""
    with servers() as settings:
        texts = overviews(settings, CLIENT_SECONDS)
        fill(settings, texts)
        client = len(texts) / with_client(settings)
        fill(settings, texts)
        report = with_ray(settings)
    steady = report.stored / (report.seconds - report.start_seconds)
    overall = report.stored / report.seconds
    used = memory_of_long_runs()
    more = (used["ray"].growth - used["client"].growth) / MEGABYTES_OF_A_MILLION_VECTORS
    return {
        "id": "ray_vs_client",
        "value": steady,
        "unit": "texts/s",
        "peer": f"one client: {client:.1f} texts/s",
        "ratio": steady / client,
        "bar": f"ratio >= {RATE_BAR}, memory per million rows <= {MEMORY_BAR:.0%} more",
        "holds": steady / client >= RATE_BAR and more <= MEMORY_BAR and report.stored == len(texts),
        "note": f"{len(texts)} overviews, both sides in blocks of {RANGE_DOCUMENTS}; Ray's start of "
        f"{report.start_seconds:.0f} s left out, with it {overall:.1f} texts/s; memory of all its processes grows by "
        f"{used['ray'].growth:.0f} MB a million rows, the client's by {used['client'].growth:.0f}: {more:+.1%} of the "
        f"{MEGABYTES_OF_A_MILLION_VECTORS} MB of such vectors. Medians of the second and of the last quarter of "
        f"{ROWS} rows of a tiny model: Ray {used['ray']}, client {used['client']}",
    }


@dataclass
class Memory:
    """What the processes of a long run held while it went on.

    Attributes:
        stored: vectors written so far.
        samples: megabytes of each process at equal distances of time, with the vectors written by then.
    """

    stored: int = 0
    samples: list[tuple[int, list[float]]] = field(default_factory=list)

    def typical(self, quarter: int) -> float:
        """Megabytes of all processes, the median over a quarter of the rows, from 0."""
        edges = (quarter * ROWS / 4, (quarter + 1) * ROWS / 4)
        return statistics.median(sum(held) for stored, held in self.samples if edges[0] <= stored < edges[1])

    @property
    def growth(self) -> float:
        """Megabytes that a million rows would add, from the second quarter to the last.

        Start and end lie outside of both: a process has its libraries and its first blocks by the second quarter, and
        the samples stop to count with the last vector.
        """
        return (self.typical(3) - self.typical(1)) / (ROWS / 2 / 1e6)

    def __str__(self) -> str:
        peak = max((held for _, held in self.samples), key=sum)
        return f"{self.typical(1):.0f} and {self.typical(3):.0f} MB (peak {sum(peak):.0f} MB of {len(peak)} processes)"


def memory_of_long_runs() -> dict[str, Memory]:
    """Memory of both sides, servers left out, each over the same rows."""
    used: dict[str, Memory] = {}
    with tempfile.TemporaryDirectory() as folder:
        kind = tiny_text_models.Kind(width=WIDTH)
        model = tiny_text_models.save_sentence_model(Path(folder) / "tiny", kind)
        with servers(str(model)) as settings:
            not_ours = {status.pid for status in stack.status(settings)}
            texts = [f"A heist {number}" for number in range(ROWS)]
            for side in ("client", "ray"):
                fill(settings, texts)
                with sampled_memory(not_ours) as used[side]:
                    embed_noting(side, settings, used[side])
    return used


def embed_noting(side: str, settings: Settings, memory: Memory) -> None:
    """Embed what is pending, and keep the number of vectors stored up to date."""

    def note(stored: int) -> None:
        memory.stored = stored

    if side == "client":
        with_client(settings, progress=lambda done, _: note(done))
    else:
        with_ray(settings, lambda block: note(block.done))


@contextmanager
def sampled_memory(not_ours: set[int]) -> Iterator[Memory]:
    """The proportional set sizes of this process and its children, in MB, sampled while it runs."""
    over, memory = threading.Event(), Memory()

    def sample() -> None:
        while not over.wait(0.3):
            memory.samples.append((memory.stored, proportional_megabytes(psutil.Process(), not_ours)))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield memory
    finally:
        over.set()
        sampler.join()


def proportional_megabytes(process: psutil.Process, not_ours: set[int]) -> list[float]:
    """Memory of a process and of its children, what they share counted once."""
    if process.pid in not_ours:
        return []
    try:
        own = process.memory_full_info().pss / 2**20
        children = process.children()
    except psutil.NoSuchProcess:
        return []
    return [own, *(megabytes for child in children for megabytes in proportional_megabytes(child, not_ours))]


def ray_worker_loss() -> dict:
    """The same films twice: undisturbed, and with one of two workers killed after a third of the blocks."""
    killed: list[int] = []

    def kill(block: StoredBlock) -> None:
        if not killed and block.done > block.wanted / 3:
            killed.append(int(block.worker.partition(":")[2]))
            os.kill(killed[0], signal.SIGKILL)

    with servers() as settings, ray_cluster():
        texts = overviews(settings, LOSS_SECONDS)
        fill(settings, texts)
        whole = with_ray(settings, range_documents=LOSS_RANGE, workers=LOSS_WORKERS)
        fill(settings, texts)
        hurt = with_ray(settings, kill, range_documents=LOSS_RANGE, workers=LOSS_WORKERS)
        pending, there = run_query(
            connect(settings), "count_pending_embeddings", pending_scope(FILMS, version(settings))
        )[0]
    usual, seconds = (report.seconds - report.start_seconds for report in (whole, hurt))
    lost = pending + len(texts) - there
    return {
        "id": "ray_worker_loss",
        "value": 100 * (seconds / usual - 1),
        "unit": "% longer",
        "peer": f"without a loss: {usual:.1f} s",
        "ratio": seconds / usual,
        "bar": f"<= {LOSS_BAR:.0%} longer, no vector missing",
        "holds": seconds / usual <= 1 + LOSS_BAR and not lost and len(killed) == 1,
        "note": f"{len(texts)} overviews in blocks of {LOSS_RANGE}, {LOSS_WORKERS} workers, one killed after a third; "
        f"{lost} vectors missing",
    }


def products_layerwise() -> dict:
    """A graph of the size of ogbn-products, its embeddings layer by layer over partitions, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        arguments = (Path(folder), NODES, LINKS, PARTS, theirs)
        process = multiprocessing.get_context("spawn").Process(target=embed_products, args=arguments)
        process.start()
        theirs.close()
        try:
            found = ours.recv()
        finally:
            process.join()
    return {
        "id": "products_layerwise",
        "value": found["seconds"],
        "unit": "s",
        "peer": None,
        "ratio": None,
        "bar": f"peak memory <= {MEMORY_LIMIT_GB} GB",
        "holds": found["peak_gb"] <= MEMORY_LIMIT_GB,
        "note": f"{NODES:,} nodes, {found['edges']:,} directed edges, 100 features, 256 wide, 2 layers, {PARTS} "
        f"partitions with {found['halo']:.2f} halo nodes an own node; peak {found['peak_gb']:.1f} GB, mapped files "
        f"included; {found['made']:.0f} s more to make the graph",
    }


def embed_products(folder: Path, nodes: int, links: int, parts: int, answer: Connection) -> None:
    """Make the graph, embed it, and send how long that took."""
    torch.manual_seed(0)
    started = time.perf_counter()
    x, partitions = write_graph(folder, nodes, links, parts, Architecture().in_channels)
    made = time.perf_counter()
    outputs = infer_partitioned(GraphSAGE(Architecture()), x, partitions, folder / "layers", layers=2)
    seconds = time.perf_counter() - made
    answer.send(
        {
            "made": made - started,
            "seconds": seconds,
            "edges": sum(partition.csr.num_edges for partition in partitions),
            "halo": sum(len(partition.halo) for partition in partitions) / sum(map(len, outputs[-1])),
            "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }
    )
