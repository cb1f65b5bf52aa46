"""Embeddings of a graph that no machine holds whole: layer by layer, partition by partition, with halo nodes.

A partition owns some nodes and knows all edges into them. The sources of these edges that others own are its *halo*: to
compute a layer for its own nodes it needs the vectors of the layer before, of its own nodes and of the halo, and of no
others. Between two layers the owners hand over the vectors that others have in their halos, so that the result is that
of the whole graph. Distributed GNN libraries do the same in training, for example DistDGL
(https://arxiv.org/abs/2010.05337, section 5.3).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import torch

from workshop.errors import DataInvalidError
from workshop.files import replacing, write_text
from workshop.graph.graphsage import GraphSAGE
from workshop.graph.inference import EDGES_PER_BATCH, layer_outputs
from workshop.graph.sampling import CSRGraph

FINGERPRINT_FILE = "inputs.json"


@dataclass(frozen=True)
class Partition:
    """Consecutive nodes of a graph, with all edges into them.

    Attributes:
        start: number of its first node in the whole graph.
        csr: edges into its nodes. Sources are numbered within the partition: its own nodes from 0, the halo after them.
        halo: int64 ``[halo]``, ascending: numbers in the whole graph of the sources that others own.
    """

    start: int
    csr: CSRGraph
    halo: np.ndarray

    @property
    def stop(self) -> int:
        """Number of the first node after it."""
        return self.start + self.csr.num_nodes

    @classmethod
    def from_rows(cls, start: int, indptr: np.ndarray, sources: np.ndarray) -> Partition:
        """Renumber the rows of a graph.

        Args:
            start: number of the first row's node.
            indptr: int64 ``[nodes + 1]``, from 0.
            sources: int64 ``[edges]``, numbers in the whole graph.
        """
        nodes = len(indptr) - 1
        own = (sources >= start) & (sources < start + nodes)
        halo = np.unique(sources[~own])
        local = np.where(own, sources - start, nodes + np.searchsorted(halo, sources))
        return cls(start, CSRGraph(indptr, local), halo)


def partition_graph(csr: CSRGraph, parts: int) -> list[Partition]:
    """Cut a graph into consecutive ranges of nodes with about the same number of edges and nodes.

    How many halo nodes that makes depends on the numbering: number nodes that are linked near each other, for instance
    by METIS, and halos are small.

    Args:
        csr: the graph.
        parts: wanted; fewer come back where hubs, or too few nodes, allow no more.

    Raises:
        DataInvalidError: ``parts`` is not positive.
    """
    if parts < 1:
        raise DataInvalidError(f"a graph has at least 1 part, received {parts}")
    weight = csr.indptr + np.arange(csr.num_nodes + 1)
    cuts = np.searchsorted(weight, np.linspace(0, weight[-1], parts + 1)[1:-1])
    bounds = np.unique([0, *cuts, csr.num_nodes])
    rows = ((start, csr.indptr[start : stop + 1]) for start, stop in pairwise(bounds.tolist()))
    return [
        Partition.from_rows(start, indptr - indptr[0], csr.indices[indptr[0] : indptr[-1]]) for start, indptr in rows
    ]


def owners(ids: np.ndarray, partitions: Sequence[Partition]) -> list[tuple[int, np.ndarray]]:
    """Who owns nodes.

    Args:
        ids: int64, ascending: numbers in the whole graph.
        partitions: all of them, in order.

    Returns:
        For each owner that has any, in order: its position, and the nodes' numbers within it.
    """
    cuts = np.searchsorted(ids, [partition.start for partition in partitions[1:]])
    split = zip(partitions, np.split(ids, cuts), strict=True)
    return [(position, part - owner.start) for position, (owner, part) in enumerate(split) if len(part)]


@torch.no_grad()
def partition_layer(
    model: GraphSAGE,
    index: int,
    partition: Partition,
    own: np.ndarray,
    halo: Iterable[np.ndarray],
    edges_per_batch: int = EDGES_PER_BATCH,
) -> np.ndarray:
    """One layer for the nodes of a partition.

    Args:
        model: in evaluation mode.
        index: which layer, from 0.
        partition: the nodes.
        own: float32 ``[own nodes, width]``, their vectors of the layer before.
        halo: the halo's vectors of the layer before, in the halo's order, in any number of pieces, drawn one by one.
        edges_per_batch: bound on the edges of one step.

    Returns:
        float32 ``[own nodes, next width]``.
    """
    h = np.empty((len(own) + len(partition.halo), own.shape[1]), dtype=np.float32)
    filled = 0
    for piece in chain([own], halo):
        h[filled : filled + len(piece)] = piece
        filled += len(piece)
    csr = CSRGraph(np.array(partition.csr.indptr), np.array(partition.csr.indices))  # in memory, if mapped so far
    return layer_outputs(model, index, torch.from_numpy(h), csr, edges_per_batch).numpy()


def infer_partitioned(
    model: GraphSAGE,
    x: np.ndarray,
    partitions: Sequence[Partition],
    folder: Path,
    *,
    layers: int | None = None,
    edges_per_batch: int = EDGES_PER_BATCH,
    progress: Callable[[int, int], None] | None = None,
) -> list[list[np.ndarray]]:
    """Apply the layers one after the other to all partitions, in this process; outputs lie in files.

    In memory is one partition at a time, with its halo. Every output is whole or absent, so that a run that was stopped
    continues; it begins anew where model, features or graph are others than those of the files.

    Args:
        model: the model; its mode is left as it was, its dropout is off here.
        x: float32 ``[nodes, in_channels]``; may be mapped from a file.
        partitions: all of the graph, in order; their arrays may be mapped from files.
        folder: for the outputs, made as needed.
        layers: how many layers; ``None``: all, of which the last makes the logits, the one before the embedding.
        edges_per_batch: bound on the edges of one step.
        progress: called with the number of outputs that are there and of all.

    Returns:
        For each layer, for each partition, float32 ``[own nodes, width]``, mapped from its file.

    Raises:
        DataInvalidError: the partitions do not make up the nodes of ``x``.
    """
    check_cover(x, partitions)
    layers = len(model.convs) if layers is None else layers
    folder.mkdir(parents=True, exist_ok=True)
    _begin_anew_unless(fingerprint(model, x, partitions), folder)
    was_training = model.training
    model.eval()
    before = [x[partition.start : partition.stop] for partition in partitions]
    outputs: list[list[np.ndarray]] = []
    try:
        for index in range(layers):
            files = [folder / f"layer{index + 1}_part{position:04d}.npy" for position in range(len(partitions))]
            for position, (partition, file) in enumerate(zip(partitions, files, strict=True)):
                if not file.exists():
                    halo = (before[owner][rows] for owner, rows in owners(partition.halo, partitions))
                    out = partition_layer(model, index, partition, before[position], halo, edges_per_batch)
                    save_vectors(file, out)
                if progress:
                    progress(index * len(partitions) + position + 1, layers * len(partitions))
            before = [np.load(file, mmap_mode="r") for file in files]
            outputs.append(before)
    finally:
        model.train(was_training)
    return outputs


def check_cover(x: np.ndarray, partitions: Sequence[Partition]) -> None:
    """Raise ``DataInvalidError`` unless the partitions own the nodes of ``x``, each once and in order."""
    ends = [0, *(partition.stop for partition in partitions)]
    starts = [*(partition.start for partition in partitions), len(x)]
    if starts != ends:
        raise DataInvalidError(f"partitions begin at {starts[:-1]}, end at {ends[1:]}; expected all of {len(x)} nodes")


def fingerprint(model: GraphSAGE, x: np.ndarray, partitions: Sequence[Partition]) -> str:
    """SHA-256 of all that decides the outputs: weights, features, edges, and how they are cut."""
    digest = hashlib.sha256(json.dumps(asdict(model.architecture)).encode())
    for weights in model.state_dict().values():
        digest.update(weights.detach().cpu().contiguous().numpy())
    for partition in partitions:
        own = x[partition.start : partition.stop]
        for array in (own, partition.csr.indptr, partition.csr.indices, partition.halo):
            digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _begin_anew_unless(digest: str, folder: Path) -> None:
    """Remove the outputs of other inputs."""
    file = folder / FINGERPRINT_FILE
    known = file.is_file() and json.loads(file.read_text(encoding="utf-8")) == {"sha256": digest}
    if not known:
        for output in folder.glob("layer*_part*.npy"):
            output.unlink()
        write_text(file, json.dumps({"sha256": digest}))


def save_vectors(file: Path, array: np.ndarray) -> None:
    """Write a ``.npy`` file that is whole or absent."""
    with replacing(file) as aside, aside.open("wb") as opened:
        np.save(opened, array)
