"""Small-sample factors and degrees of freedom by frozen names.

A rule never changes under its name, so that a stored estimate keeps its meaning: ``"fixest-0.13"``
(fixest, pyfixest, reghdfe), ... Sources: Berge, Butts & McDermott (2026) for fixest;
"""

from typing import Any, NamedTuple

from mcsim.estimators._regression._data import Counts
from mcsim.estimators._regression._linear import parameters

RULES = ("fixest-0.13", "stata-xtreg", "stata-areg", "linearmodels", "jackknife", "none")


class SmallSample(NamedTuple):
    """What a rule multiplies a variance with, and the degrees of freedom of its t reference."""

    factor: Any
    df: Any


def for_iid(rule: str, counts: Counts) -> SmallSample:
    """Return the factor on the mean squared residual (divisor n), and df."""
    df = counts.observations - parameters(counts)
    return SmallSample(counts.observations / df, df)


def for_clusters(rule: str, counts: Counts, clusters: tuple[str, ...], n_clusters: Any):
    """Return the factor on the sum over clusters, and df."""
    n, g = counts.observations, n_clusters
    k = parameters(counts, not_nested(counts.effects, clusters))
    return SmallSample(g / (g - 1) * (n - 1) / (n - k), g - 1)


def not_nested(effects: tuple[str, ...], clusters: tuple[str, ...]) -> tuple[str, ...]:
    """Return the effects that are not constant within clusters: those that cost parameters."""
    nests = {"time" if name == "time" else "unit" for name in clusters}
    return tuple(effect for effect in effects if effect not in nests)
