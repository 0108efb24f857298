"""Averages of treatment effects and their variances from what each unit contributes to the error.

The estimate's error is a sum over units, its influences; their sum of squares is the variance, and
signs drawn at random for all of a cluster's influences are the multiplier bootstrap.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from mcsim._core import Estimate, Panel
from mcsim.estimators._fit import Fit, Variance, estimates_of
from mcsim.estimators._linear_model._data import group_of_units
from mcsim.estimators._variance._resampling import key_of

BOOTSTRAPS = ("bootstrap", "bootstrap:mammen")
QUARTILES = 1.3489795003921634  # between those of the standard normal distribution
GOLDEN = (1 + 5**0.5) / 2


class Averages(NamedTuple):
    """Averages of effects.

    Attributes
    ----------
    value : array (target,)
    influence : array (target, unit)
        What each unit adds to the estimate's error.
    status : int array (target,)
        A `Status` of each.
    """

    value: Float[Array, " target"]
    influence: Float[Array, "target unit"]
    status: Int[Array, " target"]


def label(position: int | str) -> str:
    """Return the estimand of an event time: ``att[0]`` is the effect in the first treated period.

    Examples
    --------
    >>> label(-2)
    'att[-2]'
    """
    return f"att[{position}]"


def cluster_influence(
    influence: Float[Array, "target unit"], cluster: str, panel: Panel
) -> tuple[Float[Array, "target unit"], Bool[Array, ""]]:
    """Return sums over clusters, in as many slots as units, and whether there are two or more."""
    if cluster == "unit":
        return influence, jnp.asarray(influence.shape[1] > 1)
    group, status = group_of_units(cluster, panel)
    slots = influence.shape[1]
    sums = jax.vmap(lambda unit: jax.ops.segment_sum(unit, group, slots))(influence)
    several = (group != group[0]).any() & (status == 0)
    return sums, several


def sum_of_squares(influence: Float[Array, "target cluster"]) -> Variance:
    """Return the variance by the influence function, with the normal distribution."""
    return Variance((influence**2).sum(axis=1))


def multiplier_bootstrap(
    key: Key[Array, ""] | None,
    influence: Float[Array, "target cluster"],
    name: str,
    resamples: int,
) -> Variance:
    """Return the variance of draws of signed influences, from their interquartile range.

    Source: Callaway & Sant'Anna (2021), algorithm 1.
    """
    shape, key = (resamples, influence.shape[1]), key_of(key, name)
    if name == "bootstrap:mammen":
        first = jax.random.bernoulli(key, GOLDEN / 5**0.5, shape)
        signs = jnp.where(first, 1 - GOLDEN, GOLDEN)
    else:
        signs = jax.random.rademacher(key, shape, dtype=influence.dtype)
    quartiles = jnp.quantile(signs @ influence.T, jnp.array([0.25, 0.75]), axis=0)
    return Variance(((quartiles[1] - quartiles[0]) / QUARTILES) ** 2)


def estimates_by_influence(
    key: Key[Array, ""] | None,
    panel: Panel,
    labels: Sequence[str],
    averages: Averages,
    *,
    vcov: Sequence[str],
    cluster: str,
    resamples: int = 0,
) -> dict[tuple[str, str], Estimate]:
    """Return an estimate for every average and variance; fewer than two clusters have none."""
    sums, several = cluster_influence(averages.influence, cluster, panel)
    sums = jnp.where(several, sums, jnp.nan)
    estimates = {}
    variances = {
        name: multiplier_bootstrap(key, sums, name, resamples)
        if name in BOOTSTRAPS
        else sum_of_squares(sums)
        for name in vcov
    }
    for position, estimand in enumerate(labels):
        own = {name: Variance(v.variance[position], v.df) for name, v in variances.items()}
        fit = Fit(averages.value[position], own, averages.status[position])
        estimates |= estimates_of(fit, estimand)
    return estimates
