"""Training of vector indexes with Faiss: the centroids of the inverted lists."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import numpy as np

from aqlite.errors import ArangoError

_IVF = re.compile(r"IVF(\d+)(_HNSW\d*)?,")
SAMPLE_PER_LIST, SMALLEST_SAMPLE = 64, 16_384
"""Vectors that training looks at: so many for each list, but at least all up to a number."""


def check_factory(params: dict[str, Any]) -> None:
    """Raises ArangoError 10 unless Faiss can make an IVF index of ``nLists`` lists from ``params.factory``."""
    factory = params["factory"]
    found = _IVF.match(factory) if type(factory) is str else None
    if found is None:
        raise ArangoError(10, f"params.factory must describe an IVF index, such as IVF{params['nLists']},Flat")
    if int(found[1]) != params["nLists"]:
        raise ArangoError(
            10, f"params.nLists must agree with the lists that params.factory names: {params['nLists']} and {found[1]}"
        )
    _untrained(params)


def trained_centroids(params: dict[str, Any], sample: np.ndarray) -> np.ndarray:
    """Centroids of the lists, float32 [nLists, d], by k-means on a sample float32 [n, d], n >= nLists.

    Raises:
        ArangoError: 1235 when Faiss cannot train the index.
    """
    faiss = _faiss()
    index = _untrained(params)
    index.cp.niter = params["trainingIterations"]
    index.cp.min_points_per_centroid = 1
    sample = np.ascontiguousarray(sample, dtype=np.float32)
    try:
        index.train_q1(len(sample), faiss.swig_ptr(sample), False, index.metric_type)
        return index.quantizer.reconstruct_n(0, params["nLists"])
    except RuntimeError as error:
        raise ArangoError(1235, f"vector index creation failed: {error}") from error


def _untrained(params: dict[str, Any]) -> Any:
    """The IVF index that the parameters describe."""
    faiss = _faiss()
    metric = faiss.METRIC_L2 if params["metric"] == "l2" else faiss.METRIC_INNER_PRODUCT
    factory = params.get("factory") or f"IVF{params['nLists']},Flat"
    try:
        index = faiss.index_factory(params["dimension"], factory, metric)
    except RuntimeError as error:
        raise ArangoError(10, f"params.factory {factory!r} cannot be made: {error}") from error
    if not isinstance(index, faiss.IndexIVF):
        raise ArangoError(
            10, f"params.factory must describe an IVF index alone, {factory!r} is a {type(index).__name__}"
        )
    return index


def _faiss() -> ModuleType:
    """Faiss, imported when the first vector index is made."""
    import faiss

    return faiss
