"""``/_admin/metrics``: what the server is and does, as Prometheus reads it."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from aqlite.http.request import Reply, Request
from aqlite.services.metrics import OTHER, Exposition, RequestMetrics
from aqlite.services.server import Server

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STATM, _STAT = Path("/proc/self/statm"), Path("/proc/self/stat")
_MINOR_FAULTS, _MAJOR_FAULTS = 7, 9  # fields of /proc/self/stat behind the command, see proc_pid_stat(5)


def metrics(request: Request) -> Reply:
    """GET /_admin/metrics[/v2]."""
    found = Exposition({"role": "SINGLE"})
    _requests(found, request.server.requests)
    _queries(found, request.server)
    _transactions(found, request.server)
    _data(found, request.server)
    _process(found, request.server)
    return Reply(found.text().encode(), content_type=_CONTENT_TYPE)


def _requests(found: Exposition, requests: RequestMetrics) -> None:
    prefix = "arangodb_http_request_statistics"
    found.counter(f"{prefix}_total_requests_total", "Total number of HTTP requests", requests.methods.total())
    for method, count in list(requests.methods.items()):
        name = "other_http" if method == OTHER else f"http_{method.lower()}"
        found.counter(f"{prefix}_{name}_requests_total", f"Number of HTTP {method} requests", count)
    found.counter(
        f"{prefix}_async_requests_total", "Number of asynchronously executed requests", requests.in_background
    )
    found.counters("aqlite_http_responses_total", "Number of answers by status code", "code", dict(requests.statuses))
    prefix = "arangodb_client_connection_statistics"
    found.gauge(f"{prefix}_client_connections", "Connections that are open now", requests.connections)
    for name, help_text, histogram in (
        ("connection_time", "Total connection time of a client [s]", requests.connection_seconds),
        ("total_time", "Total time needed to answer a request [s]", requests.total_seconds),
        ("request_time", "Time in which a request was handled [s]", requests.handled_seconds),
        ("queue_time", "Time a request waited for a worker [s]", requests.queued_seconds),
        ("io_time", "Time needed to receive a request and to send its answer [s]", requests.io_seconds),
        ("bytes_received", "Bytes of request bodies", requests.received_bytes),
        ("bytes_sent", "Bytes of answers' bodies", requests.sent_bytes),
    ):
        found.histogram(f"{prefix}_{name}", help_text, histogram)


def _queries(found: Exposition, server: Server) -> None:
    times = server.queries.seconds
    found.counter("arangodb_aql_all_query_total", "Total number of AQL queries finished", sum(times.counts))
    found.histogram("arangodb_aql_query_time", "Execution time histogram for all AQL queries [s]", times)
    found.counter(
        "arangodb_aql_total_query_time_msec_total", "Total execution time of all AQL queries [ms]", times.sum * 1000
    )
    found.gauge("arangodb_aql_current_query", "Current number of AQL queries executing", server.queries.count)
    open_cursors, held = server.cursors.totals()
    found.gauge("arangodb_aql_cursors_active", "Number of open result cursors", open_cursors)
    found.gauge("arangodb_aql_cursors_memory_usage", "Bytes held by open result cursors, estimated", held)


def _transactions(found: Exposition, server: Server) -> None:
    counts = server.store.transactions
    for name, count in (
        ("transactions_started", counts.started),
        ("transactions_committed", counts.committed),
        ("transactions_aborted", counts.aborted),
        ("transactions_expired", server.transactions.expired),
        ("read_transactions", counts.reading),
    ):
        found.counter(f"arangodb_{name}_total", f"Number of {name.replace('_', ' ')}", count)
    found.gauge("aqlite_stream_transactions", "Stream transactions that are open now", server.transactions.count)


def _data(found: Exposition, server: Server) -> None:
    totals = server.store.totals()
    found.gauge("arangodb_metadata_number_of_databases", "Number of databases", totals.databases)
    found.gauge("arangodb_metadata_number_of_collections", "Number of collections in all databases", totals.collections)
    found.gauge("aqlite_documents", "Number of documents in all databases", totals.documents)
    found.gauge("aqlite_data_file_bytes", "Size of the data file", totals.file_bytes)


def _process(found: Exposition, server: Server) -> None:
    uptime = time.time() - server.started
    found.counter("arangodb_server_statistics_server_uptime_total", "Seconds since the server's start", uptime)
    found.gauge("arangodb_server_statistics_cpu_cores", "Number of processor cores", os.cpu_count() or 1)
    used = os.times()
    prefix = "arangodb_process_statistics"
    found.gauge(f"{prefix}_user_time", "Seconds of processor time in user mode", used.user)
    found.gauge(f"{prefix}_system_time", "Seconds of processor time in kernel mode", used.system)
    found.gauge(f"{prefix}_number_of_threads", "Number of threads", threading.active_count())
    if not _STATM.exists():  # Linux tells about memory here, other systems elsewhere
        return
    virtual, resident = (int(pages) * os.sysconf("SC_PAGE_SIZE") for pages in _STATM.read_text().split()[:2])
    found.gauge(f"{prefix}_virtual_memory_size", "Bytes of virtual memory", virtual)
    found.gauge(f"{prefix}_resident_set_size", "Bytes of resident memory", resident)
    faults = _STAT.read_text().rpartition(")")[2].split()
    found.counter(f"{prefix}_minor_page_faults_total", "Number of minor page faults", int(faults[_MINOR_FAULTS]))
    found.counter(f"{prefix}_major_page_faults_total", "Number of major page faults", int(faults[_MAJOR_FAULTS]))
