"""What reads files and inputs from outside, with valid examples of each: the ground that fuzzing starts from."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from PIL import Image

from workshop.catalogue import SIGNATURES
from workshop.data.documents import read_documents
from workshop.data.movies import Movie, read_catalogue
from workshop.data.orders import read_orders
from workshop.data.ratings import read_ratings
from workshop.data.sentiment import read_reviews
from workshop.errors import WorkshopError
from workshop.store.dump import file_stem
from workshop.store.restore import operations, read_dump
from workshop.text.sources import minilm_source
from workshop.triton.artefact import SIDECAR_FILE, SIDECAR_FORMAT, read_sidecar
from workshop.triton.signature import parse_config, read_signature
from workshop.vision.preprocessing import PictureError, Preprocessing, decode


@dataclass(frozen=True)
class Reader:
    """Something that reads bytes.

    Attributes:
        name: what it reads.
        examples: bytes that it takes.
        read: reads; what it raises on bytes that it does not take is of ``refusals``.
        refusals: the errors that are meant.
    """

    name: str
    examples: tuple[bytes, ...]
    read: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...] = (WorkshopError,)


def all_readers(folder: Path) -> list[Reader]:
    """Every reader; those of files write each case to a file in ``folder``."""
    return [
        Reader("model configuration", tuple(_configs()), _read_config),
        Reader("dump, a data file", tuple(_data_files()), lambda data: _read_data_file(folder, data)),
        Reader("dump, its structure and manifest", tuple(_structures()), lambda data: _read_structure(folder, data)),
        Reader("sidecar of a model", (_sidecar(),), lambda data: _read_sidecar(folder, data)),
        Reader("table of orders", tuple(_ORDERS), lambda data: read_orders(io.BytesIO(data))),
        Reader("table of documents", tuple(_DOCUMENTS), lambda data: read_documents(io.BytesIO(data))),
        Reader("tables of films", (_films(),), _read_films),
        Reader("table of reviews", tuple(_REVIEWS), lambda data: read_reviews(io.BytesIO(data))),
        Reader("table of ratings", tuple(_ratings()), lambda data: read_ratings(io.BytesIO(data), _MOVIES)),
        Reader("text", tuple(_TEXTS), _text_reader()),
        Reader("picture", tuple(_pictures()), lambda data: decode(data, max_pixels=1_000_000), (PictureError,)),
        Reader("picture's preparation", (_preparation(),), _read_preparation, (ValueError,)),
    ]


# --- models -----------------------------------------------------------------------------------------------------
def _configs() -> list[bytes]:
    texts = sorted((signature.config_text().encode() for signature in SIGNATURES), key=len)
    return texts[:6]


def _read_config(data: bytes) -> object:
    config = parse_config(data.decode("utf-8", "replace"))
    return read_signature(config)


def _sidecar() -> bytes:
    fields = {
        "model": "m", "source": "s", "source_sha256": "0" * 64, "precision": "fp32", "torch_version": "2",
        "model_sha256": "0" * 64, "signature": 'name: "m"', "parity": {"a": 0.0}, "cosines": {"a": 1.0},
        "settings": {}, "facts": {"width": "8"}, "files": {"tokenizer.json": "0" * 64}, "format": SIDECAR_FORMAT,
    }  # fmt: skip
    return json.dumps(fields).encode()


def _read_sidecar(folder: Path, data: bytes) -> object:
    (folder / SIDECAR_FILE).write_bytes(data)
    return read_sidecar(folder)


# --- dumps ------------------------------------------------------------------------------------------------------
_LINES = (
    {"_key": "a", "_rev": "x", "title": "The \u00fcber film", "year": 1999, "embedding": [0.1, -2e-3, 0.0]},
    {"type": 2300, "data": {"_key": "b", "nested": {"list": [1, None, True, "\U0001f600"]}}},
    {"type": 2302, "data": {"_key": "b"}},
    {"type": 2302, "key": "b"},
)


def _data_files() -> list[bytes]:
    plain = b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in _LINES)
    return [plain, gzip.compress(plain, mtime=0), orjson.dumps(_LINES[0])]


def _read_data_file(folder: Path, data: bytes) -> object:
    path = folder / ("c.data.json.gz" if data[:2] == b"\x1f\x8b" else "c.data.json")
    path.write_bytes(data)
    return list(operations(path))


_STEM = file_stem("films")


def _structures() -> list[bytes]:
    """The files of a dump folder as one JSON object, by name."""
    structure = {
        "indexes": [{"id": "1", "type": "persistent", "name": "by_year", "fields": ["year"], "unique": False}],
        "parameters": {"name": "films", "type": 2, "deleted": False, "numberOfShards": 1},
    }
    manifest = {"format": 1, "data_set": "d", "collections": {"films": {"documents": 1, "files": {}}}}
    files = {
        "dump.json": {"database": "w", "useEnvelope": False},
        f"{_STEM}.structure.json": structure,
        "manifest.json": manifest,
        "v.view.json": {"name": "v"},
    }
    return [json.dumps(files).encode()]


def _read_structure(folder: Path, data: bytes) -> object:
    """Cuts the mutated object into files again, each of them as raw as it comes."""
    place = folder / "dump"
    place.mkdir(exist_ok=True)
    for path in place.iterdir():
        path.unlink()
    names = ("dump.json", f"{_STEM}.structure.json", "manifest.json", "v.view.json")
    starts = [(data.find(f'"{name}": '.encode()), name) for name in names]
    found = sorted((start, name) for start, name in starts if start >= 0)
    for (start, name), (end, _) in zip(found, [*found[1:], (len(data) + 1, "")], strict=False):
        (place / name).write_bytes(data[start + len(name) + 4 : end - 2])
    (place / f"{_STEM}.data.json").write_bytes(b"")
    return read_dump(place)


# --- tables -----------------------------------------------------------------------------------------------------
_ORDERS = (
    b"order_id,product_id,title,category,customer_id,time,position\n"
    b'1,p1,"Milk, fresh",dairy,c1,2024-01-01,1\n1,p2,Bread,bakery,c1,2024-01-01,2\n2,p1,Milk,dairy,c2,2024-01-02,1\n',
    b"order_id,product_id\r\n10,1\r\n9,2\r\n10,2\r\n",
    "\ufefforder_id,product_id,title\n1,\u00e4,\U0001f600\n".encode(),
)
_DOCUMENTS = (
    b'product_id,title,text\np1,Lamp,"A lamp\nfor a desk"\np2,,Warm light\n',
    "product_id,text\n1,\u00fcber\n2,\u4e2d\u6587\n".encode(),
)
_MOVIES = [
    Movie(
        id=str(number),
        title=f"Film {number}",
        original_title=f"Film {number}",
        overview="",
        language="en",
        release_date="2000",
        runtime=None,
        popularity=0.0,
        vote_average=6.0,
        vote_count=9,
        genres=("Drama",),
        keywords=(),
    )
    for number in range(35)
]


_REVIEWS = (
    b'text,rating,film\n"A fine, warm film",2.5,Film 1\nDull,-1,Film 2\nJohn Ford and Mary Smith shine,3,\n',
    "text,rating\r\n\u00fcber,0\r\n\u4e2d\u6587,-4\r\n".encode(),
)
_CREDITS = b"\n--credits--\n"


def _films() -> bytes:
    """Both tables, which hold lists as JSON inside a cell, one after the other."""
    named = json.dumps([{"id": 18, "name": "Drama"}, {"id": 35, "name": "Com\\u00f6die"}])
    film = {
        "id": "1", "title": "Film 1", "original_title": "Film", "overview": "A heist, in winter.",
        "original_language": "en", "runtime": "90", "popularity": "1.5", "vote_average": "6", "vote_count": "9",
        "release_date": "2000-02-03", "genres": named, "keywords": named, "production_companies": named,
        "production_countries": json.dumps([{"iso_3166_1": "FR", "name": "France"}]),
    }  # fmt: skip
    cast = [{"id": number, "name": f"Actor {number}", "order": number, "character": "Ann"} for number in range(3)]
    crew = [{"id": 9, "name": "Director", "job": "Director"}]
    credit = {"movie_id": "1", "title": "Film 1", "cast": json.dumps(cast), "crew": json.dumps(crew)}
    tables = []
    for row in (film, credit):
        text = io.StringIO()
        writer = csv.DictWriter(text, row)
        writer.writeheader()
        writer.writerows([row, {**row, next(iter(row)): "2", "title": "Film 2"}])
        tables.append(text.getvalue().encode())
    return _CREDITS.join(tables)


def _read_films(data: bytes) -> object:
    """Reads both tables; what was taken must be fit for the store, which keeps JSON in UTF-8."""
    movies, _, credits = data.partition(_CREDITS)
    found = read_catalogue(*(io.TextIOWrapper(io.BytesIO(part), "utf-8-sig", newline="") for part in (movies, credits)))
    return orjson.dumps(found)


def _ratings() -> list[bytes]:
    rows = [f"u{n % 25},Film {n % 35} (2000),{n % 5 + 1},{n}" for n in range(80)]
    dated = [f"u{n % 25},Film {n % 35},{n % 5}.5,2024-01-{n % 28 + 1:02d}T10:00:00Z,2000" for n in range(80)]
    texts = (["user,item,rating,time", *rows], ["user,item,rating,time,year", *dated])
    return ["\n".join(text).encode() for text in texts]


# --- texts ------------------------------------------------------------------------------------------------------
_TEXTS = (
    b"A heist in winter, planned by two friends who do not trust each other.",
    "\u00fcber caf\u00e9 \u4e2d\u6587 \U0001f600 e\u0301 \u200b\u202e [CLS] [SEP] [PAD] [MASK] ##ing".encode(),
)


def _text_reader() -> Callable[[bytes], object]:
    tokenizer = minilm_source().tokenizer()

    def read(data: bytes) -> object:
        ids, mask = tokenizer([data.decode("utf-8", "surrogateescape")])  # lone surrogates, as JSON can hold them
        if ids.shape != mask.shape or not 1 < mask.sum() <= tokenizer.max_tokens:
            raise AssertionError(f"{mask.sum()} tokens, ids {ids.shape}, mask {mask.shape}")
        return ids

    return read


# --- pictures ---------------------------------------------------------------------------------------------------
def _pictures() -> list[bytes]:
    values = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    picture = Image.fromarray(values)
    kinds: Sequence[tuple[str, Image.Image]] = (
        ("PNG", picture),
        ("JPEG", picture),
        ("GIF", picture.quantize(8)),
        ("BMP", picture),
        ("TIFF", picture),
        ("WEBP", picture),
        ("PPM", picture),
        ("TGA", picture),
        ("ICO", picture.resize((16, 16))),
    )
    found = []
    for kind, image in kinds:
        buffer = io.BytesIO()
        image.save(buffer, kind)
        found.append(buffer.getvalue())
    return found


def _preparation() -> bytes:
    return json.dumps(Preprocessing(8, 8, 0.9, "bicubic", (127.0,) * 3, (128.0,) * 3).to_parameters()).encode()


def _read_preparation(data: bytes) -> object:
    parameters = orjson.loads(data)
    if not isinstance(parameters, dict) or not all(isinstance(value, str) for value in parameters.values()):
        raise ValueError("parameters of a model configuration are texts")
    prepared = Preprocessing.from_parameters(parameters)
    if prepared.height * prepared.width > 10_000:
        return None
    return prepared.tensor(Image.new("RGB", (20, 30)))
