"""Averages of treatment effects and their variances from what each unit contributes to the error.

The estimate's error is a sum over units, its influences; their sum of squares is the variance, and
signs drawn at random for all of a cluster's influences are the multiplier bootstrap.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from mcsim._core import Estimate, Panel, Status
from mcsim.estimators._did._adoption import Adoption
from mcsim.estimators._fit import Variance, estimates_of_terms
from mcsim.estimators._variance._clusters import cluster_sums, n_clusters, read_groups
from mcsim.estimators._variance._resampling import key_of

BOOTSTRAPS = ("bootstrap", "bootstrap:mammen")
ALONE = "share of the weight on cohorts of one treated unit or cluster, without an error of its own"
QUARTILES = 1.3489795003921634  # between those of the standard normal distribution
GOLDEN = (1 + 5**0.5) / 2


class Averages(NamedTuple):
    """Averages of effects.

    Attributes
    ----------
    value : array (target,)
    influence : array (target, unit)
        What each unit adds to the estimate's error.
    treated : bool array (target, unit)
        The treated units that the average is of.
    status : int array (target,)
        A `Status` of each.
    """

    value: Float[Array, " target"]
    influence: Float[Array, "target unit"]
    treated: Bool[Array, "target unit"]
    status: Int[Array, " target"]


def cluster_influence(
    influence: Float[Array, "target unit"], cluster: str, panel: Panel
) -> tuple[Float[Array, "target unit"], Bool[Array, ""]]:
    """Return sums over clusters, in as many slots as units, and whether there are two or more."""
    groups = read_groups({cluster}, panel)
    everywhere = jnp.ones((panel.n_units, panel.n_periods))
    seen = everywhere if panel.mask is None else panel.mask.astype(float)
    number = n_clusters(seen, (cluster,), groups)
    fine = [status == Status.OK for status in groups.status.values()]
    sums = cluster_sums(influence[..., None], (cluster,), groups)[..., 0]
    return sums, jnp.all(jnp.array([number > 1, *fine]))


def share_alone(
    adoption: Adoption,
    members: Bool[Array, " unit"],
    cells: Float[Array, " unit"],
    cluster: str,
    panel: Panel,
) -> Float[Array, ""]:
    """Return the share of treated cells that are of cohorts of one treated unit or cluster."""
    cohorts = jnp.arange(adoption.data.shape[1])[:, None]
    of_cohort = (adoption.start == cohorts) * members
    clusters, _ = cluster_influence(of_cohort.astype(float), cluster, panel)
    alone = (clusters > 0).sum(axis=1) == 1
    return (alone @ of_cohort * cells).sum() / jnp.maximum((members * cells).sum(), 1.0)


def sum_of_squares(influence: Float[Array, "target cluster"]) -> Float[Array, " target"]:
    """Return the variance by the influence function."""
    return (influence**2).sum(axis=1)


def multiplier_bootstrap(
    key: Key[Array, ""] | None,
    influence: Float[Array, "target cluster"],
    name: str,
    resamples: int,
) -> Float[Array, " target"]:
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
    return ((quartiles[1] - quartiles[0]) / QUARTILES) ** 2


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
    """Return an estimate for every average and variance, with the normal distribution.

    Fewer than two clusters have no variance, nor has an average over one treated unit or cluster,
    whose deviation from its own mean is none.
    """
    sums, several = cluster_influence(averages.influence, cluster, panel)
    treated, _ = cluster_influence(averages.treated.astype(float), cluster, panel)
    spread = (treated > 0).sum(axis=1, keepdims=True) > 1
    sums = jnp.where(several & spread, sums, jnp.nan)

    def variance(name: str) -> Variance:
        if name in BOOTSTRAPS:
            return Variance(multiplier_bootstrap(key, sums, name, resamples))
        return Variance(sum_of_squares(sums))

    variances = {name: variance(name) for name in vcov}
    return estimates_of_terms(labels, averages.value, variances, averages.status)
