"""From one fit to several variances: each is a row of its own, and the fit is done once."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Key

from mcsim._core import Estimate, Panel
from mcsim.estimators._fit import Fit, Variance, estimates_of
from mcsim.estimators._regression._data import Regression
from mcsim.estimators._regression._linear import LinearFit
from mcsim.estimators._variance._clusters import Groups, cluster_sums, n_clusters, read_groups
from mcsim.estimators._variance._names import Vcov, parse_vcov
from mcsim.estimators._variance._small_sample import for_clusters, for_iid


class Setting(NamedTuple):
    """What a variance needs beside the fit.

    Attributes
    ----------
    data : Regression
        The data before anything was absorbed.
    groups : Groups
        The clusters above the unit.
    ssc : str
        Name of the small-sample rule.
    key : Key or None
        For methods that resample.
    resamples : int
        How often they do.
    null, level : float
        The value that their p-values are of; the level of their own limits.
    """

    data: Regression
    groups: Groups
    ssc: str
    key: Key[Array, ""] | None
    resamples: int
    null: float
    level: float


Formula = Callable[[LinearFit, Vcov, Setting], Variance]
"""``formula(fit, vcov, setting)`` gives the variances of all terms (term,)."""


def infer(
    key: Key[Array, ""] | None,
    data: Regression,
    fit: LinearFit,
    panel: Panel,
    *,
    term: Sequence[str],
    vcov: Sequence[str],
    cluster: Sequence[str] = ("unit",),
    ssc: str = "fixest-0.13",
    resamples: int = 999,
    null: float = 0.0,
    level: float = 0.95,
) -> dict[tuple[str, str], Estimate]:
    """Return an estimate for every term and variance, labeled (term, name of the variance)."""
    specs = [parse_vcov(name, tuple(cluster)) for name in vcov]
    groups = read_groups({name for spec in specs for name in spec.clusters}, panel)
    setting = Setting(data, groups, ssc, key, resamples, null, level)
    variances = {spec.name: FORMULAS[spec.kind](fit, spec, setting) for spec in specs}
    estimates = {}
    for position, name in enumerate(term):
        of_term = {label: _at(variance, position) for label, variance in variances.items()}
        estimates |= estimates_of(Fit(fit.coef[position], of_term, fit.status), name)
    return estimates


def _at(variance: Variance, position: int) -> Variance:
    """The variance of one term; what is common to all terms stays."""
    return Variance(*(part[position] if jnp.ndim(part) else part for part in variance))


def iid(fit: LinearFit, vcov: Vcov, setting: Setting) -> Variance:
    """One variance of the errors."""
    factor, df = for_iid(setting.ssc, fit.counts)
    squares = (fit.residual**2).sum() / fit.counts.observations
    return Variance(factor * squares * (fit.loading**2).sum(axis=(1, 2)), df)


def heteroskedastic(fit: LinearFit, vcov: Vcov, setting: Setting) -> Variance:
    """Huber-White: HC0, and HC1 with the factor n / (n - k)."""
    factor, df = for_iid(setting.ssc, fit.counts)
    factor = factor if vcov.kind == "HC1" else 1.0
    return Variance(factor * (fit.influence**2).sum(axis=(1, 2)), df)


def clustered(fit: LinearFit, vcov: Vcov, setting: Setting) -> Variance:
    """Liang & Zeger: sums of squares of the clusters' sums; CR1 with its small-sample factor."""
    sums = cluster_sums(fit.influence, vcov.clusters, setting.groups)
    observed = jnp.ones(fit.residual.shape) if fit.weight is None else fit.weight
    number = n_clusters(observed, vcov.clusters, setting.groups)
    factor, df = for_clusters(setting.ssc, fit.counts, vcov.clusters, number)
    factor = factor if vcov.kind == "CR1" else 1.0
    return Variance(factor * (sums**2).sum(axis=(1, 2)), df)


FORMULAS: dict[str, Formula] = {
    "iid": iid,
    "HC0": heteroskedastic,
    "HC1": heteroskedastic,
    "CR0": clustered,
    "CR1": clustered,
}
"""The formula of each kind of variance."""
