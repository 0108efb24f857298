"""Gates: assertions about a measure of an estimator that allow for its Monte Carlo error.

A gate asks whether a measure lies within a margin of its target. It passes where the confidence
interval of the measure lies inside the margin, fails where the interval lies outside, and is else
inconclusive, with the number of replications that would settle it. So fifty replications do not
pass everything, and a million do not fail a coverage of .945. To pass is an equivalence test
(Schuirmann 1987, two one-sided tests), to fail a test of the margin.
"""

from collections.abc import Iterator
from math import ceil, log10, sqrt
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtri

from mcsim._core.checks import Rule, faults_of_value, is_finite
from mcsim._results.results import Results, require_results
from mcsim.errors import Inconclusive, InputError, did_you_mean, raise_all
from mcsim.measures._mcse import wilson_limits

MOST = 10_000_000
"""Replications above which no number is given."""

_FEW = 50
"""Replications below which heavy tails and small numbers are not distinguished."""

_POSITIVE = Rule(lambda got: is_finite(got) and got > 0, "a positive number")
_LEVEL = Rule(lambda got: is_finite(got) and 0.5 <= got < 1, "a number from 0.5 to below 1")
_SHARE = Rule(lambda got: is_finite(got) and 0 <= got <= 1, "a number from 0 to 1")


class _Gate(NamedTuple):
    """Which rows a gate judges, and its options."""

    estimator: str | None
    estimand: str | None
    inference: str | None
    within: float
    confidence: float
    most_failed: float


class _Row(NamedTuple):
    """A measure of one estimator in one cell, the interval of it, its replications."""

    label: str
    value: float
    lower: float
    upper: float
    n: int
    failed: float


def assert_coverage(
    results: Results,
    *,
    estimator: str | None = None,
    estimand: str | None = None,
    inference: str | None = None,
    within: float = 0.02,
    confidence: float = 0.99,
    most_failed: float = 0.0,
) -> None:
    """Assert that intervals cover the truth as often as their level, within a margin.

    Parameters
    ----------
    results : Results
        From `mcsim.run` or `mcsim.open`.
    estimator, estimand, inference : str, optional
        The rows to judge, in every cell; by default all rows.
    within : float
        The margin: largest distance of the coverage, a share, from the study's level.
    confidence : float
        Level of the interval of the measure for Monte Carlo error, of each row by itself.
    most_failed : float
        Largest share of a row's replications that may fail; coverage is given success.

    Raises
    ------
    AssertionError
        If the interval of a row lies outside the margin, more of its replications failed, or it
        has no such measure.
    Inconclusive
        If no row fails and the interval of a row crosses the margin's edge.
    InputError
        If there is no such row, or an option is out of range.

    Examples
    --------
    >>> import mcsim
    >>> from mcsim.testing import constant_dgp, exact_estimator
    >>> study = mcsim.Study(constant_dgp(), {"exact": exact_estimator(bias=3.0)})
    >>> results = mcsim.run(study, reps=200, progress=False)
    >>> assert_coverage(results)
    Traceback (most recent call last):
    AssertionError: coverage of exact: 0, 99 % interval [0, 0.0321], outside 0.95 -+ 0.02
    """
    gate = _Gate(estimator, estimand, inference, within, confidence, most_failed)
    rows = list(_shares(gate, results, "coverage"))
    _judge(gate, "coverage", rows, results.study["level"])


def assert_size(
    results: Results,
    *,
    estimator: str | None = None,
    estimand: str | None = None,
    inference: str | None = None,
    within: float = 0.02,
    confidence: float = 0.99,
    most_failed: float = 0.0,
) -> None:
    """Assert that tests reject a true null as often as one less the level, within a margin.

    Parameters
    ----------
    results, estimator, estimand, inference, confidence, most_failed
        As in `assert_coverage`.
    within : float
        The margin: largest distance of the size, a share, from one less the study's level.

    Raises
    ------
    AssertionError, Inconclusive
        As in `assert_coverage`.
    InputError
        Also if the study's null is not the truth of a row.

    Examples
    --------
    >>> import mcsim
    >>> from mcsim.dgps import ErrorComponents
    >>> from mcsim.estimators import ols
    >>> panels = ErrorComponents(n_units=20, n_periods=4)
    >>> study = mcsim.Study(panels, {"ols": ols("y ~ x")}, null=1.0)
    >>> assert_size(mcsim.run(study, reps=1024, progress=False), within=0.05)
    """
    gate = _Gate(estimator, estimand, inference, within, confidence, most_failed)
    rows = list(_shares(gate, results, "rejection"))
    _require_true_null(results, gate)
    _judge(gate, "size", rows, 1 - results.study["level"])


