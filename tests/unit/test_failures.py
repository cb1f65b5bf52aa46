"""Errors are told apart by status code first, and by the server's words where the code leaves it open."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from tritonclient.utils import InferenceServerException

from workshop.errors import (
    InferenceError,
    ModelNotFoundError,
    ModelNotReadyError,
    ServerBusyError,
    ServerUnreachableError,
    ServingAuthError,
    ServingError,
    ServingTimeoutError,
    TensorNameError,
    TensorShapeError,
    TensorTypeError,
)
from workshop.triton.failures import absence, translate
from workshop.triton.transport import ModelState

URL = "triton:8001"
WORDS_OF_ANOTHER_RELEASE = "words that no release of Triton has used so far"


def kind_of(text, status):
    return type(translate(InferenceServerException(text, status=status), URL, "model 'm'"))


@pytest.mark.parametrize(
    ("grpc", "http", "kind"),
    [
        ("NOT_FOUND", "404", ModelNotFoundError),
        ("DEADLINE_EXCEEDED", "504", ServingTimeoutError),
        ("UNAVAILABLE", "503", ServerUnreachableError),
        ("UNAUTHENTICATED", "401", ServingAuthError),
        ("PERMISSION_DENIED", "403", ServingAuthError),
        ("RESOURCE_EXHAUSTED", "429", ServerBusyError),
        ("INVALID_ARGUMENT", "400", InferenceError),
        ("INTERNAL", "500", InferenceError),
        ("UNIMPLEMENTED", "501", InferenceError),
        ("UNKNOWN", "418", InferenceError),
    ],
)
def test_the_status_decides_whatever_the_words(grpc, http, kind):
    assert kind_of(WORDS_OF_ANOTHER_RELEASE, f"StatusCode.{grpc}") is kind
    assert kind_of(WORDS_OF_ANOTHER_RELEASE, http) is kind


@pytest.mark.parametrize(
    "words", ["Request for unknown model: 'x' is not found", "Exceeds maximum queue size", "timeout"]
)
def test_a_model_that_quotes_the_server_is_still_a_model_that_failed(words):
    assert kind_of(words, "StatusCode.INTERNAL") is InferenceError
    assert kind_of(words, "500") is InferenceError


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        ("400", "unexpected inference input 'other' for model 'm'", TensorNameError),
        ("400", "unexpected inference output 'other' for model 'm'", TensorNameError),
        ("400", "[request id: 7] expected 1 inputs but got 2 inputs for model 'm'. Got ...", TensorNameError),
        (
            "400",
            "[request id: 7] inference input 'ids' data-type is 'FP32', but model 'm' expects 'INT64'",
            TensorTypeError,
        ),
        (
            "400",
            "[request id: 7] unexpected shape for input 'ids' for model 'm'. Expected [-1], got [1,1]",
            TensorShapeError,
        ),
        ("400", "[request id: 7] inference request batch-size must be <= 8 for 'm'", TensorShapeError),
        ("400", "requested model 'm' is not available", ModelNotFoundError),
        ("503", "[request id: 7] Exceeds maximum queue size", ServerBusyError),
        ("503", "Request timeout expired", ServingTimeoutError),
        ("503", "This protocol is restricted, expecting header 'triton-grpc-protocol-room'", ServingAuthError),
        ("503", "explicit model load / unload is not allowed if polling is enabled", ServingError),
        ("503", "Request for unknown model: 'm' has no available versions", ModelNotReadyError),
        ("500", "[request id: 7] Stub process 'm_0_0' is not healthy.", ModelNotReadyError),
        ("500", "Stub process of mine is not healthy, said the model", InferenceError),
        (None, "Request for unknown model: 'm' version 7 is not found", ModelNotFoundError),
        (None, "Request for unknown model: 'm' has no available versions", ModelNotReadyError),
        (None, "the model said no", InferenceError),
    ],
)
def test_words_decide_only_between_what_one_status_covers(status, words, kind):
    assert kind_of(words, status) is kind


def test_what_python_raises_for_a_broken_connection_and_a_late_answer():
    for error in (TimeoutError(), asyncio.TimeoutError()):
        assert isinstance(translate(error, URL, "x"), ServingTimeoutError)
    for error in (ConnectionRefusedError("refused"), OSError("no route")):
        assert isinstance(translate(error, URL, "x"), ServerUnreachableError)


def test_a_torchscript_trace_is_cut_to_what_went_wrong():
    text = (
        "PyTorch execute failure: The following operation failed in the TorchScript interpreter.\n"
        "Traceback of TorchScript\n  ...\nRuntimeError: index out of range in self"
    )
    message = str(translate(InferenceServerException(text, status="500"), URL, "model 'm'"))
    assert message == f"model 'm' at {URL}: PyTorch execute failure: RuntimeError: index out of range in self"


def test_the_repository_index_tells_absent_from_not_loaded():
    states = [
        ModelState("broken", "1", "UNAVAILABLE", "no file model.pt"),
        ModelState("untouched", "", "", ""),
        ModelState("served", "1", "UNAVAILABLE", "unloaded"),
        ModelState("served", "2", "READY", ""),
        ModelState("coming", "1", "LOADING", ""),
    ]
    assert "is not loaded: no file model.pt" in str(absence(states, "broken", URL))
    assert "is not loaded: it was never loaded" in str(absence(states, "untouched", URL))
    assert absence(states, "served", URL) is absence(states, "coming", URL) is None
    missing = absence(iter(states), "nobody", URL)
    assert isinstance(missing, ModelNotFoundError)
    assert "it holds ['broken', 'coming', 'served', 'untouched']" in str(missing)


@pytest.mark.parametrize(
    ("protocol", "absent"), [("grpc", ["gevent", "requests", "pydantic", "tritonclient.http"]), ("http", ["pydantic"])]
)
def test_a_client_imports_only_the_protocol_it_speaks(protocol, absent):
    code = (
        "import sys; from workshop.triton.client import TritonClient; "
        f"TritonClient('127.0.0.1:1', protocol={protocol!r}).close(); "
        f"print(*[name for name in {absent!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []
