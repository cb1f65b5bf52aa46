"""Encoded pictures of every kind that a server meets, the unusable ones with the words of their error."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(values if channels > 1 else values[..., 0], mode if channels != 4 else "RGBA")


def bomb(side: int = 20_000) -> bytes:
    """A PNG of a few hundred kilobytes whose pixels take over a gigabyte."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    squeeze = zlib.compressobj(9)
    rows = squeeze.compress(bytes(3 * side + 1) * 64) + squeeze.flush()
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def unusable() -> dict[str, tuple[bytes, str]]:
    """Name to encoded bytes and what the error says."""
    rgb = noise()
    palette = rgb.quantize(16)
    cmyk = Image.merge("CMYK", noise(mode="RGBA").split())
    faint = noise(mode="RGBA")
    return {
        "empty": (b"", "no bytes"),
        "text": (b"not a picture at all", "not a picture: 20 bytes that begin with b'not a pi'"),
        "truncated": (encoded(rgb, "JPEG")[:-400], "damaged or truncated JPEG"),
        "truncated_png": (encoded(rgb)[:-400], "damaged or truncated PNG"),
        "bomb": (bomb(), "too large|20000 x 20000 pixels"),
        "bomb_below_pillows_limit": (bomb(8000), "8000 x 8000 pixels, at most 50000000"),
        "animated": (
            encoded(rgb, "GIF", save_all=True, append_images=[rgb.rotate(90)]),
            "animation of 2 frames",
        ),
        "cmyk": (encoded(cmyk, "JPEG"), "colour mode 'CMYK'"),
        "sixteen_bit": (
            encoded(Image.fromarray(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64))),
            r"colour mode 'I;16'",
        ),
        "palette_with_transparency": (encoded(palette, "PNG", transparency=0), "partly transparent"),
        "rgba": (encoded(faint), "partly transparent"),
        "one_pixel": (encoded(Image.new("RGB", (1, 1))), "1 x 1 pixels, expected at least 2 x 2"),
    }
