"""What the query engine sees of the storage: one view per query or transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np

Document = dict[str, Any]
CollectionKind = Literal["document", "edge"]
Direction = Literal["outbound", "inbound", "any"]
OverwriteMode = Literal["conflict", "ignore", "replace", "update"]

UNBOUNDED: Any = object()
"""Marks a missing bound of ``StoreView.index_lookup`` (``None`` is AQL's null, a value)."""


@dataclass(frozen=True)
class IndexInfo:
    """One index of a collection.

    Attributes:
        id: the number part of ArangoDB's index handle ``collection/id``, as a string.
        name: name, unique within the collection.
        type: ``primary``, ``edge``, ``persistent``, ``ttl`` or ``vector``.
        fields: attribute paths; ``("a", "b")`` is ``a.b``; a last part ending in ``[*]`` indexes an array's members.
        params: vector index: ``metric``, ``dimension``, ``nLists``, ``defaultNProbe``, ``trainingIterations``.
        options: what else the index was created with (``deduplicate``, ``estimates``, ``expireAfter``, ...).
    """

    id: str
    name: str
    type: str
    fields: tuple[tuple[str, ...], ...]
    unique: bool = False
    sparse: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CollectionInfo:
    """One collection: its name, id, kind and indexes (primary first, then edge, then the others by age)."""

    name: str
    id: str
    kind: CollectionKind
    indexes: tuple[IndexInfo, ...] = ()


@dataclass(frozen=True)
class EdgeDefinition:
    """One relation of a named graph."""

    collection: str
    from_collections: tuple[str, ...]
    to_collections: tuple[str, ...]


@dataclass(frozen=True)
class GraphInfo:
    """A named graph."""

    name: str
    edge_definitions: tuple[EdgeDefinition, ...]
    orphan_collections: tuple[str, ...] = ()

    @property
    def edge_collections(self) -> tuple[str, ...]:
        """Names of the edge collections, each once, in order of definition."""
        return tuple(dict.fromkeys(d.collection for d in self.edge_definitions))

    @property
    def vertex_collections(self) -> tuple[str, ...]:
        """Names of all vertex collections, orphans included, each once."""
        names = [n for d in self.edge_definitions for n in (*d.from_collections, *d.to_collections)]
        return tuple(dict.fromkeys([*names, *self.orphan_collections]))


@dataclass(frozen=True)
class WriteResult:
    """Outcome of a write: the stored document before (``None`` when new) and after (``None`` when removed).

    ``ignored`` is true when an existing document was left alone: ``overwrite_mode="ignore"`` gives ``new=None``, a
    version that is not newer the stored document as both.
    """

    old: Document | None
    new: Document | None
    ignored: bool = False


@dataclass(frozen=True)
class VectorColumn:
    """All vectors of one width that an attribute holds at one state of a collection.

    Attributes:
        rids: int64 [n], row ids in scan order.  revs: int64 [n], their revisions.
        matrix: float32 [n, d]; infinite where a number is beyond single precision.  norms: float32 [n], Euclidean.
        others: int64 [m, 2], row id and revision of every document without such a vector, in scan order.
    """

    rids: np.ndarray
    revs: np.ndarray
    matrix: np.ndarray
    norms: np.ndarray
    others: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes that the arrays take."""
        return sum(x.nbytes for x in (self.rids, self.revs, self.matrix, self.norms, self.others))


class StoreView(Protocol):
    """A consistent view of one database; reads see one snapshot plus the view's own writes.

    Documents are plain dicts with ``_key``, ``_id`` and ``_rev`` (``_from`` and ``_to`` on edges). They are shared
    with the cache: callers never change them. An iterator does not meet documents inserted after it started.
    """

    database: str

    def collection(self, name: str) -> CollectionInfo:
        """Describe a collection by name. Raises ArangoError 1203."""

    def has_collection(self, name: str) -> bool:
        """Whether a collection of that name exists."""

    def collection_names(self) -> list[str]:
        """Names of all collections, system collections included, sorted."""

    def count(self, name: str) -> int:
        """Number of documents."""

    def scan(self, name: str) -> Iterator[Document]:
        """All documents, oldest first."""

    def get(self, name: str, key: str) -> Document | None:
        """One document by ``_key``; ``None`` when there is none."""

    def index_lookup(
        self,
        name: str,
        index: IndexInfo,
        equal: Sequence[Any],
        lower: Any = UNBOUNDED,
        lower_inclusive: bool = True,
        upper: Any = UNBOUNDED,
        upper_inclusive: bool = True,
        reverse: bool = False,
        attribute: str = "",
    ) -> Iterable[Document]:
        """Documents of an index in index order (ArangoDB's type order).

        ``equal`` fixes the first ``len(equal)`` fields; ``lower`` and ``upper`` bound the field after them. All three
        may be empty: the whole index in order. A sparse index holds no document where an indexed field is null.
        ``attribute`` says by what a primary (``_key``, ``_id``) or edge index (``_from``, ``_to``) is asked.
        """

    def edges(self, name: str, vertex_id: str, direction: Direction) -> Iterator[Document]:
        """Edges of one edge collection at a vertex; a self-loop comes once for ``any``."""

    def vector_column(self, name: str, path: tuple[str, ...], dimension: int) -> VectorColumn | None:
        """Cached column of the vectors of one width; ``None`` when it would take too much memory."""

    def documents_of(self, name: str, rows: Sequence[tuple[int, int]]) -> list[Document]:
        """Documents of rows ``(row id, revision)`` of this view's column of vectors, in their order."""

    def vector_search(
        self,
        name: str,
        index: IndexInfo,
        query: Sequence[float],
        k: int,
        n_probe: int | None,
        accept: Callable[[Document], bool] | None,
    ) -> list[tuple[Document, float]]:
        """Approximate nearest neighbours, best first, with ArangoDB's score.

        The score is the cosine similarity, the inner product (both: larger is nearer) or the L2 distance, by the
        index's metric. ``accept`` filters inside the probed lists. Raises ArangoError 10 on a query of
        another width and 1554 when the index is not trained.
        """

    def insert(
        self,
        name: str,
        doc: Document,
        *,
        overwrite_mode: OverwriteMode = "conflict",
        keep_null: bool = True,
        merge_objects: bool = True,
        version_attribute: str | None = None,
    ) -> WriteResult:
        """Store a new document. Raises ArangoError 1210 (value taken), 1221 (illegal key), 1233 (edge)."""

    def update(
        self,
        name: str,
        key: str,
        patch: Document,
        *,
        rev: str | None = None,
        keep_null: bool = True,
        merge_objects: bool = True,
        version_attribute: str | None = None,
    ) -> WriteResult:
        """Patch a document; with ``rev``, only that revision. Raises ArangoError 1202, 1200, 1210.

        With ``version_attribute`` a patch whose number there is not larger than the stored one is ignored.
        """

    def replace(
        self, name: str, key: str, doc: Document, *, rev: str | None = None, version_attribute: str | None = None
    ) -> WriteResult:
        """Replace a document's attributes. Raises ArangoError 1202, 1200, 1210."""

    def remove(self, name: str, key: str, *, rev: str | None = None) -> WriteResult:
        """Remove a document. Raises ArangoError 1202, 1200."""

    def graph(self, name: str) -> GraphInfo:
        """Describe a named graph. Raises ArangoError 1924."""
