"""Version, authentication, users, permissions, databases, admin calls, background jobs, through python-arango."""

from __future__ import annotations

import time

import jwt
import pytest
import requests
from arango import ArangoClient
from arango.exceptions import (
    ArangoServerError,
    AsyncJobResultError,
    DatabaseCreateError,
    DatabaseDeleteError,
    DatabaseListError,
    ServerConnectionError,
    UserCreateError,
    UserDeleteError,
    UserGetError,
)
from server_process import PASSWORD, ServerProcess


def errors(raised: pytest.ExceptionInfo[ArangoServerError]) -> tuple[int, int]:
    return raised.value.http_code, raised.value.error_code


def test_version_and_admin_calls(system):
    assert system.version().startswith("3.12.")
    assert system.details()["server-version"] == system.version()
    assert system.status()["version"] == system.version()
    assert system.engine()["name"] == "rocksdb"
    assert system.role() == "SINGLE"
    assert system.mode() == "default"
    assert abs(system.time().timestamp() - time.time()) < 5
    assert system.check_availability() == "default"
    assert system.required_db_version().startswith("312")
    assert "traditional" in system.key_generators()
    assert system.views() == []
    assert system.echo()["requestType"] == "GET"
    assert system.echo({"a": 1})["requestBody"] == '{"a":1}'
    assert "uptime" in system.metrics()
    assert system.statistics()["enabled"]
    assert system.compact() == {}


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic !!!",
        "Basic cm9vdA==",
        "Bearer",
        "Bearer a.b.c",
        "Digest x",
        "Bearer " + jwt.encode({"preferred_username": "root", "iss": "arangodb", "exp": 2**31}, "wrong" * 8),
        "Bearer " + jwt.encode({"preferred_username": "root", "iss": "arangodb"}, "", algorithm="none"),
    ],
)
def test_wrong_credentials_are_refused(server, header):
    headers = {} if header is None else {"authorization": header}
    answer = requests.get(f"{server.url}/_api/version", headers=headers, timeout=10)
    assert answer.status_code == 401
    assert answer.json()["errorNum"] == 11
    assert "www-authenticate" in answer.headers


def test_wrong_password(server):
    for user, password in (("root", "wrong"), ("nobody", PASSWORD)):
        with pytest.raises(ServerConnectionError, match="bad username/password"):
            ArangoClient(hosts=server.url).db("_system", username=user, password=password, verify=True)


def test_json_web_tokens(server):
    db = ArangoClient(hosts=server.url).db("_system", username="root", password=PASSWORD, auth_method="jwt")
    assert db.version()
    for body in (b"", b"[]", b'{"username": 1}'):
        answer = requests.post(f"{server.url}/_open/auth", data=body, timeout=10)
        assert answer.status_code == 400
    answer = requests.post(f"{server.url}/_open/auth", json={"username": "root", "password": "x"}, timeout=10)
    assert answer.status_code == 401


def test_databases(system, server):
    assert system.create_database("made", users=[{"username": "maker", "password": "m", "extra": {"a": 1}}])
    try:
        assert system.has_database("made")
        assert "made" in system.databases()
        own = server.database("made", "maker", "m")
        assert own.properties()["name"] == "made"
        assert own.databases_accessible_to_user() == ["made"]
        assert own.create_collection("c").insert({"_key": "a"})
        with pytest.raises(DatabaseCreateError) as raised:
            system.create_database("made")
        assert errors(raised) == (409, 1207)
        with pytest.raises(DatabaseCreateError) as raised:
            own.create_database("other")
        assert errors(raised) == (403, 1230)
        with pytest.raises(ArangoServerError) as raised:
            server.database("_system", "maker", "m").collections()
        assert errors(raised) == (401, 11)
    finally:
        assert system.delete_database("made")
        system.delete_user("maker")
    with pytest.raises(DatabaseDeleteError) as raised:
        system.delete_database("made")
    assert errors(raised) == (404, 1228)
    assert system.delete_database("made", ignore_missing=True) is False
    with pytest.raises(ArangoServerError) as raised:
        server.database("made").collections()
    assert errors(raised) == (404, 1228)
    with pytest.raises(DatabaseDeleteError) as raised:
        system.delete_database("_system")
    assert errors(raised) == (403, 11)


@pytest.mark.parametrize("name", ["", "1a", "a/b", "a:b", "x" * 129, "ä" * 65, "_x", " a", "../up", "a\u0308"])
def test_illegal_database_names(system, name):
    with pytest.raises(DatabaseCreateError) as raised:
        system.create_database(name)
    assert errors(raised) == (400, 1229)


def test_users(system, server):
    created = system.create_user("ann", "secret", active=True, extra={"team": "x"})
    assert created == {"username": "ann", "active": True, "extra": {"team": "x"}}
    try:
        assert system.has_user("ann")
        assert {"ann", "root"} <= {user["username"] for user in system.users()}
        with pytest.raises(UserCreateError) as raised:
            system.create_user("ann")
        assert errors(raised) == (409, 1702)
        assert system.update_user("ann", extra={"team": "y"})["extra"] == {"team": "y"}
        assert system.user("ann")["extra"] == {"team": "y"}
        assert system.replace_user("ann", "new secret", active=True)["extra"] == {}
        system.update_permission("ann", "ro", "_system")
        assert server.database("_system", "ann", "new secret").version()
        system.update_user("ann", active=False)
        with pytest.raises(ArangoServerError) as raised:
            server.database("_system", "ann", "new secret").version()
        assert errors(raised) == (401, 11)
    finally:
        assert system.delete_user("ann")
    with pytest.raises(UserGetError) as raised:
        system.user("ann")
    assert errors(raised) == (404, 1703)
    assert system.delete_user("ann", ignore_missing=True) is False
    with pytest.raises(UserDeleteError) as raised:
        system.delete_user("root")
    assert errors(raised) == (403, 11)
    with pytest.raises(UserCreateError) as raised:
        system.create_user("")
    assert errors(raised) == (400, 1700)


