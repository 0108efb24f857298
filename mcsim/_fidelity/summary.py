"""The summary of a table: the verdict on a generator in a paragraph, and at most eight rows.

Measures belong to subjects, and each subject to a use of a generator. The paragraph names the
subjects that a generator gets right, the uses for which it must not be trusted, and the subjects
that the data are too few to decide. `summary_of_rows` is for cross-sections; panels have a file.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mcsim._core.records import Status
from mcsim._fidelity.estimates import n_inside, n_placed, outside, unresolved
from mcsim._fidelity.references import REAL
from mcsim._fidelity.verdicts import (
    BARS,
    COPYING,
    FAILS,
    MISSING,
    PASSES,
    RIGHT,
    UNRESOLVED,
    WRONG,
    beyond_by_chance,
    copying_rows,
)

Cells = list[list[str]]
Records = list[dict[str, Any]]

PIECES = 2  # of evidence
MARKS = {FAILS: "!", WRONG: "!", UNRESOLVED: "?"}
LEGEND = "! beyond its bar   ? the data are too few to decide"
MORE = (
    "All measures: print(table.details()), or --details on the command line; the frames of the "
    "table hold their numbers."
)
CAUTION = (
    "Right means that these data cannot distinguish the generator from their source; effects of "
    "treatments in it may be wrong all the same."
)


class Subject(NamedTuple):
    """A subject of measures, the use of a generator that it bears on, and its verb."""

    name: str
    use: str
    verb: str = "are"


JOINT = Subject("the joint distribution", "nonlinear relations and flexible first steps", "is")
COPIES = Subject("copies of rows", "matching, nearest neighbors and confidential data")
MARGINS = Subject("marginal distributions", "levels, tails and quantiles of single columns")
CORRELATIONS = Subject("correlations", "coefficients of regressions")
MASS_POINTS = Subject("shares at mass points", "zeros, top codes and other limited outcomes")
OVERLAP = Subject("overlap of the arms", "propensity scores, weighting and matching", "is")
ESTIMATES = Subject("your estimates", "the size of your estimates")

OF_MEASURES = {
    "auc_training": JOINT, "auc_holdout": JOINT, "auc_cross": JOINT, "transport": JOINT,
    "sliced_w1": JOINT, "duplicates": COPIES, "nn_ratio": COPIES, "marginal_w1": MARGINS,
    "correlations": CORRELATIONS, "mass_points": MASS_POINTS, "overlap": OVERLAP,
}  # fmt: skip
"""The subjects of the measures of a cross-section."""

NAMES = {
    "auc_training": "AUC of a classifier on training rows",
    "auc_holdout": "AUC of a classifier on held-out rows",
    "auc_cross": "AUC of a classifier",
    "transport": "optimal transport",
    "sliced_w1": "distance of projections",
    "duplicates": "exact duplicates in percent",
    "nn_ratio": "nearest-neighbor ratio",
    "marginal_w1": "mean distance",
    "correlations": "largest error",
    "mass_points": "largest error in points",
    "overlap": "distance of propensity scores",
}
"""The measures of a cross-section in words."""


class Row(NamedTuple):
    """A row: its label, its scale (``"x real"``, ``"less real"``, or none) and its decimals."""

    label: str
    scale: str = ""
    decimals: int = 3


ROWS = {
    "auc_cross": Row("classifier, AUC (chance .5)"),
    "duplicates": Row("exact duplicates, points above real", "less real", 1),
    "nn_ratio": Row("nearest-neighbor ratio", decimals=2),
    "marginal_w1": Row("marginal distributions, x real", "x real", 2),
    "correlations": Row("correlations, largest error"),
    "mass_points": Row("mass points, largest error in points", decimals=2),
    "overlap": Row("overlap of the arms, x real", "x real", 2),
}
"""The rows of a cross-section; of several arms the worst is shown."""


class Finding(NamedTuple):
    """The state of one subject under one generator, with the evidence."""

    subject: Subject
    status: str
    evidence: str = ""


class Summary(NamedTuple):
    """The summary of a table.

    Attributes
    ----------
    paragraphs : tuple of str
        The verdict on each of the user's generators.
    cells : list of list of str
        A row per measure, a column per generator; the first row is the header.
    remarks : tuple of str
        The meaning of marks, and remarks on rows.
    """

    paragraphs: tuple[str, ...]
    cells: Cells
    remarks: tuple[str, ...]


# The paragraph


def paragraph(
    name: str, findings: Sequence[Finding], data: str, caveats: Sequence[str] = ()
) -> str:
    """Write what a generator gets right, what not to trust it for, and what cannot be decided.

    Examples
    --------
    >>> found = [Finding(MARGINS, RIGHT), Finding(OVERLAP, WRONG, "overlap is off")]
    >>> paragraph("g", found, "90 rows")
    'g gets marginal distributions right. Do not trust it for propensity scores, weighting and \
matching: overlap is off.'
    """
    by_status = {s: [f for f in findings if f.status == s] for s in (RIGHT, WRONG, UNRESOLVED)}
    right, wrong, undecided = by_status.values()
    new = [f for f in right if f.subject.use == COPIES.use]
    known = [f for f in right if f not in new]
    words = [f"draws new {new[0].subject.name.split()[-1]} instead of copies"] if new else []
    words += [f"gets {_listed(known)} right"] if known else []
    said = [f"{name} {', and '.join(words) or 'is not known to be right in anything'}."]
    said += [f"Do not trust it for {f.subject.use}: {f.evidence}." for f in wrong]
    if undecided:
        said.append(f"{data} are too few to decide on {_listed(undecided)}.")
    return " ".join([*said, *caveats])


def _listed(findings: Sequence[Finding]) -> str:
    words = [f.subject.name + (f" ({f.evidence})" if f.evidence else "") for f in findings]
    return joined(words)


def joined(words: Sequence[str]) -> str:
    """Join words by commas and an *and*."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def of_estimates(records: Records) -> list[Finding]:
    """Return the finding on the estimates of one generator, if there are any."""
    if not n_placed(records):
        return []
    if words := outside(records):
        return [Finding(ESTIMATES, WRONG, f"it {words}")]
    return [Finding(ESTIMATES, UNRESOLVED if unresolved(records) else RIGHT)]


