"""What dynamic batching gains under single requests, and what the load generator costs itself."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator

import numpy as np
from text_stack import one_form

from workshop import stack
from workshop.data.movies import load_movies
from workshop.loadtest.generator import open_loop
from workshop.loadtest.senders import encode_grpc, grpc_sender
from workshop.loadtest.tuning import Serving, Trial, served, trial
from workshop.settings import load_settings
from workshop.triton.client import TritonClient
from workshop.triton.endpoint import Endpoint
from workshop.triton.repository import read_config

CONCURRENCY, SECONDS, TURNS = 16, 4.0, 3
BATCHING_BAR = 1.5
RATE, PACED_SECONDS = 100.0, 10.0
COST_BAR = 2.0  # per cent of a core for 100 requests a second
UNBATCHED, BATCHED = Serving(2, 1, batching=False), Serving(2, 1)


def measure(ids: set[str]) -> Iterator[dict]:
    """Yield the results of the benchmarks asked for."""
    with one_form("torchscript_fp32") as (settings, maker):
        model = maker.forms["torchscript_fp32"].model
        texts = [movie.overview.split(". ")[0] for movie in load_movies(load_settings(), "default").movies][:400]
        with (
            stack.running(settings, ["triton"], models=[]),
            TritonClient.from_settings(settings, protocol="grpc") as client,
        ):
            pads = [maker.tokenizer.pad([ids_[:32]]) for ids_ in maker.tokenizer.encode([t for t in texts if t])]
            names = [spec.name for spec in model.inputs]
            requests = [encode_grpc(model, dict(zip(names, pair, strict=True))) for pair in pads]
            endpoint = Endpoint.from_settings(settings, "grpc")
            config = read_config(settings.model_repository / model.name)
            if "dynamic_batching" in ids:
                yield dynamic_batching(client, endpoint, requests, config)
            if "load_generator_cost" in ids:
                with served(client, config.name, BATCHED, config):
                    yield load_generator_cost(endpoint, requests)


def dynamic_batching(client, endpoint, requests, config) -> dict:
    """Single texts from 16 clients, with and without the dynamic batcher, in turns."""

    async def load(serving: Serving) -> Trial:
        async with grpc_sender(endpoint, requests) as send:
            return await trial(client, config.name, send, CONCURRENCY, SECONDS, serving)

    found: dict[Serving, list[Trial]] = {UNBATCHED: [], BATCHED: []}
    for _ in range(TURNS):
        for serving, trials in found.items():
            with served(client, config.name, serving, config):
                trials.append(asyncio.run(load(serving)))
    errors = sum(one.load.errors.total() for trials in found.values() for one in trials)
    plain, merged = (statistics.median(one.load.rate for one in trials) for trials in found.values())
    p95 = [statistics.median(one.load.percentile(95) for one in trials) for trials in found.values()]
    rows = statistics.median(one.server.batch_size for one in found[BATCHED])
    return {
        "id": "dynamic_batching",
        "value": merged,
        "unit": "texts/s",
        "peer": f"the same model without the dynamic batcher: {plain:.0f} texts/s",
        "ratio": merged / plain,
        "bar": f"ratio >= {BATCHING_BAR}",
        "holds": merged / plain >= BATCHING_BAR and not errors,
        "note": f"{CONCURRENCY} clients with one text a request, {BATCHED}; {rows:.1f} rows in a batch; p95 "
        f"{p95[1]:.0f} ms, without {p95[0]:.0f} ms; medians of {TURNS} turns, {errors} errors",
    }


def load_generator_cost(endpoint, requests) -> dict:
    """Processor time of an open loop at 100 requests a second: the generator alone, and with gRPC's library."""

    async def nothing(_: int) -> str:
        return ""

    async def paced() -> tuple[float, float, float]:
        alone = await open_loop(nothing, RATE, PACED_SECONDS)
        async with grpc_sender(endpoint, requests) as send:
            whole = await open_loop(send, RATE / 5, PACED_SECONDS)
        return _cost(alone), _cost(whole), float(np.mean([len(request) for request in requests]))

    alone, whole, size = asyncio.run(paced())
    return {
        "id": "load_generator_cost",
        "value": alone,
        "unit": "% of a core at 100 requests/s",
        "peer": None,
        "ratio": None,
        "bar": f"<= {COST_BAR} %",
        "holds": alone <= COST_BAR,
        "note": f"moments, tasks and latencies; with gRPC's own client library {whole:.1f} % (requests of {size:.0f} "
        f"bytes, at {RATE / 5:.0f} a second, per 100)",
    }


def _cost(load) -> float:
    return 100 * load.processor_seconds / load.seconds / (load.rate / 100)
