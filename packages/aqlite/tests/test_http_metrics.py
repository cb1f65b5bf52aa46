"""Metrics as Prometheus reads them, request ids, and the log of requests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from server_process import PASSWORD, ServerProcess

AUTH = ("root", PASSWORD)
Scrape = Callable[[], dict[str, float]]


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that nobody else asks, which logs its requests as JSON."""
    folder = tmp_path_factory.mktemp("observed")
    running = ServerProcess(folder / "data", options=("--log-format", "json", "--log-requests"))
    yield running
    assert running.stop() == 0


@pytest.fixture
def scrape(observed: ServerProcess) -> Scrape:
    """Samples by name, and by name and label where they have one of their own."""

    def read() -> dict[str, float]:
        answer = requests.get(f"{observed.url}/_admin/metrics/v2", auth=AUTH, timeout=10)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        samples = {}
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                assert sample.labels.pop("role") == "SINGLE"
                samples[" ".join([sample.name, *sample.labels.values()])] = sample.value
        return samples

    return read


def call(server: ServerProcess, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
    return requests.request(method, f"{server.url}{path}", json=body, auth=AUTH, timeout=10, **options)


def test_requests_are_counted_by_method_and_status(observed, scrape):
    before = scrape()
    call(observed, "POST", "/_api/collection", {"name": "counted"})
    call(observed, "POST", "/_api/document/counted", {"_key": "a", "text": "x" * 3000})
    call(observed, "GET", "/_api/document/counted/none")
    requests.get(f"{observed.url}/_api/version", timeout=10)  # without a login
    call(observed, "GET", "/_api/nothing")
    after = scrape()

    def more(name: str) -> float:
        return after[name] - before.get(name, 0)

    # the scrape before is counted too, as soon as it is answered
    assert more("arangodb_http_request_statistics_http_post_requests_total") == 2
    assert more("arangodb_http_request_statistics_http_get_requests_total") == 4
    assert more("arangodb_http_request_statistics_http_put_requests_total") == 0
    assert more("arangodb_http_request_statistics_total_requests_total") == 6
    assert more("aqlite_http_responses_total 404") == 2
    assert more("aqlite_http_responses_total 401") == 1
    assert more("arangodb_client_connection_statistics_total_time_count") == 6
    assert more("arangodb_client_connection_statistics_request_time_count") == 4  # a handler saw so many
    assert more("arangodb_client_connection_statistics_total_time_bucket 30") == 6
    assert more("arangodb_client_connection_statistics_bytes_received_sum") > 3000
    assert more("arangodb_client_connection_statistics_bytes_received_bucket 2000") == 5
    assert after["arangodb_client_connection_statistics_client_connections"] >= 1


def test_queries_cursors_transactions_and_documents_are_counted(observed, scrape):
    db = observed.database()
    before = scrape()
    db.create_collection("kept")
    db.collection("kept").insert_many([{"n": n} for n in range(10)])
    cursor = db.aql.execute("FOR d IN kept RETURN SLEEP(0.05) || d.n", batch_size=2)
    transaction = db.begin_transaction(write=["kept"])
    transaction.collection("kept").insert({"n": 11})
    during = scrape()
    transaction.abort_transaction()
    cursor.close()
    after = scrape()
    assert during["arangodb_aql_cursors_active"] == 1
    assert during["arangodb_aql_cursors_memory_usage"] > 0
    assert during["aqlite_stream_transactions"] == 1
    assert after["arangodb_aql_cursors_active"] == after["aqlite_stream_transactions"] == 0
    assert after["arangodb_aql_all_query_total"] - before["arangodb_aql_all_query_total"] == 1
    spent = after["arangodb_aql_query_time_sum"] - before["arangodb_aql_query_time_sum"]
    assert 0.5 <= spent < 30
    quick = "arangodb_aql_query_time_bucket 0.390625"
    assert after[quick] == before[quick]
    assert after["arangodb_aql_query_time_bucket 50"] - before["arangodb_aql_query_time_bucket 50"] == 1
    assert after["arangodb_transactions_aborted_total"] - before["arangodb_transactions_aborted_total"] == 1
    assert after["arangodb_transactions_committed_total"] > before["arangodb_transactions_committed_total"]
    assert after["arangodb_transactions_started_total"] == (
        after["arangodb_transactions_committed_total"] + after["arangodb_transactions_aborted_total"]
    )
    assert after["aqlite_documents"] - before["aqlite_documents"] == 10
    assert after["arangodb_metadata_number_of_collections"] - before["arangodb_metadata_number_of_collections"] == 1


def test_the_process_shows_its_memory_and_uptime(observed, scrape):
    samples = scrape()
    resident = samples["arangodb_process_statistics_resident_set_size"]
    assert 20e6 < resident < samples["arangodb_process_statistics_virtual_memory_size"]
    assert 0 < samples["arangodb_server_statistics_server_uptime_total"] < 3600
    assert samples["arangodb_process_statistics_user_time"] > 0
    assert samples["aqlite_data_file_bytes"] > 0


def test_metrics_want_a_login(observed):
    for path in ("/_admin/metrics", "/_admin/metrics/v2"):
        assert requests.get(f"{observed.url}{path}", timeout=10).status_code == 401


def test_a_request_id_comes_back_and_is_in_the_log(observed):
    answer = call(observed, "GET", "/_api/document/none/none", headers={"x-request-id": "run-7/42"})
    assert answer.headers["x-request-id"] == "run-7/42"
    (line,) = [line for line in log(observed) if line["request_id"] == "run-7/42"]
    assert (line["method"], line["path"]) == ("GET", "/_api/document/none/none")
    assert line["status"] == 404
    assert line["level"] == "INFO"
    assert line["user"] == "root"
    assert 0 <= line["queued_seconds"] <= line["seconds"] < 10


@pytest.mark.parametrize("request_id", ["", "two words", "x" * 129, 'quo"te', "line\tbreak", "ümlaut"])
def test_what_cannot_be_a_request_id_is_left_out(observed, request_id):
    answer = call(observed, "GET", "/_api/version", headers={"x-request-id": request_id.encode("utf-8")})
    assert answer.status_code == 200
    assert "x-request-id" not in answer.headers
    assert request_id == "" or request_id not in [line["request_id"] for line in log(observed)]


def log(server: ServerProcess) -> list[dict[str, Any]]:
    """The log's lines, each a JSON object; when one request is answered, all before it have their lines."""
    call(server, "GET", "/_admin/server/availability")
    return [json.loads(line) for line in server.log().splitlines()]


def test_requests_are_logged_as_text_too_and_by_default_not_at_all(server, tmp_path: Path):
    chatty = ServerProcess(tmp_path / "data", options=("--log-requests",))
    call(chatty, "GET", "/_api/version", headers={"x-request-id": "seven"})
    assert chatty.stop() == 0
    assert re.search(r"INFO aqlite.requests: GET /_api/version 200 in \d\.\d+ s, request id seven", chatty.log())
    call(server, "GET", "/_api/version", headers={"x-request-id": "silent"})
    assert "silent" not in server.log()
