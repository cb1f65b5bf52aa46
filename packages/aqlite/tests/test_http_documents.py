"""Collections, documents, import and indexes, through python-arango."""

from __future__ import annotations

import pytest
import requests
from arango.exceptions import (
    ArangoServerError,
    CollectionCreateError,
    CollectionDeleteError,
    CollectionPropertiesError,
    CollectionRenameError,
    DocumentGetError,
    DocumentInsertError,
    DocumentParseError,
    DocumentReplaceError,
    DocumentRevisionError,
    DocumentUpdateError,
    IndexCreateError,
    IndexDeleteError,
)
from server_process import PASSWORD


@pytest.fixture
def col(db, request):
    """An empty collection."""
    name = request.node.originalname[:60]
    yield db.create_collection(name)
    db.delete_collection(name, ignore_missing=True)


def errors(raised: pytest.ExceptionInfo[ArangoServerError]) -> tuple[int, int]:
    return raised.value.http_code, raised.value.error_code


# --- collections ----------------------------------------------------------------------------------------------
def test_collection_life(db):
    col = db.create_collection("life", sync=True, key_generator="autoincrement", key_increment=2, key_offset=5)
    properties = col.properties()
    assert properties["sync"] is True
    assert properties["key_options"]["key_increment"] == 2
    assert not properties["edge"]
    assert properties["status_string"] == "loaded"
    assert [col.insert({})["_key"] for _ in range(2)] == ["5", "7"]
    assert col.configure(sync=False)["sync"] is False
    assert db.has_collection("life")
    assert not db.has_collection("nothing")
    before = col.revision()
    assert col.checksum() != "0"
    assert col.load()
    assert col.unload()
    assert col.load_indexes()
    assert col.statistics()["indexes"]["count"] == 1
    assert col.count() == len(col) == 2
    assert col.recalculate_count()
    assert col.compact()["name"] == "life"
    col.insert({})
    assert col.revision() != before
    assert col.truncate()
    assert col.count() == 0
    assert col.rename("life2")
    assert col.name == "life2"
    with pytest.raises(CollectionRenameError) as raised:
        col.rename("_no")
    assert errors(raised) == (400, 1208)
    assert db.delete_collection("life2")
    assert db.delete_collection("life2", ignore_missing=True) is False
    with pytest.raises(CollectionDeleteError) as raised:
        db.delete_collection("life2")
    assert errors(raised) == (404, 1203)
    with pytest.raises(CollectionPropertiesError) as raised:
        col.properties()
    assert errors(raised) == (404, 1203)


def test_edge_and_system_collections(db):
    assert db.create_collection("links", edge=True).properties()["edge"]
    assert db.create_collection("_mine", system=True).properties()["system"]
    listed = {c["name"]: c for c in db.collections()}
    assert listed["links"]["type"] == "edge"
    assert listed["_graphs"]["system"]
    with pytest.raises(CollectionDeleteError) as raised:
        db.delete_collection("_mine")
    assert errors(raised) == (403, 11)
    assert db.delete_collection("_mine", system=True)
    assert db.delete_collection("links")


@pytest.mark.parametrize("name", ["", "1", " a", "a ", "a/b", ".a", "_x", "x" * 257, "ä" * 129, "a\n", "a\u0308"])
def test_illegal_collection_names(db, name):
    with pytest.raises(CollectionCreateError) as raised:
        db.create_collection(name)
    assert errors(raised) == (400, 1208)


def test_refused_collection_options(db):
    db.create_collection("once")
    with pytest.raises(CollectionCreateError) as raised:
        db.create_collection("once")
    assert errors(raised) == (409, 1207)
    with pytest.raises(CollectionCreateError, match="not supported by aqlite"):
        db.create_collection("strict", schema={"rule": {}, "level": "strict"})
    with pytest.raises(CollectionCreateError) as raised:
        db.create_collection("strict", key_generator="nope")
    assert errors(raised) == (400, 1232)
    assert db.delete_collection("once")