def test_permissions_decide_what_a_user_may_do(system, server, db):
    for name in ("open", "closed", "readable"):
        db.create_collection(name).insert({"_key": "a"})
    system.create_user("guest", "g")
    try:
        place = db.name
        assert system.permission("guest", place) == "none"
        with pytest.raises(ArangoServerError) as raised:
            server.database(place, "guest", "g").collections()
        assert errors(raised) == (401, 11)
        assert system.update_permission("guest", "ro", place)
        assert system.update_permission("guest", "rw", place, "open")
        assert system.update_permission("guest", "none", place, "closed")
        assert system.permission("guest", place, "open") == "rw"
        assert system.permission("guest", place, "readable") == "ro"
        assert system.permissions("guest")[place]["collections"]["closed"] == "none"
        guest = server.database(place, "guest", "g")
        assert {"open", "readable"} == {c["name"] for c in guest.collections() if not c["system"]}
        assert guest.collection("open").insert({"_key": "b"})
        assert guest.collection("readable").get("a")
        assert list(guest.aql.execute("FOR d IN readable RETURN d._key")) == ["a"]
        for forbidden in (
            lambda: guest.collection("closed").get("a"),
            lambda: guest.collection("readable").insert({}),
            lambda: guest.create_collection("new"),
            lambda: guest.delete_collection("open"),
            lambda: guest.collection("readable").truncate(),
            lambda: guest.aql.execute("FOR d IN closed RETURN d"),
            lambda: guest.aql.execute("RETURN DOCUMENT('closed/a')"),
            lambda: guest.aql.execute("INSERT {} INTO readable"),
            lambda: guest.aql.execute("FOR d IN open INSERT {_key: d._key} INTO readable"),
            lambda: guest.begin_transaction(write="readable"),
        ):
            with pytest.raises(ArangoServerError) as raised:
                forbidden()
            assert errors(raised) == (403, 11)
        with pytest.raises(DatabaseListError):
            guest.databases()
        assert guest.user("guest")["username"] == "guest"
        with pytest.raises(UserGetError) as raised:
            guest.user("root")
        assert errors(raised) == (403, 11)
        assert system.reset_permission("guest", place, "closed")
        assert guest.collection("closed").get("a")
    finally:
        system.delete_user("guest")


def test_background_jobs(db):
    db.create_collection("jobs")
    background = db.begin_async_execution(return_result=True)
    good = background.collection("jobs").insert({"_key": "a"})
    bad = background.collection("missing").get("a")
    slow = background.aql.execute("RETURN SLEEP(0.3)")
    assert slow.status() == "pending"
    assert slow.id in db.async_jobs("pending")
    deadline = time.monotonic() + 10
    while slow.status() == "pending" and time.monotonic() < deadline:
        pass
    assert good.result()["_key"] == "a"
    with pytest.raises(ArangoServerError):
        bad.result()
    assert slow.id in db.async_jobs("done")
    assert len(slow.result().batch()) == 1
    with pytest.raises(AsyncJobResultError) as raised:
        slow.result()
    assert errors(raised) == (404, 404)
    quiet = db.begin_async_execution(return_result=False)
    assert quiet.collection("jobs").insert({"_key": "quiet"}) is None
    while not db.collection("jobs").has("quiet") and time.monotonic() < deadline:
        pass
    assert db.collection("jobs").has("quiet")
    background.collection("jobs").count()
    db.clear_async_jobs()
    db.clear_async_jobs(threshold=0)


def test_batches_of_document_calls(db):
    db.create_collection("batched")
    batch = db.begin_batch_execution(return_result=True, max_workers=2)
    jobs = [batch.collection("batched").insert({"_key": str(n)}) for n in range(10)]
    clash = batch.collection("batched").insert({"_key": "0"})
    batch.commit()
    assert [job.result()["_key"] for job in jobs] == [str(n) for n in range(10)]
    with pytest.raises(ArangoServerError) as raised:
        clash.result()
    assert errors(raised) == (409, 1210)


def test_what_is_left_out_says_so(db):
    for missing in (db.tasks, db.aql.functions, db.aql.cache.properties, db.foxx.services):
        with pytest.raises(ArangoServerError, match="not supported by aqlite") as raised:
            missing()
        assert raised.value.http_code == 501


def test_a_lost_root_password_is_replaced_and_the_data_stay(tmp_path):
    first = ServerProcess(tmp_path / "data", password="lost")
    first.database(password="lost").create_collection("kept")
    first.stop()
    second = ServerProcess(tmp_path / "data", password="found", options=("--set-root-password",))
    try:
        assert second.database(password="found").has_collection("kept")
        with pytest.raises(ServerConnectionError, match="bad username/password"):
            ArangoClient(hosts=second.url).db("_system", username="root", password="lost", verify=True)
    finally:
        second.stop()
    with pytest.raises(RuntimeError, match="to the root password, for the first start and for --set-root-password"):
        ServerProcess(tmp_path / "data", password=None, options=("--set-root-password",))