def assert_unbiased(
    results: Results,
    *,
    estimator: str | None = None,
    estimand: str | None = None,
    inference: str | None = None,
    within: float = 0.1,
    confidence: float = 0.99,
    most_failed: float = 0.0,
) -> None:
    """Assert that the bias of an estimator is small beside its empirical standard error.

    A bias of a tenth of the standard error, the default margin, takes .001 of the coverage of a
    95 % interval.

    Parameters
    ----------
    results, estimator, estimand, inference, confidence, most_failed
        As in `assert_coverage`.
    within : float
        The margin: largest standardized bias, in empirical standard errors.

    Raises
    ------
    AssertionError, Inconclusive, InputError
        As in `assert_coverage`. Rows with heavy tails are inconclusive.

    Examples
    --------
    >>> import mcsim
    >>> from mcsim.dgps import ErrorComponents
    >>> from mcsim.estimators import ols
    >>> study = mcsim.Study(ErrorComponents(n_units=20, n_periods=4), {"ols": ols("y ~ x")})
    >>> assert_unbiased(mcsim.run(study, reps=1024, progress=False), within=0.2)
    """
    gate = _Gate(estimator, estimand, inference, within, confidence, most_failed)
    _judge(gate, "standardized bias", list(_standardized_biases(gate, results)), 0.0)


def assert_se_calibrated(
    results: Results,
    *,
    estimator: str | None = None,
    estimand: str | None = None,
    inference: str | None = None,
    within: float = 0.1,
    confidence: float = 0.99,
    most_failed: float = 0.0,
) -> None:
    """Assert that model and empirical standard errors agree, within a margin.

    Parameters
    ----------
    results, estimator, estimand, inference, confidence, most_failed
        As in `assert_coverage`.
    within : float
        The margin: largest distance of model SE / empirical SE from 1.

    Raises
    ------
    AssertionError, Inconclusive, InputError
        As in `assert_coverage`. Rows with heavy tails are inconclusive.

    Examples
    --------
    >>> import mcsim
    >>> from mcsim.dgps import ErrorComponents
    >>> from mcsim.estimators import ols
    >>> panels = ErrorComponents(n_units=50, n_periods=2)
    >>> study = mcsim.Study(panels, {"ols": ols("y ~ x", vcov="CR1")})
    >>> assert_se_calibrated(mcsim.run(study, reps=1024, progress=False), within=0.2)
    """
    gate = _Gate(estimator, estimand, inference, within, confidence, most_failed)
    _judge(gate, "model SE / empirical SE", list(_ratios_of_errors(gate, results)), 1.0)


def _shares(gate: _Gate, results: Results, measure: str) -> Iterator[_Row]:
    """Yield a proportion of each row with Wilson's interval."""
    z = _quantile(gate, results)
    for label, row in _rows(gate, results, [measure]):
        value, mcse, n = (row[f"{measure}{part}"] for part in ("", "_mcse", "_n"))
        # an error of the truth enters the MCSE: as if there were fewer replications
        alike = min(n, value * (1 - value) / mcse**2) if 0 < value < 1 and mcse > 0 else n
        yield _Row(label, value, *wilson_limits(value * alike, alike, z), n, row["share_failed"])


def _standardized_biases(gate: _Gate, results: Results) -> Iterator[_Row]:
    """Yield bias / empirical SE of each row; the two are taken as uncorrelated."""
    z = _quantile(gate, results)
    for label, row in _rows(gate, results, ["bias", "empirical_se"]):
        bias, se = row["bias"], row["empirical_se"]
        if se > 0:
            ratio = bias / se
            mcse = sqrt(row["bias_mcse"] ** 2 + (ratio * row["empirical_se_mcse"]) ** 2) / se
        else:
            ratio, mcse = (np.copysign(np.inf, bias), 0.0) if bias else (0.0, 0.0)
        yield _around(label, row, ratio, z * mcse, row["bias_n"])


def _ratios_of_errors(gate: _Gate, results: Results) -> Iterator[_Row]:
    """Yield model SE / empirical SE of each row."""
    z = _quantile(gate, results)
    for label, row in _rows(gate, results, ["relative_error"]):
        ratio, mcse = 1 + row["relative_error"] / 100, row["relative_error_mcse"] / 100
        yield _around(label, row, ratio, z * mcse, row["relative_error_n"])


def _around(label: str, row: pd.Series, value: float, radius: float, n: int) -> _Row:
    """Return a row whose interval lies around its value; endless where moments may not exist."""
    radius = np.inf if row["heavy_tails"] or np.isnan(radius) else radius
    return _Row(label, value, value - radius, value + radius, n, row["share_failed"])


