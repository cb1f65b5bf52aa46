"""Vector columns and the vector index: exactness, recall, filters, changes, training."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from aqlite.errors import ArangoError
from aqlite.storage import ddl
from aqlite.storage.api import IndexInfo
from aqlite.storage.columns import read_column
from aqlite.storage.indexes import requested_index
from aqlite.storage.indexes.vector_lists import ListTables
from aqlite.storage.snapshot import Snapshot
from aqlite.storage.store import Store
from aqlite.storage.transaction import Transaction

WIDTH, COUNT = 16, 400


def vector_index(metric: str = "cosine", lists: int = 10, probes: int = 10, *, sparse: bool = False) -> IndexInfo:
    params = {
        "metric": metric,
        "dimension": WIDTH,
        "nLists": lists,
        "defaultNProbe": probes,
        "trainingIterations": 5,
    }
    return IndexInfo("", "v", "vector", (("v",),), sparse=sparse, params=params)


@pytest.fixture
def vectors(store: Store) -> np.ndarray:
    """Stored under keys ``0`` to ``COUNT - 1``."""
    drawn = np.random.default_rng(7).normal(size=(COUNT, WIDTH))
    with store.write("_system") as view:
        for position, row in enumerate(drawn.tolist()):
            view.insert("c", {"_key": str(position), "v": row, "even": position % 2 == 0})
    return drawn


def scores(vectors: np.ndarray, query: np.ndarray, metric: str) -> np.ndarray:
    if metric == "l2":
        return np.linalg.norm(vectors - query, axis=1)
    products = vectors @ query
    return products if metric == "innerProduct" else products / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)


def best(values: np.ndarray, metric: str, k: int) -> list[str]:
    order = np.argsort(values if metric == "l2" else -values)
    return [str(position) for position in order[:k]]


@pytest.mark.parametrize("metric", ["cosine", "l2", "innerProduct"])
def test_probing_every_list_is_exact_search(store, vectors, metric):
    query = np.random.default_rng(8).normal(size=WIDTH)
    expected = scores(vectors, query, metric)
    with store.write("_system") as view:
        index, _ = ddl.create_index(view, "c", vector_index(metric))
    with store.read("_system") as view:
        found = view.vector_search("c", index, query.tolist(), 7, None, None)
    assert [document["_key"] for document, _ in found] == best(expected, metric, 7)
    for document, score in found:
        assert score == pytest.approx(expected[int(document["_key"])], abs=1e-5)


def test_few_probes_find_most_neighbours(store, vectors):
    with store.write("_system") as view:
        index, _ = ddl.create_index(view, "c", vector_index(probes=1))
    hits = 0
    with store.read("_system") as view:
        for row in vectors[:20]:
            found = view.vector_search("c", index, row.tolist(), 1, None, None)
            hits += found[0][1] > 0.999
    assert hits == 20


def test_a_filter_leaves_the_nearest_that_pass(store, vectors):
    query = vectors[3]
    expected = [key for key in best(scores(vectors, query, "cosine"), "cosine", COUNT) if int(key) % 2 == 0][:5]
    with store.write("_system") as view:
        index, _ = ddl.create_index(view, "c", vector_index())
    with store.read("_system") as view:
        found = view.vector_search("c", index, query.tolist(), 5, None, lambda document: document["even"])
        nothing = view.vector_search("c", index, query.tolist(), 5, None, lambda document: False)
    assert [document["_key"] for document, _ in found] == expected
    assert nothing == []


def test_changes_show_at_once_and_only_in_their_own_view(store, vectors):
    target = (vectors[0] * 3).tolist()
    with store.write("_system") as view:
        index, _ = ddl.create_index(view, "c", vector_index())
    with store.read("_system") as before:
        assert before.vector_search("c", index, target, 1, None, None)[0][0]["_key"] == "0"
        with store.write("_system") as view:
            view.insert("c", {"_key": "new", "v": target})
            view.remove("c", "0")
            assert view.vector_search("c", index, target, 1, None, None)[0][0]["_key"] == "new"
            assert column_keys(view)[-1] == "new"
        assert before.vector_search("c", index, target, 1, None, None)[0][0]["_key"] == "0"
        assert column_keys(before)[0] == "0"
    with store.read("_system") as after:
        assert after.vector_search("c", index, target, 1, None, None)[0][0]["_key"] == "new"
        assert column_keys(after)[0] == "1"


def column_keys(view: Snapshot) -> list[str]:
    """Keys of the documents in the column of vectors, in its order."""
    column = view.vector_column("c", ("v",), WIDTH)
    rows = list(zip(column.rids.tolist(), column.revs.tolist(), strict=True))
    return [document["_key"] for document in view.documents_of("c", rows)]


def test_the_column_holds_rows_in_scan_order(store, vectors):
    with store.read("_system") as view:
        assert column_keys(view) == [document["_key"] for document in view.scan("c")]
        column = view.vector_column("c", ("v",), WIDTH)
        assert column.matrix.dtype == column.norms.dtype == np.float32
        assert column.others.shape == (0, 2)
        np.testing.assert_allclose(column.matrix, vectors, rtol=1e-6)
        np.testing.assert_allclose(column.norms, np.linalg.norm(vectors, axis=1), rtol=1e-6)
        assert len(view.vector_column("c", ("missing",), WIDTH).others) == COUNT
        assert len(view.vector_column("c", ("v",), WIDTH + 1).others) == COUNT
        assert view.vector_column("e", ("v",), WIDTH).matrix.shape == (0, WIDTH)


def assert_column_is_what_the_view_sees(view: Snapshot) -> None:
    """The cached column equals one that is read anew."""
    cached = view.vector_column("c", ("v",), WIDTH)
    fresh = read_column(view, view.find("c"), ("v",), WIDTH, None)
    for name in ("rids", "revs", "matrix", "norms", "others"):
        np.testing.assert_array_equal(getattr(cached, name), getattr(fresh, name))


def change_something(view: Transaction, random: np.random.Generator) -> None:
    value = random.choice(["vector", "vector", "null", "short"])
    stored = {"vector": random.normal(size=WIDTH).tolist(), "null": None, "short": [1.0]}[value]
    key = str(random.integers(COUNT))
    if view.get("c", key) is None:
        view.insert("c", {"_key": key, "v": stored})
    elif random.random() < 0.5:
        view.update("c", key, {"v": stored})
    else:
        view.remove("c", key)


def fail_after_a_change(view: Transaction, random: np.random.Generator) -> None:
    change_something(view, random)
    assert_column_is_what_the_view_sees(view)
    view.remove("c", "no such key")


def test_the_column_is_patched_and_every_view_sees_its_own_state(store, vectors, monkeypatch):
    random = np.random.default_rng(4)
    with store.read("_system") as view:
        assert_column_is_what_the_view_sees(view)
    read = Mock(side_effect=AssertionError("read anew"))
    monkeypatch.setattr("aqlite.storage.columns.read_column", read)
    for _ in range(10):
        with store.read("_system") as before:
            before.count("c")
            with store.write("_system") as view:
                for _ in range(random.integers(1, 6)):
                    change_something(view, random)
                assert_column_is_what_the_view_sees(view)
                with store.read("_system") as beside:
                    assert_column_is_what_the_view_sees(beside)
            with store.read("_system") as after:
                assert_column_is_what_the_view_sees(after)
            assert_column_is_what_the_view_sees(before)
        with store.write("_system") as view:
            for _ in range(2):
                with pytest.raises(ArangoError), view.all_or_nothing():
                    fail_after_a_change(view, random)
                assert_column_is_what_the_view_sees(view)


def test_the_column_follows_changes_too_large_to_remember(store, vectors, monkeypatch):
    monkeypatch.setattr("aqlite.storage.columns.MAX_LOGGED_ROWS", 5)
    for change in (
        lambda view: [view.update("c", str(n), {"v": None}) for n in range(9)],
        lambda view: view.truncate("c"),
    ):
        with store.read("_system") as view:
            assert_column_is_what_the_view_sees(view)
        with store.write("_system") as view:
            change(view)
            assert_column_is_what_the_view_sees(view)
        with store.read("_system") as view:
            assert_column_is_what_the_view_sees(view)


@pytest.mark.parametrize("odd", [None, [1.0], "text", [1.0] * (WIDTH - 1) + ["1"], [True] * WIDTH])
def test_documents_without_a_vector_stand_beside_the_column(store, vectors, odd):
    with store.write("_system") as view:
        view.replace("c", "7", {"v": odd})
    with store.read("_system") as view:
        column = view.vector_column("c", ("v",), WIDTH)
        assert len(column.rids) == COUNT - 1
        (other,) = view.documents_of("c", column.others.tolist())
        assert (other["_key"], other["v"]) == ("7", odd)
    with store.write("_system") as view:
        view.remove("c", "7")
    with store.read("_system") as view:
        assert len(view.vector_column("c", ("v",), WIDTH).others) == 0
        assert column_keys(view) == [str(number) for number in range(COUNT) if number != 7]


def test_the_index_refuses_documents_it_cannot_hold(store, vectors):
    with store.write("_system") as view:
        ddl.create_index(view, "c", vector_index())
        for wrong in ({}, {"v": None}, {"v": [1.0]}, {"v": ["a"] * WIDTH}, {"v": 1}):
            with pytest.raises(ArangoError, match="vector index 'v'") as error:
                view.insert("c", wrong)
            assert error.value.error_num == 10
        assert view.count("c") == COUNT


def test_a_sparse_index_skips_documents_without_a_vector(store, vectors):
    with store.write("_system") as view:
        view.insert("c", {"_key": "bare"})
        index, _ = ddl.create_index(view, "c", vector_index(sparse=True))
        view.insert("c", {"_key": "bare too", "v": None} | {"_key": "bare2"})
    with store.read("_system") as view:
        assert len(view.vector_search("c", index, vectors[0].tolist(), COUNT + 2, None, None)) == COUNT


def test_an_index_without_enough_vectors_trains_itself_later(store):
    drawn = np.random.default_rng(9).normal(size=(12, WIDTH)).tolist()
    with store.write("_system") as view:
        index, _ = ddl.create_index(view, "c", vector_index(lists=10))
    with store.write("_system") as view:
        for row in drawn[:9]:
            view.insert("c", {"v": row})
    with store.read("_system") as view:
        assert view.centroids(index) is None
        with pytest.raises(ArangoError, match="not trained") as error:
            view.vector_search("c", index, drawn[0], 1, None, None)
        assert error.value.error_num == 1554
    with store.write("_system") as view:
        for row in drawn[9:]:
            view.insert("c", {"v": row})
    with store.read("_system") as view:
        assert view.centroids(index) is not None
        assert view.vector_search("c", index, drawn[11], 1, None, None)[0][1] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("query", [[1.0], [], "text", ["a"] * WIDTH, None])
def test_queries_of_another_width_are_refused(store, vectors, query):
    with store.write("_system") as view:
        index, _ = ddl.create_index(view, "c", vector_index())
    with pytest.raises(ArangoError, match="16 numbers") as error, store.read("_system") as view:
        view.vector_search("c", index, query, 1, None, None)
    assert error.value.error_num == 10


def test_the_trained_index_survives_a_restart(store, vectors, tmp_path):
    with store.write("_system") as view:
        index, _ = ddl.create_index(view, "c", vector_index(probes=2))
    with store.read("_system") as view:
        before = [(d["_key"], s) for d, s in view.vector_search("c", index, vectors[5].tolist(), 9, None, None)]
    store.close()
    reopened = Store(tmp_path / "data")
    with reopened.read("_system") as view:
        after = [(d["_key"], s) for d, s in view.vector_search("c", index, vectors[5].tolist(), 9, None, None)]
    reopened.close()
    assert after == before


# --- the index's lists ----------------------------------------------------------------------------------------
def search_keys(view: Snapshot, index: IndexInfo, query: np.ndarray, k: int = 5) -> list[str]:
    return [document["_key"] for document, _ in view.vector_search("c", index, query.tolist(), k, None, None)]


def exact_keys(view: Snapshot, query: np.ndarray, k: int = 5) -> list[str]:
    """The nearest documents by cosine among those that hold a vector, computed from the documents themselves."""
    held = [d for d in view.scan("c") if isinstance(d.get("v"), list)]
    matrix = np.array([d["v"] for d in held]).reshape(-1, WIDTH)
    order = np.argsort(-(matrix @ query) / np.linalg.norm(matrix, axis=1), kind="stable")
    return [held[position]["_key"] for position in order[:k]]


def insert_and_fail(view: Transaction, random: np.random.Generator) -> None:
    view.insert("c", {"_key": "undone", "v": random.normal(size=WIDTH).tolist()})
    view.remove("c", "no such key")


@pytest.mark.parametrize("cache_bytes", [2**30, 20_000, 0])
def test_every_view_finds_its_own_neighbours_whatever_fits_the_cache(tmp_path, cache_bytes):
    random = np.random.default_rng(11)
    store = Store(tmp_path / "small", vector_bytes=cache_bytes)
    with store.write("_system") as view:
        ddl.create_collection(view, "c", "document", {})
        for number, row in enumerate(random.normal(size=(COUNT, WIDTH)).tolist()):
            view.insert("c", {"_key": str(number), "v": row})
        index, _ = ddl.create_index(view, "c", vector_index(lists=20, probes=20, sparse=True))
        assert search_keys(view, index, random.normal(size=WIDTH))

    def check(view: Snapshot) -> None:
        query = random.normal(size=WIDTH)
        assert search_keys(view, index, query) == exact_keys(view, query)

    for _ in range(12):
        with store.read("_system") as before:
            check(before)
            with store.write("_system") as view:
                for _ in range(random.integers(1, 8)):
                    key, value = str(random.integers(COUNT + 50)), random.normal(size=WIDTH).tolist()
                    if view.get("c", key) is None:
                        view.insert("c", {"_key": key, "v": value})
                    elif random.random() < 0.3:
                        view.remove("c", key)
                    else:
                        view.update("c", key, {"v": value if random.random() < 0.8 else None})
                check(view)
                with pytest.raises(ArangoError), view.all_or_nothing():
                    insert_and_fail(view, random)
                check(view)
            with store.read("_system") as after:
                check(after)
            check(before)
    with store.write("_system") as view:
        view.truncate("c")
        assert search_keys(view, index, random.normal(size=WIDTH)) == []
        view.insert("c", {"_key": "only", "v": [1.0] * WIDTH})
        assert search_keys(view, index, random.normal(size=WIDTH)) == ["only"]
    assert store.shared.lists.size <= max(cache_bytes, 10_000)
    store.close()


def test_a_write_changes_only_the_list_of_its_vector(store, vectors):
    with store.write("_system") as view:
        index, _ = ddl.create_index(view, "c", vector_index(lists=10, probes=10))
    with store.read("_system") as view:
        search_keys(view, index, vectors[0])
    reads = Mock(side_effect=AssertionError("a list was read again"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aqlite.storage.indexes.vector_lists.ListTables.blocks", reads)
        with store.write("_system") as view:
            view.insert("c", {"_key": "new", "v": vectors[0].tolist()})
            view.update("c", "1", {"even": "changed"})
        with store.read("_system") as view:
            assert set(search_keys(view, index, vectors[0], 2)) == {"0", "new"}
            assert search_keys(view, index, vectors[1], 1) == ["1"]


def test_many_searches_at_once_read_each_list_once(store, vectors, monkeypatch):
    with store.write("_system") as view:
        index, _ = ddl.create_index(view, "c", vector_index(lists=4, probes=4))
    read, lock = [], threading.Lock()
    blocks = ListTables.blocks

    def counted(self: ListTables, connection: object, number: int) -> object:
        with lock:
            read.append(number)
        return blocks(self, connection, number)

    monkeypatch.setattr(ListTables, "blocks", counted)

    def search() -> None:
        with store.read("_system") as view:
            search_keys(view, index, vectors[0])

    threads = [threading.Thread(target=search) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(read) == [0, 1, 2, 3]


def test_an_index_is_trained_and_searched_beyond_the_size_of_the_column_cache(store, vectors, monkeypatch):
    monkeypatch.setattr("aqlite.storage.columns._MAX_BYTES", 1000)
    with store.write("_system") as view:
        index, _ = ddl.create_index(view, "c", vector_index())
    with store.read("_system") as view:
        assert view.vector_column("c", ("v",), WIDTH) is None
        assert search_keys(view, index, vectors[3], 1) == ["3"]


def test_building_an_index_needs_room_on_the_disk(store, vectors, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: Mock(free=1000))
    with pytest.raises(ArangoError, match=r"needs \d+ bytes on disk") as error, store.write("_system") as view:
        ddl.create_index(view, "c", vector_index())
    assert error.value.error_num == 1104
    with store.read("_system") as view:
        assert [index.name for index in view.collection("c").indexes] == ["primary"]


@pytest.mark.parametrize("factory", ["IVF10,RFlat,Flat", "IVF10,Flat,RFlat", "IVF11,Flat", "Flat", "IVF10,PQ5x9000", 7])
def test_a_factory_must_describe_an_ivf_index_with_as_many_lists(factory):
    params = {"metric": "l2", "dimension": 16, "nLists": 10, "factory": factory}
    with pytest.raises(ArangoError, match="factory") as error:
        requested_index({"type": "vector", "fields": ["v"], "params": params})
    assert error.value.error_num == 10


@pytest.mark.parametrize("factory", ["IVF10,Flat", "IVF10_HNSW4,Flat", "IVF10,SQ8", "IVF10,PQ4x4"])
def test_factories_of_faiss_are_taken(store, vectors, factory):
    params = {"metric": "l2", "dimension": WIDTH, "nLists": 10, "defaultNProbe": 10, "factory": factory}
    wanted = requested_index({"type": "vector", "fields": ["v"], "params": params})
    with store.write("_system") as view:
        index, _ = ddl.create_index(view, "c", wanted)
    with store.read("_system") as view:
        assert search_keys(view, index, vectors[3], 1) == ["3"]


def test_a_folder_of_the_first_format_is_migrated(tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "aqlite.db")) as connection:
        connection.executescript((Path(__file__).with_name("data") / "format1.sql").read_text())
    store = Store(folder)
    with store.read("_system") as view:
        assert view.count("films") == 12
        (index,) = (index for index in view.collection("films").indexes if index.type == "vector")
        films = list(view.scan("films"))
        found = view.vector_search("films", index, films[4]["v"], 1, None, None)
        assert [document["_key"] for document, _ in found] == [films[4]["_key"]]
    store.close()
    Store(folder).close()
