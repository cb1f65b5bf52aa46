"""Find a model of the Hub on this machine, and see that it can be served, before anything is written for it."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from workshop.errors import ModelSourceError

Task = Literal["text-generation", "text-classification"]
TASKS: tuple[Task, ...] = get_args(Task)

_HEADS = {"text-generation": ("ForCausalLM", "LMHeadModel"), "text-classification": ("ForSequenceClassification",)}
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "pytorch_model*.bin"]
ETAG_SECONDS = 5


@dataclass(frozen=True)
class HubModel:
    """A model that is on this machine.

    Attributes:
        asked: the folder or Hub id it was asked by.
        folder: where its files are.
        from_hub: whether the files are in the Hub's cache, where the server finds them by the id.
    """

    asked: str
    folder: Path
    from_hub: bool


def find_hub_model(asked: str, task: str, *, download: bool = True) -> HubModel:
    """Find the model and check that tokenizer and weights are there and made for the task.

    A folder is taken as it is. A Hub id is looked up in the Hub's cache and, if it is not there, downloaded, unless
    ``download`` is false.

    Raises:
        ModelSourceError: unknown task; neither a folder nor a model that the Hub gave us; files are missing; or the
            model was made for another task.
    """
    if task not in TASKS:
        raise ModelSourceError(f"unknown task {task!r}", hint=f"one of: {', '.join(TASKS)}")
    is_folder = Path(asked).expanduser().is_dir()
    folder = Path(asked).expanduser().resolve() if is_folder else _from_hub(asked, download=download)
    _check(folder, asked, task)
    return HubModel(asked, folder, from_hub=not is_folder)


def _from_hub(asked: str, *, download: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    options = {"allow_patterns": _FILES, "etag_timeout": ETAG_SECONDS}
    hint = "name a folder that holds the model, or run this where there is network"
    try:
        with suppress(LocalEntryNotFoundError):  # not in the cache: ask the Hub
            return Path(snapshot_download(asked, local_files_only=True, **options))
    except HFValidationError as error:
        raise ModelSourceError(f"{asked!r} is neither a folder nor a name of the Hub: {error}", hint=hint) from error
    if not download:
        raise ModelSourceError(f"{asked!r} is not in the Hub's cache on this machine, and nothing is to be downloaded")
    try:
        return Path(snapshot_download(asked, **options))
    except GatedRepoError as error:
        raise ModelSourceError(
            f"{asked!r} is gated: its owner gives access to those who accept the terms",
            hint="accept them on the model's page, then: hf auth login",
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelSourceError(f"the Hub has no model {asked!r}, or it is private", hint=hint) from error
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ModelSourceError(
            f"{asked!r} is not in the Hub's cache on this machine, and the Hub was not reached: {reason}", hint=hint
        ) from error


def _check(folder: Path, asked: str, task: str) -> None:
    """Raise unless the folder holds a configuration of the task, weights and a tokenizer."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelSourceError(f"{asked!r}: {folder} has no config.json", hint="save_pretrained writes one") from None
    except ValueError as error:
        raise ModelSourceError(f"{asked!r}: config.json is not JSON: {error}") from error
    architectures = config.get("architectures") or []
    if not any(name.endswith(_HEADS[task]) for name in architectures):
        raise ModelSourceError(
            f"{asked!r} is {', '.join(architectures) or 'of no named architecture'}, which is no model for {task}",
            hint=f"a model of {task} ends in {' or '.join(_HEADS[task])}",
        )
    weights = next((name for name in _WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise ModelSourceError(f"{asked!r}: no weights in {folder}", hint=f"one of: {', '.join(_WEIGHTS)}")
    if weights.endswith(".index.json"):
        shards = set(json.loads((folder / weights).read_text(encoding="utf-8"))["weight_map"].values())
        if missing := sorted(name for name in shards if not (folder / name).is_file()):
            raise ModelSourceError(f"{asked!r}: {', '.join(missing)} missing in {folder}", hint="download it again")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model")):
        raise ModelSourceError(f"{asked!r}: no tokenizer in {folder}", hint="tokenizer.save_pretrained writes one")
