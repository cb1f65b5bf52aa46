"""What the local Python-based backends share: merging requests into batches, thread budget, model parameters.

The stack copies this file beside each backend's ``model.py``; it imports nothing of the workshop and neither torch nor
onnxruntime, so each backend process stays as small as its own library.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeAlias

# A torch.Tensor or numpy.ndarray; or, for a one-dimensional BYTES input of TorchScript, a list of str.
Tensor: TypeAlias = Any
Forward: TypeAlias = Callable[[list[Tensor]], list[Tensor]]
Concatenate: TypeAlias = Callable[[list[Tensor]], Tensor]

# https://github.com/triton-inference-server/backend/blob/main/src/backend_common.cc, ParseBoolValue
_TRUE, _FALSE = {"true", "1", "on"}, {"false", "0", "off"}


class OutputShapeError(ValueError):
    """An output's first axis is not the batch, so it cannot be handed back request by request."""


def run_batched(
    requests: Sequence[list[Tensor]], forward: Forward, concatenate: Concatenate, *, batching: bool
) -> list[list[Tensor] | Exception]:
    """Answer many requests with as few forward passes as their shapes allow.

    Requests whose inputs agree in dtype and in every axis but the first are concatenated along the first axis, run
    once, and split again. When a merged pass fails, its requests run one by one, so that only the one at fault fails.

    Args:
        requests: one list of input tensors per request, all in the model's input order.
        forward: takes the input tensors of one pass, returns the model's output tensors.
        concatenate: joins tensors along axis 0.
        batching: whether the first axis is a batch axis (``max_batch_size`` > 0); otherwise each request runs alone.

    Returns:
        Per request, in order, its output tensors, or the exception its pass raised.
    """
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for position, inputs in enumerate(requests):
        mergeable = batching and all(hasattr(tensor, "shape") for tensor in inputs)
        groups[_merge_key(inputs) if mergeable else position].append(position)
    answers: list[list[Tensor] | Exception] = [[] for _ in requests]
    for positions in groups.values():
        merged = _run_group([requests[position] for position in positions], forward, concatenate, batching)
        for position, answer in zip(positions, merged, strict=True):
            answers[position] = answer
    return answers


def _merge_key(inputs: list[Tensor]) -> Hashable:
    """Equal for requests that can be concatenated; Triton has checked that all inputs of one have the same rows."""
    return tuple((tuple(tensor.shape[1:]), str(tensor.dtype)) for tensor in inputs)


def _run_group(
    group: list[list[Tensor]], forward: Forward, concatenate: Concatenate, batching: bool
) -> list[list[Tensor] | Exception]:
    if len(group) == 1:
        return [_run_alone(group[0], forward, batching)]
    rows = [len(inputs[0]) for inputs in group]
    try:
        outputs = forward([concatenate(list(column)) for column in zip(*group, strict=True)])
        _check_rows(outputs, sum(rows))
    except Exception:  # one request may have spoilt the pass: its batch-mates must still get their answer
        return [_run_alone(inputs, forward, batching) for inputs in group]
    answers, start = [], 0
    for count in rows:
        answers.append([output[start : start + count] for output in outputs])
        start += count
    return answers


def _run_alone(inputs: list[Tensor], forward: Forward, batching: bool) -> list[Tensor] | Exception:
    try:
        outputs = forward(inputs)
        if batching:
            _check_rows(outputs, len(inputs[0]))
    except Exception as error:  # whatever the model raises belongs in this request's response
        return error
    return outputs


def _check_rows(outputs: list[Tensor], rows: int) -> None:
    for index, output in enumerate(outputs):
        shape = tuple(output.shape) if hasattr(output, "shape") else (len(output),)
        if not shape or shape[0] != rows:
            raise OutputShapeError(
                f"output {index} has shape {list(shape)}, but the batch has {rows} rows: with max_batch_size > 0 the "
                "first axis of every output must be the batch"
            )


def cpu_count() -> int:
    """CPUs this process may use: its affinity, lowered by the control group's quota."""
    available = len(os.sched_getaffinity(0))
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as stream:
            quota, period = stream.read().split()
    except (OSError, ValueError):
        return available
    return available if quota == "max" else max(1, min(available, round(int(quota) / int(period))))


def instance_count(config: dict[str, Any]) -> int:
    """How many instances of the model share the processor: the sum over its instance groups, at least 1."""
    groups = config.get("instance_group") or []
    return max(1, sum(max(1, int(group.get("count", 1))) for group in groups))


def default_threads(config: dict[str, Any]) -> int:
    """Threads for each instance so that all instances of the model together fill the CPUs once."""
    return max(1, cpu_count() // instance_count(config))


class Parameters:
    """The ``parameters`` of a model configuration, read as the native backends do.

    Keys are compared with regard to case: a key in another case is another parameter, which nobody reads.

    Raises (from the getters):
        ValueError: the value is not of the kind asked for; the message names the parameter.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        raw = config.get("parameters") or {}
        self._values = {key: value.get("string_value", "") for key, value in raw.items()}

    def flag(self, name: str, default: bool) -> bool:
        """``true``, ``on`` or ``1``, or ``false``, ``off`` or ``0``, in any case; nothing else."""
        if name not in self._values:
            return default
        text = self._values[name].lower()
        if text not in _TRUE | _FALSE:
            raise ValueError(f"parameter {name} must be true, on or 1, or false, off or 0, got {self._values[name]!r}")
        return text in _TRUE

    def count(self, name: str, default: int) -> int:
        """A whole number; 0 or less means the default."""
        text = self._values.get(name, "0")
        try:
            number = int(text)
        except ValueError:
            raise ValueError(f"parameter {name} must be a whole number, got {text!r}") from None
        return number if number > 0 else default

    def present(self, names: Sequence[str]) -> list[str]:
        """Those of the names that are set."""
        return [name for name in names if name in self._values]
