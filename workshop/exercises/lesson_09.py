"""Checks of `09_serve_transformers`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workshop.exercises.answers import array, call, number, parts
from workshop.exercises.checking import Exercise
from workshop.exercises.verdict import Findings, right, wrong
from workshop.text.generation.client import Generated

PROMPTS = {
    "two prompts": ([[5, 6, 7], [8]], 0),
    "prompts in which the padding's number occurs": ([[3, 9], [4, 3, 3, 7], [3]], 3),
    "prompts of equal length": ([[1, 2], [3, 4]], 0),
}
LOGITS = {
    "at temperature 1": ([2.0, 1.0, 0.1], 1.0),
    "at temperature 0.5": ([2.0, 1.0, 0.1], 0.5),
    "at temperature 2": ([0.3, -1.0, 1.2, 0.0], 2.0),
    "at temperature 0": ([0.1, 3.0, 2.9], 0.0),
    "for logits of a thousand": ([1000.0, 999.0, -1000.0], 1.0),
}


def cut_off(answer: object, *, texts: Sequence[Generated]) -> Findings:
    """How many of the texts ended for their length."""
    value, cut = number(answer, "the answer"), sum(text.finish_reason == "length" for text in texts)
    if value == cut:
        yield right(f"{cut} of {len(texts)} texts were cut off")
    elif value != int(value):
        yield wrong(f"{value:g} is not a whole number of texts")
    elif value > len(texts):
        yield wrong(f"there are {len(texts)} texts, so {value:g} of them is too many: tokens?")
    else:
        yield wrong(f"{value:g} is not how many say that their length ended them")


def left_padding(answer: object) -> Findings:
    """A function ``(rows, pad)`` that gives ids and mask, both ``[rows, longest]``."""
    for name, (rows, pad) in PROMPTS.items():
        shape = (len(rows), max(map(len, rows)))
        ids, mask = parts(call(answer, [list(row) for row in rows], pad), ("ids", "mask"))
        ids, mask = array(ids, f"{name}: ids", shape), array(mask, f"{name}: mask", shape)
        wanted = np.array([[pad] * (shape[1] - len(row)) + row for row in rows])
        seen = np.arange(shape[1]) >= np.array([[shape[1] - len(row)] for row in rows])
        ends = [row[-1] for row in rows]
        if (ids == wanted).all():
            yield right(f"{name}: the ids stand at the right edge")
        elif ids[:, -1].tolist() != ends:
            yield wrong(f"{name}: a row does not end with the last token of its prompt")
        else:
            yield wrong(f"{name}: the ids are not those of the prompts, with {pad} before them")
        if (mask == seen).all():
            yield right(f"{name}: the mask tells tokens from padding")
        elif (mask == ~seen).all():
            yield wrong(f"{name}: the mask is the wrong way round: 1 is for tokens of the prompt")
        else:
            yield wrong(f"{name}: the mask does not say which places hold the prompt; ids cannot tell that, places can")


def temperature(answer: object) -> Findings:
    """A function ``(logits, temperature)`` that gives probabilities."""
    for name, (logits, degree) in LOGITS.items():
        found = array(call(answer, np.array(logits), degree), f"{name}: the result", (len(logits),)).astype(np.float64)
        expected = _probabilities(np.array(logits), degree)
        if not np.isfinite(found).all():
            yield wrong(f"{name}: {int((~np.isfinite(found)).sum())} of {len(found)} probabilities are no numbers")
        elif abs(found.sum() - 1) > 1e-6:
            yield wrong(f"{name}: the probabilities add up to {found.sum():.3f}")
        elif np.allclose(found, expected, atol=1e-6):
            yield right(f"{name}: right")
        else:
            sharper = found.max() > expected.max()
            yield wrong(f"{name}: the likeliest token gets too {'much' if sharper else 'little'}")


def _probabilities(logits: np.ndarray, degree: float) -> np.ndarray:
    if degree == 0:
        return (logits == logits.max()).astype(np.float64)
    powers = np.exp((logits - logits.max()) / degree)
    return powers / powers.sum()


EXERCISES = {
    "1": Exercise("Set `cut_off` in the cell above to a number.", cut_off),
    "2": Exercise("Give `pad_left` a body that returns ids and mask.", left_padding),
    "3": Exercise("Give `token_probabilities` a body that returns numbers.", temperature),
}
