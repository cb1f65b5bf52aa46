"""Looking at an answer: is there one, is it of the right kind, and what does a learner's function return?"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np


class UnansweredError(Exception):
    """There is nothing to judge yet."""


class RefusedError(Exception):
    """The answer is of a kind that cannot be judged further; the message says why, for the learner."""


def is_open(answer: object) -> bool:
    """Whether an answer is still ``...`` or None, or a table, list or tuple of nothing else."""
    if answer is None or answer is ...:
        return True
    if isinstance(answer, Mapping):
        answer = list(answer.values())
    return isinstance(answer, list | tuple) and bool(answer) and all(is_open(part) for part in answer)


def number(answer: object, what: str) -> float:
    """The answer as a number; NumPy scalars and one-element tensors count.

    Raises:
        RefusedError: it is none, or not finite.
    """
    if isinstance(answer, str | bool):
        raise RefusedError(f"{what} should be a number, and is {shown(answer)}")
    try:
        value = float(answer)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise RefusedError(f"{what} should be a number, and is {shown(answer)}") from None
    if not math.isfinite(value):
        raise RefusedError(f"{what} should be a number, and is {value}")
    return value


def array(answer: object, what: str, shape: Sequence[int | None]) -> np.ndarray:
    """The answer as an array of numbers; ``None`` in the shape fits any size.

    Raises:
        RefusedError: it cannot be one, or has another shape.
    """
    detach = getattr(answer, "detach", None)
    try:
        values = np.asarray(detach().cpu() if detach else answer)
        values = values if values.dtype.kind in "biuf" else values.astype(np.float64)
    except (TypeError, ValueError):
        raise RefusedError(f"{what} should be an array of numbers, and is {shown(answer)}") from None
    fits = len(values.shape) == len(shape) and all(w in (None, s) for s, w in zip(values.shape, shape, strict=True))
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise RefusedError(f"{what} should have the shape [{wanted}], and has {list(values.shape)}")
    return values


def parts(answer: object, names: Sequence[str]) -> tuple[Any, ...]:
    """An answer of several parts, such as a name and a share.

    Raises:
        RefusedError: there are more or fewer, or some are still open.
    """
    wanted = f"({', '.join(names)})"
    if isinstance(answer, str) or not isinstance(answer, Collection) or len(answer) != len(names):
        raise RefusedError(f"the answer should be {wanted}, and is {shown(answer)}")
    values = tuple(answer)
    missing = [name for name, value in zip(names, values, strict=True) if is_open(value)]
    if missing:
        raise RefusedError(f"of {wanted}, {' and '.join(missing)} is still open")
    return values


def names(answer: object, what: str) -> set[str]:
    """An answer that lists names, in any order.

    Raises:
        RefusedError: it is one string, or holds something else than strings.
    """
    if isinstance(answer, str) or not isinstance(answer, Collection):
        raise RefusedError(f"{what} should be a list of names, and is {shown(answer)}")
    if odd := [value for value in answer if not isinstance(value, str)]:
        raise RefusedError(f"{what} should be a list of names, and holds {shown(odd[0])}")
    return set(answer)


def call(function: object, *arguments: object) -> Any:
    """What a learner's function returns.

    Raises:
        UnansweredError: it returns None or ``...``, as the starter does.
        RefusedError: it is no function, or it raises; the message says what.
    """
    if not callable(function):
        raise RefusedError(f"the answer should be a function, and is {shown(function)}")
    try:
        result = function(*arguments)
    except Exception as error:  # whatever a learner's code may raise is part of the verdict
        message = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        raise RefusedError(f"your function raised {message}") from error
    if result is None or result is ...:
        raise UnansweredError
    return result


def shown(value: object, longest: int = 80) -> str:
    """A value for a message, shortened."""
    text = " ".join(repr(value).split())
    return f"`{text if len(text) <= longest else text[: longest - 1] + '…'}`"
