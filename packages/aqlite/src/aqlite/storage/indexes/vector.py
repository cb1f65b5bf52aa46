"""Vector indexes: nearest neighbours by inverted lists (IVF).

Each vector is in the list of its nearest centroid; a search looks at the lists of the centroids nearest to the query.
Vectors and lists are kept in the data file row by row (``vector_lists``); the centroids are trained once.
Source of the parameters: https://docs.arango.ai/arangodb/stable/indexes-and-search/indexing/working-with-indexes/vector-indexes/
"""

from __future__ import annotations

import array
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from aqlite.errors import ArangoError
from aqlite.storage.api import Document, IndexInfo
from aqlite.storage.fields import attribute, field_text, is_expanded
from aqlite.storage.indexes.base import IndexKind, Path, Reader, StoredCollection
from aqlite.storage.indexes.training import SAMPLE_PER_LIST, SMALLEST_SAMPLE, check_factory, trained_centroids
from aqlite.storage.indexes.vector_lists import ListTables

METRICS = ("cosine", "l2", "innerProduct")
_PARAMS = {"metric", "dimension", "nLists", "defaultNProbe", "trainingIterations", "factory"}
_MAX_DIMENSION = 2**16
_NUMBERS = {int, float}
_CHUNK = 8192


class VectorIndex(IndexKind):
    """Documents by the nearness of a vector."""

    type = "vector"
    maintained = True

    # --- definition -------------------------------------------------------------------------------------------
    def validate(self, name: str, fields: tuple[Path, ...], given: dict[str, Any]) -> IndexInfo:
        """See ``IndexKind``."""
        if len(fields) != 1 or is_expanded(fields[0]):
            raise ArangoError(10, "an index of type 'vector' has exactly one field, which cannot expand an array")
        return IndexInfo(
            "", name, self.type, fields, False, bool(given.get("sparse", False)), _checked_params(given.get("params"))
        )

    def describe(self, reader: Reader, collection: StoredCollection, index: IndexInfo, *, stats: bool) -> Document:
        """See ``IndexKind``."""
        shown = super().describe(reader, collection, index, stats=stats)
        shown["params"] = index.params
        ready = is_trained(reader, index)
        shown["trainingState"] = "ready" if ready else "unusable"
        if not ready:
            shown["errorMessage"] = f"not trained: at least nLists = {index.params['nLists']} documents are needed"
        return shown

    # --- tables -----------------------------------------------------------------------------------------------
    def create(self, connection: sqlite3.Connection, index: IndexInfo) -> None:
        """See ``IndexKind``."""
        ListTables(index).create(connection)

    def drop(self, connection: sqlite3.Connection, index: IndexInfo) -> None:
        """See ``IndexKind``."""
        ListTables(index).drop(connection)

    def clear(self, writer: Any, index: IndexInfo) -> None:
        """See ``IndexKind``."""
        ListTables(index).clear(writer.connection)
        writer.list_changes(index).lists.clear()

    def build(self, writer: Any, collection: StoredCollection, index: IndexInfo) -> None:
        """Check all documents; train and fill the lists when there are enough vectors, else stay unusable."""
        lists, dimension = index.params["nLists"], index.params["dimension"]
        count = writer.count(collection.name)
        needed, free = 4 * count * dimension, shutil.disk_usage(writer.shared.folder).free
        if needed > free:
            raise ArangoError(
                1104, f"building vector index '{index.name}' needs {needed} bytes on disk, {free} are free"
            )
        with tempfile.TemporaryFile(dir=writer.shared.folder) as spool:
            rids = array.array("q")
            for rid, document in writer.bodies(collection):
                for vector in self.keys(index, document):
                    rids.append(rid)
                    spool.write(vector)
            spool.flush()
            if len(rids) < lists:
                return
            vectors = np.memmap(spool, dtype=np.float32, mode="r", shape=(len(rids), dimension))
            self._fill(writer, index, np.array(rids, dtype=np.int64), vectors)

    def _fill(self, writer: Any, index: IndexInfo, rids: np.ndarray, vectors: np.ndarray) -> None:
        wanted = max(SMALLEST_SAMPLE, SAMPLE_PER_LIST * index.params["nLists"])
        chosen = np.unique(np.linspace(0, len(rids) - 1, num=min(wanted, len(rids)), dtype=np.int64))
        centroids = trained_centroids(index.params, vectors[chosen])
        writer.set_trained(index, centroids)
        numbers = np.concatenate(
            [
                nearest_centroids(centroids, vectors[start : start + _CHUNK], index.params["metric"])
                for start in range(0, len(rids), _CHUNK)
            ]
        )
        order = np.lexsort((rids, numbers))
        tables = ListTables(index)
        for start in range(0, len(order), _CHUNK):
            part = order[start : start + _CHUNK]
            rows = (row.tobytes() for row in vectors[part])
            tables.insert(writer.connection, zip(numbers[part].tolist(), rids[part].tolist(), rows, strict=True))
        tables.set_versions(writer.connection, np.unique(numbers).tolist(), writer.shared.clock.next())

    # --- documents --------------------------------------------------------------------------------------------
    def keys(self, index: IndexInfo, document: Document) -> list[bytes]:
        """The vector as the index holds it: float32, of length 1 for the cosine metric."""
        path, dimension = index.fields[0], index.params["dimension"]
        value = attribute(document, path)
        if value is None and index.sparse:
            return []
        if not is_vector(value):
            raise ArangoError(
                10,
                f"vector index '{index.name}': attribute '{field_text(path)}' must be an array of {dimension} numbers",
            )
        if len(value) != dimension:
            raise ArangoError(
                10,
                f"vector index '{index.name}': attribute '{field_text(path)}' has {len(value)} numbers, "
                f"the index has dimension {dimension}",
            )
        return [prepared(value, index.params["metric"]).tobytes()]

    def insert(self, writer: Any, index: IndexInfo, keys: list[bytes], rid: int) -> None:
        """See ``IndexKind``."""
        centroids = writer.centroids(index) if keys else None
        if centroids is None:
            return
        vector = np.frombuffer(keys[0], dtype=np.float32)[None]
        number = int(nearest_centroids(centroids, vector, index.params["metric"])[0])
        ListTables(index).insert(writer.connection, [(number, rid, keys[0])])
        writer.note_vector(index, number, rid, keys[0])

    def delete(self, writer: Any, index: IndexInfo, keys: list[bytes], rid: int) -> None:
        """See ``IndexKind``."""
        number = ListTables(index).delete(writer.connection, rid) if keys else None
        if number is not None:
            writer.note_vector(index, number, rid, None)

    # --- answering --------------------------------------------------------------------------------------------
    def can_rank(self, index: IndexInfo, path: Path, metric: str) -> bool:
        """See ``IndexKind``."""
        return index.fields == (path,) and index.params["metric"] == metric

    def search(
        self,
        reader: Any,
        collection: StoredCollection,
        index: IndexInfo,
        query: Sequence[float],
        k: int,
        n_probe: int | None,
        accept: Callable[[Document], bool] | None,
    ) -> list[tuple[Document, float]]:
        """See ``StoreView.vector_search``."""
        dimension, metric = index.params["dimension"], index.params["metric"]
        if not is_vector(query) or len(query) != dimension:
            raise ArangoError(10, f"a query vector of {dimension} numbers is expected by vector index '{index.name}'")
        centroids = reader.centroids(index)
        if centroids is None:
            raise ArangoError(
                1554,
                f"AQL: failed vector search: vector index '{index.name}' is not trained, "
                f"it needs at least {index.params['nLists']} documents with a vector",
            )
        if k <= 0:
            return []
        point = prepared(query, metric)
        probes = index.params.get("defaultNProbe", 1) if n_probe is None else n_probe
        numbers = _best(_losses(centroids, point, metric), max(1, probes))
        pieces = reader.shared.lists.read(
            reader.connection, index.id, ListTables(index), numbers.tolist(), reader.list_changes(index)
        )
        with np.errstate(over="ignore", invalid="ignore"):  # of numbers beyond float32
            found = [(piece.rids, _losses(piece.matrix, point, metric)) for piece in pieces]
        if not found:
            return []
        rids, losses = (np.concatenate(parts) for parts in zip(*found, strict=True))
        losses[np.isnan(losses)] = np.inf
        return _accepted(reader, collection, rids, losses, k, accept, metric)


