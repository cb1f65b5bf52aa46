"""Routes of ``/_api/gharial`` that define graphs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aqlite.errors import ArangoError
from aqlite.http.request import Reply, Request, ok
from aqlite.storage import ddl
from aqlite.storage.api import Document, EdgeDefinition, GraphInfo
from aqlite.storage.documents import KEY_PATTERN
from aqlite.storage.graphs import GRAPHS, all_graphs, graph_to_document, graphs_using, read_graph
from aqlite.storage.snapshot import Snapshot
from aqlite.storage.transaction import Transaction

_SMART = ("isSmart", "isDisjoint", "isHybrid", "smartGraphAttribute", "satellites")
_NEW_COLLECTION = {"keyOptions": {"type": "traditional", "allowUserKeys": True}}


def listing(request: Request) -> Reply:
    """GET /_api/gharial."""
    with request.reading() as view:
        return ok({"graphs": [_shown_graph(view, graph.name) for graph in all_graphs(view)]})


def get(request: Request) -> Reply:
    """GET /_api/gharial/{graph}."""
    with request.reading() as view:
        read_graph(view, request.path["graph"])
        return ok({"graph": _shown_graph(view, request.path["graph"])})


def create(request: Request) -> Reply:
    """POST /_api/gharial."""
    given = request.object()
    name = given.get("name")
    if type(name) is not str or not name:
        raise ArangoError(1922)
    if not KEY_PATTERN.match(name):
        raise ArangoError(1208)
    _refuse_smart(given)
    _refuse_smart(given.get("options"))
    orphans = given.get("orphanCollections") or []
    if type(orphans) is not list or not all(type(orphan) is str for orphan in orphans):
        raise ArangoError(1943)
    graph = GraphInfo(name, _definitions(given.get("edgeDefinitions")), tuple(orphans))
    with request.defining() as view:
        if view.get(GRAPHS, name) is not None:
            raise ArangoError(1925)
        for definition in graph.edge_definitions:
            _check_other_graphs(view, name, definition)
        return _save(view, graph, new=True, status=201 if request.flag("waitForSync") else 202)


def _refuse_smart(given: Any) -> None:
    """Raises ArangoError 501 when attributes of a request, or of its ``options``, ask for a distributed graph."""
    if type(given) is dict and (
        any(given.get(name) for name in _SMART) or given.get("replicationFactor") == "satellite"
    ):
        raise ArangoError(501, "SmartGraphs and SatelliteGraphs are not supported by aqlite")


def drop(request: Request) -> Reply:
    """DELETE /_api/gharial/{graph}."""
    name = request.path["graph"]
    with request.defining() as view:
        graph = read_graph(view, name)
        view.remove(GRAPHS, name)
        if request.flag("dropCollections"):
            for collection in {*graph.edge_collections, *graph.vertex_collections}:
                _drop_unused(view, collection)
    return ok({"removed": True}, 202)


def vertex_collections(request: Request) -> Reply:
    """GET /_api/gharial/{graph}/vertex."""
    with request.reading() as view:
        return ok({"collections": sorted(read_graph(view, request.path["graph"]).vertex_collections)})


def edge_collections(request: Request) -> Reply:
    """GET /_api/gharial/{graph}/edge."""
    with request.reading() as view:
        return ok({"collections": sorted(read_graph(view, request.path["graph"]).edge_collections)})


def add_vertex_collection(request: Request) -> Reply:
    """POST /_api/gharial/{graph}/vertex."""
    name = request.object().get("collection")
    if type(name) is not str:
        raise ArangoError(10, "expecting a string for <collection>")
    with request.defining() as view:
        graph = read_graph(view, request.path["graph"])
        if name in graph.orphan_collections:
            raise ArangoError(1938)
        if name in graph.vertex_collections:
            raise ArangoError(1929)
        return _save(view, replace(graph, orphan_collections=(*graph.orphan_collections, name)))


def remove_vertex_collection(request: Request) -> Reply:
    """DELETE /_api/gharial/{graph}/vertex/{collection}."""
    name = request.path["collection"]
    with request.defining() as view:
        graph = read_graph(view, request.path["graph"])
        if name not in graph.vertex_collections:
            raise ArangoError(1926)
        if name not in graph.orphan_collections:
            raise ArangoError(1928)
        rest = tuple(orphan for orphan in graph.orphan_collections if orphan != name)
        reply = _save(view, replace(graph, orphan_collections=rest))
        if request.flag("dropCollection"):
            _drop_unused(view, name)
        return reply


def add_edge_definition(request: Request) -> Reply:
    """POST /_api/gharial/{graph}/edge."""
    definition = _definition(request.object())
    with request.defining() as view:
        graph = read_graph(view, request.path["graph"])
        if definition.collection in graph.edge_collections:
            raise ArangoError(1920)
        _check_other_graphs(view, graph.name, definition)
        return _save(view, _redefined(graph, (*graph.edge_definitions, definition)))


def replace_edge_definition(request: Request) -> Reply:
    """PUT /_api/gharial/{graph}/edge/{collection}: changes the relation in every graph that has it."""
    definition = _definition(request.object())
    name = request.path["collection"]
    with request.defining() as view:
        graph = read_graph(view, request.path["graph"])
        if definition.collection != name or name not in graph.edge_collections:
            raise ArangoError(1930)
        for other in all_graphs(view):
            if name in other.edge_collections:
                kept = [definition if d.collection == name else d for d in other.edge_definitions]
                _save(view, _redefined(other, tuple(kept)))
        return ok({"graph": _shown_graph(view, graph.name)}, 202)


def remove_edge_definition(request: Request) -> Reply:
    """DELETE /_api/gharial/{graph}/edge/{collection}."""
    name = request.path["collection"]
    with request.defining() as view:
        graph = read_graph(view, request.path["graph"])
        if name not in graph.edge_collections:
            raise ArangoError(1930)
        reply = _save(view, _redefined(graph, tuple(d for d in graph.edge_definitions if d.collection != name)))
        if request.flag("dropCollections") or request.flag("dropCollection"):
            _drop_unused(view, name)
        return reply


def _redefined(graph: GraphInfo, definitions_: tuple[EdgeDefinition, ...]) -> GraphInfo:
    """The graph with other relations; vertex collections that lose their last relation become orphans."""
    bare = GraphInfo(graph.name, definitions_)
    used = set(bare.vertex_collections)
    return replace(bare, orphan_collections=tuple(name for name in graph.vertex_collections if name not in used))


def _definitions(given: Any) -> tuple[EdgeDefinition, ...]:
    if given is None:
        return ()
    if type(given) is not list:
        raise ArangoError(1923)
    found = tuple(_definition(entry) for entry in given)
    if len({definition.collection for definition in found}) != len(found):
        raise ArangoError(1920)
    return found


def _definition(given: Any) -> EdgeDefinition:
    if type(given) is not dict or type(given.get("collection")) is not str:
        raise ArangoError(1923)
    ends = []
    for end in ("from", "to"):
        names = given.get(end)
        if type(names) is not list or not names or not all(type(name) is str for name in names):
            raise ArangoError(1923)
        ends.append(tuple(dict.fromkeys(names)))
    return EdgeDefinition(given["collection"], *ends)


def _check_other_graphs(view: Snapshot, name: str, definition: EdgeDefinition) -> None:
    for other in all_graphs(view):
        for known in other.edge_definitions:
            same_ends = (set(known.from_collections), set(known.to_collections)) == (
                set(definition.from_collections),
                set(definition.to_collections),
            )
            if other.name != name and known.collection == definition.collection and not same_ends:
                raise ArangoError(1921, f"{known.collection}: edge collection already used in edge def")


def _save(view: Transaction, graph: GraphInfo, *, new: bool = False, status: int = 202) -> Reply:
    """Store the graph and create the collections it lacks."""
    for name in graph.edge_collections:
        if not view.has_collection(name):
            ddl.create_collection(view, name, "edge", _NEW_COLLECTION)
        elif not view.find(name).is_edge:
            raise ArangoError(1944, f"{name}: edge definition collection is a document collection")
    for name in graph.vertex_collections:
        if not view.has_collection(name):
            ddl.create_collection(view, name, "document", _NEW_COLLECTION)
        elif view.find(name).is_edge and name in graph.orphan_collections:
            raise ArangoError(1927)
    view.insert(GRAPHS, graph_to_document(graph), overwrite_mode="conflict" if new else "replace")
    return ok({"graph": _shown_graph(view, graph.name)}, status)


def _drop_unused(view: Transaction, name: str) -> None:
    if view.has_collection(name) and not graphs_using(view, name):
        ddl.drop_collection(view, name)


def _shown_graph(view: Snapshot, name: str) -> Document:
    document = view.get(GRAPHS, name)
    if document is None:
        raise ArangoError(1924, f"graph '{name}' not found")
    return _shown(document)


def _shown(document: Document) -> Document:
    return {**document, "name": document["_key"]}
