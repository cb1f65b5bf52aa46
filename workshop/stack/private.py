"""Settings for a local stack that shares nothing with another one on the same machine: for tests and benchmarks."""

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


def private_settings(directory: Path, **changes: object) -> Settings:
    """The settings with a state folder and ports of their own, and local servers only; keyword arguments win."""
    http, grpc, metrics, store = free_ports(4)
    own = {
        "stack_dir": directory,
        "triton_host": "127.0.0.1",
        "triton_http_port": http,
        "triton_grpc_port": grpc,
        "triton_metrics_port": metrics,
        "sagemaker_port": 0,
        "arango_port": store,
        "arango_url": "",
    }
    return load_settings(**{**own, **changes})
