"""Texts to token ids and back to padded arrays.

This module needs only ``numpy`` and ``tokenizers``: the served tokenizer models carry a copy of it
(``tokenization.py`` beside their ``model.py``), so that client and server cut texts the same way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer

MAX_TOKENS = 256
# rows are padded to a multiple of this: few different lengths mean few kernels for the server to prepare and keep,
# and attention on CPUs takes twice as long at odd lengths
LENGTH_MULTIPLE = 16


def load_tokenizer(path: str, max_tokens: int = MAX_TOKENS) -> Tokenizer:
    """Read a ``tokenizer.json``; texts are cut at ``max_tokens`` and never padded by the tokenizer itself."""
    tokenizer = Tokenizer.from_file(path)
    tokenizer.enable_truncation(max_tokens)
    tokenizer.no_padding()
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, special tokens included, of unequal lengths (2 to the tokenizer's limit)."""
    # JSON and AQL can hold lone surrogates, which are no Unicode text: they become the replacement character
    clean = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]
    return [encoding.ids for encoding in tokenizer.encode_batch(clean)]


def pad(token_ids: Sequence[Sequence[int]], multiple: int = LENGTH_MULTIPLE) -> tuple[np.ndarray, np.ndarray]:
    """Pad to the longest row, rounded up to ``multiple``.

    Returns:
        ``input_ids`` and ``attention_mask``, both int64 ``[rows, length]``; the mask is 1 on real tokens.
    """
    lengths = np.fromiter((len(ids) for ids in token_ids), dtype=np.int64, count=len(token_ids))
    longest = -(-lengths.max(initial=0) // multiple) * multiple
    mask = (np.arange(longest) < lengths[:, None]).astype(np.int64)
    input_ids = np.zeros_like(mask)
    input_ids[mask.astype(bool)] = np.concatenate([np.asarray(ids, dtype=np.int64) for ids in token_ids])
    return input_ids, mask


def tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Encode and pad: int64 ``input_ids`` and ``attention_mask``, both ``[texts, longest]``."""
    return pad(encode(tokenizer, texts))
