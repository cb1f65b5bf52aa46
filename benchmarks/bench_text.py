"""The served text models against the classic way and against sentence-transformers, and the zero-shot figures."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import tritonclient.http as triton_http
from peers import TextPeer, environment, exported_model
from sklearn.metrics import roc_auc_score
from text_stack import TEXT_ENSEMBLES, compared, rate, text_settings
from transformers import AutoTokenizer

from workshop import stack
from workshop.data.movies import load_movies
from workshop.errors import ModelError
from workshop.export.gates import row_cosines
from workshop.export.torchscript import load_traced, trace_and_save
from workshop.settings import Settings, load_settings
from workshop.text.classifier import ZeroShotClassifier
from workshop.text.embedder import TextEmbedder
from workshop.text.prepare import sentence_inputs, sentence_source
from workshop.text.prepare_forms import FormMaker
from workshop.text.sentence_bert import load_sentence_bert
from workshop.text.sources import cpu_has_bf16_units
from workshop.triton.client import TritonClient
from workshop.triton.signature import ModelSignature, TensorSpec

TEXTS, CLASSIC_TEXTS, LATENCY_CALLS = 1024, 96, 200
CLASSIC_LENGTH = 256
SHORT_TEXT = "a heist that goes wrong in winter"
# What runs beside the served model, and the environment it needs when it does not run in the workshop's own. There is
# no pool over OpenVINO: sentence-transformers pickles the model, and OpenVINO's models refuse that.
PEERS: dict[str, str | None] = {
    "fp32": None,
    "fp32 pool": None,
    "fp32 ONNX": "backends",
    "fp32 OpenVINO": "backends",
    "bf16": None,
    "bf16 pool": None,
    "bf16 OpenVINO": "backends",
    "fastembed": "fastembed",
    "fastembed sorted": "fastembed",
}
PEER_BATCHES = (8, 16, 32, 64, 128)
# how the served model may be asked: tokens a request, and requests under way
OUR_TOKENS, OUR_IN_FLIGHT = (1024, 2048, 4096), (2, 3, 4)
LEAST_COSINE = 0.999
# the served forms of a precision, of which the fastest is compared, as sentence-transformers is with its fastest
OURS = {
    "fp32": ("torchscript_fp32", "onnx_fp32", "openvino_fp32"),
    "bf16": ("torchscript_bf16", "openvino_bf16"),
}
CLASSIC = ModelSignature(
    name="classic_bert",
    platform="pytorch_libtorch",
    inputs=(
        TensorSpec("input_ids__0", "INT64", (1, CLASSIC_LENGTH)),
        TensorSpec("attention_mask__1", "INT64", (1, CLASSIC_LENGTH)),
    ),
    outputs=(TensorSpec("embedding__0", "FP32", (1, 384)),),
)


def measure(ids: set[str]) -> Iterator[dict]:
    """Yield the results of the benchmarks asked for."""
    movies = [movie for movie in load_movies(load_settings(), "default").movies if movie.overview]
    texts = [movie.overview for movie in movies[:TEXTS]]
    with served() as (settings, client, embed):
        if "text_like_for_like" in ids:
            with TritonClient.from_settings(settings) as tuned:
                yield text_like_for_like(settings, tuned, texts)
        if "embed_vs_one_by_one" in ids:
            yield embed_vs_one_by_one(embed, texts)
        if "embed_vs_classic" in ids:
            yield embed_vs_classic(settings, embed, texts)
        if "embed_min_cosine" in ids:
            yield embed_min_cosine(settings, embed, texts)
        if "ensemble_latency" in ids:
            yield ensemble_latency(settings, client)
        if "zero_shot_auc" in ids:
            yield zero_shot_auc(client, movies)


@contextmanager
def served() -> Iterator[tuple[Settings, TritonClient, TextEmbedder]]:
    """A stack of its own that serves the text models and the classic one."""
    with tempfile.TemporaryDirectory() as directory:
        settings = text_settings(Path(directory))
        trace_classic(settings)
        with (
            stack.running(settings, ["triton"], models=(*TEXT_ENSEMBLES, CLASSIC.name)),
            TritonClient.from_settings(settings) as client,
        ):
            yield settings, client, TextEmbedder(client)


def trace_classic(settings: Settings) -> None:
    """The model of the classic way: fp32, traced for one row of 256 tokens."""
    model = load_sentence_bert(sentence_source(settings), "fp32")

    def row(tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        mask = (torch.arange(CLASSIC_LENGTH) < tokens).to(torch.int64)[None]
        return torch.randint(1000, 20_000, (1, CLASSIC_LENGTH)) * mask, mask

    trace_and_save(
        model,
        CLASSIC,
        row(200),
        {"short": row(5), "full": row(CLASSIC_LENGTH)},
        settings.model_repository,
        source="the classic way",
        source_sha256="",
    )


def classic_embed(settings: Settings, texts: list[str]) -> np.ndarray:
    """One text a request, padded to 256 tokens, tensors as JSON over HTTP."""
    tokenizer = AutoTokenizer.from_pretrained(sentence_source(settings).folder, local_files_only=True)
    client = triton_http.InferenceServerClient(f"127.0.0.1:{settings.triton_http_port}")
    vectors = []
    for text in texts:
        encoded = tokenizer(text, padding="max_length", truncation=True, max_length=CLASSIC_LENGTH, return_tensors="np")
        inputs = []
        for name, key in (("input_ids__0", "input_ids"), ("attention_mask__1", "attention_mask")):
            tensor = triton_http.InferInput(name, [1, CLASSIC_LENGTH], "INT64")
            tensor.set_data_from_numpy(encoded[key].astype(np.int64), binary_data=False)
            inputs.append(tensor)
        outputs = [triton_http.InferRequestedOutput("embedding__0", binary_data=False)]
        vectors.append(client.infer(CLASSIC.name, inputs, outputs=outputs).as_numpy("embedding__0")[0])
    client.close()
    return np.array(vectors)


def embed_vs_one_by_one(embed: TextEmbedder, texts: list[str]) -> dict:
    """Throughput against one text a request in binary, to the same model: what batching by length is worth."""

    def one_by_one(some: list[str]) -> None:
        for text in some:
            embed([text])

    ours, single, ratio = compared(
        lambda: rate(embed, texts), lambda: rate(one_by_one, texts[:: len(texts) // CLASSIC_TEXTS])
    )
    return {
        "id": "embed_vs_one_by_one",
        "value": ours,
        "unit": "texts/s",
        "peer": "one text a request, unpadded, binary over gRPC, the same served model",
        "ratio": ratio,
        "bar": "ratio >= 1.5",
        "holds": ratio >= 1.5,
        "note": f"one by one {single:.0f} texts/s",
    }


def embed_vs_classic(settings: Settings, embed: TextEmbedder, texts: list[str]) -> dict:
    """Throughput against one padded text a request."""
    bar = 30 if cpu_has_bf16_units() else 8
    ours, classic, ratio = compared(
        lambda: rate(embed, texts), lambda: rate(lambda some: classic_embed(settings, some), texts[:CLASSIC_TEXTS])
    )
    return {
        "id": "embed_vs_classic",
        "value": ours,
        "unit": "texts/s",
        "peer": "one text a request, padded to 256, JSON over HTTP, fp32",
        "ratio": ratio,
        "bar": f"ratio >= {bar}",
        "holds": ratio >= bar,
        "note": f"classic {classic:.1f} texts/s",
    }


def text_like_for_like(settings: Settings, client: TritonClient, texts: list[str]) -> dict:
    """Throughput against the best ways of embedding in process, at the same precision and with the same threads.

    Both sides may choose the runtime: the served forms of the precision stand against sentence-transformers' backends.
    Every peer first finds its best batch size, and so does the fastest served form, together with the number of
    requests under way, which ``client`` keeps; then the peers of the precision take turns with that form. The ratio is
    that to the best of them, and the claim holds only where all of them give the same vectors. What runs in the other
    precision, fastembed with the same weights among it, embeds a quarter of the texts once and is told in the note;
    bf16 is left out where the processor has no units for it and takes many times as long.
    """
    precision = "bf16" if cpu_has_bf16_units() else "fp32"
    few = texts[: len(texts) // 4]
    embedders = served_forms(settings, client, OURS[precision])
    for embed in embedders.values():  # each instance prepares kernels for every shape it has not seen
        embed(texts)
        embed(texts)
    ours_by_form = {form: max(rate(embed, few) for _ in range(2)) for form, embed in embedders.items()}
    form = max(ours_by_form, key=ours_by_form.__getitem__)
    embed = embedders[form]
    for other in embedders.keys() - {form}:
        client.unload_model(embedders[other].model)
    order = tune(embed, few)
    expected = embed(texts)
    model = exported_model(settings, sentence_source(settings).folder)
    rates: dict[str, tuple[float, float, float]] = {}
    cosines: dict[str, float] = {}
    others: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as directory:
        for variant, needs in PEERS.items():
            if variant.startswith("bf16") and precision != "bf16":
                continue
            python = Path(sys.executable) if needs is None else environment(settings, needs)
            with TextPeer(python, variant, model, texts, Path(directory)) as peer:
                peer.tune(PEER_BATCHES, len(few))
                name = f"{variant}, batch {peer.batch}"
                if not variant.startswith(precision):
                    others[name] = peer.rate(len(few))
                    continue
                rates[name] = compared(lambda: rate(embed, texts), peer.rate)
            cosines[name] = float(row_cosines(expected, peer.vectors()).min())
    best = max(rates, key=lambda name: rates[name][1])
    ours, theirs, ratio = rates[best]
    bar = 1.5 if precision == "bf16" else 1.1
    forms = ", ".join(f"{name} {reached:.0f}" for name, reached in ours_by_form.items())
    peers = "; ".join(
        f"{name} {theirs:.0f} ({ratio:.2f} x, lowest cosine {cosines[name]:.4f})"
        for name, (_, theirs, ratio) in rates.items()
    )
    told = "; ".join(f"{name} {theirs:.0f}" for name, theirs in others.items())
    return {
        "id": "text_like_for_like",
        "value": ours,
        "unit": "texts/s",
        "peer": f"sentence-transformers {best}, in process: {theirs:.0f} texts/s",
        "ratio": ratio,
        "bar": f"ratio >= {bar}, cosine to every peer of the precision >= {LEAST_COSINE}",
        "holds": ratio >= bar and min(cosines.values()) >= LEAST_COSINE,
        "note": f"{precision}, {os.cpu_count()} threads each; served: {form}, the fastest of {forms} on a quarter of "
        f"the texts, {order}; peers: {peers}; in other precisions, a quarter of the texts once: {told}",
    }


def tune(embed: TextEmbedder, texts: list[str]) -> str:
    """Keep the order of work that embeds the texts fastest; returns it in words, with what the defaults reach."""
    default = embed.tokens_per_request, embed.client.in_flight
    rates = {}
    for tokens in OUR_TOKENS:
        embed.tokens_per_request = tokens
        embed(texts)  # each instance prepares kernels for shapes that it has not seen
        embed(texts)
        for in_flight in OUR_IN_FLIGHT:
            embed.client.in_flight = in_flight
            rates[tokens, in_flight] = rate(embed, texts)
    best = max(rates, key=rates.__getitem__)
    embed.tokens_per_request, embed.client.in_flight = best
    return (
        f"then asked with {best[0]} tokens a request and {best[1]} requests under way, the fastest of {len(rates)} "
        f"ways: {rates[best]:.0f}, with the usual {default[0]} and {default[1]} {rates[default]:.0f}"
    )


def served_forms(settings: Settings, client: TritonClient, names: Sequence[str]) -> dict[str, TextEmbedder]:
    """Make forms of the sentence model and load them; one whose runtime is not installed is left out, with a word."""
    maker = FormMaker(settings)
    embedders = {}
    for name in names:
        try:
            maker.make(name)
        except ModelError as error:
            print(f"{name} left out: {str(error).splitlines()[0]}", flush=True)
            continue
        model = maker.forms[name].model.name
        client.load_model(model)
        embedders[name] = TextEmbedder(client, model)
    return embedders


def embed_min_cosine(settings: Settings, embed: TextEmbedder, texts: list[str]) -> dict:
    """Lowest cosine of a served vector to the fp32 model."""
    source = sentence_source(settings)
    model, tokenizer = load_sentence_bert(source, "fp32"), source.tokenizer()
    with torch.no_grad():
        parts = [model(*sentence_inputs(tokenizer, texts[i : i + 32])) for i in range(0, len(texts), 32)]
    lowest = float((torch.cat(parts).numpy() * embed(texts)).sum(axis=1).min())
    return {
        "id": "embed_min_cosine",
        "value": lowest,
        "unit": "cosine",
        "peer": "the fp32 model in process",
        "ratio": None,
        "bar": ">= 0.999",
        "holds": lowest >= 0.999,
        "note": f"{len(texts)} overviews",
    }


def ensemble_latency(settings: Settings, client: TritonClient) -> dict:
    """Median latency of one short text, as a string, against tokenising and the same file in process."""
    tokenizer = sentence_source(settings).tokenizer()
    model = torch.jit.freeze(load_traced(settings.model_repository / "sentence_bert" / "1" / "model.pt"))

    def in_process() -> None:
        with torch.inference_mode():
            model(*sentence_inputs(tokenizer, [SHORT_TEXT]))

    served_ms = median_ms(lambda: client.infer("text_embedding", {"TEXT": [[SHORT_TEXT]]}))
    local_ms = median_ms(in_process)
    return {
        "id": "ensemble_latency",
        "value": served_ms,
        "unit": "ms",
        "peer": "tokenise and forward in process, same precision",
        "ratio": served_ms / local_ms,
        "bar": "ratio <= 3",
        "holds": served_ms / local_ms <= 3,
        "note": f"p50 of {LATENCY_CALLS}; in process {local_ms:.2f} ms",
    }


def median_ms(call: Callable[[], object]) -> float:
    """Median time of one call in milliseconds, after warming up."""
    times = []
    for _ in range(LATENCY_CALLS + 20):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times[20:])


def zero_shot_auc(client: TritonClient, movies: list) -> dict:
    """Macro ROC-AUC of the genres over all overviews, through the served classifier."""
    movies = [movie for movie in movies if movie.genres]
    genres = sorted({genre for movie in movies for genre in movie.genres})
    truth = np.array([[genre in movie.genres for genre in genres] for movie in movies])
    kept = [column for column in range(len(genres)) if truth[:, column].sum() >= 10]
    genres, truth = [genres[column] for column in kept], truth[:, kept]
    answers = ZeroShotClassifier(client)([movie.overview for movie in movies], genres)
    scores = np.array([[dict(zip(a.labels, a.scores, strict=True))[genre] for genre in genres] for a in answers])
    macro = float(np.mean([roc_auc_score(truth[:, column], scores[:, column]) for column in range(len(genres))]))

    def hit_at_3(order: np.ndarray) -> float:
        return float(np.take_along_axis(truth, order[:, :3], axis=1).any(axis=1).mean())

    frequent = np.tile(np.argsort(-truth.sum(axis=0)), (len(movies), 1))
    note = f"hit rate at 3: {hit_at_3(np.argsort(-scores, axis=1)):.3f}, most frequent genres {hit_at_3(frequent):.3f}"
    return {
        "id": "zero_shot_auc",
        "value": macro,
        "unit": "macro ROC-AUC",
        "peer": "guessing, 0.5",
        "ratio": macro / 0.5,
        "bar": ">= 0.68",
        "holds": macro >= 0.68,
        "note": f"{len(movies)} films, {len(genres)} genres; {note}",
    }
