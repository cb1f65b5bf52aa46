"""GraphSAGE: embed a product from its own features and from what it is bought with.

A layer averages the in-neighbours' vectors and adds the node's own, each through its own linear map (Hamilton, Ying and
Leskovec, 2017, https://arxiv.org/abs/1706.02216, algorithm 1 with the mean aggregator). It learns maps, not one vector
a node, and so also embeds products that did not exist at training time. Widths and depth follow the ogbn-products
example of the Open Graph Benchmark (https://github.com/snap-stanford/ogb/tree/master/examples/nodeproppred/products).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 - the name PyTorch users know
from torch import Tensor, nn
from torch_geometric.index import index2ptr
from torch_geometric.nn import SAGEConv

from workshop.graph.architecture import Architecture


class GraphSAGE(nn.Module):
    """A stack of ``SAGEConv``; what enters the last layer is the embedding, what leaves it the category logits.

    Args:
        architecture: widths and depth.
        dropout: share of hidden values zeroed while training.
    """

    def __init__(self, architecture: Architecture, dropout: float = 0.5) -> None:
        super().__init__()
        self.architecture = architecture
        self.dropout = dropout
        hidden = [architecture.hidden_channels] * (architecture.num_layers - 1)
        widths = [architecture.in_channels, *hidden, architecture.out_channels]
        self.convs = nn.ModuleList(SAGEConv(wide, narrow) for wide, narrow in pairwise(widths))

    def layer(self, index: int, source: Tensor, target: Tensor, edges: Tensor) -> Tensor:
        """Apply one layer.

        Args:
            index: which layer, from 0.
            source: float ``[sources, width]``, the vectors that are averaged.
            target: float ``[targets, width]``, the receiving nodes' own vectors.
            edges: int64 ``[2, edges]`` (position in ``source``, position in ``target``), or the same as a sparse CSR
                matrix ``[targets, sources]``.

        Returns:
            float ``[targets, next width]``; every layer but the last ends in ReLU and dropout.
        """
        return self._activated(index, self.convs[index]((source, target), edges))

    def combine(self, index: int, mean: Tensor, own: Tensor) -> Tensor:
        """Apply one layer to neighbours that are averaged already.

        Args:
            index: which layer, from 0.
            mean: float ``[targets, width]``, the mean of each node's in-neighbours; 0 where it has none.
            own: float ``[targets, width]``, the nodes' own vectors.

        Returns:
            As :meth:`layer` does.
        """
        conv = self.convs[index]
        return self._activated(index, conv.lin_l(mean) + conv.lin_r(own))

    def _activated(self, index: int, out: Tensor) -> Tensor:
        if index + 1 == len(self.convs):
            return out
        return F.dropout(out.relu(), p=self.dropout, training=self.training)

    def encode(
        self,
        x: Tensor,
        edge_index: Tensor,
        nodes_per_hop: Sequence[int] | None = None,
        edges_per_hop: Sequence[int] | None = None,
    ) -> Tensor:
        """Embed nodes: all layers but the last.

        With the counts of a sampled subgraph (:class:`workshop.graph.sampling.Subgraph`, one hop a layer), each layer
        computes only the nodes that later layers still need.

        Args:
            x: float ``[nodes, in_channels]``.
            edge_index: int64 ``[2, edges]``; sorted by row 1 when the counts are given.
            nodes_per_hop: nodes of hop 0, 1, ...
            edges_per_hop: edges of hop 1, 2, ...

        Returns:
            float ``[nodes, hidden_channels]``, or ``[nodes of hop 0, hidden_channels]`` when the counts are given.
        """
        return self._run(range(len(self.convs) - 1), x, edge_index, nodes_per_hop, edges_per_hop)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        nodes_per_hop: Sequence[int] | None = None,
        edges_per_hop: Sequence[int] | None = None,
    ) -> Tensor:
        """Category logits, with the arguments of :meth:`encode`; float ``[nodes or nodes of hop 0, out_channels]``."""
        return self._run(range(len(self.convs)), x, edge_index, nodes_per_hop, edges_per_hop)

    def _run(
        self,
        layers: Iterable[int],
        x: Tensor,
        edge_index: Tensor,
        nodes_per_hop: Sequence[int] | None,
        edges_per_hop: Sequence[int] | None,
    ) -> Tensor:
        layers = list(layers)
        if nodes_per_hop is None or edges_per_hop is None:
            for index in layers:
                x = self.layer(index, x, x, edge_index)
            return x
        for index, hop in zip(layers, reversed(range(len(layers))), strict=True):
            needed = sum(nodes_per_hop[: hop + 1])
            edges = sorted_edges(edge_index[:, : sum(edges_per_hop[: hop + 1])], needed, x.shape[0])
            x = self.layer(index, x, x[:needed], edges)
        return x


def sorted_edges(edge_index: Tensor, num_targets: int, num_sources: int) -> Tensor:
    """The faster form of edges that are sorted by target.

    On the CPU a sparse CSR matrix ``[num_targets, num_sources]``: its product averages without writing out one vector
    an edge, about three times as fast, with the same result. On a GPU the edge list itself.
    """
    if edge_index.is_cuda:
        return edge_index
    pointer = index2ptr(edge_index[1].contiguous(), num_targets)
    ones = torch.ones(edge_index.shape[1])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        # the invariants ask for sorted, distinct columns, which the averaging needs neither of
        return torch.sparse_csr_tensor(
            pointer, edge_index[0], ones, size=(num_targets, num_sources), check_invariants=False
        )
