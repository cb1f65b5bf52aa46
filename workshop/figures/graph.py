"""Small graphs as pictures: an SVG that is complete as a still, and that a browser with scripts lets readers explore.

Why not a library: those that are kept up (Plotly, Bokeh, ipysigma) put one to five megabytes of script into every
page or fetch it, and have no still without a browser; the lighter ones (pyvis, gravis, ipycytoscape) have had no
release for years. What a graph of some dozen nodes needs is few lines: ``graph.js``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import networkx as nx

from workshop.figures.style import PALETTE, SHADES

WIDTH = 720  # pixels, as wide as the page; nothing is scaled down
FONT = 13  # pixels, 9.75 points
LETTER = 0.58 * FONT  # a little more than the mean width of a letter
MARGIN, LINE = 14, FONT + 7
SCRIPT = Path(__file__).with_name("graph.js").read_text(encoding="utf-8")
STYLE_SHEET = """
.graph text { font-family: "DejaVu Sans", Verdana, sans-serif; fill: #222; paint-order: stroke; stroke: #fff;
  stroke-width: 3px; stroke-linejoin: round; }
.graph .node { cursor: grab; outline: none; } .graph .crowded { visibility: hidden; }
.graph.active .node, .graph.active .edge { opacity: 0.15; }
.graph.active .near { opacity: 1; } .graph .near .crowded { visibility: visible; }
"""

Place = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class GraphDrawing:
    """A drawn graph; notebooks show it.

    Attributes:
        svg: the still, without any script.
        hidden: labels that found no free place; they show when the pointer is on their node.
    """

    svg: str
    hidden: tuple[str, ...]

    @property
    def html(self) -> str:
        """The still and the script that moves it."""
        name = "graph-" + hashlib.sha256(self.svg.encode()).hexdigest()[:12]
        return f'<div id="{name}">{self.svg}</div>\n<script>({SCRIPT})("{name}")</script>'

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": self.html, "image/svg+xml": self.svg, "text/plain": "a drawing of a graph"}


def draw_graph(graph: nx.Graph, places: Mapping[Hashable, Place], *, title: str, height: int = 420) -> GraphDrawing:
    """Draw a small graph.

    Nodes may have the attributes ``label`` (text beside the node), ``hint`` (text at the pointer; without one, the
    label), ``group`` (colour, named in a legend), ``radius`` in pixels, and ``box`` (true: the label in a frame instead
    of a dot). Edges of a directed graph have an arrow in their middle.

    Args:
        graph: what to draw.
        places: where each node stands, in any unit, y upwards as networkx lays out graphs.
        title: above the drawing, and its description for who cannot see it.
        height: of the drawing in pixels, title and legend left out.

    Returns:
        The drawing.

    Raises:
        KeyError: a node has no place.
    """
    groups = list(dict.fromkeys(data["group"] for _, data in graph.nodes(data=True) if "group" in data))
    at = _on_canvas({node: places[node] for node in graph}, graph, height)
    free = _Free(height + LINE + MARGIN)
    for node, data in graph.nodes(data=True):
        free.take(_node_box(at[node], data))
    hidden, parts = [], [_edge(at, graph, *edge) for edge in graph.edges]
    order = sorted(graph, key=lambda node: (-graph.nodes[node].get("radius", 7), -graph.degree(node)))
    names = {node: f"n{number}" for number, node in enumerate(graph)}
    for node in order:
        data = graph.nodes[node]
        label, crowded = _label(at[node], data, free)
        hidden += [str(data["label"])] if crowded else []
        parts.append(_node(names[node], at[node], data, label, groups))
    for edge, (source, target) in enumerate(graph.edges):
        parts[edge] = parts[edge].format(names[source], names[target])
    legend, foot = _legend(groups, height + LINE + 2 * MARGIN)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="graph" viewBox="0 0 {WIDTH} {foot}" width="{WIDTH}" '
        f'style="max-width: 100%; height: auto" font-size="{FONT}" role="img" aria-label="{escape(title, quote=True)}">'
        f"<style>{STYLE_SHEET}</style>{_arrow_head() if graph.is_directed() else ''}"
        f'<rect width="{WIDTH}" height="{foot}" fill="#fff"/>'
        f'<text x="{MARGIN}" y="{LINE}" style="font-weight: bold">{escape(title)}</text>'
        f'<g class="view">{"".join(parts)}</g>{legend}</svg>'
    )
    return GraphDrawing(svg, tuple(hidden))


def _on_canvas(places: Mapping[Hashable, Place], graph: nx.Graph, height: int) -> dict[Hashable, Place]:
    """Places in pixels, y downwards, with room at the sides for half a box."""
    columns, rows = zip(*places.values(), strict=True)
    left, right, low, high = min(columns), max(columns), min(rows), max(rows)
    boxes = [_width(data["label"]) / 2 + 8 for _, data in graph.nodes(data=True) if data.get("box")]
    side, top = max([90, *boxes]), LINE + 2 * MARGIN + 10
    across, down = WIDTH - 2 * side, height - 2 * (MARGIN + 10)
    return {
        node: (
            side + across * ((x - left) / (right - left) if right > left else 0.5),
            top + down * ((high - y) / (high - low) if high > low else 0.5),
        )
        for node, (x, y) in places.items()
    }


class _Free:
    """What of the canvas is taken."""

    def __init__(self, bottom: float) -> None:
        self._taken: list[Box] = []
        self._bottom = bottom

    def take(self, box: Box) -> None:
        self._taken.append(box)

    def has(self, box: Box) -> bool:
        left, top, right, bottom = box
        if left < 2 or right > WIDTH - 2 or top < LINE + 4 or bottom > self._bottom:
            return False
        return all(right < l or left > r or bottom < t or top > b for l, t, r, b in self._taken)  # noqa: E741


def _width(text: object) -> float:
    return LETTER * len(str(text))


def _node_box(place: Place, data: Mapping) -> Box:
    x, y = place
    wide, high = (_width(data["label"]) / 2 + 8, LINE / 2 + 2) if data.get("box") else (data.get("radius", 7),) * 2
    return x - wide, y - high, x + wide, y + high


def _label(place: Place, data: Mapping, free: _Free) -> tuple[str, bool]:
    """The label as SVG, relative to its node, and whether no place was free for it."""
    if "label" not in data:
        return "", False
    text = escape(str(data["label"]))
    if data.get("box"):
        return f'<text text-anchor="middle" y="{FONT * 0.36:.1f}">{text}</text>', False
    (x, y), gap, wide, half = place, data.get("radius", 7) + 4, _width(data["label"]), FONT / 2 + 1
    outwards, inwards = (("start", gap), ("end", -gap))[:: 1 if x >= WIDTH / 2 else -1]
    sides = (outwards, inwards, ("middle", 0))
    for down in (0, -gap - half, gap + half, -gap - 2.4 * half, gap + 2.4 * half):
        for anchor, right in sides:
            if anchor == "middle" and not down:
                continue
            left = x + right - {"start": 0, "end": wide, "middle": wide / 2}[anchor]
            box = (left, y + down - half, left + wide, y + down + half)
            if free.has(box):
                free.take(box)
                return f'<text text-anchor="{anchor}" x="{right:.1f}" y="{down + FONT * 0.36:.1f}">{text}</text>', False
    return f'<text class="crowded" x="{gap:.1f}" y="{FONT * 0.36:.1f}">{text}</text>', True


def _node(name: str, place: Place, data: Mapping, label: str, groups: list) -> str:
    hint = escape(str(data.get("hint", data.get("label", ""))))
    colour, square = _sign(groups.index(data["group"])) if "group" in data else (PALETTE[0], False)
    if data.get("box"):
        wide = _width(data["label"]) / 2 + 8
        line = f'fill="#fff" stroke="{colour if "group" in data else SHADES[1]}" stroke-width="1.5"'
        shape = f'<rect x="{-wide:.1f}" y="{-LINE / 2 - 2}" width="{2 * wide:.1f}" height="{LINE + 4}" rx="4" {line}/>'
    else:
        shape = _shape(data.get("radius", 7), colour, square)
    return (
        f'<g class="node" data-name="{name}" tabindex="0" transform="translate({place[0]:.1f} {place[1]:.1f})">'
        f"<title>{hint}</title>{shape}{label}</g>"
    )


def _shape(radius: float, colour: str, square: bool) -> str:
    line = f'fill="{colour}" stroke="#fff" stroke-width="1.5"'
    if square:
        side = 1.8 * radius
        return f'<rect x="{-side / 2:.1f}" y="{-side / 2:.1f}" width="{side:.1f}" height="{side:.1f}" {line}/>'
    return f'<circle r="{radius}" {line}/>'


def _sign(number: int) -> tuple[str, bool]:
    """Colour of a group, and whether it is drawn as a square: the second round of the colours."""
    return PALETTE[number % len(PALETTE)], number // len(PALETTE) % 2 == 1


def _edge(at: Mapping[Hashable, Place], graph: nx.Graph, source: Hashable, target: Hashable) -> str:
    (x1, y1), (x2, y2) = at[source], at[target]
    arrow = ' marker-mid="url(#arrow)"' if graph.is_directed() else ""
    middle = f"{(x1 + x2) / 2:.1f},{(y1 + y2) / 2:.1f}"
    return (
        f'<polyline class="edge" data-source="{{}}" data-target="{{}}" fill="none" stroke="{SHADES[1]}" '
        f'stroke-width="1.2"{arrow} '
        f'points="{x1:.1f},{y1:.1f} {middle} {x2:.1f},{y2:.1f}"/>'
    )


def _arrow_head() -> str:
    return (
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="8" markerHeight="8" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{SHADES[1]}"/></marker></defs>'
    )


def _legend(groups: list, top: float) -> tuple[str, float]:
    """The legend as SVG, in rows that are full before the next begins, and where it ends."""
    x, y, parts = float(MARGIN + 8), top + FONT / 2, []
    for number, group in enumerate(groups):
        wide = _width(group) + 36
        if x + wide > WIDTH and x > MARGIN + 8:
            x, y = float(MARGIN + 8), y + LINE
        parts.append(
            f'<g transform="translate({x:.1f} {y:.1f})">{_shape(6, *_sign(number))}'
            f'<text x="12" y="{FONT * 0.36:.1f}">{escape(str(group))}</text></g>'
        )
        x += wide
    return "".join(parts), y + (LINE if groups else 0)
