"""scripts/client.py and ``make api`` as their users run them: as commands of their own, against the running stack."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import requests

from workshop.settings import PROJECT_ROOT
from workshop.stack.private import free_ports
from workshop.text.generation.client import classify, generate

GREEDY = ["--prompt-format", "text", "--max-tokens", "8"]


@pytest.fixture
def environment(local_stack) -> dict[str, str]:
    """Of a command that reaches the stack by its settings."""
    ports = {"HTTP": local_stack.triton_http_port, "GRPC": local_stack.triton_grpc_port}
    return {**os.environ, "COLUMNS": "160", **{f"WORKSHOP_TRITON_{k}_PORT": str(v) for k, v in ports.items()}}


@pytest.fixture
def ask(environment):
    """Run scripts/client.py; gives its exit code, what it printed, and its complaints."""

    def run(*arguments: str, stdin: bytes = b""):
        command = [sys.executable, "scripts/client.py", *arguments]
        done = subprocess.run(
            command, cwd=PROJECT_ROOT, env=environment, input=stdin, capture_output=True, timeout=120, check=False
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    return run


@pytest.fixture
def text(hub) -> str:
    """What the tiny generator answers to "the sea"."""
    return generate(hub, "tiny-llama", ["the sea"], parameters={"prompt_format": "text", "max_tokens": 8})[0][0].text


def test_json_holds_one_object_for_each_prompt(ask, text):
    code, shown, complaints = ask("-m", "tiny-llama", "--prompt", "the sea", "--prompt", "a", "--json", *GREEDY)
    assert (code, complaints) == (0, "")
    first, second = map(json.loads, shown.splitlines())
    assert (first["prompt"], first["text"], first["completion_tokens"]) == ("the sea", [text], [8])
    assert second["prompt"] == "a"


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_stream_prints_the_text_and_with_json_its_pieces(ask, text, protocol):
    arguments = ["-m", "tiny-llama", "--prompt", "the sea", "--stream", "--protocol", protocol, *GREEDY]
    assert ask(*arguments) == (0, f"{text}\n", "")
    code, shown, _ = ask(*arguments, "--json")
    pieces = [json.loads(line) for line in shown.splitlines()]
    assert code == 0
    assert "".join(piece["text"] for piece in pieces) == text
    assert pieces[-1]["finish_reason"] in ("length", "stop")


def test_standard_input_is_one_prompt(ask, text):
    code, shown, _ = ask("-m", "tiny-llama", "--prompt", "-", "--json", *GREEDY, stdin=b"the sea\n")
    assert code == 0
    assert json.loads(shown)["text"] == [text]
    code, shown, complaints = ask("-m", "tiny-llama", "--prompt", "-", stdin=b"\xff")
    assert (code, shown) == (1, "")
    assert "standard input is not UTF-8" in complaints


def test_the_table_shows_what_the_model_takes_and_its_label(ask, hub, local_stack):
    url = f"127.0.0.1:{local_stack.triton_http_port}"
    code, shown, _ = ask("-m", "tiny-bert", "--prompt", "good", "--url", url, "--protocol", "http")
    assert code == 0
    (answer,) = classify(hub, "tiny-bert", ["good"])
    for part in ("prompt", "BYTES", "Name", "Shape", "Data", answer.label, str(answer.score)[:6]):
        assert part in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "nobody", "--prompt", "a"], "nobody"),
        (["-m", "tiny-llama", "--prompt", " "], "the prompt is empty"),
        (["-m", "tiny-llama", "--prompt", "a", "--temperature", "9"], "temperature"),
        (["-m", "tiny-llama", "--prompt", "a", "--stream", "--top-p", "0"], "top_p"),
    ],
)
def test_what_cannot_be_answered_is_named_and_fails(ask, hub, arguments, message):
    code, shown, complaints = ask(*arguments)
    assert (code, shown) == (1, "")
    assert message in complaints


def test_the_api_serves_as_a_command_until_it_is_interrupted(environment, hub, text):
    (port,) = free_ports(1)
    command = [sys.executable, "scripts/api.py", "--port", str(port)]
    with subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, stdout=subprocess.PIPE, text=True) as api:
        try:
            assert f"http://127.0.0.1:{port}/v1" in api.stdout.readline()
            asked = {"model": "tiny-llama", "prompt": "the sea", "max_tokens": 8, "temperature": 0}
            answer = _post(f"http://127.0.0.1:{port}/v1/completions", asked)
            assert answer["choices"][0]["text"] == text
        finally:
            api.send_signal(signal.SIGINT)
        assert api.wait(timeout=30) in (0, -signal.SIGINT)
    dry = subprocess.run(["make", "--dry-run", "api"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert "scripts/api.py" in dry.stdout


def _post(url: str, body: dict) -> dict:
    """The answer as soon as the server listens."""
    end = time.monotonic() + 60
    while True:
        try:
            answer = requests.post(url, json=body, timeout=60)
        except requests.ConnectionError:
            assert time.monotonic() < end, "nothing listens"
            time.sleep(0.1)
            continue
        assert answer.status_code == 200, answer.text
        return answer.json()
