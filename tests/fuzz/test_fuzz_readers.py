"""Readers on bytes from outside: each reads, or refuses by an error of its own; a short form of ``fuzz_cases``."""

from __future__ import annotations

import csv
import io
import logging
import struct

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import fuzz, problem
from PIL import Image
from readers import Reader, all_readers

from workshop.data.documents import read_documents
from workshop.errors import DataInvalidError, DumpError, RepositoryError
from workshop.store.restore import operations
from workshop.triton.artefact import read_sidecar
from workshop.triton.signature import ModelSignature, TensorSpec, parse_config, read_signature
from workshop.vision.preprocessing import PictureError, Preprocessing, decode

CASES = {
    "model configuration": 1500,
    "dump, a data file": 2000,
    "dump, its structure and manifest": 1000,
    "sidecar of a model": 1000,
    "table of orders": 120,
    "table of documents": 150,
    "table of ratings": 120,
    "tables of films": 1000,
    "table of reviews": 150,
    "text": 1000,
    "picture": 1500,
    "picture's preparation": 4000,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


@pytest.fixture
def readers(tmp_path) -> dict[str, Reader]:
    return {reader.name: reader for reader in all_readers(tmp_path)}


def test_there_are_cases_for_every_reader(readers):
    assert CASES.keys() == readers.keys()


@pytest.mark.parametrize("name", CASES)
def test_a_reader_reads_or_refuses(readers, name, caplog):
    caplog.set_level(logging.ERROR)
    reader = readers[name]
    for example in reader.examples:
        reader.read(example)
    assert fuzz(reader, CASES[name], seed=1) == []


def test_crashes_and_errors_without_words_are_found():
    wrong = {b"crash": KeyError("x"), b"mute": DumpError(""), b"refused": DumpError("no")}

    def read(data: bytes) -> None:
        raise wrong[data]

    reader = Reader("r", tuple(wrong), read)
    assert [problem(reader, data) for data in wrong] == ["KeyError: 'x'", "DumpError without a message", ""]


def test_a_hang_is_found(monkeypatch):
    monkeypatch.setattr("mutations.LONGEST_SECONDS", 0.05)

    def read(_: bytes) -> None:
        try:
            while True:
                pass
        except OSError as error:  # as readers of files have it, and TimeoutError is one
            raise DumpError("cannot be read") from error

    (crash, *_) = fuzz(Reader("r", (b"x",), read), 1, seed=0)
    assert crash.error.startswith("Hang: still reading")


# --- what fuzzing has found ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000])
def test_a_sidecar_of_many_levels_is_refused(tmp_path, content):
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(RepositoryError, match="is not a sidecar"):
        read_sidecar(tmp_path)


@pytest.mark.parametrize("change", [{"mean": "1e999,0,0"}, {"deviation": "1,1e-50,1"}, {"deviation": "nan,1,1"}])
def test_numbers_that_float32_cannot_hold_are_refused(change):
    parameters = {**Preprocessing(8, 8).to_parameters(), **change}
    with pytest.raises(ValueError, match="expected 3 finite numbers each"):
        Preprocessing.from_parameters(parameters)


@pytest.mark.parametrize(("field", "enum"), [("data_type", "DataType"), ("format", "Format")])
def test_a_number_without_a_name_is_refused(field, enum):
    config = parse_config(f'name: "m" input {{ name: "x" data_type: 11 dims: 1 }} input {{ name: "y" {field}: 99 }}')
    with pytest.raises(RepositoryError, match=f"tensor 'y' has an unknown {enum} 99"):
        read_signature(config)


def test_a_tiff_whose_second_frame_is_none_is_refused():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "TIFF")
    data = bytearray(buffer.getvalue())
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    data += bytes(len(data) % 2)
    struct.pack_into("<I", data, first + 2 + 12 * entries, len(data))  # where the second frame is said to be
    with pytest.raises(PictureError, match="damaged or truncated TIFF"):
        decode(bytes(data) + bytes(6))


# --- what is right stays right ------------------------------------------------------------------------------------
NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
TENSORS = st.builds(
    TensorSpec,
    NAMES,
    st.sampled_from(["INT64", "FP32", "BYTES", "BOOL"]),
    st.lists(st.integers(-1, 2**31).filter(bool), min_size=1, max_size=3).map(tuple),
    below=st.none() | st.integers(1, 2**40),
    longest=st.none() | st.integers(1, 2**20),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(TENSORS, min_size=1, max_size=3, unique_by=lambda tensor: tensor.name), st.integers(0, 64))
def test_a_configuration_tells_its_signature(tensors, batch):
    signature = ModelSignature("m", tuple(tensors), (), backend="python", max_batch_size=batch)
    read = read_signature(parse_config(signature.config_text()))
    assert read.inputs == signature.inputs
    assert read.max_batch_size == batch


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), JSON), max_size=5))
def test_a_data_file_gives_its_documents_or_is_refused(tmp_path_factory, documents):
    path = tmp_path_factory.mktemp("d") / "c.data.json"
    path.write_bytes(b"".join(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE) for document in documents))
    try:
        read = list(operations(path))
    except DumpError:
        assert any("_key" not in document for document in documents)
        return
    assert len(read) == len(documents)
    assert [document for kept, document in read if kept] == [document for document in documents if "_key" in document]


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_a_table_of_documents_gives_its_cells_or_is_refused(rows):
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("product_id", "text"), *rows])
    try:
        read = read_documents(io.BytesIO(text.getvalue().encode()))
    except DataInvalidError:
        ids = [identifier for identifier, _ in rows]
        assert len(set(ids)) < len(ids) or not all(cell.strip() for row in rows for cell in row)
        return
    assert list(zip(read.ids, read.texts, strict=True)) == rows
