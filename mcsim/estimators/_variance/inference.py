"""Inference: the variances of one fit by name, and the formulas of the sandwich variances.

Sandwiches are squares of influences, summed over cells (`iid`, `heteroskedastic`), over clusters
(`clustered`, also two ways), or over periods with Bartlett weights on lags (`driscoll_kraay`,
`newey_west`). Driscoll & Kraay (1998) allow for correlation between units: the influences of a
period are summed over units first. Newey & West (1987) in a panel treat each unit as a series of
its own. Lags count periods of the calendar, observed or not, as in plm and sandwich; linearmodels
and pyfixest count observations, which is the same without gaps. For one unit both are the usual HAC
variance.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from mcsim._core.records import Calendar, Estimate, Panel, Status
from mcsim.errors import InputError
from mcsim.estimators._linear_model.data import Regression
from mcsim.estimators._linear_model.least_squares import LinearFit
from mcsim.estimators._native import Variance, estimates_of_terms
from mcsim.estimators._variance.leverage import (
    leverage_corrected_cells,
    leverage_corrected_clusters,
)
from mcsim.estimators._variance.names import (
    Groups,
    Setting,
    VarianceFormula,
    Vcov,
    cluster_sums,
    parse_vcov,
    read_groups,
)
from mcsim.estimators._variance.randomization import randomization
from mcsim.estimators._variance.small_sample import (
    default_lags,
    for_cells,
    for_kernel,
    rule_of_clusters,
)
from mcsim.estimators._variance.wild import wild

CANCELED = 1e-20  # share of the squared influences of cells, below which sums are rounding errors


def infer(
    key: Key[Array, ""] | None,
    data: Regression,
    fit: LinearFit,
    panel: Panel,
    *,
    term: Sequence[str],
    vcov: Sequence[str],
    cluster: Sequence[str],
    ssc: str,
    resamples: int = 0,
    null: float = math.nan,
    level: float = math.nan,
) -> dict[tuple[str, str], Estimate]:
    """Return an estimate for every term and variance, labeled (term, name of the variance).

    ``resamples``, ``null`` and ``level`` are for variances by resampling.
    """
    specs = [parse_vcov(name, tuple(cluster)) for name in vcov]
    groups = read_groups({name for spec in specs for name in spec.clusters}, panel)
    setting = Setting(data, groups, ssc, key, resamples, null, level)
    variances = {
        spec.name: _where_grouped(FORMULAS[spec.kind](fit, spec, setting), spec, groups)
        for spec in specs
    }
    return estimates_of_terms(term, fit.coef, variances, fit.status)


def _where_grouped(variance: Variance, vcov: Vcov, groups: Groups) -> Variance:
    """Return the variance; NaN if its clusters change within units."""
    for name in vcov.clusters:
        if name in groups.status:
            fine = groups.status[name] == Status.OK
            variance = Variance(*(jnp.where(fine, part, jnp.nan) for part in variance))
    return variance


def iid(fit: LinearFit, vcov: Vcov, setting: Setting) -> Variance:
    """Return the variance for independent errors of equal variance."""
    factor, df = for_cells(setting.ssc, vcov, fit.counts)
    squares = (fit.residual**2).sum() / fit.counts.observations
    return Variance(factor * squares * (fit.loading**2).sum(axis=(1, 2)), df)


def heteroskedastic(fit: LinearFit, vcov: Vcov, setting: Setting) -> Variance:
    """Return Huber-White's variance: HC0, and HC1 with the factor n / (n - k)."""
    factor, df = for_cells(setting.ssc, vcov, fit.counts)
    return Variance(factor * (fit.influence**2).sum(axis=(1, 2)), df)


def clustered(fit: LinearFit, vcov: Vcov, setting: Setting) -> Variance:
    """Return Liang & Zeger's (1986) CR0 and CR1; two-way by Cameron, Gelbach & Miller (2011).

    For two ways it is the sum of the variances by each, less the variance by their intersections.
    It is NaN if negative, and if influences cancel within every cluster: residuals are orthogonal
    to a regressor that varies in one cluster only, such as the cluster's dummy.
    """
    factor, df = rule_of_clusters(fit, vcov, setting)
    squares = sum(_squares(fit, (name,), setting) for name in vcov.clusters)
    if len(vcov.clusters) == 2:
        squares = squares - _squares(fit, vcov.clusters, setting)
        squares = jnp.where(squares < 0, jnp.nan, squares)
    canceled = squares <= CANCELED * (fit.influence**2).sum(axis=(1, 2))
    return Variance(factor * jnp.where(canceled, jnp.nan, squares), df)


def _squares(fit: LinearFit, clusters: tuple[str, ...], setting: Setting) -> Float[Array, " term"]:
    return (cluster_sums(fit.influence, clusters, setting.groups) ** 2).sum(axis=(1, 2))


def driscoll_kraay(fit: LinearFit, vcov: Vcov, setting: Setting) -> Variance:
    """Return Driscoll-Kraay's variance: a Bartlett kernel on the sums of each period."""
    return _smoothed(fit, fit.influence.sum(axis=1, keepdims=True), vcov, setting)


def newey_west(fit: LinearFit, vcov: Vcov, setting: Setting) -> Variance:
    """Return Newey-West's variance within units, without correlation between units."""
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


FORMULAS: dict[str, VarianceFormula] = {
    "iid": iid,
    "HC0": heteroskedastic,
    "HC1": heteroskedastic,
    "HC2": leverage_corrected_cells,
    "HC3": leverage_corrected_cells,
    "CR0": clustered,
    "CR1": clustered,
    "CR2": leverage_corrected_clusters,
    "CR3": leverage_corrected_clusters,
    "DK": driscoll_kraay,
    "NW": newey_west,
    "wild": wild,
    "RI": randomization,
}
"""The formula of each kind of variance."""
