"""A page of Triton's metrics that some server of the tests shows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from workshop.settings import Settings, load_settings


@contextmanager
def metrics_page(text: str, folder: Path) -> Iterator[Settings]:
    """Settings of a server whose metrics are ``text``."""
    (folder / "metrics").write_text(text)
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield load_settings(triton_host="127.0.0.1", triton_metrics_port=server.server_port)
        server.shutdown()
