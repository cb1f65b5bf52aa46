"""The sentiment classifier beside its rivals, and its ONNX ensemble beside the TorchScript one."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from workshop import stack
from workshop.data.sentiment import load_movie_snippets, split_reviews
from workshop.evaluate.sentiment import calibration
from workshop.evaluate.sentiment_training import FINE_TUNED, TFIDF, VADER, compare
from workshop.settings import load_settings
from workshop.stack.private import private_settings
from workshop.text.sentiment.checkpoint import load_published
from workshop.text.sentiment.client import SentimentClient
from workshop.text.sentiment.prepare import prepare_sentiment
from workshop.text.sentiment.signatures import END_TO_END_ONNX, END_TO_END_PYTORCH
from workshop.text.sentiment.training import predict
from workshop.text.sources import minilm_source
from workshop.triton.client import TritonClient

REVIEWS, ROUNDS, BAR = 256, 7, 0.835


def measure(ids: set[str]) -> Iterator[dict]:
    """Yield the results of the benchmarks asked for."""
    if "sentiment_accuracy" in ids:
        yield sentiment_accuracy()
    if "sentiment_onnx" in ids:
        yield sentiment_onnx()


def sentiment_accuracy() -> dict:
    """Held-out accuracy of the published weights, and what it gains on the rivals trained on the same split."""
    settings, source = load_settings(), minilm_source()
    train, test = split_reviews(load_movie_snippets(settings, "default"))
    model, _ = load_published(settings, source)
    probabilities = predict(model, source, test.texts)
    _, verdicts = compare(source, train, test, probabilities)
    ours = verdicts[FINE_TUNED]
    ahead = {name: ours.ahead_of[name] for name in (VADER, TFIDF)}
    error = calibration(probabilities[test.decided], test.labels[test.decided]).error
    return {
        "id": "sentiment_accuracy",
        "value": ours.accuracy.mean,
        "unit": "held-out accuracy",
        "peer": f"{TFIDF}: {verdicts[TFIDF].accuracy.mean:.3f}",
        "ratio": ours.accuracy.mean / verdicts[TFIDF].accuracy.mean,
        "bar": f">= {BAR}, ahead of {VADER} and {TFIDF} by intervals above 0",
        "holds": ours.accuracy.mean >= BAR and all(interval.low > 0 for interval in ahead.values()),
        "note": f"{ours.accuracy}; "
        + "; ".join(f"{name} {verdict.accuracy}" for name, verdict in verdicts.items() if name != FINE_TUNED)
        + "; ahead of "
        + "; ".join(f"{name} by {interval}" for name, interval in ahead.items())
        + f"; rank correlation with ratings {ours.rank_correlation:.3f}; calibration error {error:.3f}",
    }


def sentiment_onnx() -> dict:
    """Reviews per second through the ONNX ensemble and through the TorchScript one, in turns on one server."""
    with tempfile.TemporaryDirectory() as directory:
        settings = private_settings(Path(directory) / "stack", model_repository=Path(directory) / "repository")
        prepare_sentiment(settings)
        texts = load_movie_snippets(settings, "default").texts[:REVIEWS]
        names = [END_TO_END_ONNX.name, END_TO_END_PYTORCH.name]
        with stack.running(settings, ["triton"], models=names), TritonClient.from_settings(settings) as client:
            rates: dict[str, list[float]] = {name: [] for name in names}
            for turn in range(ROUNDS + 1):
                for name in names:
                    started = time.perf_counter()
                    SentimentClient(client, name)(texts)
                    if turn:  # the first one warms up
                        rates[name].append(len(texts) / (time.perf_counter() - started))
    onnx, torchscript = (statistics.median(rates[name]) for name in names)
    return {
        "id": "sentiment_onnx",
        "value": onnx,
        "unit": "reviews/s",
        "peer": f"the TorchScript ensemble: {torchscript:.0f} reviews/s",
        "ratio": onnx / torchscript,
        "bar": "ratio >= 1",
        "holds": onnx >= torchscript,
        "note": f"{REVIEWS} snippets, median of {ROUNDS} turns",
    }
