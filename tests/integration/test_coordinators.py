"""Several coordinators of a cluster, as far as a client sees them: the relays before one store break and come back."""

from __future__ import annotations

import re
import socket
from contextlib import closing

import pytest
from proxies import Relay

from workshop.errors import StoreTimeoutError
from workshop.settings import PROJECT_ROOT, Settings
from workshop.store.connection import connect, server_version, store_password, wait_ready
from workshop.store.plans import CROSSINGS

NAME = "coordinators"


def settings_of(store: Settings, *urls: str) -> Settings:
    """The store's settings, with these addresses in their order."""
    changes = {"arango_url": ",".join(f"http://{url}" for url in urls), "arango_password": store_password(store)}
    return store.model_copy(update={**changes, "arango_database": NAME})


@pytest.fixture
def address(local_store) -> str:
    return f"127.0.0.1:{local_store.arango_port}"


@pytest.fixture
def gone() -> str:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("dead_first", [True, False])
def test_one_of_two_coordinators_is_down(local_store, address, gone, dead_first):
    settings = settings_of(local_store, *([gone, address] if dead_first else [address, gone]))
    assert wait_ready(settings, timeout=10)
    database = connect(settings)
    assert list(database.aql.execute("RETURN 1 + 1")) == [2]


def test_a_coordinator_that_goes_down_is_left_for_the_next_in_the_middle_of_work(local_store, address):
    with Relay(local_store.arango_port) as first:
        database = connect(settings_of(local_store, first.url, address))
        collection = database.create_collection("kept")
        collection.insert({"_key": "before"}, overwrite=True)
        assert first.connections > 0
    collection.insert({"_key": "after"}, overwrite=True)
    assert sorted(collection.keys()) == ["after", "before"]
    assert server_version(database)


def test_what_was_accepted_and_not_answered_is_not_asked_of_another(local_store, address):
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        settings = settings_of(local_store, f"127.0.0.1:{silent.getsockname()[1]}", address)
        with pytest.raises(StoreTimeoutError, match="no answer in time"):
            connect(settings, request_timeout=0.3)


# --- docs/arangodb_cluster.md -----------------------------------------------------------------------------------
PAGE = (PROJECT_ROOT / "docs/arangodb_cluster.md").read_text()


def test_the_calls_of_the_page_work_and_print_what_it_shows(local_store, address, capsys):
    names = {"settings": settings_of(local_store, address).model_copy(update={"arango_database": "of_the_page"})}
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "docs/arangodb_cluster.md", "exec"), names)
    (shown,) = re.findall(r"```text\n(.*?)```\n<!-- end of plans -->", PAGE, re.DOTALL)
    assert capsys.readouterr().out == shown


def test_the_restore_of_the_page_names_collections_of_the_dump():
    (command,) = re.findall(r"^arangorestore (.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    folder = PROJECT_ROOT / re.search(r"--input-directory (\S+)", command)[1]
    dumped = {path.name.rpartition("_")[0] for path in folder.glob("*.structure.json")}
    assert set(re.findall(r"--number-of-shards (\w+)=", command)) == {"products", "bought_together"} <= dumped


def test_the_page_explains_the_steps_that_are_counted():
    table = PAGE.partition("look for these instead")[2]
    for step in ("RemoteNode", "GatherNode", "ScatterNode", "DistributeNode", "SingleRemoteOperationNode"):
        assert f"`{step}`" in table
        assert step in CROSSINGS


def test_traversals_of_the_workshop_name_their_collections():
    for path in sorted((PROJECT_ROOT / "workshop/store/aql").glob("*.aql")):
        query = path.read_text()
        if re.search(r"\b(ANY|OUTBOUND|INBOUND)\b", query):
            named = re.search(r"^\s*WITH @@", query, re.MULTILINE) or " GRAPH @" in query
            assert named, f"{path.name} would not run on a cluster"
