"""The measures: each maps the replications of one group to a value, its MCSE and its n.

Definitions follow Morris, White & Crowther (2019, Table 6); where the truth differs by replication
they use the errors, value - truth. An error of the truth shared by the replications does not
average out: it enters by the delta method (`hypot`).
"""

from collections.abc import Callable, Iterable
from math import hypot, nan, sqrt
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from mcsim.errors import did_you_mean
from mcsim.measures._mcse import (
    jackknife,
    mean,
    mean_without_each,
    of_mean,
    of_median,
    of_share,
    variance,
    variance_without_each,
    wilson_limits,
)
from mcsim.measures._replications import Replications

Rule = Literal["jackknife", "normal"]


class Measured(NamedTuple):
    """A measure in one group: its value, Monte Carlo standard error, replications, limits."""

    value: float
    mcse: float
    n: int
    lower: float = nan
    upper: float = nan


class Measure(NamedTuple):
    """A measure: its computation, its inputs and its unit.

    ``power`` is the power of the outcome's unit: tables divide by the study's scale to this power.
    A proportion has Wilson's limits.
    """

    compute: Callable[[Replications, Rule], Measured]
    power: int
    needs: tuple[str, ...] = ()
    proportion: bool = False


def bias(reps: Replications, rule: Rule) -> Measured:
    """Mean error."""
    error, truth_mcse = reps.complete("error", "truth_mcse")
    return Measured(mean(error), hypot(of_mean(error), mean(truth_mcse)), len(error))


def median_bias(reps: Replications, rule: Rule) -> Measured:
    """Median error."""
    error, truth_mcse = reps.complete("error", "truth_mcse")
    mcse = hypot(of_median(np.sort(error)), mean(truth_mcse))
    return Measured(_median(error), mcse, len(error))


def relative_bias(reps: Replications, rule: Rule) -> Measured:
    """Mean of error / truth, a fraction; undefined where a truth is 0."""
    error, truth, truth_mcse = reps.complete("error", "truth", "truth_mcse")
    if np.any(truth == 0):
        return Measured(nan, nan, len(error))
    ratio = error / truth
    slope = mean((1 + ratio) / truth * truth_mcse)
    return Measured(mean(ratio), hypot(of_mean(ratio), slope), len(error))


def empirical_se(reps: Replications, rule: Rule) -> Measured:
    """Standard deviation of the estimates (of the errors, if the truth varies)."""
    (spread,) = reps.complete("spread")
    n, sd = len(spread), sqrt(variance(spread))
    if rule == "normal":
        return Measured(sd, _ratio(sd, sqrt(2 * max(n - 1, 0))), n)
    return Measured(sd, jackknife(np.sqrt(variance_without_each(spread))), n)


def mad(reps: Replications, rule: Rule) -> Measured:
    """Median absolute deviation of the estimates from the truth."""
    error, truth_mcse = reps.complete("error", "truth_mcse")
    size = np.sort(np.abs(error))
    slope = 0.0
    if np.any(truth_mcse > 0):
        slope = (_median(np.abs(error - truth_mcse)) - _median(np.abs(error + truth_mcse))) / 2
    return Measured(_median(size), hypot(of_median(size), slope), len(size))


def model_se(reps: Replications, rule: Rule) -> Measured:
    """Root of the mean squared standard error, which estimates the empirical SE."""
    (se,) = reps.complete("se")
    n, average = len(se), sqrt(mean(se**2))
    if rule == "normal":
        return Measured(average, _ratio(of_mean(se**2), 2 * average), n)
    return Measured(average, jackknife(np.sqrt(mean_without_each(se**2))), n)


def mean_se(reps: Replications, rule: Rule) -> Measured:
    """Mean standard error, which older tables print; below `model_se` where it varies."""
    (se,) = reps.complete("se")
    return Measured(mean(se), of_mean(se), len(se))


def relative_error(reps: Replications, rule: Rule) -> Measured:
    """Percent by which the model SE exceeds the empirical SE, where both are there."""
    se, spread = reps.complete("se", "spread")
    n, square, spread_variance = len(se), mean(se**2), variance(spread)
    if not spread_variance > 0:
        return Measured(nan, nan, n)
    ratio = sqrt(square / spread_variance)
    if rule == "normal":
        own = _ratio(of_mean(se**2), 2 * square)
        mcse = 100 * ratio * sqrt(own**2 + 1 / (2 * (n - 1)))
    else:
        mcse = 100 * jackknife(_root_ratio(mean_without_each(se**2), variance_without_each(spread)))
    return Measured(100 * (ratio - 1), mcse, n)


def mse(reps: Replications, rule: Rule) -> Measured:
    """Mean squared error."""
    error, truth_mcse = reps.complete("error", "truth_mcse")
    mcse = hypot(of_mean(error**2), 2 * mean(error * truth_mcse))
    return Measured(mean(error**2), mcse, len(error))


