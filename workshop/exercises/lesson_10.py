"""Checks of `10_serve_vit_two_ways`."""

from __future__ import annotations

import numpy as np
from transformers import ViTConfig

from workshop.exercises.answers import RefusedError, array, call, number, parts
from workshop.exercises.checking import Exercise
from workshop.exercises.verdict import Findings, right, wrong


def hidden_vectors(answer: object, *, config: ViTConfig) -> Findings:
    """How many vectors a ViT has for one picture: its patches, and one for the whole."""
    value, side = number(answer, "the answer"), config.image_size // config.patch_size
    if value == side**2 + 1:
        yield right(f"{side} x {side} patches, and one for the whole picture")
    elif value == side**2:
        yield wrong("these are the patches; one vector more stands for the whole picture")
    elif value == side + 1:
        yield wrong("this is one row of patches; they cover a square")
    elif value == config.image_size**2 + 1:
        yield wrong("this would be a vector for each pixel")
    else:
        yield wrong(f"{value:g} is not the patches of the picture and one more")


def vote(answer: object, *, numbers: np.ndarray, stored: np.ndarray) -> Findings:
    """A function ``(numbers, labels)``: the most frequent label of each row of neighbours."""
    rng = np.random.default_rng(0)
    made_up = rng.integers(12, size=(40, 7)), rng.integers(4, size=12) + 3
    for name, (asked, labels) in {"made-up neighbours": made_up, "the notebook's": (numbers, stored)}.items():
        found = array(call(answer, asked.copy(), labels.copy()), f"{name}: the result", (len(asked),))
        counts = [np.bincount(row) for row in labels[asked]]
        good = [said in np.flatnonzero(count == count.max()) for said, count in zip(found, counts, strict=True)]
        if all(good):
            yield right(f"{name}: every row gets its most frequent label")
        elif not np.isin(found, labels).all():
            yield wrong(f"{name}: {found[~np.isin(found, labels)][0]} is no label at all")
        else:
            yield wrong(f"{name}: {len(good) - sum(good)} of {len(good)} rows get a label that another one outnumbers")


def int8_weights(answer: object) -> Findings:
    """A function of float weights that gives int8 weights and their scale."""
    rng = np.random.default_rng(0)
    cases = {
        "a random matrix": rng.normal(size=(16, 8)),
        "one large negative weight": np.array([[-4.0, 0.5], [1.0, 0.1]]),
        "zeros": np.zeros((2, 3)),
    }
    for name, weights in cases.items():
        weights = weights.astype(np.float32)
        with np.errstate(all="ignore"):  # what goes wrong, the findings say
            integers, scale = parts(call(answer, weights.copy()), ("integers", "scale"))
        integers = array(integers, f"{name}: the integers", weights.shape)
        scale = number(scale, f"{name}: the scale")
        if scale <= 0:
            yield wrong(f"{name}: the scale is {scale:g}, and weights are divided by it")
            continue
        if integers.dtype != np.int8:
            raise RefusedError(f"{name}: the integers should be int8, and are {integers.dtype}")
        yield from _restored(integers.astype(np.float64) * scale, weights, name)


def _restored(restored: np.ndarray, weights: np.ndarray, name: str) -> Findings:
    step = float(np.abs(weights).max()) / 127
    worst = float(np.abs(restored - weights).max())
    if worst <= 0.501 * step + 1e-9:
        yield right(f"{name}: no weight moves by more than half a step")
    elif worst <= 1.001 * step:
        yield wrong(f"{name}: a weight moves by {worst / step:.2f} steps; to the nearest it would be half a step")
    else:
        yield wrong(f"{name}: a weight moves by {worst:.3g}, where half a step is {step / 2:.3g}")


EXERCISES = {
    "1": Exercise("Set `vectors` in the cell above to a number.", hidden_vectors),
    "2": Exercise("Give `vote` a body that returns labels.", vote),
    "3": Exercise("Give `to_int8` a body that returns integers and a scale.", int8_weights),
}