# Cross-sections


def summary_of_rows(
    measures: pd.DataFrame, estimates: pd.DataFrame, n_units: int, references: Sequence[str]
) -> Summary:
    """Summarize the table of a cross-section; the user's generators are no ``references``."""
    found, estimated = by_generator(measures), by_generator(estimates)
    paragraphs = [
        paragraph(
            name,
            [*_of_measures(mine), *of_estimates(estimated.get(name, []))],
            f"{n_units:,} rows",
        )
        for name, mine in found.items()
        if name not in references
    ]
    cells, by_chance = [["measure", "bar", *found]], []
    for measure, row in ROWS.items():
        worst = {name: _worst(mine, measure) for name, mine in found.items()}
        if not any(worst.values()):
            continue
        cells.append([row.label, _bar(measure, row), *(_cell(r, row) for r in worst.values())])
        real = worst.get(REAL)
        if real is not None and beyond_by_chance(real):
            by_chance.append(row.label.split(",")[0])
    cells += estimate_row(list(found), estimated)
    said = [f"{LEGEND}{'   * real rows beyond it, by chance' if by_chance else ''}"]
    if by_chance:
        said.append(
            f"* Real rows against real rows are beyond the bar of {joined(by_chance)}: samples "
            f"of {n_units:,} rows differ by as much by chance. Generators draw many rows, so that "
            "correlations and shares have less noise, and the bar holds for them."
        )
    said += without_estimates(estimated)
    return Summary(tuple(paragraphs), cells, (*said, CAUTION, MORE))


def by_generator(frame: pd.DataFrame) -> dict[str, Records]:
    """Return the records of each generator."""
    found: dict[str, Records] = {}
    for record in frame.to_dict("records"):
        found.setdefault(str(record["generator"]), []).append(
            {str(k): v for k, v in record.items()}
        )
    return found


