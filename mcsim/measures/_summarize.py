"""From a tidy frame of replications to a table of performance measures."""

from collections.abc import Sequence
from math import isfinite, nan
from typing import Any

import numpy as np
import pandas as pd

from mcsim._core.calls import with_remedies
from mcsim._core.checks import faults_of_strings
from mcsim._core.protocols import faults_of_level
from mcsim.errors import InputError, did_you_mean, raise_all
from mcsim.measures._columns import Roles, present
from mcsim.measures._definitions import MEASURES, Measured, Rule, heavy_tails, meant
from mcsim.measures._replications import Replications, read

_HINTS = {
    "truth": "a truth; name its column, or give a number, in `truth`",
    "se": "standard errors; name their column in `se`",
    "interval": "intervals; name `lower` and `upper`, or `se`",
    "test": "tests; name `p_value`, or `lower` and `upper`, or `se`",
    "reference": "a `reference` among the methods of the column `method`",
}


@with_remedies()
def summarize(
    frame: pd.DataFrame,
    *,
    value: str = "value",
    se: str | None = "se",
    lower: str | None = "lower",
    upper: str | None = "upper",
    df: str | None = "df",
    p_value: str | None = "p_value",
    truth: str | float | int | None = "truth",
    truth_mcse: str | float | int | None = None,
    status: str | None = "status",
    by: str | Sequence[str] = (),
    method: str | None = None,
    reference: object = None,
    rep: str | None = "rep",
    level: float | int = 0.95,
    null: str | float | int = 0.0,
    measures: str | Sequence[str] | None = None,
    mcse: str = "jackknife",
) -> pd.DataFrame:
    """Summarize replications by performance measures, each with its Monte Carlo standard error.

    Parameters
    ----------
    frame
        One row per replication (and method, estimand, design cell), from any source. The order
        of rows does not matter.
    value, se, lower, upper, df, p_value
        Columns of the estimate, its standard error, interval limits, degrees of freedom and
        p-value. A column that is absent under its default name is not used; one that you name
        must exist.
    truth
        Column, or one number: the true value of the estimand.
    truth_mcse
        Column, or one number: the Monte Carlo standard error of a truth that was itself simulated.
        It is one error shared by all replications of a group, so it does not shrink with n.
    status
        Column of words, ``"ok"`` for a success and ``"no_se"`` for one whose standard error is not
        defined. Any other word is a failure, and so is a row without a result: the estimate is
        missing or infinite, and there is no p-value and no interval.
    by
        Columns that separate the groups: design factors, estimand, inference.
    method
        Column that names the estimators; it separates groups too.
    reference
        The method against which `relative_precision` is taken.
    rep
        Column that numbers the replications. Methods are paired by it within a `by` group. With
        ``None`` no rows are paired.
    level
        Level of the intervals that are built from `se` and of the tests; limits in the frame are
        taken as they are.
    null
        Column, or one number: the null hypothesis.
    measures
        Names of measures; by default all for which the frame has the columns (but for ``n`` where
        that is a column of ``by``).
    mcse
        ``"jackknife"`` leaves one replication out at a time and holds for any distribution with
        enough moments; ``"normal"`` gives the formulas of Morris et al. (2019, Table 6), as in
        rsimsum.

    Returns
    -------
    DataFrame
        One row per group, in order of first appearance: the columns of `by` and `method`, then for
        every measure ``<measure>``, ``<measure>_mcse`` and ``<measure>_n``, the number of
        replications it rests on. Proportions have ``<measure>_lower`` and ``<measure>_upper`` too,
        the 95 % score limits of Wilson (1927) for Monte Carlo error alone. `n` is a plain count.
        Last comes ``heavy_tails``: true where the top 1 % of the replications carries over half of
        the mean squared error, so that moments may not exist and medians should be read.

    Raises
    ------
    InputError
        If a column, measure or reference is unknown, a column is not numeric, a replication
        occurs twice in a group, or an argument is out of range.

    Notes
    -----
    With e = value - truth:

    ========================  ==================================================================
    bias                      mean of e
    median_bias               median of e
    relative_bias             mean of e / truth (a fraction; missing where a truth is 0)
    empirical_se              standard deviation of e; of the value where no truth is known
    mad                       median of abs(e): deviation from the truth, the companion of `rmse`
                              that needs no moments (Angrist, Imbens & Krueger 1999)
    model_se                  root of the mean of se^2
    mean_se                   mean of se
    relative_error            100 (model_se / empirical_se - 1), on replications with both
    mse, rmse                 mean of e^2, and its root
    coverage                  share of intervals with lower <= truth <= upper, given success
    coverage_all              hits per replication: failures, and successes without an interval,
                              count as misses
    bias_eliminated_coverage  share of intervals with lower <= truth + bias <= upper
    rejection                 share with p_value < 1 - level; where there is no p-value, share of
                              intervals that leave out `null`
    type_s                    share of the rejections of a false null whose estimate lies on the
                              other side of the null than the truth (Gelman & Carlin 2014)
    type_m                    mean of abs(value - null) / abs(truth - null) among these rejections
    width                     mean of upper - lower
    relative_precision        100 (variance of the reference / variance - 1), on replications
                              where both succeed
    share_failed              share of the replications without a result
    n                         replications with an estimate
    ========================  ==================================================================

    Rows with both limits use them; others get value -+ critical value x se, with t quantiles at
    `df` (normal where it is missing or infinite; no interval where it is not positive). Limits in
    the wrong order are an empty interval. Intervals are closed.

    A success without a standard error stays in all measures of the value. No failure is dropped
    silently: coverage lies between `coverage_all` and `coverage_all` + `share_failed` whatever the
    failed intervals would have been (if no success lacks an interval).

    Monte Carlo standard errors. Means have sd / sqrt(n), which is their jackknife as well;
    proportions the binomial one under both rules, and at 0 and 1 that of Agresti & Coull (1998)
    with two hits and two misses added; medians that of Maritz & Jarrett (1978) under both rules,
    since the jackknife is inconsistent for them. An error tau of the truth adds, squared, tau to
    `bias` and `median_bias`, the mean of 2 e tau to `mse`, half the change of `coverage`,
    `coverage_all` and `mad` between truth - tau and truth + tau, and so on (delta method; where
    the first-order effect is 0, as in the coverage of an unbiased estimator, it is cautious by at
    most sqrt(2)). Truths that differ within a group are taken to err together. One replication
    gives a missing standard error, two give no jackknife of a standard deviation.

    The normal rule assumes normal estimates: with t(5) estimates its standard error of
    `empirical_se` is about half of the true one. Differences from rsimsum are deliberate: every
    measure keeps its own n; `df`, limits and p-values are used by `rejection` too; shares of 0 and
    1 have a standard error; pairs, not all usable replications of the reference, enter
    `relative_precision`.

    References
    ----------
    Morris, White & Crowther (2019), "Using simulation studies to evaluate statistical methods",
    Statistics in Medicine 38, 2074-2102, Table 6.
    Gasparini (2018), "rsimsum: Summarise results from Monte Carlo simulation studies", Journal of
    Open Source Software 3(26), 739.
    Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 11.
    Gelman & Carlin (2014), "Beyond power calculations: assessing type S (sign) and type M
    (magnitude) errors", Perspectives on Psychological Science 9, 641-651.
    Maritz & Jarrett (1978), "A note on estimating the variance of the sample median", Journal of
    the American Statistical Association 73, 194-196.
    Wilson (1927), "Probable inference, the law of succession, and statistical inference", Journal
    of the American Statistical Association 22, 209-212.
    Agresti & Coull (1998), "Approximate is better than 'exact' for interval estimation of binomial
    proportions", American Statistician 52, 119-126.
    Angrist, Imbens & Krueger (1999), "Jackknife instrumental variables estimation", Journal of
    Applied Econometrics 14, 57-67.

    Examples
    --------
    >>> frame = pd.DataFrame({
    ...     "rep": [0, 1, 2, 3], "value": [1.5, 0.5, 2.5, float("nan")], "se": [0.5, 0.4, 0.6, 0.5],
    ... })
    >>> table = summarize(frame, truth=1.0, measures=["bias", "coverage", "share_failed"])
    >>> table[["bias", "bias_mcse", "coverage", "coverage_n", "share_failed"]].round(3)
       bias  bias_mcse  coverage  coverage_n  share_failed
    0   0.5      0.577     0.667           3          0.25
    """
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"frame: got {type(frame).__name__}, expected a pandas DataFrame")
    wanted = (measures,) if isinstance(measures, str) else measures
    by = (by,) if isinstance(by, str) else by
    raise_all(_faults_of_arguments(frame, by, wanted, level, mcse, method, reference))
    roles = Roles(
        value=value,
        se=se,
        lower=lower,
        upper=upper,
        df=df,
        p_value=p_value,
        truth=truth,
        truth_mcse=truth_mcse,
        null=null,
        status=status,
        rep=rep,
        method=method,
        by=tuple(by),
    )
    roles = present(frame, roles)
    names = _choose(wanted, roles, reference)
    _check_labels(roles, names)
    groups = read(frame, roles, float(level), reference)
    rule: Rule = "normal" if mcse == "normal" else "jackknife"
    with np.errstate(all="ignore"):
        rows = [_row(reps, names, rule) for reps in groups]
    return pd.concat([groups.labels, pd.DataFrame(rows)], axis=1)


