"""What a second server brings, and whether the simulator foretells what one, two and three servers do."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack

import numpy as np
from text_stack import one_form

from workshop.data.movies import load_movies
from workshop.errors import ServingError
from workshop.loadtest.senders import encode_grpc, grpc_sender
from workshop.loadtest.tuning import Serving
from workshop.scale import fleet
from workshop.scale.endpoints import EndpointPool
from workshop.scale.measure import Comparison, compare, least_outstanding, measure_service_times
from workshop.scale.simulator import Deployment
from workshop.settings import Settings, load_settings
from workshop.triton.client import TritonClient
from workshop.triton.endpoint import Endpoint
from workshop.triton.repository import read_config
from workshop.triton.signature import ModelSignature, TensorSpec, write_config

SCALING_BAR, ERROR_BAR = 1.7, 20.0
ROWS, TOKENS = 16, 128  # so much work that the client hardly counts
SHORT = 64  # tokens of the requests whose latency is predicted: more of them in a window
TURNS, SECONDS = 3, 12.0
LOADS = (0.3, 0.5, 0.7)
LOAD_SECONDS = 30.0
REPEATS = 60
DEVICE_ROWS = 4
DEVICE = ModelSignature(
    "device", (TensorSpec("x", "FP32", (4,)),), (TensorSpec("y", "FP32", (4,)),), "", "python", DEVICE_ROWS, 0, 1
)
# stands for an accelerator: the server waits for it, and three of them do not compete for two cores
DEVICE_CODE = """
import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        time.sleep(0.024 + 0.002 * sum(len(x) for x in inputs))
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", x)]) for x in inputs]
"""


def measure(ids: set[str]) -> Iterator[dict]:
    """Yield the results of the benchmarks asked for."""
    with one_form("torchscript_fp32") as (settings, maker):
        model = maker.forms["torchscript_fp32"].model
        texts = [
            movie.overview for movie in load_movies(load_settings(), "default").movies if len(movie.overview) > 700
        ]
        encoded = [ids_ for ids_ in maker.tokenizer.encode(texts[:400]) if len(ids_) >= TOKENS]
        names = [spec.name for spec in model.inputs]

        def rows(tokens: int) -> list[dict]:
            return [dict(zip(names, maker.tokenizer.pad([one[:tokens]]), strict=True)) for one in encoded]

        if "fleet_scaling" in ids:
            yield fleet_scaling(settings, model.name, rows(TOKENS))
        if "simulator_error" in ids:
            yield simulator_error(settings, model, rows(SHORT))


def fleet_scaling(settings: Settings, model: str, rows: Sequence[dict]) -> dict:
    """Texts a second of one server and of two, a core each, by the same client, in turns."""
    request = {name: np.concatenate([row[name] for row in rows[:ROWS]]) for name in rows[0]}
    first, second = sorted(os.sched_getaffinity(0))[:2]
    rates: dict[int, list[float]] = {1: [], 2: []}
    client_share = 0.0
    # the pool goes to the second server first, so that the client has the other core to itself while one serves
    with fleet.running(settings, 2, models=[model], cores=[[second], [first]]) as servers:
        for _ in range(TURNS):
            for count, found in rates.items():
                rate, share = _texts_per_second([server.grpc_url for server in servers[:count]], model, request)
                found.append(rate)
                client_share = max(client_share, share)
    one, two = (statistics.median(found) for found in rates.values())
    return {
        "id": "fleet_scaling",
        "value": two,
        "unit": "texts/s",
        "peer": f"one of the two servers, same client: {one:.1f} texts/s",
        "ratio": two / one,
        "bar": f"ratio >= {SCALING_BAR}",
        "holds": two / one >= SCALING_BAR,
        "note": f"MiniLM fp32, {ROWS} texts of {TOKENS} tokens a request, each server on its own core; the client, "
        f"an EndpointPool, shares these cores and used at most {100 * client_share:.1f} % of one; medians of {TURNS} "
        f"turns of {SECONDS:.0f} s",
    }


def _texts_per_second(urls: Sequence[str], model: str, request: dict) -> tuple[float, float]:
    """Rate of a pool, and the share of a core that this process used."""

    def endless() -> Iterator[dict]:
        while True:
            yield request

    with EndpointPool(urls, in_flight=2) as pool:
        answers = pool.infer_many(model, endless())
        for _ in range(2 * len(urls)):
            next(answers)
        began, used, count = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - began < SECONDS:
            next(answers)
            count += 1
        seconds, used = time.perf_counter() - began, time.process_time() - used
        answers.close()
    return count * ROWS / seconds, used / seconds


def simulator_error(settings: Settings, model: ModelSignature, rows: Sequence[dict]) -> dict:
    """Predicted and measured 95th percentile: a model that computes, one server; one that waits, one to three."""
    write_config(DEVICE, settings.model_repository)
    (settings.model_repository / DEVICE.name / "1").mkdir()
    (settings.model_repository / DEVICE.name / "1/model.py").write_text(DEVICE_CODE)
    x = np.ones((1, 4), np.float32)
    device = {count: [{"x": np.repeat(x, count, axis=0)}] for count in range(1, DEVICE_ROWS + 1)}
    first, second = sorted(os.sched_getaffinity(0))[:2]
    found: list[tuple[str, Comparison]] = []
    with fleet.running(settings, 3, models=[DEVICE.name]) as servers:
        for count in (1, 2, 3):
            urls = [server.grpc_url for server in servers[:count]]
            runs = asyncio.run(_compared(settings, urls, DEVICE, device, Deployment(count, rows=DEVICE_ROWS)))
            found += [(f"{count} x waiting", run) for run in runs]
    batches = _batches(rows)
    serving = Serving(1, 1, rows=max(batches)).applied_to(read_config(settings.model_repository / model.name))
    with fleet.running(settings, 1, models=[], cores=[[second]]) as (server,):
        with TritonClient.from_settings(settings, url=server.grpc_url) as client:
            client.load_model(model.name, serving)
        os.sched_setaffinity(0, [first])
        try:
            single = Deployment(rows=max(batches))
            runs = asyncio.run(_compared(settings, [server.grpc_url], model, batches, single))
            found += [("1 x computing", run) for run in runs]
        finally:
            os.sched_setaffinity(0, [first, second])
    errors = sum(run.measured.errors.total() for _, run in found)
    worst = max(found, key=lambda one: abs(one[1].error))
    shown = ", ".join(
        f"{what} at {run.rate:.0f}/s {run.measured.percentile(95):.1f} ms ({100 * run.error:+.0f} %)"
        for what, run in found
    )
    value = 100 * abs(worst[1].error)
    return {
        "id": "simulator_error",
        "value": value,
        "unit": "% of the measured p95",
        "peer": None,
        "ratio": None,
        "bar": f"<= {ERROR_BAR:.0f} %",
        "holds": value <= ERROR_BAR and not errors,
        "note": f"worst of: {shown}; loads of 30, 50 and 70 % of the capacity, {LOAD_SECONDS:.0f} s each, predicted "
        f"from the rate and from times of single batches; {errors} errors",
    }


def _batches(rows: Sequence[dict]) -> dict[int, list[dict]]:
    sizes = (1, 2, 4, 8)
    return {
        size: [
            {name: np.concatenate([row[name] for row in rows[start : start + size]]) for name in rows[0]}
            for start in range(0, min(len(rows), 40) - size, size)
        ]
        for size in sizes
    }


async def _compared(
    settings: Settings,
    urls: Sequence[str],
    model: ModelSignature,
    batches: dict[int, list[dict]],
    deployment: Deployment,
) -> list[Comparison]:
    requests = {rows: [encode_grpc(model, inputs) for inputs in given] for rows, given in batches.items()}
    async with AsyncExitStack() as stack:
        first = {
            rows: await stack.enter_async_context(grpc_sender(Endpoint(urls[0]), given))
            for rows, given in requests.items()
        }
        with TritonClient.from_settings(settings, url=urls[0]) as client:
            times = await measure_service_times(client, model.name, first, repeats=REPEATS)
        senders = [await stack.enter_async_context(grpc_sender(Endpoint(url), requests[1])) for url in urls]
        send = least_outstanding(senders)
        for number in range(3 * len(urls)):
            if problem := await send(number):
                raise ServingError(f"{urls}: {problem}")
        capacity = deployment.capacity(times)
        return [
            await compare(times, deployment, send, load * capacity, LOAD_SECONDS, seed=n)
            for n, load in enumerate(LOADS)
        ]
