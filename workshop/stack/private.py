"""Settings for a local stack that shares nothing with another one on the same machine: for tests and benchmarks."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, closing
from pathlib import Path

from workshop.settings import Settings, load_settings

# Below the ports that Linux and macOS hand out to outgoing connections: one of those may take a port between a
# server's stop and its next start.
PORTS = range(20000, 32768)


def free_ports(count: int) -> list[int]:
    """``count`` different ports of ``PORTS`` that nobody listens on.

    Raises OSError when no more are free.
    """
    ports: list[int] = []
    with ExitStack() as probes:
        for port in random.SystemRandom().sample(PORTS, len(PORTS)):
            probe = probes.enter_context(closing(socket.socket()))
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            ports.append(port)
            if len(ports) == count:
                return ports
    raise OSError(f"fewer than {count} free ports between {PORTS[0]} and {PORTS[-1]}")


def private_settings(directory: Path, **changes: object) -> Settings:
    """The settings with a state folder and ports of their own, and local servers only; keyword arguments win."""
    http, grpc, metrics, store = free_ports(4)
    own = {
        "stack_dir": directory,
        "triton_host": "127.0.0.1",
        "triton_http_port": http,
        "triton_grpc_port": grpc,
        "triton_metrics_port": metrics,
        "triton_tls": False,
        "triton_headers": {},
        "sagemaker_port": 0,
        "arango_port": store,
        "arango_url": "",
    }
    return load_settings(**{**own, **changes})
