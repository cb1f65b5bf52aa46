"""Restore a dump made by ``arangodump``, or by :mod:`workshop.store.dump`, into any ArangoDB-compatible server.

Read are the layouts that ``arangodump`` has written over the years:

- names: ``Name.structure.json`` or ``Name_<md5 of Name>.structure.json``, with data files named after either; for names
  that are no file names, the collection's number stands for the name;
- data: ``.data.json`` or ``.data.jsonl``, plain or gzipped, in one file or split (``Name_<md5>.0.data.json.gz``);
- lines: a document, or an envelope ``{"type": 2300, "data": {...}}`` (2302 removes ``data._key``, or ``key``).

Views, analyzers and system collections are not restored; the report names each. Everything is read once and checked
before the first document is written.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import logging
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from arango.collection import StandardCollection
from arango.database import StandardDatabase
from arango.exceptions import ArangoServerError

from workshop.errors import DocumentsRejectedError, DumpError
from workshop.files import sha256_of
from workshop.store.bulk import Document, Progress, upsert
from workshop.store.connection import store_errors
from workshop.store.dump import DUMP_JSON, EDGES_TYPE, ENCRYPTION, FORMAT_VERSION, GRAPHS, MANIFEST, file_stem
from workshop.store.schema import EdgeDefinition, GraphSchema, ensure_collection, ensure_graph

logger = logging.getLogger(__name__)

INSERT_MARKER, REMOVE_MARKER = 2300, 2302
PROGRESS_COLLECTION = "restore_progress"
ANALYZERS = "_analyzers"
DOCUMENT_NOT_FOUND = 1202
LARGEST_LINE = 64 * 2**20
"""Bytes of one document as text: a packed file of some kilobytes can unpack to a line that no memory holds."""
_VIEW_SUFFIX, _STRUCTURE_SUFFIX = ".view.json", ".structure.json"
_DATA_FILE = re.compile(r"(?P<stem>.+?)(?P<part>\.\d+)?\.data\.jsonl?(?:\.gz)?")
_VELOCYPACK = ".data.vpack"
_AUTOMATIC_INDEXES = frozenset({"primary", "edge"})
_RENAMED_INDEXES = {"hash": "persistent", "skiplist": "persistent"}
_MADE_BY_SERVER = frozenset({"id", "selectivityEstimate", "isNewlyCreated", "trainingState", "errorMessage", "shards"})


@dataclass(frozen=True)
class DumpedCollection:
    """A collection as the dump describes it, with the files that hold its documents."""

    name: str
    edges: bool
    indexes: tuple[dict[str, Any], ...]
    data_files: tuple[Path, ...]
    deleted: bool = False


@dataclass
class RestoreReport:
    """What a restore did: documents by collection, and what the dump holds but was not restored, with the reason."""

    documents: dict[str, int] = field(default_factory=dict)
    resumed: int = 0
    graphs: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def restore_dump(
    database: StandardDatabase, folder: Path, *, data_set: str | None = None, progress: Progress | None = None
) -> RestoreReport:
    """Write the documents, indexes and named graphs of a dump; restoring twice gives the same collections.

    A restore that was stopped continues after the last batch the store acknowledged; documents that the store refused
    are offered again.

    Args:
        database: where to restore to.
        folder: the dump.
        data_set: when given, the manifest must name this data set.
        progress: called with the number of documents written and the number of all.

    Raises:
        DumpError: the folder is no dump, of another data set, encrypted, incomplete or damaged; nothing is written.
        DocumentsRejectedError: the store refused documents.
        StoreSchemaError: a collection or graph of that name exists and is different.
    """
    collections, skipped = read_dump(folder, data_set=data_set)
    counts = {path: sum(1 for _ in operations(path)) for dumped in collections for path in dumped.data_files}
    _check_counts(folder, collections, counts)
    report = RestoreReport(skipped=skipped)
    ordinary = [dumped for dumped in collections if dumped.name != GRAPHS]
    total = sum(counts[path] for dumped in ordinary for path in dumped.data_files)
    done = 0
    with store_errors(f"restore {folder.name}"):
        ensure_collection(database, PROGRESS_COLLECTION, edge=False)
    for dumped in sorted(ordinary, key=lambda dumped: dumped.edges):
        with store_errors(f"restore {dumped.name!r}"):
            ensure_collection(database, dumped.name, edge=dumped.edges)
        for path in dumped.data_files:
            before = done

            def on_line(lines: int, before: int = before) -> None:
                if progress:
                    progress(before + lines, total)

            report.resumed += _restore_file(database, dumped.name, path, on_line)
            done += counts[path]
        report.documents[dumped.name] = sum(counts[path] for path in dumped.data_files)
        report.skipped += _restore_indexes(database, dumped)
    report.graphs = _restore_graphs(database, collections)
    _forget_progress(database, counts)
    return report


def read_dump(folder: Path, *, data_set: str | None = None) -> tuple[list[DumpedCollection], list[str]]:
    """The collections of a dump, and what of it cannot be restored.

    Raises:
        DumpError: the folder is no dump, encrypted, of another data set, or a file is missing, unknown or altered.
    """
    if not (folder / DUMP_JSON).is_file():
        raise DumpError(f"{folder} is no dump: {DUMP_JSON} is missing", hint="make one: python scripts/make_dump.py")
    _read_json(folder / DUMP_JSON)
    encryption = folder / ENCRYPTION
    if encryption.is_file() and encryption.read_text(errors="replace").strip() != "none":
        raise DumpError(f"{folder} is encrypted", hint="restore it with arangorestore and its key file")
    if data_set is not None or (folder / MANIFEST).is_file():
        _check_manifest(folder, data_set)
    packed = sorted(path.name for path in folder.iterdir() if _VELOCYPACK in path.name)
    if packed:
        raise DumpError(
            f"{folder} holds documents as VelocyPack ({packed[0]}), expected JSON lines",
            hint="dump again with arangodump --dump-vpack false, or restore it with arangorestore",
        )
    collections, skipped = [], [f"view {_view_name(path)}" for path in sorted(folder.glob(f"*{_VIEW_SUFFIX}"))]
    described: dict[str, Path] = {}
    claimed: set[Path] = set()
    for structure_file in sorted(folder.glob(f"*{_STRUCTURE_SUFFIX}")):
        dumped = _collection(structure_file)
        if dumped.name in described:
            raise DumpError(
                f"{folder} describes {dumped.name!r} twice, in {described[dumped.name].name} and {structure_file.name}",
                hint="keep each dump in a folder of its own",
            )
        described[dumped.name] = structure_file
        claimed.update(dumped.data_files)
        if dumped.deleted:
            continue
        if dumped.name == ANALYZERS:
            skipped += [f"analyzer {name}" for name in _analyzer_names(dumped)]
        elif dumped.name.startswith("_") and dumped.name != GRAPHS:
            skipped.append(f"system collection {dumped.name}")
        else:
            collections.append(dumped)
    orphans = [path.name for path in folder.iterdir() if ".data.json" in path.name and path not in claimed]
    if orphans:
        raise DumpError(f"{folder}: no structure file for {', '.join(sorted(orphans))}", hint="copy the dump again")
    if not collections:
        raise DumpError(f"{folder} holds no collection")
    return collections, skipped


def _collection(structure_file: Path) -> DumpedCollection:
    structure = _read_json(structure_file)
    try:
        parameters = structure["parameters"]
        name = parameters["name"]
        return DumpedCollection(
            name=name,
            edges=parameters["type"] == EDGES_TYPE,
            indexes=tuple(structure.get("indexes", ())),
            data_files=_data_files(structure_file, name),
            deleted=bool(parameters.get("deleted")),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DumpError(f"{structure_file} describes no collection: {error!r} is missing") from error


def _data_files(structure_file: Path, collection: str) -> tuple[Path, ...]:
    """The data files of a collection, in the order they were written.

    Raises:
        DumpError: files of several dumps lie in the folder.
    """
    stem = structure_file.name.removesuffix(_STRUCTURE_SUFFIX)
    digest = file_stem(collection).rpartition("_")[2]
    stems = {stem, stem.removesuffix(f"_{digest}"), f"{stem.removesuffix(f'_{digest}')}_{digest}"}
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(structure_file.parent.iterdir(), key=_numeric):
        match = _DATA_FILE.fullmatch(path.name)
        if match and match["stem"] in stems:
            other = found.setdefault((match["stem"], match["part"] or ""), path)
            if other != path:
                raise _mixed(collection, other, path)
    files = tuple(found.values())
    if len({stem for stem, _ in found}) > 1:
        raise _mixed(collection, *files[:2])
    return files


def _mixed(collection: str, one: Path, other: Path) -> DumpError:
    return DumpError(
        f"{one.parent} holds data of {collection!r} twice, {one.name} and {other.name}",
        hint="keep each dump in a folder of its own",
    )


def _view_name(path: Path) -> str:
    """The name inside the file: the file itself may be named after the view's number."""
    view = _read_json(path)
    return view["name"] if isinstance(view, dict) and "name" in view else path.name.removesuffix(_VIEW_SUFFIX)


