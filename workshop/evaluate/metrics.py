"""Ranking metrics, and how sure one can be of their means.

Recall@k is the share of the wanted items among the first k recommended; NDCG@k also rewards finding them early
(Järvelin and Kekäläinen 2002, binary gains). Intervals are percentile bootstraps over the cases (orders, users, films);
two methods are compared by the bootstrap of their paired differences, since both are judged on the same cases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap

LEVEL = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A mean with its bootstrap interval, ``low`` to ``high``."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def recall_at_k(hits: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Recall@k of each case.

    Args:
        hits: ``[cases, k]``, 1 where the item recommended at that rank was wanted, else 0.
        wanted: ``[cases]``, number of wanted items, at least 1 each.

    Returns:
        float64 ``[cases]``.
    """
    return hits.sum(axis=1) / wanted


def ndcg_at_k(hits: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """NDCG@k of each case; arguments and result as those of :func:`recall_at_k`."""
    k = hits.shape[1]
    gain = 1.0 / np.log2(np.arange(2, k + 2))
    best = np.cumsum(gain)[np.minimum(wanted, k).astype(int) - 1]
    return hits @ gain / best


def mean_interval(values: np.ndarray, *, level: float = LEVEL, seed: int = 0) -> Interval:
    """The mean of ``values`` (float ``[cases]``, at least two) and its bootstrap interval at ``level``."""
    values = np.asarray(values, dtype=np.float64)
    found = bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=100,
        confidence_level=level,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(values.mean()), float(found.low), float(found.high))


def difference_interval(ours: np.ndarray, theirs: np.ndarray, *, level: float = LEVEL, seed: int = 0) -> Interval:
    """Mean of ``ours - theirs`` over the same cases, both float ``[cases]``, and its paired bootstrap interval.

    An interval that excludes 0 says that the difference is more than the luck of the cases drawn.
    """
    return mean_interval(np.asarray(ours) - np.asarray(theirs), level=level, seed=seed)
