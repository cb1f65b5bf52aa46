"""Named graphs: documents of the system collection ``_graphs``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aqlite.errors import ArangoError
from aqlite.storage.api import Document, EdgeDefinition, GraphInfo, StoreView

GRAPHS = "_graphs"


def read_graph(view: StoreView, name: str) -> GraphInfo:
    """The graph of that name. Raises ArangoError 1924."""
    document = view.get(GRAPHS, name)
    graph = None if document is None else graph_from_document(document)
    if graph is None:
        raise ArangoError(1924, f"graph '{name}' not found")
    return graph


def graph_from_document(document: Document) -> GraphInfo | None:
    """Read a document of ``_graphs``; ``None`` when it describes no graph, for users may write there too."""
    definitions, orphans = document.get("edgeDefinitions"), document.get("orphanCollections", [])
    if not _is_list_of(definitions, dict) or not _is_list_of(orphans, str):
        return None
    for definition in definitions:
        ends = (definition.get("from"), definition.get("to"))
        if type(definition.get("collection")) is not str or not all(_is_list_of(end, str) for end in ends):
            return None
    return GraphInfo(
        document["_key"],
        tuple(EdgeDefinition(d["collection"], tuple(d["from"]), tuple(d["to"])) for d in definitions),
        tuple(orphans),
    )


def _is_list_of(value: Any, kind: type) -> bool:
    return type(value) is list and all(type(item) is kind for item in value)


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


def all_graphs(view: StoreView) -> list[GraphInfo]:
    """Every named graph of the view's database."""
    found = (graph_from_document(document) for document in view.scan(GRAPHS))
    return [graph for graph in found if graph is not None]


def graphs_using(view: StoreView, collection: str) -> list[str]:
    """Names of the graphs that a collection is part of."""
    return [g.name for g in all_graphs(view) if collection in (*g.edge_collections, *g.vertex_collections)]


def rename_in_graphs(view: StoreView, old: str, new: str) -> None:
    """Let the graphs that have a collection follow its renaming."""

    def renamed(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(new if name == old else name for name in names)

    for graph in all_graphs(view):
        definitions = tuple(
            EdgeDefinition(*renamed((d.collection,)), renamed(d.from_collections), renamed(d.to_collections))
            for d in graph.edge_definitions
        )
        followed = replace(graph, edge_definitions=definitions, orphan_collections=renamed(graph.orphan_collections))
        if followed != graph:
            view.replace(GRAPHS, graph.name, graph_to_document(followed))
