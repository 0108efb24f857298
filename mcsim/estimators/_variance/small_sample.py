"""Small-sample factors and degrees of freedom by frozen names (`RULES`).

A rule never changes under its name, so that a stored estimate keeps its meaning. In the table n are
observations, K parameters with all effects, G clusters (of two-way clusters the fewer), T periods.

=============== ====================================== ================== ======================
rule            CR1                                    CR3                reference distribution
=============== ====================================== ================== ======================
fixest-0.13     G/(G-1) (n-1)/(n-K*), K* without the   as CR1             t(G-1)
                effects nested in the clusters
pyfixest-0.60   as fixest-0.13                         as fixest-0.13     t(G-1)
stata-xtreg     G/(G-1) (n-1)/(n-K*), K* without unit  (G-1)/G            t(G-1)
                effects
stata-areg      G/(G-1) (n-1)/(n-K)                    (G-1)/G            t(G-1)
linearmodels    n/(n-K), or n/(n-slopes) where the     1                  t(n-K)
                only effect is nested in all clusters
jackknife       as fixest-0.13                         (G-1)/G            t(G-1)
none            1                                      1                  normal
=============== ====================================== ================== ======================

``linearmodels`` is the rule of its panel models; its IV models cluster with G/(G-1) (n-1)/(n-K).

The rest: iid and HC1 have n/(n-K), HC0, CR0, CR2 and everything with ``:BM`` have 1. HC2 and HC3
correct for leverage instead of multiplying with n/(n-K), and have 1: R's fixest ignores its ssc for
them too. Two rules differ: HC3 has (n-1)/n under jackknife, the jackknife of MacKinnon & White
(1985, Journal of Econometrics 29: 305-325), and pyfixest-0.60 follows that package: HC2 and HC3
times n/(n-K), refused with absorbed effects. All of these refer to t(n-K). Driscoll-Kraay and
Newey-West have T/(T-1) (n-1)/(n-K) and t(T-1), under linearmodels n/(n-K) and t(n-K). Under none
every factor is 1 and every reference normal.

Sources: Berge, Butts & McDermott (2026) on fixest and the pyfixest package; StataCorp, manuals of
xtreg and areg, and Cameron & Miller (2015, Journal of Human Resources 50: 317-372) on their
difference; the linearmodels package (``debiased=True``, ``group_debias=False``); MacKinnon, Nielsen
& Webb (2023, Journal of Applied Econometrics 38: 671-694) on the jackknife.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from mcsim.estimators._linear_model.data import Counts
from mcsim.estimators._linear_model.least_squares import LinearFit, parameters
from mcsim.estimators._variance.names import (
    Setting,
    Vcov,
    n_clusters,
    parse_vcov,
)

PYFIXEST = "pyfixest-0.60"
FIXEST = ("fixest-0.13", PYFIXEST)
RULES = (*FIXEST, "stata-xtreg", "stata-areg", "linearmodels", "jackknife", "none")
LEVERAGE = ("HC2", "HC3")


class SmallSample(NamedTuple):
    """The factor of a variance under a rule, and the degrees of freedom of its t reference.

    The factor is NaN where the variance is not defined: too few clusters or periods.
    """

    factor: Any
    df: Any


def for_cells(rule: str, vcov: Vcov, counts: Counts) -> SmallSample:
    """Return the rule for iid (the mean squared residual has divisor n) and HC0 to HC3."""
    n, df = counts.observations, counts.observations - parameters(counts)
    if rule == "none":
        return SmallSample(1.0, jnp.inf)
    inflated = ("iid", "HC1", *(LEVERAGE if rule == PYFIXEST else ()))
    if vcov.kind in inflated and not vcov.variant:
        return SmallSample(_ratio(n, df), df)
    if vcov.kind == "HC3" and rule == "jackknife":
        return SmallSample(_ratio(n - 1, n), df)
    return SmallSample(1.0, df)


def faults_of_rule(rule: str, names: Sequence[str], effects: Sequence[str]) -> list[str]:
    """Return the faults of variances that a rule excludes beside absorbed effects."""
    if rule != PYFIXEST or not effects:
        return []
    return [
        f"vcov: got {name!r} with ssc={PYFIXEST!r} and effects {' + '.join(effects)!r}, expected "
        "another variance: pyfixest has none of this name with absorbed effects; ssc='fixest-0.13' "
        "has it, with factor 1"
        for name in names
        if (parsed := parse_vcov(name, "unit")).kind in LEVERAGE and not parsed.variant
    ]


def for_clusters(rule: str, vcov: Vcov, counts: Counts, number: Any) -> SmallSample:
    """Return the rule for CR0 to CR3, given the number of clusters.

    Fewer than two clusters leave no variance. With fewer clusters than regressors each coefficient
    has a variance, but the variance of several together has no inverse.
    """
    factor, kind, n = 1.0, vcov.kind, counts.observations
    if kind == "CR1" or (kind == "CR3" and rule in FIXEST):
        factor = _for_sums(rule, counts, vcov.clusters, number)
    if kind == "CR3" and rule in ("jackknife", "stata-xtreg", "stata-areg"):
        factor = _ratio(number - 1, number)
    df = {"linearmodels": n - parameters(counts), "none": jnp.inf}.get(rule, number - 1)
    return SmallSample(jnp.where(number >= 2, factor, jnp.nan), df)


def rule_of_clusters(fit: LinearFit, vcov: Vcov, setting: Setting) -> SmallSample:
    """Return factor and degrees of freedom; for two ways by the smaller number of clusters."""
    numbers = [n_clusters(fit.observed, (name,), setting.groups) for name in vcov.clusters]
    number = jnp.stack(numbers).min()
    return for_clusters(setting.ssc, vcov, fit.counts, number)


def for_kernel(rule: str, counts: Counts) -> SmallSample:
    """Return the rule for Driscoll-Kraay and Newey-West; one period leaves no variance."""
    n, k, periods = counts.observations, parameters(counts), counts.periods
    factor, df = _ratio(periods, periods - 1) * _ratio(n - 1, n - k), periods - 1
    if rule == "linearmodels":
        factor, df = _ratio(n, n - k), n - k
    if rule == "none":
        factor, df = 1.0, jnp.inf
    return SmallSample(jnp.where(periods >= 2, factor, jnp.nan), df)


def default_lags(rule: str, n_periods: int) -> int:
    """Return the lags of a kernel whose name has none.

    floor(4 (T/100)^(2/9)) in linearmodels and in Stata's xtscc, floor(T^(1/4)) in fixest and plm.
    """
    if rule in ("linearmodels", "stata-xtreg", "stata-areg"):
        return min(int(4 * (n_periods / 100) ** (2 / 9)), n_periods - 1)
    return min(int(n_periods**0.25), n_periods - 1)


def not_nested(effects: tuple[str, ...], clusters: tuple[str, ...]) -> tuple[str, ...]:
    """Return the effects that are not constant within clusters, which cost parameters."""
    nests = {"time" if name == "time" else "unit" for name in clusters}
    return tuple(effect for effect in effects if effect not in nests)


def _for_sums(rule: str, counts: Counts, clusters: tuple[str, ...], number: Any) -> Any:
    """Return the factor of CR1."""
    n = counts.observations
    if rule == "none":
        return 1.0
    if rule == "linearmodels":
        nested = len(counts.effects) == 1 and all(
            not not_nested(counts.effects, (name,)) for name in clusters
        )
        return _ratio(n, n - (counts.slopes if nested else parameters(counts)))
    counted = {
        "stata-xtreg": tuple(effect for effect in counts.effects if effect != "unit"),
        "stata-areg": counts.effects,
    }.get(rule, not_nested(counts.effects, clusters))
    return _ratio(number, number - 1) * _ratio(n - 1, n - parameters(counts, counted))


def _ratio(numerator: Any, denominator: Any) -> Any:
    """Return a quotient, infinite where the denominator is 0."""
    return jnp.asarray(numerator, float) / jnp.asarray(denominator, float)