# --- single documents -----------------------------------------------------------------------------------------
def test_insert_get_has_delete(col):
    meta = col.insert({"_key": "a", "x": [1, {"y": None}]}, return_new=True, sync=True)
    assert meta["new"] == {"_key": "a", "_id": meta["_id"], "_rev": meta["_rev"], "x": [1, {"y": None}]}
    assert meta["_id"] == f"{col.name}/a"
    assert col.get("a") == col.get(meta["_id"]) == col.get({"_key": "a"}) == meta["new"]
    assert "a" in col
    assert col.has("a")
    assert col.has({"_key": "a"}, rev=meta["_rev"])
    assert not col.has("b")
    assert col.get("b") is None
    assert col.insert({"_key": "silent"}, silent=True) is True
    with pytest.raises(DocumentRevisionError) as raised:
        col.get({"_key": "a", "_rev": "_wrong"})
    assert errors(raised) == (412, 1200)
    assert col.get({"_key": "a", "_rev": "_wrong"}, check_rev=False)
    assert col.delete("a", return_old=True)["old"]["x"] == [1, {"y": None}]
    assert col.delete("a", ignore_missing=True) is False
    with pytest.raises(ArangoServerError) as raised:
        col.delete("a")
    assert errors(raised) == (404, 1202)
    with pytest.raises(DocumentParseError):
        col.get("other/a")


def test_a_known_revision_is_not_sent_again(server, db, col):
    rev = col.insert({"_key": "a"})["_rev"]
    url = f"{server.url}/_db/{db.name}/_api/document/{col.name}/a"
    for value, status in ((f'"{rev}"', 304), (rev, 304), ('"_other"', 200)):
        answer = requests.get(url, headers={"if-none-match": value}, auth=("root", PASSWORD), timeout=10)
        assert answer.status_code == status
        assert answer.headers["etag"] == f'"{rev}"'
    answer = requests.head(url, auth=("root", PASSWORD), timeout=10)
    assert (answer.status_code, answer.content) == (200, b"")
    answer = requests.head(url + "z", auth=("root", PASSWORD), timeout=10)
    assert answer.status_code == 404


def test_insert_conflicts_and_overwrites(col):
    first = col.insert({"_key": "a", "x": 1})
    with pytest.raises(DocumentInsertError, match="conflicting key: a") as raised:
        col.insert({"_key": "a"})
    assert errors(raised) == (409, 1210)
    second = col.insert({"_key": "a", "y": 2}, overwrite=True, return_old=True, return_new=True)
    assert second["_old_rev"] == first["_rev"]
    assert second["old"]["x"] == 1
    assert "x" not in second["new"]
    third = col.insert({"_key": "a", "z": None}, overwrite_mode="update", keep_none=False, return_new=True)
    assert third["new"]["y"] == 2
    assert "z" not in third["new"]
    ignored = col.insert({"_key": "a", "y": 9}, overwrite_mode="ignore")
    assert ignored["_rev"] == third["_rev"]
    assert col.get("a")["y"] == 2
    with pytest.raises(DocumentInsertError) as raised:
        col.insert({"_key": "a"}, overwrite_mode="wrong")
    assert errors(raised) == (400, 10)


@pytest.mark.parametrize("key", ["", "a/b", "ä", "a b", "x" * 255, 7, None])
def test_illegal_keys(col, key):
    with pytest.raises(DocumentInsertError) as raised:
        col.insert({"_key": key})
    assert errors(raised) == (400, 1221)


def test_keys_with_every_legal_character(col):
    for key in ("a_-:.@()+,=;$!*'", "x" * 254, "0", "_"):
        col.insert({"_key": key, "k": key})
        assert col.get(key)["k"] == key
        assert col.update({"_key": key, "u": 1}, return_new=True)["new"]["u"] == 1


