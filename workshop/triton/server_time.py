"""Where the time of requests went inside the server, from Triton's own statistics.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md
"""

from __future__ import annotations

from dataclasses import dataclass, field

PARTS = ("queue", "input", "infer", "output")


@dataclass
class ServerTime:
    """What a model did since it was loaded, or between two looks: ``after - before``.

    Attributes:
        requests: answered well.
        failed: answered with an error, or refused.
        rows: batch rows in the answered requests.
        executions: times the model ran; fewer than requests where requests were merged.
        cached: requests answered from the response cache.
        seconds: sums over all requests, by part: waiting in the ``queue``, reading ``input``, computing (``infer``),
            writing ``output``. A merged request counts the whole time of its batch.
    """

    requests: int = 0
    failed: int = 0
    rows: int = 0
    executions: int = 0
    cached: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))

    @property
    def batch_size(self) -> float:
        """Mean rows in one execution; NaN when nothing ran."""
        return self.rows / self.executions if self.executions else float("nan")

    def __sub__(self, before: ServerTime) -> ServerTime:
        return ServerTime(
            self.requests - before.requests,
            self.failed - before.failed,
            self.rows - before.rows,
            self.executions - before.executions,
            self.cached - before.cached,
            {part: self.seconds[part] - before.seconds[part] for part in PARTS},
        )

    def milliseconds(self) -> dict[str, float]:
        """Mean milliseconds a request spent in each part; NaN when none was answered."""
        return {
            part: 1000 * seconds / self.requests if self.requests else float("nan")
            for part, seconds in self.seconds.items()
        }


def read_server_time(statistics: dict) -> ServerTime:
    """What the statistics extension says of a model since it was loaded, over all its versions."""
    total = ServerTime()
    for entry in statistics.get("model_stats", []):
        stats = entry.get("inference_stats", {})
        total.requests += _count(stats, "success")
        total.failed += _count(stats, "fail")
        total.cached += _count(stats, "cache_hit")
        total.rows += int(entry.get("inference_count", 0))
        total.executions += int(entry.get("execution_count", 0))
        for part in PARTS:
            key = part if part == "queue" else f"compute_{part}"
            total.seconds[part] += int(stats.get(key, {}).get("ns", 0)) / 1e9
    return total


def _count(stats: dict, name: str) -> int:
    return int(stats.get(name, {}).get("count", 0))
