"""Check and prepare input tensors against a served model's signature, before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from tritonclient.utils import np_to_triton_dtype

from workshop.errors import TensorNameError, TensorShapeError, TensorTypeError, TensorValueError
from workshop.triton.signature import ModelSignature, TensorSpec

Arrays = dict[str, np.ndarray]


def text_tensor(texts: Sequence[str] | np.ndarray, name: str = "texts") -> np.ndarray:
    """Strings as a ``BYTES`` tensor: an object array of UTF-8 bytes in the shape of ``texts``.

    Raises:
        TensorTypeError: an entry is neither ``str`` nor ``bytes``.
    """
    array = np.asarray(texts, dtype=object)
    encoded = np.empty(array.shape, dtype=object)
    for index, value in enumerate(array.flat):
        if isinstance(value, str):
            # JSON can carry lone surrogates, which UTF-8 cannot
            encoded.flat[index] = value.encode("utf-8", "replace")
        elif isinstance(value, bytes):
            encoded.flat[index] = value
        else:
            raise TensorTypeError(
                f"{name}: entry {index} is {type(value).__name__} ({value!r:.60}), expected text",
                hint="fill missing texts with an empty string before sending",
            )
    return encoded


def prepare_inputs(signature: ModelSignature, inputs: Mapping[str, object]) -> Arrays:
    """Check ``inputs`` against the signature and return arrays ready to send.

    int32 is widened to int64 where the model wants int64, and texts become ``BYTES``; no other type is changed.

    Raises:
        TensorNameError: an input is missing or unknown.
        TensorTypeError: an input has another dtype.
        TensorShapeError: rank, a fixed size, the longest size, or the number of rows does not fit.
        TensorValueError: a value is outside the range that the model can look up.
    """
    expected = {spec.name: spec for spec in signature.inputs}
    unknown = sorted(set(inputs) - set(expected))
    missing = sorted(name for name, spec in expected.items() if name not in inputs and not spec.optional)
    if unknown or missing:
        raise TensorNameError(
            f"model {signature.name!r}: missing inputs {missing}, unknown inputs {unknown}; it takes {list(expected)}"
        )
    arrays = {name: _typed(signature.name, expected[name], value) for name, value in inputs.items()}
    for name, array in arrays.items():
        _check_shape(signature, expected[name], array)
        _check_limits(signature.name, expected[name], array)
    if signature.max_batch_size:
        rows = {name: array.shape[0] for name, array in arrays.items()}
        if len(set(rows.values())) > 1:
            raise TensorShapeError(f"model {signature.name!r}: inputs disagree on the number of rows: {rows}")
        if 0 in rows.values():
            raise TensorShapeError(f"model {signature.name!r}: a request needs at least one row, received none")
    return arrays


def _typed(model: str, spec: TensorSpec, value: object) -> np.ndarray:
    if spec.dtype == "BYTES":
        return text_tensor(value, f"model {model!r}, input {spec.name!r}")
    array = np.asarray(value)
    if array.dtype == np.int32 and spec.dtype == "INT64":
        array = array.astype(np.int64)
    if array.dtype != spec.numpy_dtype:
        raise TensorTypeError(
            f"model {model!r}, input {spec.name!r}: expected {spec.dtype}, "
            f"received {np_to_triton_dtype(array.dtype) or array.dtype} ({array.dtype})",
            hint=f"convert it on purpose: array.astype(np.{spec.numpy_dtype})",
        )
    return np.ascontiguousarray(array)


def _check_shape(signature: ModelSignature, spec: TensorSpec, array: np.ndarray) -> None:
    wanted = (("rows",) if signature.max_batch_size else ()) + spec.dims
    sizes = array.shape
    fits = len(sizes) == len(wanted) and all(
        want in ("rows", -1) or want == size for want, size in zip(wanted, sizes, strict=True)
    )
    if not fits:
        shown = [want if want == "rows" else "any" if want == -1 else want for want in wanted]
        raise TensorShapeError(
            f"model {signature.name!r}, input {spec.name!r}: expected shape {shown}, received {list(sizes)}",
            hint="add the leading batch axis" if len(sizes) == len(wanted) - 1 and signature.max_batch_size else None,
        )


def _check_limits(model: str, spec: TensorSpec, array: np.ndarray) -> None:
    if spec.longest is not None and array.shape[-1] > spec.longest:
        raise TensorShapeError(
            f"model {model!r}, input {spec.name!r}: received {array.shape[-1]} along the last axis, the model takes at "
            f"most {spec.longest}",
            hint="cut the text where the model's tokenizer does",
        )
    if spec.below is not None and array.size and not 0 <= array.min() <= array.max() < spec.below:
        raise TensorValueError(
            f"model {model!r}, input {spec.name!r}: expected values from 0 to {spec.below - 1}, received "
            f"{array.min()} to {array.max()}",
            hint="use the tokenizer that lies beside the served model",
        )


def split_rows(arrays: Arrays, limit: int) -> list[Arrays]:
    """Cut a batch into requests of at most ``limit`` rows; 0 means no batch axis, so nothing is cut."""
    rows = next(iter(arrays.values())).shape[0] if limit else 0
    if rows <= limit:
        return [arrays]
    return [{name: array[start : start + limit] for name, array in arrays.items()} for start in range(0, rows, limit)]
