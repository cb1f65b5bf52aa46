"""The served GraphSAGE: a neighbourhood in, embedding and category logits of its target products out.

One request is one subgraph with any number of nodes, edges and targets, so many products share one forward pass and an
isolated product needs no padding. Indices are checked inside the graph: on a GPU an index outside the nodes would
otherwise end the server's CUDA context instead of the one request.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name PyTorch users know
from torch import Tensor, nn

from workshop.errors import CheckpointError, DataInvalidError
from workshop.export.gates import Inputs
from workshop.export.torchscript import trace_and_save
from workshop.files import sha256_of
from workshop.graph.checkpoint import load_model
from workshop.graph.graphsage import GraphSAGE
from workshop.graph.sampling import CSRGraph, sample_subgraph
from workshop.graph.signature import PRODUCTS_MODEL, GraphModel
from workshop.triton.artefact import Sidecar


def outside(index: Tensor, nodes: int) -> bool:
    """Whether an entry is not one of ``0 .. nodes - 1``."""
    return index.numel() > 0 and (int(index.min()) < 0 or int(index.max()) >= nodes)


@torch.jit.script_if_tracing
def checked_targets(x: Tensor, edge_index: Tensor, targets: Tensor) -> Tensor:
    """Return ``targets`` when every index lies within the rows of ``x`` and every feature is finite.

    Tracing compiles this function, so that its branches and errors are part of the served model.
    """
    nodes = x.size(0)
    if outside(edge_index, nodes):
        raise ValueError(f"edge_index__1 points outside the {nodes} nodes of x__0")
    if outside(targets, nodes):
        raise ValueError(f"targets__2 points outside the {nodes} nodes of x__0")
    # a finite sum has finite parts, and is found ten times as fast; the sum of huge finite parts may overflow
    if not bool(torch.isfinite(x.sum())) and not bool(torch.isfinite(x).all()):
        raise ValueError("x__0 holds NaN or infinite features")
    return targets


@torch.jit.script_if_tracing
def sorted_by_target(edge_index: Tensor) -> Tensor:
    """The edges in the order of their target; those of a sampled neighbourhood are so already, and stay as they are."""
    target = edge_index[1]
    if bool((target[1:] < target[:-1]).any()):
        return edge_index[:, torch.argsort(target, dim=0, stable=True)]
    return edge_index


class ServedGraphSAGE(nn.Module):
    """GraphSAGE for requests: finds by itself which nodes each layer must compute, whatever the order of the nodes.

    Args:
        model: the trained model.
    """

    def __init__(self, model: GraphSAGE) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, edge_index: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        """Embed and classify the targets.

        Args:
            x: float32 ``[nodes, in_channels]``, finite.
            edge_index: int64 ``[2, edges]``, messages flow from row 0 to row 1; no edges are fine.
            targets: int64 ``[targets]``, rows of ``x``, in any order, repeated if wanted.

        Returns:
            Embeddings float32 ``[targets, hidden_channels]`` and, of a model that knows categories, logits float32
            ``[targets, out_channels]``.

        Raises:
            ValueError: an index outside the nodes, or a feature that is not finite.
        """
        targets = checked_targets(x, edge_index, targets)
        source, target = sorted_by_target(edge_index)
        # needed[i]: nodes that layer i must compute; found from the last layer's, the targets, back to the first's
        needed = [torch.zeros_like(x[:, 0], dtype=torch.bool).index_fill(0, targets, 1)]
        for _ in range(self.model.architecture.hops - 1):
            met = source[needed[0].index_select(0, target)]
            needed.insert(0, needed[0].index_fill(0, met, 1))

        # index_select copies rows several times as fast as indexing does
        h, row = x, torch.ones_like(x[:, 0], dtype=torch.int64).cumsum(0) - 1  # of each node in h
        for index, mask in enumerate(needed):
            used = mask.index_select(0, target).nonzero().squeeze(1)
            nodes, next_row = mask.nonzero().squeeze(1), mask.cumsum(0) - 1
            neighbours = row.index_select(0, source.index_select(0, used))
            receivers = next_row.index_select(0, target.index_select(0, used))
            # averages each node's neighbours without writing out one vector an edge
            first_edge = torch.searchsorted(receivers, next_row.index_select(0, nodes))
            mean = F.embedding_bag(neighbours, h, first_edge, mode="mean")
            own = h.index_select(0, row.index_select(0, nodes))
            embedding, embedding_row = h, row
            h, row = self.model.combine(index, mean, own), next_row
        if not self.model.architecture.has_categories:
            return (h[row[targets]],)
        return embedding[embedding_row[targets]], h[row[targets]]


def request_inputs(
    x: Tensor, csr: CSRGraph, products: list[int], rng: np.random.Generator, *, model: GraphModel = PRODUCTS_MODEL
) -> Inputs:
    """The tensors of one request, in the signature's order: products with their sampled neighbourhood."""
    subgraph = sample_subgraph(csr, products, model.architecture.fan_out, rng)
    return (
        x[torch.from_numpy(subgraph.node_ids)],
        torch.from_numpy(subgraph.edge_index),
        torch.from_numpy(subgraph.targets),
    )


