"""OpenVINO models for the local tritonserver, with the conventions of Triton's native OpenVINO backend.

Triton uses this file for every model whose configuration says ``backend: "openvino"``. Inputs and outputs go by the
names in the model, ``model.xml`` with its weights beside it in ``model.bin``.

Conventions: https://github.com/triton-inference-server/openvino_backend
Python-based backends: https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/python_backend/README.html
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from arrays import ArrayModel, check_tensors
from batching import Parameters, default_threads

try:
    import openvino
except ImportError:  # an extra: the model that asks for it says so, the server runs on
    openvino = None

# Triton's configuration dtype -> OpenVINO's name of the element type
OPENVINO_TYPES = {
    "TYPE_BOOL": "boolean",
    "TYPE_UINT8": "u8",
    "TYPE_UINT16": "u16",
    "TYPE_UINT32": "u32",
    "TYPE_UINT64": "u64",
    "TYPE_INT8": "i8",
    "TYPE_INT16": "i16",
    "TYPE_INT32": "i32",
    "TYPE_INT64": "i64",
    "TYPE_FP16": "f16",
    "TYPE_FP32": "f32",
    "TYPE_FP64": "f64",
}
HINTS = {"YES": "bf16", "NO": "f32"}


class TritonPythonModel(ArrayModel):
    """One instance of one OpenVINO model on the CPU, in its own process."""

    def initialize(self, args: dict[str, str]) -> None:
        """Compile the model for the CPU.

        Args:
            args: Triton's instance facts: ``model_config`` (JSON), ``model_repository`` (the model's folder),
                ``model_version``.

        Raises:
            pb_utils.TritonModelException: the configuration or the model file cannot be served; the message names it.
        """
        config, path = self.configure(args, "model.xml")
        try:
            compiled = compile_model(path, options(config))
            self.inputs = _configured("input", config, compiled.inputs, complete=True)
            self.outputs = _configured("output", config, compiled.outputs, complete=False)
        except ValueError as error:
            raise pb_utils.TritonModelException(f"model '{self.name}': {error}") from error
        self.request = compiled.create_infer_request()
        pb_utils.Logger.log_info(f"model '{self.name}': {path.name} by OpenVINO {openvino.__version__}")

    def run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """One run of the model."""
        feed = {spec["name"]: array for spec, array in zip(self.inputs, inputs, strict=True)}
        answer = self.request.infer(feed)
        return [answer[spec["name"]] for spec in self.outputs]


def options(config: dict[str, Any]) -> dict[str, Any]:
    """Threads, streams and precision from the configuration, named as in the native backend.

    OpenVINO left to itself computes in bf16 where the processor can. Here ``HINT_BF16`` decides, and it is ``NO`` when
    it is not set: the same file gives the same numbers on every processor. OpenVINO would also pin its threads to
    cores, without knowing of other processes: all instances of one thread would share the first core.

    Raises:
        ValueError: a parameter has a value of the wrong kind.
    """
    parameters = Parameters(config)
    hint = ((config.get("parameters") or {}).get("HINT_BF16") or {}).get("string_value", "NO")
    if hint not in HINTS:
        raise ValueError(f"parameter HINT_BF16 must be YES or NO, got {hint!r}")
    return {
        "INFERENCE_NUM_THREADS": parameters.count("INFERENCE_NUM_THREADS", default_threads(config)),
        "NUM_STREAMS": parameters.count("NUM_STREAMS", 1),
        "INFERENCE_PRECISION_HINT": HINTS[hint],
        "ENABLE_CPU_PINNING": False,
    }


def compile_model(path: Path, how: dict[str, Any]) -> Any:
    """Read a model and compile it for the CPU.

    Raises:
        ValueError: OpenVINO is not installed, or the file is missing or not a model; the message names it.
    """
    if openvino is None:
        raise ValueError("the package openvino is not installed: pip install openvino")
    if not path.is_file():
        raise ValueError(f"no file {path}")
    try:
        return openvino.Core().compile_model(str(path), "CPU", how)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(f"{path} is not a model OpenVINO {openvino.__version__} can load: {reason}") from error


def _configured(role: str, config: dict[str, Any], ports: Sequence[Any], *, complete: bool) -> list[dict[str, Any]]:
    types = {port.any_name: port.element_type.get_type_name() for port in ports}
    return check_tensors(role, config[role], types, OPENVINO_TYPES, where="OpenVINO model", complete=complete)
