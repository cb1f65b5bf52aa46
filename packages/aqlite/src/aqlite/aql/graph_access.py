"""Reading a graph for traversals and path searches: start vertices, neighbours, vertices and edge weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aqlite.aql.plan import GraphAccess
from aqlite.aql.runtime import Runtime
from aqlite.aql.values import is_number
from aqlite.errors import ArangoError


class GraphReader:
    """Walks the edges that one graph operation may use."""

    def __init__(self, runtime: Runtime, access: GraphAccess, options: dict[str, Any]) -> None:
        self.view = runtime.view
        self.context = runtime.context
        self.statistics = runtime.statistics
        self.check = runtime.context.check
        self.edges = access.edges
        self.weight_attribute = options["weightAttribute"]
        self.default_weight = options["defaultWeight"]
        self.allowed = options["vertexCollections"]

    def vertex_id(self, value: Any) -> str | None:
        """Id that a start or target value stands for; a warning and None when it is neither an id nor a document."""
        identifier = value.get("_id") if isinstance(value, dict) else value
        if isinstance(identifier, str) and "/" in identifier:
            return identifier
        self.context.warn(10, "Only id strings or objects with _id are allowed as start vertices")
        return None

    def neighbours(self, vertex_id: str, backwards: bool = False) -> Iterator[tuple[dict[str, Any], str]]:
        """Edges at a vertex in their direction (or against it), each with the id at its other end."""
        for collection, direction in self.edges:
            way = _BACKWARDS[direction] if backwards else direction
            for edge in self.view.edges(collection, vertex_id, _DIRECTIONS[way]):
                self.statistics.scanned_index += 1
                if way == "OUTBOUND":
                    yield edge, edge["_to"]
                elif way == "INBOUND":
                    yield edge, edge["_from"]
                else:
                    yield edge, edge["_to"] if edge["_from"] == vertex_id else edge["_from"]

    def vertex(self, vertex_id: str) -> dict[str, Any] | None:
        """The vertex document; null with a warning when an edge leads nowhere.

        Raises:
            ArangoError: 1203, when there is no such collection.
        """
        collection, _, key = vertex_id.partition("/")
        self.statistics.document_lookups += 1
        found = self.view.get(collection, key)
        if found is None:
            self.context.warn(1202, f"document not found: vertex '{vertex_id}'")
        return found

    def exists(self, vertex_id: str) -> bool:
        """Whether there is such a vertex. Raises ArangoError 1203 when there is no such collection."""
        collection, _, key = vertex_id.partition("/")
        return self.view.get(collection, key) is not None

    def vertex_allowed(self, vertex_id: str) -> bool:
        """Whether ``vertexCollections`` permits the vertex."""
        return self.allowed is None or vertex_id.partition("/")[0] in self.allowed

    def weight(self, edge: dict[str, Any]) -> float:
        """Weight of an edge: its attribute, else the default.

        Raises:
            ArangoError: 1948, for a negative weight.
        """
        if self.weight_attribute is None:
            return 1
        value = edge.get(self.weight_attribute)
        if not is_number(value):
            value = self.default_weight
        if value < 0:
            raise ArangoError(1948, f"AQL: negative edge weight {value} at '{edge['_id']}' (while executing)")
        return value


_DIRECTIONS = {"OUTBOUND": "outbound", "INBOUND": "inbound", "ANY": "any"}
_BACKWARDS = {"OUTBOUND": "INBOUND", "INBOUND": "OUTBOUND", "ANY": "ANY"}
