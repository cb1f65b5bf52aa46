"""Columnar copies of vector attributes, for exact scores of whole collections at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from aqlite.storage.api import Document, VectorColumn
from aqlite.storage.fields import attribute
from aqlite.storage.indexes.vector import is_vector

_MAX_BYTES = 256 * 2**20
_CHUNK = 512
MAX_LOGGED_ROWS = 10_000
"""Changed rows of a collection that are remembered, so that a held column is patched instead of compared."""
_MAX_LOGGED_COMMITS = 1_000


class RowReader(Protocol):
    """A snapshot as columns see it; ``Snapshot`` says what the methods do."""

    def all_rows(self, collection: Any) -> list[tuple[int, int]]:
        """Every row in scan order."""

    def rows_among(self, collection: Any, rids: list[int]) -> list[tuple[int, int]]:
        """Those of the rows that exist, in scan order."""

    def hydrate(self, collection: Any, rows: Sequence[tuple[int, int]]) -> list[Document]:
        """Documents of rows, in their order."""

    def data_version(self, collection: Any) -> int | None:
        """Number of the collection's state; ``None`` with uncommitted changes."""

    def committed_version(self, collection: Any) -> int:
        """Number of the committed state it started from."""

    def own_changes(self, collection: Any) -> set[int] | None:
        """Rows it changed itself; ``None`` when they are too many."""


def read_column(
    view: RowReader, collection: Any, path: tuple[str, ...], dimension: int, previous: VectorColumn | None
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
    view: RowReader, collection: Any, path: tuple[str, ...], column: VectorColumn, rids: set[int]
) -> VectorColumn | None:
    """The column as the view sees it, when no other rows than ``rids`` differ from another state's ``column``."""
    rows = _as_rows(view.rows_among(collection, list(rids)))
    dimension = column.matrix.shape[1]
    if (len(column.rids) + len(column.others) + len(rows)) * dimension * 4 > _MAX_BYTES:
        return read_column(view, collection, path, dimension, column)
    return _patched(column, view, collection, path, np.array(list(rids), dtype=np.int64), rows)


def _patched(
    column: VectorColumn,
    view: RowReader,
    collection: Any,
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
    view: RowReader, collection: Any, path: tuple[str, ...], dimension: int, rows: np.ndarray
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


class ColumnCache:
    """Columns of recent collection states, together at most ``_MAX_BYTES``."""

    def __init__(self) -> None:
        self._columns: OrderedDict[tuple, tuple[int, VectorColumn | None]] = OrderedDict()
        self._commits: dict[int, dict[int, set[int]]] = {}
        self._lock = threading.Lock()

    def column(self, view: RowReader, collection: Any, path: tuple[str, ...], dimension: int) -> VectorColumn | None:
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
                    _keep(self._columns, slot, (version, column))
        return column

    def _current(
        self,
        view: RowReader,
        collection: Any,
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


def _column_bytes(held: tuple[int, VectorColumn | None]) -> int:
    return held[1].nbytes if held[1] is not None else 0


def _keep(entries: OrderedDict, slot: Any, entry: tuple[int, VectorColumn | None]) -> None:
    """Hold an entry as the youngest; the oldest ones leave while all together are too large."""
    entries[slot] = entry
    entries.move_to_end(slot)
    while len(entries) > 1 and sum(map(_column_bytes, entries.values())) > _MAX_BYTES:
        entries.popitem(last=False)
