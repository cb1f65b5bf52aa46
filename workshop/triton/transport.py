"""What the client asks of a protocol, gRPC or HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from google.protobuf import json_format
from tritonclient.utils import np_to_triton_dtype

if TYPE_CHECKING:
    from tritonclient.grpc import model_config_pb2 as pb

Parameters = Mapping[str, str | int | float | bool]
Pending = Callable[[], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Request:
    """One inference request.

    Attributes:
        model: name of the served model.
        inputs: name to array.
        parameters: request parameters, for models that read them.
        version: of the model; empty lets the server choose.
        id: names the request in the server's log and errors.
        timeout: seconds it may take; ``None``: as long as the client allows.
        outputs: names of the outputs wanted; empty: all.
        classes: output name to the number of best classes wanted instead of the tensor. Triton's classification
            extension: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_classification.md
    """

    model: str
    inputs: Mapping[str, np.ndarray]
    parameters: Parameters = field(default_factory=dict)
    version: str = ""
    outputs: tuple[str, ...] = ()
    classes: Mapping[str, int] = field(default_factory=dict)
    id: str = ""
    timeout: float | None = None


class ModelState(NamedTuple):
    """One line of the server's repository index.

    Attributes:
        name: the model.
        version: its version, empty when none is loaded.
        state: ``READY``, ``LOADING``, ``UNAVAILABLE``, ... or empty when it was never loaded.
        reason: why it is not ready, in the server's words.
    """

    name: str
    version: str
    state: str
    reason: str


class Streamed(NamedTuple):
    """One response of a stream.

    Attributes:
        position: of the request it answers, from 0.
        outputs: name to array, or to the plain values that JSON carries; empty for a last response without any.
        final: whether the request has no further response.
    """

    position: int
    outputs: dict[str, object]
    final: bool


class Transport(Protocol):
    """What the client needs of a protocol.

    Every method ends within its timeout, in seconds, and may raise the protocol's own errors.
    """

    def live(self, timeout: float) -> bool:
        """Whether the server accepts requests."""

    def ready(self, model: str, version: str, timeout: float) -> bool:
        """Whether a model is loaded."""

    def config(self, model: str, timeout: float) -> pb.ModelConfig:
        """The configuration the server uses for a model."""

    def index(self, timeout: float) -> list[ModelState]:
        """Every model the server knows of."""

    def statistics(self, model: str, timeout: float) -> dict:
        """What the server counted for a model, as the statistics extension lays it out."""

    def load(self, model: str, instead: Mapping[str, object], timeout: float) -> None:
        """Load or reload a model; ``instead`` of the repository's, what :func:`override` gives."""

    def unload(self, model: str, timeout: float) -> None:
        """Unload a model."""

    def send(self, request: Request, timeout: float) -> Pending:
        """Start a request; the returned call waits for its outputs."""

    def stream(self, requests: Iterable[Request], timeout: float, in_flight: int) -> Iterator[Streamed]:
        """Send requests over one stream, ``in_flight`` at a time, and give the responses as they come.

        ``timeout`` is for each response; closing the iterator cancels what is under way.
        """

    def close(self) -> None:
        """Close the connection."""


def override(config: pb.ModelConfig | None, files: Mapping[str, bytes] | None) -> dict[str, object]:
    """What the client library's load call takes for a model that is not served as the repository has it."""
    if config is None:
        return {}
    return {
        "config": json_format.MessageToJson(config, preserving_proto_field_name=True),
        "files": {f"file:{place}": content for place, content in (files or {}).items()},
    }


def arguments(module: object, request: Request) -> dict[str, object]:
    """What the client library's calls take for a request; ``module`` is the library of the protocol."""
    inputs = []
    for name, array in request.inputs.items():
        tensor = module.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    outputs = [
        module.InferRequestedOutput(name, class_count=request.classes.get(name, 0))
        for name in request.outputs or request.classes
    ]
    return {
        "model_name": request.model,
        "model_version": request.version,
        "inputs": inputs,
        "outputs": outputs or None,
        "parameters": dict(request.parameters) or None,
        "request_id": request.id,
    }
