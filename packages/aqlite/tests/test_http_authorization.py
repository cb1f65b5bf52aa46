"""Who may do what: every route against every level, how levels come about, and passwords that are no longer right."""

from __future__ import annotations

import itertools
import threading
from base64 import b64encode
from pathlib import Path

import pytest
import requests
from server_process import PASSWORD, ServerProcess

from aqlite.http.routes import ENDPOINTS, Endpoint
from aqlite.http.tables import permissions_document
from aqlite.services import users as users_module
from aqlite.services.permissions import LEVELS, NONE, READ, WRITE, collection_level, database_level
from aqlite.services.users import Users, verify_password
from aqlite.storage.store import Store

PLACE = "rights"
ROOT = {"authorization": "Basic " + b64encode(f"root:{PASSWORD}".encode()).decode()}
GUEST = {"authorization": "Basic " + b64encode(b"guest:g").decode()}

# What makes a route reach its collection: query parameters and bodies of the routes that need any.
QUERY = {
    "/_api/import": {"collection": "c", "type": "documents"},
    "/_api/index": {"collection": "c"},
    "/_api/document": {"collection": "c"},
    "/_api/edges/{collection}": {"vertex": "c/a"},
}
BODIES = {
    ("POST", "/_api/cursor"): {"query": "RETURN 1"},
    ("POST", "/_api/query"): {"query": "RETURN 1"},
    ("POST", "/_api/explain"): {"query": "RETURN 1"},
    ("POST", "/_api/index"): {"type": "persistent", "fields": ["x"]},
    ("POST", "/_api/collection"): {"name": "new"},
    ("POST", "/_api/gharial"): {"name": "new"},
    ("PUT", "/_api/collection/{name}/rename"): {"name": "renamed"},
    ("PUT", "/_api/user/{user}/database/{name}"): {"grant": "none"},
    ("PUT", "/_api/user/{user}/database/{name}/{collection}"): {"grant": "none"},
    ("POST", "/_api/user"): {"user": "new"},
    ("POST", "/_api/token/{user}"): {},
    ("POST", "/_api/transaction/begin"): {"collections": {}},
    ("POST", "/_api/gharial/{graph}/edge/{collection}"): {"_from": "v/a", "_to": "v/a"},
}
ARRAYS = {("PATCH", "/_api/document/{collection}"), ("PUT", "/_api/document/{collection}")}
ARRAYS |= {("DELETE", "/_api/document/{collection}")}


def collection_of(endpoint: Endpoint) -> str:
    """The collection of the fixture that fits the route."""
    return "e" if "/edge" in endpoint.path else "c"


