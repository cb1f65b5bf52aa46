"""The small print of the interface, on which ArangoDB's own drivers rely."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import jwt
import pytest
import requests
from server_process import PASSWORD, ServerProcess

from aqlite.http.left_out import LEFT_OUT
from aqlite.storage import ddl
from aqlite.storage.store import Store

ROOT = ("root", PASSWORD)


@pytest.fixture
def call(server, db):
    """``call(method, path, **options)`` in the module's database."""
    session = requests.Session()

    def request(method: str, path: str, **options) -> requests.Response:
        return session.request(method, f"{server.url}/_db/{db.name}{path}", auth=ROOT, timeout=30, **options)

    return request


@pytest.fixture
def documents(db):
    """An empty collection ``d``."""
    yield db.create_collection("d")
    db.delete_collection("d")


def test_unknown_boolean_values_count_as_none(call, documents):
    assert call("POST", "/_api/document/d?waitForSync=undefined&keepNull=maybe", json={"_key": "a", "x": None}).ok
    assert call("GET", "/_api/version?details=undefined").json().get("details") is None
    assert call("GET", "/_api/version?details=TRUE").json()["details"]
    assert "new" not in call("POST", "/_api/document/d?returnNew=undefined", json={}).json()
    patched = call("PATCH", "/_api/document/d/a?keepNull=undefined&returnNew=1", json={"y": None}).json()
    assert patched["new"]["y"] is None


@pytest.mark.parametrize("kind", ["", "&type=", "&type=undefined", "&type=table"])
def test_an_import_of_no_known_type_is_a_table(call, documents, kind):
    answer = call("POST", f"/_api/import?collection=d{kind}", data='["_key", "x"]\n["a", 1]\n["b", 2]\n')
    expected = {"error": False, "created": 2, "errors": 0, "empty": 0, "updated": 0, "ignored": 0}
    assert (answer.status_code, answer.json()) == (201, expected)
    assert documents.get("b")["x"] == 2


def test_lines_of_a_table_may_be_too_short_or_too_long(call, documents):
    body = '["_key", "x"]\n["a"]\n["b", 2, 3]\n'
    strict = call("POST", "/_api/import?collection=d", data=body).json()
    assert (strict["created"], strict["errors"]) == (0, 2)
    lax = call("POST", "/_api/import?collection=d&ignoreMissing=true", data=body).json()
    assert (lax["created"], lax["errors"]) == (2, 0)
    assert "x" not in documents.get("a")
    assert documents.get("b")["x"] == 2


def test_prefixes_of_imported_edges(call, db):
    edges = db.create_collection("paths", edge=True)
    body = '{"_key": "%s", "_from": "a", "_to": "old/b"}'
    query = "/_api/import?collection=paths&type=documents&fromPrefix=from&toPrefix=to/"
    assert call("POST", query, data=body % "1").json()["created"] == 1
    assert call("POST", f"{query}&overwriteCollectionPrefix=true", data=body % "2").json()["created"] == 1
    assert [(edge["_from"], edge["_to"]) for edge in (edges.get("1"), edges.get("2"))] == [
        ("from/a", "old/b"),
        ("from/a", "to/b"),
    ]
    db.delete_collection("paths")


def test_an_empty_answer_has_no_json_type(call, documents):
    answer = call("POST", "/_api/document/d", json={}, headers={"x-arango-async": "true"})
    assert (answer.status_code, answer.content) == (202, b"")
    assert "content-type" not in answer.headers
    assert "json" in call("GET", "/_api/version").headers["content-type"]


@pytest.mark.parametrize("name", ["maçã", "a b", "日本", "a'b", "a; DROP TABLE meta", 'quo"te', "a:b"])
def test_extended_names_of_collections(db, name):
    db.create_collection(name).insert({"_key": "k"})
    assert db.collection(name).get("k")["_id"] == f"{name}/k"
    assert db.aql.execute("FOR d IN @@c RETURN d._key", bind_vars={"@c": name}).batch().pop() == "k"
    edges = db.create_collection("links", edge=True)
    assert edges.insert({"_from": f"{name}/k", "_to": f"{name}/k"})
    query = "FOR v IN 1..1 OUTBOUND @start links RETURN v._id"
    assert list(db.aql.execute(query, bind_vars={"start": f"{name}/k"})) == [f"{name}/k"]
    db.delete_collection("links")
    assert db.delete_collection(name)


def test_extended_names_of_databases(system, server):
    system.create_database("maçã 1")
    try:
        assert server.database("maçã 1").properties()["name"] == "maçã 1"
    finally:
        system.delete_database("maçã 1")


