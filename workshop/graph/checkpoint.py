"""GraphSAGE on disk: finished weights as safetensors, the state of a training as plain tensors.

Neither file can run code when it is read: safetensors holds numbers and text only, and the training state is read by
``torch.load(weights_only=True)``. Both are written aside and renamed, so a crash leaves the old file or the new one.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from workshop.errors import CheckpointError, ModelError
from workshop.export.weights import read_weights, write_weights
from workshop.files import replacing
from workshop.graph.architecture import Architecture
from workshop.graph.graphsage import GraphSAGE

METADATA_KEY = "graphsage"
REBUILD = "run notebooks/03_train_graphsage.ipynb, or python scripts/train_graphsage.py"


def save_model(path: Path, model: GraphSAGE, about: Mapping[str, str]) -> None:
    """Write the weights and, in the same file, their architecture.

    Args:
        path: a ``.safetensors`` file; its folder is made.
        model: the trained model.
        about: text kept with the weights: data set, task, scores.
    """
    write_weights(path, model.state_dict(), METADATA_KEY, {**about, "architecture": asdict(model.architecture)})


def load_model(path: Path, expected: Architecture | None = None) -> GraphSAGE:
    """Read a model written by :func:`save_model`, on the CPU and in evaluation mode.

    Args:
        path: the ``.safetensors`` file.
        expected: the architecture it must have, when that matters to the caller.

    Raises:
        CheckpointError: missing, damaged, without an architecture, of another one, or with other tensors than it says.
    """
    tensors, about = read_weights(path, METADATA_KEY, rebuild=REBUILD)
    architecture = _architecture(path, about)
    if expected is not None and architecture != expected:
        raise CheckpointError(f"{path}: expected {expected}, received {architecture}", hint=REBUILD)
    model = GraphSAGE(architecture)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: tensors do not fit {architecture}: {error}", hint=REBUILD) from error
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise CheckpointError(f"{path}: holds weights that are not finite", hint=REBUILD)
    return model.eval()


def read_about(path: Path) -> dict[str, Any]:
    """What is kept with the weights: the text given to :func:`save_model`, and the architecture.

    Raises:
        CheckpointError: missing or damaged.
    """
    return read_weights(path, METADATA_KEY, rebuild=REBUILD)[1]


def save_training_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors, numbers, text and containers of these."""
    with replacing(path) as aside:
        torch.save(dict(state), aside)


def load_training_state(path: Path) -> dict[str, Any]:
    """Read what :func:`save_training_state` wrote, on the CPU.

    Raises:
        CheckpointError: missing, damaged, or not made of plain tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file", hint=REBUILD)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path}: not a training state: {error}", hint="delete it to train anew") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: expected a dictionary, received {type(state).__name__}")
    return state


def _architecture(path: Path, about: Mapping[str, Any]) -> Architecture:
    try:
        return Architecture(**about["architecture"])
    except (KeyError, TypeError, ModelError) as error:
        raise CheckpointError(f"{path}: says no GraphSAGE architecture ({error!r})", hint=REBUILD) from error