def rmse(reps: Replications, rule: Rule) -> Measured:
    """Root mean squared error."""
    error, truth_mcse = reps.complete("error", "truth_mcse")
    root = sqrt(mean(error**2))
    if rule == "normal":
        mcse = _ratio(of_mean(error**2), 2 * root)
    else:
        mcse = jackknife(np.sqrt(np.maximum(mean_without_each(error**2), 0.0)))
    return Measured(root, hypot(mcse, _ratio(mean(error * truth_mcse), root)), len(error))


def coverage(reps: Replications, rule: Rule) -> Measured:
    """Share of the intervals that hold the truth, given success."""
    lower, upper, truth, truth_mcse = reps.complete("lower", "upper", "truth", "truth_mcse")
    hits, slope = _coverage_counts(lower, upper, truth, truth_mcse)
    return _share(hits, len(truth), slope)


def coverage_all(reps: Replications, rule: Rule) -> Measured:
    """Share of all replications with an interval that holds the truth: a failure is a miss."""
    lower, upper, truth, truth_mcse = reps.complete("lower", "upper", "truth", "truth_mcse")
    if len(truth) == 0 and not np.all(reps.failed):
        return Measured(nan, nan, 0)
    hits, slope = _coverage_counts(lower, upper, truth, truth_mcse)
    return _share(hits, len(reps.failed), slope)


def bias_eliminated_coverage(reps: Replications, rule: Rule) -> Measured:
    """Share of the intervals that hold truth + bias: coverage without bias."""
    lower, upper, target = reps.complete("lower", "upper", "target")
    (spread,) = reps.complete("spread")
    if len(spread) == 0:
        return Measured(nan, nan, 0)
    return _share(int(np.sum(_holds(lower, upper, target + mean(spread)))), len(target))


def rejection(reps: Replications, rule: Rule) -> Measured:
    """Share of the tests that reject the null: power, or size where the null is true."""
    (rejected,) = reps.complete("rejected")
    return _share(int(np.sum(rejected)), len(rejected))


def type_s(reps: Replications, rule: Rule) -> Measured:
    """Share of the rejections whose estimate lies on the wrong side of the null."""
    value, truth, _ = _rejections_of_false_null(reps)
    return _share(int(np.sum(np.sign(value) != np.sign(truth))), len(value))


def type_m(reps: Replications, rule: Rule) -> Measured:
    """Mean exaggeration of the distance from the null, among the rejections."""
    value, truth, truth_mcse = _rejections_of_false_null(reps)
    ratio = np.abs(value) / np.abs(truth)
    slope = mean(ratio / truth * truth_mcse)
    return Measured(mean(ratio), hypot(of_mean(ratio), slope), len(ratio))


def width(reps: Replications, rule: Rule) -> Measured:
    """Mean width of the intervals; an empty interval has width 0, an unbounded one infinity."""
    lower, upper = reps.complete("lower", "upper")
    size = np.maximum(upper - lower, 0.0)
    mcse = of_mean(size) if np.all(np.isfinite(size)) else nan
    return Measured(mean(size), mcse, len(size))


def relative_precision(reps: Replications, rule: Rule) -> Measured:
    """Percent gain in precision over the reference, on replications where both succeed."""
    own, reference = reps.complete("spread", "reference")
    n, var_own, var_reference = len(own), variance(own), variance(reference)
    if not var_own > 0:
        return Measured(nan, nan, n)
    ratio = var_reference / var_own
    if rule == "normal":
        covariance = float(np.sum((own - mean(own)) * (reference - mean(reference)))) / (n - 1)
        unexplained = max(1 - _ratio(covariance**2, var_own * var_reference), 0.0)
        mcse = 200 * ratio * sqrt(unexplained / (n - 1))
    else:
        without_each = _root_ratio(variance_without_each(reference), variance_without_each(own))
        mcse = 100 * jackknife(without_each**2)
    return Measured(100 * (ratio - 1), mcse, n)


def share_failed(reps: Replications, rule: Rule) -> Measured:
    """Share of the replications without a result: no value, no p-value and no interval."""
    return _share(int(np.sum(reps.failed)), len(reps.failed))


def successes(reps: Replications, rule: Rule) -> Measured:
    """Count of the replications with a result."""
    count = int(np.sum(~reps.failed))
    return Measured(count, nan, count)


MEASURES: dict[str, Measure] = {
    "bias": Measure(bias, 1, ("truth",)),
    "median_bias": Measure(median_bias, 1, ("truth",)),
    "relative_bias": Measure(relative_bias, 0, ("truth",)),
    "empirical_se": Measure(empirical_se, 1),
    "mad": Measure(mad, 1, ("truth",)),
    "model_se": Measure(model_se, 1, ("se",)),
    "mean_se": Measure(mean_se, 1, ("se",)),
    "relative_error": Measure(relative_error, 0, ("se",)),
    "mse": Measure(mse, 2, ("truth",)),
    "rmse": Measure(rmse, 1, ("truth",)),
    "coverage": Measure(coverage, 0, ("truth", "interval"), proportion=True),
    "coverage_all": Measure(coverage_all, 0, ("truth", "interval"), proportion=True),
    "bias_eliminated_coverage": Measure(
        bias_eliminated_coverage, 0, ("interval",), proportion=True
    ),
    "rejection": Measure(rejection, 0, ("test",), proportion=True),
    "type_s": Measure(type_s, 0, ("truth", "test"), proportion=True),
    "type_m": Measure(type_m, 0, ("truth", "test")),
    "width": Measure(width, 1, ("interval",)),
    "relative_precision": Measure(relative_precision, 0, ("reference",)),
    "share_failed": Measure(share_failed, 0, proportion=True),
    "n": Measure(successes, 0),
}


