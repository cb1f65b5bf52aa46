"""What the local backends share whose models take and give NumPy arrays by name.

The stack copies this file beside each backend's ``model.py``; it imports nothing of the workshop.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from batching import run_batched


class ArrayModel:
    """Answers requests with a function from arrays to arrays; a backend sets the attributes when it initialises.

    Attributes:
        name: of the served model.
        batching: whether the first axis is a batch axis.
        inputs: the configured inputs.
        outputs: the configured outputs.
    """

    name: str
    batching: bool
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]

    def configure(self, args: dict[str, str], filename: str) -> tuple[dict[str, Any], Path]:
        """Take name and batching from Triton's instance facts; returns the configuration and the model file's path.

        Args:
            args: ``model_name``, ``model_config`` (JSON), ``model_repository`` (the model's folder), ``model_version``.
            filename: of the model file, where the configuration names none.
        """
        self.name = args["model_name"]
        config = json.loads(args["model_config"])
        self.batching = int(config.get("max_batch_size", 0)) > 0
        file = config.get("default_model_filename") or filename
        return config, Path(args["model_repository"], args["model_version"], file)

    def run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """One pass: arrays in the order of ``inputs`` in, arrays in the order of ``outputs`` out."""
        raise NotImplementedError

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer the requests Triton hands over together, in as few runs of the model as their shapes allow."""
        parsed: list[list[np.ndarray] | Exception] = []
        for request in requests:
            try:
                parsed.append([read_tensor(request, spec) for spec in self.inputs])
            except ValueError as error:
                parsed.append(error)
        sound = [inputs for inputs in parsed if not isinstance(inputs, Exception)]
        answers = iter(run_batched(sound, self.run, np.concatenate, batching=self.batching))
        return [
            self._respond(request, inputs if isinstance(inputs, Exception) else next(answers))
            for request, inputs in zip(requests, parsed, strict=True)
        ]

    def _respond(self, request: Any, answer: list[np.ndarray] | Exception) -> Any:
        if isinstance(answer, Exception):
            message = f"model '{self.name}': {type(answer).__name__}: {answer}"
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(message))
        wanted = set(request.requested_output_names())
        return pb_utils.InferenceResponse(
            [
                write_tensor(spec, value)
                for spec, value in zip(self.outputs, answer, strict=True)
                if spec["name"] in wanted
            ]
        )


def read_tensor(request: Any, spec: dict[str, Any]) -> np.ndarray:
    """One input of a request; BYTES become an object array of ``str``.

    Raises:
        ValueError: the input is missing, or holds bytes that are not UTF-8.
    """
    tensor = pb_utils.get_input_tensor_by_name(request, spec["name"])
    if tensor is None:
        raise ValueError(f"input '{spec['name']}' is missing")
    array = tensor.as_numpy()
    if spec["data_type"] != "TYPE_STRING":
        return array
    return np.array([item.decode("utf-8") for item in array.ravel()], dtype=object).reshape(array.shape)


def write_tensor(spec: dict[str, Any], value: np.ndarray) -> Any:
    """One output tensor of a response; strings are sent as UTF-8 BYTES."""
    if spec["data_type"] == "TYPE_STRING":
        value = np.array([item.encode("utf-8") for item in value.ravel()], dtype=object).reshape(value.shape)
    return pb_utils.Tensor(spec["name"], np.ascontiguousarray(value))


def check_tensors(
    role: str,
    specs: list[dict[str, Any]],
    types: dict[str, str],
    known: dict[str, str],
    *,
    where: str,
    complete: bool,
) -> list[dict[str, Any]]:
    """Check the configured tensors against the model's by name and type; returns them.

    Args:
        role: ``input`` or ``output``.
        specs: the tensors as the configuration has them.
        types: the model's tensors: name to type, in the words of its runtime.
        known: the runtime's word for each of Triton's types.
        where: what the model is, in words.
        complete: whether every tensor of the model must be configured.

    Raises:
        ValueError: the model lacks a tensor or has it with another type, or (``complete``) one is not configured.
    """
    for spec in specs:
        name, wanted = spec["name"], spec["data_type"]
        if name not in types:
            raise ValueError(f"the {where} has no {role} '{name}', it has {', '.join(types)}")
        if types[name] != known.get(wanted):
            raise ValueError(f"{role} '{name}' is {wanted} in the configuration and {types[name]} in the {where}")
    missing = sorted(set(types) - {spec["name"] for spec in specs})
    if complete and missing:
        raise ValueError(f"the configuration lacks the {role}s {', '.join(missing)} of the {where}")
    return specs
