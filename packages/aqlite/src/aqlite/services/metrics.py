"""What the server counts about its requests and queries, and the text in which Prometheus reads it.

Names, units and bucket bounds are those of ArangoDB 3.12
(https://docs.arango.ai/arangodb/stable/develop/http-api/monitoring/metrics/); what has no counterpart there begins
with ``aqlite_``. Counting is a few additions; everything else is read when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

REQUEST_SECONDS = (0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 15.0, 30.0)
REQUEST_BYTES = (250.0, 1000.0, 2000.0, 5000.0, 10000.0)
CONNECTION_SECONDS = (0.1, 1.0, 60.0)
QUERY_SECONDS = tuple(50.0 / 2**power for power in range(19, -1, -1))
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
OTHER = "OTHER"


class Histogram:
    """Counts of values by upper bound. Adding is not atomic: one thread adds, or the caller holds a lock."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count a value, in the unit of the bounds."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


@dataclass(slots=True)
class Observation:
    """What one request took, filled in on its way: seconds waiting for a worker and in it, and who asked.

    ``handled`` stays ``None`` for requests that no handler saw, such as those without a login.
    """

    queued: float = 0.0
    handled: float | None = None
    in_background: bool = False
    user: str = ""


class RequestMetrics:
    """Counts of requests and connections; only the event loop's thread adds to them."""

    def __init__(self) -> None:
        self.methods: Counter[str] = Counter(dict.fromkeys((*METHODS, OTHER), 0))
        self.statuses: Counter[int] = Counter()
        self.in_background = 0
        self.connections = 0
        self.connection_seconds = Histogram(CONNECTION_SECONDS)
        self.total_seconds = Histogram(REQUEST_SECONDS)
        self.handled_seconds = Histogram(REQUEST_SECONDS)
        self.queued_seconds = Histogram(REQUEST_SECONDS)
        self.io_seconds = Histogram(REQUEST_SECONDS)
        self.received_bytes = Histogram(REQUEST_BYTES)
        self.sent_bytes = Histogram(REQUEST_BYTES)

    def add(self, method: str, status: int, seconds: float, received: int, sent: int, observation: Observation) -> None:
        """Count an answered request: seconds from its head to the answer's last byte, bytes of both bodies."""
        self.methods[method if method in METHODS else OTHER] += 1
        if status:  # else the client was gone before it had an answer
            self.statuses[status] += 1
        self.in_background += observation.in_background
        self.total_seconds.add(seconds)
        self.received_bytes.add(received)
        self.sent_bytes.add(sent)
        if observation.handled is not None:
            self.queued_seconds.add(observation.queued)
            self.handled_seconds.add(observation.handled)
            self.io_seconds.add(max(seconds - observation.queued - observation.handled, 0.0))


@dataclass
class Exposition:
    """Collects metrics in Prometheus' text format, version 0.0.4; every sample carries ``labels``."""

    labels: Mapping[str, str]
    _lines: list[str] = field(default_factory=list)

    def counter(self, name: str, help_text: str, value: float) -> None:
        """A number that only grows."""
        self._head(name, "counter", help_text)
        self._sample(name, value)

    def counters(self, name: str, help_text: str, label: str, values: Mapping[object, float]) -> None:
        """A counter for each value of a label."""
        self._head(name, "counter", help_text)
        for key, value in values.items():
            self._sample(name, value, {label: str(key)})

    def gauge(self, name: str, help_text: str, value: float) -> None:
        """A number that goes up and down."""
        self._head(name, "gauge", help_text)
        self._sample(name, value)

    def histogram(self, name: str, help_text: str, histogram: Histogram) -> None:
        """Cumulative counts by upper bound, with their sum and count."""
        self._head(name, "histogram", help_text)
        total = 0
        for bound, count in _pairs(histogram):
            total += count
            self._sample(f"{name}_bucket", total, {"le": bound})
        self._sample(f"{name}_count", total)
        self._sample(f"{name}_sum", histogram.sum)

    def text(self) -> str:
        """Everything collected."""
        return "\n".join(self._lines) + "\n"

    def _head(self, name: str, kind: str, help_text: str) -> None:
        self._lines += [f"# HELP {name} {help_text}.", f"# TYPE {name} {kind}"]

    def _sample(self, name: str, value: float, more: Mapping[str, str] | None = None) -> None:
        shown = ",".join(f'{label}="{text}"' for label, text in {**self.labels, **(more or {})}.items())
        self._lines.append(f"{name}{{{shown}}} {value!r}")


def _pairs(histogram: Histogram) -> Iterator[tuple[str, int]]:
    return zip([*(f"{bound:.6g}" for bound in histogram.bounds), "+Inf"], list(histogram.counts), strict=True)
