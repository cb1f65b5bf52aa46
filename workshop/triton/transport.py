"""gRPC and HTTP behind one small interface, with the server's errors turned into ours."""

from __future__ import annotations

import json
import queue
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from typing import Protocol

import gevent
import numpy as np
import requests
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from geventhttpclient.response import HTTPConnectionClosed
from google.protobuf import json_format
from tritonclient.grpc import model_config_pb2 as pb
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from workshop.errors import (
    InferenceError,
    ModelNotFoundError,
    ModelNotReadyError,
    ServerUnreachableError,
    ServingError,
    ServingTimeoutError,
    TensorNameError,
    TensorShapeError,
    TensorTypeError,
)

Parameters = Mapping[str, str | int | float | bool]
Pending = Callable[[], dict[str, np.ndarray]]

# what Triton says, in the order it is looked for; anchored, since a message may quote a model's own words
_MESSAGES: tuple[tuple[str, type[ServingError]], ...] = (
    (r"failed to poll from model repository|^request for unknown model: '[^']*' is not found", ModelNotFoundError),
    (r"has no available versions|is not ready$|^(failed to load|load failed)|at least one version", ModelNotReadyError),
    (r"deadline exceeded|^failed to obtain inference response|^timed? ?out", ServingTimeoutError),
    (r"failed to connect|connection refused|^socket closed|connection reset|^unavailable", ServerUnreachableError),
    (r"^\[?[^:]*unexpected inference input|inference input .* missing|expected \d+ inputs but got", TensorNameError),
    (r"data-type is '", TensorTypeError),
    (r"unexpected shape for input|^\[?[^:]*inference request batch-size", TensorShapeError),
)
_FAILED_INSIDE = ("StatusCode.INTERNAL", "500")
_HINTS = {
    ModelNotFoundError: "python scripts/model_repository.py check",
    ModelNotReadyError: "run the notebook that traces the model, then client.load_model(name); or make status",
    ServingTimeoutError: "raise WORKSHOP_TRITON_TIMEOUT, or make status",
}


@dataclass(frozen=True)
class Request:
    """One inference request.

    Attributes:
        model: name of the served model.
        inputs: name to array.
        parameters: request parameters, for models that read them.
        version: of the model; empty lets the server choose.
        classes: output name to the number of best classes wanted instead of the tensor. Triton's classification
            extension: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_classification.md
    """

    model: str
    inputs: Mapping[str, np.ndarray]
    parameters: Parameters = field(default_factory=dict)
    version: str = ""
    classes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelState:
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


def translate(error: Exception, url: str, asked: str) -> ServingError:
    """The error of our tree that says what ``error`` means; ``asked`` names what was attempted."""
    if isinstance(error, ServingError):
        return error
    if isinstance(error, (TimeoutError, FutureTimeoutError, socket.timeout, gevent.Timeout, requests.Timeout)):
        return ServingTimeoutError(
            f"{asked} at {url}: no answer within the time allowed", hint="raise WORKSHOP_TRITON_TIMEOUT, or make status"
        )
    if isinstance(error, (ConnectionError, HTTPConnectionClosed, OSError)):
        return ServerUnreachableError(f"{asked}: no Triton server answers at {url} ({error})", hint="make up")
    text, status = _said(error)
    kind = next((kind for pattern, kind in _MESSAGES if re.search(pattern, text, re.IGNORECASE)), InferenceError)
    if status in _FAILED_INSIDE and kind not in (ModelNotFoundError, ModelNotReadyError):
        kind = InferenceError
    if kind is ServerUnreachableError:
        return kind(f"{asked}: no Triton server answers at {url} ({text})", hint="make up")
    if "polling is enabled" in text or "explicit model load" in text:
        return InferenceError(f"{asked} at {url}: {text}", hint="start tritonserver with --model-control-mode=explicit")
    return kind(f"{asked} at {url}: {text}", hint=_HINTS.get(kind))


def _said(error: Exception) -> tuple[str, str | None]:
    """The server's words and status; a TorchScript stack trace is cut to its last line, which says what went wrong."""
    if not isinstance(error, InferenceServerException):
        return str(error), None
    text = error.message() or ""
    if "TorchScript" in text and "Traceback" in text:
        text = f"{text.split('The following operation', 1)[0].strip()} {text.strip().splitlines()[-1].strip()}"
    return text, error.status()


class Transport(Protocol):
    """What the client needs of a protocol; every method may raise the protocol's own errors."""

    url: str

    def live(self) -> bool:
        """Whether the server accepts requests."""

    def ready(self, model: str) -> bool:
        """Whether a model is loaded."""

    def config(self, model: str) -> pb.ModelConfig:
        """The configuration the server uses for a model."""

    def index(self) -> list[ModelState]:
        """Every model the server knows of."""

    def statistics(self, model: str) -> dict:
        """What the server counted for a model, as the statistics extension lays it out."""

    def load(self, model: str) -> None:
        """Load or reload a model."""

    def unload(self, model: str) -> None:
        """Unload a model."""

    def send(self, request: Request, timeout: float) -> Pending:
        """Start a request; the returned call waits for its outputs."""

    def stream(
        self, model: str, inputs: Mapping[str, np.ndarray], parameters: Parameters, timeout: float
    ) -> Iterator[dict[str, object]]:
        """Start a request that may have many responses, and give each one's outputs; closing it cancels the request."""

    def close(self) -> None:
        """Close the connection."""


def _tensors(module: object, inputs: Mapping[str, np.ndarray]) -> list:
    tensors = []
    for name, array in inputs.items():
        tensor = module.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    return tensors


