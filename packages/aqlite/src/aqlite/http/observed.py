"""Counts every request, and writes a line about it where that is wanted; carries the client's request id."""

from __future__ import annotations

import logging
import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aqlite.services.metrics import Observation, RequestMetrics

REQUEST_LOG = "aqlite.requests"
REQUEST_ID = b"x-request-id"
# An id goes into logs and back into a header, so that nothing but this is taken for one.
_ID = re.compile(rb"[\w.:/+=@-]{1,128}", re.ASCII)

logger = logging.getLogger(REQUEST_LOG)


class Observed:
    """Wraps an application; ``scope["observation"]`` takes what it finds out about a request."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        observation = Observation()
        request_id = _request_id(scope)
        status, received, sent = 0, 0, 0

        async def count_received() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def count_sent(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                if request_id:
                    message["headers"].append((REQUEST_ID, request_id))
            else:
                sent += len(message.get("body", b""))
            await send(message)

        began = time.perf_counter()
        try:
            scope = {**scope, "observation": observation, "request_id": request_id.decode()}
            await self._app(scope, count_received, count_sent)
        finally:
            seconds = time.perf_counter() - began
            self._metrics.add(scope["method"], status, seconds, received, sent, observation)
            if logger.isEnabledFor(logging.INFO):
                _log(scope, status, seconds, received, sent, observation)


def _request_id(scope: Scope) -> bytes:
    """What the client calls its request; empty where it names none, or something that cannot be a name."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID:
            return value if _ID.fullmatch(value) else b""
    return b""


def _log(scope: Scope, status: int, seconds: float, received: int, sent: int, observation: Observation) -> None:
    facts = {
        "request_id": scope["request_id"],
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "seconds": round(seconds, 6),
        "queued_seconds": round(observation.queued, 6),
        "received_bytes": received,
        "sent_bytes": sent,
        "user": observation.user,
    }
    text = "%(method)s %(path)s %(status)d in %(seconds)f s, request id %(request_id)s"
    logger.info(text, {**facts, "request_id": facts["request_id"] or "not given"}, extra=facts)
