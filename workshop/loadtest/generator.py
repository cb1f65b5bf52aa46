"""A load generator: closed loop and open loop, with latencies as users feel them.

In a *closed loop* so many clients each wait for an answer before they ask again: a slow server slows its clients down,
and a stall is seen by few requests. In an *open loop* requests come when they come, as from many users who do not know
of each other. A latency counts from the moment at which a request was due, not from when the generator got round to
sending it; what gets lost otherwise is called coordinated omission:
https://www.scylladb.com/2021/04/22/on-coordinated-omission/
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from hdrh.histogram import HdrHistogram

Send = Callable[[int], Awaitable[str]]
"""Sends request number ``n``, awaits the answer, and gives what went wrong in a word; empty when nothing did.

An exception that it raises counts as an error too, by the name of its type.
"""

_LONGEST_US = 3600 * 1_000_000
_DIGITS = 3


@dataclass
class Load:
    """What came of one load.

    Attributes:
        offered: requests a second that were to be sent; ``None`` in a closed loop.
        concurrency: clients of a closed loop; ``None`` in an open loop.
        seconds: length of the measured window.
        completed: requests answered well that count for the window.
        errors: how many went wrong, by kind.
        latencies: of the answered requests, in microseconds, as an HdrHistogram of 3 digits.
        processor_seconds: processor time of the generator's own process within the window, client library included.
    """

    offered: float | None
    concurrency: int | None
    seconds: float
    completed: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    latencies: HdrHistogram = field(default_factory=lambda: HdrHistogram(1, _LONGEST_US, _DIGITS))
    processor_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Answered requests a second."""
        return self.completed / self.seconds

    @property
    def requests(self) -> int:
        """Answered and failed requests."""
        return self.completed + self.errors.total()

    @property
    def error_share(self) -> float:
        """Failed requests in all requests, 0 when there were none."""
        return self.errors.total() / self.requests if self.requests else 0.0

    def percentile(self, percent: float) -> float:
        """The latency in milliseconds that ``percent`` of the answered requests kept; NaN when none was answered."""
        return self.latencies.get_value_at_percentile(percent) / 1000 if self.completed else float("nan")

    def _count(self, problem: str, due: float, answered: float) -> None:
        if problem:
            self.errors[problem] += 1
            return
        self.completed += 1
        self.latencies.record_value(max(1, round((answered - due) * 1e6)))


async def closed_loop(
    send: Send, concurrency: int, seconds: float, *, warm_up: float = 0.5, least: int = 10, patience: float = 30.0
) -> Load:
    """Keep ``concurrency`` requests under way at once.

    Args:
        send: sends one request.
        concurrency: clients, each with one request at a time.
        seconds: length of the measured window; what is answered within it counts.
        warm_up: seconds before it whose answers do not count.
        least: answers that the window must hold; it stays open for them longer than ``seconds``, on a slow machine.
        patience: seconds after which it closes anyhow.

    Raises:
        ValueError: no client, or no time.
    """
    if concurrency < 1 or seconds <= 0:
        raise ValueError(f"a closed loop needs clients and time, got {concurrency} clients for {seconds} s")
    load = Load(None, concurrency, seconds)
    numbers = itertools.count()
    with _no_collection():
        begin = time.perf_counter() + warm_up
        used_before: float | None = None

        def is_open(now: float) -> bool:
            return now < begin + seconds or (load.requests < least and now < begin + max(seconds, patience))

        async def client() -> None:
            nonlocal used_before
            while is_open(sent := time.perf_counter()):
                problem = await _problem(send, next(numbers))
                answered = time.perf_counter()
                if answered >= begin and is_open(answered):
                    used_now = time.process_time()
                    used_before = used_now if used_before is None else used_before
                    load._count(problem, sent, answered)
                    load.seconds = max(seconds, answered - begin)
                    load.processor_seconds = used_now - used_before
                if problem:
                    await asyncio.sleep(0)  # a request that fails at once must not keep the loop from the others

        await asyncio.gather(*(client() for _ in range(concurrency)))
    return load


async def open_loop(
    send: Send, rate: float, seconds: float, *, seed: int = 0, warm_up: float = 0.5, patience: float = 10.0
) -> Load:
    """Send requests at a mean rate, at random moments as a Poisson process has them.

    Args:
        send: sends one request.
        rate: requests a second.
        seconds: length of the measured window; requests that are due within it count.
        seed: of the moments.
        warm_up: seconds before it whose requests do not count.
        patience: seconds after the window in which answers may still come; what is open then counts as ``unanswered``.

    Raises:
        ValueError: no rate, or no time.
    """
    if rate <= 0 or seconds <= 0:
        raise ValueError(f"an open loop needs a rate and time, got {rate} requests/s for {seconds} s")
    load = Load(rate, None, seconds)
    loop = asyncio.get_running_loop()
    under_way: set[asyncio.Task] = set()

    async def request(number: int, due: float, counts: bool) -> None:
        try:
            problem = await _problem(send, number)
        except asyncio.CancelledError:  # its answer was awaited long enough
            problem = "unanswered"
        if counts:
            load._count(problem, due, time.perf_counter())
        under_way.discard(asyncio.current_task())

    def begin(number: int, due: float) -> None:
        under_way.add(loop.create_task(request(number, due, due >= start + warm_up)))

    with _no_collection():
        start, before = time.perf_counter(), time.process_time()
        dues = (start + _poisson(rate, warm_up + seconds, seed)).tolist()
        loops_clock = loop.time() - time.perf_counter()
        # timers, since a sleep between two requests would wake the event loop twice as often
        timers = [loop.call_at(due + loops_clock, begin, number, due) for number, due in enumerate(dues)]
        try:
            await asyncio.sleep(start + warm_up + seconds - time.perf_counter())
        finally:
            for timer in timers:
                timer.cancel()
        load.processor_seconds = (time.process_time() - before) * seconds / (warm_up + seconds)
        if under_way:
            _, late = await asyncio.wait(under_way, timeout=patience)
            for task in late:
                task.cancel()
            await asyncio.gather(*late)
    return load


async def _problem(send: Send, number: int) -> str:
    """What went wrong with a request, raised or given; a request whose sender fails is a failed request."""
    try:
        return await send(number)
    except Exception as error:
        return type(error).__name__


def _poisson(rate: float, seconds: float, seed: int) -> np.ndarray:
    """Moments of a Poisson process within ``seconds``, in order."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.uniform(0, seconds, rng.poisson(rate * seconds)))


@contextmanager
def _no_collection() -> Iterator[None]:
    """A pause of Python's garbage collector would count as the server's."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
