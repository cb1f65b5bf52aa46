"""Waits for a Triton server end on time, whatever the other side does or does not do."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import closing

import pytest

from workshop.errors import ServerUnreachableError, ServingTimeoutError
from workshop.triton.aio import AsyncTritonClient
from workshop.triton.client import TritonClient
from workshop.triton.endpoint import Tls

PROTOCOLS = ["grpc", "http"]
SLACK = 2.0
"""Seconds that a busy machine may add."""


@pytest.fixture
def silent():
    """Address of a server that accepts connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed():
    """Address where nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def within():
    """Fails a test that takes longer than its limit and the slack."""
    started = time.monotonic()
    limits = []
    yield limits.append
    assert time.monotonic() - started < limits[0] + SLACK


@pytest.mark.parametrize("tls", [None, Tls()])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_health_check_of_a_silent_server_ends_on_time(silent, protocol, tls, within):
    within(0.3)
    with TritonClient(silent, protocol=protocol, tls=tls) as client:
        assert client.is_live(timeout=0.3) is False


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_readiness_of_a_silent_server_ends_on_time(silent, protocol, within):
    within(0.3)
    with (
        TritonClient(silent, protocol=protocol) as client,
        pytest.raises(ServingTimeoutError, match=r"readiness of model 'any' at .*: no answer within the time allowed"),
    ):
        client.is_ready("any", timeout=0.3)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("server", ["silent", "closed"])
def test_waiting_ends_on_time(server, protocol, within, request):
    within(1)
    with (
        TritonClient(request.getfixturevalue(server), protocol=protocol) as client,
        pytest.raises(ServerUnreachableError, match=r"no Triton server answered at .* within 1 s\nTry: make up"),
    ):
        client.wait_ready("any", timeout=1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_question_to_a_silent_server_has_the_clients_limit(silent, protocol, within):
    questions = (
        lambda client: client.models(),
        lambda client: client.signature("any"),
        lambda client: client.server_time("any"),
        lambda client: client.load_model("any"),
        lambda client: client.unload_model("any"),
    )
    within(0.2 * len(questions))
    with TritonClient(silent, protocol=protocol, timeout=0.2) as client:
        for question in questions:
            with pytest.raises(ServingTimeoutError):
                question(client)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_trickles_is_no_answer_either(protocol, within):
    """Bytes that keep coming renew a limit for each read, and must not renew the whole one."""
    within(1)
    done = threading.Event()

    def trickle(server):
        connection, _ = server.accept()
        with closing(connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not done.wait(0.05):
                connection.sendall(b" ")

    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        thread = threading.Thread(target=trickle, args=(server,))
        thread.start()
        try:
            url = f"127.0.0.1:{server.getsockname()[1]}"
            with (
                TritonClient(url, protocol=protocol, timeout=0.5, retries=0) as client,
                pytest.raises((ServingTimeoutError, ServerUnreachableError)),
            ):
                client.models()
        finally:
            done.set()
            thread.join()


def test_the_asynchronous_client_waits_as_long(silent, within):
    within(1.6)

    async def ask():
        async with AsyncTritonClient(silent, timeout=0.3) as client:
            assert await client.is_live(timeout=0.3) is False
            with pytest.raises(ServingTimeoutError):
                await client.signature("any")
            with pytest.raises(ServerUnreachableError, match="within 1 s"):
                await client.wait_ready("any", timeout=1)

    asyncio.run(ask())
