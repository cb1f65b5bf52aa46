"""What the servers do, as a reading: the local ones, or those that the settings name elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import requests
from prometheus_client.parser import text_string_to_metric_families

from workshop.errors import ServingError
from workshop.settings import Settings
from workshop.store.connection import store_password
from workshop.triton.metrics import ModelCounts, fetch_counts

ANSWER_SECONDS = 2.0
"""Longest time a server may take to tell about itself."""
_STORE = {
    "requests": "arangodb_http_request_statistics_total_requests_total",
    "request_seconds": "arangodb_client_connection_statistics_total_time_sum",
    "queries": "arangodb_aql_all_query_total",
    "query_seconds": "arangodb_aql_query_time_sum",
    "running": "arangodb_aql_current_query",
    "cursors": "arangodb_aql_cursors_active",
    "commits": "arangodb_transactions_committed_total",
    "memory": "arangodb_process_statistics_resident_set_size",
}


@dataclass(frozen=True)
class Reading:
    """What both servers have counted at one moment.

    Attributes:
        taken: seconds on the monotonic clock.
        models: totals by model name.
        store: numbers by the names of ``_STORE``.
        problems: by server, why it tells nothing.
    """

    taken: float
    models: Mapping[str, ModelCounts] = field(default_factory=dict)
    store: Mapping[str, float] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


def read(settings: Settings) -> Reading:
    """Ask both servers; one that does not answer is named in ``problems``, after seconds at most."""
    problems = {}
    models: dict[str, ModelCounts] = {}
    store: dict[str, float] = {}
    try:
        models = fetch_counts(settings, timeout=ANSWER_SECONDS)
    except ServingError as error:
        problems["triton"] = str(error.args[0]).splitlines()[0]
    try:
        store = _store(settings)
    except (requests.RequestException, OSError) as error:
        answered = getattr(error, "response", None)
        reason = "no answer" if answered is None else f"HTTP {answered.status_code}"
        problems["store"] = f"{reason} at {settings.effective_arango_url}"
    return Reading(time.monotonic(), models, store, problems)


def _store(settings: Settings) -> dict[str, float]:
    url = settings.arango_hosts[0]
    with requests.Session() as session:
        session.trust_env = False  # no proxy stands before these servers
        answer = session.get(
            f"{url}/_admin/metrics/v2",
            auth=(settings.arango_user, store_password(settings)),
            timeout=ANSWER_SECONDS,
        )
    answer.raise_for_status()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return {name: found.get(metric, 0.0) for name, metric in _STORE.items()}
