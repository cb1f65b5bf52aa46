"""Errors of the connection, provoked with real sockets."""

from __future__ import annotations

import socket
import time
from contextlib import closing

import pytest

from workshop.errors import StoreTimeoutError, StoreUnreachableError
from workshop.settings import load_settings
from workshop.store.connection import connect, wait_ready


@pytest.fixture
def listener():
    """A port that accepts connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return server.getsockname()[1]


def test_refused_connection(closed_port):
    settings = load_settings(arango_url=f"http://127.0.0.1:{closed_port}", arango_password="x")
    started = time.monotonic()
    with pytest.raises(StoreUnreachableError, match=rf"could not connect to http://127.0.0.1:{closed_port} as root"):
        connect(settings)
    assert time.monotonic() - started < 5


def test_silent_server_times_out(listener):
    settings = load_settings(arango_url=f"http://127.0.0.1:{listener}", arango_password="x")
    with pytest.raises(StoreTimeoutError, match=r"could not connect to .*: no answer in time"):
        connect(settings, request_timeout=0.2)


def test_waiting_is_bounded(closed_port):
    settings = load_settings(arango_url=f"http://127.0.0.1:{closed_port}", arango_password="x")
    with pytest.raises(StoreUnreachableError, match=r"no store answered at .* within 1 s") as caught:
        wait_ready(settings, timeout=1)
    assert "make up" in caught.value.hint


def test_password_comes_from_the_stack_when_none_is_set(tmp_path, closed_port):
    settings = load_settings(stack_dir=tmp_path, arango_password="", arango_port=closed_port, arango_url="")
    settings.stack_password_file.write_text("secret\n")
    with pytest.raises(StoreUnreachableError) as caught:
        connect(settings)
    assert "secret" not in str(caught.value)