def test_every_batch_but_the_last_names_the_next(call):
    first = call("POST", "/_api/cursor", json={"query": "FOR i IN 1..5 RETURN i", "batchSize": 2}).json()
    assert (first["result"], first["nextBatchId"]) == ([1, 2], "2")
    second = call("POST", f"/_api/cursor/{first['id']}/2").json()
    assert (second["result"], second["nextBatchId"]) == ([3, 4], "3")
    assert call("POST", f"/_api/cursor/{first['id']}/2").status_code == 404, "nobody asked for retries"
    third = call("POST", f"/_api/cursor/{first['id']}/3").json()
    assert (third["result"], third["hasMore"], "nextBatchId" in third) == ([5], False, False)
    assert call("POST", f"/_api/cursor/{first['id']}").status_code == 404


ROUTES = [route.replace("{name}", "x") for routes in LEFT_OUT.values() for route in routes]


@pytest.mark.parametrize("route", ROUTES)
def test_routes_that_are_left_out_say_so(call, route):
    method, path = route.split(" ")
    for tried in ("GET", "POST", "PUT", "DELETE") if method == "*" else (method,):
        answer = call(tried, path, json={})
        assert (answer.status_code, answer.json()["errorNum"]) == (501, 501), (tried, path)


def test_the_readme_lists_what_is_left_out():
    text = (Path(__file__).parents[1] / "README.md").read_text()
    missing = [route for routes in LEFT_OUT.values() for route in routes if f"`{route}`" not in text]
    assert missing == []


def test_other_methods_are_not_supported(call):
    assert call("POST", "/_api/version", json={}).status_code == 405
    assert call("GET", "/_api/nothing").status_code == 404


def test_built_in_analyzers(db):
    found = {entry["name"]: entry["type"] for entry in db.analyzers()}
    assert (found["identity"], found["text_en"]) == ("identity", "text")
    assert db.analyzer("text_en")["properties"]["locale"] == "en"


def test_what_the_server_says_of_itself(system, call):
    assert call("GET", "/_admin/options").json()["database.extended-names"] is True
    assert system.options()
    assert call("GET", "/_admin/support-info").json()["deployment"]["type"] == "single"


def test_every_answer_tells_how_long_it_was_queued(call, documents):
    answer = call("POST", "/_api/document/d", json={}, headers={"x-arango-queue-time-seconds": "60"})
    assert answer.ok
    assert 0 <= float(answer.headers["x-arango-queue-time-seconds"]) < 60
    late = call("POST", "/_api/document/d", json={}, headers={"x-arango-queue-time-seconds": "0.000000001"})
    assert (late.status_code, late.json()["errorNum"]) == (412, 21004)
    assert documents.count() == 1


def test_explaining_takes_time_and_may_fail_on_warnings(call):
    query = "FOR d IN _graphs OPTIONS {nothing: 1} RETURN d"
    explained = call("POST", "/_api/explain", json={"query": query}).json()
    assert explained["stats"]["executionTime"] > 0
    assert explained["warnings"][0]["code"] == 1539
    strict = call("POST", "/_api/explain", json={"query": query, "options": {"failOnWarning": True}})
    assert strict.json()["errorNum"] == 1539
    strict = call("POST", "/_api/cursor", json={"query": query, "options": {"failOnWarning": True}})
    assert strict.json()["errorNum"] == 1539


def test_a_running_query_tells_its_memory(call, db):
    query = "LET a = (FOR i IN 1..20000 RETURN i) RETURN [LENGTH(a), SLEEP(20)]"
    runner = threading.Thread(target=call, args=("POST", "/_api/cursor"), kwargs={"json": {"query": query}})
    runner.start()
    deadline, found = time.monotonic() + 15, []
    while time.monotonic() < deadline and not (found and found[0]["peakMemoryUsage"] > 20000):
        found = [entry for entry in call("GET", "/_api/query/current").json() if entry["query"] == query]
    assert call("DELETE", f"/_api/query/{found[0]['id']}").ok
    runner.join()
    assert found[0]["peakMemoryUsage"] > 20000
    assert found[0]["modificationQuery"] is False


def test_a_configured_secret_signs_tokens(tmp_path):
    secret = "s" * 40
    (tmp_path / "secret").write_text(secret + "\n")
    server = ServerProcess(tmp_path / "data", options=("--jwt-secret-file", str(tmp_path / "secret")))
    try:
        own = jwt.encode({"iss": "arangodb", "preferred_username": "root"}, secret, algorithm="HS256")
        superuser = jwt.encode({"iss": "arangodb", "server_id": "test"}, secret, algorithm="HS256")
        foreign = jwt.encode({"iss": "arangodb", "server_id": "test"}, "x" * 40, algorithm="HS256")
        for token, status in ((own, 200), (superuser, 200), (foreign, 401)):
            headers = {"authorization": f"bearer {token}"}
            assert requests.get(f"{server.url}/_api/user", headers=headers, timeout=10).status_code == status
    finally:
        assert server.stop() == 0


