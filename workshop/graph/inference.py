"""Embeddings of a whole graph, one layer at a time.

Sampling repeats work when every node is a target: neighbourhoods overlap. Computing layer 1 for all nodes, then layer 2
from it, touches each edge once a layer and needs no sampling, so the result is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from workshop.graph.graphsage import GraphSAGE, sorted_edges
from workshop.graph.sampling import CSRGraph

EDGES_PER_BATCH = 2_000_000
"""Edges whose vectors one step works on, unless told otherwise."""


@torch.no_grad()
def infer_layerwise(
    model: GraphSAGE, x: Tensor, csr: CSRGraph, edges_per_batch: int = EDGES_PER_BATCH
) -> tuple[Tensor, Tensor]:
    """Embed and classify every node with all its neighbours.

    Vectors of the layer before stay in main memory; a batch of nodes with their neighbours goes to the model's device.

    Args:
        model: the model; its mode is left as it was, its dropout is off here.
        x: float ``[nodes, in_channels]`` on the CPU.
        csr: the graph.
        edges_per_batch: bound on the edges, and with it on the memory, of one step (a larger hub is a step of its own).

    Returns:
        Embeddings ``[nodes, hidden_channels]`` and logits ``[nodes, out_channels]``, float on the CPU.
    """
    was_training = model.training
    model.eval()
    try:
        embedding = h = x
        for index in range(len(model.convs)):
            embedding, h = h, layer_outputs(model, index, h, csr, edges_per_batch)
    finally:
        model.train(was_training)
    return embedding, h


def layer_outputs(model: GraphSAGE, index: int, h: Tensor, csr: CSRGraph, edges_per_batch: int) -> Tensor:
    """One layer for every node of ``csr``, step by step.

    Args:
        model: in evaluation mode.
        index: which layer, from 0.
        h: float ``[sources, width]`` on the CPU; row ``i`` is node ``i`` of ``csr``, and further rows are sources only.
        csr: edges into its nodes.
        edges_per_batch: as for :func:`infer_layerwise`.

    Returns:
        float ``[csr.num_nodes, next width]`` on the CPU.
    """
    return torch.cat([_step(model, index, h, csr, rows) for rows in _ranges(csr, edges_per_batch)])


def _step(model: GraphSAGE, index: int, h: Tensor, csr: CSRGraph, rows: slice) -> Tensor:
    """One layer for a range of nodes."""
    device = next(model.parameters()).device
    degree = torch.from_numpy(csr.in_degree[rows])
    target = torch.arange(len(degree)).repeat_interleave(degree)
    source = torch.from_numpy(csr.indices[csr.indptr[rows.start] : csr.indptr[rows.stop]])
    own = h[rows]
    if device.type != "cpu":
        used, source = source.unique(return_inverse=True)
        h = h[used]
    edges = sorted_edges(torch.stack([source, target]).to(device), len(degree), len(h))
    return model.layer(index, h.to(device), own.to(device), edges).cpu()


def _ranges(csr: CSRGraph, edges_per_batch: int) -> Iterator[slice]:
    """Consecutive node ranges of at most ``edges_per_batch`` edges and as many nodes, at least one node each."""
    start = 0
    while start < csr.num_nodes:
        stop = int(np.searchsorted(csr.indptr, csr.indptr[start] + edges_per_batch, side="right")) - 1
        stop = min(max(stop, start + 1), start + edges_per_batch, csr.num_nodes)
        yield slice(start, stop)
        start = stop


def accuracy(logits: Tensor, y: Tensor, masks: Mapping[str, Tensor]) -> dict[str, float]:
    """Share of nodes whose largest logit is their category, for each mask that holds any node.

    Args:
        logits: float ``[nodes, categories]``.
        y: int64 ``[nodes]``.
        masks: bool ``[nodes]`` by name.
    """
    right = logits.argmax(dim=1) == y
    return {name: right[mask].double().mean().item() for name, mask in masks.items() if mask.any()}
