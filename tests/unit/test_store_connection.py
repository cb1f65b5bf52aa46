"""Errors of the connection, provoked with real sockets."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack, closing

import pytest

from workshop.errors import SettingsError, StoreTimeoutError, StoreUnreachableError
from workshop.settings import load_settings
from workshop.store import connection
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


def test_waiting_for_a_silent_server_ends_on_time_also_when_it_falls_silent_late():
    """Nothing listens for a second, then somebody accepts and never answers: the wait's end stays where it was."""
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))  # bound and not listening: refused
        settings = load_settings(arango_url=f"http://127.0.0.1:{server.getsockname()[1]}", arango_password="x")
        opening = threading.Timer(1.0, server.listen)
        opening.start()
        started = time.monotonic()
        with pytest.raises(StoreUnreachableError, match=r"within 2 s: could not .*: no answer in time"):
            wait_ready(settings, timeout=1.5)
        assert 1.4 < time.monotonic() - started < 2.3
        opening.join()


def test_waiting_for_several_silent_servers_ends_on_time(listener):
    url = f"http://127.0.0.1:{listener},http://localhost:{listener}"
    started = time.monotonic()
    with pytest.raises(StoreUnreachableError):
        wait_ready(load_settings(arango_url=url, arango_password="x"), timeout=0.6)
    assert time.monotonic() - started < 1.4


def test_password_comes_from_the_stack_when_none_is_set(tmp_path, closed_port):
    settings = load_settings(stack_dir=tmp_path, arango_password="", arango_port=closed_port, arango_url="")
    settings.stack_password_file.write_text("secret\n")
    with pytest.raises(StoreUnreachableError) as caught:
        connect(settings)
    assert "secret" not in str(caught.value)


@pytest.fixture
def unreachable():
    """A port of a machine that is gone: it neither accepts nor refuses, since its queue of connections is full."""
    with closing(socket.socket()) as server, ExitStack() as waiting:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(3):
            one = waiting.enter_context(closing(socket.socket()))
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def test_a_machine_that_is_gone_is_given_up_before_the_time_of_a_request(unreachable, closed_port, monkeypatch):
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.3)
    url = f"http://127.0.0.1:{unreachable},http://127.0.0.1:{closed_port}"
    started = time.monotonic()
    with pytest.raises(StoreUnreachableError, match="Can't connect to host"):
        connect(load_settings(arango_url=url, arango_password="x"), request_timeout=60)
    assert 0.3 <= time.monotonic() - started < 5


@pytest.mark.parametrize("url", ["localhost:8529", "http://a:8529,", "http://a:8529;http://b:8529"])
def test_addresses_that_are_none_are_a_settings_error(url):
    with pytest.raises(SettingsError, match="arango_url"):
        load_settings(arango_url=url)


def test_addresses_of_coordinators_are_asked_in_their_order():
    settings = load_settings(arango_url="http://b:8529, https://a:8530")
    assert settings.arango_hosts == ["http://b:8529", "https://a:8530"]
