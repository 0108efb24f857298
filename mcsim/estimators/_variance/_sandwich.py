"""Variances from squares of influences: of all cells together, of each cell, of each cluster."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from mcsim.estimators._fit import Variance
from mcsim.estimators._linear_model._least_squares import LinearFit
from mcsim.estimators._variance._clusters import cluster_sums, n_clusters
from mcsim.estimators._variance._names import Vcov
from mcsim.estimators._variance._setting import Setting
from mcsim.estimators._variance._small_sample import SmallSample, for_cells, for_clusters

CANCELED = 1e-20  # share of the squared influences of cells, below which sums are rounding errors


def iid(fit: LinearFit, vcov: Vcov, setting: Setting) -> Variance:
    """One variance of the errors."""
    factor, df = for_cells(setting.ssc, vcov, fit.counts)
    squares = (fit.residual**2).sum() / fit.counts.observations
    return Variance(factor * squares * (fit.loading**2).sum(axis=(1, 2)), df)


def heteroskedastic(fit: LinearFit, vcov: Vcov, setting: Setting) -> Variance:
    """Huber-White: HC0, and HC1 with the factor n / (n - k)."""
    factor, df = for_cells(setting.ssc, vcov, fit.counts)
    return Variance(factor * (fit.influence**2).sum(axis=(1, 2)), df)


def clustered(fit: LinearFit, vcov: Vcov, setting: Setting) -> Variance:
    """Liang & Zeger (1986): CR0 and CR1; two-way by Cameron, Gelbach & Miller (2011).

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
