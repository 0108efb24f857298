"""Monte Carlo standard errors, and the number of replications that reaches one.

They are of means, leave-one-out, of medians, of proportions. Sources: Efron & Tibshirani (1993, ch.
11) for the jackknife, Maritz & Jarrett (1978) for medians, Wilson (1927) and Agresti & Coull (1998)
for proportions. Arrays have shape (replication,); fewer than two replications give NaN.
"""

from functools import lru_cache
from math import ceil, floor, nan, sqrt
from typing import Any, Literal

import numpy as np
import scipy
from jaxtyping import Float
from numpy import ndarray

from mcsim._core.checks import is_finite
from mcsim.errors import raise_all

Z95 = 1.959963984540054


def mean(x: Float[ndarray, " rep"]) -> float:
    """Arithmetic mean; NaN of an empty array."""
    return float(np.mean(x)) if len(x) else nan


def variance(x: Float[ndarray, " rep"]) -> float:
    """Return the variance with divisor n - 1; exactly 0 for a constant."""
    if len(x) < 2:
        return nan
    return float(np.var(x, ddof=1)) if x.min() != x.max() else 0.0


def of_mean(x: Float[ndarray, " rep"]) -> float:
    """Standard error of a mean, which is also its jackknife: sd / sqrt(n)."""
    return sqrt(variance(x) / len(x)) if len(x) else nan


def mean_without_each(x: Float[ndarray, " rep"]) -> Float[ndarray, " rep"]:
    """Means of the n samples that leave one replication out."""
    n = len(x)
    if n < 2:
        return np.full(n, nan)
    return (n * np.mean(x) - x) / (n - 1)


def variance_without_each(x: Float[ndarray, " rep"]) -> Float[ndarray, " rep"]:
    """Variances of the n samples that leave one replication out; NaN below three."""
    n = len(x)
    if n < 3:
        return np.full(n, nan)
    deviation = x - np.mean(x)
    total = (n - 1) * variance(x)
    return np.maximum(total - deviation**2 * (n / (n - 1)), 0.0) / (n - 2)


def jackknife(without_each: Float[ndarray, " rep"]) -> float:
    """Jackknife standard error of a statistic from its n leave-one-out values."""
    n = len(without_each)
    if n < 2 or not np.all(np.isfinite(without_each)):
        return nan
    return sqrt((n - 1) / n * float(np.sum((without_each - np.mean(without_each)) ** 2)))


def of_median(ordered: Float[ndarray, " rep"]) -> float:
    """Maritz-Jarrett standard error of the median of sorted values.

    The jackknife is inconsistent for medians and the normal formula needs a density. This one is
    the exact bootstrap standard deviation of a (fractional) order statistic: a mean and a
    mean square of the values under Beta((n + 1) / 2, (n + 1) / 2) weights.
    """
    n = len(ordered)
    if n < 2:
        return nan
    first, weights = _median_weights(n)
    near = ordered[first : first + len(weights)]
    deviation = near - near[len(near) // 2]
    center = float(weights @ deviation)
    return sqrt(max(float(weights @ deviation**2) - center**2, 0.0))


@lru_cache(maxsize=1024)
def _median_weights(n: int) -> tuple[int, Float[ndarray, " near"]]:
    # beyond ten standard deviations of the Beta distribution the weights vanish
    first = max(0, floor(n / 2 - 5 * sqrt(n)))
    last = min(n, ceil(n / 2 + 5 * sqrt(n)))
    shape = (n + 1) / 2
    return first, np.diff(scipy.special.betainc(shape, shape, np.arange(first, last + 1) / n))


def of_share(hits: int, n: int) -> float:
    """Binomial standard error sqrt(p (1 - p) / n); at 0 and 1 that of Agresti & Coull, not 0."""
    if n < 2:
        return nan
    if hits in (0, n):
        hits, n = hits + 2, n + 4
    return sqrt(hits / n * (1 - hits / n) / n)


def wilson_limits(hits: float, n: float, z: float = Z95) -> tuple[float, float]:
    """Limits of the score interval of a share (Wilson 1927), 95 % by default."""
    if n == 0:
        return nan, nan
    share = hits / n
    center = share + z**2 / (2 * n)
    radius = z * sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    lower = 0.0 if hits == 0 else (center - radius) / scale
    upper = 1.0 if hits == n else (center + radius) / scale
    return lower, upper


def reps_needed(
    mcse: float | int,
    *,
    share: float | int | None = None,
    sd: float | int | None = None,
    measure: Literal["bias", "empirical_se"] = "bias",
) -> int:
    """Return the number of replications that reach a Monte Carlo standard error.

    Parameters
    ----------
    mcse
        The Monte Carlo standard error to reach, in the units of the measure.
    share
        For a proportion (coverage, rejection, failures): its expected value, between 0 and 1.
    sd
        For bias or the empirical SE: the expected standard deviation of the estimates.
    measure
        With `sd`: ``"bias"`` needs (sd / mcse)^2, ``"empirical_se"`` for
        1 + sd^2 / (2 mcse^2), which holds for normal estimates.

    Raises
    ------
    InputError
        If `mcse` is not positive, or not exactly one of `share` and `sd` is given.

    References
    ----------
    Morris, White & Crowther (2019), "Using simulation studies to evaluate statistical methods",
    Statistics in Medicine 38, 2074-2102.

    Examples
    --------
    >>> reps_needed(0.005, share=0.95)
    1900
    >>> reps_needed(0.005, sd=0.2)
    1600
    """
    raise_all(_faults(mcse, share, sd, measure))
    if share is not None:
        needed = share * (1 - share) / mcse**2
    else:
        scaled = (sd or 0.0) ** 2 / mcse**2
        needed = scaled if measure == "bias" else 1 + scaled / 2
    # quotients such as 0.05 / 0.005**2 are whole numbers but for the last bits
    return max(1, ceil(needed * (1 - 1e-12)))


def _faults(mcse: Any, share: Any, sd: Any, measure: Any) -> list[str]:
    positive = is_finite(mcse) and mcse > 0
    faults = [] if positive else [f"mcse: got {mcse!r}, expected a positive number"]
    if (share is None) == (sd is None):
        faults.append("share, sd: expected one of the two")
    if share is not None and not (is_finite(share) and 0 <= share <= 1):
        faults.append(f"share: got {share!r}, expected a number between 0 and 1")
    if sd is not None and not (is_finite(sd) and sd >= 0):
        faults.append(f"sd: got {sd!r}, expected a number that is not negative")
    if measure not in ("bias", "empirical_se"):
        faults.append(f"measure: got {measure!r}, expected 'bias' or 'empirical_se'")
    return faults