def test_a_short_secret_is_refused(tmp_path):
    (tmp_path / "secret").write_text("short")
    with pytest.raises(RuntimeError, match="expected 32 or more"):
        ServerProcess(tmp_path / "data", options=("--jwt-secret-file", str(tmp_path / "secret")))


def test_compaction_gives_room_back(tmp_path):
    store = Store(tmp_path / "data")
    with store.write("_system") as view:
        ddl.create_collection(view, "big", "document", {})
        for _ in range(200):
            view.insert("big", {"text": "x" * 50_000})
    with store.write("_system") as view:
        view.truncate("big")
    before = sum(file.stat().st_size for file in (tmp_path / "data").iterdir())
    store.compact()
    after = sum(file.stat().st_size for file in (tmp_path / "data").iterdir())
    store.close()
    assert after < before / 10


def test_compaction_takes_little_memory(tmp_path):
    store = Store(tmp_path / "data")
    with store.write("_system") as view:
        ddl.create_collection(view, "big", "document", {})
        for _ in range(2000):
            view.insert("big", {"text": "x" * 50_000})
    store.close()
    script = (
        "import sys, resource; from pathlib import Path; from aqlite.storage.store import Store\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "store = Store(Path(sys.argv[1])); before = peak(); store.compact(); print(peak() - before); store.close()"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "data")]
    grown_kib = int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)
    assert grown_kib < 50_000, "the 100 MB of documents are not held in memory"


def test_access_tokens_stand_for_the_password(system, server, call):
    system.create_user("bot", "b")
    system.update_permission("bot", "rw", "_system")
    try:
        until = int(time.time()) + 1000
        made = call("POST", "/_api/token/bot", json={"name": "ci", "valid_until": until}).json()
        assert made["token"].startswith("v1.")
        assert call("POST", "/_api/token/bot", json={"name": "ci", "valid_until": until}).status_code == 409
        assert call("POST", "/_api/token/bot", json={"name": "old", "valid_until": 1}).status_code == 400
        (listed,) = call("GET", "/_api/token/bot").json()["tokens"]
        assert (listed["name"], listed["active"], "token" in listed) == ("ci", True, False)

        def works(name: str, password: str) -> bool:
            return requests.get(f"{server.url}/_api/version", auth=(name, password), timeout=10).ok

        assert works("bot", made["token"])
        assert works("", made["token"])
        assert not works("root", made["token"])
        login = requests.post(
            f"{server.url}/_open/auth", json={"username": "bot", "password": made["token"]}, timeout=10
        )
        renewed = requests.post(
            f"{server.url}/_open/auth/renew", headers={"authorization": f"bearer {login.json()['jwt']}"}, timeout=10
        )
        assert jwt.decode(renewed.json()["jwt"], options={"verify_signature": False})["preferred_username"] == "bot"
        assert call("DELETE", f"/_api/token/bot/{made['id']}").ok
        assert call("DELETE", f"/_api/token/bot/{made['id']}").status_code == 404
        assert not works("bot", made["token"])
        assert works("bot", "b")
    finally:
        system.delete_user("bot")


def test_edges_without_a_direction(call, db):
    db.create_collection("paths", edge=True).insert({"_from": "d/a", "_to": "d/b"})
    assert len(call("GET", "/_api/edges/paths?vertex=d/b&direction=undefined").json()["edges"]) == 1
    assert call("GET", "/_api/edges/paths?vertex=d/b&direction=up").status_code == 400
    db.delete_collection("paths")


def test_a_profile_tells_what_every_node_did(call, documents):
    documents.insert_many([{"n": number} for number in range(10)])
    query = "FOR d IN d FILTER d.n >= 4 FILTER NOOPT(d.n) != 5 LET s = (FOR i IN 1..d.n RETURN i) RETURN LENGTH(s)"
    extra = call("POST", "/_api/cursor", json={"query": query, "options": {"profile": 2}}).json()["extra"]
    nodes = {node["id"]: node["type"] for node in extra["plan"]["nodes"]}
    did = {nodes[entry["id"]]: entry for entry in extra["stats"]["nodes"]}
    assert [entry["id"] for entry in extra["stats"]["nodes"]] == list(nodes)
    assert did["EnumerateCollectionNode"]["items"] == 10
    assert did["SingletonNode"]["calls"] == 1
    assert did["ReturnNode"]["items"] == 5
    filtered = [entry["filtered"] for entry in extra["stats"]["nodes"] if nodes[entry["id"]] == "FilterNode"]
    assert sum(filtered) == 5
    assert did["EnumerateCollectionNode"]["runtime"] > 0
    assert "nodes" not in call("POST", "/_api/cursor", json={"query": query}).json()["extra"]["stats"]
