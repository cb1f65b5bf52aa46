"""Files that are whole or absent: hashes, atomic replacement, and text from standard input."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workshop.errors import DataInvalidError


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to that takes the place of ``path`` once the block has ended without an error.

    A reader sees the old file or the new one, never a part; folders are made as needed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def seal(path: Path) -> None:
    """Write the SHA-256 of a finished file beside it, for :func:`is_sealed`."""
    write_text(_seal_of(path), sha256_of(path))


def is_sealed(path: Path) -> bool:
    """Whether a file is there, and byte for byte the one that was sealed."""
    mark = _seal_of(path)
    return path.is_file() and mark.is_file() and mark.read_bytes() == sha256_of(path).encode()


def _seal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def standard_input() -> str:
    """All of standard input.

    Raises:
        DataInvalidError: it is not UTF-8.
    """
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataInvalidError(
            f"standard input is not UTF-8: {error}", hint="convert it, for example with iconv"
        ) from error
