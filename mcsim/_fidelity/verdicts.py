"""Verdicts: the use that a generator allows, in a sentence.

A bar is a convention: how much worse than real data a generator may look. Where a measure cannot
resolve the bar from real data, the verdict says so.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mcsim._fidelity.estimates import LEVEL, n_inside, outside, unresolved
from mcsim._fidelity.references import REAL

Record = dict[str, Any]

REAL_ROWS = "real rows against real rows: each measure when nothing is wrong"
REAL_HALVES = "one real half against the other: each number when nothing is wrong"

PASSES, FAILS, UNRESOLVED = "passes", "fails", "not resolvable"
MISSING, REFERENCE = "missing", "reference"
COPYING_RATIO, COPYING_POINTS = 0.5, 20.0  # of neighbors; percent of duplicates beyond chance
CHANCE, AUC_SLACK = 0.5, 0.10
AUC_BAR = CHANCE + AUC_SLACK  # from which a classifier separates rows
COPYING = ("auc_training", "duplicates", "nn_ratio")  # measures that copying alone can fail

RIGHT, WRONG = "right", "wrong"
MARGIN = 0.15  # of a log ratio of standard deviations
NEW = 0.9  # least neighbor ratio of a generator that draws new units
NEAR = 1.15  # times the best reference's panel score: as close up to here
SAW_ALL = "compared with its training units"  # where the fit used all units
SCORE = "score"  # component of the records that hold the score itself
LISTED = 4  # periods named one by one


# The measures of a cross-section, each against its bar


class Bar(NamedTuple):
    """Bar of a measure: ``factor * baseline + slack``; the baseline is known, or read off `real`.

    ``worse`` is 1 where large values are bad, -1 where small ones are, 0 where both are.
    """

    baseline: float | None = None
    factor: float = 1.0
    slack: float = 0.0
    worse: int = 1


BARS: Mapping[str, Bar] = {
    "auc_training": Bar(baseline=CHANCE, slack=AUC_SLACK, worse=0),
    "auc_holdout": Bar(baseline=CHANCE, slack=AUC_SLACK),
    "auc_cross": Bar(baseline=CHANCE, slack=AUC_SLACK),
    "duplicates": Bar(slack=2.0),
    "nn_ratio": Bar(baseline=1.0, factor=0.9, worse=-1),
    "transport": Bar(factor=1.15),
    "sliced_w1": Bar(factor=1.25),
    "marginal_w1": Bar(factor=1.25),
    "overlap": Bar(factor=1.25),
    "correlations": Bar(factor=0.0, slack=0.05),
    "mass_points": Bar(factor=0.0, slack=1.0),
}


def judged(records: Sequence[Record]) -> list[Record]:
    """Add baseline, bar and status to the measures of all generators; sort them by measure."""
    real = {(r["measure"], r["arm"]): r for r in records if r["generator"] == REAL}
    rows = []
    for row in records:
        bar, read = BARS[row["measure"]], real[row["measure"], row["arm"]]
        baseline = read["value"] if bar.baseline is None else bar.baseline
        worse = bar.worse or (1 if row["value"] >= baseline else -1)
        limit = bar.factor * baseline + worse * bar.slack if bar.factor else bar.slack
        read_off = bar.baseline is None and bar.factor > 0  # then the bar is noisy too
        noise = np.hypot(_half(row), _half(read)) if read_off else _half(row)
        status = _status(row["value"], float(noise), baseline, limit, worse)
        status = REFERENCE if row["generator"] == REAL else status
        rows.append({**row, "baseline": baseline, "bar": limit, "status": status})
    generators, measures = list(dict.fromkeys(r["generator"] for r in rows)), list(BARS)
    return sorted(
        rows, key=lambda r: (generators.index(r["generator"]), measures.index(r["measure"]))
    )


def _half(row: Record) -> float:
    """Return half the width of a measure's interval over folds, else by chance, else 0."""
    ends = ("lower", "upper"), ("null_lower", "null_upper")
    halves = [(row.get(upper, np.nan) - row.get(lower, np.nan)) / 2 for lower, upper in ends]
    return next((half for half in halves if np.isfinite(half)), 0.0)


