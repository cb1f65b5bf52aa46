"""Neighbourhood sampling: the step that makes GraphSAGE independent of the size of the graph.

A node's layer-``l`` vector depends on its in-neighbours' layer-``l-1`` vectors, so ``L`` layers need the ``L``-hop
neighbourhood, which in a graph with hubs is soon everything. GraphSAGE (Hamilton, Ying and Leskovec, 2017,
https://arxiv.org/abs/1706.02216, section 3.1) caps it: of each node's neighbours at most ``fan_out[hop]`` are drawn,
uniformly and without replacement.

Everything here is NumPy on whole frontiers, with no Python loop over nodes, and needs neither ``pyg-lib`` nor
``torch-sparse``. Training draws through :class:`NeighborhoodSampler`, requests to the served model through
:func:`sample_subgraph`; both are the same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch_geometric.index import index2ptr
from torch_geometric.sampler import (
    BaseSampler,
    EdgeSamplerInput,
    NegativeSampling,
    NodeSamplerInput,
    SamplerOutput,
)
from torch_geometric.sampler.neighbor_sampler import edge_sample
from torch_geometric.utils import index_sort

from workshop.errors import DataInvalidError
from workshop.graph.checks import check_edge_index

ALL_NEIGHBORS = -1


@dataclass(frozen=True)
class CSRGraph:
    """In-neighbours of every node in compressed sparse row form.

    The sources of the edges into node ``v`` are ``indices[indptr[v]:indptr[v + 1]]``. Parallel edges and self loops
    are kept as given; a node without edges has an empty range.

    Attributes:
        indptr: int64 ``[num_nodes + 1]``, not decreasing.
        indices: int64 ``[num_edges]``, source nodes.
    """

    indptr: np.ndarray
    indices: np.ndarray

    @property
    def num_nodes(self) -> int:
        """Number of nodes, isolated ones included."""
        return len(self.indptr) - 1

    @property
    def num_edges(self) -> int:
        """Number of directed edges."""
        return len(self.indices)

    @property
    def in_degree(self) -> np.ndarray:
        """Number of edges into each node, int64 ``[num_nodes]``."""
        return np.diff(self.indptr)

    @classmethod
    def from_edge_index(cls, edge_index: torch.Tensor | np.ndarray, num_nodes: int) -> CSRGraph:
        """Sort an edge list by target.

        Args:
            edge_index: integers ``[2, num_edges]``; row 0 holds sources, row 1 targets (PyG's convention).
            num_nodes: number of nodes, more than the largest index.

        Raises:
            DataInvalidError: wrong shape or dtype, or an edge ends outside ``0 .. num_nodes - 1``.
        """
        edges = torch.as_tensor(edge_index)
        check_edge_index(edges.numpy(), num_nodes)
        target, order = index_sort(edges[1].long(), max_value=max(num_nodes, 1), stable=True)
        return cls(indptr=index2ptr(target, num_nodes).numpy(), indices=edges[0].long()[order].numpy())


@dataclass(frozen=True)
class Subgraph:
    """The sampled neighbourhood of some target nodes, renumbered from 0.

    Nodes lie in the order of their hop, the targets first; edges likewise, and so are sorted by their target node.

    Attributes:
        node_ids: int64 ``[nodes]``, the node's number in the whole graph. ``node_ids[:n_targets]`` are the seeds.
        edge_index: int64 ``[2, edges]``, positions in ``node_ids``; messages flow from row 0 to row 1.
        n_targets: number of seeds.
        nodes_per_hop: new nodes met at hop 0 (the seeds), 1, ..., ``len(fan_out)``.
        edges_per_hop: edges drawn at hop 1, ..., ``len(fan_out)``.
    """

    node_ids: np.ndarray
    edge_index: np.ndarray
    n_targets: int
    nodes_per_hop: tuple[int, ...]
    edges_per_hop: tuple[int, ...]

    @property
    def targets(self) -> np.ndarray:
        """Positions of the seeds in ``node_ids``, int64 ``[n_targets]``."""
        return np.arange(self.n_targets, dtype=np.int64)


def sample_neighbors(
    csr: CSRGraph, frontier: np.ndarray, fan_out: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw at most ``fan_out`` in-neighbours of every frontier node, uniformly and without replacement.

    Nodes with at most ``fan_out`` in-neighbours keep them all. For the others Floyd's algorithm (Bentley and Floyd,
    "A sample of brilliance", CACM 30(9), 1987) runs on all rows at once: it looks at ``fan_out`` random numbers
    a node however large the hub, and every subset of that size is equally likely.

    Args:
        csr: the graph.
        frontier: int64 ``[n]``, node numbers.
        fan_out: neighbours a node, or ``ALL_NEIGHBORS``.
        rng: source of randomness.

    Returns:
        ``source``, int64 ``[edges]``: the drawn neighbours; and ``row``, int64 ``[edges]``, not decreasing: the
        position in ``frontier`` of the node each one was drawn for.
    """
    start = csr.indptr[frontier]
    degree = csr.indptr[frontier + 1] - start
    drawn = degree if fan_out == ALL_NEIGHBORS else np.minimum(degree, fan_out)
    row = np.repeat(np.arange(len(frontier)), drawn)
    slot = np.arange(len(row)) - (np.cumsum(drawn) - drawn)[row]
    if fan_out != ALL_NEIGHBORS:
        crowded = degree > fan_out
        slot[crowded[row]] = _floyd_subsets(degree[crowded], fan_out, rng).T.ravel()
    return csr.indices[start[row] + slot], row


def _floyd_subsets(population: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """One uniform ``size``-subset of ``range(population[i])`` in each column ``i``; int64 ``[size, columns]``."""
    last = population - size + np.arange(size)[:, None]
    subset = rng.integers(0, last + 1)
    for i in range(1, size):
        repeated = (subset[:i] == subset[i]).any(axis=0)
        subset[i, repeated] = last[i, repeated]
    return subset


def sample_subgraph(
    csr: CSRGraph, seeds: Sequence[int] | np.ndarray, fan_out: Sequence[int], rng: np.random.Generator
) -> Subgraph:
    """Sample the neighbourhood that a GraphSAGE of ``len(fan_out)`` layers needs for the seeds.

    Hop by hop, the nodes met for the first time form the next frontier; a node's neighbours are drawn once. A seed
    given twice is a target twice, with a neighbourhood each time.

    Args:
        csr: the graph.
        seeds: integers ``[n]``, target nodes in the order wanted.
        fan_out: neighbours a node for hop 1, 2, ...; ``ALL_NEIGHBORS`` for no limit.
        rng: source of randomness; the same state gives the same subgraph.

    Raises:
        DataInvalidError: a seed outside the graph, or a fan-out that is neither positive nor ``ALL_NEIGHBORS``.
    """
    seeds = _checked_seeds(seeds, csr.num_nodes)
    check_fan_out(fan_out)
    # Position + 1 of each node met so far. Fresh zero pages cost only where touched, even for millions of nodes.
    position = np.zeros(csr.num_nodes, dtype=np.int64)
    position[seeds] = np.arange(1, len(seeds) + 1)
    nodes, sources, targets = [seeds], [], []
    count, first_row = len(seeds), 0
    for limit in fan_out:
        frontier = nodes[-1]
        source, row = sample_neighbors(csr, frontier, limit, rng)
        new = _distinct(source[position[source] == 0], position)
        position[new] = np.arange(count + 1, count + len(new) + 1)
        sources.append(position[source] - 1)
        targets.append(first_row + row)
        nodes.append(new)
        first_row, count = count, count + len(new)
    return Subgraph(
        node_ids=np.concatenate(nodes),
        edge_index=np.stack([np.concatenate(sources), np.concatenate(targets)]),
        n_targets=len(seeds),
        nodes_per_hop=tuple(map(len, nodes)),
        edges_per_hop=tuple(map(len, sources)),
    )


def _distinct(values: np.ndarray, scratch: np.ndarray) -> np.ndarray:
    """The values without repetition, without sorting: in ``scratch`` the last writer of each value stays."""
    writer = np.arange(len(values))
    scratch[values] = writer
    return values[scratch[values] == writer]


def _checked_seeds(seeds: Sequence[int] | np.ndarray, num_nodes: int) -> np.ndarray:
    seeds = np.asarray(seeds)
    if seeds.ndim != 1 or (seeds.size and seeds.dtype.kind not in "iu"):
        raise DataInvalidError(f"seeds: expected integers [n], received {seeds.dtype} {list(seeds.shape)}")
    outside = (seeds < 0) | (seeds >= num_nodes)
    if outside.any():
        raise DataInvalidError(
            f"seeds: {int(outside.sum())} outside the {num_nodes} nodes; the first is {seeds[outside][0]}"
        )
    return seeds.astype(np.int64, copy=False)


def check_fan_out(fan_out: Sequence[int]) -> None:
    """Refuse a fan-out that is empty or holds anything but positive numbers and ``ALL_NEIGHBORS``.

    Raises:
        DataInvalidError: showing the fan-out.
    """
    if not len(fan_out) or any(limit != ALL_NEIGHBORS and limit < 1 for limit in fan_out):
        raise DataInvalidError(
            f"fan_out: expected positive numbers or {ALL_NEIGHBORS} for all, received {list(fan_out)}",
            hint="fan_out=[15, 10, 5]",
        )


class NeighborhoodSampler(BaseSampler):
    """:func:`sample_subgraph` behind PyG's extension point, for ``NodeLoader`` and ``LinkLoader``.

    The randomness of a mini-batch depends on the seed, the epoch and the batch's first input alone, so the draw is the
    same with any number of loader workers, and a resumed training continues it; call :meth:`set_epoch` before each.

    Args:
        csr: the graph.
        fan_out: neighbours a node for hop 1, 2, ...
        seed: non-negative seed of every draw.
    """

    def __init__(self, csr: CSRGraph, fan_out: Sequence[int], seed: int = 0) -> None:
        check_fan_out(fan_out)
        self.csr = csr
        self.fan_out = tuple(fan_out)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Draw other neighbourhoods from now on, reproducibly."""
        self.epoch = epoch

    def sample_from_nodes(self, inputs: NodeSamplerInput) -> SamplerOutput:
        """Neighbourhood of the batch's nodes; the first ``len(inputs.node)`` rows of the output are those nodes."""
        out = self._sample(inputs.node, self._generator(inputs.input_id))
        out.metadata = (inputs.input_id, inputs.time)
        return out

    def sample_from_edges(
        self, inputs: EdgeSamplerInput, neg_sampling: NegativeSampling | None = None
    ) -> SamplerOutput:
        """Neighbourhood of the ends of the batch's links and of the drawn negatives (PyG's ``edge_sample``)."""
        rng = self._generator(inputs.input_id)
        return edge_sample(
            inputs,
            lambda seed, seed_time: self._sample(seed, rng),
            self.csr.num_nodes,
            disjoint=False,
            neg_sampling=neg_sampling,
        )

    def _generator(self, input_id: torch.Tensor) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.epoch, int(input_id[0])])

    def _sample(self, seeds: torch.Tensor, rng: np.random.Generator) -> SamplerOutput:
        subgraph = sample_subgraph(self.csr, seeds.numpy(), self.fan_out, rng)
        row, col = torch.from_numpy(subgraph.edge_index)
        return SamplerOutput(
            node=torch.from_numpy(subgraph.node_ids),
            row=row,
            col=col,
            edge=None,
            num_sampled_nodes=list(subgraph.nodes_per_hop),
            num_sampled_edges=list(subgraph.edges_per_hop),
        )
