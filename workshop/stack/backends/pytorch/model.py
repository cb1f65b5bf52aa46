"""TorchScript models for the local tritonserver, with the conventions of Triton's native LibTorch backend.

Triton uses this file for every model whose configuration says ``platform: "pytorch_libtorch"`` (or ``backend:
"pytorch"``), because it lies in ``<backend-directory>/pytorch/model.py``. The model's own folder holds the same
``config.pbtxt`` and ``model.pt`` that the native backend reads.

Conventions: https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/pytorch_backend/README.html
Python-based backends: https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/python_backend/README.html
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import triton_python_backend_utils as pb_utils
from batching import Parameters, default_threads, run_batched
from conventions import check_arguments, check_positions, check_specs, order_tensors, pick_output, read_results
from known_file import check_known

IGNORED_FLAGS = (
    "ENABLE_JIT_EXECUTOR",
    "ENABLE_JIT_PROFILING",
    "ENABLE_NVFUSER",
    "ENABLE_TENSOR_FUSER",
    "ENABLE_WEIGHT_SHARING",
    "ENABLE_CACHE_CLEANING",
    "DISABLE_CUDNN",
)
UNSUPPORTED_FIELDS = ("batch_input", "batch_output", "sequence_batching")


class TritonPythonModel:
    """One instance of one TorchScript model, in its own process."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model onto the instance's device.

        Args:
            args: Triton's instance facts: ``model_config`` (JSON), ``model_repository`` (the model's folder),
                ``model_version``, ``model_instance_kind``, ``model_instance_device_id``.

        Raises:
            pb_utils.TritonModelException: the configuration or the model file cannot be served; the message names it.
        """
        self.name = args["model_name"]
        config = json.loads(args["model_config"])
        path = Path(args["model_repository"], args["model_version"], config.get("default_model_filename") or "model.pt")
        try:
            self._configure(config)
            self.device = choose_device(args["model_instance_kind"], args["model_instance_device_id"])
            self.module = load_module(path, self.device, optimise=self.optimise)
            arguments = self.module.forward.schema.arguments[1:]
            self.takes_dict = [argument.type.kind() for argument in arguments] == ["DictType"]
            for role in ("input", "output"):
                check_specs(role, config[role], batching=self.batching)
            if self.takes_dict:
                self.inputs = list(enumerate(config["input"]))
            else:
                check_arguments(arguments)
                self.inputs = order_tensors(config["input"], [argument.name for argument in arguments])
                check_positions(self.inputs, len(arguments))
            self.outputs = order_tensors(config["output"], ())
        except (ValueError, RuntimeError, OSError) as error:
            raise pb_utils.TritonModelException(f"model '{self.name}': {error}") from error
        pb_utils.Logger.log_info(
            f"model '{self.name}': {path.name} on {self.device}, {torch.get_num_threads()} threads, "
            f"optimised execution {'on' if self.optimise else 'off'}"
        )

    def _configure(self, config: dict[str, Any]) -> None:
        unsupported = [field for field in UNSUPPORTED_FIELDS if config.get(field)]
        if unsupported:
            raise ValueError(f"the local backend has no {', '.join(unsupported)}; NVIDIA's own backend has")
        parameters = Parameters(config)
        self.batching = int(config.get("max_batch_size", 0)) > 0
        self.optimise = not parameters.flag("DISABLE_OPTIMIZED_EXECUTION", False)
        self.inference_mode = parameters.flag("INFERENCE_MODE", True)
        torch.set_num_threads(parameters.count("INTRA_OP_THREAD_COUNT", default_threads(config)))
        torch.set_num_interop_threads(parameters.count("INTER_OP_THREAD_COUNT", 1))
        ignored = parameters.present(IGNORED_FLAGS)
        for name in ignored:
            parameters.flag(name, False)
        if ignored:
            pb_utils.Logger.log_info(f"model '{self.name}': no effect in the local backend: {', '.join(ignored)}")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer the requests Triton hands over together, in as few forward passes as their shapes allow."""
        parsed: list[list[Any] | Exception] = []
        for request in requests:
            try:
                parsed.append([read_tensor(request, spec) for _, spec in self.inputs])
            except ValueError as error:
                parsed.append(error)
        sound = [inputs for inputs in parsed if not isinstance(inputs, Exception)]
        answers = iter(run_batched(sound, self._forward, torch.cat, batching=self.batching))
        return [
            self._respond(request, inputs if isinstance(inputs, Exception) else next(answers))
            for request, inputs in zip(requests, parsed, strict=True)
        ]

    def _forward(self, inputs: list[Any]) -> list[Any]:
        """One forward pass: input tensors by config order in, output tensors by config order, on the CPU, out."""
        values = [value.to(self.device) if isinstance(value, torch.Tensor) else value for value in inputs]
        arguments: list[Any] = [None] * len(inputs)
        for (position, _), value in zip(self.inputs, values, strict=True):
            arguments[position] = value
        if self.takes_dict:
            arguments = [{spec["name"]: value for (_, spec), value in zip(self.inputs, values, strict=True)}]
        optimised = nullcontext() if self.optimise else torch.jit.optimized_execution(False)
        with torch.inference_mode(self.inference_mode), torch.no_grad(), optimised:
            result = self.module(*arguments)
        results = read_results(result)
        return [pick_output(results, position, spec) for position, spec in self.outputs]

    def _respond(self, request: Any, answer: list[Any] | Exception) -> Any:
        if isinstance(answer, Exception):
            named = f"request {request.request_id()}: " if request.request_id() else ""
            pb_utils.Logger.log_warn(f"model '{self.name}': {named}{describe(answer)}")
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"model '{self.name}': {describe(answer)}"))
        wanted = set(request.requested_output_names())
        return pb_utils.InferenceResponse(
            [
                write_tensor(spec["name"], value)
                for (_, spec), value in zip(self.outputs, answer, strict=True)
                if spec["name"] in wanted
            ]
        )


