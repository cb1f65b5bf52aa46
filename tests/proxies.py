"""A relay between a client and a server that can break or slow connections, end TLS, and remember what was sent."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets the connection


class Relay:
    """Relays TCP connections to a port of this machine while the ``with`` block runs.

    Args:
        port: where the server listens.
        refused: the first connections that are reset at once.
        cut: how many times a connection is reset on what the client has sent, which does not reach the server.
        on: only where that holds this text.
        tls: ends TLS with this context, so that the server hears plain text.
        at: the port to listen on; 0: any that is free.
        back: carries answers from the server, its first argument, to the client: :func:`pump`, or one that fails.

    Attributes:
        url: where the relay listens.
        connections: how many were accepted.
        heard: what clients have sent, decrypted.
    """

    def __init__(
        self,
        port: int,
        *,
        refused: int = 0,
        cut: int = 0,
        on: bytes = b"",
        tls: ssl.SSLContext | None = None,
        at: int = 0,
        back: Callable[[socket.socket, socket.socket], None] | None = None,
    ) -> None:
        self.connections = 0
        self.heard = b""
        self._port, self._refused, self._cuts_left, self._on, self._tls = port, refused, cut, on, tls
        self._back = back or pump
        self._listener = socket.create_server(("127.0.0.1", at))
        self.url = f"localhost:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Relay:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.connections <= self._refused:
                reset(client)
                continue
            self._open.append(client)
            self._start(self._serve, client)

    def _start(self, target: object, *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()
        return thread

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):  # a handshake that fails, and an end that breaks off, are the tests' business
            if self._tls:
                client = self._tls.wrap_socket(client, server_side=True)
                self._open.append(client)
            with closing(client), socket.create_connection(("127.0.0.1", self._port)) as server:
                self._open.append(server)
                back = self._start(self._back, server, client)
                try:
                    while data := client.recv(65536):
                        self.heard += data
                        if self._cuts_left and self._on in data:
                            self._cuts_left -= 1
                            reset(client)
                            return
                        server.sendall(data)
                    server.shutdown(socket.SHUT_WR)
                    back.join()
                finally:
                    with suppress(OSError):
                        server.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it


def pump(source: socket.socket, target: socket.socket) -> None:
    """Copy what comes until the source ends."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def until(silence: threading.Event) -> Callable[[socket.socket, socket.socket], None]:
    """Hand on what comes until ``silence`` is set; from then on the other side waits for ever."""

    def carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not silence.is_set():
                    target.sendall(data)

    return carry


def held(asked: Callable[[], bool], released: threading.Event) -> Callable[[socket.socket, socket.socket], None]:
    """Hand on what comes; what comes once ``asked`` says so waits until ``released`` is set."""

    def carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if asked():
                    released.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    return carry


def slow(seconds: float) -> Callable[[socket.socket, socket.socket], None]:
    """Hand on what comes so many seconds later."""

    def carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                time.sleep(seconds)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    return carry


def torn(most: int) -> Callable[[socket.socket, socket.socket], None]:
    """Hand on so many bytes, then reset the connection."""

    def carry(source: socket.socket, target: socket.socket) -> None:
        left = most
        with suppress(OSError):
            while left and (data := source.recv(left)):
                target.sendall(data)
                left -= len(data)
            target.shutdown(socket.SHUT_RD)  # wakes the thread that reads from it
            reset(target)
            source.shutdown(socket.SHUT_RDWR)

    return carry


def reset(connection: socket.socket) -> None:
    """Close a connection in the way a crashed server does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    connection.close()
