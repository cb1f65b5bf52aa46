"""Numeric, statistical, bit, decay and vector functions, against the documentation's own examples and edge cases."""

import math
import statistics

import pytest
from function_calls import call, warning_of
from hypothesis import given
from hypothesis import strategies as st

from aqlite.errors import ArangoError


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("ABS", (-5,), 5),
        ("ABS", (3.5,), 3.5),
        ("ABS", ("-2",), 2),
        ("ABS", (None,), 0),
        ("ACOS", (-1,), math.pi),
        ("ACOS", (1,), 0),
        ("ACOS", (2,), None),
        ("ASIN", (1,), math.pi / 2),
        ("ASIN", (2,), None),
        ("ATAN", (10,), 1.4711276743037347),
        ("ATAN2", (0, 0), 0),
        ("ATAN2", (-10, 20), -0.4636476090008061),
        ("CEIL", (2.49,), 3),
        ("CEIL", (-2.5,), -2),
        ("COS", (1,), 0.5403023058681398),
        ("DEGREES", (3.141592653589793,), 180),
        ("EXP", (1,), math.e),
        ("EXP", (1000,), None),
        ("EXP2", (16,), 65536),
        ("FLOOR", (2.5,), 2),
        ("FLOOR", (-2.51,), -3),
        ("LOG", (10,), 2.302585092994046),
        ("LOG", (0,), None),
        ("LOG", (-1,), None),
        ("LOG2", (8,), 3),
        ("LOG10", (10000,), 4),
        ("LOG10", (0,), None),
        ("PI", (), math.pi),
        ("POW", (2, 4), 16),
        ("POW", (5, -1), 0.2),
        ("POW", (5, 0), 1),
        ("POW", (4096, 0.25), 8),
        ("POW", (-8, 0.5), None),
        ("POW", (0, -1), None),
        ("POW", (10, 400), None),
        ("RADIANS", (180,), math.pi),
        ("ROUND", (2.49,), 2),
        ("ROUND", (2.5,), 3),
        ("ROUND", (-2.5,), -2),
        ("ROUND", (-2.51,), -3),
        ("ROUND", (0.49999999999999994,), 0),
        ("ROUND", (1e300,), 1e300),
        ("SIN", (0,), 0),
        ("SQRT", (9,), 3),
        ("SQRT", (2,), 1.4142135623730951),
        ("SQRT", (-1,), None),
        ("TAN", (5,), -3.380515006246586),
        ("AVERAGE", ([5, 2, 9, 2],), 4.5),
        ("AVG", ([-3, -5, 2, None],), -2),
        ("AVERAGE", ([None],), None),
        ("MAX", ([5, 9, -2, None, 1],), 9),
        ("MAX", ([1, "a", [0]],), [0]),
        ("MAX", ([None, None],), None),
        ("MIN", ([5, 9, -2, None, 1],), -2),
        ("MIN", ([],), None),
        ("MEDIAN", ([1, 2, 3],), 2),
        ("MEDIAN", ([4, 2, 3, 1],), 2.5),
        ("MEDIAN", ([999, 80, 4, 4, 4, 3, 3, 3],), 4),
        ("MEDIAN", ([],), None),
        ("PERCENTILE", ([1, 2, 3, 4], 50), 2),
        ("PERCENTILE", ([1, 2, 3, 4], 50, "rank"), 2),
        ("PERCENTILE", ([1, 2, 3, 4], 50, "interpolation"), 2.5),
        ("PERCENTILE", ([1, 2, 3, 4], 100, "interpolation"), 4),
        ("PERCENTILE", ([1, 2, 3, 4], 1, "interpolation"), None),
        ("PERCENTILE", ([None], 50), None),
        ("PRODUCT", ([1, 2, 3, 4],), 24),
        ("PRODUCT", ([None, -5, 6],), -30),
        ("PRODUCT", ([],), 1),
        ("PRODUCT", ([1e200, 1e200],), None),
        ("SUM", ([1, 2, 3, 4],), 10),
        ("SUM", ([None, -5, 6],), 1),
        ("SUM", ([0.5, 0.5],), 1),
        ("SUM", ([],), 0),
        ("STDDEV_POPULATION", ([1, 3, 6, 5, 2],), 1.854723699099141),
        ("STDDEV", ([1, 3, 6, 5, 2],), 1.854723699099141),
        ("STDDEV_SAMPLE", ([1, 3, 6, 5, 2],), 2.0736441353327724),
        ("VARIANCE_POPULATION", ([1, 3, 6, 5, 2],), 3.44),
        ("VARIANCE", ([1, 3, 6, 5, 2, None],), 3.44),
        ("VARIANCE_SAMPLE", ([1, 3, 6, 5, 2],), 4.3),
        ("VARIANCE_SAMPLE", ([1],), None),
        ("VARIANCE", ([],), None),
        ("RANGE", (1, 4), [1, 2, 3, 4]),
        ("RANGE", (4, 1), [4, 3, 2, 1]),
        ("RANGE", (1, 4, 2), [1, 3]),
        ("RANGE", (1, 4, 3), [1, 4]),
        ("RANGE", (1.5, 2.5), [1, 2]),
        ("RANGE", (1.5, 2.5, 1), [1.5, 2.5]),
        ("RANGE", (1.5, 2.5, 0.5), [1.5, 2, 2.5]),
        ("RANGE", (-0.75, 1.1, 0.5), [-0.75, -0.25, 0.25, 0.75]),
        ("RANGE", (3, 1, -1), [3, 2, 1]),
        ("RANGE", (2, 2, -1), [2]),
        ("DECAY_GAUSS", (41, 40, 5, 5, 0.5), 1),
        ("DECAY_GAUSS", ([20, 41], 40, 5, 5, 0.5), [0.0019531250000000017, 1.0]),
        ("DECAY_GAUSS", (49.9889, 49.987, 0.001, 0.001, 0.2), 0.2715403018822964),
        ("DECAY_EXP", (2, 0, 10, 0, 0.2), 0.7247796636776955),
        ("DECAY_EXP", (49.9889, 50, 0.001, 0.001, 0.2), 8.717720806626885e-08),
        ("DECAY_LINEAR", (9.8, 0, 10, 0, 0.2), 0.21599999999999994),
        ("DECAY_LINEAR", ([5, 6, 7, 100], 0, 10, 0, 0.2), [0.6, 0.52, 0.44, 0]),
        ("MINHASH_COUNT", (0.05,), 400),
        ("MINHASH_ERROR", (400,), 0.05),
    ],
)
def test_documented_answers(name, args, expected):
    assert call(name, *args) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "args", "number"),
    [
        ("SUM", ("abc",), 1563),
        ("SUM", ([1, "2"],), 1561),
        ("AVERAGE", (None,), 1563),
        ("AVERAGE", ([True],), 1561),
        ("MIN", (1,), 1563),
        ("VARIANCE_SAMPLE", (["x"],), 1561),
        ("PERCENTILE", ([1], 0), 1542),
        ("PERCENTILE", ([1], 101), 1542),
        ("PERCENTILE", ([1], 50, "best"), 1542),
        ("RANGE", (1, 4, 0), 1542),
        ("RANGE", (1, 4, -1), 1542),
        ("DECAY_GAUSS", ("x", 40, 5, 5, 0.5), 1542),
        ("DECAY_EXP", (41, 40, 0, 5, 0.5), 1542),
        ("DECAY_LINEAR", (41, 40, 5, 5, 1), 1542),
        ("MINHASH_COUNT", (0,), 1542),
    ],
)
def test_bad_arguments_are_null_with_a_warning(name, args, number):
    assert warning_of(name, *args) == number


