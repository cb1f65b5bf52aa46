"""Packages of PyTorch's ahead-of-time Inductor for the local tritonserver.

Triton's native backend serves them as ``platform: "torch_aoti"``, which the local server does not know yet. The local
stack therefore reads ``configs/local.pbtxt``, which names this backend. Tensors go by position, the native backend's
``ARGS[0]``, ``ARGS[1]`` ... and ``RESULT[0]`` ...

A package is machine code: it is loaded only where its sidecar says it was made for.

Native backend: https://github.com/triton-inference-server/pytorch_backend
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
import triton_python_backend_utils as pb_utils
from arrays import ArrayModel
from batching import Parameters, default_threads
from compiled_target import check, processor

TENSOR_NAMES = {"input": re.compile(r"ARGS\[(\d+)\]"), "output": re.compile(r"RESULT\[(\d+)\]")}


class TritonPythonModel(ArrayModel):
    """One instance of one package on the CPU, in its own process."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the package, after a look at what it was made for.

        Args:
            args: Triton's instance facts: ``model_config`` (JSON), ``model_repository`` (the model's folder),
                ``model_version``.

        Raises:
            pb_utils.TritonModelException: the configuration or the package cannot be served; the message names it.
        """
        config, path = self.configure(args, "model.pt2")
        try:
            threads = Parameters(config).count("INTRA_OP_THREAD_COUNT", default_threads(config))
            self.inputs = in_order("input", config["input"])
            self.outputs = in_order("output", config["output"])
            check(path, {**processor(), "torch": torch.__version__})
            torch.set_num_threads(threads)
            self.package = torch._inductor.aoti_load_package(str(path))
        except (ValueError, RuntimeError) as error:
            raise pb_utils.TritonModelException(f"model '{self.name}': {error}") from error
        pb_utils.Logger.log_info(f"model '{self.name}': {path.name}, {threads} threads")

    def run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """One run of the package."""
        with torch.inference_mode():
            return [result.numpy() for result in self.package(*(torch.from_numpy(array) for array in inputs))]


def in_order(role: str, specs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The configured tensors by the position in their names.

    Raises:
        ValueError: a name holds none, or the positions are not 0, 1, 2 ...
    """
    matches = [TENSOR_NAMES[role].fullmatch(spec["name"]) for spec in specs]
    positions = [int(match[1]) if match else -1 for match in matches]
    if sorted(positions) != list(range(len(specs))):
        wanted = TENSOR_NAMES[role].pattern.replace("\\", "").replace("(d+)", "0")
        raise ValueError(f"{role}s must be called {wanted} and so on, got {', '.join(spec['name'] for spec in specs)}")
    return [spec for _, spec in sorted(zip(positions, specs, strict=True), key=lambda pair: pair[0])]