def test_update_and_replace(col):
    rev = col.insert({"_key": "a", "o": {"a": 1}, "x": 1})["_rev"]
    updated = col.update({"_key": "a", "_rev": rev, "o": {"b": None}}, return_new=True, return_old=True)
    assert updated["new"]["o"] == {"a": 1, "b": None}
    assert updated["old"]["o"] == {"a": 1}
    assert updated["_old_rev"] == rev
    with pytest.raises(DocumentRevisionError) as raised:
        col.update({"_key": "a", "_rev": rev})
    assert errors(raised) == (412, 1200)
    assert col.update({"_key": "a", "_rev": rev}, check_rev=False)
    assert col.update({"_key": "a", "o": {"c": 1}}, merge=False, return_new=True)["new"]["o"] == {"c": 1}
    assert "x" not in col.update({"_key": "a", "x": None}, keep_none=False, return_new=True)["new"]
    assert col.update({"_key": "a", "x": 5}, silent=True) is True
    replaced = col.replace({"_key": "a", "y": 1}, return_new=True)
    assert set(replaced["new"]) == {"_key", "_id", "_rev", "y"}
    with pytest.raises(DocumentRevisionError):
        col.replace({"_key": "a", "_rev": rev})
    for error, write in ((DocumentUpdateError, col.update), (DocumentReplaceError, col.replace)):
        with pytest.raises(error) as raised:
            write({"_key": "missing"})
        assert errors(raised) == (404, 1202)


def test_edges_need_ends(db):
    edges = db.create_collection("needy", edge=True)
    for edge in ({}, {"_from": "a/b"}, {"_from": "a/b", "_to": "c"}, {"_from": 1, "_to": 2}):
        with pytest.raises(DocumentInsertError) as raised:
            edges.insert(edge)
        assert errors(raised) == (400, 1233)
    assert edges.insert({"_from": "a/b", "_to": "c/d"})
    db.delete_collection("needy")


# --- many documents -------------------------------------------------------------------------------------------
def test_insert_many_reports_each(col):
    results = col.insert_many([{"_key": "a"}, {"_key": "a"}, {"_key": "b/c"}, {"_key": "d"}], return_new=True)
    assert [getattr(r, "error_code", None) for r in results] == [None, 1210, 1221, None]
    assert results[0]["new"]["_key"] == "a"
    assert col.count() == 2
    assert col.insert_many([{"_key": "e"}], silent=True) is True
    again = col.insert_many([{"_key": "a", "n": 1}, {"_key": "z"}], overwrite_mode="replace", return_old=True)
    assert again[0]["old"]["_key"] == "a"
    assert "old" not in again[1]


def test_update_replace_delete_get_many(col):
    col.insert_many([{"_key": str(n), "n": n, "o": {"a": n}} for n in range(5)])
    updated = col.update_many([{"_key": "0", "o": {"b": 1}}, {"_key": "nope"}], return_new=True)
    assert updated[0]["new"]["o"] == {"a": 0, "b": 1}
    assert updated[1].error_code == 1202
    replaced = col.replace_many([{"_key": "1", "x": 1}, {"_key": "2", "_rev": "_old", "x": 1}], check_rev=True)
    assert replaced[0]["_key"] == "1"
    assert replaced[1].error_code == 1200
    assert "n" not in col.get("1")
    assert col.get("2")["n"] == 2
    found = col.get_many(["0", {"_key": "1"}, f"{col.name}/2", "gone"])
    assert [d["_key"] for d in found] == ["0", "1", "2"]
    deleted = col.delete_many(["0", {"_key": "1"}, "gone"], return_old=True)
    assert deleted[0]["old"]["n"] == 0
    assert deleted[2].error_code == 1202
    assert col.count() == 3


def test_find_and_match(col):
    col.insert_many([{"_key": str(n), "n": n % 3, "d": {"e": n}} for n in range(9)])
    assert sorted(d["_key"] for d in col.find({"n": 1})) == ["1", "4", "7"]
    assert [d["_key"] for d in col.find({"d.e": 5})] == ["5"]
    assert len(list(col.find({"n": 1}, skip=1, limit=1))) == 1
    assert len(list(col.all())) == 9
    assert len(list(col.all(skip=7, limit=10))) == 2
    assert sorted(col.keys()) == [str(n) for n in range(9)]
    assert sorted(col.ids()) == [f"{col.name}/{n}" for n in range(9)]
    assert col.random()["_key"] in "012345678"
    assert col.update_match({"n": 1}, {"hit": True}) == 3
    assert col.replace_match({"n": 2}, {"n": 20}) == 3
    assert col.delete_match({"n": 0}, limit=2) == 2
    assert col.count() == 7


