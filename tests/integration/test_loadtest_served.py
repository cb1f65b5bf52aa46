"""The load generator on the real server: every protocol, the server's own account, settings tried and taken back."""

import asyncio
import hashlib

import numpy as np
import pytest
import tiny_models
import torch
from proxies import Relay

from workshop.errors import ModelNotReadyError, TensorShapeError
from workshop.loadtest.generator import closed_loop, open_loop
from workshop.loadtest.senders import encode_grpc, encode_http, grpc_sender, http_sender
from workshop.loadtest.tuning import Serving, served, trial
from workshop.triton.client import TritonClient
from workshop.triton.endpoint import Endpoint
from workshop.triton.repository import read_config

MODEL = "batched_sum"


class Sum(torch.nn.Module):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values.sum(dim=1, keepdim=True)


@pytest.fixture(scope="module")
def config(local_stack, model_repository):
    if not (model_repository / MODEL).exists():
        tiny_models.save_torch(
            model_repository, MODEL, Sum(), [("values__0", "FP32", [-1])], [("sum__0", "FP32", [1])], batch=8
        )
    return read_config(model_repository / MODEL)


@pytest.fixture(scope="module")
def grpc_client(local_stack, config):
    with TritonClient.from_settings(local_stack.model_copy(update={"triton_protocol": "grpc"})) as client:
        client.load_model(MODEL)
        yield client
        client.unload_model(MODEL)


@pytest.fixture
def inputs():
    return {"values__0": np.ones((1, 4), np.float32)}


@pytest.mark.parametrize("wire", ["grpc", "http", "json"])
def test_every_wire_answers_and_the_server_counts_the_same_requests(local_stack, grpc_client, inputs, wire):
    signature = grpc_client.signature(MODEL)

    async def load():
        endpoint = Endpoint.from_settings(local_stack, "grpc" if wire == "grpc" else "http")
        if wire == "grpc":
            sender = grpc_sender(endpoint, [encode_grpc(signature, inputs)])
        else:
            sender = http_sender(endpoint, MODEL, [encode_http(signature, inputs, binary=wire == "http")])
        async with sender as send:
            return await trial(grpc_client, MODEL, send, 2, 0.5, Serving())

    result = asyncio.run(load())
    assert not result.load.errors
    assert result.load.completed > 20
    # the server also counts what each of the two clients had under way as the window closed, and no warm-up
    assert result.load.completed <= result.server.requests <= result.load.completed + 2
    assert result.server.failed == 0
    assert result.server.milliseconds()["infer"] > 0


def test_over_http_answers_are_asked_for_as_they_are(local_stack, grpc_client, inputs):
    """A compressed answer would measure the compressor."""
    encoded = [encode_http(grpc_client.signature(MODEL), inputs)]

    async def load(endpoint):
        async with http_sender(endpoint, MODEL, encoded) as send:
            return await closed_loop(send, 1, 0.2, warm_up=0)

    with Relay(local_stack.triton_http_port) as relay:
        assert asyncio.run(load(Endpoint(relay.url))).completed
        asked = relay.heard.lower()
    assert b"accept-encoding: identity" in asked
    assert b"gzip" not in asked


def test_what_does_not_fit_is_refused_before_it_is_sent(grpc_client):
    signature = grpc_client.signature(MODEL)
    for encode in (encode_grpc, encode_http):
        with pytest.raises(TensorShapeError):
            encode(signature, {"values__0": np.ones(4, np.float32)})


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_what_goes_wrong_is_told_by_the_protocols_code(local_stack, grpc_client, inputs, protocol):
    async def load():
        endpoint = Endpoint.from_settings(local_stack, protocol)
        signature = grpc_client.signature(MODEL)
        if protocol == "grpc":
            request = encode_grpc(signature, inputs).replace(MODEL.encode(), b"no_model_xx")
            sender = grpc_sender(endpoint, [request])
        else:
            sender = http_sender(endpoint, "no_model_xx", [encode_http(signature, inputs)])
        async with sender as send:
            return await closed_loop(send, 1, 0.2, warm_up=0)

    result = asyncio.run(load())
    assert set(result.errors) == ({"NOT_FOUND"} if protocol == "grpc" else {"HTTP 404"})
    assert result.completed == 0


def test_batching_merges_requests_while_it_is_on_and_the_next_load_takes_the_repositorys_settings(
    local_stack, grpc_client, config, inputs, model_repository
):
    before = (model_repository / MODEL / "config.pbtxt").read_bytes()

    async def load(serving):
        endpoint = Endpoint.from_settings(local_stack, "grpc")
        async with grpc_sender(endpoint, [encode_grpc(grpc_client.signature(MODEL), inputs)]) as send:
            return await trial(grpc_client, MODEL, send, 8, 0.5, serving)

    sizes = {}
    for serving in (Serving(batching=False), Serving(delay_us=50_000)):
        with served(grpc_client, MODEL, serving, config):
            sizes[serving.batching] = asyncio.run(load(serving)).server.batch_size
    assert sizes[False] == 1
    assert sizes[True] > 4
    grpc_client.load_model(MODEL)
    assert not grpc_client._config(MODEL).HasField("dynamic_batching")
    assert (model_repository / MODEL / "config.pbtxt").read_bytes() == before


def test_a_full_queue_refuses_at_once_and_the_rest_is_served(local_stack, grpc_client, config, inputs):
    serving = Serving(delay_us=200_000, rows=2, queue_size=2)

    async def load():
        endpoint = Endpoint.from_settings(local_stack, "grpc")
        async with grpc_sender(endpoint, [encode_grpc(grpc_client.signature(MODEL), inputs)]) as send:
            return await open_loop(send, 200, 0.5, warm_up=0)

    with served(grpc_client, MODEL, serving, config):
        result = asyncio.run(load())
    grpc_client.load_model(MODEL)
    assert set(result.errors) == {"UNAVAILABLE"}
    assert result.completed > 0


def test_a_model_is_served_from_bytes_that_no_repository_holds(client, config, model_repository):
    name = "from_bytes"
    own = type(config)()
    own.CopyFrom(config)
    own.name = name
    content = (model_repository / MODEL / "1" / "model.pt").read_bytes()
    vouched = f"{hashlib.sha256(content).hexdigest()}  model.pt\n".encode()
    client.load_model(name, own, {"1/model.pt": content, "1/model.pt.sha256": vouched})
    assert client.infer(name, {"values__0": np.ones((2, 3), np.float32)})["sum__0"].tolist() == [[3.0], [3.0]]
    assert not (model_repository / name).exists()
    client.unload_model(name)
    with pytest.raises(ModelNotReadyError, match="from_bytes"):
        client.load_model(name, own, {"1/model.pt": b"no archive"})
