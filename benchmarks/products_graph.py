"""A random graph of the size of ogbn-products, written to files partition by partition, never whole in memory.

Seven of ten links stay near their product in the numbering, as they do after a good partitioning; the others lead to
products anywhere, popular ones far more often than others.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from workshop.graph.partition import Partition
from workshop.graph.sampling import CSRGraph

NEARBY, SPREAD = 0.7, 2_000.0
CHUNK_LINKS = 4_000_000


def write_graph(
    folder: Path, nodes: int, links: int, parts: int, width: int, seed: int = 0
) -> tuple[np.ndarray, list[Partition]]:
    """Draw links, undirected, and features.

    Args:
        folder: for the files, empty.
        nodes: number of products.
        links: number of links; each is an edge in both directions.
        parts: number of partitions.
        width: of the features.
        seed: of the random numbers.

    Returns:
        Features, float32 ``[nodes, width]``, and the partitions; all arrays are mapped from files.
    """
    bounds = np.linspace(0, nodes, parts + 1).astype(np.int64)
    raw = [folder / f"edges{part:03d}.bin" for part in range(parts)]
    for first in range(0, links, CHUNK_LINKS):
        rng = np.random.default_rng((seed, first))
        ends = _links(rng, nodes, min(CHUNK_LINKS, links - first))
        for target, source in (ends, ends[::-1]):
            _append(raw, target, source, bounds)
    x = np.lib.format.open_memmap(folder / "x.npy", mode="w+", dtype=np.float32, shape=(nodes, width))
    for part, (start, stop) in enumerate(pairwise(bounds)):
        x[start:stop] = np.random.default_rng((seed, 1, part)).standard_normal((stop - start, width), np.float32)
    x.flush()
    partitions = [_partition(folder, part, file, bounds) for part, file in enumerate(raw)]
    return np.load(folder / "x.npy", mmap_mode="r"), partitions


def _links(rng: np.random.Generator, nodes: int, count: int) -> np.ndarray:
    """int32 ``[2, count]``."""
    one = rng.integers(0, nodes, count)
    near = (one + np.rint(rng.laplace(0, SPREAD, count)).astype(np.int64)) % nodes
    popular = (nodes * rng.random(count) ** 3).astype(np.int64) * 1_000_003 % nodes  # spread over the numbering
    return np.stack([one, np.where(rng.random(count) < NEARBY, near, popular)]).astype(np.int32)


def _append(files: Sequence[Path], target: np.ndarray, source: np.ndarray, bounds: np.ndarray) -> None:
    """Add edges to the file of the partition that owns their target."""
    part = np.searchsorted(bounds, target, side="right").astype(np.uint16) - 1
    order = np.argsort(part, kind="stable")
    edges = np.stack([target[order], source[order]], axis=1)
    cuts = np.searchsorted(part[order], np.arange(len(files) + 1))
    for file, start, stop in zip(files, cuts[:-1], cuts[1:], strict=True):
        with file.open("ab") as opened:
            opened.write(edges[start:stop].tobytes())


def _partition(folder: Path, part: int, file: Path, bounds: np.ndarray) -> Partition:
    """Sort the edges of a partition by target; its arrays, mapped from files."""
    start, stop = int(bounds[part]), int(bounds[part + 1])
    target, source = np.fromfile(file, np.int32).reshape(-1, 2).T
    file.unlink()
    order = np.argsort(target, kind="stable")
    indptr = np.searchsorted(target[order], np.arange(start, stop + 1)).astype(np.int64)
    made = Partition.from_rows(start, indptr, source[order].astype(np.int64))
    arrays = {"indptr": made.csr.indptr, "indices": made.csr.indices, "halo": made.halo}
    for name, array in arrays.items():
        np.save(folder / f"{name}{part:03d}.npy", array)
    mapped = {name: np.load(folder / f"{name}{part:03d}.npy", mmap_mode="r") for name in arrays}
    return Partition(start, CSRGraph(mapped["indptr"], mapped["indices"]), mapped["halo"])