# --- import ---------------------------------------------------------------------------------------------------
def test_import_counts_and_details(col):
    result = col.import_bulk(
        [{"_key": "a"}, {"_key": "a"}, {"_key": "b/c"}, {"x": 1}, {"_key": 5}], details=True, halt_on_error=False
    )
    assert (result["created"], result["errors"], result["empty"]) == (2, 3, 0)
    assert len(result["details"]) == 3
    assert "unique constraint violated" in result["details"][0]
    assert "at position 2" in result["details"][0]


@pytest.mark.parametrize(
    ("mode", "expected", "stored"),
    [
        ("error", ("errors", 1), {"x": 1}),
        ("update", ("updated", 1), {"x": 1, "y": 2}),
        ("replace", ("updated", 1), {"y": 2}),
        ("ignore", ("ignored", 1), {"x": 1}),
    ],
)
def test_import_on_duplicate(col, mode, expected, stored):
    col.insert({"_key": "a", "x": 1})
    result = col.import_bulk([{"_key": "a", "y": 2}, {"_key": "b"}], on_duplicate=mode, halt_on_error=False)
    assert result["created"] == 1
    assert result[expected[0]] == expected[1]
    assert {name: value for name, value in col.get("a").items() if name[0] != "_"} == stored


def test_import_all_or_nothing_overwrite_and_batches(col):
    with pytest.raises(DocumentInsertError) as raised:
        col.import_bulk([{"_key": "a"}, {"_key": "a"}], halt_on_error=True)
    assert errors(raised) == (409, 1210)
    assert col.count() == 0
    col.insert({"_key": "old"})
    assert col.import_bulk([{"_key": str(n)} for n in range(10)], overwrite=True)["created"] == 10
    assert not col.has("old")
    assert sum(r["created"] for r in col.import_bulk([{} for _ in range(7)], batch_size=3)) == 7
    assert col.count() == 17


def test_import_of_edges_with_prefixes(db):
    edges = db.create_collection("prefixed", edge=True)
    edges.import_bulk([{"_from": "a", "_to": "b"}], from_prefix="left", to_prefix="right/")
    (edge,) = edges.all()
    assert (edge["_from"], edge["_to"]) == ("left/a", "right/b")
    db.delete_collection("prefixed")


def test_import_of_lines_and_tables(server, db, col):
    url = f"{server.url}/_db/{db.name}/_api/import"

    def load(body: bytes, **params: str) -> dict:
        answer = requests.post(
            url, params={"collection": col.name, **params}, data=body, auth=("root", PASSWORD), timeout=10
        )
        return answer.json()

    lines = load(b'{"_key": "l1"}\n\n{"_key": "l2"}\nbroken\n', type="documents", details="true")
    assert (lines["created"], lines["empty"], lines["errors"]) == (2, 1, 1)
    table = load(b'["_key", "x"]\n["t1", 1]\n["t2", 2]\n["short"]\n')
    assert (table["created"], table["errors"]) == (2, 1)
    assert col.get("t2")["x"] == 2
    assert load(b'[{"_key": "auto"}]', type="auto")["created"] == 1
    assert load(b"{}", type="wrong")["errorNum"] == 400
    assert load(b'{"a": 1}', type="list")["errorNum"] == 400
    assert load(b"[]", type="list", onDuplicate="wrong")["errorNum"] == 400
    assert load(b"no table")["errorNum"] == 400


# --- indexes --------------------------------------------------------------------------------------------------
def test_indexes(col):
    primary = col.indexes()
    assert [(i["type"], i["fields"]) for i in primary] == [("primary", ["_key"])]
    made = col.add_index({"type": "persistent", "fields": ["a", "b.c"], "unique": True, "sparse": True, "name": "ab"})
    assert made["isNewlyCreated"]
    again = col.add_index({"type": "persistent", "fields": ["a", "b.c"], "unique": True, "sparse": True})
    assert (again["id"], again["isNewlyCreated"]) == (made["id"], False)
    assert col.get_index(made["id"])["name"] == "ab"
    ttl = col.add_index({"type": "ttl", "fields": ["at"], "expireAfter": 60})
    assert ttl["expireAfter"] == 60
    assert [i["type"] for i in col.indexes(with_stats=True)] == ["primary", "persistent", "ttl"]
    col.insert({"a": 1, "b": {"c": 2}})
    with pytest.raises(DocumentInsertError, match=r"in index ab of type persistent over 'a, b\.c'"):
        col.insert({"a": 1, "b": {"c": 2}})
    assert col.delete_index("ab")
    assert col.delete_index("ab", ignore_missing=True) is False
    with pytest.raises(IndexDeleteError) as raised:
        col.delete_index("ab")
    assert errors(raised) == (404, 1212)
    with pytest.raises(IndexDeleteError) as raised:
        col.delete_index("0")
    assert errors(raised) == (403, 11)


