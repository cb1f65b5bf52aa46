"""Executed notebooks made ready to be read: pictures described, and without what only a running kernel could draw."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import nbformat

PICTURES = {"image/png", "image/svg+xml"}
WIDGET = "application/vnd.jupyter.widget-view+json"


def make_readable(notebook: nbformat.NotebookNode) -> None:
    """Describe the pictures of an executed notebook, and drop its widgets, such as bars of progress: a page would
    fetch what draws them from a network.

    Args:
        notebook: changed in place.
    """
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
    _describe_pictures(notebook)


def _describe_pictures(notebook: nbformat.NotebookNode) -> None:
    """Give each cell that shows a picture a text to stand for it: the titles its code draws, and its section's heading.

    It is written where MyST-NB looks for it, ``mystnb.image.alt`` of the cell's metadata
    (https://myst-nb.readthedocs.io/en/latest/render/format_code_cells.html).
    """
    heading = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = ([heading, *re.findall(r"^#+ (?:\d+\. )?(.+)$", cell.source, re.MULTILINE)])[-1]
        elif any(PICTURES & set(output.get("data", {})) for output in cell.get("outputs", [])):
            titles = "; ".join(dict.fromkeys(_titles(cell.source)))
            said = ": ".join(filter(None, [heading, titles])).replace("`", "")
            cell.metadata.setdefault("mystnb", {}).setdefault("image", {"alt": f"Picture. {said}"})


def _titles(source: str) -> Iterator[str]:
    """The titles that code draws by literals; none of a cell with magics, which is no plain Python."""
    try:
        parsed = ast.parse(source)
    except SyntaxError:
        return
    for node in ast.walk(parsed):
        if not isinstance(node, ast.Call):
            continue
        drawn = [keyword.value for keyword in node.keywords if keyword.arg == "title"]
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("set_title", "suptitle"):
            drawn += node.args[:1]
        yield from (title.value for title in drawn if isinstance(title, ast.Constant) and isinstance(title.value, str))
