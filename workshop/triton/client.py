"""The Triton client of the workshop: numpy in, dict of numpy out."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from workshop.errors import (
    InferenceError,
    ModelNotFoundError,
    ModelNotReadyError,
    ServerUnreachableError,
    ServingTimeoutError,
)
from workshop.settings import Settings
from workshop.triton.signature import ModelSignature, read_signature
from workshop.triton.tensors import Arrays, prepare_inputs, split_rows
from workshop.triton.transport import (
    GrpcTransport,
    HttpTransport,
    ModelState,
    Parameters,
    Pending,
    Request,
    Transport,
    translate,
)

Result = TypeVar("Result")

POLL_SECONDS = 0.1


class TritonClient:
    """Talks to one Triton server over one reused connection.

    Use it in a ``with`` block. Over gRPC it may be shared by threads; over HTTP make one per thread.

    Args:
        url: ``host:port`` of the protocol's port, without a scheme.
        protocol: ``grpc`` or ``http``.
        timeout: seconds one request may take.
        in_flight: requests kept under way at once by :meth:`infer` and :meth:`infer_many`: one more than a model
            has instances keeps them busy without making full requests wait for each other.
        model_repository: the server's model repository as this machine sees it, where it does.
        retries: further attempts after the connection broke or was refused. Inference has no side effects, so
            sending it again is safe; a request that timed out is not sent again, since the server may still be busy.
    """

    def __init__(
        self,
        url: str,
        *,
        protocol: Literal["grpc", "http"] = "grpc",
        timeout: float = 300.0,
        in_flight: int = 3,
        retries: int = 2,
        model_repository: Path | None = None,
    ) -> None:
        self.url = url
        self.timeout = timeout
        self.in_flight = in_flight
        self.retries = retries
        self.model_repository = model_repository
        self._transport: Transport = (
            GrpcTransport(url, timeout) if protocol == "grpc" else HttpTransport(url, timeout, in_flight)
        )
        self._signatures: dict[str, ModelSignature] = {}

    @classmethod
    def from_settings(cls, settings: Settings, **options: object) -> TritonClient:
        """A client for the server that ``settings`` name."""
        grpc = settings.triton_protocol == "grpc"
        port = settings.triton_grpc_port if grpc else settings.triton_http_port
        return cls(
            f"{settings.triton_host}:{port}",
            protocol=settings.triton_protocol,
            timeout=settings.triton_timeout,
            model_repository=settings.model_repository,
            **options,
        )

    def __enter__(self) -> TritonClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    # --- the server and its models ----------------------------------------------------------------------------
    def is_live(self) -> bool:
        """Whether the server answers."""
        try:
            return self._transport.live()
        except Exception as error:
            if isinstance(translate(error, self.url, "health check"), (ServerUnreachableError, ServingTimeoutError)):
                return False
            raise

    def is_ready(self, model: str) -> bool:
        """Whether a model is loaded and answers."""
        return self._call(lambda: self._transport.ready(model), f"readiness of model {model!r}")

    def models(self) -> list[ModelState]:
        """Every model in the server's repository, with its state and, where it failed, the reason."""
        return self._call(self._transport.index, "repository index")

    def seconds(self, model: str) -> dict[str, float]:
        """Seconds a model has spent on requests so far: in ``queue``, reading ``input``, ``infer`` and ``output``.

        Triton's statistics extension:
        https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md
        """
        found = self._call(lambda: self._transport.statistics(model), f"statistics of model {model!r}")
        spent = dict.fromkeys(("queue", "input", "infer", "output"), 0.0)
        for entry in found.get("model_stats", []):
            durations = entry.get("inference_stats", {})
            for name in spent:
                key = name if name == "queue" else f"compute_{name}"
                spent[name] += int(durations.get(key, {}).get("ns", 0)) / 1e9
        return spent

    def wait_ready(self, *models: str, timeout: float = 60.0) -> None:
        """Wait until the server is live and the models are ready.

        Raises:
            ServerUnreachableError: no server answered in time.
            ModelNotFoundError: the server does not know a model.
            ModelNotReadyError: a model failed to load, or was not ready in time; the message holds the reason.
        """
        end = time.monotonic() + timeout
        while not self.is_live():
            if time.monotonic() > end:
                raise ServerUnreachableError(
                    f"no Triton server answered at {self.url} within {timeout:.0f} s", hint="make up, then make status"
                )
            time.sleep(POLL_SECONDS)
        for model in models:
            while not self.is_ready(model):
                self._raise_if_hopeless(model)
                if time.monotonic() > end:
                    raise ModelNotReadyError(
                        f"model {model!r} at {self.url} was not ready within {timeout:.0f} s", hint="make status"
                    )
                time.sleep(POLL_SECONDS)

    def _raise_if_hopeless(self, model: str) -> None:
        states = {state.name: state for state in self.models()}
        if model not in states:
            raise ModelNotFoundError(
                f"model {model!r} is not in the repository of {self.url}; it holds {sorted(states)}",
                hint="run the notebook that traces the model",
            )
        if states[model].state in ("", "UNAVAILABLE"):
            reason = states[model].reason or "it was never loaded"
            raise ModelNotReadyError(
                f"model {model!r} at {self.url} is not loaded: {reason}",
                hint="run the notebook that traces the model, then client.load_model(name)",
            )

    def load_model(self, model: str) -> None:
        """Load a model, or load it again after its files changed; other models keep serving.

        Raises:
            ModelNotFoundError: the repository has no such model.
            ModelNotReadyError: loading failed; the message holds the server's reason.
        """
        self._signatures.pop(model, None)
        self._call(lambda: self._transport.load(model), f"loading model {model!r}")

    def unload_model(self, model: str) -> None:
        """Take a model out of service."""
        self._signatures.pop(model, None)
        self._call(lambda: self._transport.unload(model), f"unloading model {model!r}")

    def signature(self, model: str, *, fresh: bool = False) -> ModelSignature:
        """Inputs, outputs, batch limit and parameters of a served model, read from the server once.

        Args:
            model: name of the served model.
            fresh: ask the server again, since another client may have loaded something else under that name.
        """
        if fresh or model not in self._signatures:
            config = self._call(lambda: self._transport.config(model), f"configuration of model {model!r}")
            self._signatures[model] = read_signature(config)
        return self._signatures[model]

    # --- inference --------------------------------------------------------------------------------------------
    def infer(
        self,
        model: str,
        inputs: Mapping[str, object],
        *,
        parameters: Parameters | None = None,
        version: str = "",
        classes: int = 0,
    ) -> dict[str, np.ndarray]:
        """Run a model on one batch of any size.

        Args:
            model: name of the served model.
            inputs: name to array (or texts, for ``BYTES``); with a batch axis first where the model has one.
            parameters: request parameters, for models that read them.
            version: of the model; empty lets the server choose.
            classes: ask for this many best classes of each output instead of the tensor: texts ``score:index:label``
                of shape ``[rows, classes]``.

        Returns:
            Output name to array, rows in the order of the input.

        Raises:
            SignatureError: the inputs do not fit; raised before anything is sent.
            ModelNotFoundError: the server has no such model.
            ModelNotReadyError: the model is not loaded.
            InferenceError: the model failed on the inputs.
            ServerUnreachableError: no server, or the connection broke, also after the retries.
            ServingTimeoutError: no answer within ``timeout`` seconds.
        """
        signature = self.signature(model)
        parts = split_rows(prepare_inputs(signature, inputs), signature.max_batch_size)
        request = self._request(model, {}, parameters, version, classes)
        answers = list(self._in_order(replace(request, inputs=part) for part in parts))
        if len(answers) == 1:
            return answers[0]
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    def infer_many(
        self,
        model: str,
        requests: Iterable[Mapping[str, object]],
        *,
        parameters: Parameters | None = None,
        version: str = "",
        classes: int = 0,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Run a model on many requests, ``in_flight`` at a time; answers come in the order of the requests.

        Each request must respect the model's batch limit. Raises as :meth:`infer` does.
        """
        signature = self.signature(model)
        request = self._request(model, {}, parameters, version, classes)
        return self._in_order(replace(request, inputs=prepare_inputs(signature, inputs)) for inputs in requests)

    def stream(
        self, model: str, inputs: Mapping[str, object], *, parameters: Parameters | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        """Run a decoupled model on one request and give the outputs of each response as it comes.

        The request is cancelled when the iterator is closed before its end. A broken stream is not started again,
        since part of its answer has been handed out. Over HTTP the inputs must be plain values.

        Raises:
            InferenceError: the model failed, or is not decoupled; also after the first responses.
            ServingError: as :meth:`infer` does.
        """
        signature = self.signature(model)
        arrays = prepare_inputs(signature, inputs)
        dtypes = {spec.name: spec.numpy_dtype for spec in signature.outputs}
        try:
            with closing(self._transport.stream(model, arrays, parameters or {}, self.timeout)) as answers:
                for answer in answers:
                    yield {name: _as_array(answer[name], dtype) for name, dtype in dtypes.items() if name in answer}
        except Exception as error:
            raise translate(error, self.url, f"model {model!r}") from error

    def _request(
        self, model: str, inputs: Arrays, parameters: Parameters | None, version: str, classes: int
    ) -> Request:
        counts = {spec.name: classes for spec in self.signature(model).outputs} if classes else {}
        return Request(model, inputs, parameters or {}, version, counts)

    def _in_order(self, requests: Iterable[Request]) -> Iterator[dict[str, np.ndarray]]:
        under_way: deque[tuple[Request, Pending | Exception]] = deque()
        for request in requests:
            under_way.append((request, self._start(request)))
            if len(under_way) == self.in_flight:
                yield self._finish(*under_way.popleft())
        while under_way:
            yield self._finish(*under_way.popleft())

    def _start(self, request: Request) -> Pending | Exception:
        try:
            return self._transport.send(request, self.timeout)
        except Exception as error:  # met again, translated, when the answer is due
            return error

    def _finish(self, request: Request, pending: Pending | Exception) -> dict[str, np.ndarray]:
        asked = f"model {request.model!r}"
        for attempt in range(self.retries + 1):
            try:
                if isinstance(pending, Exception):
                    raise pending
                return self._whole(request.model, pending())
            except Exception as error:
                problem = translate(error, self.url, asked)
                if not isinstance(problem, ServerUnreachableError) or attempt == self.retries:
                    raise problem from error
            time.sleep(0.2 * 2**attempt)
            pending = self._start(request)
        raise AssertionError("unreachable")

    def _whole(self, model: str, answer: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        missing = [spec.name for spec in self.signature(model).outputs if spec.name not in answer]
        if missing:
            raise InferenceError(f"model {model!r} at {self.url} answered without its outputs {missing}")
        return answer

    def _call(self, action: Callable[[], Result], asked: str) -> Result:
        try:
            return action()
        except Exception as error:
            raise translate(error, self.url, asked) from error


def _as_array(value: object, dtype: np.dtype) -> np.ndarray:
    """An output as an array: gRPC gives one already, JSON a value or a list, texts as ``str``."""
    if isinstance(value, np.ndarray):
        return value
    values = value if isinstance(value, list) else [value]
    return np.array([v.encode("utf-8") if isinstance(v, str) else v for v in values], dtype=dtype)
