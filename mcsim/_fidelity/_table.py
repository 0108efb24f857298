"""FidelityTable: the measures, the estimates and the verdicts, as frames and as text."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from mcsim._core import SUCCESSES
from mcsim._escapes import in_markdown, printable
from mcsim._fidelity._sources import REAL
from mcsim._fidelity._verdict import FAILS, MISSING, UNRESOLVED

WIDTH = 100
MARKS = {FAILS: "!", UNRESOLVED: "?", MISSING: ""}
HOLM = (
    "Each p-value is of one estimate. Verdicts correct a generator's p-values for their number "
    "(Holm): one that is right is accused in at most 5 % of cases, however many the estimates are."
)
LEGEND = "! beyond its bar   ? not resolvable at this N   (sd over folds)   [95 % of chance alone]"
DECIMALS = {"copies": 1, "atoms": 2}
MEASURE_COLUMNS = ("generator", "measure", "arm", "value", "sd", "lower", "upper")
MEASURE_COLUMNS += ("null_lower", "null_upper", "floor", "bar", "status", "note")
ESTIMATE_COLUMNS = ("generator", "estimator", "estimand", "value", "mean", "sd", "sd_between")
ESTIMATE_COLUMNS += ("lower", "upper", "p_value", "p_holm", "draws", "failed", "status", "note")
Cells = list[list[str]]


@dataclass(frozen=True, eq=False)
class FidelityTable:
    """How close generators of cross-sections are to the data.

    The row ``real`` lets real rows play the generated ones: it is what a measure reads when nothing
    is wrong, and bars are read against it. A status is ``passes``, ``fails``, ``not resolvable``
    (the noise over folds spans both the floor and the bar) or ``missing``.

    How to read the measures:

    ``auc_training``
        A classifier (gradient-boosted trees) tells training rows from generated ones, out of
        sample: .5 if it cannot. Copies push it *below* .5, so it is judged on both sides.
    ``auc_holdout``
        The same with held-out rows, which no generator saw; few rows, so a weak test.
    ``auc_cross``
        Fit on training and generated rows, scored on held-out and fresh generated ones, also in
        each arm by itself (a classifier for all hardly sees a small arm). Blind to copying: read
        it with the next two. ``null_lower`` and ``null_upper`` hold 95 % of its values if labels
        are permuted, that is if generated rows had the law of real ones.
    ``copies``
        Percent of generated rows that equal a training row; ``real`` shows how many duplicates
        the data hold themselves.
    ``nn_ratio``
        Median distance of generated rows to their nearest training row over that of held-out
        rows: 1 is right, far below 1 memorizes, far above lies off the data.
    ``transport``
        Mean distance of the best one-to-one assignment of generated to held-out rows (exact, at
        most 500 rows; columns divided by their sd).
    ``sliced_w1``, ``marginal_w1``
        Wasserstein-1 distances to the held-out rows: over 200 fixed projections, over columns;
        in sd. All three are averages over samples of the hold-out's size.
    ``overlap``
        Wasserstein-1 distance of the propensity index (a logit of the treatment on all columns
        but ``outcome``, fit on the real data, in sd) within each arm: does the generator keep who
        is comparable with whom?
    ``correlations``
        Largest difference of a correlation between a large draw and the training rows.
    ``atoms``
        Largest difference of the share of a mass point, in percentage points, between a large
        draw and the training rows, within arms. ``floor`` of these two is one real half against
        the other; a value above its bar but below the floor is *not resolvable*.
    ``estimates``
        Each estimator's value on the real data within its law under the generator, at the real
        numbers of units and arms: a small p-value says that the generator would not have
        produced your estimate. Under the bootstrap it does by construction. Verdicts go by the
        p-values corrected for the number of estimates (Holm 1979), so that a generator that is
        right is accused in at most 5 % of cases.

    Attributes
    ----------
    measures : pandas.DataFrame
        One row per generator, measure and arm: ``value`` (mean over folds), ``sd`` (over folds),
        ``lower`` and ``upper`` (95 % interval from that spread; rough, since folds share rows),
        ``null_lower`` and ``null_upper`` (permutation interval of an AUC), ``floor`` (real against
        real), ``bar``, ``status`` and ``note`` (why a value is missing).
    estimates : pandas.DataFrame
        One row per generator and estimator: ``value`` on the real data; ``mean``, ``sd``,
        ``lower``, ``upper`` (2.5 and 97.5 %) of its law under the generator, ``sd_between`` the
        members' means, two-sided ``p_value``, ``p_holm`` (corrected for the number of the
        generator's estimates), ``draws``, ``failed``, ``status``.
    verdicts : dict of str to str
        A sentence per generator.
    n_units, folds : int
        Size of the real data, number of folds.
    """

    measures: pd.DataFrame
    estimates: pd.DataFrame
    verdicts: Mapping[str, str] = field(default_factory=dict)
    n_units: int = 0
    folds: int = 0

    def __str__(self) -> str:
        head = f"Fidelity to {self.n_units:,} real rows, {self.folds} folds"
        blocks = [_text(cells) for cells in self._blocks()]
        verdicts = [
            textwrap.fill(printable(f"{name}: {words}"), WIDTH, subsequent_indent="  ")
            for name, words in self.verdicts.items()
        ]
        return "\n\n".join([head, *blocks, *self._legends(), *verdicts])

    def to_markdown(self) -> str:
        """Return the tables and the verdicts in Markdown."""
        blocks = [_markdown(cells) for cells in self._blocks(per_block=100)]
        verdicts = [f"- **{in_markdown(n)}**: {in_markdown(v)}" for n, v in self.verdicts.items()]
        return "\n\n".join([*blocks, *self._legends(), "\n".join(verdicts)])

    def _legends(self) -> list[str]:
        """Say what marks and p-values mean."""
        return [LEGEND, *([textwrap.fill(HOLM, WIDTH)] if len(self.estimates) else [])]

    def _blocks(self, per_block: int = 4) -> list[Cells]:
        names = list(dict.fromkeys(self.measures["generator"]))
        blocks = [self._measure_cells(part) for part in _parts(names, per_block)]
        drawn = list(dict.fromkeys(self.estimates["generator"]))
        return blocks + [self._estimate_cells(part) for part in _parts(drawn, per_block - 1)]

    def _measure_cells(self, names: Sequence[str]) -> Cells:
        rows: Cells = [["measure", "bar", *names]]
        found = {
            (row["measure"], row["arm"], row["generator"]): row
            for row in self.measures.to_dict("records")
        }
        for measure, arm in dict.fromkeys((m, a) for m, a, _ in found):
            here = [found.get((measure, arm, name), {}) for name in names]
            bar = next((r["bar"] for r in here if r and r["generator"] != REAL), np.nan)
            label = measure if arm == "all" else f"{measure} {arm}"
            shown = "" if np.isnan(bar) else _number(bar, measure)
            shown = ".40-.60" if measure == "auc_training" else shown
            rows.append([label, shown, *(_measure_cell(r) for r in here)])
            if measure == "auc_cross":
                rows.append(["  by chance", "", *(_null_cell(r) for r in here)])
        return rows

    def _estimate_cells(self, names: Sequence[str]) -> Cells:
        rows: Cells = [["estimate", "real data", *names]]
        records = self.estimates.to_dict("records")
        for estimator, estimand in dict.fromkeys((r["estimator"], r["estimand"]) for r in records):
            here = [r for r in records if (r["estimator"], r["estimand"]) == (estimator, estimand)]
            found = {row["generator"]: row for row in here}
            label = f"{estimator} {estimand}".strip()
            value = next(iter(found.values()))
            real = _short(value["value"]) if value["status"] in SUCCESSES else value["status"]
            rows.append([label, real, *(_law_cell(found.get(name)) for name in names)])
        return rows


def _parts(names: Sequence[str], size: int) -> list[Sequence[str]]:
    return [names[start : start + size] for start in range(0, len(names), size)]


def _number(value: float, measure: str) -> str:
    return f"{value:.{DECIMALS.get(measure, 3)}f}"


def _measure_cell(row: Mapping) -> str:
    if not row or np.isnan(row["value"]):
        return "-"
    spread = "" if np.isnan(row["sd"]) else f" ({_number(row['sd'], row['measure'])})"
    return _number(row["value"], row["measure"]) + MARKS.get(row["status"], "") + spread


def _null_cell(row: Mapping) -> str:
    if not row or np.isnan(row["null_lower"]):
        return "-"
    return f"[{row['null_lower']:.3f}, {row['null_upper']:.3f}]"


def _law_cell(row: Mapping | None) -> str:
    if row is None or np.isnan(row["mean"]):
        return "-"
    return f"{_short(row['mean'])} ({_short(row['sd'])}) p {row['p_value']:.2f}"


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _text(cells: Cells) -> str:
    cells = [[printable(cell) for cell in row] for row in cells]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = []
    for row in cells:
        first = row[0].ljust(widths[0])
        rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append("  ".join([first, *rest]).rstrip())
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _markdown(cells: Cells) -> str:
    header, *rows = [[in_markdown(cell) for cell in row] for row in cells]
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])
