"""Encoded pictures to the tensors that an image classifier takes.

This module needs only ``numpy`` and ``pillow``: the served decoder carries a copy of it (``preprocessing.py`` beside
its ``model.py``), so that client and server see the same pixels.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

MAX_PIXELS = 50_000_000
"""A small file can unpack to far more memory than a server has: larger pictures are refused before they are decoded."""
MIN_SIDE = 2
"""Pixels; a single pixel or row shows nothing."""

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_COLOUR_MODES = ("1", "L", "P", "RGB", "RGBA", "LA", "PA")
# what Pillow's many decoders raise on damaged files
_DECODER_ERRORS = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError)


class PictureError(ValueError):
    """A picture that would give no answer or a plausible wrong one; the message says what it is and what to do."""


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its pictures; kept in the ``parameters`` of its configuration, as text.

    Attributes:
        height: pixels of the model's input.
        width: pixels of the model's input.
        crop: share of the picture's shorter side that the central crop keeps; 1 keeps the largest crop of the input's
            shape, and 0 stands for no crop: the whole picture is squeezed into the input's shape.
        interpolation: ``nearest``, ``bilinear`` or ``bicubic``.
        mean: subtracted from the values 0 to 255, one number a channel.
        deviation: what the difference is divided by, one number a channel.
    """

    height: int
    width: int
    crop: float = 1.0
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"input size {self.height} x {self.width}: expected positive numbers")
        if not 0 <= self.crop <= 1:
            raise ValueError(f"crop {self.crop}: expected a share between 0 and 1")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation {self.interpolation!r}: expected one of {', '.join(INTERPOLATIONS)}")
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
            mean, deviation = np.float32(self.mean), np.float32(self.deviation)
        if (
            mean.shape != (3,)
            or deviation.shape != (3,)
            or not np.isfinite([mean, deviation]).all()
            or not deviation.all()
        ):
            raise ValueError(
                f"mean {self.mean}, deviation {self.deviation}: expected 3 finite numbers each, no deviation of 0"
            )

    def to_parameters(self) -> dict[str, str]:
        """The description as a served model's parameters."""
        return {
            "height": str(self.height),
            "width": str(self.width),
            "crop": repr(self.crop),
            "interpolation": self.interpolation,
            "mean": ", ".join(map(repr, self.mean)),
            "deviation": ", ".join(map(repr, self.deviation)),
        }

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> Preprocessing:
        """Read what :meth:`to_parameters` wrote.

        Raises:
            ValueError: a parameter is missing, or is not of its kind; the message names it.
        """
        try:
            return cls(
                height=int(parameters["height"]),
                width=int(parameters["width"]),
                crop=float(parameters["crop"]),
                interpolation=parameters["interpolation"],
                mean=tuple(float(number) for number in parameters["mean"].split(",")),
                deviation=tuple(float(number) for number in parameters["deviation"].split(",")),
            )
        except KeyError as error:
            raise ValueError(f"the model describes its preprocessing without {error.args[0]!r}") from error

    def crop_box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, upper, right and lower edge of the part of a ``width`` x ``height`` picture that the model sees."""
        if self.crop == 0:
            return 0, 0, width, height
        scale = self.crop * min(width / self.width, height / self.height)
        kept_width, kept_height = max(1, round(scale * self.width)), max(1, round(scale * self.height))
        left, upper = (width - kept_width) // 2, (height - kept_height) // 2
        return left, upper, left + kept_width, upper + kept_height

    def pixels(self, picture: Image.Image) -> np.ndarray:
        """The crop of an RGB picture at the input's size: uint8 ``[height, width, 3]``."""
        size = (self.width, self.height)
        method = INTERPOLATIONS[self.interpolation]
        return np.asarray(picture.resize(size, method, box=self.crop_box(*picture.size)))

    def scaled(self, pixels: np.ndarray) -> np.ndarray:
        """Normalised values: uint8 ``[height, width, 3]`` to float32 ``[3, height, width]``."""
        tensor = np.empty((len(self.mean), *pixels.shape[:2]), dtype=np.float32)
        for channel, (mean, deviation) in enumerate(zip(self.mean, self.deviation, strict=True)):
            np.subtract(pixels[..., channel], np.float32(mean), out=tensor[channel])
            tensor[channel] /= np.float32(deviation)
        return tensor

    def tensor(self, picture: Image.Image) -> np.ndarray:
        """Crop, resize, normalise: an RGB picture to float32 ``[3, height, width]``."""
        return self.scaled(self.pixels(picture))


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode one picture, upright and in RGB.

    Grey pictures get three equal channels; an alpha channel is dropped when every pixel is opaque.

    Args:
        data: the bytes of a JPEG, PNG or any other file that Pillow reads.
        max_pixels: width times height above which a picture is refused unread.

    Raises:
        PictureError: not a picture, truncated, too large, too small, animated, partly transparent, or with colours that
            are not 8-bit grey or RGB.
    """
    if not data:
        raise PictureError("no bytes, expected an encoded picture")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's warnings on size and metadata; size is checked below
        try:
            picture = Image.open(io.BytesIO(data))
        except Image.DecompressionBombError as error:
            raise PictureError(f"too large: {error}; at most {max_pixels} pixels are decoded") from error
        except (*_DECODER_ERRORS, struct.error, zlib.error) as error:
            raise PictureError(f"not a picture: {len(data)} bytes that begin with {data[:8]!r}") from error
        check_kind(picture, max_pixels)
        try:
            picture.load()
            return _upright_rgb(picture)
        except (*_DECODER_ERRORS, struct.error, zlib.error) as error:
            if isinstance(error, PictureError):
                raise
            raise PictureError(f"a damaged or truncated {picture.format} file: {error}") from error


def check_kind(picture: Image.Image, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse a picture by what its header says, before its pixels are decoded.

    Raises:
        PictureError: as :func:`decode`.
    """
    width, height = picture.size
    if width * height > max_pixels:
        raise PictureError(f"{width} x {height} pixels, at most {max_pixels} are decoded: make it smaller")
    if min(width, height) < MIN_SIDE:
        raise PictureError(f"{width} x {height} pixels, expected at least {MIN_SIDE} x {MIN_SIDE}")
    try:  # counting reads the head of each frame
        frames = getattr(picture, "n_frames", 1)
    except (*_DECODER_ERRORS, struct.error, zlib.error) as error:
        raise PictureError(f"a damaged or truncated {picture.format} file: {error}") from error
    if frames > 1:
        raise PictureError(f"an animation of {frames} frames: send the frame you mean")
    if picture.mode not in _COLOUR_MODES:
        raise PictureError(
            f"colour mode {picture.mode!r} ({picture.format}), expected 8-bit grey or RGB: convert it with its own "
            "colour profile or value range first"
        )


def _upright_rgb(picture: Image.Image) -> Image.Image:
    if "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA"):
        picture = picture.convert("RGBA")
        if picture.getextrema()[3][0] < 255:
            raise PictureError("partly transparent: put it on a background first, what lies behind is not known")
    return ImageOps.exif_transpose(picture).convert("RGB")
