"""Documents in the store: keys, revisions, merging, edges, transactions, snapshots."""

from __future__ import annotations

from contextlib import suppress

import pytest

from aqlite.errors import ArangoError
from aqlite.storage import ddl
from aqlite.storage.cache import DocumentCache
from aqlite.storage.revisions import RevisionClock, revision_text


def number(error: pytest.ExceptionInfo[ArangoError]) -> int:
    return error.value.error_num


def test_insert_puts_system_attributes_first_and_reads_back(store):
    with store.write("_system") as view:
        stored = view.insert("c", {"x": [1, 2.5, None], "_key": "a", "_rev": "ignored", "_id": "ignored"}).new
        assert list(stored) == ["_key", "_id", "_rev", "x"]
        assert view.get("c", "a") == stored
    with store.read("_system") as view:
        assert view.get("c", "a") == stored
        assert stored["_id"] == "c/a"
        assert view.get("c", "b") is None
        assert view.get("c", "\ud800") is None
        assert view.count("c") == 1


@pytest.mark.parametrize("key", ["", "a/b", "a b", "ä", "x" * 255, "a\n", 5, None, ["a"], "a#", "a&", "a?"])
def test_illegal_keys_are_refused(store, key):
    with pytest.raises(ArangoError) as error, store.write("_system") as view:
        view.insert("c", {"_key": key})
    assert number(error) == 1221


@pytest.mark.parametrize("key", ["a", "x" * 254, "_-:.@()+,=;$!*'%", "0", "é".encode().hex()])
def test_legal_keys_are_taken(store, key):
    with store.write("_system") as view:
        assert view.insert("c", {"_key": key}).new["_key"] == key


def test_documents_must_be_objects(store):
    for wrong in ([], "a", 1, None, True):
        with pytest.raises(ArangoError) as error, store.write("_system") as view:
            view.insert("c", wrong)
        assert number(error) == 1227


def test_a_failed_block_leaves_nothing(store):
    def insert_twice() -> None:
        with store.write("_system") as view:
            view.insert("c", {"_key": "a"})
            view.insert("c", {"_key": "a"})

    with pytest.raises(ArangoError):
        insert_twice()
    with store.read("_system") as view:
        assert view.count("c") == 0
        assert list(view.scan("c")) == []


def test_duplicate_key_names_index_and_key(store):
    with store.write("_system") as view:
        view.insert("c", {"_key": "a"})
        with pytest.raises(ArangoError, match="index primary of type primary over '_key'; conflicting key: a") as error:
            view.insert("c", {"_key": "a"})
        assert number(error) == 1210
        assert error.value.http == 409


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("ignore", {"n": {"a": 1, "b": None}, "x": 1}),
        ("replace", {"n": {"c": 2, "d": None}}),
        ("update", {"n": {"a": 1, "b": None, "c": 2, "d": None}, "x": 1}),
    ],
)
def test_overwrite_modes(store, mode, expected):
    with store.write("_system") as view:
        old = view.insert("c", {"_key": "a", "n": {"a": 1, "b": None}, "x": 1}).new
        result = view.insert("c", {"_key": "a", "n": {"c": 2, "d": None}}, overwrite_mode=mode)
        assert result.ignored == (mode == "ignore")
        assert result.old == old
        found = view.get("c", "a")
        assert {name: value for name, value in found.items() if name[0] != "_"} == expected
        assert (found["_rev"] == old["_rev"]) == (mode == "ignore")
        assert view.count("c") == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"o": {"a": 1, "b": None}, "gone": None, "kept": 1}),
        ({"keep_null": False}, {"o": {"a": 1}, "kept": 1}),
        ({"merge_objects": False}, {"o": {"b": None}, "gone": None, "kept": 1}),
        ({"merge_objects": False, "keep_null": False}, {"o": {}, "kept": 1}),
    ],
)
def test_update_merges_as_asked(store, options, expected):
    with store.write("_system") as view:
        view.insert("c", {"_key": "a", "o": {"a": 1}, "gone": 2, "kept": 1})
        new = view.update("c", "a", {"o": {"b": None}, "gone": None, "_key": "other"}, **options).new
        assert {name: value for name, value in new.items() if name[0] != "_"} == expected
        assert new["_key"] == "a"


