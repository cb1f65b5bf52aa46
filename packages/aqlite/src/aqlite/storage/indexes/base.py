"""What every kind of index does: check its definition, hold documents, and say which conditions it can answer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from aqlite.errors import ArangoError
from aqlite.storage.api import UNBOUNDED, Document, IndexInfo
from aqlite.storage.fields import field_text
from aqlite.storage.tables import CollectionSql

Row = tuple[int, int]
"""Row id and revision."""

Path = tuple[str, ...]


class Comparison(Protocol):
    """A condition on one attribute: ``==``, ``IN`` an array, ``CONTAINS`` a member, ``<``, ``<=``, ``>`` or ``>=``."""

    @property
    def path(self) -> Path:
        """The attribute."""

    @property
    def op(self) -> str:
        """The operator."""

    def excludes_null(self) -> bool:
        """Whether the condition never holds where the attribute is null."""


@dataclass(eq=False)
class Service:
    """How an index can answer some of a conjunction of comparisons.

    Attributes:
        score: how much it narrows; more is better.
        equal: comparisons that fix the leading fields; with ``in_list`` the last of them has an array of values.
        lower, upper: comparisons that bound the field after them.
        attribute: which of its attributes a lookup is by, where an index has several.
        ordered: the lookup yields documents in order of the fields after the ``equal`` ones.
        exact: no document is found for which a comparison does not hold, whatever the types of the values.
    """

    score: int
    equal: tuple[Comparison, ...]
    in_list: bool = False
    lower: Comparison | None = None
    upper: Comparison | None = None
    attribute: str = ""
    ordered: bool = False
    exact: bool = False

    @property
    def used(self) -> list[Comparison]:
        """The comparisons that the lookup answers."""
        return [*self.equal, *(bound for bound in (self.lower, self.upper) if bound is not None)]


@dataclass(frozen=True)
class Bounds:
    """One lookup: values of the leading fields (or of ``attribute``), then a range on the field after them."""

    equal: Sequence[Any] = ()
    lower: Any = UNBOUNDED
    lower_inclusive: bool = True
    upper: Any = UNBOUNDED
    upper_inclusive: bool = True
    reverse: bool = False
    attribute: str = ""


class StoredCollection(Protocol):
    """What an index needs to know of its collection."""

    id: int
    name: str

    @property
    def sql(self) -> CollectionSql:
        """Statements on the documents' table."""


