"""The Triton client of the workshop: numpy in, dict of numpy out."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from workshop.errors import (
    InferenceError,
    ModelNotFoundError,
    ModelNotReadyError,
    ServerUnreachableError,
    ServingError,
    ServingTimeoutError,
)
from workshop.logs import current_request_id
from workshop.triton.calls import (
    HEALTH_SECONDS,
    POLL_SECONDS,
    Deadline,
    blank_request,
    cut,
    is_worth_retrying,
    joined,
    logged,
    pauses,
    whole,
)
from workshop.triton.connection import connect
from workshop.triton.endpoint import Endpoint, ProtocolName, Tls
from workshop.triton.failures import absence, silent, translate, unready, without_index
from workshop.triton.server_time import ServerTime, read_server_time
from workshop.triton.signature import ModelSignature, read_signature
from workshop.triton.tensors import prepare_inputs
from workshop.triton.transport import ModelState, Parameters, Pending, Request, Streamed, override

if TYPE_CHECKING:
    from tritonclient.grpc import model_config_pb2 as pb

    from workshop.settings import Settings

Result = TypeVar("Result")

FORMATS = {
    "pytorch": "TorchScript",
    "onnxruntime": "ONNX",
    "openvino": "OpenVINO",
    "torch_aoti": "AOTInductor",
    "tensorrt": "TensorRT",
}
"""What the file of a model is called, by the backend that reads it."""


class TritonClient:
    """Talks to one Triton server over one reused connection.

    Use it in a ``with`` block. Over gRPC it may be shared by threads; over HTTP make one per thread. Its twin for
    asyncio is :class:`workshop.triton.aio.AsyncTritonClient`.

    Args:
        url: ``host:port`` of the protocol's port, without a scheme.
        protocol: ``grpc`` or ``http``.
        timeout: seconds one request may take.
        in_flight: requests kept under way at once by :meth:`infer` and :meth:`infer_many`: one more than a model
            has instances keeps them busy without making full requests wait for each other.
        retries: further attempts after the connection broke or was refused, or the server was too busy. Inference has
            no side effects, so sending it again is safe; a request that timed out is not sent again, since the server
            may still be busy with it.
        tls: encrypt the connection; ``None``: plain.
        headers: sent with every request, over gRPC as metadata.
        control_key: of a server that restricts listing, loading and unloading models; sent with those requests only.
        model_repository: the server's model repository as this machine sees it, where it does.
    """

    def __init__(
        self,
        url: str,
        *,
        protocol: ProtocolName = "grpc",
        timeout: float = 300.0,
        in_flight: int = 3,
        retries: int = 2,
        tls: Tls | None = None,
        headers: Mapping[str, str] | None = None,
        control_key: str = "",
        model_repository: Path | None = None,
    ) -> None:
        self.url = url
        self.timeout = timeout
        self.in_flight = in_flight
        self.retries = retries
        self.model_repository = model_repository
        self._transport = connect(protocol, Endpoint(url, tls, headers or {}, control_key), in_flight)
        self._signatures: dict[str, ModelSignature] = {}

    @classmethod
    def from_settings(cls, settings: Settings, **options: object) -> TritonClient:
        """A client for the server that ``settings`` name; ``options`` as for the class win."""
        endpoint = Endpoint.from_settings(settings, settings.triton_protocol)
        given = {
            "url": endpoint.url,
            "protocol": settings.triton_protocol,
            "timeout": settings.triton_timeout,
            "tls": endpoint.tls,
            "headers": endpoint.headers,
            "control_key": endpoint.control_key,
            "model_repository": settings.model_repository,
        }
        return cls(**{**given, **options})

    def __enter__(self) -> TritonClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    # --- the server and its models ----------------------------------------------------------------------------
    def is_live(self, *, timeout: float = HEALTH_SECONDS) -> bool:
        """Whether the server answers within ``timeout`` seconds.

        Raises:
            ServingAuthError: something answers, and wants other headers.
        """
        try:
            return self._once(lambda: self._transport.live(timeout), "health check")
        except (ServerUnreachableError, ServingTimeoutError):
            return False

    def is_ready(self, model: str, *, version: str = "", timeout: float = HEALTH_SECONDS) -> bool:
        """Whether a model is loaded and answers.

        Args:
            model: name of the served model.
            version: of the model; empty means any.
            timeout: seconds the answer may take.

        Raises:
            ServerUnreachableError: no server.
            ServingTimeoutError: no answer in time.
        """
        return self._once(lambda: self._transport.ready(model, version, timeout), f"readiness of model {model!r}")

    def models(self) -> list[ModelState]:
        """Every model in the server's repository, with its state and, where it failed, the reason."""
        return self._retried(lambda: self._transport.index(self.timeout), "repository index")

    def server_time(self, model: str) -> ServerTime:
        """What a model did since it was loaded, by Triton's own statistics: requests, batches, and where time went."""
        return read_server_time(
            self._about(
                model, lambda: self._transport.statistics(model, self.timeout), f"statistics of model {model!r}"
            )
        )

    def wait_ready(self, *models: str, timeout: float = 60.0) -> None:
        """Wait until the server is live and the models are ready.

        Raises:
            ServerUnreachableError: no server answered in time.
            ModelNotFoundError: the server does not know a model.
            ModelNotReadyError: a model failed to load, or was not ready in time; the message holds the reason.
        """
        deadline = Deadline(timeout)
        while not self.is_live(timeout=deadline.limit()):
            if deadline.is_over:
                raise silent(self.url, timeout)
            time.sleep(deadline.limit(POLL_SECONDS))
        for model in models:
            while not self._is_ready_now(model, deadline):
                if deadline.is_over:
                    raise unready(model, self.url, timeout)
                time.sleep(deadline.limit(POLL_SECONDS))

    def _is_ready_now(self, model: str, deadline: Deadline) -> bool:
        try:
            if self.is_ready(model, timeout=deadline.limit()):
                return True
            states = self._once(lambda: self._transport.index(deadline.limit()), "repository index")
        except (ServerUnreachableError, ServingTimeoutError):
            return False
        if problem := absence(states, model, self.url):
            raise problem
        return False

    def load_model(
        self, model: str, config: pb.ModelConfig | None = None, files: Mapping[str, bytes] | None = None
    ) -> None:
        """Load a model, or load it again after its files changed; other models keep serving.

        Args:
            model: name of the model in the repository.
            config: serve it by this configuration instead of the repository's, whose files stay as they are. Triton
                keeps it until the model is unloaded: a load without one does not bring the repository's back.
            files: with ``config``, the model's files by their place in its folder, such as ``1/model.pt``, instead of
                the repository's; the model need not be in the repository then.

        Raises:
            ModelNotFoundError: the repository has no such model.
            ModelNotReadyError: loading failed; the message holds the server's reason.
        """
        self._signatures.clear()  # an ensemble takes the models of its steps along
        asked = f"loading model {model!r}"
        try:
            self._once(lambda: self._transport.load(model, override(config, files), self.timeout), asked)
        except InferenceError as error:  # the server has no code of its own for a model that it cannot load
            problem = error if files else self._absence(error, model)
            raise ModelNotReadyError(str(error)) if problem is error else problem from error

    def unload_model(self, model: str) -> None:
        """Take a model out of service."""
        self._signatures.pop(model, None)
        self._once(lambda: self._transport.unload(model, self.timeout), f"unloading model {model!r}")

    def signature(self, model: str, *, fresh: bool = False) -> ModelSignature:
        """Inputs, outputs, batch limit and parameters of a served model, read from the server once.

        Args:
            model: name of the served model.
            fresh: ask the server again, since another client may have loaded something else under that name.
        """
        if fresh or model not in self._signatures:
            self._signatures[model] = read_signature(self._config(model))
        return self._signatures[model]

    def engine(self, model: str) -> str:
        """What computes a loaded model, in words, such as ``TorchScript by the local Python backend``.

        Triton loads a backend from a shared library or, as the local stack's, from a ``model.py``; the served
        configuration names it in ``runtime``.
        """
        config = self._config(model)
        if config.platform == "ensemble":
            return "an ensemble of other models"
        if config.backend not in FORMATS:
            return f"the {config.backend} backend"
        by = "the local Python backend" if config.runtime.endswith(".py") else "NVIDIA's own backend"
        return f"{FORMATS[config.backend]} by {by}"

    def _config(self, model: str) -> pb.ModelConfig:
        return self._about(
            model, lambda: self._transport.config(model, self.timeout), f"configuration of model {model!r}"
        )

    # --- inference --------------------------------------------------------------------------------------------
    def infer(
        self,
        model: str,
        inputs: Mapping[str, object],
        *,
        parameters: Parameters | None = None,
        version: str = "",
        outputs: Sequence[str] = (),
        classes: int = 0,
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Run a model on one batch of any size.

        Args:
            model: name of the served model.
            inputs: name to array (or texts, for ``BYTES``); with a batch axis first where the model has one.
            parameters: request parameters, for models that read them.
            version: of the model; empty lets the server choose.
            outputs: names of the outputs wanted; empty: all. The others are not sent.
            classes: ask for this many best classes of each output instead of the tensor: texts ``score:index:label``
                of shape ``[rows, classes]``.
            timeout: seconds each request may take; ``None``: the client's.

        Returns:
            Output name to array, rows in the order of the input.

        Raises:
            SignatureError: inputs or outputs do not fit; raised before anything is sent.
            ModelNotFoundError: the server has no such model or version.
            ModelNotReadyError: the model is not loaded.
            InferenceError: the model failed on the inputs.
            ServerUnreachableError: no server, or the connection broke, also after the retries.
            ServerBusyError: the server refused for lack of room, also after the retries.
            ServingAuthError: the server wants other headers.
            ServingTimeoutError: no answer within ``timeout`` seconds.
        """
        signature = self.signature(model)
        request = replace(blank_request(signature, parameters, version, outputs, classes), timeout=timeout)
        return joined(list(self._in_order(cut(signature, request, inputs))))

    def infer_many(
        self,
        model: str,
        requests: Iterable[Mapping[str, object]],
        *,
        parameters: Parameters | None = None,
        version: str = "",
        outputs: Sequence[str] = (),
        classes: int = 0,
        one_stream: bool = False,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Run a model on many requests, ``in_flight`` at a time; answers come in the order of the requests.

        Each request must respect the model's batch limit. Arguments and errors are those of :meth:`infer`.

        Args:
            model: name of the served model, which answers each request once.
            requests: inputs, as for :meth:`infer`.
            parameters: as for :meth:`infer`.
            version: as for :meth:`infer`.
            outputs: as for :meth:`infer`.
            classes: as for :meth:`infer`.
            one_stream: send all over one gRPC stream, which is not started again when it breaks.
        """
        signature = self.signature(model)
        request = blank_request(signature, parameters, version, outputs, classes)
        prepared = (replace(request, inputs=prepare_inputs(signature, inputs)) for inputs in requests)
        return self._over_one_stream(prepared, model) if one_stream else self._in_order(prepared)

    def stream(
        self,
        model: str,
        inputs: Mapping[str, object],
        *,
        parameters: Parameters | None = None,
        version: str = "",
        outputs: Sequence[str] = (),
    ) -> Iterator[dict[str, np.ndarray]]:
        """Run a decoupled model on one request and give the outputs of each response as it comes.

        ``timeout`` is for each response. The request is cancelled when the iterator is closed before its end. A broken
        stream is not started again, since part of its answer has been handed out. Over HTTP the inputs must be plain
        values.

        Raises:
            InferenceError: the model failed, or is not decoupled; also after the first responses.
            ServingError: as :meth:`infer` does.
        """
        signature = self.signature(model)
        request = blank_request(signature, parameters, version, outputs)
        request = replace(request, inputs=prepare_inputs(signature, inputs))
        dtypes = {spec.name: spec.numpy_dtype for spec in signature.outputs}
        for _, answer, _ in self._streamed([request], model, 1):
            if answer:
                yield {name: _as_array(answer[name], dtype) for name, dtype in dtypes.items() if name in answer}

    def _streamed(self, requests: Iterable[Request], model: str, in_flight: int) -> Iterator[Streamed]:
        try:
            with closing(self._transport.stream(requests, self.timeout, in_flight)) as answers:
                yield from answers
        except Exception as error:
            raise translate(error, self.url, f"model {model!r}", current_request_id()) from error

    def _over_one_stream(self, requests: Iterable[Request], model: str) -> Iterator[dict[str, np.ndarray]]:
        early: dict[int, dict[str, np.ndarray]] = {}
        due = 0
        with closing(self._streamed(requests, model, self.in_flight)) as answers:
            for position, outputs, _ in answers:
                if outputs:
                    early[position] = outputs
                while due in early:
                    yield early.pop(due)
                    due += 1

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
            return self._transport.send(request, request.timeout or self.timeout)
        except Exception as error:  # met again, translated, when the answer is due
            return error

    def _finish(self, request: Request, first: Pending | Exception) -> dict[str, np.ndarray]:
        started = [first]

        def answer() -> dict[str, np.ndarray]:
            pending = started.pop() if started else self._start(request)
            if isinstance(pending, Exception):
                raise pending
            return whole(self.signature(request.model), request, pending(), self.url)

        with logged(request, self.url):
            return self._about(request.model, answer, f"model {request.model!r}", request.id)

    # --- attempts ---------------------------------------------------------------------------------------------
    def _once(self, action: Callable[[], Result], asked: str, request_id: str = "") -> Result:
        try:
            return action()
        except Exception as error:
            raise translate(error, self.url, asked, request_id) from error

    def _retried(self, action: Callable[[], Result], asked: str, request_id: str = "") -> Result:
        for pause in pauses(self.retries):
            try:
                return self._once(action, asked, request_id)
            except ServingError as error:
                if not is_worth_retrying(error):
                    raise
            time.sleep(pause)
        return self._once(action, asked, request_id)

    def _about(self, model: str, action: Callable[[], Result], asked: str, request_id: str = "") -> Result:
        """Like :meth:`_retried`; a model that is not there is told from one that is not loaded."""
        try:
            return self._retried(action, asked, request_id)
        except ModelNotFoundError as error:
            raise self._absence(error, model) from error

    def _absence(self, error: ServingError, model: str) -> ServingError:
        try:
            states = self._transport.index(self.timeout)
        except Exception as second:
            return without_index(error, second, self.url)
        return absence(states, model, self.url) or error


def _as_array(value: object, dtype: np.dtype) -> np.ndarray:
    """An output as an array: gRPC gives one already, JSON a value or a list, texts as ``str``."""
    if isinstance(value, np.ndarray):
        return value
    values = value if isinstance(value, list) else [value]
    return np.array([v.encode("utf-8") if isinstance(v, str) else v for v in values], dtype=dtype)
