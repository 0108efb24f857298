"""The summary of the table of a panel: a paragraph for each generator, and at most eight rows."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mcsim._fidelity.references import REAL
from mcsim._fidelity.summary import (
    CAUTION,
    COPIES,
    LEGEND,
    MARKS,
    MORE,
    Cells,
    Finding,
    Records,
    Subject,
    Summary,
    by_generator,
    estimate_row,
    number,
    of_estimates,
    paragraph,
    without_estimates,
)
from mcsim._fidelity.verdicts import (
    AUC_BAR,
    COPYING_POINTS,
    MARGIN,
    MISSING,
    NEAR,
    NEW,
    RIGHT,
    SCORE,
    UNRESOLVED,
    WRONG,
    closeness,
    copying_units,
    in_two_sample_test,
    of_all_outcomes,
    two_sample_status,
    where_wrong,
)

PLACEBO = Subject(
    "standard errors of placebo differences in differences",
    "the size and power of differences in differences",
)
MOMENTS = Subject("moments and dynamics", "dynamics and dependence")
COPIED = COPIES._replace(name="copies of units")
PATHS = Subject("whole paths of units", "methods that use whole paths, such as synthetic controls")

FIXED_SHOCKS = 0.5  # share of the variance of date effects that is the same in all drawn panels
DYNAMICS = ("acf", "acf_within", "ar1")
COLUMNS = "real is one half of the units against the other: each measure when nothing is wrong."


def summary_of_panel(
    inference: pd.DataFrame,
    rejection: pd.DataFrame,
    score: pd.DataFrame,
    measures: pd.DataFrame,
    estimates: pd.DataFrame,
    n_units: int,
    verdicts: Mapping[str, str],
    references: Sequence[str],
) -> Summary:
    """Summarize the table of a panel; the user's generators are no ``references``."""
    dated, scored, estimated = map(by_generator, (inference, score, estimates))
    rejected = by_generator(rejection)
    whole = {name: of_all_outcomes(measures, name) for name in dated}
    paragraphs = [
        paragraph(
            name,
            [
                *_of_placebo(dated[name]),
                *_of_score(scored[name], scored.get(REAL, [])),
                *_of_units(whole[name], whole[REAL]),
                *of_estimates(estimated.get(name, [])),
            ],
            f"{n_units:,} units",
            _caveats(measures[measures["generator"] == name]),
        )
        for name in dated
        if name not in references
    ]
    names = list(dated)
    cells = [
        ["measure", "bar", *names],
        ["SE of placebo DiD, error %", f"{100 * MARGIN:.0f}"]
        + [_largest_error(dated[n]) for n in names],
        ["size of a 5 % test, CR1", ""] + [_size(rejected[n]) for n in names],
        *_score_rows(names, scored),
        *_unit_rows(names, whole),
        *estimate_row(names, estimated),
    ]
    failed = [f"{n}: {said}" for n, said in verdicts.items() if said.startswith("no numbers")]
    remarks = [LEGEND, COLUMNS, *failed, *without_estimates(estimated), CAUTION, MORE]
    return Summary(tuple(paragraphs), cells, tuple(remarks))


# Findings on one generator


def _of_placebo(records: Records) -> list[Finding]:
    """Return the finding on placebo dates: right if most are right and none is wrong."""
    wrong = [r for r in records if r["verdict"] == WRONG]
    right = sum(r["verdict"] == RIGHT for r in records)
    if wrong:
        return [Finding(PLACEBO, WRONG, f"{PLACEBO.name} are off ({where_wrong(wrong)})")]
    said = f"at {right or 'none'} of {len(records)} placebo dates"
    if 2 * right >= len(records):
        return [Finding(PLACEBO, RIGHT, said)]
    return [Finding(PLACEBO, UNRESOLVED, f"right {said}")]


