"""Columnar copies of vector attributes, and nearest-neighbour search over them with Faiss.

A vector index keeps only its trained quantiser on disk (the centroids); the inverted lists are filled from the
documents on first use after a change, because that takes milliseconds at the sizes aqlite is for.
Source of the parameters: https://docs.arango.ai/arangodb/stable/indexes-and-search/indexing/working-with-indexes/vector-indexes/
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from aqlite.errors import ArangoError
from aqlite.storage.api import Document, IndexInfo, VectorColumn
from aqlite.storage.entries import attribute, field_text

if TYPE_CHECKING:
    import faiss

    from aqlite.storage.catalog import Collection
    from aqlite.storage.snapshot import Snapshot

METRICS = ("cosine", "l2", "innerProduct")
_NUMBERS = {int, float}
_MAX_BYTES = 256 * 2**20
_CHUNK = 512
MAX_LOGGED_ROWS = 10_000
"""Changed rows of a collection that are remembered, so that a held column is patched instead of compared."""
_MAX_LOGGED_COMMITS = 1_000


def is_vector(value: Any) -> bool:
    """Whether the value is a non-empty list of numbers."""
    return type(value) is list and len(value) > 0 and set(map(type, value)) <= _NUMBERS


def check_vector(index: IndexInfo, document: Document) -> None:
    """Raises ArangoError 10 when the document cannot be in the vector index."""
    path, dimension = index.fields[0], index.params["dimension"]
    value = attribute(document, path)
    if value is None and index.sparse:
        return
    if not is_vector(value):
        raise ArangoError(
            10, f"vector index '{index.name}': attribute '{field_text(path)}' must be an array of {dimension} numbers"
        )
    if len(value) != dimension:
        raise ArangoError(
            10,
            f"vector index '{index.name}': attribute '{field_text(path)}' has {len(value)} numbers, "
            f"the index has dimension {dimension}",
        )


def read_column(
    view: Snapshot, collection: Collection, path: tuple[str, ...], dimension: int, previous: VectorColumn | None
) -> VectorColumn | None:
    """Build the column, taking the rows that did not change from ``previous``; ``None`` when it would be too large."""
    rows = _as_rows(view.all_rows(collection))
    if len(rows) * dimension * 4 > _MAX_BYTES:
        return None
    if previous is None:
        return _patched(_empty_column(dimension), view, collection, path, rows[:, 0], rows)
    known = np.concatenate([np.stack([previous.rids, previous.revs], axis=1), previous.others])
    changed = rows[~np.isin(rows[:, 1], known[:, 1])]
    gone = known[~np.isin(known[:, 1], rows[:, 1])]
    return _patched(previous, view, collection, path, np.concatenate([gone[:, 0], changed[:, 0]]), changed)


def patch_column(
    view: Snapshot, collection: Collection, path: tuple[str, ...], column: VectorColumn, rids: set[int]
) -> VectorColumn | None:
    """The column as the view sees it, when no other rows than ``rids`` differ from another state's ``column``."""
    rows = _as_rows(view.rows_among(collection, list(rids)))
    dimension = column.matrix.shape[1]
    if (len(column.rids) + len(column.others) + len(rows)) * dimension * 4 > _MAX_BYTES:
        return read_column(view, collection, path, dimension, column)
    return _patched(column, view, collection, path, np.array(list(rids), dtype=np.int64), rows)


