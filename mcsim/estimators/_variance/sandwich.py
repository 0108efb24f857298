"""Sandwich variances: squares of influences, summed over cells, clusters, or periods with lags.

The formulas are `iid` and `heteroskedastic` (each cell), `clustered` (each cluster, or two ways),
and with Bartlett weights on lags `driscoll_kraay` and `newey_west`. Driscoll & Kraay (1998) let
units be correlated as well and sum the influences of a period over units first; Newey & West (1987)
in a panel take each unit as a series of its own. Lags count periods of the calendar, also where
periods between are not observed (as plm and sandwich do for the periods of a panel; linearmodels
and pyfixest count observations, which is the same without gaps). For one unit both are the HAC.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim._core.records import Calendar
from mcsim.errors import InputError
from mcsim.estimators._fit import Variance
from mcsim.estimators._linear_model.least_squares import LinearFit
from mcsim.estimators._variance.clusters import cluster_sums, n_clusters
from mcsim.estimators._variance.names import Vcov
from mcsim.estimators._variance.setting import Setting
from mcsim.estimators._variance.small_sample import (
    SmallSample,
    default_lags,
    for_cells,
    for_clusters,
    for_kernel,
)

CANCELED = 1e-20  # share of the squared influences of cells, below which sums are rounding errors


def iid(fit: LinearFit, vcov: Vcov, setting: Setting) -> Variance:
    """Return the variance under errors of one variance."""
    factor, df = for_cells(setting.ssc, vcov, fit.counts)
    squares = (fit.residual**2).sum() / fit.counts.observations
    return Variance(factor * squares * (fit.loading**2).sum(axis=(1, 2)), df)


def heteroskedastic(fit: LinearFit, vcov: Vcov, setting: Setting) -> Variance:
    """Return Huber-White's variance: HC0, and HC1 with the factor n / (n - k)."""
    factor, df = for_cells(setting.ssc, vcov, fit.counts)
    return Variance(factor * (fit.influence**2).sum(axis=(1, 2)), df)


def clustered(fit: LinearFit, vcov: Vcov, setting: Setting) -> Variance:
    """Return Liang & Zeger's (1986) CR0 and CR1; two-way by Cameron, Gelbach & Miller (2011).

    Of two ways, the variance by each less the one by where they meet; NaN where it is negative, or
    where influences cancel within every cluster: residuals are orthogonal to a regressor that
    varies in one of them only, such as its dummy.
    """
    factor, df = rule_of_clusters(fit, vcov, setting)
    squares = sum(_squares(fit, (name,), setting) for name in vcov.clusters)
    if len(vcov.clusters) == 2:
        squares = squares - _squares(fit, vcov.clusters, setting)
        squares = jnp.where(squares < 0, jnp.nan, squares)
    canceled = squares <= CANCELED * (fit.influence**2).sum(axis=(1, 2))
    return Variance(factor * jnp.where(canceled, jnp.nan, squares), df)


def rule_of_clusters(fit: LinearFit, vcov: Vcov, setting: Setting) -> SmallSample:
    """Return factor and degrees of freedom; of two ways, with the number of the fewer clusters."""
    numbers = [n_clusters(fit.observed, (name,), setting.groups) for name in vcov.clusters]
    number = jnp.stack(numbers).min()
    return for_clusters(setting.ssc, vcov, fit.counts, number)


def _squares(fit: LinearFit, clusters: tuple[str, ...], setting: Setting) -> Float[Array, " term"]:
    return (cluster_sums(fit.influence, clusters, setting.groups) ** 2).sum(axis=(1, 2))


def driscoll_kraay(fit: LinearFit, vcov: Vcov, setting: Setting) -> Variance:
    """Return Driscoll-Kraay's variance: a Bartlett kernel on the sums of each period."""
    return _smoothed(fit, fit.influence.sum(axis=1, keepdims=True), vcov, setting)


def newey_west(fit: LinearFit, vcov: Vcov, setting: Setting) -> Variance:
    """Return Newey-West's variance within units: no correlation between them."""
    return _smoothed(fit, fit.influence, vcov, setting)


def bartlett(calendar: Calendar, lags: int) -> Float[np.ndarray, "period period"]:
    """Return the weights of pairs of periods: 1 - lag / (lags + 1), 0 beyond the lags."""
    distance = np.abs(np.subtract.outer(calendar.places, calendar.places))
    return np.maximum(1.0 - distance / (lags + 1.0), 0.0)


def _smoothed(
    fit: LinearFit, series: Float[Array, "term series period"], vcov: Vcov, setting: Setting
) -> Variance:
    calendar, n_periods = setting.data.calendar, series.shape[-1]
    lags = default_lags(setting.ssc, n_periods) if vcov.lags is None else vcov.lags
    if lags >= max(calendar.span, 2):
        raise InputError(
            f"vcov: {vcov.name!r} has {lags} lags, the panel {calendar.span} periods (those before "
            "the first lag of the formula not counted); expected fewer lags than periods"
        )
    factor, df = for_kernel(setting.ssc, fit.counts)
    weights = jnp.asarray(bartlett(calendar, lags))
    return Variance(factor * ((series @ weights) * series).sum(axis=(1, 2)), df)
