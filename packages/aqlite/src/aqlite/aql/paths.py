"""``SHORTEST_PATH``, ``ALL_SHORTEST_PATHS``, ``K_SHORTEST_PATHS`` and ``K_PATHS``."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from aqlite.aql import plan as p
from aqlite.aql.expressions import ExpressionCompiler, Frame
from aqlite.aql.graph_access import GraphReader
from aqlite.aql.runtime import Runtime
from aqlite.aql.stages import Stage, rows_stage

Edge = dict[str, Any]
Origins = dict[str, "tuple[str, Edge] | None"]
"""How a search first came to each vertex: the vertex before and the edge; None where it started."""


@dataclass(frozen=True)
class Route:
    """A path: ids of its vertices, its edges, and the sum of their weights."""

    vertices: tuple[str, ...]
    edges: tuple[Edge, ...]
    weight: float

    def identity(self) -> tuple[str, ...]:
        """What makes a path the same as another: its start and its edges."""
        return (self.vertices[0], *(edge["_id"] for edge in self.edges))


def path_stage(runtime: Runtime, expressions: ExpressionCompiler, source: Stage, node: p.PathNode) -> Stage:
    """Stage of a path search: one row per vertex for ``SHORTEST_PATH``, one per path for the others."""
    start, target = expressions.compile(node.start), expressions.compile(node.target)
    reader = GraphReader(runtime, node.access, node.options)
    emptied = expressions.enter_loop(*node.variables)
    search = _SEARCHES[node.kind]
    width = len(node.variables)

    def rows(frame: Frame) -> Iterator[tuple]:
        first, last = reader.vertex_id(start(frame)), reader.vertex_id(target(frame))
        if first is None or last is None:
            return
        for route in search(reader, first, last, node):
            if node.kind == "SHORTEST_PATH":
                for vertex, edge in zip(route.vertices, (None, *route.edges), strict=True):
                    yield (reader.vertex(vertex), edge)[:width]
            else:
                yield (_path_object(reader, route, node.kind),)

    return rows_stage(runtime, source, rows, [variable.slot for variable in node.variables], emptied)


def _path_object(reader: GraphReader, route: Route, kind: str) -> dict[str, Any]:
    path: dict[str, Any] = {
        "edges": list(route.edges),
        "vertices": [reader.vertex(vertex) for vertex in route.vertices],
    }
    if kind == "K_SHORTEST_PATHS":
        path["weight"] = route.weight
    return path


# --- searches -------------------------------------------------------------------------------------------------
def _shortest_path(reader: GraphReader, first: str, last: str, _: p.PathNode) -> Iterator[Route]:
    route = cheapest_route(reader, first, last)
    if route is not None:
        yield route


def cheapest_route(
    reader: GraphReader,
    first: str,
    last: str,
    banned_vertices: frozenset[str] = frozenset(),
    banned_edges: frozenset[str] = frozenset(),
) -> Route | None:
    """The path with the smallest sum of weights that avoids what is banned; None when there is none."""
    if not (reader.exists(first) and reader.exists(last)):
        return None
    search = _shortest_route if reader.weight_attribute is None else _lightest_route
    return search(reader, first, last, banned_vertices, banned_edges)


def _permitted(
    reader: GraphReader, vertex: str, banned: tuple[frozenset[str], frozenset[str]], backwards: bool = False
) -> Iterator[tuple[Edge, str]]:
    reader.check()
    banned_vertices, banned_edges = banned
    for edge, other in reader.neighbours(vertex, backwards):
        if other not in banned_vertices and edge["_id"] not in banned_edges and reader.vertex_allowed(other):
            yield edge, other


def _lightest_route(reader: GraphReader, first: str, last: str, *banned: frozenset[str]) -> Route | None:
    """Dijkstra's algorithm (Numerische Mathematik 1, 1959)."""
    arrived: Origins = {}
    number = 0
    waiting: list[tuple[float, int, str, tuple[str, Edge] | None]] = [(0, number, first, None)]
    while waiting:
        cost, _, vertex, origin = heapq.heappop(waiting)
        if vertex in arrived:
            continue
        arrived[vertex] = origin
        if vertex == last:
            vertices, edges = _trace(arrived, last)
            return Route(tuple(reversed(vertices)), tuple(reversed(edges)), cost)
        for edge, other in _permitted(reader, vertex, banned):
            if other not in arrived:
                number += 1
                heapq.heappush(waiting, (cost + reader.weight(edge), number, other, (vertex, edge)))
    return None


def _shortest_route(reader: GraphReader, first: str, last: str, *banned: frozenset[str]) -> Route | None:
    """Breadth first from both ends, level by level, always the end with fewer vertices to look at."""
    sides: tuple[Origins, Origins] = ({first: None}, {last: None})
    frontiers = [[first], [last]]
    meeting = first if first == last else None
    while meeting is None and all(frontiers):
        side = int(len(frontiers[1]) < len(frontiers[0]))
        own, opposite, level = sides[side], sides[1 - side], []
        for vertex in frontiers[side]:
            for edge, other in _permitted(reader, vertex, banned, backwards=side == 1):
                if other not in own:
                    own[other] = (vertex, edge)
                    level.append(other)
        meeting = next((vertex for vertex in level if vertex in opposite), None)
        frontiers[side] = level
    if meeting is None:
        return None
    (before, edges_before), (after, edges_after) = (_trace(origins, meeting) for origins in sides)
    edges = (*reversed(edges_before), *edges_after)
    return Route((*reversed(before), *after[1:]), edges, len(edges))


