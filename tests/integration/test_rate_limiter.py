"""Triton's rate limiter, which notebook 14 tells of: models that need one resource take turns by their priority."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from workshop import stack
from workshop.loadtest.generator import closed_loop
from workshop.loadtest.senders import encode_grpc, grpc_sender
from workshop.settings import Settings
from workshop.stack import process
from workshop.stack.private import private_settings
from workshop.stack.triton import triton_service
from workshop.triton.client import TritonClient
from workshop.triton.endpoint import Endpoint

PRIORITIES = {"first": 1, "later": 4}
CLIENTS = 64
"""Of each model: so many that both have requests waiting at any time, on a busy machine too."""
INSTANCES = 4
"""Of each model: so many that one of them always asks for the turn. This server does not always wake an instance whose
requests wait."""
WINDOWS, LEAST_RATIO = 3, 2.0
"""Loads put on until the priorities show: on a busy machine one load may show what its processes wait for instead."""
# a turn lasts so long that what processes wait for each other on a busy machine does not count beside it
BUSY = """
import time
import triton_python_backend_utils as utils

class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            time.sleep(0.05)
            values = utils.get_input_tensor_by_name(request, "X").as_numpy()
            answers.append(utils.InferenceResponse([utils.Tensor("Y", values)]))
        return answers
"""
CONFIG = """
backend: "python"
input [ {{ name: "X" data_type: TYPE_FP32 dims: [ 1 ] }} ]
output [ {{ name: "Y" data_type: TYPE_FP32 dims: [ 1 ] }} ]
instance_group [ {{
  kind: KIND_CPU
  count: {instances}
  rate_limiter {{ resources [ {{ name: "turn" count: 1 }} ] priority: {priority} }}
}} ]
"""


@pytest.fixture
def limited(tmp_path) -> Iterator[Settings]:
    """A server with one turn to give, and two models that differ in nothing but their priority."""
    for name, priority in PRIORITIES.items():
        (tmp_path / "models" / name / "1").mkdir(parents=True)
        (tmp_path / "models" / name / "1" / "model.py").write_text(BUSY)
        (tmp_path / "models" / name / "config.pbtxt").write_text(CONFIG.format(priority=priority, instances=INSTANCES))
    settings = private_settings(tmp_path / "stack", model_repository=tmp_path / "models")
    service = triton_service(settings, list(PRIORITIES))
    options = ("--rate-limit=execution_count", "--rate-limit-resource=turn:1")
    process.start(replace(service, argv=(*service.argv, *options)))
    yield settings
    stack.down(settings, ["triton"])


def answered(settings: Settings, models: list[str]) -> dict[str, int]:
    """How many requests of each model are answered, by its name, while clients of each want all it has."""
    with TritonClient.from_settings(settings) as client:
        client.wait_ready(*models)
        requests = [encode_grpc(client.signature(model), {"X": np.zeros(1, np.float32)}) for model in models]

    async def load(request: bytes) -> int:
        async with grpc_sender(Endpoint.from_settings(settings, "grpc"), [request]) as send:
            found = await closed_loop(send, CLIENTS, 4, warm_up=1)
        assert not found.errors
        return found.completed

    async def run() -> dict[str, int]:
        return dict(zip(models, await asyncio.gather(*map(load, requests)), strict=True))

    return asyncio.run(run())


def test_models_take_turns_by_priority(limited):
    counts = []
    for _ in range(WINDOWS):
        count = answered(limited, list(PRIORITIES))
        counts.append(count)
        if count["first"] > LEAST_RATIO * count["later"]:
            break
    assert count["first"] > LEAST_RATIO * count["later"], counts  # 4 and more
    assert count["later"] > 2, "a lower priority waits longer, not for ever"
