"""What the client and its asynchronous twin can ask of the real tritonserver, also over connections that break."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from proxies import Relay

from workshop.errors import (
    InferenceError,
    ModelNotFoundError,
    ModelNotReadyError,
    ServerUnreachableError,
    TensorNameError,
    TensorShapeError,
)
from workshop.triton.aio import AsyncTritonClient
from workshop.triton.client import TritonClient
from workshop.triton.signature import ModelSignature, TensorSpec, write_config

PROTOCOLS = ["grpc", "http"]
A, B = np.array([[5.0], [7.0]], np.float32), np.array([[1.0], [2.0]], np.float32)
INPUTS = {"a__0": A, "b__1": B}


def port_of(settings, protocol):
    return settings.triton_grpc_port if protocol == "grpc" else settings.triton_http_port


def test_only_the_outputs_that_were_chosen_come(client):
    answer = client.infer("add_subtract", INPUTS, outputs=["difference__1"])
    assert list(answer) == ["difference__1"]
    np.testing.assert_array_equal(answer["difference__1"], A - B)
    assert set(client.infer("add_subtract", INPUTS)) == {"sum__0", "difference__1", "rows__2"}
    many = list(client.infer_many("add_subtract", [INPUTS] * 5, outputs=["sum__0"]))
    assert [list(answer) for answer in many] == [["sum__0"]] * 5


def test_an_output_that_the_model_has_not_is_refused_before_anything_is_sent(client):
    with pytest.raises(TensorNameError, match=r"'add_subtract': unknown outputs \['product'\]; it gives \['rows__2', "):
        client.infer("add_subtract", INPUTS, outputs=["product"])


def test_a_version_is_asked_for_by_number(client):
    assert client.infer("add_subtract", INPUTS, version="1")["sum__0"].shape == (2, 1)
    assert client.is_ready("add_subtract", version="1")
    assert not client.is_ready("add_subtract", version="7")
    with pytest.raises(ModelNotFoundError, match="version 7 is not found"):
        client.infer("add_subtract", INPUTS, version="7")


def test_a_model_in_the_repository_that_is_not_loaded_is_not_ready_and_another_is_not_found(client):
    client.unload_model("divide")
    try:
        with pytest.raises(ModelNotReadyError, match=r"model 'divide' at .* is not loaded"):
            client.infer("divide", {"divisor": A[0], "dividend": B[0]})
    finally:
        client.load_model("divide")
    with pytest.raises(ModelNotFoundError, match=r"model 'nobody' is not in the repository of .*; it holds \['add_"):
        client.infer("nobody", {})
    with pytest.raises(ModelNotFoundError, match="model 'nobody' is not in the repository"):
        client.load_model("nobody")
    with pytest.raises(ModelNotFoundError, match="model 'nobody' is not in the repository"):
        client.server_time("nobody")


SHORT = ModelSignature(
    "short",
    (TensorSpec("VALUE", "FP32", (1,)),),
    (TensorSpec("SAME", "FP32", (1,)),),
    backend="python",
    max_batch_size=4,
    instances=1,
)
LOSES_THE_LAST_OF_THREE_ROWS = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        values = [pb_utils.get_input_tensor_by_name(request, "VALUE").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("SAME", value[:2])]) for value in values]
"""


@pytest.fixture
def short(local_stack) -> Iterator[str]:
    """A model whose answers have two rows at most."""
    write_config(SHORT, local_stack.model_repository)
    code = local_stack.model_repository / SHORT.name / "1" / "model.py"
    code.parent.mkdir()
    code.write_text(LOSES_THE_LAST_OF_THREE_ROWS)
    with TritonClient.from_settings(local_stack) as client:
        client.load_model(SHORT.name)
        yield SHORT.name
        client.unload_model(SHORT.name)
    shutil.rmtree(code.parents[1])


def test_an_answer_of_other_rows_than_the_requests_is_refused(client, short, local_stack):
    def column(rows):
        return {"VALUE": np.ones((rows, 1), np.float32)}

    async def ask(rows):
        async with AsyncTritonClient.from_settings(local_stack) as client:
            return await client.infer(short, column(rows))

    assert client.infer(short, column(2))["SAME"].shape == asyncio.run(ask(2))["SAME"].shape == (2, 1)
    message = r"'short' at .* answered 3 rows by outputs of other lengths: \{'SAME': \(2, 1\)\}\nTry: ask again"
    with pytest.raises(InferenceError, match=message):
        client.infer(short, column(3))
    with pytest.raises(InferenceError, match=message):
        list(client.infer_many(short, [column(1), column(3)]))
    with pytest.raises(InferenceError, match=message):
        asyncio.run(ask(3))


def test_what_answers_and_is_no_triton_is_said_so():
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"127.0.0.1:{server.server_port}"
        try:
            with TritonClient(url, protocol="http", retries=0) as client:
                assert not client.is_live()
                with pytest.raises(ServerUnreachableError, match=f"what answers at {url} is no Triton server"):
                    client.load_model("add_subtract")
        finally:
            server.shutdown()
            thread.join()


