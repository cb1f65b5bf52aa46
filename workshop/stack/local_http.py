"""One HTTP request to a server of the stack, past any proxy of the environment."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException


def ask(
    port: int, method: str, path: str, *, headers: Mapping[str, str] | None = None, timeout: float = 5.0
) -> tuple[int, bytes]:
    """Send a request without a body to 127.0.0.1; returns status and body of the answer.

    Raises:
        OSError: nothing accepts connections, the answer is no HTTP, or it takes longer than ``timeout`` seconds.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, headers=dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.read()
    except HTTPException as error:
        raise ConnectionError(f"no HTTP answer on port {port}: {error}") from error
    finally:
        connection.close()