def _of_score(records: Records, of_real: Records) -> list[Finding]:
    """Return the finding on the panel score, beside the best reference that does not copy."""
    score = next(r for r in records if r["component"] == SCORE)
    real = next((r["value"] for r in of_real if r["component"] == SCORE), np.nan)
    said = f"panel score {score['value']:.2f}, real halves {real:.2f}"
    if not score["against"]:
        near = score["value"] <= NEAR * real
        return [Finding(MOMENTS, RIGHT if near else UNRESOLVED, said)]
    status = closeness(score)
    best = f"the best reference, {score['against']}"
    if status == WRONG:
        times = f"{score['ratio']:.2f} times as far from the data as {best}"
        return [Finding(MOMENTS, WRONG, f"moments are {times} ({said})")]
    return [Finding(MOMENTS, status, f"as close as {best}; {said}" if status == RIGHT else said)]


def _of_units(measures: Mapping[str, float], real: Mapping[str, float]) -> list[Finding]:
    """Return the findings on copies and on the classifier."""
    copying, status = copying_units(measures, real), two_sample_status(measures)
    found = [Finding(COPIED, WRONG, f"it {copying}")] if copying else []
    if not copying and np.isfinite(measures.get("nn_ratio", np.nan)):
        found = [Finding(COPIED, RIGHT)]
    if status == MISSING:
        return found
    said = in_two_sample_test(measures)
    if status != WRONG:
        said = f"AUC of a classifier {measures['auc_holdout']:.2f}"
    return [*found, Finding(PATHS, status, said)]


def _caveats(measures: pd.DataFrame) -> list[str]:
    """Warn of common shocks that are the same in every drawn panel."""
    share = measures.loc[measures["measure"] == "fixed_shocks", "value"].mean()
    if not share > FIXED_SHOCKS:
        return []
    return [
        "Do not trust it for standard errors that allow for common shocks: its date effects are "
        f"the same in every drawn panel ({100 * min(share, 1):.0f} % of their variance)."
    ]


# Rows of the table


def _largest_error(records: Records) -> str:
    """Write the largest error of the sd of placebo effects, marked by the worst verdict."""
    known = [r for r in records if np.isfinite(r["value"])]
    if not known:
        return "-"
    verdicts = [r["verdict"] for r in records]
    worst = next((v for v in (WRONG, UNRESOLVED) if v in verdicts), RIGHT)
    largest = max((r["value"] for r in known), key=abs)
    return f"{100 * np.expm1(largest):+.0f}{MARKS.get(worst, '')}"


def _size(records: Records) -> str:
    """Write the rejection rate of clustered tests, of several outcomes the largest."""
    return number(max(r["rejection"] for r in records if r["inference"] == "CR1"), 3)


def _score_rows(names: Sequence[str], scored: Mapping[str, Records]) -> Cells:
    whole, dynamics = [], []
    for name in names:
        by_component = {r["component"]: r for r in scored[name]}
        score = by_component[SCORE]
        judged = name != REAL and score["against"] and score["against"] != name
        mark = MARKS.get(closeness(score), "") if judged else ""
        whole.append(number(score["value"], 2) + mark)
        parts = [by_component[c]["value"] for c in DYNAMICS if c in by_component]
        dynamics.append(number(max(parts), 2))
    return [
        ["panel score of moments", f"{NEAR:g} x", *whole],
        ["panel score of dynamics", "", *dynamics],
    ]


def _unit_rows(names: Sequence[str], whole: Mapping[str, Mapping[str, float]]) -> Cells:
    classified, ratios, same = [], [], []
    for name in names:
        mine, real = whole[name], whole[REAL]
        mark = MARKS.get(two_sample_status(mine), "")
        classified.append(number(mine.get("auc_holdout", np.nan), 3) + mark)
        ratio = mine.get("nn_ratio", np.nan)
        ratios.append(number(ratio, 2) + ("!" if ratio < NEW and name != REAL else ""))
        many = mine["duplicates"] > real["duplicates"] + COPYING_POINTS
        same.append(number(mine["duplicates"], 0) + ("!" if many else ""))
    most = whole[REAL]["duplicates"] + COPYING_POINTS
    return [
        ["classifier, AUC", number(AUC_BAR, 3), *classified],
        ["nearest-neighbor ratio", number(NEW, 2), *ratios],
        ["exact duplicates, %", number(most, 0), *same],
    ]
