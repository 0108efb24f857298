"""Colors and axes that all figures share."""

from matplotlib.figure import Figure

INK, PALE, HIT, MISS, SAND = "#1b3a4b", "#9fb8c4", "#9fb8c4", "#c8553d", "#e0a458"
MARKERS = "osD^vP"


def plain(figure: Figure) -> Figure:
    """Take the upper and right spines away."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return figure
