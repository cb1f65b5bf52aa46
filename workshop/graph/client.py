"""Ask the served GraphSAGE for embeddings: sample neighbourhoods, check them, send them, many products a request.

A neighbourhood that was sampled in the store goes to the server without torch; sampling one here needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workshop.errors import DataInvalidError, InferenceError
from workshop.graph.checks import check_edge_index
from workshop.graph.signature import PRODUCTS_MODEL, GraphModel
from workshop.triton.client import TritonClient
from workshop.triton.tensors import Arrays

if TYPE_CHECKING:
    from torch_geometric.data import Data

    from workshop.graph.sampling import CSRGraph

PRODUCTS_PER_REQUEST = 128
_FEATURES, _EDGES, _TARGETS = (spec.name for spec in PRODUCTS_MODEL.signature.inputs)
_EMBEDDING, _LOGITS = (spec.name for spec in PRODUCTS_MODEL.signature.outputs)


@dataclass(frozen=True)
class EmbeddingGraph:
    """A product graph in the form requests are cut from.

    Attributes:
        x: float32 ``[nodes, in_channels]``, finite.
        csr: in-neighbours of every node.
    """

    x: np.ndarray
    csr: CSRGraph

    @classmethod
    def from_data(cls, data: Data) -> EmbeddingGraph:
        """Take ``x`` and ``edge_index`` of a PyG graph.

        Raises:
            DataInvalidError: features not float32, or not finite; edges outside the nodes.
        """
        from workshop.graph.sampling import CSRGraph

        x = data.x.numpy()
        check_features(x)
        return cls(x, CSRGraph.from_edge_index(data.edge_index, len(x)))


@dataclass(frozen=True)
class ProductEmbeddings:
    """What the model says about some products, in the order asked.

    Attributes:
        embedding: float32 ``[products, hidden_channels]``, not normalised.
        logits: float32 ``[products, out_channels]``; width 0 when the model knows no categories.
    """

    embedding: np.ndarray
    logits: np.ndarray

    @property
    def category(self) -> np.ndarray:
        """Most likely category, int64 ``[products]``.

        Raises:
            DataInvalidError: the model knows no categories.
        """
        if not self.has_categories:
            raise DataInvalidError("the model was trained on links and knows no categories")
        return self.logits.argmax(axis=1)

    @property
    def has_categories(self) -> bool:
        """Whether the model says anything of categories."""
        return self.logits.shape[1] > 0

    @property
    def probability(self) -> np.ndarray:
        """Probability the model gives to that category (softmax), float32 ``[products]``."""
        return 1 / np.exp(self.logits - self.logits.max(axis=1, keepdims=True)).sum(axis=1)


def embed_products(
    client: TritonClient,
    graph: EmbeddingGraph,
    product_ids: Sequence[int] | np.ndarray,
    fan_out: Sequence[int] | None = None,
    *,
    rng: np.random.Generator,
    model: GraphModel = PRODUCTS_MODEL,
    products_per_request: int = PRODUCTS_PER_REQUEST,
) -> ProductEmbeddings:
    """Embed products with their sampled neighbourhoods.

    Args:
        client: of a server that has the model loaded.
        graph: the whole graph.
        product_ids: node numbers, in the order wanted.
        fan_out: neighbours a node for hop 1, 2, ...; None: those of the model's architecture.
        rng: source of the sampling's randomness.
        model: the served model.
        products_per_request: more share more of their neighbourhoods, and take more memory on the server.

    Raises:
        DataInvalidError: a product outside the graph, features of another width, or a fan-out of other hops than the
            model's.
        ServingError: see :meth:`workshop.triton.client.TritonClient.infer`.
    """
    from workshop.graph.sampling import sample_subgraph

    check_features(graph.x[:1], model.architecture.in_channels)
    fan_out = check_hops(fan_out, model)
    ids = np.asarray(product_ids)

    def requests() -> Iterator[Arrays]:
        for start in range(0, len(ids), products_per_request):
            subgraph = sample_subgraph(graph.csr, ids[start : start + products_per_request], fan_out, rng)
            yield _request(graph.x[subgraph.node_ids], subgraph.edge_index, subgraph.targets)

    return _joined(list(client.infer_many(model.name, requests())), model)


def embed_subgraph(
    client: TritonClient,
    x: np.ndarray,
    edge_index: np.ndarray,
    targets: np.ndarray,
    *,
    model: GraphModel = PRODUCTS_MODEL,
) -> ProductEmbeddings:
    """Embed the targets of a neighbourhood that was sampled elsewhere, in ArangoDB for example.

    Args:
        client: of a server that has the model loaded.
        x: float32 ``[nodes, in_channels]``.
        edge_index: int64 ``[2, edges]``, rows of ``x``; messages flow from row 0 to row 1.
        targets: int64 ``[targets]``, rows of ``x``.
        model: the served model.

    Raises:
        DataInvalidError: features of another width, not float32, or not finite; an index outside the nodes.
        ServingError: see :meth:`workshop.triton.client.TritonClient.infer`.
    """
    check_features(x, model.architecture.in_channels)
    check_edge_index(np.asarray(edge_index), len(x))
    targets = np.asarray(targets)
    if targets.size and not 0 <= targets.min() <= targets.max() < len(x):
        raise DataInvalidError(f"targets: expected rows 0 to {len(x) - 1}, received {targets.min()} to {targets.max()}")
    return _joined([client.infer(model.name, _request(x, edge_index, targets))], model)


def check_hops(fan_out: Sequence[int] | None, model: GraphModel) -> Sequence[int]:
    """The fan-out to sample with: the one given, or the architecture's.

    Raises:
        DataInvalidError: the one given has other hops than the model.
    """
    if fan_out is None:
        return model.architecture.fan_out
    if len(fan_out) != model.architecture.hops:
        raise DataInvalidError(
            f"fan_out: model {model.name!r} needs {model.architecture.hops} hops, received {list(fan_out)}"
        )
    return fan_out


def check_features(x: np.ndarray, width: int | None = None) -> None:
    """Refuse features that a served model cannot take; ``width`` None allows any.

    Raises:
        DataInvalidError: naming the width and dtype, or the first row that is not finite.
    """
    if x.ndim != 2 or (width is not None and x.shape[1] != width) or x.dtype != np.float32:
        wanted = "features" if width is None else width
        raise DataInvalidError(f"features: expected float32 [nodes, {wanted}], received {x.dtype} {list(x.shape)}")
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(bad):
        raise DataInvalidError(f"features: {len(bad)} rows are NaN or infinite; the first is row {bad[0]}")


def _request(x: np.ndarray, edge_index: np.ndarray, targets: np.ndarray) -> Arrays:
    return {_FEATURES: x, _EDGES: edge_index, _TARGETS: targets}


def _joined(answers: list[Arrays], model: GraphModel) -> ProductEmbeddings:
    widths = {_EMBEDDING: model.architecture.hidden_channels, _LOGITS: 0}
    widths |= {spec.name: spec.dims[-1] for spec in model.signature.outputs}
    joined = {}
    for name, width in widths.items():
        parts = [answer[name] for answer in answers] if width else []
        joined[name] = np.concatenate([np.empty((0, width), dtype=np.float32), *parts])
        if not np.isfinite(joined[name]).all():
            raise InferenceError(f"model {model.name!r} answered with values that are not finite")
    rows = len(joined[_EMBEDDING])
    logits = joined[_LOGITS] if widths[_LOGITS] else np.empty((rows, 0), dtype=np.float32)
    return ProductEmbeddings(joined[_EMBEDDING], logits)
