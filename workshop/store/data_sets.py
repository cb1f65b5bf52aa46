"""What the documents of a collection were made from: a mark on each of them, and the check that refuses another's."""

from __future__ import annotations

from dataclasses import dataclass

from arango.database import StandardDatabase

from workshop.errors import StoreSchemaError
from workshop.store.queries import run_query


@dataclass(frozen=True)
class DataSet:
    """What a catalogue was made from.

    Attributes:
        name: for people.
        contents: hash that tells two data sets of one name apart.
    """

    name: str
    contents: str | None

    @property
    def marks(self) -> dict[str, str | None]:
        """The attributes of a document that is made from it."""
        return {"data_set": self.name, "data_set_contents": self.contents}


def stored_data_sets(database: StandardDatabase, collection: str) -> list[DataSet]:
    """The data sets that documents of a collection are marked with; those without a mark say nothing."""
    rows = run_query(database, "data_sets", {"@collection": collection})
    return [DataSet(row["data_set"], row["contents"]) for row in rows if row["data_set"] is not None]


def check_data_set(
    database: StandardDatabase, collection: str, data_set: DataSet, *, differ_in: str, graph: str, own_place: str
) -> bool:
    """Refuse to write documents of a data set beside those of another.

    Args:
        database: the store.
        collection: where the documents go; it exists.
        data_set: what they are made from.
        differ_in: what two data sets of one name differ in, for the message.
        graph: as for :func:`mixed`, like ``own_place``.
        own_place: the way out.

    Returns:
        Whether documents marked with it are there already.

    Raises:
        StoreSchemaError: documents of another data set are there.
    """
    found = stored_data_sets(database, collection)
    if others := {other.name for other in found} - {data_set.name}:
        told = f"{', '.join(sorted(others))}; {data_set.name} cannot be mixed with it"
        raise mixed(database, collection, told, graph=graph, own_place=own_place)
    if set(found) - {data_set}:
        told = f"another catalogue called {data_set.name}, of other {differ_in}; the two cannot be mixed"
        raise mixed(database, collection, told, graph=graph, own_place=own_place)
    return bool(found)


def mixed(database: StandardDatabase, collection: str, holds: str, *, graph: str, own_place: str) -> StoreSchemaError:
    """The error that says what a collection holds, and what to do.

    Args:
        database: the store.
        collection: of the database.
        holds: what is there, and what cannot be put beside it.
        graph: the named graph that the collection belongs to.
        own_place: how a catalogue gets a place of its own.
    """
    return StoreSchemaError(
        f"collection {collection!r} of {database.name!r} holds {holds}",
        hint=f"{own_place}; or, if what is there is of no use any more, "
        f"database.delete_graph({graph!r}, drop_collections=True)",
    )
