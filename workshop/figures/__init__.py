"""The looks of all pictures: one style for plots, and drawings of graphs that answer to the pointer."""

from workshop.figures.graph import GraphDrawing, draw_graph
from workshop.figures.style import MARKERS, PAGE, PALETTE, QUIET, SHADES, use_style

__all__ = ["MARKERS", "PAGE", "PALETTE", "QUIET", "SHADES", "GraphDrawing", "draw_graph", "use_style"]
