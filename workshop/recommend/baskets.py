"""Recommend the rest of a basket: scorers that rate every product beside what is in it already."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import scipy.sparse as sp

from workshop.data.orders import Orders, co_purchase_graph, co_purchase_weights, damped
from workshop.errors import DataInvalidError
from workshop.graph.inference import infer_layerwise
from workshop.graph.sampling import CSRGraph
from workshop.graph.training import TrainingConfig, fit

LINK_TRAINING = TrainingConfig(task="links", fan_out=(10, 5), max_epochs=3)
"""Two layers and few epochs: baskets are small, and more of either blurs them into "what everybody buys"."""

Scorer = Callable[[sp.csr_matrix], np.ndarray]
"""Takes baskets ``[b, products]`` of zeros and ones; returns a score for every product, float ``[b, products]``."""


def recommend(scorer: Scorer, given: sp.csr_matrix, k: int = 10) -> np.ndarray:
    """The ``k`` best products for each basket, best first, none of them in it; int64 ``[baskets, k]``."""
    cost = np.negative(scorer(given), dtype=np.float32)
    cost[given.nonzero()] = np.inf
    top = np.argpartition(cost, k - 1, axis=1)[:, :k]
    return np.take_along_axis(top, np.argsort(np.take_along_axis(cost, top, axis=1), axis=1, kind="stable"), axis=1)


# --- recommenders ---------------------------------------------------------------------------------------------
def popularity(earlier: Orders) -> Scorer:
    """What sells most, whatever is in the basket."""
    counts = np.bincount(earlier.product, minlength=earlier.num_products).astype(np.float64)
    return lambda given: np.tile(counts, (given.shape[0], 1))


def co_occurrence(earlier: Orders) -> Scorer:
    """The classic item-to-item recommender: cosine of two products' order histories, added up over the basket.

    Sarwar et al. 2001, "Item-based collaborative filtering recommendation algorithms".
    """
    orders_of = earlier.matrix()
    together = sp.csr_matrix(orders_of.T @ orders_of)
    together.setdiag(0)
    cosine = damped(together, np.bincount(earlier.product, minlength=earlier.num_products), 0.5)
    return lambda given: (given @ cosine).toarray()


def co_purchase(earlier: Orders, exponent: float = 0.3) -> Scorer:
    """Edge weights of the co-purchase graph added up over the basket, popular products damped by ``exponent``."""
    counts = np.bincount(earlier.product, minlength=earlier.num_products)
    weights = damped(co_purchase_weights(earlier), counts, exponent)
    return lambda given: (given @ weights).toarray()


def embedding(vectors: np.ndarray) -> Scorer:
    """Cosine similarity to the basket's mean direction.

    Args:
        vectors: float ``[products, width]``, of GraphSAGE for instance; zero vectors are similar to nothing.
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(norms > 0, norms, 1.0)
    return lambda given: (given @ unit) @ unit.T


def graphsage_vectors(earlier: Orders, config: TrainingConfig = LINK_TRAINING, *, progress: bool = False) -> np.ndarray:
    """Embed products by a GraphSAGE trained on the links of the co-purchase graph, without any label.

    Args:
        earlier: orders that may be learned from.
        config: how to train.
        progress: show a progress bar.

    Returns:
        float32 ``[products, hidden_channels]``, for :func:`embedding`.
    """
    graph = co_purchase_graph(earlier)
    model = fit(graph, config, progress=progress).model
    vectors, _ = infer_layerwise(model, graph.x, CSRGraph.from_edge_index(graph.edge_index, graph.num_nodes))
    return vectors.numpy()


def hybrid(scorers: Sequence[Scorer], weights: Sequence[float]) -> Scorer:
    """Weighted sum of scorers, each first brought to at most 1 in every basket."""
    if len(scorers) != len(weights):
        raise DataInvalidError(f"hybrid: {len(scorers)} scorers but {len(weights)} weights")

    def score(given: sp.csr_matrix) -> np.ndarray:
        total = np.zeros(given.shape)
        for scorer, weight in zip(scorers, weights, strict=True):
            scores = scorer(given)
            highest = scores.max(axis=1, keepdims=True)
            total += weight * scores / np.where(highest > 0, highest, 1.0)
        return total

    return score
