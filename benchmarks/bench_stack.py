"""How long the local stack takes to start, and how much memory its Triton server needs.

Both are measured on a stack of their own, with its own ports and state, so a running stack is neither used nor harmed.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from text_stack import TEXT_ENSEMBLES, text_settings

from workshop import stack
from workshop.triton.client import TritonClient
from workshop.triton.repository import complete_models

START_BAR_SECONDS = 8.0
MEMORY_BAR_GB = 1.5
SENTENCE = "a storm keeps two rivals on an island where an old map leads to the ship of a lost king"
LABELS = np.array([["business", "science", "politics", "sport", "family", "war", "music"]], dtype=object)


def measure(ids: set[str]) -> Iterator[dict]:
    """Yield the results of the benchmarks asked for: ``stack_start`` (seconds) and ``server_memory`` (GB of 2**30)."""
    if "stack_start" in ids:
        yield measure_start()
    if "server_memory" in ids:
        yield measure_memory()


def measure_start() -> dict:
    """Start Triton with every text model, and the store, from nothing."""
    with tempfile.TemporaryDirectory() as directory:
        settings = text_settings(Path(directory))
        models = complete_models(settings.model_repository)
        start = time.perf_counter()
        with stack.running(settings) as statuses:
            seconds = time.perf_counter() - start
            failed = [name for status in statuses for name, state in status.models.items() if state != "READY"]
    note = f"{len(models)} models and the store" + (f"; failed: {', '.join(failed)}" if failed else "")
    return result("stack_start", seconds, "s", START_BAR_SECONDS, note, sound=not failed)


def measure_memory() -> dict:
    """Memory of the server and its model processes after it has answered texts of many lengths.

    Pages that the processes share (the libraries) are counted once: the sum of the proportional set sizes.
    """
    with tempfile.TemporaryDirectory() as directory:
        settings = text_settings(Path(directory))
        with stack.running(settings, ["triton"], models=TEXT_ENSEMBLES) as (status,):
            with TritonClient.from_settings(settings) as client:
                exercise(client)
            gigabytes = stack.memory_mb(settings.stack_dir, "triton") / 1024
    note = f"all text models, after 512 texts of 1 to 128 words; {status.memory_mb / 1024:.2f} GB before the first text"
    return result("server_memory", gigabytes, "GB", MEMORY_BAR_GB, note, sound=status.healthy)


def exercise(client: TritonClient) -> None:
    """Embed and classify texts of 1 to 128 words."""
    texts = [" ".join(np.resize(SENTENCE.split(), 1 + position % 128)) for position in range(512)]
    for start in range(0, len(texts), 32):
        batch = np.array([[text] for text in texts[start : start + 32]], dtype=object)
        client.infer("text_embedding", {"TEXT": batch})
    for text in texts[:64:8]:
        client.infer("zero_shot_text", {"TEXT": np.array([[text]], dtype=object), "LABELS": LABELS})


def result(identifier: str, value: float, unit: str, bar: float, note: str, *, sound: bool) -> dict:
    """One line of the results table; these figures have a bar but no peer."""
    return {
        "id": identifier,
        "value": round(value, 2),
        "unit": unit,
        "peer": None,
        "ratio": None,
        "bar": f"<= {bar} {unit}",
        "holds": sound and value <= bar,
        "note": note,
    }
