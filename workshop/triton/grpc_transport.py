"""Triton over gRPC: usable from several threads."""

from __future__ import annotations

import queue
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from itertools import islice

import numpy as np
import tritonclient.grpc as triton_grpc
from tritonclient.grpc import model_config_pb2 as pb
from tritonclient.utils import InferenceServerException

from workshop.triton.endpoint import Endpoint
from workshop.triton.transport import ModelState, Pending, Request, Streamed, arguments

# The library waits a second before it connects again, and fails what is asked meanwhile: a retry would come too soon.
_CHANNEL = (
    ("grpc.max_send_message_length", triton_grpc.MAX_GRPC_MESSAGE_SIZE),
    ("grpc.max_receive_message_length", triton_grpc.MAX_GRPC_MESSAGE_SIZE),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)

AFTER_ERROR = 0.5
"""Seconds to await the last response of a request that failed: a model sends it at once, Triton itself sends none."""


def options(endpoint: Endpoint) -> dict[str, object]:
    """What the library's clients take for an endpoint."""
    tls = endpoint.tls
    return {
        "url": endpoint.url,
        "channel_args": list(_CHANNEL),
        "ssl": tls is not None,
        "root_certificates": str(tls.ca) if tls and tls.ca else None,
        "certificate_chain": str(tls.certificate) if tls and tls.certificate else None,
        "private_key": str(tls.key) if tls and tls.key else None,
    }


def states_of(index: object) -> list[ModelState]:
    """The server's repository index as our own type."""
    return [ModelState(model.name, model.version, model.state, model.reason) for model in index.models]


def outputs_of(result: triton_grpc.InferResult) -> dict[str, np.ndarray]:
    """The outputs of a response by name."""
    return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}


class GrpcTransport:
    """gRPC through NVIDIA's client library."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._headers = endpoint.grpc_metadata()
        self._control = endpoint.grpc_metadata(control=True)
        self._client = triton_grpc.InferenceServerClient(**options(endpoint))

    def live(self, timeout: float) -> bool:
        return self._client.is_server_live(headers=self._headers, client_timeout=timeout)

    def ready(self, model: str, version: str, timeout: float) -> bool:
        return self._client.is_model_ready(model, version, headers=self._headers, client_timeout=timeout)

    def config(self, model: str, timeout: float) -> pb.ModelConfig:
        return self._client.get_model_config(model, headers=self._headers, client_timeout=timeout).config

    def index(self, timeout: float) -> list[ModelState]:
        return states_of(self._client.get_model_repository_index(headers=self._control, client_timeout=timeout))

    def statistics(self, model: str, timeout: float) -> dict:
        return self._client.get_inference_statistics(model, headers=self._headers, as_json=True, client_timeout=timeout)

    def load(self, model: str, instead: Mapping[str, object], timeout: float) -> None:
        self._client.load_model(model, headers=self._control, client_timeout=timeout, **instead)

    def unload(self, model: str, timeout: float) -> None:
        self._client.unload_model(model, headers=self._control, client_timeout=timeout)

    def send(self, request: Request, timeout: float) -> Pending:
        future: Future = Future()

        def done(result: triton_grpc.InferResult | None, error: InferenceServerException | None) -> None:
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._client.async_infer(
            callback=done, headers=self._headers, client_timeout=timeout, **arguments(triton_grpc, request)
        )

        def wait() -> dict[str, np.ndarray]:
            # the deadline is gRPC's; the extra second only guards against a callback that never comes
            return outputs_of(future.result(timeout=timeout + 1))

        return wait

    def stream(self, requests: Iterable[Request], timeout: float, in_flight: int) -> Iterator[Streamed]:
        answers: queue.SimpleQueue[triton_grpc.InferResult | InferenceServerException] = queue.SimpleQueue()
        # a client of the library holds one stream, so each gets its own
        client = triton_grpc.InferenceServerClient(**options(self._endpoint))
        numbered = enumerate(requests)
        under_way = 0
        try:
            # errors come without a code: the header that asks for codes, triton_grpc_error, makes Triton 2.51 crash
            client.start_stream(lambda result, error: answers.put(error or result), headers=self._headers)
            while True:
                for position, request in islice(numbered, in_flight - under_way):
                    numbered_request = replace(request, id=f"{request.id}.{position}")
                    client.async_stream_infer(
                        enable_empty_final_response=True, **arguments(triton_grpc, numbered_request)
                    )
                    under_way += 1
                if not under_way:
                    return
                try:
                    answer = answers.get(timeout=timeout)
                except queue.Empty:
                    raise TimeoutError from None
                if isinstance(answer, Exception):
                    under_way -= _is_final_next(answers)
                    raise answer
                response = answer.get_response()
                final = response.parameters["triton_final_response"].bool_param
                under_way -= final
                yield Streamed(int(response.id.rpartition(".")[2]), outputs_of(answer), final)
        finally:
            # a cancel that meets a request's last response can make Triton 2.51 keep the model when it is unloaded
            client.stop_stream(cancel_requests=under_way > 0)
            client.close()

    def close(self) -> None:
        self._client.close()


def _is_final_next(answers: queue.SimpleQueue) -> bool:
    """Whether the response after an error, which says itself not whether it is the last, ends its request."""
    try:
        answer = answers.get(timeout=AFTER_ERROR)
    except queue.Empty:
        return False
    return not isinstance(answer, Exception) and answer.get_response().parameters["triton_final_response"].bool_param