def arguments(module: object, request: Request) -> dict[str, object]:
    """What the client library's calls take for a request; ``module`` is the library of the protocol."""
    outputs = [module.InferRequestedOutput(name, class_count=count) for name, count in request.classes.items()]
    return {
        "model_name": request.model,
        "model_version": request.version,
        "inputs": _tensors(module, request.inputs),
        "outputs": outputs or None,
        "parameters": dict(request.parameters) or None,
    }


class GrpcTransport:
    """gRPC: usable from several threads."""

    def __init__(self, url: str, timeout: float) -> None:
        self.url = url
        self._timeout = timeout
        self._client = triton_grpc.InferenceServerClient(url)

    def live(self) -> bool:
        return self._client.is_server_live(client_timeout=self._timeout)

    def ready(self, model: str) -> bool:
        return self._client.is_model_ready(model, client_timeout=self._timeout)

    def config(self, model: str) -> pb.ModelConfig:
        return self._client.get_model_config(model, client_timeout=self._timeout).config

    def index(self) -> list[ModelState]:
        models = self._client.get_model_repository_index(client_timeout=self._timeout).models
        return [ModelState(m.name, m.version, m.state, m.reason) for m in models]

    def statistics(self, model: str) -> dict:
        return self._client.get_inference_statistics(model, as_json=True, client_timeout=self._timeout)

    def load(self, model: str) -> None:
        self._client.load_model(model, client_timeout=self._timeout)

    def unload(self, model: str) -> None:
        self._client.unload_model(model, client_timeout=self._timeout)

    def send(self, request: Request, timeout: float) -> Pending:
        future: Future = Future()

        def done(result: triton_grpc.InferResult | None, error: InferenceServerException | None) -> None:
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._client.async_infer(callback=done, client_timeout=timeout, **arguments(triton_grpc, request))

        def wait() -> dict[str, np.ndarray]:
            # the deadline is gRPC's; the extra second only guards against a callback that never comes
            result = future.result(timeout=timeout + 1)
            return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}

        return wait

    def stream(
        self, model: str, inputs: Mapping[str, np.ndarray], parameters: Parameters, timeout: float
    ) -> Iterator[dict[str, object]]:
        answers: queue.SimpleQueue[triton_grpc.InferResult | InferenceServerException] = queue.SimpleQueue()
        # a client of the library holds one stream, so each gets its own
        client = triton_grpc.InferenceServerClient(self.url)
        client.start_stream(lambda result, error: answers.put(error or result), stream_timeout=timeout)
        try:
            client.async_stream_infer(
                model,
                _tensors(triton_grpc, inputs),
                parameters=dict(parameters) or None,
                enable_empty_final_response=True,
            )
            while True:
                try:
                    answer = answers.get(timeout=timeout + 1)
                except queue.Empty:
                    raise TimeoutError from None
                if isinstance(answer, Exception):
                    raise answer
                response = answer.get_response()
                if response.outputs:
                    yield {output.name: answer.as_numpy(output.name) for output in response.outputs}
                if response.parameters["triton_final_response"].bool_param:
                    return
        finally:
            client.stop_stream(cancel_requests=True)
            client.close()

    def close(self) -> None:
        self._client.close()


class HttpTransport:
    """HTTP with binary tensors: one client per thread, since the library runs on gevent."""

    def __init__(self, url: str, timeout: float, connections: int) -> None:
        self.url = url
        self._client = triton_http.InferenceServerClient(
            url, concurrency=connections, connection_timeout=timeout, network_timeout=timeout
        )

    def live(self) -> bool:
        return self._client.is_server_live()

    def ready(self, model: str) -> bool:
        return self._client.is_model_ready(model)

    def config(self, model: str) -> pb.ModelConfig:
        return json_format.ParseDict(self._client.get_model_config(model), pb.ModelConfig(), ignore_unknown_fields=True)

    def index(self) -> list[ModelState]:
        return [
            ModelState(m["name"], m.get("version", ""), m.get("state", ""), m.get("reason", ""))
            for m in self._client.get_model_repository_index()
        ]

    def statistics(self, model: str) -> dict:
        return self._client.get_inference_statistics(model)

    def load(self, model: str) -> None:
        self._client.load_model(model)

    def unload(self, model: str) -> None:
        self._client.unload_model(model)

    def send(self, request: Request, timeout: float) -> Pending:
        pending = self._client.async_infer(**arguments(triton_http, request))

        def wait() -> dict[str, np.ndarray]:
            result = pending.get_result(timeout=timeout)
            return {output["name"]: result.as_numpy(output["name"]) for output in result.get_response()["outputs"]}

        return wait

    def stream(
        self, model: str, inputs: Mapping[str, np.ndarray], parameters: Parameters, timeout: float
    ) -> Iterator[dict[str, object]]:
        """Server-sent events of Triton's generate extension, whose inputs and outputs are JSON.

        https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_generate.md
        """
        body = {name: _as_json(array) for name, array in inputs.items()} | {"parameters": dict(parameters)}
        url = f"http://{self.url}/v2/models/{model}/generate_stream"
        with requests.post(url, json=body, stream=True, timeout=timeout) as answer:
            if answer.status_code != 200:
                raise InferenceServerException(_error_text(answer.text), status=str(answer.status_code))
            for line in answer.iter_lines():
                if line.startswith(b"data:"):
                    event = json.loads(line.removeprefix(b"data:"))
                    if "error" in event:
                        raise InferenceServerException(event["error"])
                    yield event

    def close(self) -> None:
        self._client.close()


def _as_json(array: np.ndarray) -> object:
    """A tensor as the generate extension takes it: a list, or the value alone when there is one."""
    values = [value.decode("utf-8") if isinstance(value, bytes) else value for value in array.reshape(-1).tolist()]
    return values[0] if len(values) == 1 else values


def _error_text(body: str) -> str:
    try:
        return json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return body
