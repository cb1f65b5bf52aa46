"""Ready-made inference requests, sent as cheaply as Python can: encoded once, sent many times, answers left encoded.

A load generator shares the machine with the server it measures, so what it costs itself is part of what it reports.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import aiohttp
import grpc
import numpy as np
import tritonclient.http as triton_http
from tritonclient.grpc import service_pb2
from tritonclient.utils import np_to_triton_dtype, serialize_byte_tensor

from workshop.loadtest.generator import Send
from workshop.triton.endpoint import Endpoint
from workshop.triton.signature import ModelSignature
from workshop.triton.tensors import prepare_inputs
from workshop.triton.transport import Parameters

_INFER = "/inference.GRPCInferenceService/ModelInfer"
_LENGTH = "Inference-Header-Content-Length"


def encode_grpc(signature: ModelSignature, inputs: Mapping[str, object], parameters: Parameters | None = None) -> bytes:
    """One request as the bytes of a ``ModelInferRequest``.

    Args:
        signature: of the served model.
        inputs: name to array, with the batch axis where the model has one.
        parameters: of the request; whole numbers, texts and flags.

    Raises:
        SignatureError: inputs do not fit.
    """
    request = service_pb2.ModelInferRequest(model_name=signature.name)
    for name, array in prepare_inputs(signature, inputs).items():
        request.inputs.add(name=name, datatype=np_to_triton_dtype(array.dtype), shape=array.shape)
        is_text = array.dtype == np.object_
        request.raw_input_contents.append(serialize_byte_tensor(array).item() if is_text else array.tobytes())
    for name, value in (parameters or {}).items():
        kind = "bool_param" if isinstance(value, bool) else "int64_param" if isinstance(value, int) else "string_param"
        setattr(request.parameters[name], kind, value)
    return request.SerializeToString()


def encode_http(
    signature: ModelSignature, inputs: Mapping[str, object], *, binary: bool = True
) -> tuple[bytes, dict[str, str]]:
    """One request as the body and headers of a POST; tensors and answer as bytes, or with ``binary=False`` as JSON.

    Raises:
        SignatureError: inputs do not fit.
    """
    tensors = []
    for name, array in prepare_inputs(signature, inputs).items():
        tensor = triton_http.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array, binary_data=binary)
        tensors.append(tensor)
    outputs = [triton_http.InferRequestedOutput(spec.name, binary_data=binary) for spec in signature.outputs]
    body, length = triton_http.InferenceServerClient.generate_request_body(tensors, outputs=outputs)
    return body, {_LENGTH: str(length)} if length is not None else {}


@asynccontextmanager
async def grpc_sender(endpoint: Endpoint, requests: Sequence[bytes], *, timeout: float = 60.0) -> AsyncIterator[Send]:
    """Send encoded requests in turn over one gRPC connection.

    Args:
        endpoint: the server's gRPC port.
        requests: of :func:`encode_grpc`; number ``n`` sends the one at ``n`` modulo their number.
        timeout: seconds a request may take.

    Yields:
        The sender; what goes wrong is told by gRPC's status code, such as ``UNAVAILABLE``.
    """
    credentials = _credentials(endpoint)
    make = grpc.aio.insecure_channel if credentials is None else grpc.aio.secure_channel
    headers = tuple(endpoint.grpc_metadata().items())
    async with make(endpoint.url, *([credentials] if credentials else [])) as channel:
        call = channel.unary_unary(_INFER)  # without serialisers: bytes in, bytes out

        async def send(number: int) -> str:
            try:
                await call(requests[number % len(requests)], timeout=timeout, metadata=headers)
            except grpc.aio.AioRpcError as error:
                return error.code().name
            return ""

        yield send


@asynccontextmanager
async def http_sender(
    endpoint: Endpoint, model: str, requests: Sequence[tuple[bytes, dict[str, str]]], *, timeout: float = 60.0
) -> AsyncIterator[Send]:
    """Send encoded requests in turn over HTTP connections that are kept open, and ask for answers as they are.

    aiohttp would ask for compressed ones, and Triton compresses: 38 ms for a megabyte of floats.

    Args:
        endpoint: the server's HTTP port, without TLS.
        model: name of the served model.
        requests: of :func:`encode_http`.
        timeout: seconds a request may take.

    Yields:
        The sender; what goes wrong is told by the HTTP status, such as ``HTTP 503``, or the exception's name.
    """
    url = f"http://{endpoint.url}/v2/models/{model}/infer"
    connector = aiohttp.TCPConnector(limit=0)
    limit = aiohttp.ClientTimeout(total=timeout)
    headers = {"Accept-Encoding": "identity", **endpoint.http_headers()}
    async with aiohttp.ClientSession(connector=connector, timeout=limit, headers=headers) as session:

        async def send(number: int) -> str:
            body, its_headers = requests[number % len(requests)]
            try:
                async with session.post(url, data=body, headers=its_headers) as answer:
                    await answer.read()
                    return "" if answer.status == 200 else f"HTTP {answer.status}"
            except (aiohttp.ClientError, TimeoutError) as error:
                return type(error).__name__

        yield send


def _credentials(endpoint: Endpoint) -> grpc.ChannelCredentials | None:
    tls = endpoint.tls
    if tls is None:
        return None
    ca, key, certificate = (path.read_bytes() if path else None for path in (tls.ca, tls.key, tls.certificate))
    return grpc.ssl_channel_credentials(ca, key, certificate)
