"""Checks of `08_classify_images`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from workshop.data.images import Photo
from workshop.exercises.answers import RefusedError, array, call, number, parts, shown
from workshop.exercises.checking import Exercise
from workshop.exercises.verdict import Findings, right, wrong
from workshop.triton.client import TritonClient
from workshop.vision.preprocessing import Preprocessing

UNUSABLE = b"not a picture"


def most_lost(
    answer: object, *, photos: Sequence[Photo], pictures: Sequence[Image.Image], preprocessing: Preprocessing
) -> Findings:
    """``(name, share)`` of the photo of whose area the crop leaves out the most."""
    name, said = parts(answer, ("name", "share"))
    lost = {photo.name: _lost(picture, preprocessing) for photo, picture in zip(photos, pictures, strict=True)}
    if name not in lost:
        raise RefusedError(f"{shown(name)} is the name of none of the {len(lost)} photos")
    if lost[name] == max(lost.values()):
        yield right("no other photo loses a larger share")
    else:
        yield wrong(f"of `{name}`, {lost[name]:.0%} is cut away, and of another photo more")
    value = number(said, "the share")
    if abs(value - lost[name]) <= 0.005:
        yield right(f"{value:.1%} of it is outside the frame")
    elif abs(value - (1 - lost[name])) <= 0.005:
        yield wrong("this is the share that is kept")
    elif not 0 <= value <= 1:
        yield wrong(f"a share is between 0 and 1, and this is {value:.3g}")
    else:
        yield wrong(f"{value:.3f} is not the share of this photo's area that is outside the frame")


def _lost(picture: Image.Image, preprocessing: Preprocessing) -> float:
    left, upper, right_edge, lower = preprocessing.crop_box(*picture.size)
    return 1 - (right_edge - left) * (lower - upper) / (picture.width * picture.height)


def model_input(answer: object, *, preprocessing: Preprocessing) -> Findings:
    """A function of pixels, uint8 ``[height, width, 3]``, that scales them and puts the channels first."""
    rng = np.random.default_rng(0)
    for name, (height, width) in {"a square of pixels": (6, 6), "a strip of pixels": (2, 5)}.items():
        pixels = rng.integers(256, size=(height, width, 3), dtype=np.uint8)
        expected = preprocessing.scaled(pixels)
        found = array(call(answer, pixels.copy()), f"{name}: the result", expected.shape)
        if found.dtype != np.float32:
            yield wrong(f"{name}: the model takes float32, and this is {found.dtype}")
        if np.allclose(found, expected, atol=1e-4):
            yield right(f"{name}: every number is in its place")
        elif np.allclose(np.sort(found, axis=None), np.sort(expected, axis=None), atol=1e-4):
            yield wrong(f"{name}: the numbers are right and the axes are not in order")
        elif np.allclose(found, expected * np.array(preprocessing.deviation)[:, None, None], atol=1e-2):
            yield wrong(f"{name}: the mean is off, and the deviation has not divided")
        else:
            yield wrong(
                f"{name}: the numbers are from {found.min():.2f} to {found.max():.2f}, "
                f"and those of the model's description from {expected.min():.2f} to {expected.max():.2f}"
            )


def robust_client(answer: object, *, client: TritonClient, pictures: Sequence[bytes]) -> Findings:
    """A function of encoded pictures that gives the best class of each, None where the server refuses."""
    classes = [_class_of(client, data) for data in pictures]
    cases = {
        "pictures that can all be used": (list(pictures), classes),
        "one bad picture in the middle": ([pictures[0], UNUSABLE, *pictures[1:]], [classes[0], None, *classes[1:]]),
        "a single bad picture": ([UNUSABLE], [None]),
    }
    for name, (encoded, expected) in cases.items():
        found = _classes(answer, encoded, name)
        if len(found) != len(expected):
            yield wrong(f"{name}: {len(expected)} went in and {len(found)} came out; whose answer is whose?")
        elif found == expected:
            yield right(f"{name}: right")
        elif sorted(map(str, found)) == sorted(map(str, expected)):
            yield wrong(f"{name}: the answers are right and not in the order of the pictures")
        elif any(said is not None for said, wanted in zip(found, expected, strict=True) if wanted is None):
            yield wrong(f"{name}: what the server refuses should be `None`, and nothing else should")
        else:
            yield wrong(f"{name}: a picture that can be used has another class")


def _classes(function: object, encoded: list[bytes], name: str) -> list[int | None]:
    found = call(function, list(encoded))
    if not isinstance(found, list | tuple | np.ndarray):
        raise RefusedError(f"{name}: expected a list, and got {shown(found)}")
    return [None if said is None else int(number(said, f"{name}: a class")) for said in found]


def _class_of(client: TritonClient, data: bytes) -> int:
    return int(client.infer("image_classification", {"IMAGE": [[data]]})["PROBABILITIES"].argmax())


EXERCISES = {
    "1": Exercise("Fill in `most_lost` in the cell above: a name and a number.", most_lost),
    "2": Exercise("Give `to_input` a body that returns an array.", model_input),
    "3": Exercise("Give `best_classes` a body that returns a list.", robust_client),
}
