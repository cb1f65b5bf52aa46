"""What a request may ask of a text generator: names, types, ranges and defaults of its parameters."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

MAX_TEMPERATURE = 2.0
MAX_SEQUENCES = 16
MAX_STOPS = 16
PROMPT_FORMATS = ("text", "user", "messages")


@dataclass(frozen=True)
class Options:
    """The options of one request.

    Attributes:
        max_tokens: most tokens to generate.
        temperature: 0 takes the likeliest token each time; above, the logits are divided by it before sampling.
        top_p: sample among the likeliest tokens that together have this probability.
        top_k: sample among this many likeliest tokens; 0 means all.
        seed: of the sampling, ``None`` for a fresh one.
        num_sequences: texts for each prompt.
        stop: texts that end the generation and are not part of it.
        return_full_text: whether the prompt comes before the generated text.
        prompt_format: ``text`` continues the prompt, ``user`` puts it into the model's chat template as the user's
            message, ``messages`` reads it as a JSON list of ``{"role": ..., "content": ...}``.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    num_sequences: int = 1
    stop: tuple[str, ...] = ()
    return_full_text: bool = False
    prompt_format: str = "text"


def read_options(parameters: Mapping[str, object], *, max_length: int, chat: bool) -> Options:
    """Check a request's parameters.

    Numbers and truth values may come as text, since not every client can send floats. Asking for any kind of sampling
    (``top_p``, ``top_k``, ``seed``, ``num_sequences``) without a temperature means temperature 1.

    Args:
        parameters: of the request; names that begin with ``triton_`` are the server's own.
        max_length: tokens to generate when the request does not say.
        chat: whether the model has a chat template, which then is the default.

    Raises:
        ValueError: an unknown name, a wrong type or a value out of range; the message says which and what is allowed.
    """
    asked = {name: value for name, value in parameters.items() if not name.startswith("triton_")}
    unknown = sorted(set(asked) - set(_READERS))
    if unknown:
        raise ValueError(f"unknown parameter {', '.join(unknown)}; known are {', '.join(_READERS)}")
    values = {name: _READERS[name](name, value) for name, value in asked.items()}
    sampling = {"top_p", "top_k", "seed", "num_sequences"} & set(values)
    values.setdefault("temperature", 1.0 if sampling else 0.0)
    values.setdefault("max_tokens", max_length)
    values.setdefault("prompt_format", "user" if chat else "text")
    options = Options(**values)
    if options.num_sequences > 1 and options.temperature == 0:
        raise ValueError("num_sequences above 1 needs a temperature above 0, or all texts are the same")
    if options.prompt_format != "text" and not chat:
        raise ValueError(f"prompt_format {options.prompt_format!r}: this model has no chat template; use 'text'")
    if options.prompt_format == "messages" and options.return_full_text:
        raise ValueError("return_full_text goes with prompt_format 'text' or 'user', not with 'messages'")
    return options


def _whole(low: int, high: int) -> Callable[[str, object], int]:
    def read(name: str, value: object) -> int:
        try:
            number = int(value) if isinstance(value, str) else value
        except ValueError:
            number = None
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= high:
            raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}")
        return number

    return read


def _real(low: float, high: float, *, above: bool = False) -> Callable[[str, object], float]:
    def read(name: str, value: object) -> float:
        try:
            number = float("nan") if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if not (low < number if above else low <= number) or not number <= high:
            raise ValueError(
                f"{name} must be {'above' if above else 'at least'} {low} and at most {high}, got {value!r}"
            )
        return number

    return read


def _truth(name: str, value: object) -> bool:
    known = {"true": True, "false": False}
    if isinstance(value, bool):
        return value
    if str(value).lower() not in known:
        raise ValueError(f"{name} must be true or false, got {value!r}")
    return known[str(value).lower()]


def _stops(name: str, value: object) -> tuple[str, ...]:
    """One stop text, or a JSON list of them: Triton's parameters are single values."""
    stops = value
    if isinstance(value, str):
        try:
            stops = json.loads(value) if value.lstrip().startswith("[") else [value]
        except ValueError:
            stops = [value]
    fits = isinstance(stops, list) and len(stops) <= MAX_STOPS and all(isinstance(s, str) and s for s in stops)
    if not fits:
        raise ValueError(
            f"{name} must be a text or a JSON list of at most {MAX_STOPS} texts, none empty, got {value!r}"
        )
    return tuple(stops)


def _prompt_format(name: str, value: object) -> str:
    if value not in PROMPT_FORMATS:
        raise ValueError(f"{name} must be one of {', '.join(PROMPT_FORMATS)}, got {value!r}")
    return str(value)


_READERS: dict[str, Callable[[str, object], object]] = {
    "max_tokens": _whole(1, 2**31 - 1),
    "temperature": _real(0, MAX_TEMPERATURE),
    "top_p": _real(0, 1, above=True),
    "top_k": _whole(0, 2**31 - 1),
    "seed": _whole(0, 2**63 - 1),
    "num_sequences": _whole(1, MAX_SEQUENCES),
    "stop": _stops,
    "return_full_text": _truth,
    "prompt_format": _prompt_format,
}
