"""Judge recommenders of the rest of a basket, all by one protocol.

The latest orders are held out. Of each held-out order the first half of the basket is given, the other half is wanted;
what is already in the basket is never recommended, and products that no earlier order holds are left out, as nothing
can be known about them. Recall@k and NDCG@k are averaged over orders.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import scipy.sparse as sp

from workshop.data.orders import Orders, split_later_orders
from workshop.errors import DataInvalidError
from workshop.evaluate.metrics import ndcg_at_k, recall_at_k
from workshop.recommend.baskets import Scorer, best_first, check_length, mixture, scaled_scores

Choice = TypeVar("Choice")
Weights = tuple[float, ...]
"""What share each of several scorers has in a mixture."""


@dataclass(frozen=True)
class Baskets:
    """Held-out orders cut in two.

    Attributes:
        given: what the recommender sees, float64 ``[orders, products]`` of zeros and ones.
        wanted: what it should find, of the same form.
        customer: whose order it is, int64 ``[orders]``.
    """

    given: sp.csr_matrix
    wanted: sp.csr_matrix
    customer: np.ndarray


@dataclass(frozen=True, eq=False)
class Quality:
    """Recall and NDCG at ``k`` of every case, a held-out order for instance; both float64 ``[cases]``."""

    recalls: np.ndarray
    ndcgs: np.ndarray
    k: int

    @property
    def recall(self) -> float:
        """Recall@k, averaged over the cases."""
        return float(self.recalls.mean())

    @property
    def ndcg(self) -> float:
        """NDCG@k, averaged over the cases."""
        return float(self.ndcgs.mean())

    @property
    def num_cases(self) -> int:
        """Number of cases."""
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
    kept, row, counts = np.unique(order, return_inverse=True, return_counts=True)
    place = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
    is_given = place < (counts[row] + 1) // 2
    shape = (len(counts), later.num_products)
    given, wanted = (
        sp.csr_matrix((np.ones(part.sum()), (row[part], product[part])), shape=shape) for part in (is_given, ~is_given)
    )
    return Baskets(given, wanted, later.customer[kept])


def evaluate(scorer: Scorer, baskets: Baskets, k: int = 10, *, batch: int = 512) -> Quality:
    """Recall@k and NDCG@k of a scorer; ``batch`` baskets are scored at a time."""
    return _evaluate(lambda given, customer: [scorer(given, customer)], baskets, k, batch)[0]


def evaluate_hybrids(
    scorers: Sequence[Scorer], weights: Sequence[Weights], baskets: Baskets, k: int = 10, *, batch: int = 512
) -> dict[Weights, Quality]:
    """Recall@k and NDCG@k of several mixtures of the same scorers, each of which scores every basket once only.

    Args:
        scorers: what is mixed, as by :func:`workshop.recommend.baskets.hybrid`.
        weights: one weight a scorer, for every mixture.
        baskets: what to judge by.
        k: length of the recommendation list.
        batch: baskets scored at a time.
    """

    def mixtures(given: sp.csr_matrix, customer: np.ndarray) -> Iterator[np.ndarray]:
        scores = scaled_scores(scorers, given, customer)
        return (mixture(scores, choice) for choice in weights)

    return dict(zip(weights, _evaluate(mixtures, baskets, k, batch), strict=True))


def _evaluate(
    scorers: Callable[[sp.csr_matrix, np.ndarray], Iterable[np.ndarray]], baskets: Baskets, k: int, batch: int
) -> list[Quality]:
    """The quality of each of the scores that ``scorers`` gives, ``batch`` baskets at a time."""
    parts = []
    for start in range(0, baskets.given.shape[0], batch):
        part = slice(start, start + batch)
        given, wanted = baskets.given[part], baskets.wanted[part].toarray()
        check_length(given, k)
        count = wanted.sum(axis=1)
        tops = (best_first(scores, given, k) for scores in scorers(given, baskets.customer[part]))
        hits = [np.take_along_axis(wanted, top, axis=1) for top in tops]
        parts.append([(recall_at_k(hit, count), ndcg_at_k(hit, count)) for hit in hits])
    return [
        Quality(*(np.concatenate(values) for values in zip(*of_scorer, strict=True)), k)
        for of_scorer in zip(*parts, strict=True)
    ]


def tune(earlier: Orders, candidates: Callable[[Orders], Mapping[Choice, Scorer]], k: int = 10) -> Choice:
    """Choose among scorers by recall@k on the later part of the earlier orders.

    The orders that are held out for the final measurement are never looked at.

    Args:
        earlier: orders that may be learned from.
        candidates: gives the scorers to choose from, by name or by parameters, for a set of orders.
        k: length of the recommendation list.

    Returns:
        The key of the best scorer; the first one wins a tie.
    """
    past, recent = split_later_orders(earlier)
    baskets = cut_baskets(past, recent)
    recall = {choice: evaluate(scorer, baskets, k).recall for choice, scorer in candidates(past).items()}
    return max(recall, key=recall.get)


def weight_grid(num_scorers: int, steps: int) -> list[Weights]:
    """Every way to divide 1 among scorers in multiples of ``1 / steps``, for :func:`hybrid`."""
    shares = (share for share in itertools.product(range(steps + 1), repeat=num_scorers) if sum(share) == steps)
    return [tuple(part / steps for part in share) for share in sorted(shares, reverse=True)]


def grid_recalls(
    earlier: Orders, make_scorers: Callable[[Orders], Sequence[Scorer]], steps: int = 4, k: int = 10
) -> dict[Weights, float]:
    """Recall@k of every mixture of :func:`weight_grid` on the later part of the earlier orders, as :func:`tune` does.

    Args:
        earlier: orders that may be learned from.
        make_scorers: gives the scorers for a set of orders.
        steps: fineness of the grid, which holds every scorer alone too.
        k: length of the recommendation list.
    """
    past, recent = split_later_orders(earlier)
    scorers = make_scorers(past)
    found = evaluate_hybrids(scorers, weight_grid(len(scorers), steps), cut_baskets(past, recent), k)
    return {weights: quality.recall for weights, quality in found.items()}


def tune_hybrid(
    earlier: Orders, make_scorers: Callable[[Orders], Sequence[Scorer]], steps: int = 4, k: int = 10
) -> Weights:
    """The best weights of :func:`grid_recalls`, whose arguments it takes.

    Returns:
        Weights in the order of the scorers; the larger weight of the first ones wins a tie.
    """
    recalls = grid_recalls(earlier, make_scorers, steps, k)
    return max(recalls, key=recalls.get)
