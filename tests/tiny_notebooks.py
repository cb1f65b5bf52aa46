"""Small notebooks, and an index of them, for tests of what runs notebooks."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PARAMETERS = 'DATA_SIZE = "default"  # tiny, default or full\nSEED = 0\nRATE = 0.5\nLABELS = ["a", "b"]\nNAME = "x"'


def write_notebook(folder: Path, name: str, *sources: str) -> Path:
    """A notebook with a title, a parameters cell and the given code cells; those have indices 2, 3, ..."""
    cells = [
        new_markdown_cell("# Title"),
        new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        *map(new_code_cell, sources),
    ]
    metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    path = folder / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)
    return path


def write_index(folder: Path, *tables: str) -> Path:
    """An ``index.toml`` with one table a notebook, given as TOML."""
    path = folder / "index.toml"
    common = 'title = "A title"\ngoal = "A goal"\nminutes = 1\ntimeout = 60\n'
    path.write_text("".join(f"[[notebook]]\n{common}{table}\n" for table in tables))
    return path