def test_many_requests_over_one_stream_are_answered_in_order(local_stack):
    with TritonClient.from_settings(local_stack, in_flight=4) as client:
        requests = [{"a__0": A + n, "b__1": B} for n in range(10)]
        answers = list(client.infer_many("add_subtract", requests, outputs=["sum__0"], one_stream=True))
        assert [answer["sum__0"][0, 0] for answer in answers] == [6.0 + n for n in range(10)]
        assert [list(answer) for answer in answers] == [["sum__0"]] * 10
        with pytest.raises(InferenceError, match="index out of range"):
            list(client.infer_many("look_up", [{"ids__0": [[1]]}, {"ids__0": [[99]]}], one_stream=True))


def test_over_http_a_stream_carries_one_request(local_stack):
    settings = local_stack.model_copy(update={"triton_protocol": "http"})
    with (
        TritonClient.from_settings(settings) as client,
        pytest.raises(InferenceError, match="over HTTP a stream carries one request\nTry: use protocol='grpc'"),
    ):
        list(client.infer_many("add_subtract", [INPUTS] * 2, one_stream=True))


# --- connections that break -----------------------------------------------------------------------------------
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("faults", [{"refused": 2}, {"cut": 1}])
def test_a_retry_that_succeeds(local_stack, protocol, faults):
    with (
        Relay(port_of(local_stack, protocol), **faults) as relay,
        TritonClient(relay.url, protocol=protocol, retries=4, timeout=30) as client,
    ):
        np.testing.assert_array_equal(client.infer("add_subtract", INPUTS)["sum__0"], A + B)
        assert relay.connections > sum(faults.values())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_inference_is_sent_again_when_the_connection_breaks_on_the_way(local_stack, protocol):
    # the name of an input travels to the server with the request alone
    with (
        Relay(port_of(local_stack, protocol), cut=2, on=b"a__0") as relay,
        TritonClient(relay.url, protocol=protocol, retries=4, timeout=30) as client,
    ):
        np.testing.assert_array_equal(client.infer("add_subtract", INPUTS)["sum__0"], A + B)
        assert relay.connections == 3
        assert relay.heard.count(b"b__1") == 3


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_retry_that_gives_up(local_stack, protocol):
    started = time.monotonic()
    with (
        Relay(port_of(local_stack, protocol), refused=1000) as relay,
        TritonClient(relay.url, protocol=protocol, retries=2, timeout=30) as client,
    ):
        with pytest.raises(ServerUnreachableError, match=rf"no Triton server answers at {relay.url} \(.+\)\nTry: make"):
            client.infer("add_subtract", INPUTS)
        tried = relay.connections
        assert tried >= 3
        with TritonClient(relay.url, protocol=protocol, retries=0) as once, pytest.raises(ServerUnreachableError):
            once.models()
        assert relay.connections < 2 * tried
    assert 0.6 < time.monotonic() - started < 20, "0.2 and 0.4 seconds between the attempts"


# --- asyncio --------------------------------------------------------------------------------------------------
def run(settings, story, **options):
    async def all_of_it():
        async with AsyncTritonClient.from_settings(settings, **options) as client:
            return await story(client)

    return asyncio.run(all_of_it())


def test_the_asynchronous_client_answers_as_the_blocking_one(local_stack):
    ids = np.arange(20).reshape(20, 1) % 10

    async def story(client):
        await client.wait_ready("look_up", timeout=10)
        assert "look_up" in {model.name for model in await client.models() if model.state == "READY"}
        return await asyncio.gather(
            client.infer("look_up", {"ids__0": ids}),
            client.infer("add_subtract", INPUTS, outputs=["sum__0"], version="1"),
        )

    looked_up, added = run(local_stack, story)
    with TritonClient.from_settings(local_stack) as client:
        np.testing.assert_array_equal(looked_up["v__0"], client.infer("look_up", {"ids__0": ids})["v__0"])
    assert list(added) == ["sum__0"]


def test_the_asynchronous_client_asks_for_a_signature_once_unless_a_fresh_one_is_wanted(local_stack):
    async def story(client):
        return [await client.signature("look_up", fresh=fresh) for fresh in (False, False, True)]

    first, again, fresh = run(local_stack, story)
    assert again is first
    assert fresh is not first
    assert fresh == first


@pytest.mark.parametrize(
    ("model", "inputs", "options", "kind", "message"),
    [
        ("nobody", {}, {}, ModelNotFoundError, "is not in the repository"),
        ("add_subtract", INPUTS, {"version": "7"}, ModelNotFoundError, "version 7 is not found"),
        ("add_subtract", INPUTS, {"outputs": ["x"]}, TensorNameError, "unknown outputs"),
        ("add_subtract", {"a__0": A[0], "b__1": B[0]}, {}, TensorShapeError, "expected shape"),
        ("look_up", {"ids__0": [[99]]}, {}, InferenceError, "index out of range"),
    ],
)
def test_the_asynchronous_client_has_the_same_errors(local_stack, model, inputs, options, kind, message):
    with pytest.raises(kind, match=message):
        run(local_stack, lambda client: client.infer(model, inputs, **options))


def test_the_asynchronous_client_tries_again_and_gives_up(local_stack):
    async def story(client):
        return await client.infer("add_subtract", INPUTS)

    with Relay(local_stack.triton_grpc_port, cut=1, on=b"a__0") as relay:
        assert run(local_stack, story, url=relay.url, retries=4)["sum__0"].shape == (2, 1)
    with Relay(local_stack.triton_grpc_port, refused=1000) as relay, pytest.raises(ServerUnreachableError):
        run(local_stack, story, url=relay.url, retries=1)
