"""The Triton client for asyncio, over gRPC: what :class:`workshop.triton.client.TritonClient` does, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import grpc
import numpy as np
import tritonclient.grpc.aio as triton_grpc
from tritonclient.utils import InferenceServerException

from workshop.errors import (
    ModelNotFoundError,
    ServerUnreachableError,
    ServingError,
    ServingTimeoutError,
)
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
from workshop.triton.endpoint import Endpoint, Tls
from workshop.triton.failures import absence, silent, translate, unready, without_index
from workshop.triton.grpc_transport import AFTER_ERROR, options, outputs_of, states_of
from workshop.triton.signature import ModelSignature, read_signature
from workshop.triton.tensors import prepare_inputs
from workshop.triton.transport import ModelState, Parameters, Request, arguments

if TYPE_CHECKING:
    from workshop.settings import Settings

Result = TypeVar("Result")


class AsyncTritonClient:
    """Talks to one Triton server over one gRPC connection, which all tasks of an event loop may share.

    Make it inside the event loop and use it in an ``async with`` block. Errors are those of the blocking client. A
    cancelled task cancels its request.

    Args:
        url: ``host:port`` of the gRPC port, without a scheme.
        timeout: seconds one request may take.
        in_flight: requests that one :meth:`infer` keeps under way at once.
        retries: further attempts after the connection broke or was refused, or the server was too busy.
        tls: encrypt the connection; ``None``: plain.
        headers: sent with every request as metadata.
        control_key: of a server that restricts the requests about its repository; sent with those only.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 300.0,
        in_flight: int = 3,
        retries: int = 2,
        tls: Tls | None = None,
        headers: Mapping[str, str] | None = None,
        control_key: str = "",
    ) -> None:
        self.url = url
        self.timeout = timeout
        self.in_flight = in_flight
        self.retries = retries
        endpoint = Endpoint(url, tls, headers or {}, control_key)
        self._headers = endpoint.grpc_metadata()
        self._control = endpoint.grpc_metadata(control=True)
        self._client = triton_grpc.InferenceServerClient(**options(endpoint))
        self._signatures: dict[str, ModelSignature] = {}

    @classmethod
    def from_settings(cls, settings: Settings, **options: object) -> AsyncTritonClient:
        """A client for the gRPC port that ``settings`` name; ``options`` as for the class win."""
        endpoint = Endpoint.from_settings(settings, "grpc")
        given = {
            "url": endpoint.url,
            "timeout": settings.triton_timeout,
            "tls": endpoint.tls,
            "headers": endpoint.headers,
            "control_key": endpoint.control_key,
        }
        return cls(**{**given, **options})

    async def __aenter__(self) -> AsyncTritonClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()

    # --- the server and its models ----------------------------------------------------------------------------
    async def is_live(self, *, timeout: float = HEALTH_SECONDS) -> bool:
        """Whether the server answers within ``timeout`` seconds."""
        try:
            return await self._once(
                lambda: self._client.is_server_live(headers=self._headers, client_timeout=timeout), "health check"
            )
        except (ServerUnreachableError, ServingTimeoutError):
            return False

    async def is_ready(self, model: str, *, version: str = "", timeout: float = HEALTH_SECONDS) -> bool:
        """Whether a model is loaded and answers; an empty version means any."""
        return await self._once(
            lambda: self._client.is_model_ready(model, version, headers=self._headers, client_timeout=timeout),
            f"readiness of model {model!r}",
        )

    async def wait_ready(self, *models: str, timeout: float = 60.0) -> None:
        """Wait until the server is live and the models are ready.

        Raises:
            ServerUnreachableError: no server answered in time.
            ModelNotFoundError: the server does not know a model.
            ModelNotReadyError: a model failed to load, or was not ready in time; the message holds the reason.
        """
        deadline = Deadline(timeout)
        while not await self.is_live(timeout=deadline.limit()):
            if deadline.is_over:
                raise silent(self.url, timeout)
            await asyncio.sleep(deadline.limit(POLL_SECONDS))
        for model in models:
            while not await self._is_ready_now(model, deadline):
                if deadline.is_over:
                    raise unready(model, self.url, timeout)
                await asyncio.sleep(deadline.limit(POLL_SECONDS))

    async def _is_ready_now(self, model: str, deadline: Deadline) -> bool:
        try:
            if await self.is_ready(model, timeout=deadline.limit()):
                return True
            states = await self._once(lambda: self._index(deadline.limit()), "repository index")
        except (ServerUnreachableError, ServingTimeoutError):
            return False
        if problem := absence(states, model, self.url):
            raise problem
        return False

    async def models(self) -> list[ModelState]:
        """Every model in the server's repository, with its state and, where it failed, the reason."""
        return await self._retried(lambda: self._index(self.timeout), "repository index")

    async def _index(self, timeout: float) -> list[ModelState]:
        return states_of(await self._client.get_model_repository_index(headers=self._control, client_timeout=timeout))

    async def signature(self, model: str, *, fresh: bool = False) -> ModelSignature:
        """Inputs, outputs, batch limit and parameters of a served model; arguments as those of the blocking client."""
        if fresh or model not in self._signatures:
            answer = await self._about(
                model,
                lambda: self._client.get_model_config(model, headers=self._headers, client_timeout=self.timeout),
                f"configuration of model {model!r}",
            )
            self._signatures[model] = read_signature(answer.config)
        return self._signatures[model]

    # --- inference --------------------------------------------------------------------------------------------
    async def infer(
        self,
        model: str,
        inputs: Mapping[str, object],
        *,
        parameters: Parameters | None = None,
        version: str = "",
        outputs: Sequence[str] = (),
        classes: int = 0,
    ) -> dict[str, np.ndarray]:
        """Run a model on one batch of any size; arguments, result and errors are those of the blocking client."""
        signature = await self.signature(model)
        request = blank_request(signature, parameters, version, outputs, classes)
        free = asyncio.Semaphore(self.in_flight)

        async def send(part: Request) -> dict[str, np.ndarray]:
            async with free:
                with logged(part, self.url):
                    return await self._about(model, lambda: self._infer(signature, part), f"model {model!r}", part.id)

        tasks = [asyncio.ensure_future(send(part)) for part in cut(signature, request, inputs)]
        try:
            return joined(await asyncio.gather(*tasks))
        finally:
            for task in tasks:  # those that still run after one has failed
                task.cancel()

    async def _infer(self, signature: ModelSignature, request: Request) -> dict[str, np.ndarray]:
        result = await self._client.infer(
            headers=self._headers, client_timeout=self.timeout, **arguments(triton_grpc, request)
        )
        return whole(signature, request, outputs_of(result), self.url)

    async def stream(
        self,
        model: str,
        inputs: Mapping[str, object],
        *,
        parameters: Parameters | None = None,
        version: str = "",
        outputs: Sequence[str] = (),
    ) -> AsyncIterator[dict[str, np.ndarray]]:
        """The responses of a decoupled model to one request, each within ``timeout``; closing it cancels the request.

        Raises:
            InferenceError: the model failed; also after the first responses.
            ServingError: as :meth:`infer` does.
        """
        signature = await self.signature(model)
        request = blank_request(signature, parameters, version, outputs)
        request = replace(request, inputs=prepare_inputs(signature, inputs))

        async def one_request() -> AsyncIterator[dict]:
            yield arguments(triton_grpc, request)

        answers = self._client.stream_infer(one_request(), headers=self._headers)
        try:
            while True:
                result, failure = await asyncio.wait_for(anext(answers), self.timeout)
                if failure is not None:
                    await _let_end(answers)
                    raise failure
                yield outputs_of(result)
        except StopAsyncIteration:
            return
        except Exception as error:
            raise translate(_as_library_error(error), self.url, f"model {model!r}", request.id) from error
        finally:
            answers.cancel()

    # --- attempts ---------------------------------------------------------------------------------------------
    async def _once(self, action: Callable[[], Awaitable[Result]], asked: str, request_id: str = "") -> Result:
        try:
            return await action()
        except Exception as error:
            raise translate(error, self.url, asked, request_id) from error

    async def _retried(self, action: Callable[[], Awaitable[Result]], asked: str, request_id: str = "") -> Result:
        for pause in pauses(self.retries):
            try:
                return await self._once(action, asked, request_id)
            except ServingError as error:
                if not is_worth_retrying(error):
                    raise
            await asyncio.sleep(pause)
        return await self._once(action, asked, request_id)

    async def _about(
        self, model: str, action: Callable[[], Awaitable[Result]], asked: str, request_id: str = ""
    ) -> Result:
        try:
            return await self._retried(action, asked, request_id)
        except ModelNotFoundError as error:
            try:
                states = await self._index(self.timeout)
            except Exception as second:
                raise without_index(error, second, self.url) from error
            raise (absence(states, model, self.url) or error) from error


async def _let_end(answers: AsyncIterator) -> None:
    """Await the end of a failed stream: what is wrong with it is known, and a cancel would meet its last response."""

    async def rest() -> None:
        async for _ in answers:
            pass

    with suppress(asyncio.TimeoutError, InferenceServerException, grpc.RpcError):
        await asyncio.wait_for(rest(), AFTER_ERROR)


def _as_library_error(error: Exception) -> Exception:
    """The library passes gRPC's own errors on when they end a stream."""
    if isinstance(error, grpc.RpcError):
        return InferenceServerException(error.details(), status=str(error.code()))
    return error