def _row(reps: Replications, names: Sequence[str], rule: Rule) -> dict[str, float | int | bool]:
    row: dict[str, float | int | bool] = {}
    for name in names:
        measured = MEASURES[name].compute(reps, rule)
        row |= zip(_headers(name), _cells(name, measured), strict=True)
    return row | {"heavy_tails": heavy_tails(reps)}


def _headers(name: str) -> list[str]:
    """Return the columns of a measure in a summary."""
    if name == "n":
        return ["n"]
    limits = [f"{name}_lower", f"{name}_upper"] if MEASURES[name].proportion else []
    return [name, f"{name}_mcse", *limits, f"{name}_n"]


def _cells(name: str, measured: Measured) -> list[float | int]:
    if name == "n":
        return [measured.n]
    limits = [measured.lower, measured.upper] if MEASURES[name].proportion else []
    mcse = measured.mcse if isfinite(measured.mcse) else nan
    return [measured.value, mcse, *limits, measured.n]


RESULT_COLUMNS = frozenset(
    header + ending for name in MEASURES for header in _headers(name) for ending in ("", "_between")
) - {"n"}
"""Columns of measures in summaries; a study has no factor of such a name.

But for ``n``, a usual name of a factor: a summary has no count of this name then.
"""


def _faults_of_arguments(
    frame: pd.DataFrame,
    by: Any,
    measures: Any,
    level: float | int,
    mcse: str,
    method: str | None,
    reference: object,
) -> list[str]:
    faults = [] if len(frame) else ["frame: got no rows, expected one per replication"]
    faults += faults_of_strings("by", by) + faults_of_level(level)
    if mcse not in ("jackknife", "normal"):
        known = ["jackknife", "normal"]
        faults.append(f"mcse: unknown rule {mcse!r}{did_you_mean(str(mcse), known)}")
    if reference is not None and method is None:
        faults.append("reference: needs `method`, the column that names the estimators")
    if measures is None:
        return faults
    return faults + (
        faults_of_strings("measures", measures)
        or [
            f"measures: unknown measure {name!r}{meant(name, MEASURES)}"
            for name in measures
            if name not in MEASURES
        ]
    )


def _choose(measures: Sequence[str] | None, roles: Roles, reference: object) -> list[str]:
    """Return the measures asked for, or all that the frame can give."""
    interval = roles.se is not None or roles.lower is not None
    can = {
        "truth": roles.truth is not None,
        "se": roles.se is not None,
        "interval": interval,
        "test": interval or roles.p_value is not None,
        "reference": reference is not None,
    }
    if measures is None:
        possible = (m for m in MEASURES if all(can[need] for need in MEASURES[m].needs))
        return [name for name in possible if name != "n" or "n" not in roles.keys]
    names = list(dict.fromkeys(measures))
    raise_all(
        [
            f"measures: {name!r} needs {_HINTS[need]}"
            for name in names
            for need in MEASURES[name].needs
            if not can[need]
        ]
    )
    return names


def _check_labels(roles: Roles, names: Sequence[str]) -> None:
    taken = {header for name in names for header in _headers(name)} | {"heavy_tails"}
    raise_all(
        [
            f"by: column {key!r} has the name of a column of the result; rename it in the frame, "
            "or leave that measure out of `measures`"
            for key in roles.keys
            if key in taken
        ]
    )
