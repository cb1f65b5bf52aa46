"""Settings for a local stack that shares nothing with another one on the same machine."""

from __future__ import annotations

import socket
from contextlib import ExitStack, closing
from pathlib import Path

from workshop.settings import Settings, load_settings


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on; all held at once, so that they differ."""
    with ExitStack() as probes:
        sockets = [probes.enter_context(closing(socket.socket())) for _ in range(count)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in sockets]


def private_settings(directory: Path, repository: Path, **changes: object) -> Settings:
    """Settings of a stack of its own: own state folder, own ports, local servers only."""
    http, grpc, metrics, store = free_ports(4)
    ports = {
        "triton_http_port": http,
        "triton_grpc_port": grpc,
        "triton_metrics_port": metrics,
        "arango_port": store,
    }
    places = {"stack_dir": directory, "model_repository": repository, "triton_host": "127.0.0.1", "arango_url": ""}
    return load_settings(**{**ports, **places, **changes})