def _of_measures(records: Records) -> list[Finding]:
    """Return a finding per subject: the worst of its measures and arms counts."""
    found, copying = [], copying_rows(records)
    if copying:  # copies explain the verdict of a classifier
        found.append(Finding(COPIES, WRONG, f"it {copying.split(':')[0]}"))
        records = [r for r in records if r["measure"] not in COPYING]
    for subject in dict.fromkeys(OF_MEASURES.values()):
        mine = [r for r in records if OF_MEASURES.get(r["measure"]) == subject]
        statuses = {r["status"] for r in mine}
        if FAILS in statuses:
            found.append(Finding(subject, WRONG, _evidence(subject, mine)))
        elif UNRESOLVED in statuses:
            found.append(Finding(subject, UNRESOLVED))
        elif PASSES in statuses:
            found.append(Finding(subject, RIGHT))
    return found


def _evidence(subject: Subject, records: Records) -> str:
    """Name the failing measures of a subject, with arms, values and bars."""
    failing = [r for r in records if r["status"] == FAILS]
    words = []
    for record in failing[:PIECES]:
        among = "" if record["arm"] == "all" else f" among {record['arm']} rows"
        value, bar = (number(record[name], 3) for name in ("value", "bar"))
        words.append(f"{NAMES[record['measure']]}{among} {value}, bar {bar}")
    more = f"; and {len(failing) - PIECES} more" if len(failing) > PIECES else ""
    if subject == COPIES:
        return f"it stays close to its training rows ({'; '.join(words)}{more})"
    return f"{subject.name} {subject.verb} off ({'; '.join(words)}{more})"


def _worst(records: Records, measure: str) -> dict[str, Any] | None:
    """Return the record of the arm that stands worst, by its status and then by its value."""
    mine = [r for r in records if r["measure"] == measure and np.isfinite(r["value"])]
    order = [MISSING, PASSES, UNRESOLVED, FAILS]
    row, worse = ROWS[measure], BARS[measure].worse or 1

    def standing(record: dict[str, Any]) -> tuple[int, float]:
        place = order.index(record["status"]) if record["status"] in order else 0
        return place, worse * _scaled(record["value"], record["baseline"], row)

    return max(mine, key=standing, default=None)


def _scaled(value: float, baseline: float, row: Row) -> float:
    if row.scale == "x real":
        return value / baseline if baseline else np.nan
    return value - baseline if row.scale else value


def _bar(measure: str, row: Row) -> str:
    """Write the bar of a measure, on the scale of its row."""
    bar = BARS[measure]
    limit = bar.slack if row.scale == "less real" else bar.factor if row.scale else np.nan
    if not row.scale:
        limit = bar.factor * (bar.baseline or 0.0) + (bar.worse or 1) * bar.slack
    return number(limit, row.decimals)


def _cell(record: dict[str, Any] | None, row: Row) -> str:
    if record is None:
        return "-"
    mark = MARKS.get(record["status"], "")
    if record["generator"] == REAL and beyond_by_chance(record):
        mark = "*"
    return number(_scaled(record["value"], record["baseline"], row), row.decimals) + mark


def number(value: float, decimals: int) -> str:
    """Write a number as econometricians do, without the zero before the point."""
    if not np.isfinite(value):
        return "-"
    text = f"{value:.{decimals}f}" if abs(value) < 10 or decimals < 3 else f"{value:.3g}"
    return text.replace("0.", ".", 1) if decimals > 2 and abs(value) < 1 else text


# Estimates, of cross-sections and panels


def estimate_row(names: Sequence[str], estimated: Mapping[str, Records]) -> Cells:
    """Return the row with the numbers of estimates inside their sampling distributions."""
    if not any(map(n_placed, estimated.values())):
        return []
    cells = []
    for name in names:
        records = estimated.get(name, [])
        placed = n_placed(records)
        undecided = placed and unresolved(records)
        mark = "?" if undecided else "!" if outside(records) else ""
        inside = placed if undecided else n_inside(records)
        cells.append(f"{inside} of {placed}{mark}" if placed else "-")
    return [["your estimates inside", "", *cells]]


def without_estimates(estimated: Mapping[str, Records]) -> list[str]:
    """Return a remark on each estimator that has no estimate on the real data."""
    first = next(iter(estimated.values()), [])
    broken = [r for r in first if r.get("status", Status.OK.label) != Status.OK.label]
    return [
        f"{r['estimator']} has no estimate on the real data ({r['status']}): {r['note']}"
        for r in broken
        if not np.isfinite(r["value"])
    ]
