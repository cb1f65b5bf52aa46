"""One real local stack for all integration tests: started once, on free ports, over a copy of the model repository."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import tiny_models

from workshop import stack
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


@pytest.fixture(scope="session")
def model_repository(tmp_path_factory) -> Path:
    """A copy of the project's model repository, weights included where they were generated, plus the tiny models."""
    repository = tmp_path_factory.mktemp("models") / "repository"
    shutil.copytree(load_settings().model_repository, repository, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    return repository


@pytest.fixture(scope="session")
def tiny_model_names(model_repository) -> list[str]:
    """Names of the tiny models, written into the repository."""
    own = model_repository.parent / "tiny"
    own.mkdir()
    names = tiny_models.write_torch_models(own) + tiny_models.write_onnx_models(own)
    names.append(tiny_models.write_ensemble(own))
    shutil.copytree(own, model_repository, dirs_exist_ok=True)
    return names


@pytest.fixture(scope="session")
def local_stack(tmp_path_factory, model_repository, tiny_model_names) -> Iterator[Settings]:
    """Settings of a running tritonserver that serves the tiny models; it can load the others of the repository."""
    settings = private_settings(tmp_path_factory.mktemp("stack"), model_repository, response_cache_mb=16)
    with stack.running(settings, ["triton"], models=tiny_model_names):
        yield settings


@pytest.fixture(scope="session")
def local_store(tmp_path_factory, model_repository) -> Iterator[Settings]:
    """Settings of a running, empty aqlite; its password lies in ``stack_password_file``."""
    settings = private_settings(tmp_path_factory.mktemp("store"), model_repository)
    with stack.running(settings, ["aqlite"]):
        yield settings
