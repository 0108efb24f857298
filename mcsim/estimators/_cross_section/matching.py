"""Nearest-neighbor matching with replacement, bias-corrected, for the effect on the treated.

Abadie & Imbens (2006, Econometrica 74: 235-267; 2011, Journal of Business & Economic Statistics 29:
1-11): inverse-variance metric, ties averaged, controls' regression weighted by the numbers of
matches. Without ties the numbers are as in Matching for R (Sekhon 2011, Journal of Statistical
Software 42(7)); with ties they differ (.5125 and .5021 in one sample), and these are the papers'.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mcsim.estimators._cross_section.att import Arms, on_arms
from mcsim.estimators._cross_section.models import least_squares
from mcsim.estimators._native import Fit, Variance, worst

TIE = 1e-5  # squared distances (in standard deviations) closer than this are ties
CHUNK = 64  # units matched at a time: memory stays at 64 x n for every n


class Matches(NamedTuple):
    """The matches of treated units, summed over pairs.

    Attributes
    ----------
    uses : array (unit,)
        Sum of the shares that a control has in the matches of treated units.
    squares : array (unit,)
        Sum of the squares of these shares.
    partner : array (unit, column)
        For each treated unit the mean of the columns over its matches; 0 for the others.
    """

    uses: Float[Array, " unit"]
    squares: Float[Array, " unit"]
    partner: Float[Array, "unit column"]


@on_arms
def fit_matching(arms: Arms, vcov: Sequence[str], n_neighbors: int = 1) -> Fit:
    """Return the mean difference between the treated and their matches, corrected for distance."""
    x, n1 = arms.regressors, arms.n_treated
    matches = match(arms, jnp.column_stack([x, arms.y]), n_neighbors)
    outcome = least_squares(x, arms.y, matches.uses)
    partner = matches.partner[:, -1] - matches.partner[:, :-1] @ outcome.coef
    effects = arms.treated * (outcome.residual - partner)
    value = effects.sum() / n1
    between = (arms.treated * (effects - value) ** 2).sum()
    reuse = matches.uses**2 - matches.squares
    variances = {}
    if "abadie-imbens" in vcov:
        variances["abadie-imbens"] = between + _reuse_variance(arms, reuse)
    if "aimm2024" in vcov:
        # Both residuals of a pair vary: half of the mean square of the pairs' effects is sigma2.
        within = (matches.uses * outcome.residual**2).sum() - (partner**2).sum()
        variances["aimm2024"] = between + reuse.sum() * (between + within) / (2 * n1)
    estimable = (n1 > 1) & (arms.n_control > 1)
    known = {
        name: Variance(jnp.where(estimable, variances[name] / n1**2, jnp.nan)) for name in vcov
    }
    too_few = arms.n_control < n_neighbors
    return Fit(value, known, worst(arms.status, too_few, outcome.singular))


def match(arms: Arms, columns: Float[Array, "unit column"], n_neighbors: int) -> Matches:
    """Match each treated unit to its nearest controls; ties at the last place share its weight."""

    def step(ids, active, matches: Matches) -> Matches:
        distance = jnp.where(arms.control > 0, _squared_distances(arms.x, ids), jnp.inf)
        share = _shares(distance, n_neighbors)
        return Matches(
            uses=matches.uses + active @ share,
            squares=matches.squares + active @ share**2,
            partner=matches.partner.at[ids].set(active[:, None] * (share @ columns)),
        )

    zeros = jnp.zeros_like(arms.y)
    return _over_units(arms.treated > 0, step, Matches(zeros, zeros, jnp.zeros_like(columns)))


def _reuse_variance(arms: Arms, reuse: Float[Array, " unit"]) -> Float[Array, ""]:
    """Return the sum over controls of reuse times the outcome's variance given the covariates.

    That variance comes from the nearest other control (Abadie & Imbens 2006, section 4, J = 1; all
    of them where several are tied). Only controls matched more than once need it.
    """

    def step(ids, active, total):
        others = (arms.control > 0) & (ids[:, None] != jnp.arange(arms.y.size))
        share = _shares(jnp.where(others, _squared_distances(arms.x, ids), jnp.inf), 1)
        ties = (share > 0).sum(axis=1)
        variance = ties / (ties + 1) * (arms.y[ids] - share @ arms.y) ** 2
        return total + active @ (reuse[ids] * variance)

    return _over_units(reuse > 1e-12, step, jnp.zeros(()))


def _shares(distance: Float[Array, "row unit"], n_neighbors: int) -> Float[Array, "row unit"]:
    """Spread a weight of 1 evenly over the nearest units of each row and their ties."""
    matched = distance <= _smallest(distance, n_neighbors)[:, None] + TIE
    return matched / matched.sum(axis=1, keepdims=True)


def _smallest(distance: Float[Array, "row unit"], rank: int) -> Float[Array, " row"]:
    """Return the value of this rank in each row, by as many passes: cheaper than to sort."""

    def step(_, state):
        value, reached = state
        following = jnp.where(distance > value[:, None], distance, jnp.inf).min(axis=1)
        value = jnp.where(reached < rank, following, value)
        return value, (distance <= value[:, None]).sum(axis=1)

    first = distance.min(axis=1)
    if rank == 1:
        return first
    start = first, (distance <= first[:, None]).sum(axis=1)
    return jax.lax.fori_loop(1, rank, step, start)[0]


def _squared_distances(
    x: Float[Array, "unit covariate"], ids: Int[Array, " row"]
) -> Float[Array, "row unit"]:
    """Return squared distances from the units ``ids`` to all, by column: exact where equal."""
    distances = jnp.zeros((ids.size, x.shape[0]))
    for column in x.T:
        distances += (column[ids][:, None] - column) ** 2
    return distances


def _over_units(selected: Bool[Array, " unit"], step: Callable[..., Any], state: Any) -> Any:
    """Run ``state = step(ids, active, state)`` over the selected units, `CHUNK` at a time.

    The loop ends after the last selected unit, so that the cost follows their number although
    shapes do not. ``active`` is 1 for them and 0 for the units that fill up the last chunk.
    """
    n, total = selected.size, selected.sum()
    order = jnp.concatenate([jnp.argsort(~selected, stable=True), jnp.full(CHUNK, n)])

    def body(carry):
        start, state = carry
        ids = jax.lax.dynamic_slice(order, (start,), (CHUNK,))
        active = (start + jnp.arange(CHUNK) < total).astype(float)
        return start + CHUNK, step(ids, active, state)

    start = jnp.zeros_like(total)
    return jax.lax.while_loop(lambda carry: carry[0] < total, body, (start, state))[1]