def parity_inputs(
    x: Tensor, csr: CSRGraph, rng: np.random.Generator, *, model: GraphModel = PRODUCTS_MODEL
) -> dict[str, Inputs]:
    """Requests unlike each other, for the parity gate: one, many, repeated and isolated products, and loops.

    Args:
        x: float32 ``[nodes, in_channels]``.
        csr: the graph, of two nodes or more.
        rng: source of randomness.
        model: the model that is going to be served.
    """
    hub = int(csr.in_degree.argmax())
    some = rng.choice(csr.num_nodes, size=min(40, csr.num_nodes), replace=False)
    features, edges, targets = request_inputs(x, csr, [hub, *some[:6]], rng, model=model)
    loops = torch.arange(len(features)).repeat(2, 1)
    return {
        "the largest hub": request_inputs(x, csr, [hub], rng, model=model),
        f"{len(some)} products": request_inputs(x, csr, some.tolist(), rng, model=model),
        "targets repeated and reversed": (features, edges, torch.cat([targets, targets]).flip(0)),
        "edges in another order, with self loops": (features, torch.cat([loops, edges.flip(1)], dim=1), targets),
        "an isolated product": (x[:1], torch.empty(2, 0, dtype=torch.int64), torch.tensor([0])),
        "no target": (x[:3], torch.tensor([[0], [1]]), torch.empty(0, dtype=torch.int64)),
    }


def trace_checkpoint(
    checkpoint: Path,
    x: Tensor,
    csr: CSRGraph,
    repository: Path,
    *,
    name: str = PRODUCTS_MODEL.name,
    seed: int = 0,
    replace: bool = True,
) -> Sidecar:
    """Trace a checkpoint and place it in the model repository; signature and hops follow from its architecture.

    Args:
        checkpoint: file written by :func:`workshop.graph.checkpoint.save_model`.
        x: float32 ``[nodes, in_channels]``, features for the trace example and the parity inputs.
        csr: the graph of these nodes.
        repository: the model repository.
        name: the served model's name; ``graphsage_products`` is kept for the architecture of ogbn-products.
        seed: of the drawn examples.
        replace: overwrite the version that is there.

    Raises:
        CheckpointError: the checkpoint is damaged, takes features of another width, or needs another name.
        DataInvalidError: the graph has fewer than two nodes.
        TraceRefusedError: the trace fails a gate.
        RepositoryError: the version exists and ``replace`` is false.
    """
    model = load_model(checkpoint)
    served = GraphModel(name, model.architecture)
    if name == PRODUCTS_MODEL.name and served != PRODUCTS_MODEL:
        raise CheckpointError(
            f"{checkpoint}: {name!r} serves {PRODUCTS_MODEL.architecture}, the checkpoint has {model.architecture}",
            hint='a name of its own: trace_checkpoint(..., name="graphsage_mine")',
        )
    if x.shape[1] != model.architecture.in_channels:
        raise CheckpointError(
            f"{checkpoint}: takes features of width {model.architecture.in_channels}, the graph has {x.shape[1]}",
            hint="train on this graph: workshop.graph.training.fit",
        )
    if csr.num_nodes < 2:
        raise DataInvalidError(f"a graph of {csr.num_nodes} nodes gives no examples to trace and compare with")
    rng = np.random.default_rng(seed)
    return trace_and_save(
        ServedGraphSAGE(model).eval(),
        served.signature,
        request_inputs(x, csr, list(range(min(3, csr.num_nodes))), rng, model=served),
        parity_inputs(x, csr, rng, model=served),
        repository,
        source=f"GraphSAGE checkpoint {checkpoint.name}",
        source_sha256=sha256_of(checkpoint),
        settings=served.artefact_settings,
        replace=replace,
    )
