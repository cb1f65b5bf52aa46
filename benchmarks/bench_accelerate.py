"""The forms of the sentence model, served: the best one, what it does to the task, and sentence-transformers' own."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from peers import TextPeer, environment, exported_model

from workshop import stack
from workshop.data.movies import load_movies
from workshop.errors import ModelError
from workshop.evaluate.forms import Task, recommend_form
from workshop.settings import Settings, load_settings
from workshop.stack.private import private_settings
from workshop.text.embedder import TextEmbedder
from workshop.text.prepare_forms import FormMaker
from workshop.text.sources import cpu_has_bf16_units
from workshop.triton.client import TritonClient

JUDGED, CALIBRATING, RATED, ROUNDS = 500, 200, 128, 3
REFERENCE = "torchscript_fp32"
PEERS = ("fp32 ONNX", "fp32 OpenVINO")
PEER_BATCHES = (8, 16, 32)
LEAST_OVERLAP, LEAST_SHARE, BAR = 0.95, 0.99, 1.5


def measure(ids: set[str]) -> Iterator[dict]:
    """Yield the results of the benchmarks asked for; both come from the same measurement."""
    movies = [movie for movie in load_movies(load_settings(), "default").movies if movie.overview and movie.genres]
    order = np.random.default_rng(0).permutation(len(movies))
    task = Task([movies[place] for place in order[:JUDGED]])
    calibration = [movies[place].overview for place in order[JUDGED : JUDGED + CALIBRATING]]
    with served() as (settings, client):
        maker = FormMaker(settings, calibration)
        table, left_out = measured(maker, client, task)
        peers = peer_rates(maker, rated(task.texts))
    best = recommend_form(table, least_overlap=LEAST_OVERLAP, least_share=LEAST_SHARE)
    shown = "; ".join(
        f"{name} {row.batched:.0f} texts/s ({row.batched / table.batched[REFERENCE]:.2f} x, overlap {row.overlap:.3f}, "
        f"genres {row.genre_overlap:.4f}, AUC {row.zero_shot_auc:.4f}, lowest cosine {row.least_cosine:.4f})"
        for name, row in table.iterrows()
    )
    ratio = float(table.batched[best] / table.batched[REFERENCE])
    if "best_form" in ids:
        yield {
            "id": "best_form",
            "value": float(table.batched[best]),
            "unit": "texts/s",
            "peer": f"TorchScript fp32, served: {table.batched[REFERENCE]:.0f} texts/s",
            "ratio": ratio,
            "bar": f"ratio >= {BAR}, at top-10 overlap >= {LEAST_OVERLAP}",
            "holds": ratio >= BAR,
            "note": f"{best}; sentence-transformers: {peers}; all forms: {shown}; left out: {left_out or 'none'}",
        }
    if "best_form_overlap" in ids:
        overlap = float(table.overlap[best])
        yield {
            "id": "best_form_overlap",
            "value": overlap,
            "unit": "top-10 overlap",
            "peer": "the float32 model in process",
            "ratio": None,
            "bar": f">= {LEAST_OVERLAP}",
            "holds": overlap >= LEAST_OVERLAP,
            "note": f"{best}; {JUDGED} films that took no part in the choice of what int8 rounds; plain int8 "
            f"{table.overlap['onnx_int8']:.3f}, selective int8 {table.overlap['onnx_int8_selective']:.3f}",
        }


@contextmanager
def served() -> Iterator[tuple[Settings, TritonClient]]:
    """A stack of its own, over a repository that is empty and stays this run's."""
    with tempfile.TemporaryDirectory() as directory:
        repository = Path(directory) / "repository"
        repository.mkdir()
        settings = private_settings(Path(directory) / "stack", model_repository=repository)
        with stack.running(settings, ["triton"], models=[]), TritonClient.from_settings(settings) as client:
            yield settings, client


def measured(maker: FormMaker, client: TritonClient, task: Task) -> tuple[pd.DataFrame, str]:
    """A row a form that can be made here; each takes turns with TorchScript fp32, and its rate is scaled by it.

    The rate is that of some of the films' overviews as ``TextEmbedder`` sends them, tokenising included.

    Returns:
        The table, and which forms it lacks and why, in words. A bf16 form is left out where the processor has no units
        for it: TorchScript then takes many times as long, and OpenVINO computes in float32.
    """
    reference, texts = maker.vectors(task.texts), rated(task.texts)
    embedders, rows, rates, left_out = {}, {}, [], {}
    for name, form in maker.forms.items():
        if form.device != "cpu":
            continue
        if form.precision == "bf16" and not cpu_has_bf16_units():
            left_out[name] = "no bf16 units"
            continue
        try:
            maker.make(name)
        except ModelError as error:  # a runtime or a compiler that is not here
            left_out[name] = str(error).splitlines()[0]
            continue
        client.load_model(form.model.name)
        embedders[name] = TextEmbedder(client, form.model.name)
        rows[name] = vars(task.effect(embedders[name](task.texts), embedders[name](task.hypotheses), reference))
        if name != REFERENCE:
            rates.append([(rate(embedders[REFERENCE], texts), rate(embedders[name], texts)) for _ in range(ROUNDS)])
            client.unload_model(form.model.name)
    base = statistics.median(first for pairs in rates for first, _ in pairs)
    names = [name for name in rows if name != REFERENCE]
    batched = {REFERENCE: base}
    for name, pairs in zip(names, rates, strict=True):
        batched[name] = base * statistics.median(other / first for first, other in pairs)
    words = ", ".join(f"{name} ({why})" for name, why in left_out.items())
    return pd.DataFrame(rows).T.assign(batched=pd.Series(batched)), words


def rated(texts: list[str]) -> list[str]:
    """The texts whose embedding is timed."""
    return texts[:: max(1, len(texts) // RATED)][:RATED]


def rate(embed: TextEmbedder, texts: list[str]) -> float:
    """Texts a second of one pass."""
    started = time.perf_counter()
    embed(texts)
    return len(texts) / (time.perf_counter() - started)


def peer_rates(maker: FormMaker, texts: list[str]) -> str:
    """What sentence-transformers' own backends reach in process, each at its best batch size, in words."""
    own = load_settings()  # where the peers' environments are kept
    model = exported_model(own, maker.source.folder)
    python = environment(own, "backends")
    found = []
    with tempfile.TemporaryDirectory() as directory:
        for variant in PEERS:
            with TextPeer(python, variant, model, texts, Path(directory)) as peer:
                peer.tune(PEER_BATCHES, len(texts) // 2)
                found.append(f"{variant} {statistics.median(peer.rate() for _ in range(ROUNDS)):.0f} texts/s")
    return ", ".join(found) + f" in process, {os.cpu_count()} threads"
