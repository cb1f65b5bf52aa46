"""A vision transformer from a checkpoint folder: loading it, and the form in which it is served.

Architecture: https://arxiv.org/abs/2010.11929
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn
from transformers import PretrainedConfig, ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil
from transformers.utils import logging as transformers_logging

from workshop.errors import ModelSourceError
from workshop.files import sha256_of
from workshop.vision.vit_signatures import CHECKPOINT_FILES, VitShape

SETTING = "WORKSHOP_VIT_MODEL"
CHECKPOINT = "vit_digits"
INSTALLED = f"leave {SETTING} empty to use the digits of this project"


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
            hint=f"python scripts/train_vit.py, or leave {SETTING} empty" if not model else INSTALLED,
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
            hint=INSTALLED,
        ) from error


def load_vit(checkpoint: VitCheckpoint, *, attention: str = "sdpa") -> ViTForImageClassification:
    """The model in evaluation mode; ``attention="eager"`` lets it hand out its attention maps.

    Raises:
        ModelSourceError: the folder does not load as a vision transformer with a trained classifier.
    """
    transformers_logging.disable_progress_bar()
    try:
        kind = PretrainedConfig.get_config_dict(checkpoint.folder, local_files_only=True)[0].get("model_type")
        if kind != ViTConfig.model_type:
            raise ValueError(f"it is a model of type {kind!r}, expected {ViTConfig.model_type!r}")
        model, report = ViTForImageClassification.from_pretrained(
            checkpoint.folder, local_files_only=True, attn_implementation=attention, output_loading_info=True
        )
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise ModelSourceError(f"{checkpoint.folder} did not load: {error}", hint=INSTALLED) from error
    if report["missing_keys"]:  # transformers would fill them with random numbers, and the answers would look right
        raise ModelSourceError(
            f"{checkpoint.folder} lacks the weights {', '.join(sorted(report['missing_keys']))}", hint=INSTALLED
        )
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
