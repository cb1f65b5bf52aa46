"""The demo in a process of its own, between it and the real servers lines that can be cut, and a real browser."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from catalogue_world import both_servers, stock
from playwright.sync_api import Browser, Page, Request
from proxies import Relay

from workshop.settings import PROJECT_ROOT, Settings
from workshop.stack.private import free_ports
from workshop.text.prepare import prepare_zero_shot
from workshop.triton.client import TritonClient
from workshop.vision.prepare import prepare_image_classifier

DATABASE = "demo"
MODELS = ("zero_shot_tokenizer", "zero_shot", "zero_shot_text", "image_classifier")
START_SECONDS = 60
PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
SCREENS = PROJECT_ROOT / "runs" / "demo"
"""Where the tests leave their pictures; CI keeps them."""


@dataclass
class Line:
    """The way to one port of a server, which can be cut and mended."""

    port: int
    at: int
    _relay: Relay | None = None

    def mend(self) -> None:
        """Let through what comes."""
        if self._relay is None:
            self._relay = Relay(self.port, at=self.at)
            self._relay.__enter__()

    def cut(self) -> None:
        """Break every connection, and refuse new ones."""
        if self._relay is not None:
            self._relay.__exit__(None, None, None)
            self._relay = None


@dataclass
class Demo:
    """The running demo.

    Attributes:
        url: of its page.
        pid: of its process.
        lines: to ``triton``, its ``metrics``, and the ``store``.
        requests: addresses that the browsers of the tests asked for.
        said: what their pages complained about: script errors, and dialogs, which no page of ours opens.
    """

    url: str
    pid: int
    lines: dict[str, Line]
    requests: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)

    @contextmanager
    def page(self, browser: Browser, tab: str, *, viewport: dict[str, int] | None = None, **options) -> Iterator[Page]:
        """A tab in a browser window of its own."""
        context = browser.new_context(viewport=viewport or DESKTOP, **options)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("request", lambda request: self.requests.add(_origin(request)))
        page.on("websocket", lambda socket: self.requests.add(socket.url.split("/")[2]))
        page.on("pageerror", lambda error: self.said.append(f"script error: {error}"))
        page.on("dialog", lambda dialog: (self.said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.goto(f"{self.url}/?tab={tab}")
        try:
            yield page
        finally:
            context.close()


def _origin(request: Request) -> str:
    return request.url.split("/")[2] if request.url.startswith(("http:", "https:", "ws:", "wss:")) else ""


@contextmanager
def running_demo(settings: Settings) -> Iterator[Demo]:
    """The demo of the servers that the settings name, until the block ends."""
    port, triton, metrics, store = free_ports(4)
    lines = {
        "triton": Line(settings.triton_grpc_port, triton),
        "metrics": Line(settings.triton_metrics_port, metrics),
        "store": Line(settings.arango_port, store),
    }
    for line in lines.values():
        line.mend()
    environment = {
        **os.environ,
        "WORKSHOP_TRITON_HOST": "127.0.0.1",
        "WORKSHOP_TRITON_GRPC_PORT": str(triton),
        "WORKSHOP_TRITON_METRICS_PORT": str(metrics),
        "WORKSHOP_ARANGO_URL": f"http://127.0.0.1:{store}",
        "WORKSHOP_ARANGO_DATABASE": settings.arango_database,
        "WORKSHOP_STACK_DIR": str(settings.stack_dir),
        "WORKSHOP_MODEL_REPOSITORY": str(settings.model_repository),
        "WORKSHOP_DATA_SIZE": settings.data_size,
    }
    command = [sys.executable, "scripts/demo.py", "--port", str(port)]
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        await_health(url, process)
        yield Demo(url, process.pid, lines)
    finally:
        process.terminate()
        process.wait(timeout=20)
        for line in lines.values():
            line.cut()


def await_health(url: str, process: subprocess.Popen) -> None:
    """Wait until the demo answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
                assert answer.status == 200
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise AssertionError(f"the demo did not answer at {url}; it ended with {process.poll()}")


def screen(page: Page, name: str) -> Path:
    """Keep a picture of what the browser shows."""
    SCREENS.mkdir(parents=True, exist_ok=True)
    path = SCREENS / f"{name}.png"
    page.screenshot(path=path)
    return path


def filled(local_stack: Settings, local_store: Settings, folder: Path) -> Settings:
    """Settings of servers with every model and collection that the demo shows, on tiny data.

    Args:
        local_stack: of the running Triton.
        local_store: of the running store.
        folder: for the catalogue and the weights.
    """
    settings = both_servers(local_stack, local_store, DATABASE)
    prepare_zero_shot(settings), prepare_image_classifier(settings)
    with TritonClient.from_settings(settings) as client:
        for name in MODELS:
            client.load_model(name)
        client.wait_ready(*MODELS)
        stock(settings, client, folder)
    return settings
