"""Monte Carlo standard errors: of means, leave-one-out, of medians, of proportions.

Sources: Efron & Tibshirani (1993, ch. 11) for the jackknife, Maritz & Jarrett (1978) for
medians, Wilson (1927) and Agresti & Coull (1998) for proportions. Arrays have shape
(replication,); fewer than two replications give NaN.
"""

from functools import lru_cache
from math import ceil, floor, nan, sqrt

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.special import betainc

Z95 = 1.959963984540054


def mean(x: Float[ndarray, " rep"]) -> float:
    """Arithmetic mean; NaN of nothing."""
    return float(np.mean(x)) if len(x) else nan


def variance(x: Float[ndarray, " rep"]) -> float:
    """Variance with divisor n - 1; exactly 0 for a constant, whatever the rounding of its mean."""
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
    # beyond ten standard deviations of the Beta law the weights vanish
    first = max(0, floor(n / 2 - 5 * sqrt(n)))
    last = min(n, ceil(n / 2 + 5 * sqrt(n)))
    shape = (n + 1) / 2
    return first, np.diff(betainc(shape, shape, np.arange(first, last + 1) / n))


def of_share(hits: int, n: int) -> float:
    """Binomial standard error sqrt(p (1 - p) / n); at 0 and 1 that of Agresti & Coull, not 0."""
    if n < 2:
        return nan
    if hits in (0, n):
        hits, n = hits + 2, n + 4
    return sqrt(hits / n * (1 - hits / n) / n)


def wilson_limits(hits: int, n: int) -> tuple[float, float]:
    """Limits of the 95 % score interval of a share (Wilson 1927)."""
    if n == 0:
        return nan, nan
    share = hits / n
    center = share + Z95**2 / (2 * n)
    radius = Z95 * sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    scale = 1 + Z95**2 / n
    lower = 0.0 if hits == 0 else (center - radius) / scale
    upper = 1.0 if hits == n else (center + radius) / scale
    return lower, upper
