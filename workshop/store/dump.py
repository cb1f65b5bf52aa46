"""Write a graph in ArangoDB's own dump format, with a manifest that says what it is and proves it is whole.

The layout is that of ``arangodump`` (https://docs.arango.ai/arangodb/stable/components/tools/arangodump/):
``dump.json``, ``ENCRYPTION`` and, for a collection, ``<name>_<md5 of name>.structure.json`` with its properties and
indexes, and ``<name>_<md5 of name>.data.json.gz`` with one document per line. ``manifest.json`` is ours;
``arangorestore`` ignores it.
"""

from __future__ import annotations

import glob
import gzip
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
from arango.database import StandardDatabase

from workshop.errors import StoreSchemaError
from workshop.files import sha256_of
from workshop.store.bulk import Document, Progress
from workshop.store.connection import store_errors
from workshop.store.pending import EMBEDDING
from workshop.store.queries import run_query

DUMP_JSON = "dump.json"
ENCRYPTION = "ENCRYPTION"
MANIFEST = "manifest.json"
FORMAT_VERSION = 1
"""Of what the manifest says; raised when a reader of today would misread it."""
GRAPHS = "_graphs"
DOCUMENTS_TYPE, EDGES_TYPE = 2, 3
PAGE_DOCUMENTS = 1000


