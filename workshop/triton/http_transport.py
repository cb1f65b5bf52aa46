"""Triton over HTTP with binary tensors: one client per thread, since the library runs on gevent."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

import gevent
import gevent.ssl
import numpy as np
import requests
import tritonclient.http as triton_http
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError
from google.protobuf import json_format
from tritonclient.grpc import model_config_pb2 as pb
from tritonclient.utils import InferenceServerException

from workshop.errors import InferenceError
from workshop.triton.endpoint import Endpoint
from workshop.triton.transport import ModelState, Pending, Request, Streamed, arguments

Result = TypeVar("Result")

# only behind the limits that each call sets: no connection waits longer than this for the next bytes
_SOCKET_SECONDS = 3600.0
_REFUSED = ("401", "403")


class HttpTransport:
    """HTTP through NVIDIA's client library."""

    def __init__(self, endpoint: Endpoint, connections: int) -> None:
        self._endpoint = endpoint
        self._connections = connections
        self._client = self._connect()

    def _connect(self) -> triton_http.InferenceServerClient:
        secure = {}
        if tls := self._endpoint.tls:
            files = {"ca_certs": tls.ca, "certfile": tls.certificate, "keyfile": tls.key}
            secure = {
                "ssl": True,
                "ssl_options": {name: str(path) for name, path in files.items() if path},
                "ssl_context_factory": _tls_context,
            }
        return triton_http.InferenceServerClient(
            self._endpoint.url,
            concurrency=self._connections,
            connection_timeout=_SOCKET_SECONDS,
            network_timeout=_SOCKET_SECONDS,
            **secure,
        )

    def _within(self, timeout: float, action: Callable[[], Result]) -> Result:
        """Run an action of the library for at most ``timeout`` seconds.

        The library's own limits are for each wait on a socket, so that a slow trickle would have no end.
        """
        limit = gevent.Timeout(timeout)
        with _plain_errors():
            try:
                with limit:
                    return action()
            except gevent.Timeout as error:
                if error is not limit:
                    raise
                self._renew()
                raise TimeoutError from None

    def _renew(self) -> None:
        """Leave the pool behind: what was interrupted may never give its connection back to it."""
        self._client = self._connect()

    def live(self, timeout: float) -> bool:
        def ask() -> bool:
            if self._client.is_server_live(headers=self._endpoint.http_headers()):
                return True
            try:
                self._client.get_server_metadata(headers=self._endpoint.http_headers())
            except InferenceServerException as error:
                if error.status() in _REFUSED:
                    raise
            return False

        return self._within(timeout, ask)

    def ready(self, model: str, version: str, timeout: float) -> bool:
        return self._within(
            timeout, lambda: self._client.is_model_ready(model, version, headers=self._endpoint.http_headers())
        )

    def config(self, model: str, timeout: float) -> pb.ModelConfig:
        config = self._within(
            timeout, lambda: self._client.get_model_config(model, headers=self._endpoint.http_headers())
        )
        return json_format.ParseDict(config, pb.ModelConfig(), ignore_unknown_fields=True)

    def index(self, timeout: float) -> list[ModelState]:
        found = self._within(
            timeout, lambda: self._client.get_model_repository_index(headers=self._endpoint.http_headers(control=True))
        )
        return [ModelState(m["name"], m.get("version", ""), m.get("state", ""), m.get("reason", "")) for m in found]

    def statistics(self, model: str, timeout: float) -> dict:
        return self._within(
            timeout, lambda: self._client.get_inference_statistics(model, headers=self._endpoint.http_headers())
        )

    def load(self, model: str, instead: Mapping[str, object], timeout: float) -> None:
        headers = self._endpoint.http_headers(control=True)
        self._within(timeout, lambda: self._client.load_model(model, headers=headers, **instead))

    def unload(self, model: str, timeout: float) -> None:
        self._within(
            timeout, lambda: self._client.unload_model(model, headers=self._endpoint.http_headers(control=True))
        )

    def send(self, request: Request, timeout: float) -> Pending:
        end = time.monotonic() + timeout
        # the library's own async_infer sleeps 10 ms for each request
        infer, given = self._client.infer, arguments(triton_http, request)

        def ask() -> triton_http.InferResult | Exception:
            try:
                return infer(headers=self._endpoint.http_headers(), **given)
            except Exception as error:  # raised where the answer is awaited; gevent would print it here
                return error

        asked = gevent.spawn(ask)
        gevent.sleep(0)  # lets it send

        def wait() -> dict[str, np.ndarray]:
            try:
                result = self._within(max(end - time.monotonic(), 0.001), asked.get)
            except TimeoutError:
                asked.kill(block=False)
                raise
            if isinstance(result, Exception):
                with _plain_errors():
                    raise result
            return {output["name"]: result.as_numpy(output["name"]) for output in result.get_response()["outputs"]}

        return wait

    def stream(self, requests: Iterable[Request], timeout: float, in_flight: int) -> Iterator[Streamed]:
        """Server-sent events of Triton's generate extension, whose inputs and outputs are JSON, for one request.

        https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_generate.md
        """
        first, *more = islice(requests, 2)
        if more:
            raise InferenceError("over HTTP a stream carries one request", hint="use protocol='grpc'")
        with _plain_errors():
            yield from self._events(first, timeout)

    def _events(self, request: Request, timeout: float) -> Iterator[Streamed]:
        tls = self._endpoint.tls
        body = {name: _as_json(array) for name, array in request.inputs.items()}
        version = f"/versions/{request.version}" if request.version else ""
        with requests.Session() as session:
            session.trust_env = False  # the other requests know no proxy of the environment either
            session.headers.update(self._endpoint.headers)
            session.verify = str(tls.ca) if tls and tls.ca else True
            session.cert = (str(tls.certificate), str(tls.key)) if tls and tls.certificate else None
            url = f"{'https' if tls else 'http'}://{self._endpoint.url}/v2/models/{request.model}{version}"
            with session.post(
                f"{url}/generate_stream",
                json=body | {"parameters": dict(request.parameters)},
                stream=True,
                timeout=timeout,
            ) as answer:
                if answer.status_code != 200:
                    raise InferenceServerException(_error_text(answer.text), status=str(answer.status_code))
                for line in answer.iter_lines():
                    if line.startswith(b"data:"):
                        event = json.loads(line.removeprefix(b"data:"))
                        if "error" in event:
                            raise InferenceServerException(event["error"])
                        wanted = request.outputs or event
                        yield Streamed(0, {name: event[name] for name in wanted if name in event}, False)

    def close(self) -> None:
        self._client.close()


def _tls_context(cafile: str) -> gevent.ssl.SSLContext:
    """A context whose sockets wait through gevent; its ``create_default_context`` gives one whose sockets block."""
    context = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile)
    return context


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Give what the libraries raise over a connection the names that Python has for it."""
    try:
        yield
    except requests.Timeout as error:
        raise TimeoutError(str(error)) from error
    except (HTTPConnectionClosed, HTTPParseError) as error:
        raise ConnectionError(f"{type(error).__name__}: {error}") from error


def _as_json(array: np.ndarray) -> object:
    """A tensor as the generate extension takes it: a list, or the value alone when there is one."""
    values = [value.decode("utf-8") if isinstance(value, bytes) else value for value in array.reshape(-1).tolist()]
    return values[0] if len(values) == 1 else values


def _error_text(body: str) -> str:
    """The server's words: of JSON, of an event, or as they are."""
    try:
        return json.loads(body.strip().removeprefix("data:"))["error"]
    except (ValueError, KeyError, TypeError):
        return body
