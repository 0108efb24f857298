"""Verdicts: each measure against its bar, each bar against real-vs-real, and a sentence.

A bar is no law of nature: it says how much worse than real data a generator may look. Where the
measure cannot tell the bar from real data, the verdict says so.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mcsim._fidelity._menu import n_inside, outside, unresolved
from mcsim._fidelity._sources import REAL

Record = dict[str, Any]

PASSES, FAILS, UNRESOLVED = "passes", "fails", "not resolvable"
MISSING, REFERENCE = "missing", "reference"
COPYING_RATIO, COPYING_POINTS = 0.5, 20.0
CHANCE, AUC_SLACK = 0.5, 0.10
AUC_BAR = CHANCE + AUC_SLACK  # from which a classifier tells rows apart
COPYING = ("auc_training", "copies", "nn_ratio")  # what copying alone can fail


class Bar(NamedTuple):
    """Bar of a measure: ``factor * floor + slack``; the floor is known, or read off real rows.

    ``worse`` is 1 where large values are bad, -1 where small ones are, 0 where both are.
    """

    floor: float | None = None
    factor: float = 1.0
    slack: float = 0.0
    worse: int = 1


BARS: Mapping[str, Bar] = {
    "auc_training": Bar(floor=CHANCE, slack=AUC_SLACK, worse=0),
    "auc_holdout": Bar(floor=CHANCE, slack=AUC_SLACK),
    "auc_cross": Bar(floor=CHANCE, slack=AUC_SLACK),
    "copies": Bar(slack=2.0),
    "nn_ratio": Bar(floor=1.0, factor=0.9, worse=-1),
    "transport": Bar(factor=1.15),
    "sliced_w1": Bar(factor=1.25),
    "marginal_w1": Bar(factor=1.25),
    "overlap": Bar(factor=1.25),
    "correlations": Bar(factor=0.0, slack=0.05),
    "atoms": Bar(factor=0.0, slack=1.0),
}


def judged(records: Sequence[Record]) -> list[Record]:
    """Add floor, bar and status to the measures of all generators; sort them by measure."""
    real = {(r["measure"], r["arm"]): r for r in records if r["generator"] == REAL}
    rows = []
    for row in records:
        bar, read = BARS[row["measure"]], real[row["measure"], row["arm"]]
        floor = read["value"] if bar.floor is None else bar.floor
        worse = bar.worse or (1 if row["value"] >= floor else -1)
        limit = bar.factor * floor + worse * bar.slack if bar.factor else bar.slack
        read_off = bar.floor is None and bar.factor > 0  # then the bar is as noisy as the floor
        noise = np.hypot(_half(row), _half(read)) if read_off else _half(row)
        status = _status(row["value"], float(noise), floor, limit, worse)
        status = REFERENCE if row["generator"] == REAL else status
        rows.append({**row, "floor": floor, "bar": limit, "status": status})
    generators, measures = list(dict.fromkeys(r["generator"] for r in rows)), list(BARS)
    return sorted(
        rows, key=lambda r: (generators.index(r["generator"]), measures.index(r["measure"]))
    )


def _half(row: Record) -> float:
    """Half the width of a measure's interval over folds, else of that by chance, else 0."""
    ends = ("lower", "upper"), ("null_lower", "null_upper")
    halves = [(row.get(upper, np.nan) - row.get(lower, np.nan)) / 2 for lower, upper in ends]
    return next((half for half in halves if np.isfinite(half)), 0.0)


def _status(value: float, noise: float, floor: float, bar: float, worse: int) -> str:
    """Compare a value with its bar; ``noise`` is that of the value and of a floor read off rows."""
    if not np.isfinite([value, floor]).all():
        return MISSING
    covers_both = value - noise <= min(floor, bar) and value + noise >= max(floor, bar)
    beyond = worse * (value - bar) > 0
    no_worse_than_real = worse * (value - floor) <= 0
    if covers_both or (beyond and no_worse_than_real):
        return UNRESOLVED
    return FAILS if beyond else PASSES


def verdict(measures: Sequence[Record], estimates: Sequence[Record]) -> str:
    """Put one generator's judged measures and estimates in words."""
    copying = _copying(measures)
    failing = [r for r in measures if r["status"] == FAILS]
    failing = [r for r in failing if not (copying and r["measure"] in COPYING)]
    parts = [copying] if copying else []
    if failing:
        parts.append(f"fails: {', '.join(map(_worded, failing))}")
    parts += [words for words in (outside(estimates),) if words]
    if not parts:
        parts.append(_passes(measures, estimates))
    parts += [words for words in (unresolved(estimates),) if words]
    for status, words in ((UNRESOLVED, "not resolvable at this N"), (MISSING, "missing")):
        labels = [_label(r) for r in measures if r["status"] == status]
        if labels:
            parts.append(f"{words}: {', '.join(labels)}")
    return "; ".join(parts)


def _passes(measures: Sequence[Record], estimates: Sequence[Record]) -> str:
    passed = sum(r["status"] == PASSES for r in measures)
    inside = n_inside(estimates)
    estimated = f", your {inside} estimates inside its law" if inside else ""
    return f"passes: {passed} measures within their bars{estimated}"


def _copying(measures: Sequence[Record]) -> str:
    """Return the memorization warning, about all rows or else about one arm."""
    found = {(r["measure"], r["arm"]): r for r in measures}
    for arm in dict.fromkeys(r["arm"] for r in measures if r["measure"] == "copies"):
        copies, ratio = found["copies", arm], found["nn_ratio", arm]["value"]
        floor = copies["floor"] if np.isfinite(copies["floor"]) else 0.0
        if ratio < COPYING_RATIO or copies["value"] > floor + COPYING_POINTS:
            rows = "training rows" if arm == "all" else f"{arm} training rows"
            known = f", nearest-neighbor ratio {ratio:.2f}" if np.isfinite(ratio) else ""
            return (
                f"copies its {rows} ({copies['value']:.0f} % exact copies{known}): "
                "close to the data by repeating them"
            )
    return ""


def _label(row: Record) -> str:
    return row["measure"] if row["arm"] == "all" else f"{row['measure']}[{row['arm']}]"


def _worded(row: Record) -> str:
    return f"{_label(row)} {row['value']:.3g} (bar {row['bar']:.3g})"
