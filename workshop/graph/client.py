"""Ask the served GraphSAGE for embeddings: sample neighbourhoods, check them, send them, many products a request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch_geometric.data import Data

from workshop.errors import DataInvalidError, InferenceError
from workshop.graph.architecture import FAN_OUT
from workshop.graph.sampling import CSRGraph, check_edge_index, sample_subgraph
from workshop.graph.signature import GRAPHSAGE_PRODUCTS
from workshop.triton.client import TritonClient
from workshop.triton.tensors import Arrays

PRODUCTS_PER_REQUEST = 128
_FEATURES, _EDGES, _TARGETS = (spec.name for spec in GRAPHSAGE_PRODUCTS.inputs)
_EMBEDDING, _LOGITS = (spec.name for spec in GRAPHSAGE_PRODUCTS.outputs)


@dataclass(frozen=True)
class EmbeddingGraph:
    """A product graph in the form requests are cut from.

    Attributes:
        x: float32 ``[nodes, 100]``, finite.
        csr: in-neighbours of every node.
    """

    x: np.ndarray
    csr: CSRGraph

    @classmethod
    def from_data(cls, data: Data) -> EmbeddingGraph:
        """Take ``x`` and ``edge_index`` of a PyG graph.

        Raises:
            DataInvalidError: features of another width, not float32, or not finite; edges outside the nodes.
        """
        x = data.x.numpy()
        check_features(x)
        return cls(x, CSRGraph.from_edge_index(data.edge_index, len(x)))


@dataclass(frozen=True)
class ProductEmbeddings:
    """What the model says about some products, in the order asked.

    Attributes:
        embedding: float32 ``[products, 256]``, not normalised.
        logits: float32 ``[products, 47]``.
    """

    embedding: np.ndarray
    logits: np.ndarray

    @property
    def category(self) -> np.ndarray:
        """Most likely category, int64 ``[products]``."""
        return self.logits.argmax(axis=1)

    @property
    def probability(self) -> np.ndarray:
        """Probability the model gives to that category (softmax), float32 ``[products]``."""
        return 1 / np.exp(self.logits - self.logits.max(axis=1, keepdims=True)).sum(axis=1)


def embed_products(
    client: TritonClient,
    graph: EmbeddingGraph,
    product_ids: Sequence[int] | np.ndarray,
    fan_out: Sequence[int] = FAN_OUT,
    *,
    rng: np.random.Generator,
    products_per_request: int = PRODUCTS_PER_REQUEST,
) -> ProductEmbeddings:
    """Embed products with their sampled neighbourhoods.

    Args:
        client: of a server that has ``graphsage_products`` loaded.
        graph: the whole graph.
        product_ids: node numbers, in the order wanted.
        fan_out: neighbours a node for hop 1, 2, ...
        rng: source of the sampling's randomness.
        products_per_request: more share more of their neighbourhoods, and take more memory on the server.

    Raises:
        DataInvalidError: a product outside the graph, or a fan-out that makes no sense.
        ServingError: see :meth:`workshop.triton.client.TritonClient.infer`.
    """
    ids = np.asarray(product_ids)

    def requests() -> Iterator[Arrays]:
        for start in range(0, len(ids), products_per_request):
            subgraph = sample_subgraph(graph.csr, ids[start : start + products_per_request], fan_out, rng)
            yield _request(graph.x[subgraph.node_ids], subgraph.edge_index, subgraph.targets)

    return _joined(list(client.infer_many(GRAPHSAGE_PRODUCTS.name, requests())))


def embed_subgraph(
    client: TritonClient, x: np.ndarray, edge_index: np.ndarray, targets: np.ndarray
) -> ProductEmbeddings:
    """Embed the targets of a neighbourhood that was sampled elsewhere, in ArangoDB for example.

    Args:
        client: of a server that has ``graphsage_products`` loaded.
        x: float32 ``[nodes, 100]``.
        edge_index: int64 ``[2, edges]``, rows of ``x``; messages flow from row 0 to row 1.
        targets: int64 ``[targets]``, rows of ``x``.

    Raises:
        DataInvalidError: features of another width, not float32, or not finite; an index outside the nodes.
        ServingError: see :meth:`workshop.triton.client.TritonClient.infer`.
    """
    check_features(x)
    check_edge_index(torch.as_tensor(edge_index), len(x))
    targets = np.asarray(targets)
    if targets.size and not 0 <= targets.min() <= targets.max() < len(x):
        raise DataInvalidError(f"targets: expected rows 0 to {len(x) - 1}, received {targets.min()} to {targets.max()}")
    return _joined([client.infer(GRAPHSAGE_PRODUCTS.name, _request(x, edge_index, targets))])


def check_features(x: np.ndarray) -> None:
    """Refuse features the served model cannot take.

    Raises:
        DataInvalidError: naming the width and dtype, or the first row that is not finite.
    """
    width = GRAPHSAGE_PRODUCTS.inputs[0].dims[-1]
    if x.ndim != 2 or x.shape[1] != width or x.dtype != np.float32:
        raise DataInvalidError(f"features: expected float32 [nodes, {width}], received {x.dtype} {list(x.shape)}")
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(bad):
        raise DataInvalidError(f"features: {len(bad)} rows are NaN or infinite; the first is row {bad[0]}")


def _request(x: np.ndarray, edge_index: np.ndarray, targets: np.ndarray) -> Arrays:
    return {_FEATURES: x, _EDGES: edge_index, _TARGETS: targets}


def _joined(answers: list[Arrays]) -> ProductEmbeddings:
    widths = {spec.name: spec.dims[-1] for spec in GRAPHSAGE_PRODUCTS.outputs}
    empty = {name: np.empty((0, width), dtype=np.float32) for name, width in widths.items()}
    embedding, logits = (np.concatenate([empty[n], *(a[n] for a in answers)]) for n in (_EMBEDDING, _LOGITS))
    if not (np.isfinite(embedding).all() and np.isfinite(logits).all()):
        raise InferenceError(f"model {GRAPHSAGE_PRODUCTS.name!r} answered with values that are not finite")
    return ProductEmbeddings(embedding, logits)