def test_writes_that_name_another_revision_conflict(store):
    with store.write("_system") as view:
        rev = view.insert("c", {"_key": "a"}).new["_rev"]
        newer = view.replace("c", "a", {"x": 1}, rev=rev).new["_rev"]
        assert newer != rev
        for write in (
            lambda: view.update("c", "a", {}, rev=rev),
            lambda: view.replace("c", "a", {}, rev=rev),
            lambda: view.remove("c", "a", rev=rev),
        ):
            with pytest.raises(ArangoError) as error:
                write()
            assert number(error) == 1200
        assert view.remove("c", "a", rev=newer).old["x"] == 1
        with pytest.raises(ArangoError) as error:
            view.remove("c", "a")
        assert number(error) == 1202


@pytest.mark.parametrize(
    "edge",
    [{}, {"_from": "c/a"}, {"_from": "c/a", "_to": "c"}, {"_from": "c/a", "_to": 1}, {"_from": "/a", "_to": "c/"}],
)
def test_edges_need_both_ends(store, edge):
    with pytest.raises(ArangoError) as error, store.write("_system") as view:
        view.insert("e", edge)
    assert number(error) == 1233


def test_edges_by_direction_come_once_and_follow_updates(store):
    with store.write("_system") as view:
        view.insert("e", {"_key": "ab", "_from": "c/a", "_to": "c/b"})
        view.insert("e", {"_key": "aa", "_from": "c/a", "_to": "c/a"})
        view.insert("e", {"_key": "ba", "_from": "c/b", "_to": "c/a"})

        def keys(direction: str) -> list[str]:
            return sorted(edge["_key"] for edge in view.edges("e", "c/a", direction))

        assert keys("outbound") == ["aa", "ab"]
        assert keys("inbound") == ["aa", "ba"]
        assert keys("any") == ["aa", "ab", "ba"]
        view.update("e", "ab", {"_from": "c/z"})
        view.remove("e", "aa")
        assert keys("any") == ["ba"]
        with pytest.raises(ArangoError) as error:
            view.edges("c", "c/a", "any")
        assert number(error) == 1237


def test_a_reader_keeps_its_snapshot_while_others_write(store):
    with store.write("_system") as view:
        view.insert("c", {"_key": "a", "x": 1})
    with store.read("_system") as before:
        assert before.get("c", "a")["x"] == 1
        with store.write("_system") as view:
            view.update("c", "a", {"x": 2})
            view.insert("c", {"_key": "b"})
            ddl.create_collection(view, "later", "document", {})
        assert before.get("c", "a")["x"] == 1
        assert [d["_key"] for d in before.scan("c")] == ["a"]
        assert before.count("c") == 1
        assert not before.has_collection("later")
    with store.read("_system") as after:
        assert after.get("c", "a")["x"] == 2
        assert after.count("c") == 2
        assert after.has_collection("later")


def test_a_scan_does_not_meet_the_rows_its_consumer_inserts(store):
    with store.write("_system") as view:
        for _ in range(3):
            view.insert("c", {})
        copies = [view.insert("c", {"of": document["_key"]}) for document in view.scan("c")]
        assert len(copies) == 3
        assert view.count("c") == 6


def test_uncommitted_changes_met_by_a_scan_never_reach_other_readers(store):
    with store.write("_system") as view:
        for number in range(100):
            view.insert("c", {"_key": f"k{number}", "state": "old"})
    store.shared.documents.clear()

    def change_all_while_scanning() -> None:
        with store.write("_system") as view:
            for position, _ in enumerate(view.scan("c")):
                if position == 0:
                    for number in range(100):
                        view.update("c", f"k{number}", {"state": "never committed"})
            raise ArangoError(4)

    with store.read("_system") as before:
        assert before.count("c") == 100
        with suppress(ArangoError):
            change_all_while_scanning()
        assert {document["state"] for document in before.scan("c")} == {"old"}
    with store.read("_system") as after:
        assert {document["state"] for document in after.scan("c")} == {"old"}


def test_an_abandoned_scan_releases_its_snapshot(store):
    with store.write("_system") as view:
        for _ in range(2000):
            view.insert("c", {})
    with store.read("_system") as view:
        next(view.scan("c"))
    with store.write("_system") as view:
        view.truncate("c")
    assert store._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    with store.read("_system") as view:
        assert view.count("c") == 0


def test_a_second_writer_waits_and_then_conflicts(store):
    with store.write("_system"):
        with pytest.raises(ArangoError, match="write lock") as error, store.write("_system", lock_timeout=0.01):
            pass
        assert number(error) == 1200


def test_all_or_nothing_undoes_only_its_block(store):
    with store.write("_system") as view:
        view.insert("c", {"_key": "kept"})
        with suppress(ArangoError), view.all_or_nothing():
            view.insert("c", {"_key": "undone"})
            view.insert("c", {"_key": "kept"})
        assert view.count("c") == 1
    with store.read("_system") as view:
        assert [d["_key"] for d in view.scan("c")] == ["kept"]
        assert view.count("c") == 1


