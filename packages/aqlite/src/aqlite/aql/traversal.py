"""Graph traversals: depth first, breadth first and by weight."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from aqlite.aql import plan as p
from aqlite.aql.expressions import UNSET, ExpressionCompiler, Frame
from aqlite.aql.facts import used_variables
from aqlite.aql.graph_access import GraphReader
from aqlite.aql.runtime import CHECK_MASK, Runtime
from aqlite.aql.stages import Stage, rows_stage
from aqlite.aql.values import truthy


@dataclass(eq=False)
class Step:
    """One way to reach a vertex: the last edge and the step before it, so that paths share their beginnings."""

    vertex_id: str
    vertex: dict[str, Any] | None
    edge: dict[str, Any] | None
    parent: Step | None
    depth: int
    weight: float = 0

    def chain(self) -> list[Step]:
        """Steps from the start vertex to this one."""
        steps: list[Step] = []
        step: Step | None = self
        while step is not None:
            steps.append(step)
            step = step.parent
        return steps[::-1]

    def path(self, weighted: bool) -> dict[str, Any]:
        """ArangoDB's path object: all vertices, all edges, and the weights up to each vertex if asked for."""
        steps = self.chain()
        path: dict[str, Any] = {
            "edges": [step.edge for step in steps[1:]],
            "vertices": [step.vertex for step in steps],
        }
        if weighted:
            path["weights"] = [step.weight for step in steps]
        return path


def traversal_stage(runtime: Runtime, expressions: ExpressionCompiler, source: Stage, node: p.TraversalNode) -> Stage:
    """Stage of a traversal; sets the vertex, edge, path and prune variables that the query names."""
    start = expressions.compile(node.start)
    reader = GraphReader(runtime, node.access, node.options)
    emptied = expressions.enter_loop(*node.outputs())
    prune = _prune_test(expressions, node, emptied)
    vertex, edge, path = node.variables
    weighted = node.options["order"] == "weighted"
    wanted = [variable for variable in (vertex, edge, path, node.prune_variable) if variable is not None]
    walk = _WALKS[node.options["order"]]

    def rows(frame: Frame) -> Iterator[tuple]:
        identifier = reader.vertex_id(start(frame))
        if identifier is None:
            return
        first = Step(identifier, reader.vertex(identifier), None, None, 0)
        for step, pruned in walk(reader, first, node, lambda step: prune(frame, step)):
            if step.depth < node.min_depth:
                continue
            row: list[Any] = []
            if vertex is not None:
                row.append(step.vertex)
            if edge is not None:
                row.append(step.edge)
            if path is not None:
                row.append(step.path(weighted))
            if node.prune_variable is not None:
                row.append(pruned)
            yield tuple(row)

    return rows_stage(runtime, source, rows, [variable.slot for variable in wanted], emptied)


def _prune_test(
    expressions: ExpressionCompiler, node: p.TraversalNode, emptied: list[int]
) -> Callable[[Frame, Step], Any]:
    """``test(frame, step)``: the value of ``PRUNE`` with the step's vertex, edge and path in the frame."""
    if node.prune is None:
        return lambda frame, step: False
    condition = expressions.compile(node.prune)
    vertex, edge, path = node.variables
    used = used_variables(node.prune)
    needs_path = path is not None and path in used
    weighted = node.options["order"] == "weighted"

    def test(frame: Frame, step: Step) -> Any:
        if vertex is not None:
            frame[vertex.slot] = step.vertex
        if edge is not None:
            frame[edge.slot] = step.edge
        if needs_path:
            frame[path.slot] = step.path(weighted)
        for memo in emptied:
            frame[memo] = UNSET
        return condition(frame)

    return test


# --- orders ---------------------------------------------------------------------------------------------------
Walk = Iterator[tuple[Step, Any]]
Prune = Callable[[Step], Any]


def _depth_first(reader: GraphReader, first: Step, node: p.TraversalNode, prune: Prune) -> Walk:
    stack = [iter((first,))]
    while stack:
        step = next(stack[-1], None)
        if step is None:
            stack.pop()
            continue
        pruned = prune(step)
        yield step, pruned
        if step.depth < node.max_depth and not truthy(pruned):
            stack.append(_successors(reader, step, node, None))


def _breadth_first(reader: GraphReader, first: Step, node: p.TraversalNode, prune: Prune) -> Walk:
    seen = {first.vertex_id} if node.options["uniqueVertices"] == "global" else None
    waiting = deque([first])
    while waiting:
        step = waiting.popleft()
        pruned = prune(step)
        yield step, pruned
        if step.depth < node.max_depth and not truthy(pruned):
            waiting.extend(_successors(reader, step, node, seen))


def _by_weight(reader: GraphReader, first: Step, node: p.TraversalNode, prune: Prune) -> Walk:
    """Cheapest path first; with ``uniqueVertices: global`` this is Dijkstra's algorithm."""
    unique = node.options["uniqueVertices"] == "global"
    settled: set[str] = set()
    number = 0
    waiting: list[tuple[float, int, Step]] = [(0, number, first)]
    while waiting:
        _, _, step = heapq.heappop(waiting)
        if unique:
            if step.vertex_id in settled:
                continue
            settled.add(step.vertex_id)
        pruned = prune(step)
        yield step, pruned
        if step.depth < node.max_depth and not truthy(pruned):
            for following in _successors(reader, step, node, None):
                number += 1
                heapq.heappush(waiting, (following.weight, number, following))


_WALKS: dict[str, Callable[[GraphReader, Step, p.TraversalNode, Prune], Walk]] = {
    "dfs": _depth_first,
    "bfs": _breadth_first,
    "weighted": _by_weight,
}


def _successors(reader: GraphReader, step: Step, node: p.TraversalNode, seen: set[str] | None) -> Iterator[Step]:
    """Steps along each edge at a vertex that the uniqueness rules permit."""
    options, weighted = node.options, node.options["order"] == "weighted"
    used_edges = _on_path(step, "edge") if options["uniqueEdges"] == "path" else ()
    used_vertices = _on_path(step, "vertex") if options["uniqueVertices"] == "path" else ()
    for position, (edge, other) in enumerate(reader.neighbours(step.vertex_id)):
        if not position & CHECK_MASK:
            reader.check()
        if edge["_id"] in used_edges or other in used_vertices or not reader.vertex_allowed(other):
            continue
        if seen is not None:
            if other in seen:
                continue
            seen.add(other)
        weight = step.weight + reader.weight(edge) if weighted else 0
        yield Step(other, reader.vertex(other), edge, step, step.depth + 1, weight)


def _on_path(step: Step, what: str) -> set[str]:
    if what == "edge":
        return {each.edge["_id"] for each in step.chain() if each.edge is not None}
    return {each.vertex_id for each in step.chain()}
