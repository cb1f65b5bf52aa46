"""The API in this process, on a socket of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import requests
import uvicorn

from workshop.api.app import make_app
from workshop.settings import Settings
from workshop.stack.private import free_ports


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """Address of a running API in front of the servers that the settings name."""
    (port,) = free_ports(1)
    server = uvicorn.Server(uvicorn.Config(make_app(settings), host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    session = requests.Session()
    session.mount(
        "http://", requests.adapters.HTTPAdapter(max_retries=requests.adapters.Retry(20, backoff_factor=0.05))
    )
    try:
        assert session.get(f"http://127.0.0.1:{port}/v1/models", timeout=30).status_code == 200
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
