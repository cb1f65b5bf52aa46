"""Routes of ``/_api/gharial`` that read and write vertices and edges."""

from __future__ import annotations

from collections.abc import Callable

from aqlite.errors import ArangoError
from aqlite.http.documents import WriteOptions, if_match, precondition_failed, write_entry
from aqlite.http.request import Reply, Request, ok
from aqlite.storage.api import GraphInfo, WriteResult
from aqlite.storage.documents import check_vertex, require_object, split_handle
from aqlite.storage.graphs import all_graphs, read_graph
from aqlite.storage.snapshot import Snapshot
from aqlite.storage.transaction import Transaction

VERTEX, EDGE = "vertex", "edge"


def get_vertex(request: Request) -> Reply:
    """GET /_api/gharial/{graph}/vertex/{collection}/{key}."""
    return _get(request, VERTEX)


def get_edge(request: Request) -> Reply:
    """GET /_api/gharial/{graph}/edge/{collection}/{key}."""
    return _get(request, EDGE)


def insert_vertex(request: Request) -> Reply:
    """POST /_api/gharial/{graph}/vertex/{collection}."""
    document = require_object(request.json)
    return _write(request, VERTEX, lambda view, graph, options: view.insert(request.path["collection"], document))


def insert_edge(request: Request) -> Reply:
    """POST /_api/gharial/{graph}/edge/{collection}."""
    edge = require_object(request.json)

    def write(view: Transaction, graph: GraphInfo, options: WriteOptions) -> WriteResult:
        for end in ("_from", "_to"):
            _check_end(view, graph, check_vertex(edge.get(end)))
        return view.insert(request.path["collection"], edge)

    return _write(request, EDGE, write)


def update_vertex(request: Request) -> Reply:
    """PATCH /_api/gharial/{graph}/vertex/{collection}/{key}."""
    return _write(request, VERTEX, _updating(request))


def update_edge(request: Request) -> Reply:
    """PATCH /_api/gharial/{graph}/edge/{collection}/{key}."""
    return _write(request, EDGE, _updating(request))


def replace_vertex(request: Request) -> Reply:
    """PUT /_api/gharial/{graph}/vertex/{collection}/{key}."""
    return _write(request, VERTEX, _replacing(request))


def replace_edge(request: Request) -> Reply:
    """PUT /_api/gharial/{graph}/edge/{collection}/{key}."""
    return _write(request, EDGE, _replacing(request))


def remove_vertex(request: Request) -> Reply:
    """DELETE /_api/gharial/{graph}/vertex/{collection}/{key}: the edges at the vertex go with it."""
    name, key = request.path["collection"], request.path["key"]

    def write(view: Transaction, graph: GraphInfo, options: WriteOptions) -> WriteResult:
        result = view.remove(name, key)
        for edge_collection in _edge_collections_at(view, name):
            for edge in view.edges(edge_collection, f"{name}/{key}", "any"):
                view.remove(edge_collection, edge["_key"])
        return result

    return _write(request, VERTEX, write)


def remove_edge(request: Request) -> Reply:
    """DELETE /_api/gharial/{graph}/edge/{collection}/{key}."""
    name, key = request.path["collection"], request.path["key"]
    return _write(request, EDGE, lambda view, graph, options: view.remove(name, key))


Writer = Callable[[Transaction, GraphInfo, WriteOptions], WriteResult]


def _updating(request: Request) -> Writer:
    name, key, patch = request.path["collection"], request.path["key"], require_object(request.json)

    def write(view: Transaction, graph: GraphInfo, options: WriteOptions) -> WriteResult:
        _check_given_ends(view, graph, patch)
        return view.update(name, key, patch, keep_null=options.keep_null, merge_objects=options.merge_objects)

    return write


def _replacing(request: Request) -> Writer:
    name, key, document = request.path["collection"], request.path["key"], require_object(request.json)

    def write(view: Transaction, graph: GraphInfo, options: WriteOptions) -> WriteResult:
        _check_given_ends(view, graph, document)
        return view.replace(name, key, document)

    return write


def _get(request: Request, part: str) -> Reply:
    name, key = request.path["collection"], request.path["key"]
    with request.reading() as view:
        _member(view, request, part)
        document = view.get(name, key)
    if document is None:
        raise ArangoError(1202)
    wanted = if_match(request)
    if wanted is not None and wanted != document["_rev"]:
        return precondition_failed(document, "conflict, _rev values do not match")
    return ok({part: document}, etag=f'"{document["_rev"]}"')


def _write(request: Request, part: str, write: Writer) -> Reply:
    name = request.path["collection"]
    options = WriteOptions.of(request)
    wanted = if_match(request)
    with request.writing() as view:
        graph = _member(view, request, part)
        view.find_writable(name)
        if wanted is not None and "key" in request.path:
            document = view.get(name, request.path["key"])
            if document is not None and document["_rev"] != wanted:
                return precondition_failed(document, "conflict, _rev values do not match")
        result = write(view, graph, options)
    entry = write_entry(result, options)
    images = {image: entry.pop(image) for image in ("old", "new") if image in entry}
    if result.new is None:
        return ok({"removed": True, **images}, 202)
    return ok({part: entry, **images}, 202, etag=f'"{entry["_rev"]}"')


def _member(view: Snapshot, request: Request, part: str) -> GraphInfo:
    """The graph, whose part the collection must be. Raises ArangoError 1924, 1926, 1930, 1203."""
    graph = read_graph(view, request.path["graph"])
    name = request.path["collection"]
    if part == VERTEX and name not in graph.vertex_collections:
        raise ArangoError(1926)
    if part == EDGE and name not in graph.edge_collections:
        raise ArangoError(1930)
    view.find(name)
    return graph


def _check_given_ends(view: Snapshot, graph: GraphInfo, document: dict) -> None:
    for end in ("_from", "_to"):
        if end in document:
            _check_end(view, graph, check_vertex(document[end]))


def _check_end(view: Snapshot, graph: GraphInfo, handle: str) -> None:
    name, key = split_handle(handle)
    if name not in graph.vertex_collections:
        raise ArangoError(1947, f"referenced vertex collection '{name}' is not part of the graph")
    if view.get(name, key) is None:
        raise ArangoError(1202, f"document not found: {handle}")


def _edge_collections_at(view: Snapshot, vertex_collection: str) -> list[str]:
    found: dict[str, None] = {}
    for graph in all_graphs(view):
        if vertex_collection in graph.vertex_collections:
            found |= dict.fromkeys(graph.edge_collections)
    return list(found)