def _patched(
    column: VectorColumn,
    view: Snapshot,
    collection: Collection,
    path: tuple[str, ...],
    touched: np.ndarray,
    rows: np.ndarray,
) -> VectorColumn:
    """The column with new content for the row ids ``touched``: that of ``rows`` int64 [k, 2], as the view sees them."""
    is_read, vectors = _read_vectors(view, collection, path, column.matrix.shape[1], rows)
    stays = ~np.isin(column.rids, touched)
    kept = slice(None) if stays.all() else stays
    rids = np.concatenate([column.rids[kept], rows[is_read, 0]])
    order = np.argsort(rids, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    count = int(stays.sum())
    matrix = np.empty((len(order), column.matrix.shape[1]), dtype=np.float32)
    matrix[place[:count]] = column.matrix[kept]
    matrix[place[count:]] = vectors
    with np.errstate(over="ignore"):
        norms = np.concatenate([column.norms[kept], np.linalg.norm(vectors, axis=1)])
    others = np.concatenate([column.others[~np.isin(column.others[:, 0], touched)], rows[~is_read]])
    return VectorColumn(
        rids=rids[order],
        revs=np.concatenate([column.revs[kept], rows[is_read, 1]])[order],
        matrix=matrix,
        norms=norms[order],
        others=others[np.argsort(others[:, 0])],
    )


def _read_vectors(
    view: Snapshot, collection: Collection, path: tuple[str, ...], dimension: int, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which rows hold a vector of the width, bool [k], and those vectors, float32 [found, d]."""
    is_read = np.zeros(len(rows), dtype=bool)
    vectors = np.empty((len(rows), dimension), dtype=np.float32)
    found = 0
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK].tolist()
        for position, document in enumerate(view.hydrate(collection, chunk), start):
            value = attribute(document, path)
            if is_vector(value) and len(value) == dimension:
                with np.errstate(over="ignore"):  # numbers beyond float32 become infinite
                    vectors[found] = value
                is_read[position] = True
                found += 1
    return is_read, vectors[:found]


def _as_rows(rows: list[tuple[int, int]]) -> np.ndarray:
    return np.array(rows, dtype=np.int64).reshape(-1, 2)


def _empty_column(dimension: int) -> VectorColumn:
    none = np.empty(0, dtype=np.int64)
    return VectorColumn(none, none, np.empty((0, dimension), np.float32), np.empty(0, np.float32), none.reshape(0, 2))


class VectorCache:
    """Columns and filled Faiss indexes of recent collection states, at most ``_MAX_BYTES`` of each kind."""

    def __init__(self) -> None:
        self._columns: OrderedDict[tuple, tuple[int, VectorColumn | None]] = OrderedDict()
        self._filled: OrderedDict[str, tuple[int, faiss.Index]] = OrderedDict()
        self._commits: dict[int, dict[int, set[int]]] = {}
        self._lock = threading.Lock()

    def column(
        self, view: Snapshot, collection: Collection, path: tuple[str, ...], dimension: int
    ) -> VectorColumn | None:
        """The column as the view sees it."""
        version = view.data_version(collection)
        slot = (collection.id, path, dimension)
        with self._lock:
            held = self._columns.get(slot)
            if held is not None and held[0] == version:
                self._columns.move_to_end(slot)
                return held[1]
        column = self._current(view, collection, path, dimension, held)
        if version is not None:
            with self._lock:
                held = self._columns.get(slot)
                if held is None or held[0] < version:  # an old snapshot does not take the place of a newer state
                    _keep(self._columns, slot, (version, column), _column_bytes)
        return column

    def _current(
        self,
        view: Snapshot,
        collection: Collection,
        path: tuple[str, ...],
        dimension: int,
        held: tuple[int, VectorColumn | None] | None,
    ) -> VectorColumn | None:
        """The column as the view sees it, made from that of another state as far as there is one."""
        if held is None or held[1] is None:
            return read_column(view, collection, path, dimension, None)
        own = view.own_changes(collection)
        committed = self._changed_between(collection.id, held[0], view.committed_version(collection))
        if own is None or committed is None:
            return read_column(view, collection, path, dimension, held[1])
        return patch_column(view, collection, path, held[1], committed | own)

    def note_commit(self, collection: int, version: int, rids: set[int] | None) -> None:
        """Remember which rows the commit that led to ``version`` changed; ``None``: too many to say.

        Only for collections of which a column is held, at most ``MAX_LOGGED_ROWS`` rows each.
        """
        with self._lock:
            held = {slot[0] for slot in self._columns}
            for unused in self._commits.keys() - held:
                del self._commits[unused]
            if collection not in held:
                return
            commits = self._commits.setdefault(collection, {})
            if rids is None:
                commits.clear()
                return
            commits[version] = rids
            while len(commits) > _MAX_LOGGED_COMMITS or sum(map(len, commits.values())) > MAX_LOGGED_ROWS:
                del commits[next(iter(commits))]

    def _changed_between(self, collection: int, one: int, other: int) -> set[int] | None:
        """Rows that may differ between two committed states, whichever is older; ``None`` when that is not known."""
        first, last = min(one, other), max(one, other)
        with self._lock:
            commits = self._commits.get(collection, {})
            if last - first > len(commits):
                return None
            changed = [commits.get(version) for version in range(first + 1, last + 1)]
        return None if None in changed else set().union(*changed)

    def search(
        self,
        view: Snapshot,
        collection: Collection,
        index: IndexInfo,
        query: Sequence[float],
        k: int,
        n_probe: int | None,
        accept: Callable[[Document], bool] | None,
    ) -> list[tuple[Document, float]]:
        """See ``StoreView.vector_search``."""
        dimension = index.params["dimension"]
        if not is_vector(query) or len(query) != dimension:
            raise ArangoError(10, f"a query vector of {dimension} numbers is expected by vector index '{index.name}'")
        column = self.column(view, collection, index.fields[0], dimension)
        filled = self._filled_index(view, collection, index, column)
        if column is None or not len(column.rids) or k <= 0:
            return []
        point = _prepared(np.array([query], dtype=np.float32), index.params["metric"])
        probes = n_probe if n_probe is not None else index.params.get("defaultNProbe", 1)
        found: list[tuple[Document, float]] = []
        wanted, done = min(k, len(column.rids)), 0
        # A filter is applied to the probed lists' vectors, nearest first; ask for more until enough pass.
        while True:
            scores, positions = _nearest(filled, point, wanted, probes)
            chosen = positions[done:].tolist()
            rows = [(int(column.rids[p]), int(column.revs[p])) for p in chosen]
            for document, score in zip(view.hydrate(collection, rows), scores[done:].tolist(), strict=True):
                if accept is None or accept(document):
                    found.append((document, _score(score, index.params["metric"])))
                    if len(found) == k:
                        return found
            if len(positions) < wanted or wanted == len(column.rids):
                return found
            done, wanted = len(positions), min(4 * wanted, len(column.rids))

    def _filled_index(
        self, view: Snapshot, collection: Collection, index: IndexInfo, column: VectorColumn | None
    ) -> faiss.Index:
        version = view.data_version(collection)
        with self._lock:
            held = self._filled.get(index.id)
            if held is not None and held[0] == version:
                self._filled.move_to_end(index.id)
                return held[1]
        trained = view.trained_index(index)
        if trained is None:
            raise ArangoError(
                1554,
                f"AQL: failed vector search: vector index '{index.name}' is not trained, "
                f"it needs at least {index.params['nLists']} documents with a vector",
            )
        filled = _deserialise(trained)
        if column is not None and len(column.rids):
            filled.add(_prepared(column.matrix, index.params["metric"]))
        if version is not None:
            with self._lock:
                _keep(self._filled, index.id, (version, filled), _filled_bytes)
        return filled

    def forget(self) -> None:
        """Drop everything held."""
        with self._lock:
            self._columns.clear()
            self._commits.clear()
            self._filled.clear()


def _column_bytes(held: tuple[int, VectorColumn | None]) -> int:
    return held[1].nbytes if held[1] is not None else 0


def _filled_bytes(held: tuple[int, faiss.Index]) -> int:
    return 4 * held[1].ntotal * held[1].d


def _keep(entries: OrderedDict, slot: Any, entry: tuple, size: Callable[[Any], int]) -> None:
    """Hold an entry as the youngest; the oldest ones leave while all together are too large."""
    entries[slot] = entry
    entries.move_to_end(slot)
    while len(entries) > 1 and sum(map(size, entries.values())) > _MAX_BYTES:
        entries.popitem(last=False)


def _faiss() -> ModuleType:
    """Faiss, imported when the first vector index is used.

    One OpenMP thread per request thread (the setting belongs to the calling thread): requests run side by side already.
    """
    import faiss

    faiss.omp_set_num_threads(1)
    return faiss


def train(index: IndexInfo, column: VectorColumn | None) -> bytes | None:
    """Trained, empty Faiss index as bytes; ``None`` when there are fewer vectors than lists."""
    faiss = _faiss()
    lists, dimension, metric = index.params["nLists"], index.params["dimension"], index.params["metric"]
    if column is None or len(column.rids) < lists:
        return None
    measure = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
    try:
        untrained = faiss.index_factory(dimension, index.params.get("factory") or f"IVF{lists},Flat", measure)
        inverted = faiss.extract_index_ivf(untrained)
        inverted.cp.niter = index.params["trainingIterations"]
        inverted.cp.min_points_per_centroid = 1
        untrained.train(_prepared(column.matrix, metric))
    except RuntimeError as error:
        raise ArangoError(1235, f"vector index creation failed: {error}") from error
    return faiss.serialize_index(untrained).tobytes()


def _deserialise(trained: bytes) -> faiss.Index:
    return _faiss().deserialize_index(np.frombuffer(trained, dtype=np.uint8))


def _prepared(vectors: np.ndarray, metric: str) -> np.ndarray:
    """Vectors as the index holds them: of length 1 for the cosine metric."""
    if metric != "cosine":
        return vectors
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms == 0, 1, norms)


def _nearest(filled: faiss.Index, point: np.ndarray, k: int, probes: int) -> tuple[np.ndarray, np.ndarray]:
    faiss = _faiss()
    lists = faiss.extract_index_ivf(filled).nlist
    parameters = faiss.SearchParametersIVF(nprobe=max(1, min(probes, lists)))
    scores, positions = filled.search(point, k, params=parameters)
    found = positions[0] >= 0
    return scores[0][found], positions[0][found]


def _score(score: float, metric: str) -> float:
    """Faiss returns the squared distance for L2; AQL shows the distance."""
    return math.sqrt(max(score, 0.0)) if metric == "l2" else score
