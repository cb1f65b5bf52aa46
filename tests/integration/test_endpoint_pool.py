"""A client of several endpoints: the relays before one tritonserver break, hang and come back as servers do."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, closing

import numpy as np
import pytest
from proxies import Relay

from workshop.errors import (
    InferenceError,
    ModelNotFoundError,
    NoHealthyEndpointError,
    ServerUnreachableError,
    ServingTimeoutError,
    SettingsError,
    TensorNameError,
)
from workshop.loadtest.tuning import Serving
from workshop.logs import request_id
from workshop.scale.endpoints import EndpointPool
from workshop.settings import load_settings
from workshop.stack.private import free_ports
from workshop.triton.client import TritonClient
from workshop.triton.repository import read_config

ROWS = np.arange(40, dtype=np.float32).reshape(20, 2)
REQUESTS = [{"a__0": row[None], "b__1": row[None]} for row in ROWS]
QUICK = {"timeout": 5.0, "patience": 0.5, "back_off": 0.1, "health_timeout": 2.0}


@pytest.fixture
def relays(local_stack):
    with ExitStack() as open_relays:
        yield [open_relays.enter_context(Relay(local_stack.triton_grpc_port)) for _ in range(3)]


@pytest.fixture
def silent():
    """An endpoint that accepts connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield f"localhost:{listener.getsockname()[1]}"


def urls(relays):
    return [relay.url for relay in relays]


def dead() -> str:
    return f"127.0.0.1:{free_ports(1)[0]}"


def by_url(pool):
    return {status.url: status for status in pool.statuses()}


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.02)


def test_equal_endpoints_take_turns(relays):
    with EndpointPool(urls(relays)) as pool:
        pool.signature("add_subtract")
        for row, inputs in zip(ROWS[:8], REQUESTS, strict=False):
            np.testing.assert_array_equal(pool.infer("add_subtract", inputs)["sum__0"], 2 * row[None])
        assert [status.answered for status in pool.statuses()] == [3, 3, 3]  # one of them gave the signature


def test_a_batch_above_the_limit_is_shared_out_and_comes_back_in_order(relays):
    with EndpointPool(urls(relays)) as pool:
        answer = pool.infer("add_subtract", {"a__0": ROWS, "b__1": ROWS}, outputs=["sum__0"])
        assert list(answer) == ["sum__0"]
        np.testing.assert_array_equal(answer["sum__0"], 2 * ROWS)
        assert sum(status.answered > 0 for status in pool.statuses()) == 3


def test_requests_are_drawn_as_answers_are_taken(relays):
    drawn = []

    def requests():
        for number in range(100):
            drawn.append(number)
            yield REQUESTS[0]

    with EndpointPool(urls(relays), in_flight=2) as pool:
        answers = pool.infer_many("add_subtract", requests())
        next(answers)
        assert len(drawn) == 6
        next(answers)
        assert len(drawn) == 7
        answers.close()


def test_an_endpoint_that_is_down_loses_no_request_and_is_left_out(relays):
    gone = dead()
    with EndpointPool([gone, *urls(relays)], **QUICK) as pool:
        answers = list(pool.infer_many("add_subtract", REQUESTS))
        np.testing.assert_array_equal(np.concatenate([answer["sum__0"] for answer in answers]), 2 * ROWS)
        status = by_url(pool)[gone]
        assert not status.healthy
        assert status.answered == 0
        assert gone in status.error


def test_an_endpoint_that_comes_back_takes_part_again(local_stack, relays):
    port = free_ports(1)[0]
    url = f"localhost:{port}"
    with EndpointPool([url, relays[0].url], **QUICK) as pool:
        for inputs in REQUESTS[:3]:
            pool.infer("add_subtract", inputs)
        assert not by_url(pool)[url].healthy
        with Relay(local_stack.triton_grpc_port, at=port):
            until(lambda: pool.infer("add_subtract", REQUESTS[0]) and by_url(pool)[url].answered > 0)
            assert by_url(pool)[url].healthy


def test_a_request_whose_connection_breaks_is_answered_by_another(local_stack, relays):
    with Relay(local_stack.triton_grpc_port, cut=1, on=b"cut-me") as breaking:
        with EndpointPool([breaking.url, relays[0].url], **QUICK) as pool:
            pool.signature("add_subtract")
            with request_id("cut-me"):
                answers = [pool.infer("add_subtract", inputs) for inputs in REQUESTS[:4]]
            assert len(answers) == 4
            assert by_url(pool)[breaking.url].failed == 1
        assert b"cut-me" in breaking.heard