def _status(value: float, noise: float, baseline: float, bar: float, worse: int) -> str:
    """Compare a value with its bar, given the noise of the value and of the baseline."""
    if not np.isfinite([value, baseline]).all():
        return MISSING
    covers_both = value - noise <= min(baseline, bar) and value + noise >= max(baseline, bar)
    beyond = worse * (value - bar) > 0
    no_worse_than_real = worse * (value - baseline) <= 0
    if covers_both or (beyond and no_worse_than_real):
        return UNRESOLVED
    return FAILS if beyond else PASSES


def verdict(measures: Sequence[Record], estimates: Sequence[Record]) -> str:
    """Return the verdict on one generator of cross-sections, from measures and estimates."""
    copying = copying_rows(measures)
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
    estimated = f", your {inside} estimates inside their sampling distributions" if inside else ""
    return f"passes: {passed} measures within their bars{estimated}"


def copying_rows(measures: Sequence[Record]) -> str:
    """Return a clause on repeated rows: of all rows, or else of one arm."""
    found = {(r["measure"], r["arm"]): r for r in measures}
    for arm in dict.fromkeys(r["arm"] for r in measures if r["measure"] == "duplicates"):
        same, ratio = found["duplicates", arm], found["nn_ratio", arm]["value"]
        baseline = same["baseline"] if np.isfinite(same["baseline"]) else 0.0
        rows = "training rows" if arm == "all" else f"{arm} training rows"
        if words := copying_words(rows, same["value"], baseline, ratio):
            return f"{words}: close to the data by repeating them"
    return ""


def copying_words(rows: str, duplicates: float, baseline: float, ratio: float) -> str:
    """Warn of rows that are repeated, exactly or nearly; "" if there are none."""
    if not (ratio < COPYING_RATIO or duplicates > baseline + COPYING_POINTS):
        return ""
    known = f", nearest-neighbor ratio {ratio:.2f}" if np.isfinite(ratio) else ""
    return f"copies its {rows} ({duplicates:.0f} % exact duplicates{known})"


def beyond_by_chance(row: Mapping[str, Any]) -> bool:
    """Return whether real rows, compared with real rows, stand beyond a bar of generators."""
    bar = BARS.get(row["measure"])
    return bar is not None and (bar.worse or 1) * (row["value"] - row["bar"]) > 0


def _label(row: Record) -> str:
    return row["measure"] if row["arm"] == "all" else f"{row['measure']}[{row['arm']}]"


def _worded(row: Record) -> str:
    return f"{_label(row)} {row['value']:.3g} (bar {row['bar']:.3g})"


# Panels


def equivalence(lower: float, upper: float) -> str:
    """Judge a log ratio by its interval.

    Examples
    --------
    >>> equivalence(-0.1, 0.12), equivalence(-0.4, -0.2), equivalence(-0.2, 0.1)
    ('right', 'wrong', 'not resolvable')
    """
    if lower >= -MARGIN and upper <= MARGIN:
        return RIGHT
    return WRONG if lower > MARGIN or upper < -MARGIN else UNRESOLVED


def best_reference(
    scores: Mapping[str, float], references: Sequence[str], measures: Mapping[str, Mapping]
) -> str | None:
    """Return the reference of new units with the lowest score; None if every one repeats units."""
    fresh = [n for n in references if n in scores and measures[n].get("nn_ratio", 0) >= NEW]
    return min(fresh, key=lambda name: scores[name]) if fresh else None


def panel_verdict(
    inference: Sequence[Record],
    score: Record,
    measures: Mapping[str, float],
    baseline: Mapping[str, float],
    estimates: Sequence[Record],
    saw_all: bool = False,
) -> str:
    """Return the verdict on one generator of panels; the baseline is the row ``real``."""
    parts = [
        SAW_ALL if saw_all else "",
        copying_units(measures, baseline),
        _in_inference(inference),
        _in_score(score),
        in_two_sample_test(measures),
        outside(estimates) or unresolved(estimates) or _inside(estimates),
    ]
    return "; ".join(part for part in parts if part)


def copying_units(measures: Mapping[str, float], baseline: Mapping[str, float]) -> str:
    """Return a clause on draws that repeat training units, or stay close to them."""
    ratio, same = measures.get("nn_ratio", np.nan), "duplicates"
    words = copying_words("training units", measures[same], baseline[same], ratio)
    if words or not ratio < NEW:
        return words
    return f"stays close to its training units (nearest-neighbor ratio {ratio:.2f})"


