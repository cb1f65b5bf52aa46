"""Checks of `02_trace_zero_shot`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from workshop.exercises.answers import array, call, number
from workshop.exercises.checking import Exercise
from workshop.exercises.verdict import Findings, right, wrong
from workshop.triton.client import TritonClient

SURE = 0.90
LABELS = ["music", "weather", "money"]
TEXTS = [
    "It has rained since Monday",
    "The orchestra played until midnight",
    "The bank raised its rates",
    "Snow at last",
]


def encodings(answer: object, *, films: int, genres: int, rows: int) -> Findings:
    """How many sentences are encoded for films and genres, in requests of at most ``rows`` films."""
    value, requests = number(answer, "the answer"), math.ceil(films / rows)
    explained = {
        films + requests * genres: right(f"{films} texts once, and the labels once for each of {requests} requests"),
        films + films * genres: wrong("so many it would be without `torch.unique`: a label for every text"),
        films + genres: wrong("so many it would be if all films fitted into one request"),
        films + films // rows * genres: wrong("the last request, which is not full, needs its labels too"),
        requests * genres: wrong("these are the labels; the texts are encoded too"),
    }
    yield explained.get(value, wrong(f"{value:g} is not the texts once and the labels once a request"))


def scale_for_probability(answer: object, *, scores: object) -> Findings:
    """The scale at which the best label has the probability ``SURE``. ``scores`` are the cosines ``[labels]``."""
    scale = number(answer, "the scale")
    cosines = array(scores, "scores", (None,)).astype(np.float64)
    powers = np.exp(scale * (cosines - cosines.max()))
    probability = float(powers[cosines.argmax()] / powers.sum())
    if abs(probability - SURE) <= 0.005:
        yield right(f"at this scale the best label has the probability {probability:.3f}")
    else:
        less = probability < SURE
        yield wrong(
            f"at the scale {scale:g} the best label has the probability {probability:.3f}, "
            f"and the model looks {'less' if less else 'more'} sure than asked for"
        )


def score_table(answer: object, *, client: TritonClient, templates: Sequence[str]) -> Findings:
    """A function of texts, labels and templates that gives the mean of the scores, ``[texts, labels]``."""
    tables = [_asked(client, template) for template in templates]
    for name, count in (("with one template", 1), (f"with {len(templates)} templates", len(templates))):
        expected = np.mean(tables[:count], axis=0)
        found = call(answer, list(TEXTS), list(LABELS), list(templates[:count]))
        yield from _compared(array(found, f"{name} the result", expected.shape), expected, name)


def _asked(client: TritonClient, template: str) -> np.ndarray:
    each = {"LABELS": [LABELS] * len(TEXTS), "TEMPLATE": [[template]] * len(TEXTS)}
    return client.infer("zero_shot_text", {"TEXT": [[text] for text in TEXTS], **each})["SCORES"]


def _compared(found: np.ndarray, expected: np.ndarray, when: str) -> Findings:
    if np.allclose(found, expected, atol=5e-3):
        yield right(f"{when}: every score is in its place")
    elif np.allclose(np.sort(found, axis=1), np.sort(expected, axis=1), atol=5e-3):
        yield wrong(f"{when}: the scores are right and stand in another order than the labels")
    elif found.min() >= 0 and (np.allclose(found.sum(axis=1), 1, atol=1e-3) or found.max() > 1):
        yield wrong(f"{when}: these are not cosines. Which output was it?")
    else:
        yield wrong(f"{when}: not the mean of the scores of these texts and labels")


EXERCISES = {
    "1": Exercise("Set `encodings` in the cell above to a number.", encodings),
    "2": Exercise("Set `sure_scale` in the cell above to a number.", scale_for_probability),
    "3": Exercise("Give `scores_for` a body that returns an array.", score_table),
}
