"""Figures of a page: strips of dots as SVG, and the intervals that its script draws as a zip.

A strip has a row for each estimator and a dot for each cell, whatever the number of factors. The
intervals of a zip are bytes: lower and upper limit less the truth, on the range of their figure.
Zero lies between 127 and 128, so that rounding never turns a hit into a miss.
"""

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mcsim._core.markup import in_html, rounded
from mcsim.errors import printable

MOST_INTERVALS = 100  # in a zip
_BYTES = 350_000  # of all zips
_ROW, _TOP, _LEFT, _WIDTH, _FOOT = 22, 8, 210, 720, 40
_TICKS = 5
_LONGEST = 30  # characters of a name beside a figure


def strip(
    names: Sequence[str], values: Sequence[float], off: Sequence[bool], line: float, label: str
) -> str:
    """Return a figure with a row per name and a dot per value, as SVG.

    Parameters
    ----------
    names : sequence of str
        The row of each value.
    values : sequence of float
        The values; missing ones have no dot.
    off : sequence of bool
        Which dots are red.
    line : float
        Where the dashed line stands.
    label : str
        The name of the axis.
    """
    rows = list(dict.fromkeys(names))
    known = [v for v in values if math.isfinite(v)] or [line]
    low, high = _ends(min(*known, line), max(*known, line))
    height = _TOP + _ROW * len(rows) + _FOOT

    def x(value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - 30) * (value - low) / (high - low)

    bottom, step = _TOP + _ROW * len(rows), _step(high - low)
    parts = []
    for k in range(math.ceil(low / step), math.floor(high / step) + 1):
        at, number = x(k * step), f"{k * step:.6g}"
        parts.append(
            f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{bottom}"/>'
            f'<text x="{at:.1f}" y="{bottom + 15}" text-anchor="middle">{number}</text>'
        )
    parts.append(
        f'<line class="nominal" x1="{x(line):.1f}" x2="{x(line):.1f}" y1="{_TOP}" y2="{bottom}"/>'
    )
    for k, name in enumerate(rows):
        shown = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
        parts.append(
            f'<text x="{_LEFT - 10}" y="{_TOP + _ROW * k + 15}" text-anchor="end">'
            f"{in_html(shown)}</text>"
        )
    places = {name: _TOP + _ROW * k + _ROW // 2 for k, name in enumerate(rows)}
    for name, value, red in zip(names, values, off, strict=True):
        if math.isfinite(value):
            kind = "dot off" if red else "dot"
            parts.append(f'<circle class="{kind}" cx="{x(value):.1f}" cy="{places[name]}" r="4"/>')
    parts.append(
        f'<text x="{(_LEFT + _WIDTH) / 2:.0f}" y="{height - 6}" text-anchor="middle">'
        f"{in_html(label)}</text>"
    )
    alt = in_html(f"{label}: {min(known):.3g} to {max(known):.3g}, {len(rows)} rows")
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img" aria-label="{alt}">'
        f"{''.join(parts)}</svg>"
    )


def _step(width: float) -> float:
    """Return a round number that goes about five times into a width.

    Examples
    --------
    >>> _step(0.36), _step(9)
    (0.1, 2.0)
    """
    power = 10.0 ** math.floor(math.log10(width / _TICKS))
    return min((power * k for k in (1, 2, 5, 10)), key=lambda step: abs(width / step - _TICKS))


def _ends(low: float, high: float) -> tuple[float, float]:
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def zips(
    replicates: pd.DataFrame, by: Sequence[str], cell: pd.Series, names: pd.Series, scale: float
) -> list[dict[str, Any]]:
    """Return the intervals of every label in every cell, at most `MOST_INTERVALS` of each.

    Parameters
    ----------
    replicates : pandas.DataFrame
        The replications.
    by : sequence of str
        Columns that identify a cell and a label.
    cell, names : pandas.Series
        Number of the cell and name of the label, by the rows of `replicates`.
    scale : float
        Divisor of the values.
    """
    given = replicates[["lower", "upper", "truth"]].notna().all(axis=1)
    rows = replicates[given].assign(_cell=cell[given], _name=names[given])
    groups = rows.groupby([*by], sort=False, dropna=False)
    most = int(np.clip(_BYTES // (2.7 * max(1, groups.ngroups)), 10, MOST_INTERVALS))
    return [found for _, part in groups if (found := _zip(part, most, scale)) is not None]


def _zip(part: pd.DataFrame, most: int, scale: float) -> dict[str, Any] | None:
    lower, upper, truth = (part[c].to_numpy(dtype=float) for c in ("lower", "upper", "truth"))
    low, high = (lower - truth) / scale, (upper - truth) / scale
    finite = np.isfinite(low) & np.isfinite(high)
    if not finite.any():
        return None
    hits = ((low <= 0) & (high >= 0)).mean()
    low, high = low[finite], high[finite]
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.abs(low + high) / (high - low)  # of the middle, in halves of the interval
    order = np.argsort(np.nan_to_num(distance, nan=0.0), kind="stable")
    drawn = order[
        np.unique(np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(int))
    ]
    low, high = low[drawn], high[drawn]
    limit = float(max(np.abs(low).max(), np.abs(high).max())) or 1.0
    left, right = np.floor(127.5 * (1 + low / limit)), np.ceil(127.5 * (1 + high / limit))
    left = np.where(low > 0, np.maximum(left, 128), np.minimum(left, 127))
    right = np.where(high < 0, np.minimum(right, 127), np.maximum(right, 128))
    packed = np.stack([left, right], axis=1).clip(0, 255).astype(np.uint8).tobytes()
    return {
        "cell": int(part["_cell"].iloc[0]),
        "name": printable(part["_name"].iloc[0]),
        "coverage": f"{hits:.1%}",
        "range": rounded(limit, limit / 5),
        "intervals": base64.b64encode(packed).decode("ascii"),
    }
