"""The client against a tritonserver that wants TLS, certificates and headers, and that has little room."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme
from proxies import Relay

from workshop.errors import (
    ServerBusyError,
    ServerUnreachableError,
    ServingAuthError,
    ServingTimeoutError,
    SettingsError,
)
from workshop.settings import Settings, load_settings
from workshop.stack import process
from workshop.stack.private import private_settings
from workshop.stack.triton import triton_service
from workshop.triton.aio import AsyncTritonClient
from workshop.triton.client import TritonClient
from workshop.triton.endpoint import Tls
from workshop.triton.signature import ModelSignature, TensorSpec, write_config

HEADERS = {"Authorization": "Bearer s3cret", "triton-grpc-protocol-room": "key", "room": "key"}
MODELS = {
    "headers": """
        return pb_utils.InferenceResponse([
            pb_utils.Tensor("y", np.array([request.parameters().encode()], dtype=object)),
        ])""",
    "slow": """
        time.sleep(0.3)
        return pb_utils.InferenceResponse([pb_utils.Tensor("y", np.array([[b"done"]], dtype=object))])""",
    "count": """
        sender = request.get_response_sender()
        for number in range(3):
            value = pb_utils.Tensor("y", np.array([b"%d" % number], dtype=object))
            sender.send(pb_utils.InferenceResponse([value]))
        if b"fail" in pb_utils.get_input_tensor_by_name(request, "x").as_numpy()[0]:
            sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError("failed as asked")))
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)""",
}
CODE = """import time
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        answers = [self.answer(request) for request in requests]
        return None if answers == [None] else answers

    def answer(self, request):{body}
"""


class Secured(NamedTuple):
    """A running server."""

    settings: Settings
    ca: trustme.CA
    tls: Tls


@pytest.fixture(scope="module")
def secured(tmp_path_factory) -> Iterator[Secured]:
    """A server whose gRPC port wants TLS and a client's certificate, and whose repository wants a header."""
    folder = tmp_path_factory.mktemp("secured")
    repository = folder / "repository"
    for name, body in MODELS.items():
        signature = ModelSignature(
            name,
            inputs=(TensorSpec("x", "BYTES", (-1,)),),
            outputs=(TensorSpec("y", "BYTES", (-1,)),),
            backend="python",
            max_batch_size=1 if name == "slow" else 0,
            decoupled=name == "count",
        )
        (repository / name / "1").mkdir(parents=True)
        (repository / name / "1" / "model.py").write_text(CODE.format(body=body))
        write_config(signature, repository)
    with (repository / "slow/config.pbtxt").open("a") as config:
        config.write("dynamic_batching { default_queue_policy { max_queue_size: 1 } }\n")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    for name, certificate in (("server", ca.issue_cert("localhost", "127.0.0.1")), ("client", ca.issue_cert("guest"))):
        certificate.private_key_pem.write_to_path(folder / f"{name}.key")
        certificate.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    settings = private_settings(folder / "stack", model_repository=repository)
    service = triton_service(settings, list(MODELS))
    options = (
        "--grpc-use-ssl=true",
        "--grpc-use-ssl-mutual=true",
        f"--grpc-server-cert={folder / 'server.pem'}",
        f"--grpc-server-key={folder / 'server.key'}",
        f"--grpc-root-cert={folder / 'ca.pem'}",
        "--grpc-header-forward-pattern=(?i)authorization",
        "--http-header-forward-pattern=(?i)authorization",
        "--grpc-restricted-protocol=model-repository:room=key",
        "--http-restricted-api=model-repository:room=key",
    )
    service = replace(service, argv=(*service.argv, *options))
    process.start(service)
    try:
        yield Secured(settings, ca, Tls(folder / "ca.pem", folder / "client.pem", folder / "client.key"))
    finally:
        process.stop(service)


