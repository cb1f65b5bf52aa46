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
from workshop.text.sources import cpu_has_bf16_units
from workshop.triton.client import TritonClient
from workshop.triton.endpoint import Endpoint
from workshop.triton.repository import read_config

CONCURRENCY, SECONDS, TURNS = 16, 4.0, 3
TOKENS = 32  # of the longest text: with all texts as long, every request can be merged with every other
BATCHING_BAR = 1.5
RATE, PACED_SECONDS = 100.0, 10.0
COST_BAR = 2.0  # per cent of a core for 100 requests a second
UNBATCHED = Serving(2, 1, batching=False)
# each of two copies gets half of the clients at a time: what one batch answers is asked again as the next one
BATCHED = Serving(2, 1, delay_us=10_000, rows=CONCURRENCY // 2)


def measure(ids: set[str]) -> Iterator[dict]:
    """Yield the results of the benchmarks asked for."""
    form = "torchscript_bf16" if cpu_has_bf16_units() else "torchscript_fp32"  # as notebook 01 would trace it here
    with one_form(form) as (settings, maker):
        model = maker.forms[form].model
        texts = [movie.overview.split(". ")[0] for movie in load_movies(load_settings(), "default").movies][:400]
        with (
            stack.running(settings, ["triton"], models=[]),
            TritonClient.from_settings(settings, protocol="grpc") as client,
        ):
            token_ids = [ids_[:TOKENS] for ids_ in maker.tokenizer.encode([text for text in texts if text])]
            names = [spec.name for spec in model.inputs]

            def requests(least: int) -> list[bytes]:
                filler = [maker.tokenizer.pad_token_id] * least
                pads = ([array[:1] for array in maker.tokenizer.pad([one, filler])] for one in token_ids)
                return [encode_grpc(model, dict(zip(names, pair, strict=True))) for pair in pads]

            endpoint = Endpoint.from_settings(settings, "grpc")
            config = read_config(settings.model_repository / model.name)
            if "dynamic_batching" in ids:
                yield dynamic_batching(client, endpoint, {UNBATCHED: requests(0), BATCHED: requests(TOKENS)}, config)
            if "load_generator_cost" in ids:
                with served(client, config.name, BATCHED, config):
                    yield load_generator_cost(endpoint, requests(0))


def dynamic_batching(client, endpoint, requests, config) -> dict:
    """Single texts from 16 clients, with and without the dynamic batcher, in turns.

    Triton merges neighbours in its queue, and only while their shapes are equal: one shorter text in ten would halve
    the batches. So the merged texts are padded to one length; the others, sent alone, no further than they need. And a
    copy that comes free takes the first request that comes back at once, without the others that follow it: they are
    waited for, until half of the clients are there.
    """

    async def load(serving: Serving) -> Trial:
        async with grpc_sender(endpoint, requests[serving]) as send:
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
    shares = "; ".join(
        f"{'merged' if serving.batching else 'alone'} "
        + ", ".join(f"{part} {ms:.1f}" for part, ms in trials[-1].server.milliseconds().items())
        for serving, trials in found.items()
    )
    return {
        "id": "dynamic_batching",
        "value": merged,
        "unit": "texts/s",
        "peer": f"the same model without the dynamic batcher: {plain:.0f} texts/s",
        "ratio": merged / plain,
        "bar": f"ratio >= {BATCHING_BAR}",
        "holds": merged / plain >= BATCHING_BAR and not errors,
        "note": f"{CONCURRENCY} clients with one text a request, {BATCHED}, all padded to {TOKENS} tokens; {rows:.1f} "
        f"rows in a batch; p95 {p95[1]:.0f} ms, without {p95[0]:.0f} ms; medians of {TURNS} turns, {errors} errors; ms "
        f"a request in the server: {shares}",
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
        "bar": f"<= {COST_BAR} % without the client library",
        "holds": alone <= COST_BAR,
        "note": f"moments, tasks and latencies; with gRPC's own client library {whole:.1f} % (requests of {size:.0f} "
        f"bytes, at {RATE / 5:.0f} a second, per 100)",
    }


def _cost(load) -> float:
    return 100 * load.processor_seconds / load.seconds / (load.rate / 100)
