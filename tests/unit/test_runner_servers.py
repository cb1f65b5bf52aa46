"""Which servers a run brings up."""

import pytest

from workshop.runner.index import Entry
from workshop.runner.servers import needed_services
from workshop.settings import load_settings


def entry(*needs: str) -> Entry:
    return Entry(name="01_a_b", title="t", goal="g", minutes=1, timeout=60, needs=needs)


@pytest.mark.parametrize(
    ("needs", "services"),
    [
        ([()], []),
        ([("gpu", "network")], []),
        ([("triton",)], ["triton"]),
        ([("triton",), (), ("arangodb", "triton")], ["triton", "aqlite"]),
    ],
)
def test_only_what_some_notebook_needs_is_started(needs, services):
    settings = load_settings(triton_host="127.0.0.1", arango_url="")
    assert needed_services([entry(*these) for these in needs], settings) == services


def test_servers_elsewhere_are_left_to_whoever_runs_them():
    both = [entry("triton", "arangodb")]
    assert needed_services(both, load_settings(triton_host="triton.example", arango_url="")) == ["aqlite"]
    assert needed_services(both, load_settings(triton_host="127.0.0.1", arango_url="http://db:8529")) == ["triton"]
