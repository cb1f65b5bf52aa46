"""Bodies of requests to Triton behind SageMaker, as JSON or binary, and the answers.

The binary form is Triton's extension for binary tensors. Its content type carries the length of the JSON part, since
SageMaker hands no other header on: https://github.com/triton-inference-server/server/tree/main/docs/protocol
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import np_to_triton_dtype

from workshop.errors import InvocationError, PayloadError

JSON_TYPE = "application/json"
BINARY_TYPE = "application/vnd.sagemaker-triton.binary+json"
LARGEST_PAYLOAD = 6 * 2**20
"""Bytes that a real-time endpoint takes in one request."""
_HEADER_SIZE = re.compile(rf"^{re.escape(BINARY_TYPE)};json-header-size=(\d+)$")


@dataclass(frozen=True)
class Payload:
    """The body of a request, or of an answer, and its content type."""

    body: bytes
    content_type: str


def encode(inputs: Mapping[str, np.ndarray], outputs: Sequence[str], *, binary: bool) -> Payload:
    """The request for ``outputs`` of a model.

    Args:
        inputs: arrays by tensor name; texts as an array of ``object`` that holds ``str`` or ``bytes``.
        outputs: names of the outputs wanted.
        binary: tensors as raw bytes behind the JSON part, in both directions; else as numbers and texts in JSON.

    Raises:
        PayloadError: the request is larger than an endpoint takes.
    """
    tensors = []
    for name, array in inputs.items():
        tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array, binary_data=binary)
        tensors.append(tensor)
    wanted = [InferRequestedOutput(name, binary_data=binary) for name in outputs]
    body, json_length = InferenceServerClient.generate_request_body(tensors, outputs=wanted)
    body = body.encode() if isinstance(body, str) else bytes(body)
    payload = Payload(body, f"{BINARY_TYPE};json-header-size={json_length}" if binary else JSON_TYPE)
    check(payload)
    return payload


def check(payload: Payload) -> None:
    """Refuse what an endpoint or Triton would refuse, with the way out.

    Raises:
        PayloadError: the body is too large, or the content type is none of Triton's two.
    """
    if len(payload.body) > LARGEST_PAYLOAD:
        raise PayloadError(
            f"the request has {len(payload.body):,} bytes, an endpoint takes {LARGEST_PAYLOAD:,}",
            hint="send fewer texts at a time, or use the binary form",
        )
    size = _HEADER_SIZE.match(payload.content_type)
    if payload.content_type != JSON_TYPE and not size:
        raise PayloadError(
            f"content type {payload.content_type!r}: Triton takes {JSON_TYPE}, or {BINARY_TYPE};json-header-size=N",
            hint="let workshop.sagemaker.payload.encode make the request",
        )
    if size and int(size[1]) > len(payload.body):
        raise PayloadError(f"{payload.content_type}: the body has {len(payload.body)} bytes only")


def decode(answer: Payload) -> dict[str, np.ndarray]:
    """The outputs in an answer, by name.

    Raises:
        InvocationError: the answer is none of Triton's.
    """
    size = _HEADER_SIZE.match(answer.content_type)
    try:
        result = InferenceServerClient.parse_response_body(answer.body, header_length=int(size[1]) if size else None)
        return {output["name"]: result.as_numpy(output["name"]) for output in result.get_response()["outputs"]}
    except (ValueError, KeyError, TypeError) as error:
        raise InvocationError(
            f"the answer ({answer.content_type}, {len(answer.body)} bytes) is not one of Triton's: "
            f"{answer.body[:200]!r}"
        ) from error


def error_text(body: bytes) -> str:
    """What Triton, or who stands before it, says of a request that failed."""
    try:
        said = json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")[:500] or "no reason given"
    return str(said.get("error") or said) if isinstance(said, dict) else str(said)