def test_rename_changes_ids_and_keeps_documents(store):
    with store.write("_system") as view:
        view.insert("c", {"_key": "a"})
    with store.read("_system") as before:
        with store.write("_system") as view:
            ddl.rename_collection(view, "c", "renamed")
        assert [d["_id"] for d in before.scan("c")] == ["c/a"]
    with store.read("_system") as view:
        assert [d["_id"] for d in view.scan("renamed")] == ["renamed/a"]
        with pytest.raises(ArangoError) as error:
            view.collection("c")
        assert number(error) == 1203


@pytest.mark.parametrize("name", ["", "1a", "_a", "a/b", "x" * 257, None, 3])
def test_illegal_collection_names(store, name):
    with pytest.raises(ArangoError) as error, store.write("_system") as view:
        ddl.create_collection(view, name, "document", {})
    assert number(error) == 1208


@pytest.mark.parametrize("name", ["a b", "ä", "a;DROP TABLE meta", 'a"b'])
def test_extended_collection_names_are_names_and_nothing_else(store, name):
    with store.write("_system") as view:
        ddl.create_collection(view, name, "document", {})
        view.insert(name, {"_key": "k"})
    with store.read("_system") as view:
        assert [document["_id"] for document in view.scan(name)] == [f"{name}/k"]


@pytest.mark.parametrize("name", ["", "1a", "_a", "a/b", "x" * 129, "../a"])
def test_illegal_database_names(store, name):
    with pytest.raises(ArangoError) as error, store.write("_system") as view:
        ddl.create_database(view, name)
    assert number(error) == 1229


def test_databases_are_apart(store):
    with store.write("_system") as view:
        ddl.create_database(view, "other")
        view.insert("c", {"_key": "a"})
    with store.write("other") as view:
        ddl.create_collection(view, "c", "edge", {})
        assert view.count("c") == 0
    with store.write("_system") as view:
        ddl.drop_database(view, "other")
        assert view.count("c") == 1
    with pytest.raises(ArangoError) as error, store.read("other"):
        pass
    assert number(error) == 1228


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({"type": "autoincrement", "increment": 5, "offset": 10}, ["10", "15", "20"]),
        ({"type": "autoincrement", "increment": 1, "offset": 0}, ["1", "2", "3"]),
    ],
)
def test_autoincrement_keys(store, options, keys):
    with store.write("_system") as view:
        ddl.create_collection(view, "n", "document", {"keyOptions": options})
        assert [view.insert("n", {}).new["_key"] for _ in range(3)] == keys
        view.insert("n", {"_key": "100"})
        assert int(view.insert("n", {}).new["_key"]) > 100
        with pytest.raises(ArangoError) as error:
            view.insert("n", {"_key": "9" * 30})
        assert number(error) == 1221


def test_uuid_and_padded_keys_and_keys_by_users(store):
    with store.write("_system") as view:
        for kind, length in (("uuid", 36), ("padded", 16)):
            options = {"type": kind, "allowUserKeys": False}
            ddl.create_collection(view, kind, "document", {"keyOptions": options})
            keys = [view.insert(kind, {}).new["_key"] for _ in range(20)]
            assert {len(key) for key in keys} == {length}
            assert len(set(keys)) == 20
            with pytest.raises(ArangoError) as error:
                view.insert(kind, {"_key": "mine"})
            assert number(error) == 1222


def test_too_deep_documents_are_refused(store):
    deep: dict = {}
    for _ in range(300):
        deep = {"a": deep}
    with pytest.raises(ArangoError) as error, store.write("_system") as view:
        view.insert("c", deep)
    assert number(error) == 600


def test_the_cache_stays_below_its_bound():
    cache = DocumentCache(max_bytes=50_000)
    for revision in range(1000):
        cache.put(revision, {"n": revision}, 100)
        assert cache.size <= 50_000
    assert 0 < len(cache) < 100
    assert cache.get(999) == {"n": 999}
    assert cache.get(0) is None
    cache.discard(999)
    assert cache.get(999) is None
    cache.clear()
    assert cache.size == len(cache) == 0


def test_revisions_grow_and_differ_as_text():
    clock = RevisionClock(last=(1 << 62))
    values = [clock.next() for _ in range(5000)]
    assert values == sorted(set(values))
    assert values[0] > 1 << 62
    texts = {revision_text(value) for value in values}
    assert len(texts) == 5000
    assert all(text.isascii() and 1 <= len(text) <= 12 for text in texts)
