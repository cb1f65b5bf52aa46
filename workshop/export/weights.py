"""Weights on disk as safetensors: numbers and text only, so that reading a file cannot run code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from workshop.errors import CheckpointError
from workshop.files import replacing, sha256_of

MANIFEST = "manifest.json"


def write_weights(path: Path, tensors: Mapping[str, torch.Tensor], key: str, about: Mapping[str, Any]) -> None:
    """Write tensors and, in the same file, what is to be known of them.

    Args:
        path: a ``.safetensors`` file; its folder is made.
        tensors: the weights.
        key: the kind of weights, under which ``about`` is kept.
        about: anything that JSON can hold.
    """
    # one entry only: safetensors writes several in no fixed order, and equal weights should make equal files
    metadata = {key: json.dumps(dict(about), sort_keys=True)}
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as aside:
        save_file(plain, aside, metadata=metadata)


def read_weights(path: Path, key: str, *, rebuild: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and what is kept with them under ``key``, which is empty for a file of another kind.

    Args:
        path: what :func:`write_weights` wrote.
        key: the kind of weights.
        rebuild: what brings the file back, for error messages.

    Raises:
        CheckpointError: missing or damaged.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file", hint=rebuild)
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(key, "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a safetensors file, or damaged: {error}", hint=rebuild) from error


def check_manifest(path: Path, *, rebuild: str) -> None:
    """Compare a published file with the manifest beside it.

    Raises:
        CheckpointError: the manifest is missing, unreadable or does not list the file, or the file was altered.
    """
    manifest = path.with_name(MANIFEST)
    try:
        expected = json.loads(manifest.read_text())["files"][path.name]["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{manifest} is missing, unreadable, or does not list {path.name}", hint=rebuild
        ) from error
    if sha256_of(path) != expected:
        raise CheckpointError(f"{path} was altered: its SHA-256 is not the manifest's", hint=rebuild)
