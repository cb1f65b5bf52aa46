"""Reading how a model in Hub format encodes texts, from the files that sentence-transformers keeps beside its weights.

https://sbert.net/docs/package_reference/sentence_transformer/models.html names the files: ``modules.json`` lists the
steps, ``1_Pooling/config.json`` the pooling, ``sentence_bert_config.json`` the longest input and
``config_sentence_transformers.json`` the prompts. A folder without them is read as a plain encoder: mean, normalised.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoConfig, PretrainedConfig

from workshop.errors import ModelSourceError
from workshop.files import sha256_of
from workshop.text.encoding import TOKENIZER_FILE, Pooling, TextEncoding

LONGEST = 512
"""Tokens where a folder names no limit of its own."""
COUNT_FROM_PADDING = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet"})
"""Model types whose first position is the padding index plus one."""
_POOLINGS: dict[str, Pooling] = {"mean": "mean", "cls": "cls"}
_LEGACY_POOLINGS = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}


def transformer_folder(folder: Path) -> Path:
    """Where configuration, weights and tokenizer lie: the folder itself, or what ``modules.json`` names first."""
    steps = _read(folder / "modules.json", [])
    return folder / steps[0].get("path", "") if steps else folder


def first_position(config: PretrainedConfig) -> int:
    """The position of the first token in the encoder's table of positions."""
    return config.pad_token_id + 1 if config.model_type in COUNT_FROM_PADDING else 0


def read_encoding(folder: Path) -> TextEncoding:
    """How the sentence model in ``folder`` turns texts into vectors.

    Raises:
        ModelSourceError: a step, pooling or tokenizer that the served model could not follow; or files that disagree.
    """
    inner = transformer_folder(folder)
    pooling, normalised = _pooling(folder)
    config = AutoConfig.from_pretrained(inner, local_files_only=True)
    tokenizer = Tokenizer.from_file(str(inner / TOKENIZER_FILE))
    if tokenizer.get_vocab_size() > config.vocab_size:
        raise ModelSourceError(
            f"{folder}: the tokenizer knows {tokenizer.get_vocab_size()} tokens, the model {config.vocab_size}",
            hint="the folder mixes two models: download it again",
        )
    limits = _read(inner / "sentence_bert_config.json", {})
    if limits.get("do_lower_case") and tokenizer.encode("A").ids != tokenizer.encode("a").ids:
        raise ModelSourceError(
            f"{folder}: sentence_bert_config.json lower-cases texts before a tokenizer that keeps the case",
            hint="put a Lowercase normalizer into tokenizer.json, so that every client does the same",
        )
    positions = getattr(config, "max_position_embeddings", LONGEST) - first_position(config)
    named = limits.get("max_seq_length") or _read(inner / "tokenizer_config.json", {}).get("model_max_length")
    return TextEncoding(
        tokenizer_sha256=sha256_of(inner / TOKENIZER_FILE),
        vocabulary_size=config.vocab_size,
        # tokenizers without a limit write a number with thirty digits
        max_tokens=int(min(named or LONGEST, positions, LONGEST if named is None else named)),
        pad_token_id=config.pad_token_id or 0,
        pooling=pooling,
        normalised=normalised,
        prompt=_prompt(folder),
        width=config.hidden_size,
    )


def classifier_encoding(encoding: TextEncoding, folder: Path) -> TextEncoding:
    """The encoding of an entailment model: text and hypothesis share its positions, and no prompt goes before them."""
    config = AutoConfig.from_pretrained(transformer_folder(folder), local_files_only=True)
    half = (config.max_position_embeddings - first_position(config)) // 2
    longest = min(encoding.max_tokens, half)
    return replace(encoding, max_tokens=longest, pooling="classifier", normalised=False, prompt="")


def _pooling(folder: Path) -> tuple[Pooling, bool]:
    steps = _read(folder / "modules.json", [])
    if not steps:
        return "mean", True
    kinds = [step["type"].rpartition(".")[2] for step in steps]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ModelSourceError(
            f"{folder}/modules.json: expected Transformer, Pooling and perhaps Normalize, found {kinds}",
            hint="choose a sentence model without further layers, or write a wrapper for it",
        )
    path = folder / steps[1]["path"] / "config.json"
    settings = _read(path, {})
    modes = settings.get("pooling_mode")
    if modes is None:
        modes = [name for name, on in settings.items() if name.startswith("pooling_mode_") and on is True]
    names = [_LEGACY_POOLINGS.get(mode, mode) for mode in ([modes] if isinstance(modes, str) else modes)]
    if len(names) != 1 or names[0] not in _POOLINGS:
        raise ModelSourceError(f"{path}: pooling by {names}, expected one of {sorted(_POOLINGS)}")
    if settings.get("include_prompt") is False and _prompt(folder):
        raise ModelSourceError(f"{path}: the prompt is left out of the pooling, which the served model cannot do")
    return _POOLINGS[names[0]], "Normalize" in kinds


def _prompt(folder: Path) -> str:
    settings = _read(folder / "config_sentence_transformers.json", {})
    name = settings.get("default_prompt_name")
    return settings.get("prompts", {}).get(name, "") if name else ""


def _read(path: Path, default: Any) -> Any:
    if not path.is_file():
        return default
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelSourceError(f"{path} is not JSON: {error}", hint="download the model again") from error