def test_whole_results_are_integers():
    assert [type(call("SQRT", 9)), type(call("AVERAGE", [1, 3])), type(call("ROUND", 2.5))] == [int, int, int]


def test_ranges_are_bounded():
    for args in [(0, 1e15), (0, 1, 1e-12)]:
        with pytest.raises(ArangoError, match="at most"):
            call("RANGE", *args)


def test_rand_is_in_the_unit_interval_and_varies():
    numbers = [call("RAND") for _ in range(50)]
    assert all(0 <= number < 1 for number in numbers)
    assert len(set(numbers)) > 40


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=20))
def test_statistics_agree_with_the_standard_library(numbers):
    assert call("MEDIAN", numbers) == statistics.median(numbers)
    assert call("AVERAGE", numbers) == pytest.approx(statistics.fmean(numbers))
    assert call("VARIANCE_SAMPLE", numbers) == pytest.approx(statistics.variance(numbers))
    assert call("STDDEV_POPULATION", numbers) == pytest.approx(statistics.pstdev(numbers))


# --- bits -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("BIT_AND", ([1, 4, 8, 16],), 0),
        ("BIT_AND", ([255, 127, None, 63],), 63),
        ("BIT_AND", (127, 255), 127),
        ("BIT_OR", ([1, 4, 8, 16],), 29),
        ("BIT_OR", (255, 127), 255),
        ("BIT_XOR", ([3, 7, 63],), 59),
        ("BIT_XOR", (255, 257), 510),
        ("BIT_XOR", ([],), None),
        ("BIT_CONSTRUCT", ([1, 2, 3],), 14),
        ("BIT_CONSTRUCT", ([0, 1, 10, 31],), 2147484675),
        ("BIT_DECONSTRUCT", (273,), [0, 4, 8]),
        ("BIT_FROM_STRING", ("11010111011101",), 13789),
        ("BIT_TO_STRING", (7, 4), "0111"),
        ("BIT_TO_STRING", (255, 8), "11111111"),
        ("BIT_NEGATE", (0, 10), 1023),
        ("BIT_NEGATE", (446359921, 32), 3848607374),
        ("BIT_POPCOUNT", (69399252,), 12),
        ("BIT_SHIFT_LEFT", (2, 10, 16), 2048),
        ("BIT_SHIFT_LEFT", (878836, 16, 32), 1760821248),
        ("BIT_SHIFT_RIGHT", (65536, 13, 16), 8),
        ("BIT_TEST", (255, 0), True),
        ("BIT_TEST", (255, 8), False),
    ],
)
def test_bits(name, args, expected):
    assert call(name, *args) == expected


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("BIT_AND", ("foo",)),
        ("BIT_OR", ([1, -1],)),
        ("BIT_OR", ([1, 2**32],)),
        ("BIT_XOR", (1, None)),
        ("BIT_XOR", ([1.5],)),
        ("BIT_CONSTRUCT", ([32],)),
        ("BIT_DECONSTRUCT", (2**32,)),
        ("BIT_FROM_STRING", ("0b11",)),
        ("BIT_FROM_STRING", ("1" * 33,)),
        ("BIT_TO_STRING", (1, 33)),
        ("BIT_NEGATE", (1, -1)),
        ("BIT_POPCOUNT", ("foo",)),
        ("BIT_SHIFT_LEFT", (1, 33, 8)),
        ("BIT_SHIFT_RIGHT", (-1, 3, 8)),
        ("BIT_TEST", (1, 32)),
    ],
)
def test_bits_out_of_range_warn(name, args):
    assert warning_of(name, *args) == 1542