ELSEWHERE = {
    **dict.fromkeys(("power", "size", "type_i_error", "type1", "type_1_error"), "rejection"),
    **dict.fromkeys(("rejection_rate", "reject"), "rejection"),
    **dict.fromkeys(("sd", "std", "empse", "emp_se", "empirical_sd"), "empirical_se"),
    **dict.fromkeys(("se", "modse", "mod_se", "estimated_se", "avg_se"), "model_se"),
    **dict.fromkeys(("cover", "coverage_probability", "ci_coverage"), "coverage"),
    **dict.fromkeys(("becover", "bias_corrected_coverage"), "bias_eliminated_coverage"),
    **dict.fromkeys(("sign_error", "type_s_error"), "type_s"),
    **dict.fromkeys(("exaggeration", "exaggeration_ratio", "magnitude_error"), "type_m"),
    **dict.fromkeys(("length", "ci_width", "ci_length", "interval_length"), "width"),
    **dict.fromkeys(("relprec", "relative_efficiency", "efficiency"), "relative_precision"),
    **dict.fromkeys(("relerror", "relative_error_se"), "relative_error"),
    **dict.fromkeys(("failures", "failure_rate", "convergence", "converged"), "share_failed"),
    **dict.fromkeys(("median_absolute_error",), "mad"),
    **dict.fromkeys(("reps", "nsim", "count"), "n"),
}  # fmt: skip
"""Names of the measures in papers and other packages (rsimsum)."""


def meant(name: str, known: Iterable[str]) -> str:
    """Return the known measure that a name resembles, as the end of a sentence.

    Examples
    --------
    >>> meant("power", MEASURES), meant("biass", MEASURES)
    ("; here it is called 'rejection'", "; did you mean 'bias'?")
    """
    elsewhere = ELSEWHERE.get(name.lower().replace(" ", "_"))
    return f"; here it is called {elsewhere!r}" if elsewhere else did_you_mean(name, known)


def heavy_tails(reps: Replications) -> bool:
    """Return whether the top 1 % of the replications carries over half of the MSE.

    Then moments may not exist (just-identified 2SLS, LIML) and bias, empirical SE and MSE
    depend on a few draws. Below 100 replications this cannot be seen. Without a truth the
    deviations from the mean take the place of the errors.
    """
    (error,) = reps.complete("error")
    if len(error) == 0:
        (spread,) = reps.complete("spread")
        error = spread - mean(spread)
    top = len(error) // 100
    if top == 0:
        return False
    square = np.partition(error**2, len(error) - top)
    return bool(np.sum(square[-top:]) > np.sum(square) / 2)


def _rejections_of_false_null(reps: Replications) -> tuple[Float[ndarray, " kept"], ...]:
    """Return estimates and truths less the null, and the truths' errors, of the rejections."""
    error, truth, truth_mcse, null, rejected = reps.complete(
        "error", "truth", "truth_mcse", "null", "rejected"
    )
    kept = (rejected == 1) & (truth != null)
    distance = (truth - null)[kept]
    return error[kept] + distance, distance, truth_mcse[kept]


def _median(x: Float[ndarray, " rep"]) -> float:
    return float(np.median(x)) if len(x) else nan


def _ratio(numerator: float, denominator: float) -> float:
    """Divide; 0 / 0 is 0, because neither quantity varies."""
    if denominator == 0:
        return 0.0 if numerator == 0 else nan
    return numerator / denominator


def _root_ratio(
    numerator: Float[ndarray, " rep"], denominator: Float[ndarray, " rep"]
) -> Float[ndarray, " rep"]:
    ratio = np.full(len(numerator), nan)
    np.divide(np.maximum(numerator, 0.0), denominator, out=ratio, where=denominator > 0)
    return np.sqrt(ratio)


def _holds(
    lower: Float[ndarray, " rep"], upper: Float[ndarray, " rep"], target: Float[ndarray, " rep"]
) -> Bool[ndarray, " rep"]:
    return (lower <= target) & (target <= upper)


def _coverage_counts(
    lower: Float[ndarray, " rep"],
    upper: Float[ndarray, " rep"],
    truth: Float[ndarray, " rep"],
    truth_mcse: Float[ndarray, " rep"],
) -> tuple[int, float]:
    """Return the hits, and their change with one standard error of the truth."""
    above = np.sum(_holds(lower, upper, truth + truth_mcse))
    below = np.sum(_holds(lower, upper, truth - truth_mcse))
    return int(np.sum(_holds(lower, upper, truth))), float(above - below) / 2


def _share(hits: int, n: int, slope: float = 0.0) -> Measured:
    if n == 0:
        return Measured(nan, nan, 0)
    return Measured(hits / n, hypot(of_share(hits, n), slope / n), n, *wilson_limits(hits, n))
