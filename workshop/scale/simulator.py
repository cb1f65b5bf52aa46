"""How many servers a load needs: a discrete-event simulation of batching servers, fed with measured service times.

Requests arrive as a Poisson process, are given to a replica at once by the client's or proxy's rule, wait in its queue,
and are computed in batches: an instance that falls free takes what waits, up to the batch limit, as Triton's dynamic
batcher does; with a delay a batch that is not full waits for others so long. A request's latency is its wait, the time
of its batch, and a fixed part for network and client.

Where formulas are known the simulation is checked against them: M/M/1, M/D/1 and, for several instances behind one
queue, Erlang C. L. Kleinrock, Queueing Systems, volume 1, Wiley 1975, chapters 3 and 5.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np

from workshop.errors import SettingsError

Rule = Literal["least_outstanding", "random", "in_turn"]
MOST_REPLICAS = 1000
_WARM_UP_SHARE = 0.1


@dataclass(frozen=True)
class ServiceTimes:
    """Seconds that an instance is busy with a batch.

    Attributes:
        samples: by number of rows in the batch, measured seconds; sizes between two measured ones are interpolated, and
            beyond the largest a batch is taken to grow as its rows do.
        overhead: seconds of a request outside the instance, network and client's library.
    """

    samples: Mapping[int, np.ndarray]
    overhead: float = 0.0

    def __post_init__(self) -> None:
        if 1 not in self.samples or any(len(times) == 0 or np.min(times) <= 0 for times in self.samples.values()):
            raise SettingsError("service times need positive samples, of one row at least")
        object.__setattr__(self, "samples", {rows: np.sort(times) for rows, times in sorted(self.samples.items())})

    @classmethod
    def fixed(cls, seconds: Mapping[int, float], overhead: float = 0.0) -> ServiceTimes:
        """Every batch of a size takes the same time."""
        return cls({rows: np.array([time]) for rows, time in seconds.items()}, overhead)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Measured batch sizes, in order."""
        return np.array(list(self.samples))

    def mean(self, rows: int) -> float:
        """Mean seconds of a batch."""
        return self._between(rows, [float(times.mean()) for times in self.samples.values()])

    def at(self, rows: int, quantile: float) -> float:
        """The time that a share ``quantile`` of the batches of this size keeps."""
        return self._between(rows, [_quantile(times, quantile) for times in self.samples.values()])

    def _between(self, rows: int, seconds: list[float]) -> float:
        largest = self.sizes[-1]
        return float(np.interp(rows, self.sizes, seconds)) * max(1.0, rows / largest)


@dataclass(frozen=True)
class Deployment:
    """How a model is served.

    Attributes:
        replicas: servers, each with a queue of its own.
        instances: batches that one replica computes at a time.
        rows: most requests in a batch, of one row each.
        delay: seconds a request may wait for others to join its batch.
        rule: by which a request is given to a replica; of equals the one that was longest without.
    """

    replicas: int = 1
    instances: int = 1
    rows: int = 1
    delay: float = 0.0
    rule: Rule = "least_outstanding"

    def capacity(self, times: ServiceTimes) -> float:
        """Requests a second above which queues grow without end, and every batch is a full one."""
        return self.replicas * self.instances * self.rows / times.mean(self.rows)


@dataclass(frozen=True)
class Outcome:
    """What a simulated load came to.

    Attributes:
        latencies: seconds of each request that counts, in the order of arrival.
        utilisation: share of the time that instances were busy.
        batch: mean requests in a batch.
    """

    latencies: np.ndarray = field(repr=False)
    utilisation: float
    batch: float

    def percentile(self, percent: float) -> float:
        """The latency in milliseconds that ``percent`` of the requests kept."""
        return 1000 * float(np.percentile(self.latencies, percent))


def simulate(
    times: ServiceTimes, deployment: Deployment, rate: float, *, requests: int = 50_000, seed: int = 0
) -> Outcome:
    """Simulate a load; the first tenth of the requests is a warm-up and does not count.

    Args:
        times: of the model.
        deployment: how it is served.
        rate: requests a second.
        requests: how many to simulate.
        seed: of arrivals and service times.

    Raises:
        SettingsError: no rate, or more than the deployment can answer, so that no percentile exists.
    """
    capacity = deployment.capacity(times)
    if not 0 < rate < capacity:
        raise SettingsError(
            f"{rate:g} requests/s cannot be simulated: {deployment} answers at most {capacity:.1f} requests/s",
            hint="more replicas, or replicas_needed(...)",
        )
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1 / rate, requests)).tolist()
    return _Run(times, deployment, arrivals, rng).outcome()