def test_an_endpoint_that_hangs_costs_its_requests_one_timeout(silent, relays):
    with EndpointPool([silent, relays[0].url], **(QUICK | {"timeout": 0.5, "deadline": 5.0})) as pool:
        started = time.monotonic()
        answers = list(pool.infer_many("add_subtract", REQUESTS))
        assert len(answers) == len(REQUESTS)
        assert time.monotonic() - started < 4
        status = by_url(pool)[silent]
        assert not status.healthy
        assert status.failed > 0


def test_when_none_is_healthy_each_is_named_with_its_error_within_the_patience():
    first, second = dead(), dead()
    with EndpointPool([first, second], **QUICK) as pool:
        started = time.monotonic()
        with pytest.raises(NoHealthyEndpointError, match=r"none of 2 Triton endpoints is healthy") as caught:
            pool.infer("add_subtract", REQUESTS[0])
        assert time.monotonic() - started < 3
    for url in (first, second):
        assert f"  {url}: " in str(caught.value)
    assert str(caught.value).count("no Triton server answers") == 2
    assert isinstance(caught.value, ServerUnreachableError)


def test_a_request_waits_for_the_first_that_comes_back(local_stack):
    port = free_ports(1)[0]
    with EndpointPool([f"localhost:{port}"], **(QUICK | {"patience": 20.0, "timeout": 10.0})) as pool:
        assert not any(status.healthy for status in pool.check())
        with Relay(local_stack.triton_grpc_port, at=port):
            np.testing.assert_array_equal(pool.infer("add_subtract", REQUESTS[1])["sum__0"], 2 * ROWS[1][None])


def test_the_deadline_is_that_of_all_attempts(silent, relays):
    with EndpointPool([silent], **(QUICK | {"timeout": 0.4, "deadline": 1.0, "patience": 30.0})) as pool:
        started = time.monotonic()
        with pytest.raises(ServingTimeoutError, match=f"no answer within the 1 s of all attempts:\n  {silent}"):
            pool.infer("add_subtract", REQUESTS[0])
        assert 0.9 < time.monotonic() - started < 3


def test_errors_of_inputs_and_model_are_raised_at_once(relays):
    with EndpointPool(urls(relays), **QUICK) as pool:
        pool.signature("look_up")
        with pytest.raises(InferenceError, match="look_up"):
            pool.infer("look_up", {"ids__0": np.array([[99]])})
        assert sum(status.answered for status in pool.statuses()) == 2
        with pytest.raises(TensorNameError):
            pool.infer("look_up", {"wrong": np.array([[1]])})
        with pytest.raises(ModelNotFoundError, match="'nobody' is not in the repository"):
            pool.infer("nobody", {})
        assert all(status.healthy for status in pool.statuses())


def test_requests_that_a_full_queue_refuses_are_asked_again(local_stack, relays):
    config = read_config(local_stack.model_repository / "add_subtract")
    short = Serving(delay_us=50_000, queue_size=1)
    with TritonClient.from_settings(local_stack) as client:
        client.load_model("add_subtract", short.applied_to(config))
        try:
            with EndpointPool(urls(relays), **QUICK) as pool:
                answers = list(pool.infer_many("add_subtract", REQUESTS[:8]))
                np.testing.assert_array_equal(np.concatenate([answer["sum__0"] for answer in answers]), 2 * ROWS[:8])
                statuses = pool.statuses()
                assert sum(status.answered for status in statuses) > 8 + 1, "none was refused"
                assert all(status.healthy for status in statuses)
        finally:
            client.load_model("add_subtract", config)


def test_a_check_asks_everybody(relays, silent):
    with EndpointPool([relays[0].url, silent], health_timeout=0.3) as pool:
        healthy = {status.url: status.healthy for status in pool.check()}
    assert healthy == {relays[0].url: True, silent: False}


def test_the_pool_of_the_settings(local_stack, relays, monkeypatch):
    with EndpointPool.from_settings(local_stack) as pool:
        assert pool.urls == [f"127.0.0.1:{local_stack.triton_grpc_port}"]
    several = local_stack.model_copy(update={"triton_endpoints": ", ".join(urls(relays))})
    with EndpointPool.from_settings(several) as pool:
        assert pool.urls == urls(relays)
        assert pool.infer("add_subtract", REQUESTS[0])["sum__0"].shape == (1, 2)
    monkeypatch.setenv("WORKSHOP_TRITON_ENDPOINTS", "http://one:8001")
    with pytest.raises(SettingsError, match="triton_endpoints"):
        load_settings()


@pytest.mark.parametrize("given", [[], ["a:1", "a:1"]])
def test_a_pool_needs_endpoints_each_once(given):
    with pytest.raises(SettingsError, match="a pool needs endpoints, each once"):
        EndpointPool(given)
    with pytest.raises(SettingsError, match="leaves no attempt its 5 s"):
        EndpointPool(["a:1"], timeout=5, deadline=1)
