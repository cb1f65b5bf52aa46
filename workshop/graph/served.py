"""The served GraphSAGE: a neighbourhood in, embedding and category logits of its target products out.

One request is one subgraph with any number of nodes, edges and targets, so many products share one forward pass and an
isolated product needs no padding. Indices are checked inside the graph: on a GPU an index outside the nodes would
otherwise end the server's CUDA context instead of the one request.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
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


@torch.jit.script_if_tracing
def checked_targets(x: Tensor, edge_index: Tensor, targets: Tensor) -> Tensor:
    """Return ``targets`` when every index lies within the rows of ``x`` and every feature is finite.

    Tracing compiles this function, so that its branches and errors are part of the served model.
    """
    nodes = x.size(0)
    if bool(((edge_index < 0) | (edge_index >= nodes)).any()):
        raise ValueError(f"edge_index__1 points outside the {nodes} nodes of x__0")
    if bool(((targets < 0) | (targets >= nodes)).any()):
        raise ValueError(f"targets__2 points outside the {nodes} nodes of x__0")
    if not bool(torch.isfinite(x).all()):
        raise ValueError("x__0 holds NaN or infinite features")
    return targets


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
        source, target = edge_index[0], edge_index[1]
        layers = self.model.architecture.hops
        # needed[i]: nodes whose vector enters layer i; found from the last layer's outputs back to the first's inputs
        needed = [torch.zeros_like(x[:, 0], dtype=torch.bool).index_fill(0, targets, 1)]
        for _ in range(layers):
            needed.insert(0, needed[0].index_fill(0, source[needed[0][target]], 1))
        row = [mask.cumsum(0) - 1 for mask in needed]

        embedding = x
        h = x[needed[0]]
        for index in range(layers):
            used = needed[index + 1][target]
            edges = torch.stack([row[index][source[used]], row[index + 1][target[used]]])
            own = h[row[index][needed[index + 1]]]
            embedding, h = h, self.model.layer(index, h, own, edges)
        if not self.model.architecture.has_categories:
            return (h[row[layers][targets]],)
        return embedding[row[layers - 1][targets]], h[row[layers][targets]]


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
