"""Sentence vectors for lists of texts, in as few and as full requests as possible."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from workshop.errors import RepositoryError, TensorTypeError
from workshop.text.served import served_encoding, served_tokenizer
from workshop.text.signatures import SENTENCE_BERT
from workshop.text.tokenization import TextTokenizer
from workshop.triton.client import TritonClient
from workshop.triton.signature import ModelSignature

# tokens in one request, padding included: enough to keep the cores busy, small enough to stay near their caches
TOKENS_PER_REQUEST = 2048


class TextEmbedder:
    """Embeds texts through a served sentence BERT.

    How texts become tokens is read from the server: the configuration of the served model names the tokenizer's hash,
    the longest input, the prompt and the width. The tokenizer's file is looked for in the client's model repository
    and must have that hash. Tensors go by their place in the served signature, token ids first, so every form of the
    model (:mod:`workshop.text.forms`) can be asked.

    Texts are tokenised here and sorted by length, so that a request holds texts of nearly equal length: Triton only
    merges requests of equal shape, and padding costs as much as text.

    Args:
        client: where the model is served.
        model: name of the served model.
        tokenizer_file: the model's ``tokenizer.json``, for a machine that has no copy of the model repository.
        tokens_per_request: most tokens in a request of several texts, padding included.

    Raises:
        RepositoryError: the served model does not say how it encodes texts, or its tokenizer is not to be found.
        ServingError: as :meth:`TritonClient.signature`.
    """

    def __init__(
        self,
        client: TritonClient,
        model: str = SENTENCE_BERT.name,
        *,
        tokenizer_file: Path | None = None,
        tokens_per_request: int = TOKENS_PER_REQUEST,
    ) -> None:
        self.client = client
        self.model = model
        self.tokens_per_request = tokens_per_request
        self.encoding = served_encoding(client, model)
        self.tokenizer = served_tokenizer(client, model, tokenizer_file)

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self.encoding.width

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts.

        Args:
            texts: any number of strings; empty ones are allowed, and what exceeds the model's longest input is cut.

        Returns:
            float32 ``[texts, width]``, in the order of ``texts``; rows of length 1 where the model normalises.

        Raises:
            TensorTypeError: an entry is not a string.
            RepositoryError: the server serves another model under this name since the embedder was made.
            ServingError: as :meth:`TritonClient.infer`.
        """
        check_strings(texts, "texts")
        if (served := served_encoding(self.client, self.model)) != self.encoding:
            raise RepositoryError(
                f"model {self.model!r} at {self.client.url} was replaced: it encoded texts by {self.encoding}, and "
                f"does so by {served}",
                hint="make a new TextEmbedder(client, model)",
            )
        return vectors_of(self.client, self.model, self.tokenizer, self.width, texts, self.tokens_per_request)


class Infers(Protocol):
    """What embedding asks of a client of one server, or of several."""

    def signature(self, model: str) -> ModelSignature:
        """The served model's inputs, outputs and batch limit."""

    def infer_many(self, model: str, requests: Iterable[Mapping[str, object]]) -> Iterator[dict[str, np.ndarray]]:
        """Answers in the order of the requests."""


def vectors_of(
    client: Infers,
    model: str,
    tokenizer: TextTokenizer,
    width: int,
    texts: Sequence[str],
    token_limit: int = TOKENS_PER_REQUEST,
) -> np.ndarray:
    """Tokenise texts, send them sorted by length, and put the answers back into their order.

    Args:
        client: where the model is served.
        model: name of the served model.
        tokenizer: the model's own.
        width: numbers in a vector.
        texts: strings.
        token_limit: most tokens in a request of several texts, padding included.

    Returns:
        float32 ``[texts, width]``.
    """
    token_ids = tokenizer.encode(texts)
    signature = client.signature(model)
    lengths = [len(ids) for ids in token_ids]
    groups = list(batches_by_length(lengths, signature.max_batch_size, tokenizer.padded_length, token_limit))
    ids, mask = (spec.name for spec in signature.inputs)
    (embedding,) = (spec.name for spec in signature.outputs)
    padded = (tokenizer.pad([token_ids[i] for i in group]) for group in groups)
    requests = ({ids: input_ids, mask: attention_mask} for input_ids, attention_mask in padded)
    vectors = np.empty((len(texts), width), dtype=np.float32)
    for group, answer in zip(groups, client.infer_many(model, requests), strict=True):
        vectors[group] = answer[embedding]
    return vectors


def check_strings(texts: Sequence[str], name: str) -> None:
    """Raise ``TensorTypeError`` unless every entry is a string."""
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TensorTypeError(
                f"{name}: entry {index} is {type(text).__name__} ({text!r:.60}), expected str",
                hint="fill missing texts with an empty string before sending",
            )


def batches_by_length(
    lengths: Sequence[int], row_limit: int, padded: Callable[[int], int], token_limit: int = TOKENS_PER_REQUEST
) -> Iterator[np.ndarray]:
    """Positions of texts grouped by similar length, longest first; every position comes once.

    A group has at most ``row_limit`` rows and, unless it is a single row, at most ``token_limit`` tokens once each row
    is as long as ``padded`` makes the longest.
    """
    order = np.argsort(lengths, kind="stable")[::-1]
    start = 0
    while start < len(order):
        rows = max(1, min(row_limit, token_limit // padded(lengths[order[start]])))
        yield order[start : start + rows]
        start += rows