def _quantile(gate: _Gate, results: Results) -> float:
    """Check the arguments, and return the quantile of the normal for the confidence."""
    require_results(results)
    if results.replicates.empty:
        raise InputError("results: hold no replications, expected some; run the study first")
    raise_all(
        faults_of_value("within", gate.within, _POSITIVE)
        + faults_of_value("confidence", gate.confidence, _LEVEL)
        + faults_of_value("most_failed", gate.most_failed, _SHARE)
    )
    return float(ndtri((1 + gate.confidence) / 2))


def _rows(gate: _Gate, results: Results, measures: list[str]) -> Iterator[tuple[str, pd.Series]]:
    """Yield the label and the measures of each row that the gate judges."""
    table = results.summary(measures=[*measures, "share_failed"])
    table = table[_chosen(gate, table)]
    where = ["estimator", "dgp", *results.factors, "estimand", "inference"]
    named = {"estimator": True, "estimand": gate.estimand, "inference": gate.inference}
    shown = [name for name in where if named.get(name) or table[name].nunique() > 1]
    for _, row in table.iterrows():
        label = " ".join(
            f"{name}={row[name]}" if name in results.factors else str(row[name])
            for name in shown
            if row[name] != ""
        )
        yield label, row


def _chosen(gate: _Gate, table: pd.DataFrame) -> np.ndarray:
    """Return which rows of a table have the names that were asked for."""
    kept = np.ones(len(table), dtype=bool)
    for name in ("estimator", "estimand", "inference"):
        asked = getattr(gate, name)
        if asked is None:
            continue
        found = table.loc[kept, name].unique()
        if asked not in found:
            hint = did_you_mean(str(asked), sorted(filter(None, found)))
            hint = hint or f"; the estimates have no {name}, leave it out"
            raise InputError(f"{name}: got {asked!r}{hint}")
        kept &= (table[name] == asked).to_numpy()
    return kept


def _require_true_null(results: Results, gate: _Gate) -> None:
    """Raise unless the null of the study is the truth of all rows that the gate judges."""
    rows = results.replicates[_chosen(gate, results.replicates)]
    false = rows[~np.isclose(rows["truth"], results.study["null"], rtol=1e-9, atol=1e-12)]
    if len(false):
        first = false.iloc[0]
        raise InputError(
            f"study.null: got {results.study['null']}, but the truth of {first['estimator']} "
            f"{first['estimand']} is {first['truth']:.6g}, where a rejection is right",
            f"write Study(..., null={first['truth']:.6g})",
        )


def _judge(gate: _Gate, measure: str, rows: list[_Row], target: float) -> None:
    """Raise if a row fails, or else if a row is inconclusive, with a line for each of them."""
    failed, open_ = [], []
    for row in rows:
        sentence = _sentence(gate, measure, row)
        margin = f"{target:.4g} -+ {gate.within:.4g}"
        low, high = target - gate.within, target + gate.within
        if row.failed > gate.most_failed:
            share = f"{100 * row.failed:.3g} % of the replications failed"
            failed.append(f"{measure} of {row.label}: {share}, {100 * gate.most_failed:.3g} % may")
        elif np.isnan(row.value):
            failed.append(f"{measure} of {row.label}: not defined in any of its replications")
        elif row.upper < low or row.lower > high:
            failed.append(f"{sentence}, outside {margin}")
        elif not (low <= row.lower and row.upper <= high):
            open_.append(f"{sentence}, across an edge of {margin}; {_remedy(row, low, high)}")
    if failed:
        raise AssertionError("\n".join(failed))
    if open_:
        raise Inconclusive("\n".join(open_))


def _sentence(gate: _Gate, measure: str, row: _Row) -> str:
    interval = f"{100 * gate.confidence:.4g} % interval [{row.lower:.3g}, {row.upper:.3g}]"
    return f"{measure} of {row.label}: {row.value:.4g}, {interval}"


def _remedy(row: _Row, low: float, high: float) -> str:
    """Return how many replications would settle a row: its interval shrinks as 1 / sqrt(n)."""
    radius = (row.upper - row.lower) / 2
    if not np.isfinite(radius) and row.n < _FEW:
        return f"{row.n} replications are too few to judge by; run some hundred"
    if not np.isfinite(radius):
        return "a few replications carry the variance (heavy tails), more would not settle it"
    edge = min(abs(row.value - low), abs(row.value - high))
    needed = row.n * (radius / edge) ** 2 if edge > 0 else np.inf
    if needed > MOST:
        return f"it needs more than {MOST:,} replications; widen the margin"
    step = 10 ** max(0, ceil(log10(needed)) - 2)
    return f"it needs about {ceil(needed / step) * step:,} replications"
