"""Text generation on the Python backend: first token, tokens per second, batches, and what a cancelled stream costs."""

from __future__ import annotations

import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import requests

from workshop import stack
from workshop.settings import Settings, load_settings
from workshop.stack.private import private_settings
from workshop.text.generation.client import generate, stream
from workshop.text.generation.entries import generator_entries, write_entry
from workshop.text.generation.hub import find_hub_model
from workshop.text.generation.signatures import STREAM_SUFFIX
from workshop.text.generation.smollm2 import GGUF_FILE, prepare_smollm2
from workshop.triton.client import TritonClient

FIRST_TOKEN_BAR, RATE_BAR, QUANTISED_BAR, BATCH_BAR, CANCEL_BAR = 0.25, 20.0, 80.0, 4.0, 1
TOKENS, ROUNDS, CANCELS = 48, 5, 8
GENERATOR, BF16, QUANTISED = "generator", "generator_bf16", "generator_q4"
PRECISION = {GENERATOR: "fp32", BF16: "bf16"}
PROMPTS = [
    f"Write about {thing}." for thing in ("the sea", "bread", "a map", "winter", "bees", "iron", "music", "rain")
]


def measure(ids: set[str]) -> Iterator[dict]:
    """Yield the results of the benchmarks asked for; every engine answers in the same run, one after the other."""
    with served() as (settings, client):
        if ids & {"stream_first_token", "stream_rate"}:
            figures = {name: stream_figures(client, name) for name in (BF16, GENERATOR, QUANTISED)}
            if "stream_first_token" in ids:
                yield first_token(figures)
            if "stream_rate" in ids:
                yield rate(figures, memory_bandwidth())
        if "generate_batch" in ids:
            yield batch(client)
        if "cancel_latency" in ids:
            yield cancel(settings, client)


@contextmanager
def served() -> Iterator[tuple[Settings, TritonClient]]:
    """A stack of its own with SmolLM2 in fp32, in bf16, and in 4 bits under llama.cpp; all warm."""
    data_dir = load_settings().data_dir
    folder = prepare_smollm2(data_dir)
    model = find_hub_model(str(folder), "text-generation")
    with tempfile.TemporaryDirectory() as directory:
        settings = private_settings(Path(directory) / "stack", model_repository=Path(directory) / "repository")
        entries = [
            *generator_entries(model, data_dir, name=GENERATOR),
            *generator_entries(model, data_dir, name=BF16, precision="bf16"),
            *generator_entries(model, data_dir, name=QUANTISED, engine="llama.cpp", gguf_file=folder / GGUF_FILE),
        ]
        for entry in entries:
            write_entry(entry, settings.model_repository)
        names = [GENERATOR, *(name + STREAM_SUFFIX for name in (GENERATOR, BF16, QUANTISED))]
        with stack.running(settings, ["triton"], models=names), TritonClient.from_settings(settings) as client:
            for name in (GENERATOR, BF16, QUANTISED):
                list(stream(client, name, "Hello", parameters={"max_tokens": 4}))
            generate(client, GENERATOR, ["Hello"], parameters={"max_tokens": 4})
            yield settings, client


def stream_figures(client: TritonClient, model: str) -> tuple[float, float]:
    """Seconds to the first token, and tokens per second after it: the medians of several streams."""
    firsts, rates = [], []
    for prompt in PROMPTS[:ROUNDS]:
        start = time.perf_counter()
        times = [
            (time.perf_counter(), piece.tokens)
            for _, piece in stream(client, model, prompt, parameters={"max_tokens": TOKENS})
        ]
        firsts.append(times[0][0] - start)
        rates.append((times[-1][1] - times[0][1]) / (times[-1][0] - times[0][0]))
    return statistics.median(firsts), statistics.median(rates)


def memory_bandwidth() -> float:
    """GB a second that NumPy reads from memory: every token reads all weights once, which bounds its rate."""
    block = np.ones(2**27, dtype=np.float32)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        block.sum()
        seconds.append(time.perf_counter() - start)
    return block.nbytes / min(seconds) / 1e9


def best_torch(figures: dict[str, tuple[float, float]]) -> str:
    """The torch engine that streams faster: bf16 reads half the bytes, with units that not every processor has."""
    return max(PRECISION, key=lambda name: figures[name][1])


