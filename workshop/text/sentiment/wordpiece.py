"""Reviews to rows of 256 WordPiece ids: on a GPU with RAPIDS' cuDF, anywhere with Hugging Face's ``tokenizers``.

The served ``rapids_tokenizer`` carries a copy of this module (``wordpiece.py`` beside its ``model.py``), so it needs
only ``numpy``, ``tokenizers`` and, for its own engine, ``cudf`` (25.10 or later). The ids of ``tokenizers`` are the
reference.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from tokenizers import Tokenizer

MAX_TOKENS = 256
ENGINES = ("auto", "huggingface", "cudf")


class Engine(Protocol):
    """Token ids of texts, without the marker tokens, of any length."""

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text."""
        ...


class HuggingFaceEngine:
    """WordPiece of the ``tokenizers`` package."""

    def __init__(self, tokenizer_json: str) -> None:
        self.tokenizer = Tokenizer.from_file(tokenizer_json)
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text."""
        return [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts), add_special_tokens=False)]


class CudfEngine:
    """WordPiece of RAPIDS: https://docs.rapids.ai/api/cudf/stable/user_guide/api_docs/wordpiece_tokenizer/."""

    def __init__(self, tokenizer_json: str) -> None:
        import cudf
        from cudf.core.character_normalizer import CharacterNormalizer
        from cudf.core.wordpiece_tokenize import WordPieceVocabulary

        with open(tokenizer_json, encoding="utf-8") as file:
            described = json.load(file)
        vocabulary = described["model"]["vocab"]
        special = [token["content"] for token in described["added_tokens"] if token["special"]]
        self.series = cudf.Series
        self.normalizer = CharacterNormalizer(bool(described["normalizer"]["lowercase"]), cudf.Series(special))
        self.vocabulary = WordPieceVocabulary(cudf.Series(sorted(vocabulary, key=vocabulary.get)))

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text."""
        normalized = self.normalizer.normalize(self.series(list(texts), dtype="str"))
        return [ids or [] for ids in self.vocabulary.tokenize(normalized).to_arrow().to_pylist()]


def load_engine(name: str, tokenizer_json: str, *, on_gpu: bool) -> Engine:
    """The engine called ``name``; ``auto`` is cuDF for an instance on a GPU where cuDF is installed.

    Raises:
        ValueError: ``name`` is none of ``ENGINES``.
        ImportError: ``cudf`` was asked for and is not installed.
    """
    if name not in ENGINES:
        raise ValueError(f"engine {name!r}: expected one of {', '.join(ENGINES)}")
    if name == "cudf" or (name == "auto" and on_gpu and importlib.util.find_spec("cudf") is not None):
        return CudfEngine(tokenizer_json)
    return HuggingFaceEngine(tokenizer_json)


def marker_ids(tokenizer_json: str) -> tuple[int, int]:
    """Ids of the tokens in front of and behind a text."""
    tokenizer = Tokenizer.from_file(tokenizer_json)
    return tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")


def frame(
    token_ids: Sequence[Sequence[int]], markers: tuple[int, int], width: int = MAX_TOKENS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put markers around the ids and rows of one width below each other; what does not fit is cut.

    Args:
        token_ids: ids of each text.
        markers: ids in front and behind.
        width: of the rows, markers included.

    Returns:
        ``input_ids`` and ``attention_mask``, int64 ``[texts, width]``, and ``metadata``, int64 ``[texts, 3]``: the
        text's row, its tokens that were kept, and all its tokens, both without markers.
    """
    input_ids = np.zeros((len(token_ids), width), dtype=np.int64)
    mask = np.zeros_like(input_ids)
    metadata = np.zeros((len(token_ids), 3), dtype=np.int64)
    for row, ids in enumerate(token_ids):
        kept = list(ids[: width - 2])
        input_ids[row, : len(kept) + 2] = [markers[0], *kept, markers[1]]
        mask[row, : len(kept) + 2] = 1
        metadata[row] = row, len(kept), len(ids)
    return input_ids, mask, metadata
