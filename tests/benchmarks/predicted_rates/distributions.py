"""Distributions of panels whose rejection rates are known by simulation; each has one outcome, y.

What is common to all units (the path of a factor) is drawn once with a realization and then stands:
a generator sees one path, and its prediction is for that path. Units are drawn anew.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from mcsim import Design, Panel, Sample

Outcome = Float[Array, "unit period"]
Path = Float[Array, " period"]


class Distribution(NamedTuple):
    """A distribution of panels.

    Attributes
    ----------
    draw : callable
        ``draw(key, shape, path)`` gives the outcome.
    factor : float, optional
        Autocorrelation of the factor whose path a realization fixes.
    n_units, n_periods, few : int
        Size, and the number of treated units in the design with few.
    """

    draw: Callable[[Any, tuple[int, int], Any], Outcome]
    factor: float | None = None
    n_units: int = 50
    n_periods: int = 10
    few: int = 4


@partial(jax.tree_util.register_dataclass, data_fields=["path"], meta_fields=["name"])
@dataclass(frozen=True, eq=False)
class Drawn:
    """A realization's distribution as a DGP: its factor's path is given.

    Attributes
    ----------
    path : array (period,)
        The factor's path; zeros without a factor.
    name : str
        A name of `DISTRIBUTIONS`.
    """

    path: Any
    name: str = ""

    def __call__(self, key: Key[Array, ""], design: Design) -> Sample:
        """Draw a panel."""
        one = DISTRIBUTIONS[self.name]
        return Sample(Panel({"y": one.draw(key, (one.n_units, one.n_periods), self.path)}), {})


def realized(name: str, key: Key[Array, ""]) -> Drawn:
    """Return the distribution of one realization."""
    one = DISTRIBUTIONS[name]
    if one.factor is None:
        return Drawn(jnp.zeros(one.n_periods), name)
    return Drawn(autoregression(key, (1, one.n_periods), one.factor)[0], name)


def autoregression(
    key: Key[Array, ""], shape: tuple[int, int], rho: float, innovations: Any = None
) -> Outcome:
    """Return paths with unit variance from period to period, after 100 periods that are dropped.

    ``innovations`` (unit, 100 + period) take the place of standard normal ones.
    """
    before = 100
    if innovations is None:
        innovations = jax.random.normal(key, (shape[0], before + shape[1]))

    def step(last: Array, new: Array) -> tuple[Array, Array]:
        now = rho * last + jnp.sqrt(1 - rho**2) * new
        return now, now

    _, paths = jax.lax.scan(step, innovations[:, 0], innovations.T[1:])
    return paths[-shape[1] :].T


def _white_noise(key: Any, shape: tuple[int, int], path: Any) -> Outcome:
    unit, noise = jax.random.split(key)
    return _unit_effect(unit, shape) + jax.random.normal(noise, shape)


def _groups(key: Any, shape: tuple[int, int], path: Any) -> Outcome:
    unit, noise, group = jax.random.split(key, 3)
    volatility = jnp.where(jax.random.bernoulli(group, 0.2, (shape[0], 1)), 4.0, 1.0)
    return _unit_effect(unit, shape) + volatility * autoregression(noise, shape, 0.5)


def _random_volatility(key: Any, shape: tuple[int, int], path: Any) -> Outcome:
    unit, noise, scale = jax.random.split(key, 3)
    volatility = jnp.exp(0.5 * jax.random.normal(scale, (shape[0], 1)))
    return _unit_effect(unit, shape) + volatility * autoregression(noise, shape, 0.5)


def _heavy_tails(key: Any, shape: tuple[int, int], path: Any) -> Outcome:
    unit, noise = jax.random.split(key)
    shocks = jax.random.t(noise, 2.5, (shape[0], 100 + shape[1]))
    return _unit_effect(unit, shape) + autoregression(noise, shape, 0.5, shocks)


def _factor(key: Any, shape: tuple[int, int], path: Any, rho: float) -> Outcome:
    unit, loading, noise = jax.random.split(key, 3)
    loadings = 1 + 0.7 * jax.random.normal(loading, (shape[0], 1))
    return _unit_effect(unit, shape) + loadings * path + autoregression(noise, shape, rho)


def _random_trends(key: Any, shape: tuple[int, int], path: Any) -> Outcome:
    unit, slope, noise = jax.random.split(key, 3)
    trends = 0.3 * jax.random.normal(slope, (shape[0], 1)) * jnp.arange(shape[1])
    return _unit_effect(unit, shape) + trends + jax.random.normal(noise, shape)


def _trends_by_group(key: Any, shape: tuple[int, int], path: Any) -> Outcome:
    unit, group, noise = jax.random.split(key, 3)
    grows = jax.random.bernoulli(group, 0.3, (shape[0], 1))
    return (
        _unit_effect(unit, shape)
        + 0.5 * grows * jnp.arange(shape[1])
        + jax.random.normal(noise, shape)
    )


def _slow(key: Any, shape: tuple[int, int], path: Any) -> Outcome:
    unit, slow, noise = jax.random.split(key, 3)
    return (
        _unit_effect(unit, shape)
        + autoregression(slow, shape, 0.95)
        + jax.random.normal(noise, shape)
    )


def _hurdle(key: Any, shape: tuple[int, int], path: Any) -> Outcome:
    level, unit, cell, noise = jax.random.split(key, 4)
    entry = 1.2 * jax.random.normal(level, (shape[0], 1)) + 0.6 * jax.random.normal(cell, shape)
    amount = jnp.exp(_unit_effect(unit, shape) + 0.6 * autoregression(noise, shape, 0.6))
    return jnp.where(entry <= 0.3, 0.0, amount)


def _unit_effect(key: Any, shape: tuple[int, int]) -> Float[Array, "unit 1"]:
    return jax.random.normal(key, (shape[0], 1))


def _persistent_factor(key: Any, shape: tuple[int, int], path: Any) -> Outcome:
    return _factor(key, shape, path, 0.9)


def _few_units(key: Any, shape: tuple[int, int], path: Any) -> Outcome:
    return _factor(key, shape, path, 0.8)


DISTRIBUTIONS = {
    "white noise": Distribution(_white_noise),
    "heteroskedastic groups": Distribution(_groups),
    "random volatility": Distribution(_random_volatility),
    "t(2.5)": Distribution(_heavy_tails),
    "AR .9 and factor": Distribution(_persistent_factor, factor=0.8),
    "random trends": Distribution(_random_trends),
    "trends by group": Distribution(_trends_by_group),
    "N = 12, T = 30": Distribution(_few_units, factor=0.8, n_units=12, n_periods=30, few=3),
    "N = 25, T = 40": Distribution(_slow, n_units=25, n_periods=40),
    "hurdle log-normal": Distribution(_hurdle),
}
