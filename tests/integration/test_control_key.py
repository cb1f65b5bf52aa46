"""A server that lists, loads and unloads models for holders of its key only."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator

import numpy as np
import pytest
import requests
from proxies import Relay
from starlette.testclient import TestClient

from workshop import stack
from workshop.api.app import make_app
from workshop.errors import ServingAuthError, SettingsError, StackError
from workshop.settings import Settings, load_settings
from workshop.stack.private import private_settings
from workshop.text.generation.entries import generator_entries, write_entry
from workshop.text.generation.hub import find_hub_model
from workshop.triton.aio import AsyncTritonClient
from workshop.triton.client import TritonClient

KEY = "key-of-the-room"
MODEL = "onnx_add"
ROW = {name: np.ones((1, 2), np.float32) for name in ("a", "b")}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, model_repository, tiny_model_names) -> Iterator[Settings]:
    """Settings of a running server, with its key."""
    assert MODEL in tiny_model_names
    settings = private_settings(
        tmp_path_factory.mktemp("guarded"), model_repository=model_repository, triton_control_key=KEY
    )
    with stack.running(settings, ["triton"], models=[MODEL]) as (status,):
        assert status.models == {MODEL: "READY"}
        yield settings


@pytest.fixture(params=["grpc", "http"])
def settings(request, guarded) -> Settings:
    return guarded.model_copy(update={"triton_protocol": request.param})


def test_with_the_key_models_are_listed_loaded_and_unloaded(settings):
    with TritonClient.from_settings(settings) as client:
        client.load_model(MODEL)
        client.wait_ready(MODEL, timeout=20)
        assert MODEL in {state.name for state in client.models() if state.state == "READY"}
        client.unload_model(MODEL)
        client.load_model(MODEL)


@pytest.mark.parametrize("key", ["", "wrong"])
def test_without_the_key_models_answer_and_stay_as_they_are(settings, key):
    with TritonClient.from_settings(settings, control_key=key) as client:
        assert client.is_live()
        assert client.is_ready(MODEL)
        assert client.infer(MODEL, ROW)["sum"].tolist() == [[2.0, 2.0]]
        for refused in (client.models, lambda: client.load_model(MODEL), lambda: client.unload_model(MODEL)):
            with pytest.raises(ServingAuthError, match=r"restricted.*\nTry: .*WORKSHOP_TRITON_CONTROL_KEY"):
                refused()
        assert client.is_ready(MODEL)


def test_the_asynchronous_client_brings_the_key(guarded):
    async def names(key: str) -> set[str]:
        async with AsyncTritonClient.from_settings(guarded, control_key=key) as client:
            return {state.name for state in await client.models()}

    assert MODEL in asyncio.run(names(KEY))
    with pytest.raises(ServingAuthError, match="restricted"):
        asyncio.run(names(""))


def test_the_key_goes_with_requests_about_the_repository_only(guarded):
    with Relay(guarded.triton_http_port) as relay:
        with TritonClient(relay.url, protocol="http", control_key=KEY) as client:
            client.is_ready(MODEL)
            client.models()
            client.infer(MODEL, ROW)
        heads = [
            request.partition(b"\r\n\r\n")[0] for request in re.split(rb"(?=(?:GET|POST) /v2)", bytes(relay.heard))
        ]
    with_key = [head.split()[1] for head in heads if KEY.encode() in head]
    assert with_key == [b"/v2/repository/index"]
    assert len(heads) > 3


def test_a_stack_with_another_key_says_so_and_leaves_the_server_alone(guarded):
    other = guarded.model_copy(update={"triton_control_key": "wrong"})
    (status,) = stack.status(other, ["triton"])
    assert (status.state, status.models) == ("ready", {})
    with pytest.raises(StackError):
        stack.up(other, ["triton"], models=[MODEL])
    url = f"http://127.0.0.1:{guarded.triton_http_port}/v2"
    assert requests.get(f"{url}/models/{MODEL}/ready", timeout=10).status_code == 200
    assert requests.post(f"{url}/repository/index", timeout=10).status_code == 403
    assert requests.post(f"{url}/repository/models/{MODEL}/unload", timeout=10).status_code == 403


def test_the_api_lists_and_answers_without_the_key(guarded, folders):
    """As on Kubernetes, where its pods are ready by ``/v1/models`` and the key is Triton's own."""
    found = find_hub_model(str(folders["tiny-llama"]), "text-generation")
    entries = generator_entries(found, guarded.data_dir)
    with TritonClient.from_settings(guarded) as client, contextlib.ExitStack() as loaded:
        for entry in entries:
            write_entry(entry, guarded.model_repository)
            client.load_model(entry.name)
            loaded.callback(client.unload_model, entry.name)
        with TestClient(make_app(guarded.model_copy(update={"triton_control_key": ""}))) as api:
            assert [model["id"] for model in api.get("/v1/models").json()["data"]] == ["tiny-llama"]
            asked = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
            answer = api.post("/v1/chat/completions", json={"model": "tiny-llama", **asked})
            assert answer.status_code == 200, answer.text
            refused = api.post("/v1/chat/completions", json={"model": "nobody", **asked})
            assert refused.status_code == 404
            assert "there are: tiny-llama" in refused.json()["error"]["message"]


@pytest.mark.parametrize("key", ["a:b", "a=b", "a b", "a,b"])
def test_a_key_that_the_server_s_option_cannot_hold_is_refused_and_not_shown(monkeypatch, key):
    monkeypatch.setenv("WORKSHOP_TRITON_CONTROL_KEY", key)
    with pytest.raises(SettingsError, match="triton_control_key") as caught:
        load_settings()
    assert key not in str(caught.value)
