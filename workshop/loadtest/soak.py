"""A soak: mixed requests for minutes at a share of what the servers can do, with an eye on errors and memory."""

from __future__ import annotations

import asyncio
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from workshop.loadtest.generator import Load, Send, closed_loop, open_loop

SAMPLES_COMPARED = 5


@dataclass(frozen=True)
class Soak:
    """What came of a soak.

    Attributes:
        capacity: requests a second that the servers answered in a closed loop.
        load: the soak itself.
        memory: megabytes of each server, one number a sample, in the order of time; the warm-up is not among them.
    """

    capacity: float
    load: Load
    memory: Mapping[str, Sequence[float]]

    @property
    def growth(self) -> dict[str, float]:
        """By which share each server's memory grew: the median of the last samples against that of the first."""
        return {
            name: statistics.median(values[-SAMPLES_COMPARED:]) / statistics.median(values[:SAMPLES_COMPARED]) - 1
            for name, values in self.memory.items()
        }


def mixed(sends: Sequence[tuple[int, Send]]) -> Send:
    """One sender of several: each gets so many of the requests as its number says, always in the same order."""
    turns = [send for weight, send in sends for _ in range(weight)]

    async def send(number: int) -> str:
        # steps through the turns by a stride without a common divisor, so that those of a kind do not come in a row
        return await turns[number * _stride(len(turns)) % len(turns)](number)

    return send


def _stride(turns: int) -> int:
    """A number near the golden section of ``turns`` that has no divisor in common with it."""
    return next(step for step in range(max(1, round(0.618 * turns)), 2 * turns + 1) if math.gcd(step, turns) == 1)


async def soak(
    send: Send,
    memory: Callable[[], Mapping[str, float]],
    *,
    seconds: float,
    warm_up: float,
    share: float = 0.8,
    concurrency: int = 8,
    sample_seconds: float = 5.0,
) -> Soak:
    """Measure the capacity, then ask at a share of it.

    Args:
        send: sends one request.
        memory: megabytes of each server; called in a thread.
        seconds: length of the soak.
        warm_up: seconds of the closed loop that measures the capacity; its second half counts.
        share: of the capacity, between 0 and 1.
        concurrency: clients of that loop.
        sample_seconds: time between two looks at the memory.

    Raises:
        ValueError: the servers answered nothing while the capacity was measured.
    """
    full = await closed_loop(send, concurrency, warm_up / 2, warm_up=warm_up / 2)
    if not full.completed:
        raise ValueError(f"no request was answered while the capacity was measured; errors: {dict(full.errors)}")
    found: dict[str, list[float]] = {}

    async def look() -> None:
        while True:
            for name, megabytes in (await asyncio.to_thread(memory)).items():
                found.setdefault(name, []).append(megabytes)
            await asyncio.sleep(sample_seconds)

    settled = warm_up / 2  # at the soak's own pace, before memory is looked at
    loads = asyncio.ensure_future(open_loop(send, share * full.rate, seconds, warm_up=settled))
    await asyncio.wait([loads], timeout=settled)
    looking = asyncio.ensure_future(look())
    try:
        load = await loads
    finally:
        looking.cancel()
        await asyncio.wait([looking])
    return Soak(full.rate, load, found)
