"""A Ray cluster to run on: the one that ``RAY_ADDRESS`` names, else one of this machine alone, small and private."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import ray
from ray._private import ray_constants, services
from ray._private.grpc_utils import init_grpc_channel
from ray.core.generated.gcs_service_pb2 import CheckAliveRequest
from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub

from workshop.errors import ClusterUnreachableError

OBJECT_STORE_MB = 256
"""Shared memory for blocks under way. A block of 1,024 vectors of 384 numbers takes 1.5 MB of it."""

FIRST_ANSWER = 10.0
"""Seconds that a cluster may take to say that it is there."""
RAY_CLIENT = "ray://"
"""Begins addresses of Ray's client, which gives up by itself, after half a minute."""
LOOPBACK = "127.0.0.1"
LOCAL_ENVIRONMENT = {
    ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's coming default, else a warning
}


@contextmanager
def ray_cluster(*, cpus: int | None = None, object_store_mb: int = OBJECT_STORE_MB) -> Iterator[None]:
    """Connect to Ray for the length of the block; where this process is connected already, it stays so.

    With the environment variable ``RAY_ADDRESS`` it joins that cluster. This machine must be one of it, and all of them
    need this library with its extra ``scale``. Without it, or where it says ``local``, Ray is started on this machine:
    all its ports on 127.0.0.1, without dashboard and usage statistics, and stopped at the end.

    Args:
        cpus: of the local Ray: how many tasks of one core it runs at once; ``None``: as many as there are cores.
        object_store_mb: bound on the shared memory of the local Ray. What does not fit is written to disk.

    Raises:
        ClusterUnreachableError: no Ray answers at ``RAY_ADDRESS``, or it cannot be joined from here.
    """
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address and address != "local":
        _join(address, quiet)
    else:
        with local_defaults():
            ray.init(
                address="local",  # not one that somebody else has started on this machine
                num_cpus=cpus or os.cpu_count(),
                object_store_memory=object_store_mb * 2**20,
                include_dashboard=False,
                _node_ip_address=LOOPBACK,
                **quiet,
            )
    try:
        yield
    finally:
        ray.shutdown()


def _join(address: str, quiet: dict[str, object]) -> None:
    """Connect to a cluster.

    Raises:
        ClusterUnreachableError: it does not answer, or wants other versions, or has no node on this machine.
    """
    try:
        if not address.startswith(RAY_CLIENT):
            _check_alive(address)
        ray.init(address=address, **quiet)
    except (grpc.RpcError, ConnectionError, RuntimeError, ValueError) as error:
        reason = error.details() if isinstance(error, grpc.Call) else error
        raise ClusterUnreachableError(
            f"cannot join a Ray cluster at RAY_ADDRESS={address}: {reason}",
            hint="ray status there, or unset RAY_ADDRESS to run on this machine",
        ) from error


def _check_alive(address: str) -> None:
    """Ask a cluster for a sign of life: where nothing answers, ``ray.init`` alone goes on trying for many minutes."""
    found = services.canonicalize_bootstrap_address_or_die(address)  # ray.init, too, takes "auto" and localhost so
    with init_grpc_channel(found, ray_constants.GLOBAL_GRPC_OPTIONS) as channel:
        NodeInfoGcsServiceStub(channel).CheckAlive(CheckAliveRequest(), timeout=FIRST_ANSWER)


@contextmanager
def local_defaults() -> Iterator[None]:
    """While Ray starts on this machine alone: loopback ports only, and nothing sent or warned about.

    On Linux Ray listens on all interfaces, unless it is told that this is no machine for clusters.
    """
    before, had = ray_constants.ENABLE_RAY_CLUSTER, LOCAL_ENVIRONMENT.keys() & os.environ.keys()
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        os.environ.update({name: value for name, value in LOCAL_ENVIRONMENT.items() if name not in had})
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        for name in LOCAL_ENVIRONMENT.keys() - had:
            del os.environ[name]
