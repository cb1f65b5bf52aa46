"""An ONNX graph as a picture: nodes with their operators, and the shapes of what they give."""

from __future__ import annotations

from html import escape

import networkx as nx
import onnx

WIDTH, HEIGHT, COLUMN, ROW = 118, 24, 150, 58
COLOURS = {
    "MatMul": "#cfe2ff",
    "Gemm": "#cfe2ff",
    "Conv": "#cfe2ff",
    "Softmax": "#ffe0b8",
    "LayerNormalization": "#d6f0d6",
}


def graph_svg(model: onnx.ModelProto, first: int = 0, count: int | None = None) -> str:
    """Draw ``count`` nodes of a graph from the ``first`` on, in the order of computation, as SVG.

    The graph's inputs are drawn where one of these nodes reads them. Below a node stands the shape of what others read
    of it, ``?`` for an axis that ONNX cannot infer; weights are left out.
    """
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {value.name: _shape(value) for value in (*inferred.value_info, *inferred.input, *inferred.output)}
    nodes = list(inferred.node)[first : None if count is None else first + count]
    read = {name for node in nodes for name in node.input}
    boxes = [(value.name, [], [value.name]) for value in inferred.input if value.name in read]
    boxes += [(node.op_type, node.input, node.output) for node in nodes]
    producer = {name: index for index, (_, _, outputs) in enumerate(boxes) for name in outputs}
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(boxes)))
    for index, (_, inputs, _) in enumerate(boxes):
        graph.add_edges_from((producer[name], index, {"tensor": name}) for name in inputs if name in producer)
    places = {}
    for row, layer in enumerate(nx.topological_generations(graph)):
        for column, index in enumerate(sorted(layer)):
            places[index] = (column * COLUMN + 10, row * ROW + 10)
    drawn = [_edge(places[a], places[b]) for a, b in graph.edges]
    given = {a: shapes.get(data["tensor"], "") for a, _, data in graph.edges(data=True)}
    drawn += [_given(places[index], label) for index, label in given.items()]
    drawn += [_box(places[index], label) for index, (label, _, _) in enumerate(boxes)]
    width = max(x for x, _ in places.values()) + WIDTH + 40  # a shape may be wider than its node
    height = max(y for _, y in places.values()) + HEIGHT + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="12">{"".join(drawn)}</svg>'
    )


def _shape(value: onnx.ValueInfoProto) -> str:
    sizes = [dim.dim_param or str(dim.dim_value) for dim in value.type.tensor_type.shape.dim]
    return "×".join("?" if size.startswith("unk__") else size for size in sizes)


def _box(place: tuple[int, int], operator: str) -> str:
    x, y = place
    return (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="4" stroke="#555" '
        f'fill="{COLOURS.get(operator, "#eeeeee")}"/>'
        f'<text x="{x + WIDTH / 2}" y="{y + 16}" text-anchor="middle">{escape(operator)}</text>'
    )


def _edge(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1, x2, y2 = start[0] + WIDTH / 2, start[1] + HEIGHT, end[0] + WIDTH / 2, end[1]
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#999"/>'


def _given(place: tuple[int, int], label: str) -> str:
    x, y = place[0] + WIDTH / 2 + 4, place[1] + HEIGHT + 13
    return f'<text x="{x}" y="{y}" fill="#777" font-size="11">{escape(label)}</text>'