def replicas_needed(
    times: ServiceTimes, deployment: Deployment, rate: float, p95_ms: float, *, requests: int = 20_000, seed: int = 0
) -> int:
    """The least number of replicas whose simulated 95th percentile keeps a goal.

    Args:
        times: of the model.
        deployment: how one replica serves; its own number of replicas does not count.
        rate: requests a second, over all replicas.
        p95_ms: goal in milliseconds.
        requests: how many to simulate for each number.
        seed: as for :func:`simulate`.

    Raises:
        SettingsError: a lone request takes longer than the goal, or more than 1,000 replicas would be needed.
    """
    alone = 1000 * (times.at(1, 0.95) + times.overhead)
    if alone > p95_ms:
        raise SettingsError(
            f"a goal of {p95_ms:g} ms cannot be kept: 5 % of lone requests take longer than {alone:.1f} ms",
            hint="a faster model or device",
        )
    least = math.floor(rate / replace(deployment, replicas=1).capacity(times)) + 1
    for replicas in range(least, MOST_REPLICAS + 1):
        tried = replace(deployment, replicas=replicas)
        if simulate(times, tried, rate, requests=requests, seed=seed).percentile(95) <= p95_ms:
            return replicas
    raise SettingsError(f"more than {MOST_REPLICAS} replicas are needed for {rate:g} requests/s in {p95_ms:g} ms")


def _quantile(ordered: np.ndarray, quantile: float) -> float:
    return float(ordered[min(int(quantile * len(ordered)), len(ordered) - 1)])


class _Replica:
    def __init__(self, number: int, instances: int) -> None:
        self.number = number
        self.free = instances
        self.waiting: deque[int] = deque()
        self.outstanding = 0
        self.last_pick = 0


class _Run:
    """One simulation. Events are (time, order, what happens), so that equal times keep their order."""

    def __init__(
        self, times: ServiceTimes, deployment: Deployment, arrivals: list[float], rng: np.random.Generator
    ) -> None:
        self._times, self._deployment, self._arrivals = times, deployment, arrivals
        self._replicas = [_Replica(n, deployment.instances) for n in range(deployment.replicas)]
        self._quantiles = iter(rng.random(len(arrivals)).tolist())
        self._choices = rng.integers(0, deployment.replicas, len(arrivals)).tolist()
        self._order = itertools.count()
        self._events: list[tuple[float, int, _Replica, list[int]]] = []
        self._done = [0.0] * len(arrivals)
        self._busy = 0.0
        self._batches = 0

    def outcome(self) -> Outcome:
        for number, now in enumerate(self._arrivals):
            self._run_until(now)
            replica = self._pick(number)
            replica.waiting.append(number)
            replica.outstanding += 1
            self._start(replica, now)
        self._run_until(math.inf)
        first = int(len(self._arrivals) * _WARM_UP_SHARE)
        latencies = np.subtract(self._done, self._arrivals)[first:] + self._times.overhead
        servers = self._deployment.replicas * self._deployment.instances
        return Outcome(latencies, self._busy / (max(self._done) * servers), len(self._arrivals) / self._batches)

    def _pick(self, number: int) -> _Replica:
        if self._deployment.rule == "random":
            return self._replicas[self._choices[number]]
        if self._deployment.rule == "in_turn":
            return self._replicas[number % len(self._replicas)]
        replica = min(self._replicas, key=lambda one: (one.outstanding, one.last_pick))
        replica.last_pick = number + 1
        return replica

    def _run_until(self, moment: float) -> None:
        while self._events and self._events[0][0] <= moment:
            now, _, replica, batch = heapq.heappop(self._events)
            if batch:  # an instance has computed it; without one, a delay has passed
                replica.free += 1
                replica.outstanding -= len(batch)
                for number in batch:
                    self._done[number] = now
            self._start(replica, now)

    def _start(self, replica: _Replica, now: float) -> None:
        rows, delay = self._deployment.rows, self._deployment.delay
        while replica.free and replica.waiting:
            due = self._arrivals[replica.waiting[0]] + delay
            if len(replica.waiting) < rows and now < due:
                heapq.heappush(self._events, (due, next(self._order), replica, []))
                return
            batch = [replica.waiting.popleft() for _ in range(min(rows, len(replica.waiting)))]
            seconds = self._times.at(len(batch), next(self._quantiles))
            replica.free -= 1
            self._busy += seconds
            self._batches += 1
            heapq.heappush(self._events, (now + seconds, next(self._order), replica, batch))
