"""Checks on input tensors, made before anything is sent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshop.errors import TensorNameError, TensorShapeError, TensorTypeError
from workshop.triton.signature import ModelSignature, TensorSpec, read_signature
from workshop.triton.tensors import prepare_inputs, split_rows, text_tensor

BATCHED = ModelSignature(
    "pair",
    (TensorSpec("ids__0", "INT64", (-1,)), TensorSpec("weights__1", "FP32", (3,), optional=True)),
    (TensorSpec("out__0", "FP32", (1,)),),
    max_batch_size=4,
)
UNBATCHED = ModelSignature("graph", (TensorSpec("x__0", "FP32", (-1, 2)),), (TensorSpec("y__0", "FP32", (-1,)),))
TEXT = ModelSignature(
    "text", (TensorSpec("TEXT", "BYTES", (1,)),), (TensorSpec("OUT", "FP32", (1,)),), max_batch_size=4
)


def ids(rows=2, length=5, dtype=np.int64):
    return np.ones((rows, length), dtype=dtype)


def test_good_inputs_pass_unchanged():
    given_ids = ids()
    assert prepare_inputs(BATCHED, {"ids__0": given_ids})["ids__0"] is given_ids


def test_int32_is_widened_where_int64_is_wanted():
    assert prepare_inputs(BATCHED, {"ids__0": ids(dtype=np.int32)})["ids__0"].dtype == np.int64


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ({}, TensorNameError, r"missing inputs \['ids__0'\]"),
        (
            {"ids__0": ids(), "idz": ids()},
            TensorNameError,
            r"unknown inputs \['idz'\]; it takes \['ids__0', 'w",
        ),
        ({"ids__0": ids(dtype=np.float32)}, TensorTypeError, r"'ids__0': expected INT64, received FP32"),
        ({"ids__0": ids(dtype=np.uint16)}, TensorTypeError, "expected INT64, received UINT16"),
        ({"ids__0": [["a"]]}, TensorTypeError, "expected INT64, received"),
        (
            {"ids__0": np.ones(5, np.int64)},
            TensorShapeError,
            r"expected shape \['rows', 'any'\], received \[5\]\nTry: add",
        ),
        ({"ids__0": ids()[None]}, TensorShapeError, r"received \[1, 2, 5\]"),
        (
            {"ids__0": ids(), "weights__1": np.ones((2, 4), np.float32)},
            TensorShapeError,
            r"'weights__1': expected shape \['rows', 3\], received \[2, 4\]",
        ),
        (
            {"ids__0": ids(), "weights__1": np.ones((3, 3), np.float32)},
            TensorShapeError,
            r"disagree on the number of rows: \{'ids__0': 2, 'weights__1': 3\}",
        ),
        ({"ids__0": ids(rows=0)}, TensorShapeError, "at least one row"),
    ],
)
def test_bad_inputs_are_named(inputs, error, message):
    with pytest.raises(error, match=message):
        prepare_inputs(BATCHED, inputs)


def test_a_model_without_batch_axis_takes_exactly_its_dims():
    assert prepare_inputs(UNBATCHED, {"x__0": np.ones((0, 2), np.float32)})["x__0"].shape == (0, 2)
    with pytest.raises(TensorShapeError, match=r"expected shape \['any', 2\], received \[1, 5, 2\]"):
        prepare_inputs(UNBATCHED, {"x__0": np.ones((1, 5, 2), np.float32)})


def test_texts_become_utf8_bytes():
    assert prepare_inputs(TEXT, {"TEXT": [["Zürich"], [b"raw"]]})["TEXT"].tolist() == [["Zürich".encode()], [b"raw"]]


@pytest.mark.parametrize("entry", [None, 3, 2.5, float("nan"), ["nested"]])
def test_an_entry_that_is_not_text_is_named(entry):
    with pytest.raises(TensorTypeError, match=r"entry 1 is \w+"):
        text_tensor(np.array(["fine", entry, "too"], dtype=object))


def test_numpy_strings_and_lone_surrogates_are_texts():
    assert text_tensor(np.array(["a", "b"])).tolist() == [b"a", b"b"]
    assert text_tensor(["\ud83d"]).tolist() == [b"?"]


@given(st.integers(1, 50), st.integers(1, 10))
def test_split_keeps_rows_in_order_and_within_the_limit(rows, limit):
    arrays = {"a": np.arange(rows), "b": np.arange(rows)[:, None]}
    parts = split_rows(arrays, limit)
    assert all(1 <= len(part["a"]) <= limit for part in parts)
    assert np.concatenate([part["a"] for part in parts]).tolist() == list(range(rows))
    assert all(part["b"][:, 0].tolist() == part["a"].tolist() for part in parts)


def test_a_model_without_batch_axis_is_never_split():
    arrays = {"a": np.arange(9)}
    assert split_rows(arrays, 0) == [arrays]


def test_the_served_configuration_gives_the_signature_back():
    seen = read_signature(BATCHED.to_config())
    assert (seen.inputs, seen.outputs, seen.max_batch_size) == (BATCHED.inputs, BATCHED.outputs, 4)
    assert read_signature(TEXT.to_config()).inputs[0].dtype == "BYTES"
