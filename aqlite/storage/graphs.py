"""Named graphs: documents of the system collection ``_graphs``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aqlite.errors import ArangoError
from aqlite.storage.api import Document, EdgeDefinition, GraphInfo

if TYPE_CHECKING:
    from aqlite.storage.view import View

GRAPHS = "_graphs"


def read_graph(view: View, name: str) -> GraphInfo:
    """The graph of that name. Raises ArangoError 1924."""
    document = view.get(GRAPHS, name)
    if document is None:
        raise ArangoError(1924, f"graph '{name}' not found")
    return graph_from_document(document)


def graph_from_document(document: Document) -> GraphInfo:
    """Read a document of ``_graphs``."""
    definitions = tuple(
        EdgeDefinition(d["collection"], tuple(d["from"]), tuple(d["to"])) for d in document["edgeDefinitions"]
    )
    return GraphInfo(document["_key"], definitions, tuple(document["orphanCollections"]))


def graph_to_document(graph: GraphInfo) -> Document:
    """The document of ``_graphs`` that ``graph_from_document`` reads."""
    definitions = sorted(graph.edge_definitions, key=lambda definition: definition.collection)
    return {
        "_key": graph.name,
        "edgeDefinitions": [
            {"collection": d.collection, "from": sorted(d.from_collections), "to": sorted(d.to_collections)}
            for d in definitions
        ],
        "orphanCollections": list(graph.orphan_collections),
        "numberOfShards": 1,
        "replicationFactor": 1,
        "minReplicationFactor": 1,
        "writeConcern": 1,
        "isSmart": False,
        "isSatellite": False,
    }


def all_graphs(view: View) -> list[GraphInfo]:
    """Every named graph of the view's database."""
    return [graph_from_document(document) for document in view.scan(GRAPHS)]


def graphs_using(view: View, collection: str) -> list[str]:
    """Names of the graphs that a collection is part of."""
    return [g.name for g in all_graphs(view) if collection in (*g.edge_collections, *g.vertex_collections)]
