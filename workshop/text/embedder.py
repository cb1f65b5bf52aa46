"""Sentence vectors for lists of texts, in as few and as full requests as possible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from workshop.errors import TensorTypeError
from workshop.text.signatures import EMBEDDING_SIZE, SENTENCE_BERT
from workshop.text.tokenization import LENGTH_MULTIPLE, encode, load_tokenizer, pad
from workshop.triton.client import TritonClient

# tokens in one request, padding included: enough to keep the cores busy, small enough to stay near their caches
TOKENS_PER_REQUEST = 2048


class TextEmbedder:
    """Embeds texts through the served ``sentence_bert``.

    Texts are tokenised here and sorted by length, so that a request holds texts of nearly equal length: Triton only
    merges requests of equal shape, and padding costs as much as text.

    Args:
        client: where the model is served.
        tokenizer_json: the tokenizer's file; it must be the one the model was traced with.
        model: name of the served model.
    """

    def __init__(self, client: TritonClient, tokenizer_json: Path, model: str = SENTENCE_BERT.name) -> None:
        self.client = client
        self.model = model
        self.tokenizer: Tokenizer = load_tokenizer(str(tokenizer_json))

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts.

        Args:
            texts: any number of strings; empty ones are allowed, and what exceeds 256 tokens is cut.

        Returns:
            float32 ``[texts, 384]``, rows of length 1, in the order of ``texts``.

        Raises:
            TensorTypeError: an entry is not a string.
            ServingError: as :meth:`TritonClient.infer`.
        """
        check_strings(texts, "texts")
        token_ids = encode(self.tokenizer, texts)
        row_limit = self.client.signature(self.model).max_batch_size
        groups = list(batches_by_length([len(ids) for ids in token_ids], row_limit))
        requests = (_request([token_ids[i] for i in group]) for group in groups)
        vectors = np.empty((len(texts), EMBEDDING_SIZE), dtype=np.float32)
        for group, answer in zip(groups, self.client.infer_many(self.model, requests), strict=True):
            vectors[group] = answer["embedding__0"]
        return vectors


def check_strings(texts: Sequence[str], name: str) -> None:
    """Raise ``TensorTypeError`` unless every entry is a string."""
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TensorTypeError(
                f"{name}: entry {index} is {type(text).__name__} ({text!r:.60}), expected str",
                hint="fill missing texts with an empty string before sending",
            )


def _request(token_ids: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    input_ids, attention_mask = pad(token_ids)
    return {"input_ids__0": input_ids, "attention_mask__1": attention_mask}


def batches_by_length(
    lengths: Sequence[int], row_limit: int, token_limit: int = TOKENS_PER_REQUEST
) -> Iterator[np.ndarray]:
    """Positions of texts grouped by similar length, longest first; every position comes once.

    A group has at most ``row_limit`` rows and, unless it is a single row, at most ``token_limit`` tokens once padded.
    """
    order = np.argsort(lengths, kind="stable")[::-1]
    start = 0
    while start < len(order):
        padded = max(1, -(-lengths[order[start]] // LENGTH_MULTIPLE)) * LENGTH_MULTIPLE
        rows = max(1, min(row_limit, token_limit // padded))
        yield order[start : start + rows]
        start += rows
