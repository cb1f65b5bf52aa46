"""The fine-tuned classifier on disk: only what training changed, as 8-bit differences from the published encoder.

Fine-tuning moves weights little, so one scale a row and 8 bits a difference keep the answers (a test bounds by how
much), in a tenth of the whole model's size. Vectors (biases, layer norms) and the head stay in fp32.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from workshop.errors import CheckpointError
from workshop.export.weights import check_manifest, read_weights, write_weights
from workshop.settings import Settings
from workshop.text.sentiment.model import SentimentClassifier, freeze_lower_layers, new_classifier, trained_state
from workshop.text.sources import TextModelSource

METADATA_KEY = "sentiment"
SCALE = ".scale"
REBUILD = "git restore checkpoints, or python scripts/train_sentiment.py"
HEAD = "head."


def published_path(settings: Settings) -> Path:
    """Where the weights that come with the project lie."""
    return settings.checkpoint_dir / "sentiment" / "sentiment_minilm.safetensors"


def save_sentiment(path: Path, model: SentimentClassifier, source: TextModelSource, about: Mapping[str, Any]) -> None:
    """Write what training changed of ``model``, which began as the encoder of ``source``.

    Args:
        path: a ``.safetensors`` file; its folder is made.
        model: the trained classifier.
        source: the published encoder.
        about: what to keep with the weights: training, data, scores.
    """
    base = new_classifier(source, seed=0).state_dict()
    tensors: dict[str, torch.Tensor] = {}
    freeze_lower_layers(model)
    for name, tensor in trained_state(model).items():
        if tensor.dim() < 2 or name.startswith(HEAD):
            tensors[name] = tensor
        else:
            tensors[name], tensors[name + SCALE] = _quantised(tensor - base[name])
    write_weights(path, tensors, METADATA_KEY, {**about, "base_sha256": source.sha256})


def load_sentiment(path: Path, source: TextModelSource) -> tuple[SentimentClassifier, dict[str, Any]]:
    """Read a classifier that :func:`save_sentiment` wrote, in fp32 and evaluation mode, and what is kept with it.

    Raises:
        CheckpointError: missing, damaged, made from another encoder, or with other tensors than the model has.
    """
    tensors, about = read_weights(path, METADATA_KEY, rebuild=REBUILD)
    if about.get("base_sha256") != source.sha256:
        raise CheckpointError(
            f"{path}: differences from an encoder with SHA-256 {about.get('base_sha256')}, received {source.name} with "
            f"{source.sha256}",
            hint=REBUILD,
        )
    model = new_classifier(source, seed=0)
    base = model.state_dict()
    freeze_lower_layers(model)
    wanted = trained_state(model)
    restored = {name: _restored(name, tensors, base) for name in tensors if not name.endswith(SCALE)}
    shapes = {name: tuple(tensor.shape) for name, tensor in wanted.items()}
    if {name: tuple(tensor.shape) for name, tensor in restored.items()} != shapes:
        odd = sorted(set(shapes) ^ set(restored)) or "shapes"
        raise CheckpointError(f"{path}: tensors do not fit the classifier: {odd}", hint=REBUILD)
    if not all(tensor.isfinite().all() for tensor in restored.values()):
        raise CheckpointError(f"{path}: holds weights that are not finite", hint=REBUILD)
    model.load_state_dict(restored, strict=False)
    return model.requires_grad_(False).eval(), about


def load_published(settings: Settings, source: TextModelSource) -> tuple[SentimentClassifier, dict[str, Any]]:
    """The classifier that comes with the project, checked against its manifest.

    Raises:
        CheckpointError: missing, altered, or made from another encoder.
    """
    path = published_path(settings)
    if path.is_file():
        check_manifest(path, rebuild=REBUILD)
    return load_sentiment(path, source)


def _quantised(difference: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """8-bit steps, int8 ``[rows, columns]``, and the size of a step, fp32 ``[rows, 1]``."""
    scale = difference.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny) / 127
    return (difference / scale).round().to(torch.int8), scale


def _restored(name: str, tensors: Mapping[str, torch.Tensor], base: Mapping[str, torch.Tensor]) -> torch.Tensor:
    tensor, scale = tensors[name], tensors.get(name + SCALE)
    if scale is None:
        return tensor
    difference = tensor.to(torch.float32) * scale
    return difference + base[name] if name in base and base[name].shape == difference.shape else difference
