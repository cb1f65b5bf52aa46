"""OpenTelemetry traces of the real server, sent to a receiver of the test's own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from workshop import stack
from workshop.errors import SettingsError
from workshop.logs import request_id
from workshop.settings import load_settings
from workshop.stack.private import private_settings
from workshop.triton.client import TritonClient

SECONDS = 30


class Receiver(ThreadingHTTPServer):
    """Keeps what is posted to it: OTLP over HTTP, as JSON."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[tuple[str, str, bytes]] = []
        self.arrived = threading.Condition()

    def message_with(self, *texts: bytes) -> tuple[str, str, bytes]:
        """Await a message that holds all the texts."""

        def found() -> list[tuple[str, str, bytes]]:
            return [message for message in self.received if all(text in message[2] for text in texts)]

        with self.arrived:
            assert self.arrived.wait_for(found, SECONDS), f"no trace with {texts} within {SECONDS} s"
            return found()[0]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        with self.server.arrived:
            self.server.received.append((self.path, self.headers["content-type"], body))
            self.server.arrived.notify_all()
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_request_leaves_spans_with_its_id_and_model(receiver, tmp_path, model_repository, tiny_model_names):
    url = f"http://127.0.0.1:{receiver.server_port}/v1/traces"
    settings = private_settings(tmp_path / "stack", model_repository=model_repository, trace_url=url)
    row = {name: np.ones((1, 2), np.float32) for name in ("a", "b")}
    with stack.running(settings, ["triton"], models=["onnx_add"]), TritonClient.from_settings(settings) as client:
        with request_id("traced-11"):
            client.infer("onnx_add", row)
        path, kind, message = receiver.message_with(b"traced-11", b"onnx_add")
    assert (path, kind) == ("/v1/traces", "application/json")
    (resource,) = json.loads(message)["resourceSpans"]
    assert {"key": "service.name", "value": {"stringValue": "triton"}} in resource["resource"]["attributes"]
    spans = {span["name"]: span for scope in resource["scopeSpans"] for span in scope["spans"]}
    assert {"InferRequest", "onnx_add", "compute"} <= spans.keys()
    assert len({span["traceId"] for span in spans.values()}) == 1
    about = {item["key"]: item["value"] for item in spans["onnx_add"]["attributes"]}
    assert about["triton.request_id"] == {"stringValue": "traced-11"}
    assert about["triton.model_name"] == {"stringValue": "onnx_add"}
    assert spans["compute"]["parentSpanId"] == spans["onnx_add"]["spanId"]


def test_an_address_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv("WORKSHOP_TRACE_URL", "localhost:4318")
    with pytest.raises(SettingsError, match="trace_url"):
        load_settings()
