"""Vertices and edges of the store as they are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from arango.database import StandardDatabase

from workshop.demo.network import Link, Node
from workshop.store.connection import store_errors
from workshop.store.queries import run_query

NEIGHBOURS_SHOWN = 12
"""Of one vertex; a genre has thousands."""


def kind_of(vertex_id: str) -> str:
    """The collection of an ``_id``."""
    return vertex_id.partition("/")[0]


def around(database: StandardDatabase, graph: str, vertex_id: str) -> tuple[list[Node], list[Link]]:
    """Some neighbours of a vertex, and the links to them.

    Raises:
        QueryError: there is no such graph, or the store refuses the vertex.
    """
    rows = run_query(database, "vertex_neighbours", {"start": vertex_id, "graph": graph, "limit": NEIGHBOURS_SHOWN})
    nodes = [Node(row["id"], str(row["name"]), kind_of(row["id"])) for row in rows]
    return nodes, [Link(vertex_id, row["id"], row["kind"]) for row in rows]


def graph_of(database: StandardDatabase, vertex_id: str) -> str | None:
    """A named graph that the collection of a vertex belongs to; None where there is none."""
    with store_errors("list the graphs"):
        for graph in database.graphs():
            ends = {name for edge in graph["edge_definitions"] for name in _ends(edge)}
            if kind_of(vertex_id) in ends:
                return graph["name"]
    return None


def _ends(edge_definition: dict[str, Any]) -> Iterator[str]:
    yield from edge_definition["from_vertex_collections"]
    yield from edge_definition["to_vertex_collections"]
