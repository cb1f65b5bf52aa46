"""Servers of their own for the fault cases, up again before each case, and a table of the cases at the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import served_models
from arango.database import StandardDatabase
from rich.console import Console
from rich.table import Table

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


# --- the table at the end -------------------------------------------------------------------------------------
@dataclass
class Outcome:
    """How a case went."""

    name: str
    broken: str
    expected: str
    seconds: float = 0.0
    result: str = "passed"


_OUTCOMES = pytest.StashKey[dict[str, Outcome]]()


def pytest_configure(config):
    config.stash[_OUTCOMES] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if mark := item.get_closest_marker("fault"):
        name = item.name.removeprefix("test_").replace("_", " ")
        outcome = item.config.stash[_OUTCOMES].setdefault(item.nodeid, Outcome(name, **mark.kwargs))
        outcome.seconds += report.duration
        if report.outcome != "passed":
            outcome.result = report.outcome
    return report


def pytest_terminal_summary(terminalreporter, config):
    outcomes = config.stash[_OUTCOMES].values()
    if not outcomes:
        return
    table = Table("case", "broken", "expected", "seconds", "result", title="Faults")
    for one in outcomes:
        table.add_row(one.name, one.broken, one.expected, f"{one.seconds:.1f}", one.result)
    console = Console(width=160)
    with console.capture() as capture:
        console.print(table)
    terminalreporter.write(f"\n{capture.get()}")
    passed = sum(one.result == "passed" for one in outcomes)
    terminalreporter.write_line(f"{passed} of {len(outcomes)} fault cases passed")
