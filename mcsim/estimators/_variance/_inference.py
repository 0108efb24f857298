"""From one fit to several variances: each is a row of its own, and the fit is done once."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Key

from mcsim._core import Estimate, Panel
from mcsim.estimators._fit import Fit, Variance, estimates_of
from mcsim.estimators._regression._linear import LinearFit
from mcsim.estimators._variance._clusters import Groups, cluster_sums, n_clusters, read_groups
from mcsim.estimators._variance._names import Vcov, parse_vcov
from mcsim.estimators._variance._small_sample import for_clusters, for_iid

Formula = Callable[[LinearFit, Vcov, str, Groups], Variance]
"""``formula(fit, vcov, ssc, groups)`` gives the variances of all terms (term,)."""


def infer(
    key: Key[Array, ""] | None,
    fit: LinearFit,
    panel: Panel,
    *,
    term: Sequence[str],
    vcov: Sequence[str],
    cluster: str | tuple[str, ...],
    ssc: str,
) -> dict[tuple[str, str], Estimate]:
    """Return an estimate for every term and variance, labeled (term, name of the variance)."""
    specs = [parse_vcov(name, cluster) for name in vcov]
    groups = read_groups({name for spec in specs for name in spec.clusters}, panel)
    variances = {spec.name: FORMULAS[spec.kind](fit, spec, ssc, groups) for spec in specs}
    estimates = {}
    for position, name in enumerate(term):
        of_term = {label: _at(variance, position) for label, variance in variances.items()}
        estimates |= estimates_of(Fit(fit.coef[position], of_term, fit.status), name)
    return estimates


def _at(variance: Variance, position: int) -> Variance:
    """The variance of one term; what is common to all terms stays."""
    return Variance(*(part[position] if jnp.ndim(part) else part for part in variance))


def iid(fit: LinearFit, vcov: Vcov, ssc: str, groups: Groups) -> Variance:
    """One variance of the errors."""
    factor, df = for_iid(ssc, fit.counts)
    squares = (fit.residual**2).sum() / fit.counts.observations
    return Variance(factor * squares * (fit.loading**2).sum(axis=(1, 2)), df)


def heteroskedastic(fit: LinearFit, vcov: Vcov, ssc: str, groups: Groups) -> Variance:
    """Huber-White: HC0, and HC1 with the factor n / (n - k)."""
    factor, df = for_iid(ssc, fit.counts)
    factor = factor if vcov.kind == "HC1" else 1.0
    return Variance(factor * (fit.influence**2).sum(axis=(1, 2)), df)


def clustered(fit: LinearFit, vcov: Vcov, ssc: str, groups: Groups) -> Variance:
    """Liang & Zeger: sums of squares of the clusters' sums; CR1 with its small-sample factor."""
    sums = cluster_sums(fit.influence, vcov.clusters, groups)
    observed = jnp.ones(fit.residual.shape) if fit.weight is None else fit.weight
    number = n_clusters(observed, vcov.clusters, groups)
    factor, df = for_clusters(ssc, fit.counts, vcov.clusters, number)
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