def _trace(origins: Origins, vertex: str) -> tuple[list[str], list[Edge]]:
    """Vertices and edges from a vertex back to where its search started."""
    vertices, edges = [vertex], []
    origin = origins[vertex]
    while origin is not None:
        vertices.append(origin[0])
        edges.append(origin[1])
        origin = origins[origin[0]]
    return vertices, edges


def _k_shortest_paths(reader: GraphReader, first: str, last: str, _: p.PathNode) -> Iterator[Route]:
    """Loopless paths, cheapest first: Yen's algorithm (Management Science 17(11), 1971), path by path."""
    route = cheapest_route(reader, first, last)
    found: list[Route] = []
    candidates: list[tuple[float, int, Route]] = []
    known: set[tuple[str, ...]] = set()
    while route is not None:
        yield route
        found.append(route)
        for detour in _detours(reader, route, last, found):
            if detour.identity() not in known:
                known.add(detour.identity())
                heapq.heappush(candidates, (detour.weight, len(known), detour))
        route = heapq.heappop(candidates)[2] if candidates else None


def _detours(reader: GraphReader, route: Route, last: str, found: list[Route]) -> Iterator[Route]:
    """For each vertex of a path, the cheapest way on that no path found so far takes from there."""
    cost: float = 0
    for position, edge in enumerate(route.edges):
        root, root_edges = route.vertices[: position + 1], route.edges[:position]
        taken = frozenset(
            other.edges[position]["_id"]
            for other in found
            if len(other.edges) > position and _same_edges(other.edges[:position], root_edges)
        )
        spur = cheapest_route(reader, root[-1], last, frozenset(root[:-1]), taken)
        if spur is not None:
            yield Route((*root[:-1], *spur.vertices), (*root_edges, *spur.edges), cost + spur.weight)
        cost += reader.weight(edge)


def _same_edges(left: tuple[Edge, ...], right: tuple[Edge, ...]) -> bool:
    return [edge["_id"] for edge in left] == [edge["_id"] for edge in right]


def _all_shortest_paths(reader: GraphReader, first: str, last: str, _: p.PathNode) -> Iterator[Route]:
    """Every path with the fewest edges: breadth first, keeping all ways in which a vertex is first reached."""
    if not (reader.exists(first) and reader.exists(last)):
        return
    depth = {first: 0}
    origins: dict[str, list[tuple[str, Edge]]] = {first: []}
    waiting = deque([first])
    while waiting:
        vertex = waiting.popleft()
        if last in depth and depth[vertex] >= depth[last]:
            break
        reader.check()
        for edge, other in reader.neighbours(vertex):
            if not reader.vertex_allowed(other):
                continue
            if other not in depth:
                depth[other] = depth[vertex] + 1
                origins[other] = []
                waiting.append(other)
            if depth[other] == depth[vertex] + 1:
                origins[other].append((vertex, edge))
    if last in depth:
        yield from _unfold(origins, first, last)


def _unfold(origins: dict[str, list[tuple[str, Edge]]], first: str, last: str) -> Iterator[Route]:
    pending: list[tuple[tuple[str, ...], tuple[Edge, ...]]] = [((last,), ())]
    while pending:
        vertices, edges = pending.pop()
        if vertices[0] == first:
            yield Route(vertices, edges, len(edges))
            continue
        for vertex, edge in reversed(origins[vertices[0]]):
            pending.append(((vertex, *vertices), (edge, *edges)))


def _k_paths(reader: GraphReader, first: str, last: str, node: p.PathNode) -> Iterator[Route]:
    """All paths without repeated vertices within the depth range, depth first."""
    if not (reader.exists(first) and reader.exists(last)):
        return
    stack: list[tuple[tuple[str, ...], tuple[Edge, ...]]] = [((first,), ())]
    while stack:
        reader.check()
        vertices, edges = stack.pop()
        if vertices[-1] == last and len(edges) >= node.min_depth:
            yield Route(vertices, edges, len(edges))
        if vertices[-1] == last and edges:
            continue
        if len(edges) < node.max_depth:
            following = [
                ((*vertices, other), (*edges, edge))
                for edge, other in reader.neighbours(vertices[-1])
                if other not in vertices and reader.vertex_allowed(other)
            ]
            stack.extend(reversed(following))


_SEARCHES: dict[str, Callable[[GraphReader, str, str, p.PathNode], Iterator[Route]]] = {
    "SHORTEST_PATH": _shortest_path,
    "ALL_SHORTEST_PATHS": _all_shortest_paths,
    "K_SHORTEST_PATHS": _k_shortest_paths,
    "K_PATHS": _k_paths,
}
