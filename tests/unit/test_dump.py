"""Reading dumps: every layout arangodump has written, and every way a dump can be broken. No server is needed."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import pytest

from workshop.data.fetch import ARTEFACTS
from workshop.errors import DumpError
from workshop.files import sha256_of
from workshop.recommend.movie_graph import MOVIE_GRAPH, MOVIES
from workshop.settings import PROJECT_ROOT
from workshop.store.dump import file_stem
from workshop.store.restore import operations, read_dump
from workshop.text.sources import MINILM_SHA256

MD5 = file_stem("things").rpartition("_")[2]
DOCUMENTS = [{"_key": str(number), "_id": f"things/{number}", "_rev": "_x", "n": number} for number in range(3)]


def write_dump(folder: Path, stem: str = "things", lines: list[dict] | None = None, **parameters) -> Path:
    """A dump of one collection, in the oldest layout: plain names, plain text."""
    folder.mkdir(exist_ok=True)
    (folder / "dump.json").write_text('{"database":"shop","lastTickAtDumpStart":"1"}')
    structure = {"indexes": [], "parameters": {"name": "things", "type": 2, "deleted": False, **parameters}}
    (folder / f"{stem}.structure.json").write_text(json.dumps(structure))
    text = "\n".join(map(json.dumps, DOCUMENTS if lines is None else lines))
    (folder / f"{stem}.data.json").write_text(text)
    return folder


def documents(folder: Path) -> list[tuple[bool, str]]:
    (collection,), _ = read_dump(folder)
    return [(kept, document["_key"]) for path in collection.data_files for kept, document in operations(path)]


ALL_THREE = [(True, "0"), (True, "1"), (True, "2")]


def test_plain_files(tmp_path):
    folder = write_dump(tmp_path / "dump")
    (collection,), skipped = read_dump(folder)
    assert (collection.name, collection.edges, skipped) == ("things", False, [])
    assert documents(folder) == ALL_THREE


def test_names_with_md5_and_gzip(tmp_path):
    folder = write_dump(tmp_path / "dump", stem=file_stem("things"))
    assert file_stem("hasActor") == "hasActor_63886a672a3fa179947f5cc439b077b3"
    plain = folder / f"{file_stem('things')}.data.json"
    plain.with_suffix(".json.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assert documents(folder) == ALL_THREE


@pytest.mark.parametrize("structure", ["things", file_stem("things"), "73214", f"73214_{MD5}"])
@pytest.mark.parametrize("hashed", [True, False])
@pytest.mark.parametrize("suffix", [".data.json", ".data.json.gz", ".data.jsonl", ".data.jsonl.gz"])
@pytest.mark.parametrize("split", [True, False])
def test_every_layout(tmp_path, structure, hashed, suffix, split):
    """Structure and data may be named by name or number, with the hash or without, each in its own way."""
    folder = write_dump(tmp_path / "dump", stem=structure)
    (folder / f"{structure}.data.json").unlink()
    stem = structure.removesuffix(f"_{MD5}") + (f"_{MD5}" if hashed else "")
    parts = [DOCUMENTS[:1], DOCUMENTS[1:]] if split else [DOCUMENTS]
    for number, part in enumerate(parts):
        content = "\n".join(map(json.dumps, part)).encode()
        path = folder / f"{stem}{f'.{number}' if split else ''}{suffix}"
        path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    assert documents(folder) == ALL_THREE


@pytest.mark.parametrize("other", ["things.data.json.gz", "things.data.jsonl", f"things_{MD5}.0.data.json"])
def test_data_of_two_dumps_in_one_folder_are_refused(tmp_path, other):
    folder = write_dump(tmp_path / "dump")
    content = json.dumps({"_key": "x"}).encode()
    (folder / other).write_bytes(gzip.compress(content) if other.endswith(".gz") else content)
    with pytest.raises(DumpError, match=r"holds data of 'things' twice, things.data.json and things"):
        read_dump(folder)


def test_two_descriptions_of_one_collection_are_refused(tmp_path):
    folder = write_dump(tmp_path / "dump")
    write_dump(folder, stem=file_stem("things"))
    (folder / "things.data.json").unlink()
    with pytest.raises(DumpError, match=r"describes 'things' twice, in things.structure.json and things_"):
        read_dump(folder)


def test_velocypack_is_refused(tmp_path):
    folder = write_dump(tmp_path / "dump")
    (folder / "things.data.json").rename(folder / f"things_{MD5}.0.data.vpack.gz")
    with pytest.raises(DumpError, match=r"as VelocyPack \(things_.*\), expected JSON lines\nTry: dump again"):
        read_dump(folder)


def test_several_batches_come_in_numeric_order(tmp_path):
    folder = write_dump(tmp_path / "dump")
    (folder / "things.data.json").unlink()
    for number in (10, 2, 1):
        (folder / f"things.{number}.data.json").write_text(json.dumps({"_key": str(number)}))
    assert documents(folder) == [(True, "1"), (True, "2"), (True, "10")]


def test_collection_whose_name_begins_another(tmp_path):
    folder = write_dump(tmp_path / "dump")
    write_dump(folder, stem="things_more", name="things_more", lines=[{"_key": "a"}])
    collections, _ = read_dump(folder)
    assert [[path.name for path in collection.data_files] for collection in collections] == [
        ["things.data.json"],
        ["things_more.data.json"],
    ]


def test_envelopes_of_old_versions(tmp_path):
    lines = [{"type": 2300, "tick": "9", "data": document} for document in DOCUMENTS]
    lines += [{"type": 2302, "data": {"_key": "1"}}, {"type": 2302, "key": "2"}]
    folder = write_dump(tmp_path / "dump", lines=lines)
    assert documents(folder) == [*ALL_THREE, (False, "1"), (False, "2")]


def test_what_cannot_be_restored_is_named(tmp_path):
    folder = write_dump(tmp_path / "dump")
    write_dump(folder, stem="_apps", name="_apps", isSystem=True)
    write_dump(folder, stem="gone", name="gone", deleted=True)
    analyzers = [{"_key": "17", "name": "shop::text_fr", "type": "text"}, {"_key": "18"}]
    write_dump(folder, stem=file_stem("_analyzers"), name="_analyzers", isSystem=True, lines=analyzers)
    (folder / "words.view.json").write_text("{}")
    (folder / "4711.view.json").write_text('{"name": "W\u00f6rter", "type": "arangosearch"}')
    collections, skipped = read_dump(folder)
    assert [collection.name for collection in collections] == ["things"]
    assert skipped == [
        "view W\u00f6rter",
        "view words",
        "analyzer shop::text_fr",
        "analyzer 18",
        "system collection _apps",
    ]


def add_manifest(folder: Path, data_set: str = "shop 1.0") -> None:
    files = {path.name: {"sha256": sha256_of(path)} for path in folder.glob("things.*")}
    manifest = {"data_set": data_set, "collections": {"things": {"documents": 3, "files": files}}}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_manifest_that_names_files_elsewhere_is_refused(tmp_path):
    folder = write_dump(tmp_path / "dump")
    add_manifest(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["collections"]["things"]["files"] = {"../elsewhere": {"sha256": ""}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "elsewhere").touch()
    with pytest.raises(DumpError, match=r"names '\.\./elsewhere', expected files of its own folder"):
        read_dump(folder)


def test_manifest_is_checked(tmp_path):
    folder = write_dump(tmp_path / "dump")
    add_manifest(folder)
    read_dump(folder, data_set="shop 1.0")
    with pytest.raises(DumpError, match=r"another data set: expected 'shop 2.0', found 'shop 1.0'"):
        read_dump(folder, data_set="shop 2.0")
    data = folder / "things.data.json"
    data.write_text(data.read_text().replace('"n": 1', '"n": 7'))
    with pytest.raises(DumpError, match=r"things.data.json is damaged: SHA-256 expected [0-9a-f]{64}, found"):
        read_dump(folder)
    data.unlink()
    with pytest.raises(DumpError, match=r"things.data.json is missing"):
        read_dump(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": 2}))
    with pytest.raises(DumpError, match=r"is a dump of format 2, expected 1\nTry: restore it with the release"):
        read_dump(folder)
    (folder / "manifest.json").write_text("[1]")
    with pytest.raises(DumpError, match="is no manifest"):
        read_dump(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(DumpError, match=r"its data set is unknown; expected 'shop 1.0'"):
        read_dump(folder, data_set="shop 1.0")


def break_structure(folder: Path) -> None:
    (folder / "things.structure.json").write_text('{"indexes":')


def break_parameters(folder: Path) -> None:
    (folder / "things.structure.json").write_text('{"indexes":[]}')


def encrypt(folder: Path) -> None:
    (folder / "ENCRYPTION").write_text("aes-256-ctr")


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (lambda folder: (folder / "dump.json").unlink(), r"is no dump: dump.json is missing"),
        (lambda folder: (folder / "dump.json").write_text("{"), r"dump.json cannot be read"),
        (lambda folder: (folder / "things.structure.json").unlink(), r"no structure file for things.data.json"),
        (break_structure, r"things.structure.json cannot be read"),
        (break_parameters, r"things.structure.json describes no collection: KeyError\('parameters'\) is missing"),
        (encrypt, "is encrypted"),
    ],
)
def test_incomplete_dumps_are_refused(tmp_path, breakage, message):
    folder = write_dump(tmp_path / "dump")
    breakage(folder)
    with pytest.raises(DumpError, match=message):
        read_dump(folder)


def test_folder_without_collections(tmp_path):
    (tmp_path / "dump.json").write_text("{}")
    with pytest.raises(DumpError, match="holds no collection"):
        read_dump(tmp_path)


PACKED = gzip.compress("\n".join(map(json.dumps, DOCUMENTS * 500)).encode(), mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.data.json.gz", PACKED[: len(PACKED) // 2], "is truncated or damaged"),
        ("x.data.json.gz", PACKED[:100] + bytes(50) + PACKED[150:], "is truncated or damaged|line \\d+"),
        ("x.data.json.gz", gzip.compress(bytes(2**27)), "x.data.json.gz, line 1: more than 67108864 bytes"),
        ("x.data.json.gz", b'{"_key": "1"}', "is truncated or damaged: Not a gzipped file"),
        ("x.data.json", b'{"_key": "1"}\n{"_key": "2", "n":', "x.data.json, line 2: unexpected end of data"),
        ("x.data.json", b'{"_key": "1"}\n\xff\xfe', "x.data.json, line 2"),
        ("x.data.json", b'{"n": 1}', "line 1: expected a document with _key, or an envelope"),
        ("x.data.json", b'{"_key": "1", "n": NaN}', "line 1"),
        ("x.data.json", b'{"type": 2300, "data": [1]}', "line 1: expected a document with _key"),
        ("x.data.json", b'{"type": 2302}', "line 1: 'key'"),
        ("x.data.json", b"[1]", "line 1: expected an object, found list"),
    ],
)
def test_damaged_data_files_are_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DumpError, match=message):
        list(operations(path))


def test_empty_data_file_holds_nothing(tmp_path):
    (tmp_path / "x.data.json.gz").write_bytes(gzip.compress(b""))
    assert list(operations(tmp_path / "x.data.json.gz")) == []


# --- the dump in the repository -------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def movies_dump() -> Path:
    return PROJECT_ROOT / "dump" / "movies"


def test_committed_dump_is_whole_and_small(movies_dump):
    collections, skipped = read_dump(movies_dump, data_set=ARTEFACTS["movies"].requirement)
    assert skipped == []
    assert {collection.name for collection in collections} == {*MOVIE_GRAPH.collections, "_graphs"}
    assert sum(path.stat().st_size for path in movies_dump.iterdir()) < 12_000_000
    manifest = json.loads((movies_dump / "manifest.json").read_text())
    assert [model.split()[::2] for model in manifest["embedding_models"]["movies"]] == [["sentence_bert", "bf16"]]
    assert MINILM_SHA256.startswith(manifest["embedding_models"]["movies"][0].split()[1])


def test_committed_dump_holds_facts_and_vectors_and_no_overviews(movies_dump):
    (movies,) = (collection for collection in read_dump(movies_dump)[0] if collection.name == MOVIES)
    lengths = []
    for kept, movie in operations(movies.data_files[0]):
        assert kept
        assert not {"overview", "tagline", "_rev"} & movie.keys()
        assert len(movie["embedding"]) == 384
        lengths.append(math.sqrt(sum(number * number for number in movie["embedding"])))
    assert len(lengths) == 4803
    assert max(abs(length - 1) for length in lengths) < 0.001
