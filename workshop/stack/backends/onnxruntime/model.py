"""ONNX models for the local tritonserver, with the conventions of Triton's native ONNX Runtime backend.

Triton uses this file for every model whose configuration says ``platform: "onnxruntime_onnx"`` (or ``backend:
"onnxruntime"``). Inputs and outputs go by the names in the ONNX graph.

Conventions: https://github.com/triton-inference-server/onnxruntime_backend
Python-based backends: https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/python_backend/README.html
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils
from arrays import ArrayModel, check_tensors
from batching import Parameters, default_threads

# Triton's configuration dtype -> the type string of ONNX Runtime's node arguments.
ONNX_TYPES = {
    "TYPE_BOOL": "tensor(bool)",
    "TYPE_UINT8": "tensor(uint8)",
    "TYPE_UINT16": "tensor(uint16)",
    "TYPE_UINT32": "tensor(uint32)",
    "TYPE_UINT64": "tensor(uint64)",
    "TYPE_INT8": "tensor(int8)",
    "TYPE_INT16": "tensor(int16)",
    "TYPE_INT32": "tensor(int32)",
    "TYPE_INT64": "tensor(int64)",
    "TYPE_FP16": "tensor(float16)",
    "TYPE_FP32": "tensor(float)",
    "TYPE_FP64": "tensor(double)",
    "TYPE_STRING": "tensor(string)",
}
# The native backend's ``optimization { graph { level } }``: basic, extended, none; all when it is not set.
GRAPH_LEVELS = {
    -1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


class TritonPythonModel(ArrayModel):
    """One instance of one ONNX model, in its own process."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model onto the instance's device.

        Args:
            args: Triton's instance facts: ``model_config`` (JSON), ``model_repository`` (the model's folder),
                ``model_version``, ``model_instance_kind``, ``model_instance_device_id``.

        Raises:
            pb_utils.TritonModelException: the configuration or the model file cannot be served; the message names it.
        """
        config, path = self.configure(args, "model.onnx")
        try:
            kind, device_id = args["model_instance_kind"], args["model_instance_device_id"]
            providers = [*accelerators(config, kind, device_id), *choose_providers(kind, device_id)]
            self.session = load_session(path, session_options(config), providers)
            self.inputs = _configured("input", config, self.session.get_inputs(), complete=True)
            self.outputs = _configured("output", config, self.session.get_outputs(), complete=False)
        except ValueError as error:
            raise pb_utils.TritonModelException(f"model '{self.name}': {error}") from error
        pb_utils.Logger.log_info(f"model '{self.name}': {path.name} on {', '.join(self.session.get_providers())}")

    def run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """One run of the graph."""
        feed = {spec["name"]: array for spec, array in zip(self.inputs, inputs, strict=True)}
        return self.session.run([spec["name"] for spec in self.outputs], feed)


def _configured(role: str, config: dict[str, Any], nodes: Sequence[Any], *, complete: bool) -> list[dict[str, Any]]:
    types = {node.name: node.type for node in nodes}
    return check_tensors(role, config[role], types, ONNX_TYPES, where="ONNX graph", complete=complete)


def choose_providers(kind: str, device_id: str) -> list[Any]:
    """CUDA on the instance's device where Triton placed it on a GPU and this ONNX Runtime has CUDA; else the CPU."""
    cpu = "CPUExecutionProvider"
    if kind.removeprefix("KIND_") != "GPU":
        return [cpu]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pb_utils.Logger.log_warn("the instance was placed on a GPU, but this onnxruntime has no CUDA: using the CPU")
        return [cpu]
    return [("CUDAExecutionProvider", {"device_id": int(device_id)}), cpu]


def accelerators(config: dict[str, Any], kind: str, device_id: str) -> list[Any]:
    """TensorRT's provider where the configuration asks for it as accelerator on a GPU.

    The native backend leaves an accelerator out on other devices. Here that is an error: a model that is called
    accelerated would be measured without.

    Raises:
        ValueError: the instance is on no GPU, this ONNX Runtime lacks the provider, or the accelerator is another one.
    """
    wanted = (config.get("optimization") or {}).get("execution_accelerators") or {}
    chosen: list[Any] = []
    for accelerator in wanted.get("gpu_execution_accelerator") or []:
        if accelerator["name"] != "tensorrt":
            raise ValueError(f"GPU accelerator {accelerator['name']!r} is not known here, only 'tensorrt' is")
        if kind.removeprefix("KIND_") != "GPU":
            raise ValueError("the configuration asks for TensorRT as accelerator, and the instance is on no GPU")
        if "TensorrtExecutionProvider" not in onnxruntime.get_available_providers():
            version = onnxruntime.__version__
            raise ValueError(f"the configuration asks for TensorRT as accelerator, which onnxruntime {version} lacks")
        given = accelerator.get("parameters") or {}
        options = {"device_id": int(device_id), "trt_fp16_enable": given.get("precision_mode") == "FP16"}
        if "max_workspace_size_bytes" in given:
            options["trt_max_workspace_size"] = int(given["max_workspace_size_bytes"])
        chosen.append(("TensorrtExecutionProvider", options))
    return chosen


def session_options(config: dict[str, Any]) -> onnxruntime.SessionOptions:
    """Thread counts, execution mode and graph optimisation from the configuration, named as in the native backend.

    Raises:
        ValueError: a parameter has a value of the wrong kind.
    """
    parameters = Parameters(config)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = parameters.count("intra_op_thread_count", default_threads(config))
    options.inter_op_num_threads = parameters.count("inter_op_thread_count", 1)
    if parameters.count("execution_mode", 0) == 1:
        options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    options.enable_cpu_mem_arena = parameters.flag("enable_mem_arena", True)
    options.enable_mem_pattern = parameters.flag("enable_mem_pattern", True)
    level = int((config.get("optimization") or {}).get("graph", {}).get("level", 0))
    options.graph_optimization_level = GRAPH_LEVELS.get(level, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)
    return options


def load_session(path: Path, options: onnxruntime.SessionOptions, providers: list[Any]) -> onnxruntime.InferenceSession:
    """Read an ONNX file.

    Raises:
        ValueError: the file is missing or not an ONNX model; the message names it.
    """
    if not path.is_file():
        raise ValueError(f"no file {path}")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        version = onnxruntime.__version__
        raise ValueError(f"{path} is not an ONNX file onnxruntime {version} can load: {error}") from error
