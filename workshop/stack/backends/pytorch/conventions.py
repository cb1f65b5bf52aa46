"""What Triton's native LibTorch backend takes and refuses, so that a model served here is served there.

After its source: https://github.com/triton-inference-server/pytorch_backend/tree/main/src/pt

The stack copies this file beside ``model.py``; it imports nothing of the workshop.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch

TORCH_DTYPES = {
    "TYPE_BOOL": torch.bool,
    "TYPE_UINT8": torch.uint8,
    "TYPE_INT8": torch.int8,
    "TYPE_INT16": torch.int16,
    "TYPE_INT32": torch.int32,
    "TYPE_INT64": torch.int64,
    "TYPE_FP16": torch.float16,
    "TYPE_FP32": torch.float32,
    "TYPE_FP64": torch.float64,
}
# the native backend splits a name at its first double underscore, and takes an index that is left out for 0
_NAMED_INDEX = re.compile(r"(?:(?!__).)*__([0-9]*)")


def order_tensors(specs: list[dict[str, Any]], arguments: Sequence[str]) -> list[tuple[int, dict[str, Any]]]:
    """Give each configured tensor its position in ``forward``, by the three conventions of the native backend.

    Names equal to the arguments of ``forward``; else names ``<name>__<index>``; else the order of the configuration.

    Raises:
        ValueError: two tensors claim one position.
    """
    names = [spec["name"] for spec in specs]
    matches = [_NAMED_INDEX.fullmatch(name) for name in names]
    if arguments and set(names) <= set(arguments):
        positions = [list(arguments).index(name) for name in names]
    elif all(matches):
        positions = [int(match[1] or 0) for match in matches]
    else:
        positions = list(range(len(names)))
    if len(set(positions)) != len(positions):
        raise ValueError(f"two tensors claim one position: {dict(zip(names, positions, strict=True))}")
    return list(zip(positions, specs, strict=True))


def check_specs(role: str, specs: list[dict[str, Any]], *, batching: bool) -> None:
    """Check what the native backend checks of the configured inputs or outputs.

    Args:
        role: ``input`` or ``output``.
        specs: the tensors as the configuration has them.
        batching: whether a batch axis is added to their dims.

    Raises:
        ValueError: there is none, a dtype has no TorchScript counterpart, strings have more than one dimension, or
            the batch is ragged.
    """
    if not specs:
        raise ValueError(f"the configuration has no {role}s")
    for spec in specs:
        name, dtype = spec["name"], spec["data_type"]
        if dtype not in TORCH_DTYPES and dtype != "TYPE_STRING":
            raise ValueError(f"{role} '{name}': TorchScript models cannot use {dtype}")
        dims = spec["reshape"].get("shape", []) if "reshape" in spec else spec["dims"]
        if dtype == "TYPE_STRING" and len(dims) + batching > 1:
            raise ValueError(f"{role} '{name}': TYPE_STRING must have one dimension, the batch included")
        if spec.get("allow_ragged_batch"):
            raise ValueError(f"{role} '{name}': the local backend has no ragged batches; NVIDIA's own backend has")


def check_arguments(arguments: Sequence[Any]) -> None:
    """Check that ``forward`` takes what the native backend can give: tensors and lists.

    Raises:
        ValueError: an argument is of another type, ``Optional[Tensor]`` for instance.
    """
    for argument in arguments:
        if argument.type.kind() not in ("TensorType", "ListType"):
            raise ValueError(
                f"argument '{argument.name}' of forward is of type {argument.type.annotation_str}: Triton gives "
                "tensors, lists of strings, or one Dict[str, Tensor]"
            )


def check_positions(ordered: list[tuple[int, dict[str, Any]]], expected: int) -> None:
    """Check that the inputs fill the positions 0..expected-1.

    Raises:
        ValueError: they do not.
    """
    positions = sorted(position for position, _ in ordered)
    if positions != list(range(expected)):
        names = ", ".join(spec["name"] for _, spec in ordered)
        raise ValueError(f"forward takes {expected} inputs, but the configuration has {len(ordered)}: {names}")


def read_results(result: Any) -> list[Any]:
    """What a model returned, as the native backend takes it: a tensor, ``List[str]``, or a tuple of these.

    Raises:
        ValueError: it is anything else: a list or dictionary of tensors, or a number.
    """
    results = list(result) if isinstance(result, tuple) else [result]
    for position, value in enumerate(results):
        if not isinstance(value, torch.Tensor) and not is_string_list(value):
            raise ValueError(
                f"result {position} of forward is {describe_type(value)}: Triton takes a Tensor, a List[str], "
                "or a tuple of these"
            )
    return results


def describe_type(value: Any) -> str:
    """A value's type, for a list or dictionary with that of what it holds."""
    held = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return f"a {type(value).__name__}" + (f" of {type(held[0]).__name__}" if held else "")


def pick_output(results: list[Any], position: int, spec: dict[str, Any]) -> Any:
    """The result at a position, checked against the configuration and moved to the CPU.

    Raises:
        ValueError: the model returns fewer results, or another type than the configuration says.
    """
    if position >= len(results):
        raise ValueError(f"output '{spec['name']}' asks for result {position}, but the model returns {len(results)}")
    result, wanted = results[position], spec["data_type"]
    if wanted == "TYPE_STRING":
        if not is_string_list(result):
            raise ValueError(f"output '{spec['name']}' is TYPE_STRING, but the model returned {type(result).__name__}")
        return result
    if not isinstance(result, torch.Tensor):
        raise ValueError(f"output '{spec['name']}' is {wanted}, but the model returned {type(result).__name__}")
    if result.dtype != TORCH_DTYPES[wanted]:
        raise ValueError(f"output '{spec['name']}' is {wanted}, but the model returned {result.dtype}")
    if not result.ndim:
        raise ValueError(f"output '{spec['name']}' is a scalar; Triton's tensors have one dimension at least")
    return result.to("cpu")


def is_string_list(value: Any) -> bool:
    """Whether the value is TorchScript's ``List[str]``."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
