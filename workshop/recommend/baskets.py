"""Recommend the rest of a basket: scorers that rate every product beside what is in it already."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import scipy.sparse as sp
import torch

from workshop.data.orders import Orders, co_purchase_graph, co_purchase_weights, damped
from workshop.errors import DataInvalidError
from workshop.graph.inference import infer_layerwise
from workshop.graph.sampling import CSRGraph
from workshop.graph.training import TrainingConfig, fit

LINK_TRAINING = TrainingConfig(task="links", fan_out=(10, 5), max_epochs=3)
"""Two layers and few epochs: baskets are small, and more of either blurs them into "what everybody buys"."""

EASE_LEAST_ORDERS = 3
"""EASE inverts a dense matrix of all products it knows; those in fewer orders teach it nothing and are left out."""

Scorer = Callable[[sp.csr_matrix, np.ndarray], np.ndarray]
"""Takes baskets ``[b, products]`` of zeros and ones and their customers, int64 ``[b]``; returns a score for every
product, float ``[b, products]``."""


def recommend(scorer: Scorer, given: sp.csr_matrix, k: int = 10, *, customer: np.ndarray | None = None) -> np.ndarray:
    """The ``k`` best products for each basket, best first, none of them in it; int64 ``[baskets, k]``.

    Args:
        scorer: rates the products.
        given: baskets, ``[baskets, products]`` of zeros and ones.
        k: length of the lists.
        customer: whose baskets these are, int64 ``[baskets]``; None: nobody known.

    Raises:
        DataInvalidError: a basket leaves fewer than ``k`` products to recommend.
    """
    check_length(given, k)
    customer = np.full(given.shape[0], -1) if customer is None else customer
    return best_first(scorer(given, customer), given, k)


def check_length(given: sp.csr_matrix, k: int) -> None:
    """Refuse lists that are longer than what is left to recommend.

    Raises:
        DataInvalidError: a basket leaves fewer than ``k`` products, or ``k`` is not positive.
    """
    largest = int(np.diff(given.indptr).max(initial=0))
    if not 1 <= k <= given.shape[1] - largest:
        raise DataInvalidError(f"k: {k} products cannot be chosen from {given.shape[1]} beside a basket of {largest}")


def best_first(scores: np.ndarray, excluded: sp.csr_matrix, k: int) -> np.ndarray:
    """The ``k`` products of the highest scores in each row, best first; int64 ``[rows, k]``.

    Args:
        scores: float ``[rows, products]``.
        excluded: ``[rows, products]``, not zero where a product must not be chosen; leaves at least ``k``.
        k: length of the lists.
    """
    allowed = np.array(scores, dtype=np.float32)
    allowed[excluded.nonzero()] = -np.inf
    chosen = torch.from_numpy(allowed).topk(k, dim=1, sorted=False).indices.numpy()  # far faster than np.argpartition
    chosen.sort(axis=1)
    order = np.argsort(-np.take_along_axis(allowed, chosen, axis=1), axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1)


# --- recommenders ---------------------------------------------------------------------------------------------
def popularity(earlier: Orders) -> Scorer:
    """What sells most, whatever is in the basket."""
    counts = np.bincount(earlier.product, minlength=earlier.num_products).astype(np.float64)
    return lambda given, customer: np.tile(counts, (given.shape[0], 1))


def co_occurrence(earlier: Orders) -> Scorer:
    """The classic item-to-item recommender: cosine of two products' order histories, added up over the basket.

    Sarwar et al. 2001, "Item-based collaborative filtering recommendation algorithms".
    """
    orders_of = earlier.matrix()
    together = sp.csr_matrix(orders_of.T @ orders_of)
    together.setdiag(0)
    cosine = damped(together, np.bincount(earlier.product, minlength=earlier.num_products), 0.5)
    return lambda given, customer: (given @ cosine).toarray()


def item_knn(earlier: Orders, neighbours: int = 300, shrinkage: float = 50.0) -> Scorer:
    """Cosine of two products' order histories, shrunk where few orders support it, of the nearest products only.

    Args:
        earlier: orders that may be learned from.
        neighbours: most products that one product speaks for.
        shrinkage: added to the denominator, in orders (Bell and Koren 2007, "Improved neighborhood-based
            collaborative filtering").
    """
    orders_of = earlier.matrix()
    together = sp.coo_matrix(orders_of.T @ orders_of)
    counts = np.bincount(earlier.product, minlength=earlier.num_products)
    norm = np.sqrt(counts[together.row] * counts[together.col]) + shrinkage
    kept = together.row != together.col
    row, column, value = together.row[kept], together.col[kept], (together.data / norm)[kept]
    best_first = np.lexsort((-value, row))
    row, column, value = row[best_first], column[best_first], value[best_first]
    place = np.arange(len(row)) - np.searchsorted(row, row)
    near = place < neighbours
    similarity = sp.csr_matrix((value[near], (row[near], column[near])), shape=together.shape)
    return lambda given, customer: (given @ similarity).toarray()


def ease(earlier: Orders, regularization: float = 30.0) -> Scorer:
    """The linear model that best rebuilds each order from its other products, in closed form.

    Steck 2019, "Embarrassingly shallow autoencoders for sparse data", https://arxiv.org/abs/1905.03375. Products in
    fewer than ``EASE_LEAST_ORDERS`` orders score 0.

    Args:
        earlier: orders that may be learned from.
        regularization: lambda of the paper.
    """
    counts = np.bincount(earlier.product, minlength=earlier.num_products)
    known = np.flatnonzero(counts >= EASE_LEAST_ORDERS)
    orders_of = earlier.matrix()[:, known].astype(np.float32)
    gram = (orders_of.T @ orders_of).toarray()
    gram[np.diag_indices_from(gram)] += regularization
    precision = np.linalg.inv(gram)
    weights = precision / -np.diag(precision)
    weights[np.diag_indices_from(weights)] = 0.0

    def score(given: sp.csr_matrix, customer: np.ndarray) -> np.ndarray:
        scores = np.zeros(given.shape, dtype=np.float32)
        scores[:, known] = given[:, known] @ weights
        return scores

    return score


def history(earlier: Orders) -> Scorer:
    """What the customer bought most often before; without history, and between equals, what sells most.

    Orders without customers are all one customer's, which makes this :func:`popularity`.
    """
    customers = earlier.customer[earlier.order]
    shape = (int(customers.max()) + 1, earlier.num_products)
    bought = sp.csr_matrix((np.ones(len(customers)), (customers, earlier.product)), shape=shape)
    counts = np.bincount(earlier.product, minlength=earlier.num_products)
    tie_break = counts / (counts.sum() + 1.0)

    def score(given: sp.csr_matrix, customer: np.ndarray) -> np.ndarray:
        known = (customer >= 0) & (customer < shape[0])
        own = np.zeros(given.shape)
        own[known] = bought[customer[known]].toarray()
        return own + tie_break

    return score


def co_purchase(earlier: Orders, exponent: float = 0.3) -> Scorer:
    """Edge weights of the co-purchase graph added up over the basket, popular products damped by ``exponent``."""
    counts = np.bincount(earlier.product, minlength=earlier.num_products)
    weights = damped(co_purchase_weights(earlier), counts, exponent)
    return lambda given, customer: (given @ weights).toarray()


def embedding(vectors: np.ndarray) -> Scorer:
    """Cosine similarity to the basket's mean direction.

    Args:
        vectors: float ``[products, width]``, of GraphSAGE for instance; zero vectors are similar to nothing.
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(norms > 0, norms, 1.0)
    return lambda given, customer: (given @ unit) @ unit.T


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
    return lambda given, customer: mixture(scaled_scores(scorers, given, customer), weights)


def scaled_scores(scorers: Sequence[Scorer], given: sp.csr_matrix, customer: np.ndarray) -> list[np.ndarray]:
    """The scores of several scorers, each brought to at most 1 in every basket; each float32 ``[b, products]``."""
    scaled = []
    for scorer in scorers:
        scores = scorer(given, customer)
        highest = scores.max(axis=1, keepdims=True)
        scaled.append((scores / np.where(highest > 0, highest, 1.0)).astype(np.float32))
    return scaled


def mixture(scores: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Weighted sum of scores of one shape, float32; what weighs 0 is not looked at."""
    total = np.zeros_like(scores[0])
    for part, weight in zip(scores, weights, strict=True):
        if weight:
            total += np.float32(weight) * part
    return total
