"""Statistics of one column of a panel: its scale, dynamics, tails and common shocks.

A generated macro panel is compared with the real one by these figures. Moments of a unit's
series are averaged over units, so that no single unit dominates.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from mcsim._core.numerics import eigvalsh

STATISTICS = (
    "mean", "sd", "ar1", "ar1_sd", "cross_correlation", "kurtosis", "kurtosis_median", "rank",
    "leading_share", "abs_ac1", "abs_ac4", "mean_path_variance",
)  # fmt: skip
"""Names of the results of `panel_statistics`, in order."""

MIN_PERIODS = 6
"""Least number of periods for a lag of four and an unbiased kurtosis."""


def panel_statistics(values: Float[Array, "unit period"]) -> dict[str, Float[Array, ""]]:
    """Describe one column of a panel; pure, under jit and vmap.

    Parameters
    ----------
    values : array (unit, period)
        At least 2 units and 6 periods, complete, in units of the outcome.

    Returns
    -------
    dict of str to array ()
        * ``mean``; ``sd``: the mean over units of the standard deviation over periods.
        * ``ar1``, ``ar1_sd``: mean and standard deviation over units of the first autocorrelation.
        * ``cross_correlation``: mean over pairs of units.
        * ``kurtosis``, ``kurtosis_median``: mean and median over units of the unbiased excess
          kurtosis (G2 of Joanes & Gill).
        * ``rank``: principal components that hold 99 % of the variance of the standardized units;
          ``leading_share``: the share of the first.
        * ``abs_ac1``, ``abs_ac4``: mean over units of the autocorrelation of absolute deviations.
        * ``mean_path_variance``: variance over periods of the cross-section mean.

        NaN where a unit is constant.

    References
    ----------
    Joanes & Gill (1998), Comparing measures of sample skewness and kurtosis, The Statistician 47:
    183-189.

    Examples
    --------
    >>> import jax
    >>> values = jax.random.normal(jax.random.key(0), (20, 400))
    >>> found = panel_statistics(values)
    >>> tuple(found) == STATISTICS
    True
    >>> round(float(found["sd"]), 1), int(found["rank"])
    (1.0, 20)
    """
    deviations = _centered(values)
    magnitudes = _centered(jnp.abs(deviations))
    first = _autocorrelations(deviations, 1)
    kurtosis = _excess_kurtosis(deviations)
    correlations = _correlations(deviations)
    rank, leading = _components(correlations)
    n_units = values.shape[0]
    statistics = (
        values.mean(),
        deviations.std(axis=1, ddof=1).mean(),
        first.mean(),
        first.std(ddof=1),
        (correlations.sum() - n_units) / (n_units * (n_units - 1)),
        kurtosis.mean(),
        jnp.median(kurtosis),
        rank,
        leading,
        _autocorrelations(magnitudes, 1).mean(),
        _autocorrelations(magnitudes, 4).mean(),
        values.mean(axis=0).var(),
    )
    return dict(zip(STATISTICS, statistics, strict=True))


def _centered(values: Float[Array, "unit period"]) -> Float[Array, "unit period"]:
    return values - values.mean(axis=1, keepdims=True)


def _autocorrelations(deviations: Float[Array, "unit period"], lag: int) -> Float[Array, " unit"]:
    products = (deviations[:, lag:] * deviations[:, :-lag]).sum(axis=1)
    return products / (deviations**2).sum(axis=1)


def _excess_kurtosis(deviations: Float[Array, "unit period"]) -> Float[Array, " unit"]:
    n = deviations.shape[1]
    biased = (deviations**4).mean(axis=1) / (deviations**2).mean(axis=1) ** 2 - 3.0
    return (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * biased + 6.0)


def _correlations(deviations: Float[Array, "unit period"]) -> Float[Array, "unit unit"]:
    scaled = deviations / jnp.sqrt((deviations**2).sum(axis=1, keepdims=True))
    return scaled @ scaled.T


def _components(
    correlations: Float[Array, "unit unit"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return the number of principal components with 99 % of the variance, and the first's share.

    The count is a float, so that statistics of many panels average.
    """
    shares = eigvalsh(correlations)[::-1] / correlations.shape[0]
    short = shares.cumsum() < 0.99
    return 1.0 + short.sum(dtype=correlations.dtype), shares[0]
