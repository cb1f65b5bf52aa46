from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from workshop.errors import DataInvalidError, QueryError
from workshop.store.embeddings import as_stored, check_vectors
from workshop.store.queries import query_text


def vectors(rows: int = 3, width: int = 4) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (vectors(3, 5), r"expected shape \(3, 4\), received \(3, 5\)"),
        (vectors(2, 4), r"expected shape \(3, 4\), received \(2, 4\)"),
        (vectors(3, 4)[0], r"received \(4,\)"),
        (vectors(3, 4).astype(np.int64), "received int64"),
        (np.where(np.arange(3)[:, None] == 1, np.nan, vectors()), "1 rows hold NaN or infinity, the first is row 1"),
        (np.where(np.arange(3)[:, None] > 0, np.inf, vectors()), "2 rows hold NaN or infinity, the first is row 1"),
        (np.where(np.arange(3)[:, None] == 2, 0, vectors()), "1 rows are all zeros, the first is row 2"),
    ],
)
def test_vectors_without_a_direction_are_refused(broken, message):
    with pytest.raises(DataInvalidError, match=message):
        check_vectors(broken, count=3, dimension=4)


def test_sound_vectors_pass():
    check_vectors(vectors(), count=3, dimension=4)


@given(arrays.arrays(np.float32, 8, elements={"min_value": -1, "max_value": 1}))
def test_stored_vectors_keep_float32_precision(vector):
    stored = as_stored(vector)
    assert all(type(number) is float for number in stored)
    np.testing.assert_allclose(stored, vector, atol=6e-8)


def test_unknown_query_lists_the_known_ones():
    with pytest.raises(QueryError, match=r"no query 'nearest'\s+Try: one of: .*movie_nearest_exact"):
        query_text("nearest")
