"""The looks of all pictures: one style for plots, and drawings of graphs that answer to the pointer."""

from workshop.figures.bars import side_by_side
from workshop.figures.graph import GraphDrawing, draw_graph
from workshop.figures.style import MARKERS, PAGE, PALETTE, QUIET, SHADES, use_style

__all__ = ["MARKERS", "PAGE", "PALETTE", "QUIET", "SHADES", "GraphDrawing", "draw_graph", "side_by_side", "use_style"]
