"""Texts to token ids and back to padded arrays.

This module needs only ``numpy`` and ``tokenizers``: the served tokenizer models carry a copy of it
(``tokenization.py`` beside their ``model.py``), so that client and server cut texts the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from tokenizers import Tokenizer

# rows are padded to a multiple of this: few different lengths mean few kernels for the server to prepare and keep,
# and attention on CPUs takes twice as long at odd lengths; 16 would pad a film's overview by 14 % instead of 7
LENGTH_MULTIPLE = 8


class TextTokenizer:
    """A model's tokenizer with the model's own limits.

    Args:
        path: the ``tokenizer.json``.
        max_tokens: texts are cut there, special tokens included.
        pad_token_id: the id that fills up shorter rows.
        prompt: put before every text.
    """

    def __init__(self, path: str, max_tokens: int, pad_token_id: int = 0, prompt: str = "") -> None:
        self.raw: Tokenizer = Tokenizer.from_file(path)
        self.raw.enable_truncation(max_tokens)
        self.raw.no_padding()
        self.max_tokens = max_tokens
        self.pad_token_id = pad_token_id
        self.prompt = prompt

    @classmethod
    def from_parameters(cls, path: str, parameters: Mapping[str, str]) -> TextTokenizer:
        """The tokenizer with the limits that a model's configuration names, all of them text."""
        return cls(path, int(parameters["max_tokens"]), int(parameters["pad_token_id"]), parameters["prompt"])

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included, of unequal lengths up to ``max_tokens``."""
        # JSON and AQL can hold lone surrogates, which are no Unicode text: they become the replacement character
        clean = [(self.prompt + text).encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]
        return [encoding.ids for encoding in self.raw.encode_batch(clean)]

    def padded_length(self, longest: int) -> int:
        """``longest`` rounded up to ``LENGTH_MULTIPLE``, at least once that and at most ``max_tokens``."""
        return min(max(1, -(-longest // LENGTH_MULTIPLE)) * LENGTH_MULTIPLE, self.max_tokens)

    def pad(self, token_ids: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Pad to the longest row, rounded up.

        Returns:
            ``input_ids`` and ``attention_mask``, both int64 ``[rows, length]``; the mask is 1 on real tokens.
        """
        lengths = np.fromiter((len(ids) for ids in token_ids), dtype=np.int64, count=len(token_ids))
        length = self.padded_length(int(lengths.max(initial=0)))
        mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
        input_ids = np.full_like(mask, self.pad_token_id)
        if len(token_ids):
            input_ids[mask.astype(bool)] = np.concatenate([np.asarray(ids, dtype=np.int64) for ids in token_ids])
        return input_ids, mask

    def __call__(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Encode and pad: int64 ``input_ids`` and ``attention_mask``, both ``[texts, longest]``."""
        return self.pad(self.encode(texts))
