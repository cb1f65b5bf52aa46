"""Bars for what is compared by several measures at once: one panel a measure, since their units differ."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd

from workshop.figures.style import PAGE

INCHES_A_LINE = 0.2
ROOM_FOR_NUMBERS = 1.45
"""Length of an axis as a multiple of its longest bar; the number of that bar stands behind it."""


def side_by_side(table: pd.DataFrame) -> None:
    """Show every column of a small table as a panel of bars, and every row as one bar in each panel.

    Args:
        table: numbers from 0 on; its index names the rows, its columns the measures with their units. Line breaks in
            either are kept.
    """
    rows = [str(row) for row in table.index]
    lines = max(row.count("\n") + 1 for row in rows)
    height = 0.6 + INCHES_A_LINE * len(rows) * (lines + 0.4)
    _, axes = plt.subplots(1, len(table.columns), figsize=(PAGE, height), sharey=True, squeeze=False)
    for number, (axis, measure) in enumerate(zip(axes[0], table, strict=True)):
        values = table[measure].astype(float)
        bars = axis.barh(range(len(rows)), values, color=f"C{number}", height=0.7)
        axis.bar_label(bars, [_short(value) for value in values], padding=3)
        axis.set(xlabel=measure, xticks=[], xlim=(0, ROOM_FOR_NUMBERS * (values.max() or 1.0)))
        axis.spines.bottom.set_visible(False)
    axes[0, 0].set(yticks=range(len(rows)), yticklabels=rows, ylabel=table.index.name or "")
    axes[0, 0].invert_yaxis()
    plt.show()


def _short(value: float) -> str:
    """Three digits, and all of those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