def _analyzer_names(analyzers: DumpedCollection) -> Iterator[str]:
    for path in analyzers.data_files:
        for kept, document in operations(path):
            if kept:
                yield document.get("name", document["_key"])


def _check_manifest(folder: Path, data_set: str | None) -> None:
    path = folder / MANIFEST
    if not path.is_file():
        raise DumpError(f"{folder} has no {MANIFEST}, so its data set is unknown; expected {data_set!r}")
    manifest = _read_json(path)
    try:
        found, collections = manifest["data_set"], manifest["collections"]
        files = {name: facts for entry in collections.values() for name, facts in entry["files"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise DumpError(f"{path} is no manifest: {error!r} is missing") from error
    version = manifest.get("format", FORMAT_VERSION)
    if version != FORMAT_VERSION:
        raise DumpError(
            f"{folder} is a dump of format {version!r}, expected {FORMAT_VERSION}",
            hint="restore it with the release of the workshop that wrote it, or with arangorestore",
        )
    if data_set is not None and found != data_set:
        raise DumpError(f"{folder} is a dump of another data set: expected {data_set!r}, found {found!r}")
    for name, facts in files.items():
        if Path(name).name != name:
            raise DumpError(f"{path} names {name!r}, expected files of its own folder", hint="do not use this dump")
        if not (folder / name).is_file():
            raise DumpError(f"{folder}: {name} is missing", hint="copy the dump again, or git checkout it")
        sha256 = sha256_of(folder / name)
        if sha256 != facts["sha256"]:
            raise DumpError(
                f"{folder / name} is damaged: SHA-256 expected {facts['sha256']}, found {sha256}",
                hint="copy the dump again, or git checkout it",
            )


def _check_counts(folder: Path, collections: list[DumpedCollection], counts: dict[Path, int]) -> None:
    if not (folder / MANIFEST).is_file():
        return
    expected = _read_json(folder / MANIFEST)["collections"]
    for dumped in collections:
        found = sum(counts[path] for path in dumped.data_files)
        wanted = expected.get(dumped.name, {}).get("documents")
        if wanted != found:
            raise DumpError(f"{folder}: {dumped.name!r} should hold {wanted} documents, and holds {found}")


def operations(path: Path) -> Iterator[tuple[bool, Document]]:
    """The lines of a data file as (is it an insertion, document).

    Raises:
        DumpError: the file is truncated, damaged, or a line is none of a dump.
    """
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            while line := lines.readline(LARGEST_LINE + 1):
                number += 1
                if len(line) > LARGEST_LINE:
                    raise ValueError(f"more than {LARGEST_LINE} bytes")
                if line.strip():
                    yield _operation(orjson.loads(line))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DumpError(f"{path} is truncated or damaged: {error}", hint="copy the dump again") from error
    except (orjson.JSONDecodeError, ValueError, KeyError, TypeError) as error:
        raise DumpError(f"{path}, line {number}: {error}", hint="copy the dump again") from error


def _operation(entry: Any) -> tuple[bool, Document]:
    if not isinstance(entry, dict):
        raise ValueError(f"expected an object, found {type(entry).__name__}")
    if "_key" in entry:
        return True, entry
    if entry.get("type") == INSERT_MARKER and isinstance(entry.get("data"), dict) and "_key" in entry["data"]:
        return True, entry["data"]
    if entry.get("type") == REMOVE_MARKER:
        return False, {"_key": (entry.get("data") or entry)["_key" if entry.get("data") else "key"]}
    raise ValueError("expected a document with _key, or an envelope of type 2300 or 2302")


def _restore_file(database: StandardDatabase, collection: str, path: Path, on_line: Callable[[int], None]) -> int:
    """Write one data file; the result is the number of lines an earlier, stopped run had written."""
    with store_errors("read how far an earlier restore came"):
        target = database.collection(collection)
        log = database.collection(PROGRESS_COLLECTION)
        key = _progress_key(path)
        earlier = log.get(key) or {"lines": 0, "count": 0}
        start = earlier["lines"] if target.count() >= earlier["count"] else 0
    lines = start

    def acknowledged(seen: int) -> None:
        with store_errors("note how far the restore came"):
            log.insert({"_key": key, "lines": seen, "count": target.count()}, overwrite=True, silent=True)

    def batch_written(seen: int, refused: int, before: int) -> None:
        if not refused:  # a later run has to offer everything after the first refusal again
            acknowledged(before + seen)
        on_line(before + seen)

    remaining = itertools.islice(operations(path), start, None)
    for inserting, group in itertools.groupby(remaining, key=lambda operation: operation[0]):
        documents = (_without_server_attributes(document) for _, document in group)
        before = lines
        if inserting:
            lines += upsert(
                database,
                collection,
                documents,
                on_duplicate="replace",
                on_batch=lambda seen, refused, before=before: batch_written(seen, refused, before),
            ).written
        else:
            removed = list(documents)
            _remove(target, removed)
            lines += len(removed)
            acknowledged(lines)
            on_line(lines)
    return start


def _remove(target: StandardCollection, documents: list[Document]) -> None:
    """Remove documents; those that are not there are removed already."""
    with store_errors(f"remove documents from {target.name!r}"):
        answers = target.delete_many(documents)
    problems = [
        answer
        for answer in answers
        if isinstance(answer, ArangoServerError) and answer.error_code != DOCUMENT_NOT_FOUND
    ]
    if problems:
        raise DocumentsRejectedError(
            f"{target.name!r} refused to remove {len(problems)} of {len(documents)} documents: {problems[0]}"
        )


def _without_server_attributes(document: Document) -> Document:
    return {name: value for name, value in document.items() if name not in ("_id", "_rev")}


def _restore_indexes(database: StandardDatabase, dumped: DumpedCollection) -> list[str]:
    """Build the indexes that are missing; the result says which ones the server does not have, and why."""
    skipped = []
    target = database.collection(dumped.name)
    for index in dumped.indexes:
        if index["type"] in _AUTOMATIC_INDEXES:
            continue
        definition = {name: value for name, value in index.items() if name not in _MADE_BY_SERVER}
        definition["type"] = _RENAMED_INDEXES.get(definition["type"], definition["type"])
        try:
            target.add_index(definition)
        except ArangoServerError as error:
            skipped.append(f"index {index.get('name', index.get('fields'))} of {dumped.name}: {error.error_message}")
            logger.warning("not restored: %s", skipped[-1])
    return skipped


def _restore_graphs(database: StandardDatabase, collections: list[DumpedCollection]) -> list[str]:
    present = {dumped.name for dumped in collections}
    graphs = []
    for path in (path for dumped in collections if dumped.name == GRAPHS for path in dumped.data_files):
        for _, document in operations(path):
            edges = tuple(
                EdgeDefinition(definition["collection"], tuple(definition["from"]), tuple(definition["to"]))
                for definition in document["edgeDefinitions"]
            )
            if present.issuperset(edge.collection for edge in edges):
                schema = GraphSchema(document["_key"], tuple(document.get("orphanCollections", ())), edges)
                with store_errors(f"restore graph {schema.graph!r}"):
                    ensure_graph(database, schema)
                graphs.append(schema.graph)
    return graphs


def _forget_progress(database: StandardDatabase, counts: dict[Path, int]) -> None:
    with store_errors("tidy up after the restore"):
        log = database.collection(PROGRESS_COLLECTION)
        log.delete_many([{"_key": _progress_key(path)} for path in counts], silent=True)
        if not log.count():
            database.delete_collection(PROGRESS_COLLECTION)


def _progress_key(path: Path) -> str:
    return hashlib.sha256(f"{path.name}\0{sha256_of(path)}".encode()).hexdigest()[:40]


def _numeric(path: Path) -> list[Any]:
    """Orders ``x.2.data.json`` before ``x.10.data.json``."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def _read_json(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise DumpError(f"{path} cannot be read: {error}", hint="copy the dump again") from error
