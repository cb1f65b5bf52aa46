"""Judge recommenders of the rest of a basket, all by one protocol.

The latest orders are held out. Of each held-out order the first half of the basket is given, the other half is wanted;
what is already in the basket is never recommended, and products that no earlier order holds are left out, as nothing
can be known about them. Recall@k and NDCG@k are averaged over orders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from workshop.data.orders import Orders, split_later_orders
from workshop.errors import DataInvalidError
from workshop.evaluate.metrics import ndcg_at_k, recall_at_k
from workshop.recommend.baskets import Scorer, hybrid, recommend


@dataclass(frozen=True)
class Baskets:
    """Held-out orders cut in two: ``given`` and ``wanted``, both float64 ``[orders, products]`` of zeros and ones."""

    given: sp.csr_matrix
    wanted: sp.csr_matrix


@dataclass(frozen=True, eq=False)
class Quality:
    """Recall and NDCG at ``k`` of every held-out order, both float64 ``[orders]``."""

    recalls: np.ndarray
    ndcgs: np.ndarray
    k: int

    @property
    def recall(self) -> float:
        """Recall@k, averaged over the orders."""
        return float(self.recalls.mean())

    @property
    def ndcg(self) -> float:
        """NDCG@k, averaged over the orders."""
        return float(self.ndcgs.mean())

    @property
    def num_orders(self) -> int:
        """Number of held-out orders."""
        return len(self.recalls)


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
    recalls, ndcgs = [], []
    for start in range(0, baskets.given.shape[0], batch):
        given, wanted = baskets.given[start : start + batch], baskets.wanted[start : start + batch].toarray()
        hits = np.take_along_axis(wanted, recommend(scorer, given, k), axis=1)
        count = wanted.sum(axis=1)
        recalls.append(recall_at_k(hits, count))
        ndcgs.append(ndcg_at_k(hits, count))
    return Quality(np.concatenate(recalls), np.concatenate(ndcgs), k)


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