def make_dump(
    database: StandardDatabase,
    folder: Path,
    graph: str,
    *,
    data_set: str,
    leave_out: Mapping[str, list[str]] | None = None,
    vector_decimals: int = 4,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Dump a named graph: its collections, persistent indexes and definition.

    The same documents always give the same bytes. Vector indexes are left out; they are built again from the data.
    ``folder`` is replaced when the dump is complete, and stays as it was when something fails.

    Args:
        database: the store.
        folder: where the dump goes.
        graph: name of the graph.
        data_set: what the documents come from, such as a package and its hash; kept in the manifest.
        leave_out: attributes not to dump, by collection.
        vector_decimals: embeddings are rounded to so many decimals, to save space.
        progress: called with the number of documents written and the number of all.

    Returns:
        The manifest.

    Raises:
        StoreSchemaError: there is no such graph.
    """
    edges, vertices, definition = _graph(database, graph)
    names = [*vertices, *edges]
    with store_errors("count documents"):
        total = sum(database.collection(name).count() for name in names)
    _remove_leftovers(folder)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        done = 0
        collections: dict[str, Any] = {}
        for name in names:
            kind = EDGES_TYPE if name in edges else DOCUMENTS_TYPE
            pages = _pages(database, name, (leave_out or {}).get(name, []), vector_decimals)
            count = _write_collection(aside, name, kind, _persistent_indexes(database, name), pages)
            collections[name] = {"documents": count, "files": _file_facts(aside, name)}
            done += count
            if progress:
                progress(done, total)
        _write_collection(aside, GRAPHS, DOCUMENTS_TYPE, [], [[definition]])
        collections[GRAPHS] = {"documents": 1, "files": _file_facts(aside, GRAPHS)}
        _write_json(aside / DUMP_JSON, {"database": database.name, "lastTickAtDumpStart": "0", "useEnvelope": False})
        (aside / ENCRYPTION).write_text("none")
        manifest = {
            "format": FORMAT_VERSION,
            "data_set": data_set,
            "embedding_models": {
                name: run_query(database, "embedding_models", {"@collection": name}) for name in names
            },
            "vector_decimals": vector_decimals,
            "left_out": dict(leave_out or {}),
            "collections": collections,
        }
        manifest["embedding_models"] = {name: models for name, models in manifest["embedding_models"].items() if models}
        (aside / MANIFEST).write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n")
        _swap(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return manifest


def file_stem(collection: str) -> str:
    """How the names of a collection's files begin."""
    return f"{collection}_{hashlib.md5(collection.encode(), usedforsecurity=False).hexdigest()}"


def _graph(database: StandardDatabase, graph: str) -> tuple[list[str], list[str], Document]:
    """Edge collections, vertex collections and the document of ``_graphs`` that describes the graph."""
    with store_errors(f"read graph {graph!r}"):
        if not database.has_graph(graph):
            raise StoreSchemaError(f"there is no graph {graph!r} in {database.name!r}", hint="load the data first")
        definitions = database.graph(graph).edge_definitions()
        vertices = sorted(database.graph(graph).vertex_collections())
    edge_definitions = [
        {
            "collection": definition["edge_collection"],
            "from": sorted(definition["from_vertex_collections"]),
            "to": sorted(definition["to_vertex_collections"]),
        }
        for definition in sorted(definitions, key=lambda definition: definition["edge_collection"])
    ]
    linked = {name for definition in edge_definitions for name in definition["from"] + definition["to"]}
    document = {
        "_key": graph,
        "edgeDefinitions": edge_definitions,
        "orphanCollections": [name for name in vertices if name not in linked],
    }
    return [definition["collection"] for definition in edge_definitions], vertices, document


def _pages(
    database: StandardDatabase, collection: str, leave_out: list[str], decimals: int
) -> Iterator[list[Document]]:
    after = ""
    while True:
        bind_vars = {"@collection": collection, "after": after, "limit": PAGE_DOCUMENTS, "leave_out": leave_out}
        page = run_query(database, "dump_page", bind_vars)
        if not page:
            return
        for document in page:
            if EMBEDDING in document:
                # adding zero turns -0.0 into 0.0
                document[EMBEDDING] = [round(number, decimals) + 0.0 for number in document[EMBEDDING]]
        yield page
        after = page[-1]["_key"]


def _persistent_indexes(database: StandardDatabase, collection: str) -> list[dict[str, Any]]:
    with store_errors(f"read the indexes of {collection!r}"):
        indexes = database.collection(collection).indexes()
    return [
        {
            "id": str(number),
            "type": "persistent",
            "name": index["name"],
            "fields": list(index["fields"]),
            "unique": index.get("unique", False),
            "sparse": index.get("sparse", False),
        }
        for number, index in enumerate(sorted(indexes, key=lambda index: index.get("name", "")), start=1)
        if index["type"] == "persistent"
    ]


def _write_collection(
    folder: Path, name: str, kind: int, indexes: list[dict[str, Any]], pages: Iterator[list[Document]] | list
) -> int:
    parameters = {
        "name": name,
        "type": kind,
        "isSystem": name.startswith("_"),
        "deleted": False,
        "waitForSync": False,
        "keyOptions": {"type": "traditional", "allowUserKeys": True},
        "numberOfShards": 1,
        "replicationFactor": 1,
        "writeConcern": 1,
    }
    stem = file_stem(name)
    _write_json(folder / f"{stem}.structure.json", {"indexes": indexes, "parameters": parameters})
    count = 0
    with (
        (folder / f"{stem}.data.json.gz").open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=9, mtime=0) as packed,
    ):
        for page in pages:
            for document in page:
                packed.write(orjson.dumps(document, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE))
            count += len(page)
    return count


def _file_facts(folder: Path, collection: str) -> dict[str, Any]:
    files = sorted(folder.glob(f"{file_stem(collection)}.*"))
    return {file.name: {"bytes": file.stat().st_size, "sha256": sha256_of(file)} for file in files}


def _write_json(path: Path, value: Any) -> None:
    path.write_bytes(orjson.dumps(value))


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left of dumps to this folder; one that still runs keeps its own."""
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*"):
        writer = left.name.rpartition(".")[2]
        if left.name == f".{folder.name}.{writer}" and writer.isdecimal() and not _runs(int(writer)):
            shutil.rmtree(left, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def _swap(new: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old.{os.getpid()}")
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
    shutil.rmtree(old, ignore_errors=True)