class Reader(Protocol):
    """A snapshot as indexes see it."""

    connection: sqlite3.Connection

    def rows(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        """Rows of a statement, read step by step."""

    def documents(self, collection: Any, rows: Iterable[Row]) -> Iterator[Document]:
        """Documents of rows, in their order."""

    def document_by_key(self, collection: Any, key: str) -> Document | None:
        """One document by ``_key``."""

    def bodies(self, collection: Any) -> Iterator[tuple[int, Document]]:
        """Row id and attributes of every document in scan order, past the cache."""


class IndexKind:
    """A kind of index. The defaults are those of an index that is part of the documents' table.

    ``Transaction`` calls ``check``, ``keys``, ``insert`` and ``delete`` for every document of an index that is
    ``maintained``; what ``keys`` returns is the kind's own affair.
    """

    type: ClassVar[str]
    implicit: ClassVar[bool] = False
    """Made with the collection; it can be neither created nor dropped."""
    maintained: ClassVar[bool] = False
    """Keeps something of its own for each document."""
    connects_vertices: ClassVar[bool] = False
    """Finds the edges at a vertex."""

    # --- definition -------------------------------------------------------------------------------------------
    def validate(self, name: str, fields: tuple[Path, ...], given: dict[str, Any]) -> IndexInfo:
        """Checked definition of a new index from the attributes of a request. Raises ArangoError 10, 501."""
        raise ArangoError(10, f"indexes of type '{self.type}' come with their collection and cannot be created")

    def same_definition(self, left: IndexInfo, right: IndexInfo) -> bool:
        """Whether an index need not be created because the other one exists."""
        return (left.fields, left.unique, left.sparse, left.params) == (
            right.fields,
            right.unique,
            right.sparse,
            right.params,
        )

    def check_beside(self, others: Sequence[IndexInfo]) -> None:
        """Raises ArangoError 10 when the collection cannot have another index of the kind."""

    def describe(self, reader: Reader, collection: StoredCollection, index: IndexInfo, *, stats: bool) -> Document:
        """The index as the HTTP interface shows it; ``stats`` allows what takes a scan of the index."""
        return {
            "id": f"{collection.name}/{index.id}",
            "type": index.type,
            "name": index.name,
            "fields": [field_text(path) for path in index.fields],
            "unique": index.unique,
            "sparse": index.sparse,
        }

    # --- tables -----------------------------------------------------------------------------------------------
    def create(self, connection: sqlite3.Connection, index: IndexInfo) -> None:
        """Make the index's tables."""

    def drop(self, connection: sqlite3.Connection, index: IndexInfo) -> None:
        """Drop the index's tables."""

    def clear(self, writer: Any, index: IndexInfo) -> None:
        """Forget all documents."""

    def build(self, writer: Any, collection: StoredCollection, index: IndexInfo) -> None:
        """Take in all documents there are. Raises ArangoError 10, 1210, 1235."""

    # --- documents --------------------------------------------------------------------------------------------
    def keys(self, index: IndexInfo, document: Document) -> list[bytes]:
        """What the index holds of a document, equal for documents that it holds alike.

        Raises:
            ArangoError: 10 when the document cannot be in the index.
        """
        return []

    def check(
        self, writer: Any, collection: StoredCollection, index: IndexInfo, keys: list[bytes], rid: int | None
    ) -> None:
        """Raises ArangoError 1210 when another row than ``rid`` has one of the keys and the index is unique."""

    def insert(self, writer: Any, index: IndexInfo, keys: list[bytes], rid: int) -> None:
        """Hold a document."""

    def delete(self, writer: Any, index: IndexInfo, keys: list[bytes], rid: int) -> None:
        """Let go of a document."""

    # --- answering --------------------------------------------------------------------------------------------
    def can_serve(self, index: IndexInfo, comparisons: Sequence[Comparison]) -> Service | None:
        """How the index can answer comparisons that all must hold; ``None`` when it cannot help."""
        return None

    def can_sort(self, index: IndexInfo, paths: tuple[Path, ...]) -> bool:
        """Whether the whole index holds every document in the order of these attributes."""
        return False

    def can_rank(self, index: IndexInfo, path: Path, metric: str) -> bool:
        """Whether the index finds the nearest vectors of an attribute."""
        return False

    def lookup(
        self, reader: Reader, collection: StoredCollection, index: IndexInfo, bounds: Bounds
    ) -> Iterable[Document]:
        """Documents within the bounds, in index order."""
        raise ArangoError(4, f"indexes of type '{self.type}' are not for lookups")


class ByIdentity(IndexKind):
    """An index of the documents' own table, looked up by one of two system attributes."""

    implicit = True
    attributes: ClassVar[tuple[str, str]]
    score: ClassVar[int]

    def can_serve(self, index: IndexInfo, comparisons: Sequence[Comparison]) -> Service | None:
        """See ``IndexKind``."""
        for name in self.attributes:
            for comparison in comparisons:
                if comparison.path == (name,) and comparison.op in ("==", "IN"):
                    in_list = comparison.op == "IN"
                    return Service(self.score - in_list, (comparison,), in_list, attribute=name, exact=True)
        return None


def selectivity(connection: sqlite3.Connection, table: str, column: str) -> float:
    """Distinct values per row, between 0 and 1; 1 for an empty table."""
    distinct, total = connection.execute(f"SELECT count(DISTINCT {column}), count(*) FROM {table}").fetchone()
    return distinct / total if total else 1.0


def violation(index: IndexInfo, conflicting_key: str) -> ArangoError:
    """The unique constraint error of an index."""
    fields = ", ".join(field_text(path) for path in index.fields)
    return ArangoError(
        1210,
        f"unique constraint violated - in index {index.name} of type {index.type} over '{fields}'; "
        f"conflicting key: {conflicting_key}",
    )
