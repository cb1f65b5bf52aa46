"""What the client and its asynchronous twin share: a call as requests, its answers joined, and what is tried again."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from workshop.errors import InferenceError, ServerBusyError, ServerUnreachableError, ServingError, TensorNameError
from workshop.logs import REQUEST_LOG, current_request_id, new_request_id
from workshop.triton.signature import ModelSignature
from workshop.triton.tensors import prepare_inputs, split_rows
from workshop.triton.transport import Parameters, Request

LOGGER = logging.getLogger(REQUEST_LOG)
HEALTH_SECONDS = 5.0
"""Longest time one question after health or readiness may take."""
POLL_SECONDS = 0.1
_FIRST_PAUSE = 0.2


def blank_request(
    signature: ModelSignature,
    parameters: Parameters | None = None,
    version: str = "",
    outputs: Sequence[str] = (),
    classes: int = 0,
) -> Request:
    """A request without inputs, its outputs checked against the signature.

    Raises:
        TensorNameError: the model has no output of that name.
    """
    known = [spec.name for spec in signature.outputs]
    unknown = sorted(set(outputs) - set(known))
    if unknown:
        raise TensorNameError(f"model {signature.name!r}: unknown outputs {unknown}; it gives {known}")
    counts = dict.fromkeys(outputs or known, classes) if classes else {}
    id_ = current_request_id() or new_request_id()
    return Request(signature.name, {}, parameters or {}, version, tuple(outputs), counts, id_)


def cut(signature: ModelSignature, request: Request, inputs: Mapping[str, object]) -> list[Request]:
    """The requests that carry a batch of any size. Raises as :func:`prepare_inputs` does."""
    parts = split_rows(prepare_inputs(signature, inputs), signature.max_batch_size)
    return [replace(request, inputs=part) for part in parts]


def joined(answers: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The answers to the parts of a batch as one."""
    if len(answers) == 1:
        return answers[0]
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def whole(
    signature: ModelSignature, request: Request, answer: dict[str, np.ndarray], url: str
) -> dict[str, np.ndarray]:
    """The answer, when it has every output that was asked for, and a row of each for each row of the request.

    The rows are counted since Triton 2.51 was seen to mix up two answers, before it ended, when another client had died
    in the middle of its requests: https://github.com/triton-inference-server/server/issues/7368

    Raises:
        InferenceError: it has not.
    """
    wanted = request.outputs or [spec.name for spec in signature.outputs]
    missing = [name for name in wanted if name not in answer]
    if missing:
        raise InferenceError(f"model {request.model!r} at {url} answered without its outputs {missing}")
    if signature.max_batch_size and request.inputs:
        rows = len(next(iter(request.inputs.values())))
        others = {name: answer[name].shape for name in wanted if answer[name].shape[:1] != (rows,)}
        if others:
            raise InferenceError(
                f"model {request.model!r} at {url} answered {rows} rows by outputs of other lengths: {others}",
                hint="ask again; if it stays so, the model's outputs do not have the batch as their first axis",
            )
    return answer


@contextmanager
def logged(request: Request, url: str) -> Iterator[None]:
    """Log how the wait for an answer ended, where the log of requests is switched on."""
    if not LOGGER.isEnabledFor(logging.INFO):
        yield
        return
    began, outcome = time.perf_counter(), "ok"
    try:
        yield
    except ServingError as error:
        outcome = type(error).__name__
        raise
    finally:
        seconds = round(time.perf_counter() - began, 6)
        facts = {"request_id": request.id, "model": request.model, "server": url, "outcome": outcome}
        text = "model %(model)s at %(server)s: %(outcome)s, waited %(seconds)f s, request id %(request_id)s"
        LOGGER.info(text, {**facts, "seconds": seconds}, extra={**facts, "seconds": seconds})


def pauses(retries: int) -> Iterator[float]:
    """Seconds to wait before each further attempt; each pause is twice as long as the one before."""
    return (_FIRST_PAUSE * 2**attempt for attempt in range(retries))


def is_worth_retrying(error: ServingError) -> bool:
    """Whether the same request may succeed a moment later."""
    return isinstance(error, (ServerUnreachableError, ServerBusyError))


class Deadline:
    """A moment by which a wait ends.

    Args:
        seconds: from now.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        """Whether it has passed."""
        return time.monotonic() >= self._end

    def limit(self, longest: float = HEALTH_SECONDS) -> float:
        """Seconds that a step may still take, at most ``longest``; a last one of 50 ms is always allowed."""
        return min(longest, max(self._end - time.monotonic(), 0.05))
