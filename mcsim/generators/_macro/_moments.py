"""The moments by which a skeleton is fit: of units, of their mean path, and of what is left.

Beside scale, dynamics, tails and dependence they hold the slow ones, on which placebo inference
turns: variances of averages over ever longer windows, and the variance of a placebo estimate.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

LAGS = (1, 2, 3, 4, 8, 16)
PARTS = (2, 4, 8, 16)  # into which the periods are cut
EMPHASIS = {
    "sd": 5.0, "cross": 5.0, "path_variance": 10.0, "kurtosis_median": 3.0, "acf": 2.0,
    "acf_sd": 2.0,
    "abs_acf": 4.0, "placebo_spread": 5.0,
}  # fmt: skip
"""Moments that weigh more than the others: what readers of a panel look at first."""


def lags_of(n_periods: int) -> tuple[int, ...]:
    """Return the lags that a panel of so many periods tells about."""
    return tuple(lag for lag in LAGS if lag <= n_periods // 5)


def windows_of(n_periods: int) -> tuple[int, ...]:
    """Return the lengths of the windows, longest first."""
    return tuple(n_periods // parts for parts in PARTS if n_periods // parts >= 4)


def moments(values: Float[Array, "unit period"]) -> dict[str, Array]:
    """Describe a panel by scalars and short vectors."""
    n_units, n_periods = values.shape
    means = values.mean(axis=1)
    deviations = values - means[:, None]
    path = deviations.mean(axis=0)
    series = jnp.concatenate([deviations, deviations - path, path[None]])
    sizes = jnp.sqrt((series**2).mean(axis=1))
    standardized = series / sizes[:, None]
    units, residuals = slice(0, n_units), slice(n_units, 2 * n_units)
    acf, absolute = _autocorrelations(standardized), _autocorrelations(_magnitudes(standardized))
    slow, epochs = _slow_variances(standardized), _epochs(standardized)
    fourth = jnp.log((standardized**4).mean(axis=1))
    skewness = (standardized**3).mean(axis=1)
    own = standardized[units]
    sd = sizes[units] * np.sqrt(n_periods / (n_periods - 1))
    with_path = own @ standardized[-1] / n_periods
    traits = jnp.stack([means, jnp.log(sd), acf[0, units], with_path, fourth[units]])
    placebo = placebo_parts(series[residuals])
    return {
        **_traits(traits),
        "sd": sd.mean(),
        "acf": acf[:, units].mean(axis=1),
        "acf_sd": acf[:2, units].std(axis=1, ddof=1),
        **_dependence(own @ own.T / n_periods),
        "kurtosis": jnp.exp(fourth[units]).mean(),
        "kurtosis_median": jnp.exp(jnp.sort(fourth[units])[n_units // 2]),
        "skewness": skewness[units].mean(),
        "abs_acf": absolute[:, units].mean(axis=1),
        "path_variance": sizes[-1] ** 2,
        "path_acf": acf[:, -1],
        "path_slow": jnp.log(slow[:, -1]),
        "path_kurtosis": fourth[-1],
        "path_skewness": skewness[-1],
        "path_abs_acf": absolute[:, -1],
        "path_epochs": epochs[:, -1],
        "residual_acf": acf[:, residuals].mean(axis=1),
        "residual_slow": jnp.log(slow[:, residuals].mean(axis=1)),
        "epochs": epochs[:, residuals].mean(axis=1),
        "placebo_size": placebo_size(placebo.mean() / (sizes[residuals] ** 2).mean()),
        "placebo_variance": placebo.mean(),
        "placebo_spread": placebo.std(ddof=1) / placebo.mean(),
    }


def placebo_parts(residuals: Float[Array, "unit period"]) -> Float[Array, " unit"]:
    """Return what each unit adds to a number that the variance of a placebo estimate follows.

    Half of the units adopt, at dates drawn evenly from the middle half of the periods. The
    numerator of a two-way estimate sums the two-way residuals of adopters after their dates; its
    variance, over who adopts and when, is the parts' mean times half of the cells.
    """
    n_periods = residuals.shape[1]
    after = residuals[:, ::-1].cumsum(axis=1)[:, ::-1]
    after = after[:, n_periods // 4 : n_periods - n_periods // 4]
    return ((after**2).mean(axis=1) - 0.5 * after.mean(axis=1) ** 2) / n_periods


def placebo_size(inflation: Float[Array, ""]) -> Float[Array, ""]:
    """Return how often a placebo test at 5 % rejects that takes observations for independent.

    ``inflation`` is the mean of the parts over the variance of the residuals. Treatment as in
    `placebo_parts`, less unit and period means, has a variance of 7/96 in large panels.
    """
    design_effect = 0.5 * inflation / (7 / 96)
    return 2.0 * jax.scipy.special.ndtr(-1.96 / jnp.sqrt(design_effect))


def _traits(traits: Float[Array, "trait unit"]) -> dict[str, Array]:
    """Describe the units' means, scales, persistence, ties to the mean path, and tails."""
    deviations = traits - traits.mean(axis=1, keepdims=True)
    covariance = deviations @ deviations.T / (traits.shape[1] - 1)
    sd = jnp.sqrt(jnp.diag(covariance))
    return {
        "trait_mean": traits.mean(axis=1)[jnp.array([0, 4])],
        "trait_sd": sd,
        "trait_correlation": (covariance / sd / sd[:, None])[np.triu_indices(len(sd), 1)],
    }


def _dependence(correlations: Float[Array, "unit unit"]) -> dict[str, Array]:
    """Mean and mean square of the correlations of pairs."""
    n_units = correlations.shape[0]
    pairs = n_units * (n_units - 1)
    return {
        "cross": (correlations.sum() - n_units) / pairs,
        "cross_square": ((correlations**2).sum() - n_units) / pairs,
    }


def _magnitudes(standardized: Array) -> Array:
    size = jnp.abs(standardized)
    return size - size.mean(axis=1, keepdims=True)


def _autocorrelations(series: Float[Array, "series period"]) -> Float[Array, "lag series"]:
    products = [
        (series[:, lag:] * series[:, :-lag]).sum(axis=1) for lag in lags_of(series.shape[1])
    ]
    return jnp.stack(products) / (series**2).sum(axis=1)


def _slow_variances(standardized: Array) -> Float[Array, "window series"]:
    """Variances of averages over windows, times their lengths: 1 for white noise."""
    totals = standardized.cumsum(axis=1)
    variances = []
    for window in windows_of(standardized.shape[1]):
        sums = totals[:, window - 1 :: window]
        sums = jnp.diff(sums, axis=1, prepend=0.0)
        variances.append((sums**2).mean(axis=1) / window)
    return jnp.stack(variances)


def _epochs(standardized: Array) -> Float[Array, "window series"]:
    """Standard deviation of log variances between epochs: how lasting calm and storm are."""
    totals = (standardized**2).cumsum(axis=1)
    spreads = []
    for window in windows_of(standardized.shape[1])[1:]:
        variances = jnp.diff(totals[:, window - 1 :: window], axis=1, prepend=0.0) / window
        spreads.append(jnp.log(variances + 1e-3).std(axis=1))
    return jnp.stack(spreads)
