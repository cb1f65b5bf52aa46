"""The forms of the sentence model, served: the best one, what it does to the task, and sentence-transformers' own."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
from peers import TextPeer, environment, exported_model
from text_stack import ROUNDS, compared, rate

from workshop import stack
from workshop.data.movies import load_movies
from workshop.errors import ModelError
from workshop.evaluate.forms import Task, recommend_form
from workshop.export import openvino
from workshop.export.gates import row_cosines
from workshop.export.neighbours import neighbour_overlap
from workshop.export.onnx_int8 import quantise_graph
from workshop.settings import Settings, load_settings
from workshop.stack.private import private_settings
from workshop.text.embedder import TextEmbedder
from workshop.text.prepare_forms import FormMaker
from workshop.text.sources import cpu_has_bf16_units
from workshop.triton.client import TritonClient

CHOOSING, JUDGED, CALIBRATING, RATED = 500, 500, 200, 128
REFERENCE = "torchscript_fp32"
PEERS = ("fp32 ONNX", "fp32 OpenVINO")
PEER_BATCHES = (8, 16, 32)
LEAST_OVERLAP, LEAST_SHARE, BAR = 0.95, 0.99, 1.5
ACTIVATION_GROUPS = (32, 384)  # numbers of a row that share a scale: OpenVINO's default, and the model's width


def measure(ids: set[str]) -> Iterator[dict]:
    """Yield the results of the benchmarks asked for; both come from the same measurement."""
    movies = [movie for movie in load_movies(load_settings(), "default").movies if movie.overview and movie.genres]
    order = np.random.default_rng(0).permutation(len(movies))
    parts = np.split(order, np.cumsum([CHOOSING, JUDGED, CALIBRATING]))
    choosing, judging, calibrating = ([movies[place] for place in part] for part in parts[:-1])
    tasks = Task(choosing), Task(judging)
    with served() as (settings, client):
        maker = FormMaker(settings, [movie.overview for movie in calibrating])
        (first, table), left_out = measured(maker, client, tasks)
        texts = tasks[1].texts
        peers = peer_rates(maker, TextEmbedder(client, maker.forms[REFERENCE].model.name), rated(texts))
        unserved = "left out as well" if "openvino_fp32" in left_out else openvino_int8(maker, texts)
    wanted = {"least_overlap": LEAST_OVERLAP, "least_share": LEAST_SHARE}
    best = recommend_form(first, **wanted)
    plain = recommend_form(first[[maker.forms[name].precision != "bf16" for name in first.index]], **wanted)
    shown = "; ".join(
        f"{name} {row.batched:.0f} texts/s ({row.batched / table.batched[REFERENCE]:.2f} x, overlap {row.overlap:.3f}, "
        f"genres {row.genre_overlap:.4f}, AUC {row.zero_shot_auc:.4f}, lowest cosine {row.least_cosine:.4f})"
        for name, row in table.iterrows()
    )
    ratio, plain_ratio = (float(table.batched[name] / table.batched[REFERENCE]) for name in (best, plain))
    if "best_form" in ids:
        yield {
            "id": "best_form",
            "value": float(table.batched[best]),
            "unit": "texts/s",
            "peer": f"TorchScript fp32, served: {table.batched[REFERENCE]:.0f} texts/s",
            "ratio": ratio,
            "bar": f"ratio >= {BAR}, at top-10 overlap >= {LEAST_OVERLAP}",
            "holds": ratio >= BAR,
            "note": f"{best}; of the forms without bf16 {plain}, {plain_ratio:.2f} x; "
            f"sentence-transformers: {peers}; all forms: {shown}; left out: {left_out or 'none'}; OpenVINO's int8, in "
            f"process and no form: {unserved}",
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
            "note": f"{best}; {JUDGED} films that took no part in the choice of the form, made on {CHOOSING} others, "
            f"nor in that of what int8 rounds; plain int8 {table.overlap['onnx_int8']:.3f}, selective int8 "
            f"{table.overlap['onnx_int8_selective']:.3f}",
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


def measured(maker: FormMaker, client: TritonClient, tasks: Sequence[Task]) -> tuple[list[pd.DataFrame], str]:
    """A row a form that can be made here; each takes turns with TorchScript fp32, and its rate is scaled by it.

    The rate is that of some of the last task's overviews as ``TextEmbedder`` sends them, tokenising included.

    Returns:
        A table a task, and which forms they lack and why, in words. A bf16 form is left out where the processor has no
        units for it: TorchScript then takes many times as long, and OpenVINO computes in float32.
    """
    references, texts = [maker.vectors(task.texts) for task in tasks], rated(tasks[-1].texts)
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
        rows[name] = [
            vars(task.effect(embedders[name](task.texts), embedders[name](task.hypotheses), reference))
            for task, reference in zip(tasks, references, strict=True)
        ]
        if name != REFERENCE:
            rates.append([(rate(embedders[REFERENCE], texts), rate(embedders[name], texts)) for _ in range(ROUNDS)])
            client.unload_model(form.model.name)
    base = statistics.median(first for pairs in rates for first, _ in pairs)
    names = [name for name in rows if name != REFERENCE]
    batched = {REFERENCE: base}
    for name, pairs in zip(names, rates, strict=True):
        batched[name] = base * statistics.median(other / first for first, other in pairs)
    words = ", ".join(f"{name} ({why})" for name, why in left_out.items())
    tables = [pd.DataFrame(dict(zip(rows, effects, strict=True))).T for effects in zip(*rows.values(), strict=True)]
    return [table.assign(batched=pd.Series(batched)) for table in tables], words


def rated(texts: list[str]) -> list[str]:
    """The texts whose embedding is timed."""
    return texts[:: max(1, len(texts) // RATED)][:RATED]


def peer_rates(maker: FormMaker, reference: TextEmbedder, texts: list[str]) -> str:
    """What sentence-transformers' own backends reach in process, in words: each at its best batch size, and in turns
    with the served TorchScript fp32."""
    own = load_settings()  # where the peers' environments are kept
    model = exported_model(own, maker.source.folder)
    python = environment(own, "backends")
    found = []
    with tempfile.TemporaryDirectory() as directory:
        for variant in PEERS:
            with TextPeer(python, variant, model, texts, Path(directory)) as peer:
                peer.tune(PEER_BATCHES, len(texts) // 2)
                theirs, _, ratio = compared(peer.rate, lambda: rate(reference, texts))
            found.append(f"{variant} {theirs:.0f} texts/s ({ratio:.2f} x)")
    return ", ".join(found) + f" in process, {os.cpu_count()} threads"


# --- what OpenVINO makes of int8 ------------------------------------------------------------------------------
def openvino_int8(maker: FormMaker, texts: list[str]) -> str:
    """Each way to int8 that needs no further package, beside fp32 and bf16, in words: in process, all in turns.

    Rows go in batches of like length. Rates are of a quarter of the batches, cosine and overlap of all texts.
    """
    library, feeds = openvino.library(), maker.feeds(texts)
    core, timed = library.Core(), feeds[::4]
    rows = sum(len(next(iter(feed.values()))) for feed in timed)
    with tempfile.TemporaryDirectory() as folder:

        def read(graph: onnx.ModelProto) -> Any:
            onnx.save(graph, Path(folder) / "model.onnx")
            return core.read_model(Path(folder) / "model.onnx")

        ways: dict[str, tuple[Callable[[], Any], str, int]] = {
            "fp32": (lambda: read(maker.graph), "f32", 0),
            "bf16": (lambda: read(maker.graph), "bf16", 0),
            "graph of onnx_int8": (lambda: read(quantise_graph(maker.graph)), "f32", 0),
            "int8 weights": (lambda: round_weights(read(maker.graph)), "bf16", 0),
        } | {
            f"int8 weights, activations by {group}": (lambda: round_weights(read(maker.graph)), "f32", group)
            for group in ACTIVATION_GROUPS
        }
        options = {"INFERENCE_NUM_THREADS": os.cpu_count(), "NUM_STREAMS": 1}
        compiled = {
            name: core.compile_model(
                make(),
                "CPU",
                {**options, "INFERENCE_PRECISION_HINT": hint, "DYNAMIC_QUANTIZATION_GROUP_SIZE": group},
            )
            for name, (make, hint, group) in ways.items()
        }
    vectors = {name: np.concatenate([run(feed)[0] for feed in feeds]) for name, run in compiled.items()}
    turns = [{name: _rows_a_second(run, timed, rows) for name, run in compiled.items()} for _ in range(ROUNDS)]
    return "; ".join(
        f"{name} {statistics.median(turn[name] for turn in turns):.0f} texts/s "
        f"({statistics.median(turn[name] / turn['bf16'] for turn in turns):.2f} x bf16, overlap "
        f"{neighbour_overlap(vectors['fp32'], vectors[name]):.3f}, lowest cosine "
        f"{row_cosines(vectors['fp32'], vectors[name]).min():.4f})"
        for name in ways
    )


def round_weights(model: Any) -> Any:
    """Round the matrices of an OpenVINO model to int8, in place, a scale a column: what nncf calls compression."""
    from openvino import opset13 as op

    for node in model.get_ordered_ops():
        if node.get_type_name() != "MatMul" or node.input_value(1).get_node().get_type_name() != "Constant":
            continue
        weights = node.input_value(1).get_node().get_data()
        summed = 1 if node.get_attributes()["transpose_b"] else 0
        scale = np.abs(weights).max(axis=summed, keepdims=True) / 127
        whole = op.convert(op.constant(np.round(weights / scale).astype(np.int8)), "f32")
        node.input(1).replace_source_output(op.multiply(whole, op.constant(scale)).output(0))
    return model


def _rows_a_second(run: Callable[[Any], Any], feeds: list[Any], rows: int) -> float:
    started = time.perf_counter()
    for feed in feeds:
        run(feed)
    return rows / (time.perf_counter() - started)
