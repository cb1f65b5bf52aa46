"""What a reader would stumble over in a figure: small text, labels on labels, too wide for the page, bare axes."""

from __future__ import annotations

from itertools import combinations

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from workshop.figures import PAGE

LEAST_POINTS = 8.0
TOUCH = 1.0  # pixels that two texts may share: boxes are a little larger than what is drawn
LEAST_TICKS = 2  # labelled, on a logarithmic axis: one alone gives no scale


def faults(figure: Figure) -> list[str]:
    """One line for each fault."""
    figure.canvas.draw()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    outside = {id(label) for axes in figure.axes for label in _outside(axes)}
    texts = [text for text in texts if id(text) not in outside and _shown(text)]
    found = [f"{text.get_text()!r} has {text.get_fontsize():.1f} pt" for text in texts if _points(figure, text)]
    if figure.get_figwidth() > PAGE + 0.01:
        found.append(f"{figure.get_figwidth():.1f} inches wide, the page has {PAGE}")
    boxes = [(text, text.get_window_extent().padded(-TOUCH)) for text in texts]
    for (one, its), (other, others) in combinations(boxes, 2):
        if its.overlaps(others):
            found.append(f"{one.get_text()!r} lies on {other.get_text()!r}")
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = [label for label in axis.get_ticklabels(which="both") if label in texts]
            if axis.get_scale() == "log" and axis.get_visible() and len(labels) < LEAST_TICKS:
                found.append(f"a logarithmic axis ({axis.label.get_text()!r}) with {len(labels)} labelled ticks")
    return found


def watch() -> None:
    """Let ``plt.show`` refuse figures with faults; for the kernel of a notebook under test."""
    show = plt.show

    def judged(*arguments: object, **options: object) -> None:
        found = [fault for number in plt.get_fignums() for fault in faults(plt.figure(number))]
        show(*arguments, **options)
        assert not found, "\n".join(found)

    plt.show = judged


def _points(figure: Figure, text: Text) -> bool:
    """Whether a text is too small once the figure is scaled to the page."""
    return text.get_fontsize() * min(1, PAGE / figure.get_figwidth()) < LEAST_POINTS


def _shown(text: Text) -> bool:
    """Whether what the text belongs to is drawn: the labels of axes that are switched off are not."""
    axes = text.axes
    return axes is None or (axes.get_visible() and (axes.axison or text is axes.title or text in axes.texts))


def _outside(axes: Axes) -> list[Text]:
    """Labels of ticks beyond the ends of their axis; they are there and not drawn."""
    found = []
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        margin = 1e-9 * max(abs(low), abs(high), 1e-300)
        for minor in (False, True):
            places, labels = axis.get_ticklocs(minor=minor), axis.get_ticklabels(minor=minor)
            found += [
                label
                for place, label in zip(places, labels, strict=False)
                if not low - margin <= place <= high + margin
            ]
    return found
