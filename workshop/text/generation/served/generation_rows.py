"""What the engines of a text generator share: rows in, pieces of text out, prompts to tokens, stop texts."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

from generation_options import Options
from transformers import AutoTokenizer

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Row:
    """One text to generate.

    Attributes:
        tokens: the prompt's token ids.
        options: of its request.
        seed: of its sampling.
    """

    tokens: list[int]
    options: Options
    seed: int


@dataclass(frozen=True)
class Piece:
    """Text that a row has gained.

    Attributes:
        row: position of the row.
        text: the new text, which may be empty.
        tokens: how many tokens the row has generated so far.
        finish_reason: ``stop`` (the model or a stop text ended it), ``length`` or ``cancelled``; empty while it runs.
    """

    row: int
    text: str
    tokens: int
    finish_reason: str = ""


class Prompts:
    """Turns prompts into token ids, with the model's chat template where asked.

    Args:
        model: folder or Hub id; only what is on this machine is used.
    """

    def __init__(self, model: str) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
        if not self.tokenizer.is_fast:
            raise ValueError(f"{model}: no fast tokenizer, which streaming needs")

    @property
    def has_template(self) -> bool:
        """Whether the model has a chat template."""
        return bool(self.tokenizer.chat_template)

    def rows(self, prompt: str, options: Options, context: int) -> list[Row]:
        """The rows of one prompt, one a sequence; a given seed is counted up over the sequences.

        Raises:
            ValueError: an empty prompt, wrong messages, or more tokens than the model's context window holds.
        """
        tokens = self.encode(prompt, options.prompt_format)
        room = context - len(tokens)
        if room < options.max_tokens:
            raise ValueError(
                f"the prompt has {len(tokens)} tokens and max_tokens is {options.max_tokens}, together more than the "
                f"model's context window of {context}; "
                + (f"max_tokens can be at most {room}" if room > 0 else "shorten the prompt")
            )
        first = random.SystemRandom().getrandbits(62) if options.seed is None else options.seed
        return [Row(tokens, options, (first + number) % 2**63) for number in range(options.num_sequences)]

    def encode(self, prompt: str, prompt_format: str) -> list[int]:
        """Token ids of a prompt in one of the formats of :class:`Options`."""
        if not prompt.strip():
            raise ValueError("the prompt is empty")
        if prompt_format == "text":
            tokens = self.tokenizer(prompt)["input_ids"]
        else:
            messages = _messages(prompt) if prompt_format == "messages" else [{"role": "user", "content": prompt}]
            text = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
            tokens = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if not tokens:
            raise ValueError("the prompt has no tokens")
        return tokens


def _messages(prompt: str) -> list[dict[str, str]]:
    try:
        messages = json.loads(prompt)
    except ValueError as error:
        raise ValueError(f"prompt_format 'messages': the prompt is not JSON: {error}") from error
    fits = (
        isinstance(messages, list)
        and messages
        and all(isinstance(m, dict) and m.get("role") in ROLES and isinstance(m.get("content"), str) for m in messages)
    )
    if not fits:
        raise ValueError(
            'prompt_format \'messages\': expected a list of {"role": ..., "content": text} with the roles '
            + ", ".join(ROLES)
        )
    return [{"role": message["role"], "content": message["content"]} for message in messages]


class StopScanner:
    """Watches a growing text for stop texts, and holds back what may become one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""

    def feed(self, text: str) -> tuple[str, bool]:
        """Take in new text; gives the text that can be handed out, and whether a stop text was met."""
        self._held += text
        found = [at for at in (self._held.find(stop) for stop in self._stops) if at >= 0]
        if found:
            ready, self._held = self._held[: min(found)], ""
            return ready, True
        keep = max((self._overlap(stop) for stop in self._stops), default=0)
        ready, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return ready, False

    def rest(self) -> str:
        """What was held back, when no more text comes."""
        held, self._held = self._held, ""
        return held

    def _overlap(self, stop: str) -> int:
        """Length of the longest end of the text that begins ``stop``."""
        longest = min(len(stop) - 1, len(self._held))
        return next((size for size in range(longest, 0, -1) if stop.startswith(self._held[-size:])), 0)