def _in_inference(records: Sequence[Record]) -> str:
    """Return a clause on the placebo dates at which inference is right, wrong, not resolvable."""
    wrong = [r for r in records if r["verdict"] == WRONG]
    right = sum(r["verdict"] == RIGHT for r in records)
    unresolved = sum(r["verdict"] == UNRESOLVED for r in records)
    if right == len(records):
        return f"inference right at all {right} placebo dates"
    if unresolved == len(records):
        return f"inference not resolvable at any of {unresolved} placebo dates: too few units"
    words = [f"wrong: {where_wrong(wrong)}"] if wrong else []
    words += [f"right at {right} of {len(records)} placebo dates"] if right else []
    words += [f"not resolvable at {unresolved}"] if unresolved else []
    return f"inference {', '.join(words)}"


def where_wrong(wrong: Sequence[Record]) -> str:
    """Name outcomes and placebo dates, and the error of the sd of placebo effects in percent."""
    words = []
    for outcome in dict.fromkeys(r["outcome"] for r in wrong):
        here = [r for r in wrong if r["outcome"] == outcome]
        dates = [str(r["placebo_date"]).removesuffix(" 00:00:00") for r in here]
        named = ", ".join(dates) if len(dates) <= LISTED else f"at {len(dates)} placebo dates"
        percent = 100 * np.expm1(np.mean([r["value"] for r in here]))
        size = f"{abs(percent):.0f} % too {'small' if percent < 0 else 'large'}"
        words.append(f"{outcome} {named} (sd of placebo effects {size})")
    return ", ".join(words)


def _in_score(score: Record) -> str:
    """Return a clause on the panel score, beside the best reference that does not copy."""
    said = f"panel score {score['value']:.2f}"
    if not score["against"]:
        return f"{said} (real against real: about 1)"
    if score["against"] == score["generator"]:
        return f"{said}, the best reference that does not copy"
    ratio, lower, upper = (score[n] for n in ("ratio", "ratio_lower", "ratio_upper"))
    said += f", {ratio:.2f} [{lower:.2f}, {upper:.2f}] x the best reference that does not copy"
    words = {RIGHT: "as close", WRONG: "farther", UNRESOLVED: UNRESOLVED}
    return f"{said} ({score['against']}): {words[closeness(score)]}"


def closeness(score: Record) -> str:
    """Judge a panel score by its ratio to that of the best reference that does not copy."""
    if score["ratio_upper"] <= NEAR:
        return RIGHT
    return WRONG if score["ratio_lower"] > NEAR else UNRESOLVED


def two_sample_status(measures: Mapping[str, float]) -> str:
    """Judge a classifier's two-sample test; `MISSING` where there are too few units for any."""
    auc = measures.get("auc_holdout", np.nan)
    if not np.isfinite(auc):
        return MISSING
    if measures.get("auc_holdout_p_value", np.nan) < LEVEL:
        return WRONG
    return UNRESOLVED if auc + measures["auc_holdout_noise"] > AUC_BAR else RIGHT


def in_two_sample_test(measures: Mapping[str, float]) -> str:
    """Return a clause on whether a classifier distinguishes generated from real units.

    It does not if even the area plus its noise (95 % of areas under permuted labels) is below the
    bar.
    """
    status = two_sample_status(measures)
    if status == MISSING:
        return ""
    auc, p_value = measures["auc_holdout"], measures.get("auc_holdout_p_value", np.nan)
    if status == WRONG:
        return (
            f"a classifier distinguishes its units from real ones (AUC {auc:.2f}, p {p_value:.3f})"
        )
    if status == UNRESOLVED:
        noise = measures["auc_holdout_noise"]
        return (
            f"classifier not resolvable (AUC {auc:.2f} ± {noise:.2f}, p {p_value:.2f}): too few "
            "units"
        )
    return (
        "a classifier does not distinguish its units from real ones "
        f"(AUC {auc:.2f}, p {p_value:.2f})"
    )


def _inside(estimates: Sequence[Record]) -> str:
    """Return a clause on real estimates inside their sampling distributions, if there are any."""
    inside = n_inside(estimates)
    return "your estimates lie inside their sampling distributions" if inside else ""


def of_all_outcomes(measures: pd.DataFrame, name: str) -> dict[str, float]:
    """Return one generator's measures over all outcomes together."""
    mine = measures[(measures["generator"] == name) & (measures["outcome"] == "")]
    return dict(zip(mine["measure"], mine["value"], strict=True))