def test_vector_index(col):
    params = {"metric": "cosine", "dimension": 3, "nLists": 2}
    waiting = col.add_index({"type": "vector", "fields": ["v"], "params": params}, formatter=True)
    assert waiting["training_state"] == "unusable"
    assert waiting["error_message"]
    col.insert_many([{"v": [1, 0, 0]}, {"v": [0, 1, 0]}, {"v": [0, 0, 1.5]}])
    ready = col.get_index(waiting["id"])
    assert ready["training_state"] == "ready"
    assert ready["params"] == {**params, "defaultNProbe": 1, "trainingIterations": 25}
    assert col.insert_many([{"v": [1, 2]}])[0].error_code == 10


@pytest.mark.parametrize(
    ("definition", "number"),
    [
        ({"type": "persistent", "fields": []}, 10),
        ({"type": "persistent", "fields": "a"}, 10),
        ({"type": "persistent", "fields": ["a", "a"]}, 10),
        ({"type": "persistent", "fields": ["a."]}, 1220),
        ({"type": "persistent", "fields": [5]}, 1220),
        ({"type": "nope", "fields": ["a"]}, 10),
        ({"type": ["persistent"], "fields": ["a"]}, 10),
        ({"type": "fulltext", "fields": ["a"]}, 501),
        ({"type": "geo", "fields": ["a"]}, 501),
        ({"type": "persistent", "fields": ["a"], "name": "a/b"}, 1208),
        ({"type": "ttl", "fields": ["a"]}, 10),
        ({"type": "ttl", "fields": ["a", "b"], "expireAfter": 1}, 10),
        ({"type": "vector", "fields": ["a"]}, 10),
        ({"type": "vector", "fields": ["a"], "params": {"metric": "x", "dimension": 2, "nLists": 1}}, 10),
        ({"type": "vector", "fields": ["a"], "params": {"metric": "l2", "dimension": 0, "nLists": 1}}, 10),
        ({"type": "vector", "fields": ["a"], "params": {"metric": "l2", "dimension": 2.5, "nLists": 1}}, 10),
        ({"type": "vector", "fields": ["a"], "params": {"metric": "l2", "dimension": 2, "nLists": True}}, 10),
        ({"type": "vector", "fields": ["a"], "params": {"metric": "l2", "dimension": 2, "nLists": 1, "x": 1}}, 10),
    ],
)
def test_refused_index_definitions(col, definition, number):
    with pytest.raises(IndexCreateError) as raised:
        col.add_index(definition)
    assert raised.value.error_code == number
    assert raised.value.http_code in (400, 501)


def test_documents_of_missing_collections(db):
    with pytest.raises(DocumentInsertError) as raised:
        db.collection("missing").insert({})
    assert errors(raised) == (404, 1203)
    with pytest.raises(DocumentGetError) as raised:
        list(db.collection("missing").all())
    assert errors(raised) == (404, 1203)


def test_writes_of_versions_that_are_not_newer(col):
    first = col.insert({"_key": "a", "v": 5, "n": 0})["_rev"]
    for write in (
        lambda: col.update({"_key": "a", "v": 5, "n": 1}, version_attribute="v", return_new=True),
        lambda: col.replace({"_key": "a", "v": 4, "n": 1}, version_attribute="v", return_new=True),
        lambda: col.insert({"_key": "a", "v": 5.5}, overwrite_mode="update", version_attribute="v", return_new=True),
    ):
        answer = write()
        assert (answer["_rev"], answer.get("_old_rev", answer.get("_oldRev"))) == (first, first)
        assert answer["new"]["n"] == 0
    answer = col.update({"_key": "a", "v": 6, "n": 1}, version_attribute="v")
    assert answer["_old_rev"] == first != answer["_rev"]
