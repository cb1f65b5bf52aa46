"""Figures that travel inside an executed notebook: a cell records them, the runner and the tests read them back.

A figure is kept as display data under a media type of its own, beside a text form that readers see in the notebook.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import SupportsFloat

import nbformat
from IPython.display import display

from workshop.errors import RunnerError

MEDIA_TYPE = "application/vnd.workshop.figure+json"


def record(name: str, value: SupportsFloat, unit: str = "") -> None:
    """Show a figure under the current cell and keep it for ``read_records``.

    Args:
        name: snake_case name, the one that the notebook's entry in the index uses.
        value: any real number, NumPy and one-element tensors included.
        unit: printed after the value, such as ``"ms"``.

    Raises:
        RunnerError: the value is NaN or infinite.
    """
    number = float(value)
    if not math.isfinite(number):
        raise RunnerError(f"figure {name!r} is {number}, expected a finite number")
    text = f"{name} = {number:.6g} {unit}".rstrip()
    display({MEDIA_TYPE: {"name": name, "value": number, "unit": unit}, "text/plain": text}, raw=True)


def read_records(path: Path) -> dict[str, float]:
    """Read the figures of an executed notebook, in the order they were recorded.

    Raises:
        RunnerError: one name was recorded twice.
    """
    figures: dict[str, float] = {}
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            figure = output.get("data", {}).get(MEDIA_TYPE)
            if figure is None:
                continue
            if figure["name"] in figures:
                raise RunnerError(f"{path.name} records {figure['name']!r} twice")
            figures[figure["name"]] = figure["value"]
    return figures