@pytest.fixture
def https(secured) -> Iterator[Relay]:
    """Ends TLS before the server's HTTP port, and wants a client's certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secured.ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    secured.ca.issue_cert("localhost").configure_cert(context)
    with Relay(secured.settings.triton_http_port, tls=context) as relay:
        yield relay


@pytest.fixture(params=["grpc", "http"])
def settings(request, secured, https) -> Settings:
    """Settings of a client that has all it takes, by environment variables."""
    monkeypatch = request.getfixturevalue("monkeypatch")
    port = secured.settings.triton_grpc_port if request.param == "grpc" else https.url.partition(":")[2]
    for name, value in {
        "HOST": "localhost",
        "PROTOCOL": request.param,
        f"{request.param.upper()}_PORT": port,
        "TLS": "true",
        "TLS_CA": secured.tls.ca,
        "TLS_CERTIFICATE": secured.tls.certificate,
        "TLS_KEY": secured.tls.key,
        "HEADERS": json.dumps(HEADERS),
    }.items():
        monkeypatch.setenv(f"WORKSHOP_TRITON_{name}", str(value))
    return load_settings()


def seen_by_the_model(answer):
    return {name.lower(): value for name, value in json.loads(answer["y"][0]).items()}


def test_with_certificates_and_headers_everything_works(settings):
    with TritonClient.from_settings(settings) as client:
        client.wait_ready(*MODELS, timeout=20)
        seen = seen_by_the_model(client.infer("headers", {"x": ["a"]}))
        assert seen["authorization"] == "Bearer s3cret"
        assert {state.name for state in client.models()} == set(MODELS)
        assert [answer["y"].tolist() for answer in client.stream("count", {"x": ["a"]})] == [[b"0"], [b"1"], [b"2"]]


def test_http_carries_the_headers_with_every_request(settings, https):
    if settings.triton_protocol == "grpc":
        pytest.skip("the relay stands before the HTTP port")
    with TritonClient.from_settings(settings) as client:
        client.is_live()
        list(client.stream("count", {"x": ["a"]}))
    assert https.heard.count(b"HTTP/1.1\r\n") == https.heard.count(b"uthorization: Bearer s3cret\r\n") >= 3


def test_the_asynchronous_client_brings_them_too(settings):
    if settings.triton_protocol == "http":
        pytest.skip("the asynchronous client speaks gRPC")

    async def story():
        async with AsyncTritonClient.from_settings(settings) as client:
            await client.wait_ready("headers", timeout=20)
            answer = await client.infer("headers", {"x": ["a"]})
            pieces = [piece["y"].tolist() async for piece in client.stream("count", {"x": ["a"]})]
            with pytest.raises(Exception, match="failed as asked"):
                [piece async for piece in client.stream("count", {"x": ["fail"]})]
            return seen_by_the_model(answer), pieces

    seen, pieces = asyncio.run(story())
    assert seen["authorization"] == "Bearer s3cret"
    assert pieces == [[b"0"], [b"1"], [b"2"]]


@pytest.mark.parametrize("missing", ["TLS", "TLS_CA", "certificate"])
def test_without_its_certificates_a_client_is_told_so_and_waits_no_longer_than_it_must(settings, monkeypatch, missing):
    changes = {
        "TLS": {"triton_tls": False},
        "TLS_CA": {"triton_tls_ca": None},
        "certificate": {"triton_tls_certificate": None, "triton_tls_key": None},
    }[missing]
    with TritonClient.from_settings(settings.model_copy(update=changes), retries=0, timeout=10) as client:
        assert not client.is_live(timeout=3)
        with pytest.raises(ServerUnreachableError, match="no Triton server answers at localhost") as caught:
            client.models()
    if missing == "TLS_CA":
        assert "WORKSHOP_TRITON_TLS_CA names the authority" in str(caught.value)


def test_a_server_of_another_name_is_not_trusted(settings, secured):
    other = "127.0.0.2"
    url = f"{other}:{settings.triton_grpc_port}"
    with TritonClient(url, tls=secured.tls, retries=0, timeout=10) as client, pytest.raises(ServerUnreachableError):
        client.models()


def test_without_its_headers_a_client_is_told_so(settings):
    with TritonClient.from_settings(settings, headers={}) as client:
        assert client.infer("headers", {"x": ["a"]})["y"].shape == (1,)
        with pytest.raises(ServingAuthError, match=r"restricted.*\nTry: set WORKSHOP_TRITON_HEADERS"):
            client.models()
        with pytest.raises(ServingAuthError, match="restricted"):
            client.load_model("headers")


def test_a_full_queue_is_said_and_a_retry_gets_through(settings):
    requests = [{"x": [["a"]]} for _ in range(6)]
    with (
        TritonClient.from_settings(settings, in_flight=6, retries=0) as client,
        pytest.raises(ServerBusyError, match=r"model 'slow' .*queue.*\nTry: send fewer requests at a time"),
    ):
        list(client.infer_many("slow", requests))
    with TritonClient.from_settings(settings, in_flight=3, retries=6) as client:
        answers = list(client.infer_many("slow", requests[:3]))
    assert [answer["y"].tolist() for answer in answers] == [[[b"done"]]] * 3


def test_a_request_over_tls_ends_on_time(settings):
    with TritonClient.from_settings(settings, timeout=5, retries=0) as client:
        client.signature("slow")
        client.timeout = 0.1
        started = time.monotonic()
        with pytest.raises(ServingTimeoutError, match="model 'slow'"):
            client.infer("slow", {"x": [["a"]]})
        assert time.monotonic() - started < 2


def test_headers_stay_out_of_what_is_printed(settings):
    assert "s3cret" not in repr(settings)


def test_files_that_do_not_exist_are_named(tmp_path):
    missing = Path("/nowhere/ca.pem")
    with pytest.raises(SettingsError, match=r"TLS: no file /nowhere/ca.pem\nTry: check WORKSHOP_TRITON_TLS_CA"):
        Tls(missing)
    with pytest.raises(SettingsError, match="given together or not at all"):
        Tls(certificate=tmp_path)


@pytest.mark.parametrize("value", ["{", "[1]", '{"a": 1}', "Bearer x"])
def test_headers_that_are_no_json_object_of_texts_are_a_settings_error_that_keeps_the_secret(monkeypatch, value):
    monkeypatch.setenv("WORKSHOP_TRITON_HEADERS", value)
    with pytest.raises(SettingsError, match="triton_headers") as caught:
        load_settings()
    assert "Bearer x" not in str(caught.value)
