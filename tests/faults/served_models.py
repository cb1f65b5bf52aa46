"""Models that take as long as they are told, and texts to vectors, for a server whose faults are looked at."""

from __future__ import annotations

import re
from pathlib import Path

import tiny_models
import torch

from workshop.triton.signature import EnsembleStep, ModelSignature, TensorSpec, write_config

QUEUE = 4
"""Requests that may wait for ``slow``."""
WIDTH = 8
"""Numbers in a vector of ``embed``."""

_SLOW = """
import time
from pathlib import Path

import triton_python_backend_utils as pb_utils

MARKS = Path({marks!r})


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            milliseconds = int(pb_utils.get_input_tensor_by_name(request, "MILLISECONDS").as_numpy().reshape(-1)[0])
            (MARKS / "begun").touch()
            end = time.monotonic() + milliseconds / 1000
            while time.monotonic() < end and not request.is_cancelled():
                time.sleep(0.005)
            if request.is_cancelled():
                (MARKS / "cancelled").touch()
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("SLEPT", pb_utils.get_input_tensor_by_name(request, "MILLISECONDS").as_numpy())]
            )
            for request in requests
        ]
"""

_EMBED = """
import hashlib

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            texts = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy().reshape(-1)
            digests = [np.frombuffer(hashlib.sha256(text).digest(), dtype="<u4") for text in texts]
            vectors = (np.array(digests) / 2**32 + 0.01).astype(np.float32)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("EMBEDDING", vectors)]))
        return responses
"""

NUMBER = (TensorSpec("MILLISECONDS", "INT32", (1,)),)
SLEPT = (TensorSpec("SLEPT", "INT32", (1,)),)


def _step(model: str, given: str, made: str) -> EnsembleStep:
    return EnsembleStep(model, {"MILLISECONDS": given}, {"SLEPT": made})


def _ensemble(name: str, *steps: EnsembleStep) -> ModelSignature:
    return ModelSignature(name, NUMBER, SLEPT, platform="ensemble", max_batch_size=1, steps=steps)


SIDE_BY_SIDE = _ensemble("side_by_side", _step("slow", "MILLISECONDS", "SLEPT"), _step("slow", "MILLISECONDS", "TOO"))
"""Not among ``NAMES``: when its step's queue overflows, the server may end."""
SIGNATURES = (
    ModelSignature("slow", NUMBER, SLEPT, backend="python", max_batch_size=1, queue_delay_us=0, instances=1),
    ModelSignature("quick", NUMBER, SLEPT, backend="python", max_batch_size=1, instances=1),
    _ensemble("first_step_slow", _step("slow", "MILLISECONDS", "SLEPT")),
    _ensemble("last_step_slow", _step("quick", "MILLISECONDS", "PASSED"), _step("slow", "PASSED", "SLEPT")),
    ModelSignature(
        "embed",
        (TensorSpec("TEXT", "BYTES", (1,)),),
        (TensorSpec("EMBEDDING", "FP32", (WIDTH,)),),
        backend="python",
        max_batch_size=64,
    ),
)
NAMES = ("scale", *(signature.name for signature in SIGNATURES))


class Scale(torch.nn.Module):
    """Multiplies, so that an answer tells which version gave it."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """float32 ``[rows, n]`` to the same shape."""
        return values * self.factor


def marks_folder(repository: Path) -> Path:
    """Where ``slow`` leaves its marks: outside the repository, since Triton loads anew what has changed."""
    return repository.with_name("marks")


def write_models(repository: Path) -> None:
    """Write every model of ``NAMES``; ``scale`` gets version 1, which multiplies by 1."""
    row = ("FP32", [-1])
    tiny_models.save_torch(repository, "scale", Scale(1.0), [("values__0", *row)], [("scaled__0", *row)], batch=8)
    for signature in SIGNATURES:
        write_config(signature, repository)
        (repository / signature.name / "1").mkdir()
    slow = repository / "slow"
    policy = f"default_queue_policy {{ max_queue_size: {QUEUE} }}"
    config = (slow / "config.pbtxt").read_text()
    (slow / "config.pbtxt").write_text(re.sub(r"dynamic_batching \{", f"dynamic_batching {{ {policy} ", config))
    marks_folder(repository).mkdir()
    code = _SLOW.format(marks=str(marks_folder(repository)))
    (slow / "1" / "model.py").write_text(code)
    (repository / "quick" / "1" / "model.py").write_text(code.replace("milliseconds / 1000", "0.0"))
    (repository / "embed" / "1" / "model.py").write_text(_EMBED)


def write_version(repository: Path, version: int, content: torch.nn.Module | bytes) -> Path:
    """Add a version to ``scale``: a module, or bytes in its place. Its hash is written beside either."""
    folder = repository / "scale" / str(version)
    folder.mkdir()
    if isinstance(content, bytes):
        (folder / "model.pt").write_bytes(content)
    else:
        torch.jit.script(content.eval()).save(str(folder / "model.pt"))
    tiny_models.vouch(folder / "model.pt")
    return folder
