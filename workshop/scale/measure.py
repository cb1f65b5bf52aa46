"""What the simulator needs of a served model, and what it is checked with, measured on real servers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workshop.errors import InferenceError
from workshop.loadtest.generator import Load, Send, open_loop
from workshop.scale.simulator import Deployment, Outcome, ServiceTimes, simulate
from workshop.triton.client import TritonClient


async def measure_service_times(
    client: TritonClient, model: str, senders: Mapping[int, Send], *, repeats: int = 60, warm_up: int = 5
) -> ServiceTimes:
    """Time batches one at a time on an idle server.

    What the server's own statistics call input, computing and output is the instance's; the rest of a latency is
    network and client, the same for every size.

    Args:
        client: of the server.
        model: name of the served model.
        senders: rows to a sender of requests with so many rows; one row is among them.
        repeats: measured batches of each size.
        warm_up: batches before them.

    Raises:
        InferenceError: a request failed.
    """
    latencies, inside = {}, {}
    for rows, send in senders.items():
        await _one_by_one(send, warm_up)
        before = client.server_time(model)
        latencies[rows] = await _one_by_one(send, repeats)
        spent = (client.server_time(model) - before).milliseconds()
        inside[rows] = (spent["input"] + spent["infer"] + spent["output"]) / 1000
    overhead = float(np.median([latencies[rows].mean() - inside[rows] for rows in senders]))
    return ServiceTimes({rows: np.maximum(times - overhead, 1e-6) for rows, times in latencies.items()}, overhead)


async def _one_by_one(send: Send, count: int) -> np.ndarray:
    seconds = []
    for number in range(count):
        began = time.perf_counter()
        if problem := await send(number):
            raise InferenceError(
                f"a request of the measurement failed: {problem}", hint="python scripts/fleet.py status"
            )
        seconds.append(time.perf_counter() - began)
    return np.array(seconds)


def least_outstanding(sends: Sequence[Send]) -> Send:
    """One sender of several, by the rule of :class:`workshop.scale.endpoints.EndpointPool`."""
    under_way, last_pick = [0] * len(sends), [0] * len(sends)

    async def send(number: int) -> str:
        chosen = min(range(len(sends)), key=lambda one: (under_way[one], last_pick[one]))
        last_pick[chosen] = max(last_pick) + 1
        under_way[chosen] += 1
        try:
            return await sends[chosen](number)
        finally:
            under_way[chosen] -= 1

    return send


@dataclass(frozen=True)
class Comparison:
    """A load as it was measured, and as it was predicted."""

    deployment: Deployment
    rate: float
    measured: Load
    predicted: Outcome

    @property
    def error(self) -> float:
        """Difference of the predicted 95th percentile from the measured one, as a share of that; negative: too low."""
        return self.predicted.percentile(95) / self.measured.percentile(95) - 1


async def compare(
    times: ServiceTimes, deployment: Deployment, send: Send, rate: float, seconds: float, *, seed: int = 0
) -> Comparison:
    """Put an open loop on a deployment and predict the same load from its rate alone."""
    measured = await open_loop(send, rate, seconds, seed=seed)
    return Comparison(deployment, rate, measured, simulate(times, deployment, rate, seed=seed + 1))