def _accepted(
    reader: Any,
    collection: StoredCollection,
    rids: np.ndarray,
    losses: np.ndarray,
    k: int,
    accept: Callable[[Document], bool] | None,
    metric: str,
) -> list[tuple[Document, float]]:
    """The ``k`` documents with the smallest losses that are accepted, with their scores; equal ones by row id."""
    chosen: list[tuple[Document, float]] = []
    done, wanted = 0, k
    while done < len(rids):
        best = _best(losses, wanted, rids)[done:]
        for document, loss in zip(reader.documents_by_rid(collection, rids[best].tolist()), losses[best], strict=True):
            if accept is None or accept(document):
                chosen.append((document, float(np.sqrt(loss)) if metric == "l2" else -float(loss)))
                if len(chosen) == k:
                    return chosen
        done, wanted = done + len(best), 4 * wanted
    return chosen


def _best(losses: np.ndarray, count: int, ties: np.ndarray | None = None) -> np.ndarray:
    """Positions of the ``count`` smallest values in order, equal ones in the order of ``ties``."""
    positions = np.arange(len(losses))
    if count < len(losses):
        bound = np.partition(losses, count - 1)[count - 1]
        positions = positions[losses <= bound]
    order = np.lexsort((positions if ties is None else ties[positions], losses[positions]))
    return positions[order][:count]


