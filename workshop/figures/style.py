"""One style for every plot, in ``figures.mplstyle``, and for the texts in tables."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

STYLE = Path(__file__).with_name("figures.mplstyle")
PAGE = 7.2
"""Width in inches of the column that notebooks are read in; a wider figure is scaled down, and its text with it."""
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""The colours of the style, ``C0`` to ``C6`` (Okabe and Ito 2008, Color Universal Design)."""
QUIET = "#767676"
"""For what a figure is compared with: yardsticks, chance, what is not chosen."""
SHADES = ("#DDDDDD", "#999999")
"""Still quieter: what stays in the background."""
MARKERS = "os^Dv<>"
"""A second sign beside the colour, for more groups than colours or readers who cannot tell these apart."""


LONGEST_TEXT = 200
"""Letters of a text that a table shows; pandas' own 50 would cut off most reasons and error messages."""


def use_style() -> None:
    """Plot in the workshop's style from here on, and show texts in tables up to ``LONGEST_TEXT`` letters."""
    plt.style.use(STYLE)
    pd.set_option("display.max_colwidth", LONGEST_TEXT)
