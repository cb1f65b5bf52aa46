"""The arithmetic of growing: bytes, lists, hours and servers, from a laptop's catalogue to 100 million products.

Every number of ``docs/scaling.md`` is computed here. Sizes are in bytes, 1 GB = 10**9 bytes, times in seconds.
Sources: memory of FAISS's indexes by its wiki, https://github.com/facebookresearch/faiss/wiki/Guidelines-to-choose-an-index;
doubles in ArangoDB's documents by VelocyPack's definition, https://github.com/arangodb/velocypack/blob/main/VelocyPack.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from workshop.errors import SettingsError
from workshop.scale.simulator import Deployment, ServiceTimes, replicas_needed
from workshop.store.vector_index import LISTS_PER_ROOT

FP32, FP16, INT8, INT64 = 4, 2, 1, 8
STORED_DOUBLE = 9
"""Bytes of a number with a fraction in a document: VelocyPack writes a type byte and a double."""
EDGE_DOCUMENT = 160
"""Bytes of an edge without attributes of its own: ids and keys of some 20 characters, system attributes, revision."""
EDGE_INDEX_ENTRY = 60
"""Bytes of an entry of the edge index, before RocksDB compresses it; an edge has one for each of its ends."""
DOCUMENT = 1200
"""Bytes of a product without its vector: title, category, where its data come from, system attributes."""
TRAINING_PER_LIST = 39
"""Vectors below which FAISS warns that a cell has too little to learn from."""
HNSW_LINKS = 32
PQ_BYTES = 48
"""Bytes of a vector after product quantisation: one for every 8 of 384 numbers."""
FEATURES, GRAPH_WIDTH = 100, 256
"""Width of a node's input to GraphSAGE and of its output, those of ogbn-products and of the workshop's model."""
TWO_CORES = 300.0
"""Sentences a second of the sentence model on two CPU cores in bf16: between the slowest and the fastest of our runs of
``text_like_for_like``, 200 and 400."""
EXAMPLE_TIMES = ServiceTimes.fixed({1: 0.008, 8: 0.020, 32: 0.060}, overhead=0.001)
"""An example: batches of 1, 8 and 32 texts in 8, 20 and 60 ms, and a millisecond of network."""


@dataclass(frozen=True)
class Catalogue:
    """What is to be stored and served.

    Attributes:
        name: in words.
        products: each a document with a vector.
        edges: between them, each a document.
        width: numbers in a vector.
    """

    name: str
    products: int
    edges: int
    width: int = 384

    def __post_init__(self) -> None:
        if min(self.products, self.width) < 1 or self.edges < 0:
            raise SettingsError(f"a catalogue has products and a width, got {self}")

    # --- vectors ----------------------------------------------------------------------------------------------
    def vectors(self, bytes_a_number: int = FP32) -> int:
        """The vectors alone, as arrays."""
        return self.products * self.width * bytes_a_number

    def documents(self) -> int:
        """The documents of the products with their vectors, before RocksDB compresses them."""
        return self.products * (DOCUMENT + self.width * STORED_DOUBLE)

    # --- indexes ----------------------------------------------------------------------------------------------
    def lists(self, shards: int = 1) -> int:
        """Cells of an IVF index in each of ``shards`` shards, which index their own documents."""
        return max(1, round(LISTS_PER_ROOT * math.sqrt(self.products / shards)))

    def training(self, shards: int = 1) -> int:
        """Vectors that a shard must hold so that each cell has enough to learn from."""
        return TRAINING_PER_LIST * self.lists(shards)

    def ivf(self, shards: int = 1, bytes_a_vector: int | None = None) -> int:
        """An IVF index over all shards: a vector and an id for each product, and the cells' centres."""
        each = self.width * FP32 if bytes_a_vector is None else bytes_a_vector
        return self.products * (each + INT64) + shards * self.lists(shards) * self.width * FP32

    def hnsw(self, links: int = HNSW_LINKS) -> int:
        """An HNSW index, which holds its vectors and ``2 * links`` neighbours of each in memory."""
        return self.products * (self.width * FP32 + links * 2 * FP32)

    def scanned(self, probes: int, shards: int = 1) -> int:
        """Vectors that a query compares with, looking into ``probes`` cells of every shard."""
        return round(self.products * min(1.0, probes / self.lists(shards)))

    # --- graph ------------------------------------------------------------------------------------------------
    def edge_documents(self) -> int:
        """The edges with both entries of the edge index, before RocksDB compresses them."""
        return self.edges * (EDGE_DOCUMENT + 2 * EDGE_INDEX_ENTRY)

    def edge_arrays(self) -> int:
        """Both directions of the edges as compressed sparse rows: a start for each node, an id for each neighbour."""
        return 2 * ((self.products + 1) * INT64 + self.edges * INT64)

    def layerwise(self) -> int:
        """What one layer of GraphSAGE over all nodes holds at once: input and output of the layer, at full width."""
        return self.products * (GRAPH_WIDTH + GRAPH_WIDTH) * FP32

    # --- time -------------------------------------------------------------------------------------------------
    def embedding_hours(self, texts_a_second: float, workers: int = 1) -> float:
        """Hours until every product has its vector."""
        return self.products / (texts_a_second * workers) / 3600


