"""Many requests over one gRPC stream: the server answers each, and answers come in the order of the requests."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
import tritonclient.grpc as triton_grpc
from tritonclient.utils import InferenceServerException

from workshop.errors import ServingTimeoutError
from workshop.triton.transport import Request, arguments, translate

IN_FLIGHT = 8


def stream_infer(
    url: str, requests: Iterable[Request], timeout: float, in_flight: int = IN_FLIGHT
) -> Iterator[dict[str, np.ndarray]]:
    """Send requests over one stream, ``in_flight`` at a time; for models that answer each request once.

    Args:
        url: ``host:port`` of the server's gRPC port.
        requests: checked requests, as :func:`workshop.triton.tensors.prepare_inputs` makes their inputs.
        timeout: seconds to wait for the next answer.
        in_flight: requests sent and not yet answered, at most.

    Yields:
        Output name to array, in the order of the requests.

    Raises:
        ServingError: as :meth:`workshop.triton.client.TritonClient.infer`.
    """
    answers: queue.Queue = queue.Queue()
    early: dict[str, triton_grpc.InferResult] = {}
    under_way: deque[tuple[str, str]] = deque()
    with triton_grpc.InferenceServerClient(url) as client:

        def wait() -> dict[str, np.ndarray]:
            model, wanted = under_way.popleft()
            while wanted not in early:
                try:
                    result, error = answers.get(timeout=timeout)
                except queue.Empty:
                    raise ServingTimeoutError(f"model {model!r} at {url}: no answer within {timeout:g} s") from None
                if error is not None:
                    raise translate(error, url, f"model {model!r}") from error
                early[result.get_response().id] = result
            result = early.pop(wanted)
            return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}

        try:
            client.start_stream(lambda result, error: answers.put((result, error)))
            for number, request in enumerate(requests):
                client.async_stream_infer(request_id=str(number), **arguments(triton_grpc, request))
                under_way.append((request.model, str(number)))
                if len(under_way) == in_flight:
                    yield wait()
            while under_way:
                yield wait()
        except InferenceServerException as error:
            raise translate(error, url, "stream") from error
        finally:
            client.stop_stream(cancel_requests=True)