def choose_device(kind: str, device_id: str) -> torch.device:
    """The device Triton placed the instance on; the CPU when this torch has no CUDA."""
    if kind.removeprefix("KIND_") != "GPU":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        pb_utils.Logger.log_warn("the instance was placed on a GPU, but this torch has no CUDA: running on the CPU")
        return torch.device("cpu")
    return torch.device("cuda", int(device_id))


def load_module(path: Path, device: torch.device, *, optimise: bool) -> torch.jit.ScriptModule:
    """Read a TorchScript file that somebody vouches for; freeze it when optimisation is wanted.

    Raises:
        ValueError: the file is missing, of unknown source, altered or not TorchScript; the message names it.
    """
    if not path.is_file():
        raise ValueError(f"no file {path}")
    check_known(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated in PyTorch, yet it is what Triton serves
        try:
            module = torch.jit.load(path, map_location=device).eval()
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            raise ValueError(f"{path} is not a TorchScript file torch {torch.__version__} can load: {reason}") from None
        return freeze(module) if optimise else module


def freeze(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """Make the weights constants of the graph, which folds what depends on them alone; as it is where that fails."""
    try:
        return torch.jit.freeze(module)
    except RuntimeError as error:  # some scripted modules cannot be frozen, yet run
        pb_utils.Logger.log_warn(f"served without freezing its weights: {str(error).strip().splitlines()[0]}")
        return module


def read_tensor(request: Any, spec: dict[str, Any]) -> torch.Tensor | list[str]:
    """One input of a request, without a copy; BYTES of one dimension become ``list[str]``.

    Raises:
        ValueError: the input is missing, or is a BYTES tensor of another rank.
    """
    tensor = pb_utils.get_input_tensor_by_name(request, spec["name"])
    if tensor is None:
        raise ValueError(f"input '{spec['name']}' is missing")
    if spec["data_type"] != "TYPE_STRING":
        return torch.from_dlpack(tensor.to_dlpack())
    array = tensor.as_numpy()
    if array.ndim != 1:
        raise ValueError(f"BYTES input '{spec['name']}' must have one dimension, got shape {list(array.shape)}")
    return [item.decode("utf-8") for item in array]


def describe(error: Exception) -> str:
    """The error in one line; the TorchScript interpreter puts the cause last, below its own stack."""
    text = str(error).strip()
    if "TorchScript interpreter" in text:
        return text.splitlines()[-1]
    return f"{type(error).__name__}: {text}"


def write_tensor(name: str, value: torch.Tensor | list[str]) -> Any:
    """One output tensor of a response; dense tensors go without a copy."""
    if isinstance(value, torch.Tensor):
        return pb_utils.Tensor.from_dlpack(name, value.contiguous())
    return pb_utils.Tensor(name, np.array([item.encode("utf-8") for item in value], dtype=object))
