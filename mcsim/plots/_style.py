"""The style of all figures: colors, marks, sizes of a journal, files at 300 dpi.

Colors of series are those of Okabe & Ito (2008), which the color-blind distinguish; each series
has a marker and a line style of its own too, so that a gray copy can be read.
"""

import functools
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mcsim._core.calls import with_remedies
from mcsim.errors import InputError

INK, PALE, HIT, MISS, SAND = "#1b3a4b", "#9fb8c4", "#9fb8c4", "#d55e00", "#e69f00"
MARKERS = "osD^vP"
"""Ink, pale marks, hits, misses, and markers of all figures."""

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
SHAPES = "os^DvPX"
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))

Width = Literal["column", "page"]
WIDTHS = {"column": 3.5, "page": 7.0}
"""Widths of figures in inches: a column and a page of a journal."""

DPI = 300  # of files with pixels
_SCREEN_DPI = 144

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.5,
    "figure.titlesize": 9.0,
    "axes.titlelocation": "center",
    "axes.titlecolor": "auto",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#4d4d4d",
    "axes.linewidth": 0.7,
    "axes.facecolor": "white",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "text.color": "#222222",
    "axes.labelcolor": "#222222",
    "xtick.color": "#4d4d4d",
    "ytick.color": "#4d4d4d",
    "xtick.labelcolor": "#222222",
    "ytick.labelcolor": "#222222",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.0,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "axes.unicode_minus": True,
    "axes.grid": False,
    "figure.constrained_layout.h_pad": 0.05,
    "figure.constrained_layout.w_pad": 0.05,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "mcsim",
    "text.usetex": False,
}
"""Settings of matplotlib while a figure is drawn or written; then the user's settings return."""

P = ParamSpec("P")


class StyledFigure(Figure):
    """A figure in the style of mcsim: in files at 300 dpi, and the last line of a notebook cell.

    It is not registered with pyplot, so that a notebook shows it once.
    """

    def savefig(self, fname: Any, *, transparent: bool | None = None, **kwargs: Any) -> None:
        """Write the figure, as matplotlib does; pixels at 300 dpi unless ``dpi`` is given."""
        with styled():
            super().savefig(fname, transparent=transparent, **{"dpi": DPI, **kwargs})

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return pixels for a notebook, and their size on the screen."""
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=_SCREEN_DPI)
        width, height = (round(inches * _SCREEN_DPI / 1.5) for inches in self.get_size_inches())
        return file.getvalue(), {"width": width, "height": height}


@contextmanager
def styled() -> Iterator[None]:
    """Apply the style inside a ``with``, and restore the user's settings afterwards."""
    with mpl.rc_context(STYLE):
        yield


def in_style(draw: Callable[P, StyledFigure]) -> Callable[P, StyledFigure]:
    """Make a function draw in this style; wrong arguments are errors in sentences."""
    checked = with_remedies()(draw)

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> StyledFigure:
        with styled():
            return checked(*args, **kwargs)

    return drawn


def sized(width: float, height: float) -> StyledFigure:
    """Return an empty figure of a size in inches."""
    return StyledFigure(figsize=(width, height), layout="constrained")


def width_of(width: Any) -> float:
    """Return a width in inches by its name, ``"column"`` or ``"page"``, or as a number."""
    if isinstance(width, str) and width in WIDTHS:
        return WIDTHS[width]
    if isinstance(width, (int, float)) and not isinstance(width, bool) and 1 <= width <= 100:
        return float(width)
    raise InputError(f'width: got {width!r}, expected "column", "page", or a number of inches')


def series(place: int) -> dict[str, Any]:
    """Return color, marker and line style of a series by its place."""
    return {
        "color": COLORS[place % len(COLORS)],
        "marker": SHAPES[place % len(SHAPES)],
        "linestyle": DASHES[(place + place // len(COLORS)) % len(DASHES)],
    }


def mark(label: str, **style: Any) -> Line2D:
    """Return a mark of the legend."""
    return Line2D([], [], label=label, **style)


BAR = {"color": "#555555", "marker": "|", "linestyle": "-", "markersize": 6.0, "linewidth": 1.0}
"""The legend's mark of an error bar."""


def legend_above(figure: Figure, handles: Sequence[Artist], most: int = 9) -> None:
    """Put the legend above a figure in as many columns as fit, or beside it if it is long."""
    labels = [str(handle.get_label()) for handle in handles]
    if len(labels) > most:
        figure.legend(handles=handles, loc="outside right upper")
        return
    room = figure.get_figwidth() * 72 / (7.5 * 0.56)  # letters in a line

    def taken(columns: int) -> float:
        parts = np.array_split(np.array([len(label) for label in labels]), columns)
        return float(sum(part.max() + 8 for part in parts))

    fits = [count for count in range(1, len(labels) + 1) if taken(count) <= room]
    figure.legend(handles=handles, loc="outside upper center", ncols=max(fits, default=1))


def reference_line(axes: Axes, value: float, *, vertical: bool = False) -> None:
    """Draw a thin dashed line at the value that is right."""
    line = axes.axvline if vertical else axes.axhline
    line(value, **REFERENCE, zorder=0.5)


REFERENCE = {"color": "#777777", "linewidth": 0.8, "linestyle": (0, (4, 3))}
"""The line at the value that is right."""


def plain(figure: StyledFigure) -> StyledFigure:
    """Remove the upper and right spines."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return figure
