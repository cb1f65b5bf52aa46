"""A graph that is drawn, and grows where it is clicked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import networkx as nx
import numpy as np
from nicegui import ui
from nicegui.events import EChartPointClickEventArguments

from workshop.demo.parts import elided
from workshop.demo.theme import OTHER_COLOUR, colour_of

MOST_NODES = 150
"""More cannot be told apart."""
LONGEST_LABEL = 24
SPREAD = 0.45
"""Distance that linked nodes like to keep, where the whole picture is 2 wide."""
SCALE = 300


@dataclass(frozen=True)
class Node:
    """A vertex as it is drawn.

    Attributes:
        id: its ``_id``.
        name: what a reader sees.
        kind: its collection, which gives its colour; ``start`` for what was asked.
    """

    id: str
    name: str
    kind: str


@dataclass(frozen=True)
class Link:
    """An edge as it is drawn; ``said`` is what it stands for."""

    source: str
    target: str
    said: str = ""


@dataclass
class Network:
    """Nodes and links, each once; what would make more than :data:`MOST_NODES` is left out, and counted."""

    nodes: dict[str, Node] = field(default_factory=dict)
    links: dict[tuple[str, str], Link] = field(default_factory=dict)
    left_out: int = 0
    places: dict[str, tuple[float, float]] = field(default_factory=dict)

    def add(self, nodes: Iterable[Node], links: Iterable[Link]) -> None:
        """Take in nodes, and those links both of whose ends are there."""
        for node in nodes:
            if node.id not in self.nodes:
                if len(self.nodes) >= MOST_NODES:
                    self.left_out += 1
                else:
                    self.nodes[node.id] = node
        for link in links:
            ends = (link.source, link.target)
            if link.source != link.target and set(ends) <= self.nodes.keys() and ends[::-1] not in self.links:
                self.links.setdefault(ends, link)

    def _place(self) -> None:
        """Find room for new nodes near what they are linked to; those that are placed stay where a reader saw them."""
        if not self.nodes.keys() - self.places.keys():
            return
        graph = nx.Graph()
        graph.add_nodes_from(self.nodes)
        graph.add_edges_from(self.links)
        known = dict(self.places)
        if known:
            random = np.random.default_rng(0)  # two nodes at one point would never part
            begin = dict(known)
            for name in (name for name in self.nodes if name not in known):
                near = next((known[other] for other in graph[name] if other in known), (0.0, 0.0))
                begin[name] = tuple(near + random.normal(scale=SPREAD / 4, size=2))
            found = nx.spring_layout(graph, k=SPREAD, pos=begin, fixed=list(known), seed=0)
        else:
            found = nx.spring_layout(graph, k=SPREAD, seed=0)
        self.places |= {name: (float(x), float(y)) for name, (x, y) in found.items()}

    def options(self) -> dict:
        """The picture, as ECharts describes it: https://echarts.apache.org/en/option.html#series-graph."""
        self._place()
        kinds = list(dict.fromkeys(node.kind for node in self.nodes.values()))
        return {
            "animation": False,
            "tooltip": {"confine": True},
            "legend": [{"data": [{"name": kind} for kind in kinds], "type": "scroll", "top": 0}],
            "series": [
                {
                    "type": "graph",
                    "layout": "none",
                    "roam": True,
                    "draggable": True,
                    "top": 40,
                    "bottom": 20,
                    "preserveAspect": "contain",
                    "left": "6%",
                    "right": "24%",  # room for the labels
                    "label": {"show": True, "position": "right", "width": 130, "overflow": "truncate"},
                    "labelLayout": {"hideOverlap": True},
                    "lineStyle": {"color": OTHER_COLOUR, "opacity": 0.55},
                    "emphasis": {"focus": "adjacency"},
                    "categories": [{"name": kind, "itemStyle": {"color": colour_of(kind)}} for kind in kinds],
                    "data": [
                        {
                            "id": node.id,
                            "name": elided(node.name, LONGEST_LABEL),
                            "x": SCALE * self.places[node.id][0],
                            "y": SCALE * self.places[node.id][1],
                            "category": kinds.index(node.kind),
                            "value": node.kind,  # a click tells it, and fails without
                            "symbolSize": 22 if node.kind == "start" else 14,
                        }
                        for node in self.nodes.values()
                    ],
                    "links": [
                        {"source": link.source, "target": link.target, "value": link.said}
                        for link in self.links.values()
                    ],
                }
            ],
        }


class NetworkView:
    """The picture of a network on a page.

    Args:
        network: what to draw.
        expand: gives what lies around a node, for its ``_id``; called when the node is clicked.
    """

    def __init__(
        self, network: Network, expand: Callable[[str], Awaitable[tuple[list[Node], list[Link]] | None]]
    ) -> None:
        self.network = network
        self._expand = expand
        self._chart = ui.echart(network.options(), self._clicked, renderer="svg").classes("network")
        self._chart.props('role=img aria-label="Graph; the same facts stand in the list beside it"')
        self._said = ui.label().classes("soft").props("role=status")
        self._tell()

    async def _clicked(self, event: EChartPointClickEventArguments) -> None:
        if event.data_type == "node" and isinstance(event.data, dict) and event.data.get("id") in self.network.nodes:
            await self.grow(event.data["id"])

    async def grow(self, node_id: str) -> None:
        """Add what lies around a node."""
        found = await self._expand(node_id)
        if found is None:
            return
        before = len(self.network.nodes)
        self.network.add(*found)
        self._chart.options.clear()
        self._chart.options.update(self.network.options())
        self._chart.update()
        self._tell(len(self.network.nodes) - before)

    def _tell(self, new: int | None = None) -> None:
        drawn = f"{len(self.network.nodes)} nodes, {len(self.network.links)} links"
        grown = "click a node to see what is around it" if new is None else f"{new} new"
        left_out = (
            f"; {self.network.left_out} left out, {MOST_NODES} are drawn at most" if self.network.left_out else ""
        )
        self._said.set_text(f"{drawn}; {grown}{left_out}")
