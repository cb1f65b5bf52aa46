"""Which servers a run brings up, and that it stops only those."""

from contextlib import contextmanager

import pytest

from workshop import stack
from workshop.runner.index import Entry
from workshop.runner.servers import servers_for
from workshop.settings import load_settings


def entry(*needs: str) -> Entry:
    return Entry(name="01_a_b", title="t", goal="g", minutes=1, timeout=60, needs=needs)


@pytest.fixture
def asked(monkeypatch) -> list[list[str]]:
    """The lists of services that the stack was asked for; nothing starts."""
    calls = []

    @contextmanager
    def running(settings, services):
        calls.append(services)
        yield

    monkeypatch.setattr(stack, "running", running)
    return calls


@pytest.mark.parametrize(
    ("needs", "services"),
    [
        ([()], []),
        ([("gpu", "network")], []),
        ([("triton",)], ["triton"]),
        ([("triton",), (), ("arangodb", "triton")], ["triton", "aqlite"]),
    ],
)
def test_only_what_some_notebook_needs_is_started(asked, needs, services):
    settings = load_settings(triton_host="127.0.0.1", arango_url="")
    with servers_for([entry(*these) for these in needs], settings) as used:
        assert used == services
    assert asked == ([services] if services else [])


def test_servers_elsewhere_are_left_to_whoever_runs_them(asked):
    settings = load_settings(triton_host="triton.example", arango_url="")
    with servers_for([entry("triton", "arangodb")], settings) as used:
        assert used == ["aqlite"]
