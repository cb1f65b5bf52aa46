"""uvicorn's HTTP protocol with a bound on the time a request's head may take."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from aqlite.services.metrics import RequestMetrics


class BoundedHeadProtocol(HttpToolsProtocol):
    """Closes a connection whose request line and headers do not arrive within ``head_seconds``, and counts connections.

    uvicorn bounds the pause between two requests, not a request that is sent by halves.
    """

    head_seconds = 60.0
    metrics: RequestMetrics
    _head_timer: asyncio.TimerHandle | None = None
    _connected = 0.0

    def connection_made(self, transport: Any) -> None:
        """See ``asyncio.Protocol``."""
        super().connection_made(transport)
        self._connected = self.loop.time()
        self.metrics.connections += 1
        self._head_timer = self.loop.call_later(self.head_seconds, self._head_too_slow)

    def on_message_begin(self) -> None:
        """See httptools: the first byte of a request came."""
        super().on_message_begin()
        self._stop_timer()
        self._head_timer = self.loop.call_later(self.head_seconds, self._head_too_slow)

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._stop_timer()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self._stop_timer()
        self.metrics.connections -= 1
        self.metrics.connection_seconds.add(self.loop.time() - self._connected)
        super().connection_lost(exc)

    def _head_too_slow(self) -> None:
        self._head_timer = None
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def bounded_head_protocol(seconds: float, metrics: RequestMetrics) -> type[BoundedHeadProtocol]:
    """The protocol class with another bound, and what counts its connections; uvicorn makes the instances itself."""
    return type("BoundedHeadProtocol", (BoundedHeadProtocol,), {"head_seconds": seconds, "metrics": metrics})