CATALOGUES = (
    Catalogue("laptop", 20_000, 63_556),
    Catalogue("a shop", 1_000_000, 10_000_000),
    Catalogue("a market place", 10_000_000, 100_000_000),
    Catalogue("everything", 100_000_000, 1_000_000_000),
)


def servers_for(total: int, each: int, *, copies: int = 1, share: float = 0.7) -> int:
    """Servers whose memory of ``each`` bytes holds ``copies`` of ``total`` bytes, filled to ``share`` at most.

    Copies of one thing are on different servers.
    """
    return max(copies, math.ceil(total * copies / (each * share)))


# --- the tables of docs/scaling.md ------------------------------------------------------------------------------
def _table(head: tuple[str, ...], row: Callable[[Catalogue], tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(('', *head))} |", "|---|" + "---:|" * len(head)]
    return "\n".join(lines + [f"| {one.name} | {' | '.join(row(one))} |" for one in CATALOGUES])


def vector_table() -> str:
    """Vectors and documents."""
    head = ("products", "fp32", "fp16", "int8", "documents in ArangoDB")

    def row(one: Catalogue) -> tuple[str, ...]:
        sizes = (one.vectors(FP32), one.vectors(FP16), one.vectors(INT8), one.documents())
        return (_count(one.products), *map(_size, sizes))

    return _table(head, row)


def index_table() -> str:
    """Indexes over the vectors."""
    head = ("cells (`nLists`)", "to train them", "IVF, whole vectors", f"IVF, {PQ_BYTES} bytes each", "HNSW")

    def row(one: Catalogue) -> tuple[str, ...]:
        sizes = (one.ivf(), one.ivf(bytes_a_vector=PQ_BYTES), one.hnsw())
        return (_count(one.lists()), _count(one.training()), *map(_size, sizes))

    return _table(head, row)


def shard_table(shards: int = 12, probes: int = 20) -> str:
    """The IVF index of one shard in so many."""
    head = (
        "products in a shard",
        "cells in a shard",
        "index in a shard",
        f"compared by a query, {probes} cells a shard",
    )

    def row(one: Catalogue) -> tuple[str, ...]:
        own = round(one.products / shards)
        index = one.ivf(shards) // shards
        return (_count(own), _count(one.lists(shards)), _size(index), _count(one.scanned(probes, shards)))

    return _table(head, row)


def graph_table() -> str:
    """Edges, stored and as arrays, and GraphSAGE over all of them."""
    head = ("edges", "in ArangoDB", "as arrays", "node features", "a layer over all nodes")

    def row(one: Catalogue) -> tuple[str, ...]:
        sizes = (one.edge_documents(), one.edge_arrays(), one.products * FEATURES * FP32, one.layerwise())
        return (_count(one.edges), *map(_size, sizes))

    return _table(head, row)


def embedding_table(rates: tuple[float, ...] = (TWO_CORES, 3_000.0, 20_000.0)) -> str:
    """Hours of one device, by its rate."""
    head = (f"{rates[0]:,.0f} texts/s (two cores)", *(f"{rate:,.0f} texts/s" for rate in rates[1:]))
    return _table(head, lambda one: tuple(_duration(one.embedding_hours(rate)) for rate in rates))


def memory_table(gigabytes: tuple[int, ...] = (64, 256), copies: int = 2) -> str:
    """Servers that hold the whole vector index and the edges in memory, in two copies."""
    head = ("index and edges", *(f"servers of {size} GB, {copies} copies" for size in gigabytes))

    def row(one: Catalogue) -> tuple[str, ...]:
        total = one.ivf() + one.edge_documents()
        counts = (servers_for(total, size * 10**9, copies=copies) for size in gigabytes)
        return (_size(total), *map(_count, counts))

    return _table(head, row)


def replica_table(loads: tuple[int, ...] = (100, 500, 2_000, 10_000), goals: tuple[int, ...] = (30, 100)) -> str:
    """Replicas by load and goal, simulated with :data:`EXAMPLE_TIMES`."""
    deployment = Deployment(rows=32)
    lines = [
        f"| requests a second | {' | '.join(f'p95 <= {goal} ms' for goal in goals)} |",
        "|---:|" + "---:|" * len(goals),
    ]
    for load in loads:
        found = [replicas_needed(EXAMPLE_TIMES, deployment, load, goal, requests=4_000) for goal in goals]
        lines.append(f"| {load:,} | {' | '.join(map(str, found))} |")
    return "\n".join(lines)


def _count(number: int) -> str:
    return f"{number:,}"


def _size(size: int) -> str:
    """Bytes to three digits, in the unit that fits."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}" if value < 999.5 else f"{value:.0f} {unit}"


def _duration(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.2g} s"
    if hours < 1:
        return f"{hours * 60:.2g} min"
    return f"{hours:.3g} h" if hours < 48 else f"{hours / 24:.3g} days"
