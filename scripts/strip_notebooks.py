#!/usr/bin/env python3
"""Take outputs, execution counts and editor leftovers out of the committed notebooks, so that diffs show the lesson."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat

from workshop.files import write_text
from workshop.settings import PROJECT_ROOT

KEPT_CELL_METADATA = {"tags"}
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def stripped(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook as it is committed: sources, cell ids and tags, one kernel name, nothing else."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key in KEPT_CELL_METADATA}
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
    return notebook


def committed_text(path: Path) -> str:
    """What the file at ``path`` should hold."""
    return nbformat.writes(stripped(nbformat.read(path, as_version=4))) + "\n"


def main() -> int:
    """Strip every notebook of the project that needs it."""
    notebooks = PROJECT_ROOT / "notebooks"
    for path in sorted([*notebooks.glob("*.ipynb"), *notebooks.glob("solutions/*.ipynb")]):
        text = committed_text(path)
        if text != path.read_text(encoding="utf-8"):
            write_text(path, text)
            print(f"stripped {path.relative_to(PROJECT_ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
