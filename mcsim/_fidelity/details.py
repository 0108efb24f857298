"""All measures of a fidelity table: blocks of cells, with captions and legends."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial

import numpy as np
import pandas as pd

from mcsim._core.records import Status
from mcsim._fidelity.formats import WIDTH, Block, Cells, side_by_side
from mcsim._fidelity.references import REAL
from mcsim._fidelity.verdicts import (
    FAILS,
    MARGIN,
    RIGHT,
    SCORE,
    UNRESOLVED,
    WRONG,
    beyond_by_chance,
)
from mcsim.errors import printable

DATES_SHOWN, COUNTS_WIDTH = 7, 28

LEGEND = "! beyond its bar   ? not resolvable at this N   (sd over folds)   [95 % of chance alone]"
BY_CHANCE = (
    "Real rows with * are beyond the bar by chance: generators are compared there by a large draw, "
    "which has less noise."
)
HOLM = (
    "Each p-value is of one estimate. Verdicts correct a generator's p-values for their number "
    "(Holm): a right generator is rejected in at most 5 % of cases, for any number of estimates."
)
INFERENCE = (
    "Inference check: log ratio, generated over held-out, of the sd over units of the change in "
    "means at a placebo date (the sampling sd of a placebo difference in differences). ! wrong: "
    f"interval outside {MARGIN:g}; ? not resolvable at this number of units; unmarked: right."
)
REJECTION = (
    "Rejections of placebo laws at 5 %, two-way fixed effects: real panel, then generated panels."
)
SCORES = (
    "Panel score (real halves against each other: about 1) with 95 % interval, and ratio to the "
    "best reference that does not copy; nearest-neighbor ratio (NN: 1 right, below .9 close to "
    "training units); exact duplicates of training units (dupl.); classifier on jittered units: "
    "AUC, accuracy on real and on generated ones, p-value."
)
COMPONENTS = (
    "Components of the panel score: autocorrelations less period means (acf) and less unit means "
    "too (acf w.), autoregression (ar1), cross-correlations of outcomes (ccf), share of the first "
    "factor, distributions by period (marginals), shares of variance, projections of whole units "
    "(sliced), slopes between and within units."
)
MEASURES = (
    "Other measures: largest gap of a mass point's share, in points; Wasserstein distances in sd; "
    "by outcome the mean correlation of units, generated less held-out (corr), and as Pesaran's "
    "CD; and the share of date effects that is the same in every panel (fixed shocks)."
)
ESTIMATES = (
    "Your estimates inside their sampling distributions: mean (sd) over generated panels, p-value "
    "of each. Verdicts correct a generator's p-values for their number (Holm): a right generator "
    "is rejected in at most 5 % of cases, for any number of estimates."
)
STATISTICS = "Statistics of the series: mean [5 %, 95 %] over generated panels; * real one outside."

BAR_MARKS = {FAILS: "!", UNRESOLVED: "?"}
DECIMALS = {"duplicates": 1, "mass_points": 2}
INFERENCE_MARKS = {RIGHT: " ", WRONG: "!", UNRESOLVED: "?"}
SHORT = {"sliced_w1": "sliced W1", "marginal_w1": "marginal W1", "mass_points": "mass points",
         "unit_correlation": "corr", "cd": "CD", "fixed_shocks": "fixed shocks"}  # fmt: skip
IN_SCORES = ("nn_ratio", "duplicates", "auc_holdout", "accuracy_real", "accuracy_generated",
             "auc_holdout_p_value")  # fmt: skip


def _captioned(caption: str, parts: Sequence[Cells]) -> list[Block]:
    """Put a caption above the first of the parts of a table."""
    return [Block("" if number else caption, cells) for number, cells in enumerate(parts)]


# Cross-sections


def cross_section_blocks(
    measures: pd.DataFrame, estimates: pd.DataFrame, width: float = WIDTH
) -> list[Block]:
    """Return the blocks of a table of a cross-section, each of at most this width."""
    cells = side_by_side(_generators(measures), partial(_bars, measures), width)
    return _captioned("", [*cells, *_estimates(estimates, width)])


def _bars(measures: pd.DataFrame, names: Sequence[str]) -> Cells:
    """Return a row per measure and arm; the first column is the bar."""
    rows: Cells = [["measure", "bar", *names]]
    found = {(r["measure"], r["arm"], r["generator"]): r for r in measures.to_dict("records")}
    for measure, arm in dict.fromkeys((m, a) for m, a, _ in found):
        here = [found.get((measure, arm, name), {}) for name in names]
        bar = next((r["bar"] for r in here if r and r["generator"] != REAL), np.nan)
        label = measure if arm == "all" else f"{measure} {arm}"
        shown = "" if np.isnan(bar) else _decimal(bar, measure)
        shown = ".40-.60" if measure == "auc_training" else shown
        rows.append([label, shown, *(_measured(r) for r in here)])
        if measure == "auc_cross":
            rows.append(["  by chance", "", *(_by_chance(r) for r in here)])
    return rows


def _decimal(value: float, measure: str) -> str:
    return f"{value:.{DECIMALS.get(measure, 3)}f}"


def _measured(row: Mapping) -> str:
    if not row or np.isnan(row["value"]):
        return "-"
    spread = "" if np.isnan(row["sd"]) else f" ({_decimal(row['sd'], row['measure'])})"
    mark = BAR_MARKS.get(row["status"], "")
    if row["generator"] == REAL and beyond_by_chance(row):
        mark = "*"
    return _decimal(row["value"], row["measure"]) + mark + spread


def _by_chance(row: Mapping) -> str:
    if not row or np.isnan(row["null_lower"]):
        return "-"
    return f"[{row['null_lower']:.3f}, {row['null_upper']:.3f}]"


# Panels


def panel_blocks(
    outcomes: Sequence[str],
    inference: pd.DataFrame,
    rejection: pd.DataFrame,
    score: pd.DataFrame,
    measures: pd.DataFrame,
    estimates: pd.DataFrame,
    statistics: pd.DataFrame,
) -> list[Block]:
    """Return the blocks of a table of a panel, in the order of reading."""
    shown = list(map(printable, outcomes))
    captions = [f"{INFERENCE}\n{shown[0]}", *shown[1:]]
    blocks = [
        Block(caption, _inference(inference[inference["outcome"] == outcome]))
        for caption, outcome in zip(captions, outcomes, strict=True)
    ]
    blocks += _captioned(REJECTION, side_by_side(outcomes, partial(_rejection, rejection)))
    blocks += [Block(SCORES, _scores(score, measures)), Block(COMPONENTS, _components(score))]
    blocks += _captioned(MEASURES, _measures(measures))
    blocks += _captioned(ESTIMATES, _estimates(estimates))
    blocks += _captioned(STATISTICS, _statistics(statistics))
    return blocks


def _inference(here: pd.DataFrame) -> Cells:
    """Return a row per generator; columns are placebo dates, a selection of many."""
    dates = list(dict.fromkeys(here["placebo_date"]))
    taken = max(map(len, here["generator"])) + COUNTS_WIDTH
    most = max(1, (WIDTH - taken) // (max(6, *(len(_period(d)) for d in dates)) + 2))
    many = min(DATES_SHOWN, most)
    places = np.unique(np.linspace(0, len(dates) - 1, many).round().astype(int))
    shown = [dates[place] for place in places]
    cells = [["generator", *map(_period, shown), "right", "wrong", "?", "widest"]]
    for name in _generators(here):
        mine = here[here["generator"] == name]
        found = {record["placebo_date"]: record for record in mine.to_dict("records")}
        row = [f"{found[d]['value']:+.2f}{INFERENCE_MARKS[found[d]['verdict']]}" for d in shown]
        counts = [str((mine["verdict"] == word).sum()) for word in INFERENCE_MARKS]
        half = ((mine["upper"] - mine["lower"]) / 2).max()  # NaN where units are too few for any
        cells.append([name, *row, *counts, "-" if np.isnan(half) else f"±{half:.2f}"])
    return cells


def _period(label: object) -> str:
    """Write a period: of a date year and month."""
    return f"{label:%Y-%m}" if isinstance(label, date) else str(label)


def _rejection(frame: pd.DataFrame, outcomes: Sequence[str]) -> Cells:
    found = frame.set_index(["generator", "outcome", "inference"])["rejection"]
    columns = [(o, i) for o in outcomes for i in dict.fromkeys(frame["inference"])]
    cells = [["generator", *(" ".join(column) for column in columns)]]
    for name in _generators(frame):
        cells.append([name, *(_share(float(found[name, *column])) for column in columns)])
    return cells


def _scores(score: pd.DataFrame, measures: pd.DataFrame) -> Cells:
    cells = [["generator", "score", "95 %", "ratio", "95 %", "NN", "dupl.",
              "AUC", "real", "gen.", "p"]]  # fmt: skip
    whole = measures[measures["outcome"] == ""]
    found = whole.set_index(["generator", "measure"])["value"]
    for row in score[score["component"] == SCORE].to_dict("records"):
        if row["status"] != Status.OK.label:
            cells.append([row["generator"], "-", row["status"], *["-"] * (len(cells[0]) - 3)])
            continue
        mine = [float(found.get((row["generator"], name), np.nan)) for name in IN_SCORES]
        neighbors, duplicates, *tested = mine
        cells.append(
            [row["generator"], _number(row["value"]), _interval(row["lower"], row["upper"]),
             _number(row["ratio"]), _interval(row["ratio_lower"], row["ratio_upper"]),
             _number(neighbors), f"{duplicates:.0f} %", *(_share(value) for value in tested)]
        )  # fmt: skip
    return cells


def _components(score: pd.DataFrame) -> Cells:
    parts = score[score["component"] != SCORE]
    names = list(dict.fromkeys(parts["component"]))
    found = parts.set_index(["generator", "component"])["value"]
    short = [name.replace("slopes_", "").replace("_within", " w.") for name in names]
    rows = [[g, *(_number(found[g, n]) for n in names)] for g in _generators(parts)]
    return [["generator", *short], *rows]


def _measures(measures: pd.DataFrame) -> list[Cells]:
    shown_above = (*IN_SCORES, "auc_holdout_noise")
    rest = measures[~measures["measure"].isin(shown_above) & measures["value"].notna()]
    columns = list(dict.fromkeys(zip(rest["measure"], rest["outcome"], strict=True)))
    found = rest.set_index(["generator", "measure", "outcome"])["value"]

    def made(part: Sequence[tuple[str, str]]) -> Cells:
        header = ["generator", *(" ".join([SHORT.get(m, m), o]).strip() for m, o in part)]
        rows = [
            [g, *(_number(found.get((g, *pair), np.nan)) for pair in part)]
            for g in _generators(rest)
        ]
        return [header, *rows]

    whole = [pair for pair in columns if not pair[1]]
    by_outcome = [pair for pair in columns if pair[1]]
    return [*side_by_side(whole, made), *side_by_side(by_outcome, made)]


# Values on the real data beside their distributions under several generators


def _estimates(frame: pd.DataFrame, width: float = WIDTH) -> list[Cells]:
    def worded(r: Mapping) -> str:
        return f"{_short(r['mean'])} ({_short(r['sd'])}) p {r['p_value']:.2f}"

    return side_by_side(
        _generators(frame), partial(_distributions, frame, ["estimator", "estimand"], worded), width
    )


def _statistics(frame: pd.DataFrame) -> list[Cells]:
    def worded(r: Mapping) -> str:
        mark = "" if r["inside"] else "*"
        return f"{_short(r['mean'])}{mark} [{_short(r['lower'])}, {_short(r['upper'])}]"

    return side_by_side(
        _generators(frame), partial(_distributions, frame, ["outcome", "statistic"], worded)
    )


def _distributions(
    frame: pd.DataFrame, labels: list[str], worded: Callable[[Mapping], str], names: Sequence[str]
) -> Cells:
    """Return a row per label; the first column is the real value."""
    cells = [[labels[-1] if labels[0] == "outcome" else labels[0], "real", *names]]
    for label, rows in frame.groupby(labels, sort=False):
        mine = {row["generator"]: row for row in rows.to_dict("records")}
        value = rows["value"].iloc[0]
        known = [worded(mine[n]) if np.isfinite(mine[n]["mean"]) else "-" for n in names]
        real = _short(value) if np.isfinite(value) else str(rows.iloc[0].get("status", "-"))
        cells.append([" ".join(filter(None, map(str, label))), real, *known])
    return cells


def _generators(frame: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(frame["generator"]))


def _number(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "-"


def _share(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1) if np.isfinite(value) else "-"


def _interval(lower: float, upper: float) -> str:
    return f"[{lower:.2f}, {upper:.2f}]" if np.isfinite([lower, upper]).all() else ""


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