def is_vector(value: Any) -> bool:
    """Whether the value is a non-empty list of numbers."""
    return type(value) is list and len(value) > 0 and set(map(type, value)) <= _NUMBERS


def prepared(vector: Sequence[float], metric: str) -> np.ndarray:
    """The vector as the index holds it: float32, of length 1 for the cosine metric."""
    with np.errstate(over="ignore", invalid="ignore"):  # numbers beyond float32 become infinite
        point = np.array(vector, dtype=np.float32)
        if metric == "cosine":
            length = np.linalg.norm(point)
            return point / length if length else point
        return point


def nearest_centroids(centroids: np.ndarray, vectors: np.ndarray, metric: str) -> np.ndarray:
    """Number of each vector's list, int64 [n], for vectors float32 [n, d]."""
    with np.errstate(over="ignore", invalid="ignore"):
        products = vectors @ centroids.T if len(vectors) > 1 else _products(centroids, vectors[0])[None]
        if metric == "l2":
            products -= np.einsum("ij,ij->i", centroids, centroids) / 2
        return np.argmax(products, axis=1)


def _products(matrix: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Inner product of each row and the point, float32 [n], on the calling thread.

    BLAS wakes its threads for some hundred rows already, which takes longer than the products on a busy machine.
    """
    return np.einsum("ij,j->i", matrix, point)


def _losses(matrix: np.ndarray, point: np.ndarray, metric: str) -> np.ndarray:
    """How far each vector of the matrix is from the point, float32 [n]: squared distance, or minus the product."""
    if metric != "l2":
        return -_products(matrix, point)
    difference = matrix - point
    return np.einsum("ij,ij->i", difference, difference)


def is_trained(reader: Reader, index: IndexInfo) -> bool:
    """Whether the index has its centroids in the reader's snapshot."""
    found = reader.connection.execute("SELECT trained IS NOT NULL FROM indexes WHERE id = ?", (int(index.id),))
    row = found.fetchone()
    return row is not None and bool(row[0])


def _checked_params(given: Any) -> dict[str, Any]:
    """Checked parameters of a vector index, defaults filled in."""
    if type(given) is not dict:
        raise ArangoError(10, "a vector index needs an object 'params'")
    unknown = set(given) - _PARAMS
    if unknown:
        raise ArangoError(10, f"unknown attribute in params: {', '.join(sorted(unknown))}")
    if given.get("metric") not in METRICS:
        raise ArangoError(10, f"params.metric must be one of {', '.join(METRICS)}")
    params = {
        "metric": given["metric"],
        "dimension": _whole(given, "dimension", None, _MAX_DIMENSION),
        "nLists": _whole(given, "nLists", None, 2**20),
        "defaultNProbe": _whole(given, "defaultNProbe", 1, 2**20),
        "trainingIterations": _whole(given, "trainingIterations", 25, 10_000),
    }
    if given.get("factory") is not None:
        params["factory"] = given["factory"]
        check_factory(params)
    return params


def _whole(given: dict[str, Any], name: str, default: int | None, most: int) -> int:
    value = given.get(name, default)
    if type(value) is not int or not 1 <= value <= most:
        raise ArangoError(10, f"params.{name} must be an integer from 1 to {most}")
    return value
