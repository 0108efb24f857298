"""Notes on the clusters of a regression: too few of them, or columns that are no clusters."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from mcsim._core.records import Panel, Status
from mcsim.estimators._formula import INTERCEPT, RegressionFormula
from mcsim.estimators._linear_model.data import Regression, read_regression
from mcsim.estimators._variance.clusters import Groups, cluster_sums, n_clusters, read_groups
from mcsim.estimators._variance.names import Vcov, parse_vcov

SUMS_OF_CLUSTERS = ("CR0", "CR1", "CR2")
"""Variances that are there with one treated cluster, and far too small."""

TOLERATED = 1.1  # times the level, up to which the size of a test is not worth a note


def diagnose_regression(
    panel: Panel,
    formula: RegressionFormula,
    *,
    term: tuple[str, ...],
    vcov: tuple[str, ...],
    cluster: tuple[str, ...],
    level: float = 0.95,
    resamples: int = 0,
    **options: Any,
) -> dict[str, Float[Array, ""]]:
    """Return where a variance has no clusters, rests on one treated, or a bootstrap on few."""
    specs = [parse_vcov(name, cluster) for name in vcov]
    groups = read_groups({name for spec in specs for name in spec.clusters}, panel)
    crossing = _crossing(specs, groups)
    signs = [s for s in specs if s.kind == "wild" and s.variant != "webb"]
    sums = [s for s in specs if s.kind in SUMS_OF_CLUSTERS]
    if not signs and not sums:
        return crossing
    data = read_regression(formula, panel)
    positions = formula.positions(tuple(name for name in term if name != INTERCEPT))
    found = {
        f"{spec.name} rests on one treated cluster": _rests_on_one(data, positions, spec, groups)
        for spec in sums
    }
    alpha = round(1.0 - level, 12)
    for spec in signs:
        number = n_clusters(data.observed, spec.clusters, groups)
        size = attainable_size(alpha, number)
        coarse = (2.0**number <= resamples) & (size > TOLERATED * alpha)
        name = f"{spec.name} has so few clusters that a test at {alpha:.3g} rejects true nulls at"
        found[name] = jnp.where(coarse, size, 0.0)
    return found | crossing


def attainable_size(alpha: float, n_clusters: Float[Array, ""]) -> Float[Array, ""]:
    """Return how often a test by all vectors of signs rejects a true null.

    The p-value is the share of the 2^(G-1) vectors, up to the sign of all, with a statistic beyond
    that of the data: one of 0, 1, ..., over that number, each as likely as the next.

    Examples
    --------
    >>> [float(attainable_size(0.05, jnp.asarray(float(number)))) for number in (3, 6, 8)]
    [0.25, 0.0625, 0.0546875]
    """
    vectors = 2.0 ** (n_clusters - 1.0)
    return jnp.minimum(jnp.ceil(alpha * vectors) / vectors, 1.0)


def treated_clusters(
    column: Float[Array, "unit period"],
    observed: Float[Array, "unit period"],
    cluster: str,
    groups: Groups,
) -> Float[Array, ""]:
    """Return in how many clusters a column of zeros and ones is ever 1; NaN for another column."""
    binary = ((column == 0) | (column == 1)).all() & (column == 1).any()
    treated = cluster_sums((column * observed)[None], (cluster,), groups) > 0
    return jnp.where(binary, treated.sum().astype(float), jnp.nan)


def _crossing(specs: list[Vcov], groups: Groups) -> dict[str, Float[Array, ""]]:
    """Return which variances are not defined, since their clusters are no groups of units."""
    return {
        f"share of panels without inference by {spec.name}, since {name!r} changes within units or "
        "is missing": (groups.status[name] != Status.OK).astype(float)
        for spec in specs
        for name in spec.clusters
        if name in groups.status
    }


def _rests_on_one(
    data: Regression, positions: tuple[int, ...], spec: Vcov, groups: Groups
) -> Float[Array, ""]:
    """Whether one of the coefficients is of a treatment that one cluster alone has."""
    numbers = [
        treated_clusters(data.x[position], data.observed, name, groups)
        for position in positions
        for name in spec.clusters
    ]
    return (jnp.stack(numbers) == 1).any().astype(float) if numbers else jnp.zeros(())
