"""Vector functions. Source: the pages "Numeric functions" and "Vector search functions in AQL" of ArangoDB 3.12.

``APPROX_NEAR_*`` are answered by the query engine from a vector index; called as plain functions they fail, as in
ArangoDB.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from aqlite.aql.functions.registry import Registry, warn
from aqlite.aql.values import Number, Value, number_or_null
from aqlite.errors import ArangoError

if TYPE_CHECKING:
    from aqlite.aql.context import CallContext

FUNCTIONS = Registry()

Metric = Callable[[np.ndarray, np.ndarray], "float | None"]


def as_vector(values: Value) -> np.ndarray | None:
    """float64 [n] view of an array of numbers; None when anything else is in it."""
    try:
        vector = np.asarray(array("d", values))
    except (TypeError, OverflowError):
        return None
    return None if bool in map(type, values) else vector


def cosine_similarity(left: np.ndarray, right: np.ndarray) -> float | None:
    """Cosine of the angle between two vectors [n]; None when one has no direction."""
    norms = math.sqrt(left @ left) * math.sqrt(right @ right)
    return float(left @ right) / norms if norms > 0 else None


def _l1_distance(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.abs(left - right).sum())


def _l2_distance(left: np.ndarray, right: np.ndarray) -> float:
    difference = left - right
    return math.sqrt(difference @ difference)


def _define_metric(name: str, metric: Metric) -> None:
    """``name(x, y)``; when one of the two is an array of vectors, the answer is an array, one number a vector."""

    def pair(ctx: CallContext, left: Value, right: Value) -> Number | None:
        left_vector, right_vector = as_vector(left), as_vector(right)
        if left_vector is None or right_vector is None or left_vector.size != right_vector.size:
            return warn(ctx, name)
        result = metric(left_vector, right_vector)
        return warn(ctx, name) if result is None else number_or_null(result)

    @FUNCTIONS.define(name)
    def call(ctx: CallContext, left: Value, right: Value) -> Number | list[Number] | None:
        if type(left) is not list or type(right) is not list:
            return warn(ctx, name)
        nested, other = (right, left) if right and type(right[0]) is list else (left, right)
        if not nested or type(nested[0]) is not list:
            return pair(ctx, left, right)
        results = []
        for row in nested:
            result = pair(ctx, row, other) if type(row) is list else warn(ctx, name)
            if result is None:
                return None
            results.append(result)
        return results


_define_metric("COSINE_SIMILARITY", cosine_similarity)
_define_metric("L1_DISTANCE", _l1_distance)
_define_metric("L2_DISTANCE", _l2_distance)


def _define_index_only(name: str) -> None:
    @FUNCTIONS.define(name, deterministic=False)
    def call(ctx: CallContext, left: Value, right: Value, options: Value = None) -> None:
        raise ArangoError(
            1554,
            f"AQL: failed vector search: {name}() needs a vector index of its metric over the attribute, "
            "and SORT by it followed by LIMIT",
        )


for _name in ("APPROX_NEAR_COSINE", "APPROX_NEAR_INNER_PRODUCT", "APPROX_NEAR_L2"):
    _define_index_only(_name)
