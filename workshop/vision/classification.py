"""Classify pictures with any served model of the form of Triton's example image client.

That form is: one input that is a picture in NCHW or NHWC order, and one vector of scores, best with a file of labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from workshop.errors import InferenceError, SignatureError
from workshop.triton.signature import ModelSignature
from workshop.vision.preprocessing import Preprocessing

SCALINGS = ("NONE", "INCEPTION", "VGG")
"""The scalings of Triton's example image client: values 0 to 255; -1 to 1; less the mean of VGG's training pictures."""
_VGG_MEAN = {1: (128.0, 128.0, 128.0), 3: (123.0, 117.0, 104.0)}


@dataclass(frozen=True)
class ClassScore:
    """One class of an answer; ``label`` is empty where the server has no labels."""

    score: float
    index: int
    label: str

    def __str__(self) -> str:
        return f"{self.score:f} ({self.index}) = {self.label}"


@dataclass(frozen=True)
class ClassifierForm:
    """What has to be known of a served classifier to send it pictures.

    Attributes:
        signature: the model's, as the server reports it.
        channels: 1 or 3.
        channels_first: NCHW, else NHWC.
        preprocessing: how its pictures are made.
    """

    signature: ModelSignature
    channels: int
    channels_first: bool
    preprocessing: Preprocessing

    def tensor(self, picture: Image.Image) -> np.ndarray:
        """An RGB picture in the shape and type of the model's input, without a batch axis."""
        if self.channels == 1:
            picture = picture.convert("L").convert("RGB")
        scaled = self.preprocessing.tensor(picture)[: self.channels]
        ordered = scaled if self.channels_first else scaled.transpose(1, 2, 0)
        return ordered.astype(self.signature.inputs[0].numpy_dtype)

    def inputs(self, tensors: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """The request for some pictures' tensors; one only where the model takes no batches.

        Raises:
            SignatureError: their number is not one that the model takes.
        """
        limit = max(1, self.signature.max_batch_size)
        if not 1 <= len(tensors) <= limit:
            raise SignatureError(f"model {self.signature.name!r}: {len(tensors)} pictures, expected 1 to {limit}")
        batch = np.stack(tensors)
        return {self.signature.inputs[0].name: batch if self.signature.max_batch_size else batch[0]}

    def classes(self, answer: dict[str, np.ndarray]) -> list[list[ClassScore]]:
        """The best classes of each picture, from an answer of the classification extension.

        Raises:
            InferenceError: the answer is not one.
        """
        texts = answer[self.signature.outputs[0].name]
        rows = texts if self.signature.max_batch_size else texts[None]
        return [[_class_score(text) for text in row] for row in rows]


def classifier_form(signature: ModelSignature, scaling: str | None = None) -> ClassifierForm:
    """Read a classifier's form from its signature.

    Args:
        signature: as :meth:`workshop.triton.client.TritonClient.signature` gives it.
        scaling: one of ``SCALINGS``, with which the whole picture is squeezed into the model's size as Triton's example
            does; ``None`` follows the description in the model's parameters, and means ``NONE`` where it has none.

    Raises:
        SignatureError: the model is not of that form; the message says what differs.
    """

    def refuse(what: str) -> SignatureError:
        return SignatureError(
            f"model {signature.name!r} is no image classifier of the expected form: {what}",
            hint="name a model with one NCHW or NHWC picture in and one vector of scores out, with -m",
        )

    if len(signature.inputs) != 1 or len(signature.outputs) != 1:
        raise refuse(f"{len(signature.inputs)} inputs and {len(signature.outputs)} outputs, expected 1 and 1")
    source, scores = signature.inputs[0], signature.outputs[0]
    if scores.dtype != "FP32" or sum(size != 1 for size in scores.dims) != 1:
        raise refuse(f"output {scores.name!r} is {scores.dtype} {list(scores.dims)}, expected one FP32 vector")
    if source.format not in ("FORMAT_NCHW", "FORMAT_NHWC"):
        raise refuse(f"input {source.name!r} has the format {source.format or 'FORMAT_NONE'}, expected NCHW or NHWC")
    if len(source.dims) != 3 or min(source.dims) < 1 or source.dtype == "BYTES":
        raise refuse(f"input {source.name!r} is {source.dtype} {list(source.dims)}, expected 3 fixed sizes of numbers")
    first = source.format == "FORMAT_NCHW"
    channels, height, width = source.dims if first else (source.dims[2], *source.dims[:2])
    if channels not in (1, 3):
        raise refuse(f"input {source.name!r} has {channels} channels, expected 1 or 3")
    return ClassifierForm(signature, channels, first, _preprocessing(signature, scaling, height, width, channels))


def _preprocessing(
    signature: ModelSignature, scaling: str | None, height: int, width: int, channels: int
) -> Preprocessing:
    if scaling is None and "interpolation" in signature.parameters:
        try:
            described = Preprocessing.from_parameters(signature.parameters)
        except ValueError as error:
            raise SignatureError(f"model {signature.name!r}: {error}") from error
        if (described.height, described.width) != (height, width):
            raise SignatureError(
                f"model {signature.name!r} describes pictures of {described.height} x {described.width} and takes "
                f"{height} x {width}"
            )
        return described
    whole = {"height": height, "width": width, "crop": 0.0, "interpolation": "bilinear"}
    if scaling == "INCEPTION":
        return Preprocessing(**whole, mean=(127.5,) * 3, deviation=(127.5,) * 3)
    if scaling == "VGG":
        return Preprocessing(**whole, mean=_VGG_MEAN[channels])
    if scaling in (None, "NONE"):
        return Preprocessing(**whole)
    raise SignatureError(f"scaling {scaling!r}: expected one of {', '.join(SCALINGS)}")


def _class_score(text: bytes) -> ClassScore:
    parts = text.decode("utf-8", "replace").split(":", 2)
    try:
        return ClassScore(float(parts[0]), int(parts[1]), parts[2] if len(parts) == 3 else "")
    except (ValueError, IndexError) as error:
        raise InferenceError(f"expected 'score:index:label', received {text!r:.80}") from error
