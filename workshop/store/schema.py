"""Collections, named graph and indexes, made as needed: calling :func:`ensure_schema` again changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from arango.collection import StandardCollection
from arango.database import StandardDatabase

from workshop.errors import StoreSchemaError
from workshop.store.connection import store_errors


@dataclass(frozen=True)
class EdgeDefinition:
    """An edge collection and the vertex collections it links."""

    collection: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]


@dataclass(frozen=True)
class PersistentIndex:
    """A sorted index over one or several attributes; ``genres[*]`` indexes each element of a list."""

    collection: str
    fields: tuple[str, ...]
    unique: bool = False
    sparse: bool = False

    @property
    def name(self) -> str:
        """Index name, the same on every server."""
        return "by_" + "_".join(field.replace("[*]", "") for field in self.fields)


@dataclass(frozen=True)
class GraphSchema:
    """A named graph with its collections and indexes."""

    graph: str
    vertices: tuple[str, ...]
    edges: tuple[EdgeDefinition, ...]
    indexes: tuple[PersistentIndex, ...] = ()

    @property
    def collections(self) -> tuple[str, ...]:
        """Names of all collections, vertices first."""
        return self.vertices + tuple(edge.collection for edge in self.edges)


def ensure_schema(database: StandardDatabase, schema: GraphSchema) -> None:
    """Make what is missing of ``schema``.

    Raises:
        StoreSchemaError: something of that name exists and is different.
    """
    with store_errors(f"set up graph {schema.graph!r}"):
        for name in schema.vertices:
            ensure_collection(database, name, edge=False)
        for edge in schema.edges:
            ensure_collection(database, edge.collection, edge=True)
        ensure_graph(database, schema)
        for index in schema.indexes:
            _ensure_persistent_index(database.collection(index.collection), index)


def ensure_collection(database: StandardDatabase, name: str, *, edge: bool) -> StandardCollection:
    """The collection ``name``, made when it is missing.

    Raises:
        StoreSchemaError: it exists, and holds edges where documents are wanted or the other way round.
    """
    if not database.has_collection(name):
        return database.create_collection(name, edge=edge)
    collection = database.collection(name)
    if collection.properties()["edge"] != edge:
        wanted, found = ("edges", "documents") if edge else ("documents", "edges")
        raise StoreSchemaError(
            f"collection {name!r} should hold {wanted}, but holds {found}",
            hint="set WORKSHOP_ARANGO_DATABASE to a database of its own",
        )
    return collection


def ensure_graph(database: StandardDatabase, schema: GraphSchema) -> None:
    """Make the named graph of ``schema`` over collections that exist; its indexes are not looked at.

    Raises:
        StoreSchemaError: a graph of that name exists and has other edges.
    """
    wanted = {edge.collection: (sorted(edge.sources), sorted(edge.targets)) for edge in schema.edges}
    if not database.has_graph(schema.graph):
        definitions = [
            {"edge_collection": name, "from_vertex_collections": sources, "to_vertex_collections": targets}
            for name, (sources, targets) in wanted.items()
        ]
        database.create_graph(schema.graph, edge_definitions=definitions)
        return
    found = {
        definition["edge_collection"]: (
            sorted(definition["from_vertex_collections"]),
            sorted(definition["to_vertex_collections"]),
        )
        for definition in database.graph(schema.graph).edge_definitions()
    }
    if found != wanted:
        raise StoreSchemaError(
            f"graph {schema.graph!r} has other edges than expected: expected {wanted}, found {found}",
            hint=f"drop the graph {schema.graph!r} (the collections may stay), then run this again",
        )


def _ensure_persistent_index(collection: StandardCollection, index: PersistentIndex) -> None:
    for found in collection.indexes():
        if found.get("name") != index.name:
            continue
        if tuple(found["fields"]) == index.fields and found.get("unique", False) == index.unique:
            return
        raise StoreSchemaError(
            f"index {index.name!r} of {index.collection!r} covers {found['fields']}, expected {list(index.fields)}",
            hint=f"drop the index {index.name!r}, then run this again",
        )
    collection.add_index(
        {
            "type": "persistent",
            "name": index.name,
            "fields": list(index.fields),
            "unique": index.unique,
            "sparse": index.sparse,
        }
    )
