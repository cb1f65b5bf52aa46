"""Whether another form of a model leaves its vectors the same neighbours, which is what most uses come down to."""

from __future__ import annotations

import numpy as np


def neighbour_overlap(reference: np.ndarray, vectors: np.ndarray, k: int = 10) -> float:
    """Share of each row's ``k`` nearest other rows that both sets of vectors agree on, mean over the rows."""
    shared = [len(set(one) & set(other)) for one, other in zip(nearest(reference, k), nearest(vectors, k), strict=True)]
    return float(np.mean(shared)) / k


def nearest(vectors: np.ndarray, k: int = 10) -> np.ndarray:
    """Positions of the ``k`` nearest other rows of each row by cosine, nearest first: int64 ``[rows, k]``."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    return np.argsort(-similarity, axis=1, kind="stable")[:, :k]
