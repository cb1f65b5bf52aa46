"""Triton as the façade sees it: asynchronous calls, with the server's errors turned into ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from types import TracebackType

import numpy as np
import tritonclient.grpc.aio as triton_grpc
from tritonclient.utils import np_to_triton_dtype

from workshop.triton.signature import ModelSignature, read_signature
from workshop.triton.tensors import Arrays, prepare_inputs
from workshop.triton.transport import Parameters, translate


class AsyncTriton:
    """One gRPC connection for all requests of the façade.

    Args:
        url: ``host:port`` of Triton's gRPC port.
        timeout: seconds one request may take.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self.url = url
        self._timeout = timeout
        self._client = triton_grpc.InferenceServerClient(url)

    async def __aenter__(self) -> AsyncTriton:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def ready_models(self) -> list[str]:
        """Names of the models that serve. Raises ``ServingError``."""
        try:
            index = await self._client.get_model_repository_index(client_timeout=self._timeout)
        except Exception as error:
            raise translate(error, self.url, "repository index") from error
        return sorted(model.name for model in index.models if model.state == "READY")

    async def signature(self, model: str) -> ModelSignature:
        """What a served model takes and gives. Raises ``ServingError``."""
        try:
            return read_signature((await self._client.get_model_config(model, client_timeout=self._timeout)).config)
        except Exception as error:
            raise translate(error, self.url, f"model {model!r}") from error

    async def infer(self, model: str, inputs: Mapping[str, object], parameters: Parameters | None = None) -> Arrays:
        """Run a model once, within its batch limit. Raises ``ServingError``, before sending where inputs do not fit."""
        arrays = prepare_inputs(await self.signature(model), inputs)
        try:
            result = await self._client.infer(
                model, _tensors(arrays), parameters=dict(parameters or {}) or None, client_timeout=self._timeout
            )
        except Exception as error:
            raise translate(error, self.url, f"model {model!r}") from error
        return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}

    async def stream(self, model: str, inputs: Mapping[str, object], parameters: Parameters) -> AsyncIterator[Arrays]:
        """The responses of a decoupled model; closing the iterator cancels the request. Raises ``ServingError``."""
        arrays = prepare_inputs(await self.signature(model), inputs)

        async def one_request() -> AsyncIterator[dict]:
            yield {
                "model_name": model,
                "inputs": _tensors(arrays),
                "parameters": dict(parameters),
                "enable_empty_final_response": True,
            }

        answers = self._client.stream_infer(one_request(), stream_timeout=self._timeout)
        try:
            async for result, failure in answers:
                if failure is not None:
                    raise failure
                response = result.get_response()
                if response.outputs:
                    yield {output.name: result.as_numpy(output.name) for output in response.outputs}
                if response.parameters["triton_final_response"].bool_param:
                    return
        except Exception as error:
            raise translate(error, self.url, f"model {model!r}") from error
        finally:
            answers.cancel()


def _tensors(arrays: Arrays) -> list[triton_grpc.InferInput]:
    tensors = []
    for name, array in arrays.items():
        tensor = triton_grpc.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    return tensors


async def first_then_rest(answers: AsyncIterator[Arrays]) -> AsyncIterator[Arrays]:
    """Wait for the first answer, so that a request that fails at once fails before a stream was promised."""
    first = await anext(answers)

    async def rest() -> AsyncIterator[Arrays]:
        async with aclosing(answers):
            yield first
            async for answer in answers:
                yield answer

    return rest()


def rows(texts: list[str]) -> np.ndarray:
    """Texts as a column, ``[texts, 1]``."""
    return np.array(texts, dtype=object)[:, None]
