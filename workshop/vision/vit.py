"""A vision transformer from a checkpoint folder: loading, training one on digits, and the form in which it is served.

Architecture: https://arxiv.org/abs/2010.11929
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil
from transformers.utils import logging as transformers_logging

from workshop.errors import ModelSourceError
from workshop.files import sha256_of
from workshop.vision.vit_signatures import CHECKPOINT_FILES, VitShape

SETTING = "WORKSHOP_VIT_MODEL"
CHECKPOINT = "vit_digits"
DIGITS_CONFIG = {
    "image_size": 8,
    "patch_size": 2,
    "num_channels": 3,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.1,  # 0.02 suits vectors of 768 numbers; these have 48
}


@dataclass(frozen=True)
class VitCheckpoint:
    """A vision transformer on disk.

    Attributes:
        name: what a reader calls it.
        folder: holds ``CHECKPOINT_FILES``.
        sha256: hash of the weights.
    """

    name: str
    folder: Path
    sha256: str


class VitFeatures(nn.Module):
    """What both ways serve: float32 pixels ``[batch, 3, size, size]`` to probabilities and features.

    The probabilities are ``[batch, classes]``; the features, ``last_hidden_state``, are ``[batch, tokens, hidden]``,
    the first token standing for the whole picture.
    """

    def __init__(self, model: ViTForImageClassification) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Probabilities and ``last_hidden_state``."""
        hidden = self.model.vit(pixel_values).last_hidden_state
        return torch.softmax(self.model.classifier(hidden[:, 0]), dim=-1), hidden


def vit_checkpoint(model: str, checkpoint_dir: Path) -> VitCheckpoint:
    """Find a checkpoint: a folder, a model hub's name, or, when ``model`` is empty, the digits of this project.

    Raises:
        ModelSourceError: it is none of these, or files are missing.
    """
    folder = checkpoint_dir / CHECKPOINT if not model else Path(model)
    if model and not folder.is_dir():
        folder = _hub_folder(model)
    missing = [file for file in CHECKPOINT_FILES if not (folder / file).is_file()]
    if missing:
        raise ModelSourceError(
            f"{SETTING}={model!r}: {folder} lacks {', '.join(missing)}",
            hint=f"python scripts/train_vit.py, or leave {SETTING} empty" if not model else f"leave {SETTING} empty",
        )
    return VitCheckpoint(model or CHECKPOINT, folder, sha256_of(folder / "model.safetensors"))


def _hub_folder(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, allow_patterns=list(CHECKPOINT_FILES), etag_timeout=5))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelSourceError(
            f"{SETTING}={model!r} is neither a folder nor a model the hub gave us: {error}",
            hint=f"leave {SETTING} empty to use the digits of this project",
        ) from error


def load_vit(checkpoint: VitCheckpoint, *, attention: str = "sdpa") -> ViTForImageClassification:
    """The model in evaluation mode; ``attention="eager"`` lets it hand out its attention maps.

    Raises:
        ModelSourceError: the folder does not load as a vision transformer.
    """
    transformers_logging.disable_progress_bar()
    try:
        model = ViTForImageClassification.from_pretrained(
            checkpoint.folder, local_files_only=True, attn_implementation=attention
        )
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise ModelSourceError(
            f"{checkpoint.folder} did not load: {error}", hint="python scripts/train_vit.py"
        ) from error
    return model.eval()


def load_processor(checkpoint: VitCheckpoint) -> ViTImageProcessorPil:
    """The checkpoint's image processor, on Pillow."""
    return ViTImageProcessorPil.from_pretrained(checkpoint.folder, local_files_only=True)


def shape_of(model: ViTForImageClassification) -> VitShape:
    """Sizes of the tensors that a model takes and gives."""
    config = model.config
    tokens = (config.image_size // config.patch_size) ** 2 + 1
    return VitShape(config.image_size, tokens, config.hidden_size, config.num_labels)


def pixel_values(processor: ViTImageProcessorPil, images: np.ndarray) -> np.ndarray:
    """uint8 ``[batch, height, width, 3]`` to the model's float32 ``[batch, 3, size, size]``."""
    return processor(list(images), return_tensors="np", input_data_format="channels_last")["pixel_values"]


def new_digits_vit(seed: int) -> ViTForImageClassification:
    """An untrained small vision transformer for ten digits."""
    torch.manual_seed(seed)
    digits = {index: str(index) for index in range(10)}
    return ViTForImageClassification(
        ViTConfig(**DIGITS_CONFIG, id2label=digits, label2id={v: k for k, v in digits.items()})
    )


def train(
    model: ViTForImageClassification,
    pixels: np.ndarray,
    labels: np.ndarray,
    *,
    epochs: int,
    seed: int,
    learning_rate: float = 3e-3,
    batch_size: int = 64,
    on_epoch: Callable[[int, float], None] = lambda epoch, loss: None,
) -> None:
    """Fit a classifier by cross-entropy; the model ends in evaluation mode.

    Args:
        model: changed in place.
        pixels: float32 ``[pictures, 3, size, size]``.
        labels: int64 ``[pictures]``.
        epochs: passes over the pictures.
        seed: of their order and of dropout.
        learning_rate: at the start; falls to zero along a cosine.
        batch_size: pictures a step.
        on_epoch: called with the number of the epoch and its mean loss.
    """
    torch.manual_seed(seed)
    inputs, targets = torch.from_numpy(pixels), torch.from_numpy(labels)
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * -(-len(inputs) // batch_size))
    model.train()
    for epoch in range(epochs):
        losses = []
        for batch in torch.randperm(len(inputs)).split(batch_size):
            loss = nn.functional.cross_entropy(model(inputs[batch]).logits, targets[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        on_epoch(epoch, float(np.mean(losses)))
    model.eval()
