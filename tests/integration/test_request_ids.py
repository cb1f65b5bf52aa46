"""One id from the client to the logs of both servers, in errors, and in lines of JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys

import numpy as np
import pytest

from workshop import stack
from workshop.errors import InferenceError, QueryError, SettingsError
from workshop.logs import current_request_id, request_id
from workshop.settings import Settings
from workshop.stack.private import private_settings
from workshop.store.connection import connect
from workshop.store.queries import run_query
from workshop.triton.aio import AsyncTritonClient
from workshop.triton.client import TritonClient

ONES = {name: np.ones(3, np.float32) for name in ("dividend", "divisor")}
BAD = {"ids__0": np.full((1, 2), 10**6)}


def test_the_id_is_in_the_error_and_in_the_server_s_log(client, local_stack):
    with request_id("night-run-7"), pytest.raises(InferenceError, match=r"request id night-run-7\)?"):
        client.infer("look_up", BAD)
    log = stack.log_path(local_stack, "triton").read_text()
    assert "model 'look_up': request night-run-7: " in log


def test_without_one_of_ours_each_call_has_its_own(client, caplog):
    with caplog.at_level(logging.INFO, "workshop.requests"):
        client.infer("divide", ONES)
        client.infer("divide", ONES)
        with pytest.raises(InferenceError):
            client.infer("look_up", BAD)
    first, second, third = caplog.records
    assert len({first.request_id, second.request_id, third.request_id}) == 3
    assert (first.model, first.outcome, third.outcome) == ("divide", "ok", "InferenceError")
    assert 0 < first.seconds < 60


def test_nothing_is_logged_unless_asked(client, caplog):
    client.infer("divide", ONES)
    assert not caplog.records


def test_the_asynchronous_client_has_the_id_too(local_stack):
    async def ask() -> None:
        async with AsyncTritonClient.from_settings(local_stack) as client:
            with request_id("async-1"):
                await client.infer("look_up", BAD)

    with pytest.raises(InferenceError, match="request id async-1"):
        asyncio.run(ask())


def test_many_over_one_stream_come_in_order_under_an_id_with_dots(local_stack):
    rows = [{"a__0": np.array([[n]], np.float32), "b__1": np.ones((1, 1), np.float32)} for n in range(20)]
    with request_id("v1.2"), TritonClient.from_settings(local_stack) as client:
        answers = list(client.infer_many("add_subtract", rows, one_stream=True))
    assert [answer["sum__0"].item() for answer in answers] == list(range(1, 21))


@pytest.fixture(scope="module")
def logging_store(tmp_path_factory):
    """Settings of a running store that logs requests as JSON."""
    settings = private_settings(tmp_path_factory.mktemp("logging"), log_format="json", log_requests=True)
    with stack.running(settings, ["aqlite"]):
        yield settings


def test_the_store_gets_the_id_and_logs_it_as_json(logging_store: Settings):
    with request_id("recommend/42"):
        database = connect(logging_store)
        with pytest.raises(QueryError, match=r"request id recommend/42"):
            run_query(database, "embedding_models", {})
    connect(logging_store)
    log = stack.log_path(logging_store, "aqlite").read_text().splitlines()
    lines = [json.loads(line) for line in log if line.startswith("{")]
    ours = [line for line in lines if line["request_id"] == "recommend/42"]
    assert [line["status"] for line in ours if line["path"].endswith("/_api/cursor")] == [400]
    assert [line for line in lines if not line["request_id"]]


def test_json_lines_hold_the_id_of_the_work_under_way():
    code = """
import logging
from workshop.logs import configure_logs, request_id
configure_logs("json", requests=False)
with request_id("a-1"):
    logging.getLogger("x").warning("two\\nlines of %s", "text")
logging.getLogger("x").warning("without")
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    first, second = map(json.loads, result.stderr.splitlines())
    assert (first["message"], first["level"], first["request_id"]) == ("two\nlines of text", "WARNING", "a-1")
    assert "request_id" not in second
    assert first["time"]


def test_an_id_ends_with_its_block_and_is_made_up_where_none_is_given():
    with request_id() as made, request_id("inner"):
        assert current_request_id() == "inner"
        assert len(made) == 16
    assert current_request_id() == ""


@pytest.mark.parametrize("value", ["two words", "x" * 129, "line\nbreak", "ü"])
def test_what_cannot_be_an_id_is_refused(value):
    with pytest.raises(SettingsError, match="cannot be a request id"), request_id(value):
        pass