# --- vectors --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("COSINE_SIMILARITY", ([0, 1], [1, 0]), 0),
        ("COSINE_SIMILARITY", ([-1, 0], [1, 0]), -1),
        (
            "COSINE_SIMILARITY",
            ([[0, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 0], [0, 0, 0, 1]], [1, 1, 1, 1]),
            [0.5**0.5, 0.5**0.5, 0.75**0.5, 0.5],
        ),
        ("COSINE_SIMILARITY", ([1, 0], [[1, 0], [0, 1]]), [1, 0]),
        ("L1_DISTANCE", ([-1, -1], [2, 2]), 6),
        ("L1_DISTANCE", ([[1, 2, 3], [-1, -2, -3], [3, 4, 5], [-5, 2, 1]], [1, 1, 1]), [3, 9, 9, 7]),
        ("L1_DISTANCE", ([1.5], [3]), 1.5),
        ("L2_DISTANCE", ([1, 1], [5, 2]), 4.1231056256176606),
        (
            "L2_DISTANCE",
            ([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [3, 2, 1]),
            [2.8284271247461903, 5.916079783099616, 10.770329614269007],
        ),
        ("L2_DISTANCE", ([], []), 0),
    ],
)
def test_vectors(name, args, expected):
    assert call(name, *args) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["COSINE_SIMILARITY", "L1_DISTANCE", "L2_DISTANCE"])
@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([1, 2], [1]),
        ([1, "2"], [1, 2]),
        ([1, True], [1, 2]),
        ([1, None], [1, 2]),
        ("ab", [1, 2]),
        (None, None),
        ({}, {}),
        ([[1, 2], [1]], [1, 2]),
        ([[1, 2], 3], [1, 2]),
        ([[[1]]], [1]),
    ],
)
def test_vectors_of_other_shapes_are_null_with_a_warning(name, left, right):
    assert warning_of(name, left, right) == 1542


def test_cosine_of_a_zero_vector_is_null_with_a_warning():
    assert warning_of("COSINE_SIMILARITY", [0, 0], [1, 1]) == 1542


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=1, max_size=30))
def test_l2_distance_agrees_with_math_dist(pairs):
    left, right = (list(side) for side in zip(*pairs, strict=True))
    assert call("L2_DISTANCE", left, right) == pytest.approx(math.dist(left, right))


@pytest.mark.parametrize("name", ["APPROX_NEAR_COSINE", "APPROX_NEAR_L2", "APPROX_NEAR_INNER_PRODUCT"])
def test_approximate_functions_need_an_index(name):
    with pytest.raises(ArangoError, match="failed vector search") as error:
        call(name, [1, 2], [1, 2], {"nProbe": 3})
    assert error.value.error_num == 1554
