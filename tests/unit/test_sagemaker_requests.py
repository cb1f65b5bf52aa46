"""Requests to an endpoint and its answers, through boto3 and a relay, against a stand-in for Triton that misbehaves."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import numpy as np
import pytest
from botocore.stub import Stubber

from workshop.errors import (
    AwsCredentialsError,
    AwsQuotaError,
    AwsRefusedError,
    InvocationError,
    PayloadError,
    ServerUnreachableError,
)
from workshop.sagemaker.front_end import FrontEnd
from workshop.sagemaker.payload import BINARY_TYPE, JSON_TYPE, LARGEST_PAYLOAD, Payload, check, decode, encode
from workshop.sagemaker.relay import local_runtime
from workshop.sagemaker.runtime import ask, invoke, local_client
from workshop.stack.private import free_ports

TEXTS = np.array([["a heist"], ["zwei Freunde, ¿qué?"]], dtype=object)


@contextmanager
def triton(respond):
    """A server that answers with ``respond(method, path, headers, body) -> (status, content type, body)``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, kind, content = respond(self.command, self.path, self.headers, body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            """Nothing."""

    for method in ("GET", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.answer)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield FrontEnd("127.0.0.1", server.server_port, timeout=5)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_both_forms_say_the_same():
    as_json, binary = (encode({"INPUT0": TEXTS}, ["finaloutput"], binary=flag) for flag in (False, True))
    assert as_json.content_type == JSON_TYPE
    said = json.loads(as_json.body)
    assert said["inputs"][0] | {"parameters": {}} == {
        "name": "INPUT0",
        "shape": [2, 1],
        "datatype": "BYTES",
        "data": [text for (text,) in TEXTS.tolist()],
        "parameters": {},
    }
    length = int(binary.content_type.removeprefix(f"{BINARY_TYPE};json-header-size="))
    assert json.loads(binary.body[:length])["inputs"][0]["parameters"]["binary_data_size"] == len(binary.body) - length
    assert "zwei Freunde, ¿qué?".encode() in binary.body[length:]


def test_answers_of_both_forms_are_read():
    output = {"name": "y", "datatype": "FP32", "shape": [1, 2]}
    plain = json.dumps({"outputs": [output | {"data": [1.0, 2.0]}]}).encode()
    head = json.dumps({"outputs": [output | {"parameters": {"binary_data_size": 8}}]}).encode()
    binary = Payload(head + np.array([1, 2], "<f4").tobytes(), f"{BINARY_TYPE};json-header-size={len(head)}")
    for answer in (Payload(plain, JSON_TYPE), binary):
        assert decode(answer)["y"].tolist() == [[1.0, 2.0]]
    for body in (b"<html>", b'{"error": "no"}', b""):
        with pytest.raises(InvocationError, match="is not one of Triton's"):
            decode(Payload(body, JSON_TYPE))


@pytest.mark.parametrize(
    "kind", ["text/csv", "application/octet-stream", BINARY_TYPE, f"{BINARY_TYPE};json-header-size=x"]
)
def test_a_content_type_that_triton_does_not_take_there_is_refused_before_sending(kind):
    with pytest.raises(PayloadError, match=r"content type '.*': Triton takes application/json, or application/vnd"):
        check(Payload(b"{}", kind))


def test_a_header_longer_than_its_body_is_refused():
    with pytest.raises(PayloadError, match="the body has 2 bytes only"):
        check(Payload(b"{}", f"{BINARY_TYPE};json-header-size=3"))


def test_a_request_of_more_than_six_megabytes_is_refused_before_sending():
    with pytest.raises(PayloadError, match=r"has 6,\d\d\d,\d\d\d bytes, an endpoint takes 6,291,456(?s:.*)fewer texts"):
        encode({"INPUT0": np.array([["x" * LARGEST_PAYLOAD]], dtype=object)}, ["finaloutput"], binary=True)


def echo(method, path, headers, body):
    output = {"name": "where", "datatype": "BYTES", "shape": [3]}
    data = [path, headers.get("X-Amzn-SageMaker-Target-Model", ""), headers["Content-Type"].partition(";")[0]]
    return 200, "application/json", json.dumps({"outputs": [output | {"data": data}]}).encode()


@pytest.mark.parametrize(("binary", "kind"), [(True, BINARY_TYPE), (False, JSON_TYPE)])
def test_the_relay_hands_on_what_boto3_sends(binary, kind):
    with triton(echo) as front_end, local_runtime({"films": front_end}) as url:
        client = local_client(url)
        sent = {"INPUT0": TEXTS}
        one = ask(client, "films", sent, ["where"], binary=binary)["where"].tolist()
        many = ask(client, "films", sent, ["where"], binary=binary, target="a.tar.gz")["where"].tolist()
    assert [part if isinstance(part, str) else part.decode() for part in one] == ["/invocations", "", kind]
    assert [part if isinstance(part, str) else part.decode() for part in many] == [
        "/models/a.tar.gz/invoke",
        "a.tar.gz",
        kind,
    ]


def test_errors_of_triton_and_of_sagemaker_are_told_apart():
    def refuse(method, path, headers, body):
        return 400, "application/json", b'{"error": "unexpected shape"}'

    payload = Payload(b"{}", JSON_TYPE)
    with triton(refuse) as front_end, local_runtime({"films": front_end}) as url:
        client = local_client(url)
        with pytest.raises(InvocationError, match="Triton answered with status 400: unexpected shape"):
            invoke(client, "films", payload)
        with pytest.raises(AwsRefusedError, match=r"endpoint 'songs': ValidationError: Endpoint songs not found"):
            invoke(client, "songs", payload)
        with pytest.raises(client.exceptions.ClientError, match=r"\(RequestEntityTooLarge\)"):
            client.invoke_endpoint(EndpointName="films", Body=b"x" * (LARGEST_PAYLOAD + 1))
    nobody = FrontEnd("127.0.0.1", free_ports(1)[0])
    with local_runtime({"films": nobody}) as url, pytest.raises(AwsRefusedError, match="ServiceUnavailable"):
        invoke(local_client(url), "films", payload)
    with pytest.raises(AwsRefusedError, match="AWS was not reached"):
        invoke(local_client(f"http://127.0.0.1:{free_ports(1)[0]}"), "films", payload)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ExpiredTokenException", 403, AwsCredentialsError),
        ("ThrottlingException", 400, AwsQuotaError),
        ("AccessDeniedException", 403, AwsRefusedError),
        ("RequestEntityTooLarge", 413, PayloadError),
    ],
)
def test_each_refusal_of_the_runtime_has_its_error(code, status, kind):
    client = boto3.client(
        "sagemaker-runtime", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    with Stubber(client) as stub:
        stub.add_client_error("invoke_endpoint", code, "as it is", status)
        with pytest.raises(kind, match="films"):
            invoke(client, "films", Payload(b"{}", JSON_TYPE))


def test_missing_credentials_are_named_with_the_way_to_them(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    client = boto3.Session().client("sagemaker-runtime", region_name="eu-west-1")
    with pytest.raises(AwsCredentialsError, match=r"no AWS credentials(?s:.*)aws configure"):
        invoke(client, "films", Payload(b"{}", JSON_TYPE))


def test_a_front_end_that_is_off_is_named_with_the_setting():
    with pytest.raises(ServerUnreachableError, match=r"does not answer at 127\.0\.0\.1(?s:.*)WORKSHOP_SAGEMAKER_PORT"):
        FrontEnd("127.0.0.1", free_ports(1)[0]).ping()


def test_a_connection_that_the_server_closed_meanwhile_is_made_anew():
    with triton(lambda *request: (200, "text/plain", b"")) as front_end:
        assert front_end.ping()
        front_end._own.connection.sock.close()
        assert front_end.ping()


def test_a_name_that_is_in_use_is_unloaded_before_it_is_loaded_again(tmp_path):
    seen = []

    def answer(method, path, headers, body):
        seen.append(f"{method} {path}")
        return (409 if len(seen) == 1 else 200), "application/json", b"{}"

    with triton(answer) as front_end:
        front_end.load("films", tmp_path)
    assert seen == ["POST /models", "DELETE /models/films", "POST /models"]
