"""Inference: several variances of one fit, each an estimate of its own."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Key

from mcsim._core.records import Estimate, Panel, Status
from mcsim.estimators._fit import Variance, estimates_of_terms
from mcsim.estimators._linear_model.data import Regression
from mcsim.estimators._linear_model.least_squares import LinearFit
from mcsim.estimators._variance.clusters import Groups, read_groups
from mcsim.estimators._variance.leverage import (
    leverage_corrected_cells,
    leverage_corrected_clusters,
)
from mcsim.estimators._variance.names import Vcov, parse_vcov
from mcsim.estimators._variance.randomization import randomization
from mcsim.estimators._variance.sandwich import (
    clustered,
    driscoll_kraay,
    heteroskedastic,
    iid,
    newey_west,
)
from mcsim.estimators._variance.setting import Formula, Setting
from mcsim.estimators._variance.wild import wild


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
    """Return the variance, NaN where its clusters are no groups of units."""
    for name in vcov.clusters:
        if name in groups.status:
            fine = groups.status[name] == Status.OK
            variance = Variance(*(jnp.where(fine, part, jnp.nan) for part in variance))
    return variance


FORMULAS: dict[str, Formula] = {
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
