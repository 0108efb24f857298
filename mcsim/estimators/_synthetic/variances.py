"""Variances of synthetic estimators: bootstrap, jackknife, placebo.

Algorithms 2 to 4 of Arkhangelsky, Athey, Hirshberg, Imbens & Wager (2021), and the jackknife with
weights fitted anew, with which the jackknife's coverage in their Table 4 agrees (with algorithm 3,
that keeps the weights, it does not).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from mcsim.estimators._synthetic.effect import Block, Effect

Refit = Callable[[Array, Array], Effect]
"""``refit(treated, control)``: the effect for counts of units."""

Squared = Float[Array, ""]
"""A variance, in squared units of the outcome; NaN where it is not defined."""


def bootstrap(refit: Refit, block: Block, key: Key[Array, ""], resamples: int) -> Squared:
    """Resample units, with all weights refitted; undefined with one treated unit."""

    def draw(key: Key[Array, ""]) -> Array:
        n = block.treated.size
        return jnp.zeros(n).at[jax.random.randint(key, (n,), 0, n)].add(1.0)

    def one_sided(state: tuple[Array, Array]) -> Array:
        counts = state[1]
        empty = (counts @ block.treated == 0) | (counts @ block.control == 0)
        return empty & block.treated.any() & block.control.any()

    def again(state: tuple[Array, Array]) -> tuple[Array, Array]:
        key = jax.random.fold_in(state[0], 1)
        return key, draw(key)

    def replicate(key: Key[Array, ""]) -> Effect:
        counts = lax.while_loop(one_sided, again, (key, draw(key)))[1]
        return refit(counts * block.treated, counts * block.control)

    return _defined(block.treated.sum() > 1, _variance(replicate, key, resamples))


def placebo(refit: Refit, block: Block, key: Key[Array, ""], resamples: int) -> Squared:
    """Treat as many controls as there are treated units; undefined without controls to spare."""
    n1 = block.treated.sum().astype(int)

    def replicate(key: Key[Array, ""]) -> Effect:
        order = jnp.where(block.control > 0, jax.random.uniform(key, block.control.shape), 2.0)
        last = jnp.sort(order)[n1 - 1]
        treated = block.control * (order <= last)
        return refit(treated, block.control - treated)

    enough = block.control.sum() > block.treated.sum()
    return _defined(enough, _variance(replicate, key, resamples))


def jackknife(effect: Effect, block: Block) -> Squared:
    """Leave out each unit in turn, all weights kept; undefined with one treated unit."""
    n1, n = block.treated.sum(), block.treated.size
    treated_mean, control_mean = block.treated @ effect.change / n1, effect.units @ effect.change
    without_treated = (n1 * treated_mean - effect.change) / (n1 - 1.0) - control_mean
    rest = 1.0 - effect.units
    without_control = treated_mean - (control_mean - effect.units * effect.change) / rest
    values = jnp.where(block.treated > 0, without_treated, without_control)
    defined = (n1 > 1) & (rest > 0).all()
    return _defined(defined, (n - 1) / n * ((values - values.mean()) ** 2).sum())


def refitted_jackknife(refit: Refit, block: Block) -> Squared:
    """Leave out each unit in turn and refit all weights; undefined with one unit in an arm."""
    n = block.treated.size

    def without(unit: Array) -> Effect:
        kept = (jnp.arange(n) != unit).astype(float)
        return refit(kept * block.treated, kept * block.control)

    effects = lax.map(without, jnp.arange(n))
    defined = (block.treated.sum() > 1) & (block.control.sum() > 1) & effects.converged.all()
    return _defined(defined, (n - 1) * jnp.var(effects.value))


def _variance(replicate: Callable[[Array], Effect], key: Key[Array, ""], resamples: int) -> Squared:
    """Variance, divisor n, of the effect over replicates; NaN if one of them failed."""
    effects = lax.map(replicate, jax.random.split(key, resamples))
    return jnp.where(effects.converged.all(), jnp.var(effects.value), jnp.nan)


def _defined(condition: Array, variance: Squared) -> Squared:
    return jnp.where(condition, variance, jnp.nan)
