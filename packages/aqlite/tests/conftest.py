"""Fixtures: an in-process store per test, and one server process for all HTTP tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from arango.database import StandardDatabase
from hypothesis import settings
from server_process import ServerProcess

from aqlite.storage import ddl
from aqlite.storage.store import Store

# The same examples in every run, and as much time for each as a busy machine needs: pytest-timeout bounds the test.
settings.register_profile("aqlite", derandomize=True, deadline=None)
settings.load_profile("aqlite")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store with a document collection ``c`` and an edge collection ``e`` in ``_system``."""
    opened = Store(tmp_path / "data", lock_timeout=0.2)
    with opened.write("_system") as view:
        ddl.create_collection(view, "c", "document", {})
        ddl.create_collection(view, "e", "edge", {})
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The server process that the HTTP tests share."""
    running = ServerProcess(tmp_path_factory.mktemp("aqlite") / "data")
    yield running
    status = running.stop()
    assert status == 0
    assert "Traceback" not in running.log()


@pytest.fixture(scope="session")
def system(server: ServerProcess) -> StandardDatabase:
    """The system database."""
    return server.database()


@pytest.fixture(scope="module")
def db(server: ServerProcess, system: StandardDatabase, request: pytest.FixtureRequest) -> Iterator[StandardDatabase]:
    """A database of the test module's own."""
    name = request.module.__name__
    system.create_database(name)
    yield server.database(name)
    system.delete_database(name)
