"""Checks of `14_measure_and_tune`."""

from __future__ import annotations

import numpy as np

from workshop.exercises.answers import RefusedError, array, call, number, parts, shown
from workshop.exercises.checking import Exercise
from workshop.exercises.verdict import Findings, right, wrong
from workshop.loadtest.generator import Load

TOLERANCE = 0.02


def inside(answer: object, *, load: Load) -> Findings:
    """``(on average, at ten times the rate)``: requests inside the system, by Little's law."""
    now, tenfold = (number(value, what) for value, what in zip(parts(answer, _INSIDE), _INSIDE, strict=True))
    mean = load.latencies.get_mean_value() / 1e6
    expected = load.rate * mean
    if _near(now, expected):
        yield right(f"{load.rate:.0f} requests a second that each stay {1000 * mean:.0f} ms: {expected:.2f} inside")
    elif _near(now, 1000 * expected) or _near(now, 1e6 * expected):
        yield wrong("a latency in milli- or microseconds was taken for seconds")
    elif _near(now, load.rate / mean):
        yield wrong("rate divided by latency has no meaning here: the longer each stays, the more are inside")
    elif _near(now, load.rate * load.percentile(50) / 1000):
        yield wrong("this is with the median; a few that stay long count for what they stay, so the law needs the mean")
    else:
        yield wrong(f"{now:.3g} is not what {load.rate:.0f} requests a second make")
    if _near(tenfold, 10 * expected):
        yield right("ten times the arrivals, each as long: ten times as many inside")
    elif _near(tenfold, expected):
        yield wrong("at ten times the rate ten times as many come while one stays")
    else:
        yield wrong("the second number does not follow from the law at ten times the rate")


_INSIDE = ("inside on average", "with ten times the rate")


def _near(value: float, expected: float) -> bool:
    return abs(value - expected) <= TOLERANCE * abs(expected)


def felt(answer: object) -> Findings:
    """A function ``(started, answered, interval, percent)`` that counts from when requests were due."""
    for title, (started, answered, interval) in _clients().items():
        for percent in (50.0, 90.0, 99.0):
            said = call(answer, started.copy(), answered.copy(), interval, percent)
            value = float(array(said, f"{title}: what your function returns", ()))
            due = np.arange(len(started)) * interval
            users = float(np.percentile(answered - np.minimum(started, due), percent))
            about = f"{title}, p{percent:.0f}"
            if abs(value - users) <= 1e-6:
                yield right(f"{about}: {1000 * users:.0f} ms")
            elif abs(value - np.percentile(answered - started, percent)) <= 1e-6:
                yield wrong(f"{about}: this counts from the sending, and leaves out the wait before it")
            elif abs(value - np.percentile(answered - due, percent)) <= 1e-6:
                yield wrong(f"{about}: what was sent before it was due counts as a shorter wait than it was")
            else:
                yield wrong(f"{about}: {1000 * value:.0f} ms is not what users felt")


def _clients() -> dict[str, tuple[np.ndarray, np.ndarray, float]]:
    """Moments at which a client sent and got its answers, and the interval it meant to keep."""
    quick = np.full(200, 0.004)
    stalled = quick.copy()
    stalled[80] = 1.0
    early = np.arange(50) * 0.01 - 0.002
    return {
        "a calm server": _one_by_one(quick, 0.01),
        "a server that stood still once": _one_by_one(stalled, 0.01),
        "a client that is early": (early, early + 0.005, 0.01),
    }


def _one_by_one(service: np.ndarray, interval: float) -> tuple[np.ndarray, np.ndarray, float]:
    started, free = [], 0.0
    for number_, seconds in enumerate(service):
        started.append(max(number_ * interval, free))
        free = started[-1] + seconds
    return np.array(started), np.array(started) + service, interval


def refused(answer: object) -> Findings:
    """A function ``(arrivals, service, queue_size)`` that names the refused arrivals of one server with a queue."""
    rng = np.random.default_rng(14)
    cases = {
        "nobody waits": ([0.0, 1.0, 2.0], 0.5, 2),
        "five at once": ([0.0] * 5, 1.0, 2),
        "no queue at all": ([0.0, 0.5, 1.0, 1.2, 2.5], 1.0, 0),
        "a place that is free just then": ([0.0, 0.1, 1.0, 1.1], 1.0, 1),
        "200 at random": (np.sort(rng.uniform(0, 10, 200)).tolist(), 0.1, 4),
    }
    for title, (arrivals, service, queue_size) in cases.items():
        said = call(answer, list(arrivals), service, queue_size)
        values = array(said, f"{title}: what your function returns", (len(arrivals),))
        if not set(np.unique(values)) <= {0, 1}:
            raise RefusedError(f"{title}: a list of true and false is wanted, and is {shown(said)}")
        expected = _refused(arrivals, service, queue_size)
        given = values.astype(bool).tolist()
        if given == expected:
            yield right(f"{title}: {sum(expected)} of {len(arrivals)} refused")
            continue
        first = next(place for place, pair in enumerate(zip(given, expected, strict=True)) if pair[0] != pair[1])
        fate = "is refused, though a place is free" if given[first] else "is let in, though the queue is full"
        yield wrong(f"{title}: number {first}, at {arrivals[first]:.2f} s, {fate}")


def _refused(arrivals: list[float], service: float, queue_size: int) -> list[bool]:
    done: list[float] = []
    fate = []
    for moment in arrivals:
        still = [end for end in done if end > moment]
        full = len(still) - 1 >= queue_size
        fate.append(full)
        if not full:
            done.append(max(moment, done[-1] if done else moment) + service)
    return fate


EXERCISES = {
    "1": Exercise("Fill in `inside` in the cell above with two numbers.", inside),
    "2": Exercise("Give `felt` a body that returns a number of seconds.", felt),
    "3": Exercise("Give `refused` a body that returns a list of true and false.", refused),
}
