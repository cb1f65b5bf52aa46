"""What Triton's Prometheus endpoint counts of each model, and what happened between two looks at it.

https://github.com/triton-inference-server/server/blob/main/docs/user_guide/metrics.md
"""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from workshop.errors import InferenceError, ServerUnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workshop.settings import Settings

READ_SECONDS = 3.0
_SAMPLE = re.compile(r"^nv_inference_(\w+)\{([^}]*)\} (\S+)", re.MULTILINE)
_MODEL = re.compile(r'model="([^"]*)"')
_GPU = re.compile(r'^nv_gpu_\w+\{[^}]*gpu_uuid="([^"]+)"', re.MULTILINE)
_MICRO = 1e-6


@dataclass(frozen=True)
class ModelCounts:
    """Totals of one model since it was loaded, all versions together.

    Attributes:
        requests: answered, without errors.
        failures: answered by an error.
        inferences: rows, a request of 8 rows counts 8.
        executions: runs of the model; less than ``requests`` where the server merged some.
        request_seconds: from arrival to answer, all requests together.
        queue_seconds: of that, waiting.
        pending: requests that wait now.
    """

    requests: float = 0
    failures: float = 0
    inferences: float = 0
    executions: float = 0
    request_seconds: float = 0
    queue_seconds: float = 0
    pending: float = 0


@dataclass(frozen=True)
class ModelRates:
    """What a model did between two looks; None where it did nothing.

    Attributes:
        requests_per_second: answered.
        milliseconds: a request took on average.
        queue_milliseconds: of that, waiting.
        batch: rows that one run of the model took on average.
    """

    requests_per_second: float
    milliseconds: float | None
    queue_milliseconds: float | None
    batch: float | None


_FIELDS = {
    "request_success": ("requests", 1.0),
    "request_failure": ("failures", 1.0),
    "count": ("inferences", 1.0),
    "exec_count": ("executions", 1.0),
    "request_duration_us": ("request_seconds", _MICRO),
    "queue_duration_us": ("queue_seconds", _MICRO),
    "pending_request_count": ("pending", 1.0),
}


def read_counts(text: str) -> dict[str, ModelCounts]:
    """Totals by model's name, from the text of the endpoint."""
    found: dict[str, dict[str, float]] = {}
    for name, labels, value in _SAMPLE.findall(text):
        model = _MODEL.search(labels)
        if name in _FIELDS and model:
            field, factor = _FIELDS[name]
            counts = found.setdefault(model[1], dict.fromkeys((f.name for f in fields(ModelCounts)), 0.0))
            counts[field] += factor * float(value)  # a sample a version, and failures a sample a reason
    return {model: ModelCounts(**counts) for model, counts in sorted(found.items())}


def fetch_counts(settings: Settings, *, timeout: float = READ_SECONDS) -> dict[str, ModelCounts]:
    """Totals by model's name, asked of the server that the settings name.

    Raises:
        ServerUnreachableError: nothing answers at the metrics port.
        InferenceError: something answers that has no metrics.
    """
    return read_counts(_page(settings, timeout))


def server_gpus(settings: Settings, *, timeout: float = READ_SECONDS) -> int | None:
    """How many GPUs the server has that the settings name; ``None`` where its metrics cannot be asked.

    Triton counts those that it was given and that NVIDIA's DCGM sees, as in NVIDIA's containers.
    """
    if not settings.triton_metrics_port:
        return None
    try:
        return len(set(_GPU.findall(_page(settings, timeout))))
    except (InferenceError, ServerUnreachableError):
        return None


def _page(settings: Settings, timeout: float) -> str:
    address = f"http://{settings.triton_host}:{settings.triton_metrics_port}/metrics"
    try:
        with urllib.request.urlopen(address, timeout=timeout) as answer:
            return answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        raise InferenceError(f"{address} answered {error.code}", hint="check WORKSHOP_TRITON_METRICS_PORT") from error
    except OSError as error:
        raise ServerUnreachableError(
            f"no metrics of Triton at {address}: {error}", hint="make up; the port is WORKSHOP_TRITON_METRICS_PORT"
        ) from error


def rates(before: Mapping[str, ModelCounts], after: Mapping[str, ModelCounts], seconds: float) -> dict[str, ModelRates]:
    """What each model of ``after`` did in the ``seconds`` since ``before``.

    A model that was loaded again in between begins at 0.
    """
    return {model: _rates(before.get(model, ModelCounts()), now, seconds) for model, now in after.items()}


def _rates(before: ModelCounts, now: ModelCounts, seconds: float) -> ModelRates:
    if now.requests < before.requests or now.executions < before.executions:
        before = ModelCounts()
    requests, executions = now.requests - before.requests, now.executions - before.executions
    return ModelRates(
        requests_per_second=requests / seconds,
        milliseconds=1e3 * (now.request_seconds - before.request_seconds) / requests if requests else None,
        queue_milliseconds=1e3 * (now.queue_seconds - before.queue_seconds) / requests if requests else None,
        batch=(now.inferences - before.inferences) / executions if executions else None,
    )