def first_token(figures: dict[str, tuple[float, float]]) -> dict:
    best = best_torch(figures)
    seconds = {PRECISION[name]: figures[name][0] for name in PRECISION}
    note = f"{PRECISION[best]}, the faster one here; " + ", ".join(f"{n} {s:.3f} s" for n, s in seconds.items())
    note += f", 4-bit llama.cpp {figures[QUANTISED][0]:.3f} s; p50 of {ROUNDS}"
    value = figures[best][0]
    return line("stream_first_token", value, "s", f"<= {FIRST_TOKEN_BAR} s", value <= FIRST_TOKEN_BAR, note)


def rate(figures: dict[str, tuple[float, float]], bandwidth: float) -> dict:
    best = best_torch(figures)
    value, quantised = figures[best][1], figures[QUANTISED][1]
    megabytes = {"fp32": 538, "bf16": 269, "4-bit": 98}
    bounds = ", ".join(f"{name} {1000 * bandwidth / size:.0f}" for name, size in megabytes.items())
    note = (
        f"torch, one stream, {PRECISION[best]}, the faster one here; "
        + ", ".join(f"{PRECISION[name]} {figures[name][1]:.1f}" for name in PRECISION)
        + f", 4-bit llama.cpp {quantised:.1f} (bar "
        f"{QUANTISED_BAR:g}); one core reads {bandwidth:.1f} GB/s, which would allow {bounds} tokens/s"
    )
    holds = value >= RATE_BAR and quantised >= QUANTISED_BAR
    return line("stream_rate", value, "tokens/s", f">= {RATE_BAR:g}, 4-bit >= {QUANTISED_BAR:g}", holds, note)


def batch(client: TritonClient) -> dict:
    """Eight prompts in one request against the same eight one by one, in turns."""
    parameters = {"max_tokens": TOKENS}
    alone, together = [], []
    for _ in range(3):
        start = time.perf_counter()
        one_by_one = [generate(client, GENERATOR, [prompt], parameters=parameters)[0][0] for prompt in PROMPTS]
        alone.append(time.perf_counter() - start)
        start = time.perf_counter()
        at_once = [answer for (answer,) in generate(client, GENERATOR, PROMPTS, parameters=parameters)]
        together.append(time.perf_counter() - start)
    same = sum(a.text == b.text for a, b in zip(one_by_one, at_once, strict=True))
    tokens = sum(answer.tokens for answer in at_once)
    value, peer = tokens / min(together), tokens / min(alone)
    note = f"fp32, 8 prompts, {tokens} tokens; {same} of 8 texts are the same both ways"
    found = line("generate_batch", value, "tokens/s", f"ratio >= {BATCH_BAR:g}", value / peer >= BATCH_BAR, note)
    return found | {"peer": f"one by one, {peer:.1f} tokens/s", "ratio": round(value / peer, 2)}


def cancel(settings: Settings, client: TritonClient) -> dict:
    """Tokens that the server makes after a stream was cancelled, from its own count."""
    surplus, seconds = [], []
    for _ in range(CANCELS):
        before = generated(settings)
        pieces = stream(client, GENERATOR, PROMPTS[0], parameters={"max_tokens": 200})
        received = next(tokens for tokens in (piece.tokens for _, piece in pieces) if tokens >= 5)
        start = time.perf_counter()
        pieces.close()
        # the place is free when the next stream gets its first token
        (_, piece), *_ = stream(client, GENERATOR, "Hi", parameters={"max_tokens": 1})
        seconds.append(time.perf_counter() - start)
        surplus.append(generated(settings) - before - received - piece.tokens)
    note = (
        f"most of {CANCELS} cancelled streams, median {statistics.median(surplus):g}; cancel, then a new stream's "
        f"first token: {statistics.median(seconds):.2f} s"
    )
    return line("cancel_latency", max(surplus), "tokens", f"<= {CANCEL_BAR}", max(surplus) <= CANCEL_BAR, note)


def generated(settings: Settings) -> float:
    """The server's count of tokens that the fp32 streams have made."""
    text = requests.get(f"http://127.0.0.1:{settings.triton_metrics_port}/metrics", timeout=10).text
    label = re.escape(f'model="{GENERATOR}{STREAM_SUFFIX}"')
    return float(re.search(rf"^generated_tokens\{{[^}}]*{label}[^}}]*\}} (\S+)$", text, re.MULTILINE).group(1))


def line(identifier: str, value: float, unit: str, bar: str, holds: bool, note: str) -> dict:
    """One line of the results table, without a peer."""
    return {
        "id": identifier,
        "value": round(value, 3),
        "unit": unit,
        "peer": None,
        "ratio": None,
        "bar": bar,
        "holds": bool(holds),
        "note": note,
    }
