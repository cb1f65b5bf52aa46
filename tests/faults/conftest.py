"""Servers of their own for the fault cases, up again before each case."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import served_models
from arango.database import StandardDatabase

from workshop import stack
from workshop.settings import Settings
from workshop.stack.private import private_settings
from workshop.store.connection import connect
from workshop.triton.client import TritonClient


@pytest.fixture(scope="session")
def _settings(tmp_path_factory) -> Iterator[Settings]:
    folder = tmp_path_factory.mktemp("faults")
    served_models.write_models(folder / "models")
    settings = private_settings(folder / "stack", model_repository=folder / "models", arango_password="")
    yield settings
    stack.down(settings)


@pytest.fixture
def triton(_settings) -> Settings:
    """Settings of a running tritonserver with the models of ``served_models``."""
    stack.up(_settings, ["triton"], models=served_models.NAMES)
    return _settings


@pytest.fixture
def client(triton) -> Iterator[TritonClient]:
    """A client of that server."""
    with TritonClient.from_settings(triton, timeout=30) as client:
        yield client


@pytest.fixture
def store(_settings) -> Settings:
    """Settings of a running aqlite."""
    stack.up(_settings, ["aqlite"])
    return _settings


@pytest.fixture
def database(store, request) -> Iterator[StandardDatabase]:
    """An empty database of the case's own."""
    name = request.node.name.removeprefix("test_")[:60]
    yield connect(store, database=name)
    stack.up(store, ["aqlite"])  # where the case has ended it
    connect(store, database="_system").delete_database(name)
