"""The client of the served generators and classifiers: prompts in, texts, streams or labels out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from workshop.text.generation.signatures import STREAM_SUFFIX
from workshop.triton.client import TritonClient
from workshop.triton.transport import Parameters


@dataclass(frozen=True)
class Generated:
    """A generated text.

    Attributes:
        text: without the prompt, unless the request asked for it.
        finish_reason: ``stop`` (the model or a stop text ended it), ``length`` or ``cancelled``.
        tokens: how many were generated.
        prompt_tokens: how many the prompt has, chat template included.
    """

    text: str
    finish_reason: str
    tokens: int
    prompt_tokens: int


@dataclass(frozen=True)
class Classified:
    """A text's likeliest label and its probability."""

    label: str
    score: float


def prompt_rows(prompts: Sequence[str]) -> np.ndarray:
    """Prompts as the served models take them, ``[prompts, 1]``."""
    return np.array(prompts, dtype=object)[:, None]


def generate(
    client: TritonClient, model: str, prompts: Sequence[str], *, parameters: Parameters | None = None
) -> list[list[Generated]]:
    """Generate texts, any number of prompts at once.

    Args:
        client: connected to the server.
        model: a generator, not its streaming twin.
        prompts: at least one.
        parameters: of the request, see ``served/generation_options.py``; the same for all prompts.

    Returns:
        For each prompt its ``num_sequences`` texts.

    Raises:
        ServingError: as :meth:`TritonClient.infer` does.
    """
    answer = client.infer(model, {"prompt": prompt_rows(prompts)}, parameters=parameters)
    return [
        [
            Generated(text.decode("utf-8"), reason.decode("utf-8"), int(tokens), int(prompt_tokens[0]))
            for text, reason, tokens in zip(texts, reasons, counts, strict=True)
        ]
        for texts, reasons, counts, prompt_tokens in zip(
            answer["text"], answer["finish_reason"], answer["completion_tokens"], answer["prompt_tokens"], strict=True
        )
    ]


def stream(
    client: TritonClient, model: str, prompt: str, *, parameters: Parameters | None = None
) -> Iterator[tuple[int, Generated]]:
    """Generate a text and give its pieces as they come; closing the iterator ends the generation.

    Args:
        client: connected to the server.
        model: a generator; its streaming twin is asked.
        prompt: one.
        parameters: of the request.

    Yields:
        The sequence's position, and the new text with the tokens generated so far; ``finish_reason`` is empty until
        the sequence's last piece.

    Raises:
        ServingError: as :meth:`TritonClient.stream` does.
    """
    inputs = {"text_input": np.array([prompt], dtype=object)}
    with closing(client.stream(model + STREAM_SUFFIX, inputs, parameters=parameters)) as answers:
        for answer in answers:
            yield (
                int(answer["index"][0]),
                Generated(
                    answer["text_output"][0].decode("utf-8"),
                    answer["finish_reason"][0].decode("utf-8"),
                    int(answer["completion_tokens"][0]),
                    int(answer["prompt_tokens"][0]),
                ),
            )


def classify(client: TritonClient, model: str, prompts: Sequence[str]) -> list[Classified]:
    """The likeliest label of each text. Raises as :meth:`TritonClient.infer` does."""
    answer = client.infer(model, {"prompt": prompt_rows(prompts)})
    pairs = zip(answer["label"][:, 0], answer["score"][:, 0], strict=True)
    return [Classified(label.decode("utf-8"), float(score)) for label, score in pairs]
