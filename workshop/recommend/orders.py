"""Recommend the rest of a basket, four ways, and measure all of them by one protocol.

The protocol: the latest orders are held out. Of each held-out order the first half of the basket is given, the other
half is wanted; what is already in the basket is never recommended, and products that no earlier order holds are left
out, as nothing can be known about them. Recall@k is the share of the wanted products among the first k recommended,
NDCG@k also rewards finding them early (Järvelin and Kekäläinen 2002, binary gains); both are averaged over orders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from workshop.data.orders import Orders, co_purchase_graph, co_purchase_weights, damped, split_later_orders
from workshop.errors import DataInvalidError
from workshop.models.inference import infer_layerwise
from workshop.models.sampling import CSRGraph
from workshop.models.training import TrainingConfig, fit

LINK_TRAINING = TrainingConfig(task="links", fan_out=(10, 5), max_epochs=3)
"""Two layers and few epochs: baskets are small, and more of either blurs them into "what everybody buys"."""

Scorer = Callable[[sp.csr_matrix], np.ndarray]
"""Takes baskets ``[b, products]`` of zeros and ones; returns a score for every product, float ``[b, products]``."""


@dataclass(frozen=True)
class Baskets:
    """Held-out orders cut in two: ``given`` and ``wanted``, both float64 ``[orders, products]`` of zeros and ones."""

    given: sp.csr_matrix
    wanted: sp.csr_matrix


@dataclass(frozen=True)
class Quality:
    """Recall and NDCG at ``k``, averaged over ``num_orders`` held-out orders."""

    recall: float
    ndcg: float
    k: int
    num_orders: int


def cut_baskets(earlier: Orders, later: Orders) -> Baskets:
    """Cut each later order in two by the protocol above; orders of fewer than two known products are left out.

    Raises:
        DataInvalidError: no later order has two products that earlier ones hold.
    """
    known = np.zeros(later.num_products, dtype=bool)
    known[earlier.product] = True
    order, product = later.order[known[later.product]], later.product[known[later.product]]
    size = np.bincount(order, minlength=later.num_orders)
    enough = size[order] >= 2
    order, product = order[enough], product[enough]
    if not len(order):
        raise DataInvalidError("no later order holds two products that earlier orders hold")
    _, row, counts = np.unique(order, return_inverse=True, return_counts=True)
    place = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
    is_given = place < (counts[row] + 1) // 2
    shape = (len(counts), later.num_products)
    given, wanted = (
        sp.csr_matrix((np.ones(part.sum()), (row[part], product[part])), shape=shape) for part in (is_given, ~is_given)
    )
    return Baskets(given, wanted)


def evaluate(scorer: Scorer, baskets: Baskets, k: int = 10, *, batch: int = 512) -> Quality:
    """Recall@k and NDCG@k of a scorer; ``batch`` baskets are scored at a time."""
    gain = 1.0 / np.log2(np.arange(2, k + 2))
    best_gain = np.cumsum(gain)
    recalls, ndcgs = [], []
    for start in range(0, baskets.given.shape[0], batch):
        given, wanted = baskets.given[start : start + batch], baskets.wanted[start : start + batch].toarray()
        top = recommend(scorer, given, k)
        hit = np.take_along_axis(wanted, top, axis=1)
        count = wanted.sum(axis=1)
        recalls.append(hit.sum(axis=1) / count)
        ndcgs.append(hit @ gain / best_gain[np.minimum(count, k).astype(int) - 1])
    recall, ndcg = np.concatenate(recalls), np.concatenate(ndcgs)
    return Quality(float(recall.mean()), float(ndcg.mean()), k, len(recall))


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


def tune_hybrid(
    earlier: Orders, make_scorers: Callable[[Orders], Sequence[Scorer]], shares: Sequence[float], k: int = 10
) -> tuple[float, ...]:
    """Choose how much the second of two scorers counts, on the later part of the earlier orders.

    The orders that are held out for the final measurement are never looked at.

    Args:
        earlier: orders that may be learned from.
        make_scorers: gives two scorers for a set of orders.
        shares: weights of the second scorer to try, between 0 and 1; the first one gets the rest.
        k: length of the recommendation list.

    Returns:
        Weights for :func:`hybrid`; the smallest share wins a tie.
    """
    past, recent = split_later_orders(earlier)
    first, second = make_scorers(past)
    baskets = cut_baskets(past, recent)
    best = max(
        sorted(shares), key=lambda share: evaluate(hybrid([first, second], [1 - share, share]), baskets, k).recall
    )
    return (1 - best, best)