def url_of(endpoint: Endpoint, collection: str) -> str:
    values = {"collection": collection, "key": "a", "graph": "g", "user": "other", "id": "99", "batch": "1"}
    values["name"] = PLACE if "database" in endpoint.path else collection
    return endpoint.path.format(**values)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A server of its own, whose database ``rights`` is put right again by ``restore``."""
    server = ServerProcess(tmp_path_factory.mktemp("rights") / "data")
    system = server.database()
    system.create_database(PLACE)
    system.create_user("guest", "g")
    system.create_user("other", "o")
    yield server
    assert server.stop() == 0
    assert "Traceback" not in server.log()


class Session:
    """Requests to one server, on kept connections."""

    def __init__(self, server: ServerProcess) -> None:
        self._base, self._session = server.url, requests.Session()

    def __call__(self, method: str, path: str, headers: dict[str, str] = ROOT, **options) -> requests.Response:
        return self._session.request(method, f"{self._base}{path}", headers=headers, timeout=20, **options)

    def in_place(self, method: str, path: str, headers: dict[str, str] = ROOT, **options) -> requests.Response:
        return self(method, f"/_db/{PLACE}{path}", headers, **options)

    def grant(self, level: str | None, *place: str) -> None:
        path = "/".join(("/_api/user/guest/database", *place))
        answer = self("DELETE", path) if level is None else self("PUT", path, json={"grant": level})
        assert answer.ok, answer.text

    def restore(self) -> None:
        """Collections ``c``, ``v`` and ``e`` with one document each, and the graph ``g`` over ``v`` and ``e``."""
        self("POST", "/_api/database", json={"name": PLACE})
        for name in ("new", "renamed"):
            self.in_place("DELETE", f"/_api/collection/{name}")
            self.in_place("DELETE", f"/_api/gharial/{name}")
        edges = {"collection": "e", "from": ["v"], "to": ["v"]}
        graph = {"name": "g", "edgeDefinitions": [edges], "orphanCollections": ["c"]}
        for name, kind in (("c", 2), ("v", 2), ("e", 3)):
            self.in_place("POST", "/_api/collection", json={"name": name, "type": kind})
            document = {"_key": "a", "_from": "v/a", "_to": "v/a"}
            self.in_place("POST", f"/_api/document/{name}?overwriteMode=ignore", json=document)
        self.in_place("DELETE", "/_api/gharial/g")
        assert self.in_place("POST", "/_api/gharial", json=graph).ok


@pytest.fixture(scope="module")
def session(place):
    return Session(place)


def forbidden(answer: requests.Response) -> bool:
    return answer.status_code in (401, 403) and answer.json()["errorNum"] in (11, 1230)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_every_route_wants_exactly_the_levels_it_declares(session, endpoint):
    collection = collection_of(endpoint)
    session.restore()
    session.grant(None, "_system")
    body = [] if (endpoint.method, endpoint.path) in ARRAYS else BODIES.get((endpoint.method, endpoint.path), {})
    for database, level in itertools.product(LEVELS, LEVELS):
        session.grant(database, PLACE)
        session.grant(level, PLACE, collection)
        need = endpoint.need
        allowed = not need.login or (
            not need.server
            and LEVELS.index(database) >= LEVELS.index(need.database)
            and LEVELS.index(level) >= LEVELS.index(need.collection)
        )
        answer = session.in_place(
            endpoint.method, url_of(endpoint, collection), GUEST, params=QUERY.get(endpoint.path), json=body
        )
        assert forbidden(answer) != allowed, (database, level, answer.status_code, answer.text)
        if answer.ok and endpoint.method not in ("GET", "HEAD"):
            session.restore()


def test_nobody_needs_no_login_but_where_it_is_said(session):
    for endpoint in ENDPOINTS:
        answer = session.in_place(endpoint.method, url_of(endpoint, "c"), {}, json={})
        assert (answer.status_code == 401 and answer.json()["errorNum"] == 11) == endpoint.need.login, endpoint


def test_administrators_need_write_access_to_the_system_database(session):
    for level, status in ((None, 403), ("ro", 403), ("rw", 200)):
        session.grant(level, "_system")
        assert session("GET", "/_api/user", GUEST).status_code == (401 if level is None else status) or level is None
        assert forbidden(session("GET", "/_api/user", GUEST)) == (status == 403)
    session.grant(None, "_system")


def test_users_look_after_themselves(session):
    session.grant(None, PLACE)
    assert session("GET", "/_api/user/guest", GUEST).json()["user"] == "guest"
    assert session("GET", "/_api/user/guest/database", GUEST).json()["result"] == {}
    assert session("PATCH", "/_api/user/guest", GUEST, json={"extra": {"a": 1}}).ok
    assert forbidden(session("GET", "/_api/user/other", GUEST))
    assert forbidden(session("PUT", "/_api/user/guest/database/_system", GUEST, json={"grant": "rw"}))


def test_a_collection_is_the_same_by_its_id(session):
    session.restore()
    session.grant("rw", PLACE)
    session.grant("none", PLACE, "c")
    number = session.in_place("GET", "/_api/collection/c").json()["id"]
    count = session.in_place("GET", "/_api/collection/c/count").json()["count"]
    for name in ("c", number):
        for method, path in (
            ("GET", f"/_api/document/{name}/a"),
            ("GET", f"/_api/collection/{name}"),
            ("POST", f"/_api/document/{name}"),
            ("DELETE", f"/_api/collection/{name}"),
            ("PUT", f"/_api/collection/{name}/truncate"),
            ("PUT", f"/_api/collection/{name}/rename"),
            ("PUT", f"/_api/collection/{name}/properties"),
            ("GET", f"/_api/index?collection={name}"),
            ("POST", f"/_api/index?collection={name}"),
            ("POST", f"/_api/import?type=list&collection={name}"),
        ):
            body = {"name": "renamed", "type": "persistent", "fields": ["x"]} if "import" not in path else []
            assert forbidden(session.in_place(method, path, GUEST, json=body)), (method, path)
    assert session.in_place("GET", "/_api/collection/c/count").json()["count"] == count > 0


def test_queries_see_no_hidden_collection(session):
    session.restore()
    session.grant("rw", PLACE)
    session.grant("none", PLACE, "c")
    session.grant("ro", PLACE, "e")

    def run(query: str) -> requests.Response:
        return session.in_place("POST", "/_api/cursor", GUEST, json={"query": query})

    visible = run("RETURN COLLECTIONS()[*].name").json()["result"][0]
    assert "c" not in visible
    assert {"e", "v"} <= set(visible)
    listed = session.in_place("GET", "/_api/collection", GUEST).json()["result"]
    assert "c" not in {entry["name"] for entry in listed}
    for query in (
        "FOR d IN c RETURN d",
        "RETURN LENGTH(c)",
        "RETURN DOCUMENT('c/a')",
        "RETURN COLLECTION_COUNT('c')",
        "INSERT {} INTO c",
        "INSERT {_from: 'v/a', _to: 'v/a'} INTO e",
        "FOR x IN 1..1 ANY 'v/a' GRAPH 'g' RETURN x",
    ):
        assert forbidden(run(query)), query
    assert run("FOR d IN e RETURN d").ok


def test_grants_follow_their_collection(session):
    session.restore()
    session.grant("rw", PLACE)
    session.grant("none", PLACE, "c")
    assert session.in_place("DELETE", "/_api/gharial/g").ok
    assert session.in_place("PUT", "/_api/collection/c/rename", json={"name": "renamed"}).ok
    assert forbidden(session.in_place("GET", "/_api/document/renamed/a", GUEST))
    assert session.in_place("DELETE", "/_api/collection/renamed").ok
    assert session.in_place("POST", "/_api/collection", GUEST, json={"name": "renamed"}).ok
    session.grant("ro", PLACE)
    assert session.in_place("POST", "/_api/document/renamed", GUEST, json={}).ok, "its creator may write it"
    assert session.in_place("GET", "/_api/collection", GUEST).ok


def test_an_unknown_database_is_only_known_to_who_may_know(session):
    session.grant(None, "_system")
    answer = session("GET", "/_db/nowhere/_api/collection", GUEST)
    assert (answer.status_code, answer.json()["errorNum"]) == (401, 11)
    answer = session("GET", "/_db/nowhere/_api/collection")
    assert (answer.status_code, answer.json()["errorNum"]) == (404, 1228)


# --- how levels come about ------------------------------------------------------------------------------------
JOHN = {"*": {"": READ, "*": WRITE}, "shop1": {"products": READ, "*": NONE}, "shop2": {"*": READ}}


@pytest.mark.parametrize(
    ("grants", "database", "level"),
    [
        ({}, "foo", NONE),
        ({"foo": {"": READ}, "*": {"": WRITE}}, "foo", READ),
        ({"foo": {"": NONE}, "_system": {"": WRITE}}, "foo", NONE),
        ({"*": {"": READ}, "_system": {"": WRITE}}, "foo", WRITE),
        ({"*": {"": WRITE}, "_system": {"": READ}}, "foo", WRITE),
        ({"*": {"": WRITE}, "_system": {"": READ}}, "_system", READ),
        ({"foo": {"bar": WRITE}}, "foo", NONE),
        ({"foo": {"bar": WRITE}, "*": {"": READ}}, "foo", READ),
    ],
)
def test_levels_of_databases(grants, database, level):
    assert database_level(grants, database) == level


@pytest.mark.parametrize(
    ("grants", "collection", "level"),
    [
        ({}, "bar", NONE),
        ({"foo": {"": WRITE, "bar": NONE}, "*": {"": WRITE, "*": WRITE}}, "bar", NONE),
        ({"foo": {"": WRITE}}, "bar", WRITE),
        ({"foo": {"": READ, "*": WRITE}}, "bar", WRITE),
        ({"foo": {"": WRITE, "*": NONE}}, "bar", WRITE),
        ({"foo": {"": READ}, "*": {"*": WRITE}}, "bar", WRITE),
        ({"foo": {"": READ}, "_system": {"": WRITE}}, "bar", WRITE),
        ({"foo": {"": READ, "*": WRITE}}, "_graphs", READ),
        ({"foo": {"": WRITE}}, "_queues", READ),
        ({"foo": {"": WRITE}}, "_users", WRITE),
    ],
)
def test_levels_of_collections(grants, collection, level):
    assert collection_level(grants, "foo", collection) == level


def test_nobody_reads_the_users_collection():
    assert collection_level({"_system": {"": WRITE}}, "_system", "_users") == NONE


# --- passwords and grants that change meanwhile ---------------------------------------------------------------
@pytest.fixture
def store_users(tmp_path):
    store = Store(tmp_path / "data", lock_timeout=30)
    users = Users(store)
    users.create("ann", "old")
    yield users
    store.close()


def basic(password: str) -> str:
    return "Basic " + b64encode(f"ann:{password}".encode()).decode()


def test_an_old_password_stops_working_during_a_login(store_users, monkeypatch):
    def changed_meanwhile(password: str, stored: str) -> bool:
        right = verify_password(password, stored)
        monkeypatch.setattr(users_module, "verify_password", verify_password)
        store_users.change("ann", {"passwd": "new"}, replacing=False)
        return right

    monkeypatch.setattr(users_module, "verify_password", changed_meanwhile)
    with pytest.raises(users_module.ArangoError) as raised:
        store_users.authenticate(basic("old"))
    assert (raised.value.http, raised.value.error_num) == (401, 11)
    assert store_users.remembered(basic("old")) is None
    assert store_users.authenticate(basic("new")) == "ann"


def test_a_remembered_password_stops_working_at_once(store_users):
    assert store_users.authenticate(basic("old")) == "ann"
    assert store_users.remembered(basic("old")) == "ann"
    store_users.change("ann", {"passwd": "new"}, replacing=False)
    assert store_users.remembered(basic("old")) is None
    store_users.authenticate(basic("new"))
    store_users.change("ann", {"active": False}, replacing=False)
    assert store_users.remembered(basic("new")) is None


def test_concurrent_grants_lose_nothing(store_users):
    names = [f"c{number}" for number in range(24)]
    threads = [threading.Thread(target=store_users.grant, args=("ann", "d", name, READ)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store_users.get("ann").permissions["d"] == dict.fromkeys(names, READ)


def test_an_update_merges_extra_and_a_replacement_does_not(store_users):
    store_users.change("ann", {"extra": {"a": {"b": 1}, "c": 1}}, replacing=False)
    assert store_users.change("ann", {"extra": {"a": {"d": 2}}}, replacing=False).extra == {
        "a": {"b": 1, "d": 2},
        "c": 1,
    }
    assert store_users.change("ann", {"extra": {"e": 1}, "passwd": "x"}, replacing=True).extra == {"e": 1}


def test_the_published_table_is_the_table_of_routes():
    published = Path(__file__).parents[1] / "PERMISSIONS.md"
    assert published.read_text() == permissions_document(), "run: python -m aqlite.http.tables > PERMISSIONS.md"
