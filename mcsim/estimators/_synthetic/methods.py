"""The synthetic estimators of the effect on the treated, and their variances.

The variances are algorithms 2 to 4 of Arkhangelsky, Athey, Hirshberg, Imbens & Wager (2021), and
the jackknife with weights fitted anew, with which the jackknife's coverage in their Table 4 agrees
(algorithm 3, which keeps the weights, does not agree).
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from mcsim._core.checks import at_least, faults_of_value, one_of, plain
from mcsim._core.records import Estimate, Panel
from mcsim.estimators._formula import TreatmentFormula
from mcsim.estimators._native import (
    Fit,
    NativeEstimator,
    Numerics,
    Variance,
    estimates_of,
    makes_estimator,
    statistic,
    worst,
)
from mcsim.estimators._options import native_of_treatment
from mcsim.estimators._synthetic.effect import (
    Block,
    Effect,
    Weighting,
    block_of,
    effect_of,
    problem_of,
)
from mcsim.estimators._variance.names import key_of

Refit = Callable[[Array, Array], Effect]
"""``refit(treated, control)``: the effect for counts of units."""

Squared = Float[Array, ""]
"""A variance, in squared units of the outcome; NaN where it is not defined."""


_VARIANCES = ("placebo", "jackknife", "bootstrap", "jackknife:refit")
_NONE = "none"
_SOLVERS = ("active-set", "aahiw2021")

_SDID = Weighting(ridge=True, intercept=True, periods="fitted")
_SC = Weighting(ridge=False, intercept=False, periods="none")
_DIFP = Weighting(ridge=False, intercept=True, periods="uniform")


@makes_estimator(version=1)
def synthetic_did(
    formula: str,
    *,
    vcov: str | Sequence[str] = "placebo",
    resamples: int = 200,
    solver: str = "active-set",
) -> NativeEstimator:
    """Estimate the effect on a treated block by synthetic difference in differences.

    Weighted controls run parallel to the treated units before treatment, and weighted
    pre-treatment periods predict the controls' post-treatment mean; the effect is the difference
    in differences with these weights. Unit weights have a ridge of ``(N1 T1)^(1/4)`` times the
    standard deviation of the controls' first differences before treatment.

    Parameters
    ----------
    formula : str
        ``"outcome ~ treatment"``: the treatment is 1 for the treated units from the period on in
        which all of them start, else 0.
    vcov : str or sequence of str
        ``"placebo"`` (controls take the place of the treated; supposes the same noise in both),
        or, with two treated units at least, ``"bootstrap"`` (of units), ``"jackknife"`` (weights
        fixed, no refits), ``"jackknife:refit"``; all use the normal distribution. ``"none"`` leaves
        the standard error out.
    resamples : int
        Draws of the placebo and the bootstrap, as many as in the authors' package by default: each
        is a fit of its own, where regressions resample with one product of matrices.
    solver : {"active-set", "aahiw2021"}
        The exact weights, or the weights of the authors' Frank-Wolfe algorithm with its early stop
        and its rule that sets small weights to zero.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``("att", vcov)``. Without a
        block, a control, a treated unit or two periods before treatment the status is
        ``INVALID_INPUT``; a variance that is not defined leaves the value.

    Raises
    ------
    InputError
        For a formula that cannot be parsed or has covariates, an unknown variance or solver, or
        ``resamples`` below 2; when called, for an unbalanced panel, or without a key where one is
        needed.

    References
    ----------
    Arkhangelsky, Athey, Hirshberg, Imbens & Wager (2021), American Economic Review 111: 4088-4118,
    algorithms 1 to 4.

    Examples
    --------
    >>> from mcsim import Panel
    >>> trend = [[1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 2.0, 2.0], [1.0, 3.0, 5.0, 8.0]]
    >>> treated = [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    >>> panel = Panel({"y": trend, "d": treated})
    >>> estimate = synthetic_did("y ~ d", vcov="jackknife")(None, panel)["att", "jackknife"]
    >>> round(float(estimate.value), 3)
    2.0
    """
    return _configure(fit_synthetic_did, formula, vcov, resamples, solver)


@makes_estimator(version=1)
def synthetic_control(
    formula: str,
    *,
    vcov: str | Sequence[str] = "placebo",
    resamples: int = 200,
    solver: str = "active-set",
) -> NativeEstimator:
    """Estimate the effect on a treated block by synthetic control.

    Weighted controls follow the treated units before treatment, in levels; the effect is the
    difference after. Among weights that fit alike, the smallest are taken.

    Parameters
    ----------
    formula, vcov, resamples, solver
        As in `synthetic_did`. The jackknife with fixed weights is far too wide here.

    Returns
    -------
    NativeEstimator
        As `synthetic_did`.

    Raises
    ------
    InputError
        As `synthetic_did`.

    References
    ----------
    Abadie, Diamond & Hainmueller (2010), Journal of the American Statistical Association 105:
    493-505, without covariates.

    Examples
    --------
    >>> from mcsim import Panel
    >>> trend = [[1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 2.0, 2.0], [1.5, 2.0, 2.5, 8.0]]
    >>> treated = [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    >>> panel = Panel({"y": trend, "d": treated})
    >>> estimate = synthetic_control("y ~ d", vcov="jackknife")(None, panel)["att", "jackknife"]
    >>> round(float(estimate.value), 3)
    5.0
    """
    return _configure(fit_synthetic_control, formula, vcov, resamples, solver)


@makes_estimator(version=1)
def difp(
    formula: str,
    *,
    vcov: str | Sequence[str] = "placebo",
    resamples: int = 200,
    solver: str = "active-set",
) -> NativeEstimator:
    """Estimate the effect on a treated block by demeaned synthetic control.

    Weighted controls run parallel to the treated units before treatment; the effect is the
    difference in differences to the unweighted pre-treatment mean. Among weights that fit alike,
    the smallest are taken.

    Parameters
    ----------
    formula, vcov, resamples, solver
        As in `synthetic_did`. The jackknife with fixed weights is far too wide here.

    Returns
    -------
    NativeEstimator
        As `synthetic_did`.

    Raises
    ------
    InputError
        As `synthetic_did`.

    References
    ----------
    Doudchenko & Imbens (2016), NBER working paper 22791. Ferman & Pinto (2021), Quantitative
    Economics 12: 1197-1221.

    Examples
    --------
    >>> from mcsim import Panel
    >>> trend = [[1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 2.0, 2.0], [11.0, 11.5, 12.0, 18.0]]
    >>> treated = [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    >>> panel = Panel({"y": trend, "d": treated})
    >>> estimate = difp("y ~ d", vcov="jackknife")(None, panel)["att", "jackknife"]
    >>> round(float(estimate.value), 3)
    5.5
    """
    return _configure(fit_difp, formula, vcov, resamples, solver)


def fit_synthetic_did(
    key: Key[Array, ""] | None, panel: Panel, formula: TreatmentFormula, **options: Any
) -> dict[tuple[str, str], Estimate]:
    """Fit with unit and period weights."""
    return _fit(key, panel, formula, _SDID, **options)


def fit_synthetic_control(
    key: Key[Array, ""] | None, panel: Panel, formula: TreatmentFormula, **options: Any
) -> dict[tuple[str, str], Estimate]:
    """Fit with unit weights that match levels."""
    return _fit(key, panel, formula, _SC, **options)


def fit_difp(
    key: Key[Array, ""] | None, panel: Panel, formula: TreatmentFormula, **options: Any
) -> dict[tuple[str, str], Estimate]:
    """Fit with unit weights that match trends."""
    return _fit(key, panel, formula, _DIFP, **options)


def _fit(key, panel, formula, weighting: Weighting, *, vcov, resamples, solver):
    """Estimate the effect, and again for each resample of each variance."""
    block = block_of(formula, panel)
    problem = problem_of(block, weighting)

    def refit(treated, control):
        return effect_of(problem, treated, control, weighting, solver)

    effect = refit(block.treated, block.control)
    status = worst(block.status, False, False, effect.converged)
    variances: dict[str, Callable[[str], Array]] = {
        "placebo": lambda name: placebo(refit, block, key_of(key, name), resamples),
        "bootstrap": lambda name: bootstrap(refit, block, key_of(key, name), resamples),
        "jackknife": lambda name: jackknife(effect, block),
        "jackknife:refit": lambda name: refitted_jackknife(refit, block),
    }
    estimates = {}
    for name in vcov:
        if name == _NONE:
            estimates["att", name] = statistic(effect.value, status)
        else:
            known = {name: Variance(variances[name](name))}
            estimates |= estimates_of(Fit(effect.value, known, status), "att")
    return estimates


def _configure(
    fit: Numerics, formula: str, vcov: str | Sequence[str], resamples: Any, solver: Any
) -> NativeEstimator:
    """Return the estimator of a synthetic method."""
    faults = faults_of_value("solver", solver, one_of(*_SOLVERS))
    faults += faults_of_value("resamples", resamples, at_least(2))
    return native_of_treatment(
        fit,
        formula,
        vcov,
        (*_VARIANCES, _NONE),
        faults,
        covariates="none",
        otherwise=", with an outcome adjusted beforehand",
        resamples=plain(resamples),
        solver=solver,
    )


def bootstrap(refit: Refit, block: Block, key: Key[Array, ""], resamples: int) -> Squared:
    """Return the variance over resampled units, weights refitted; NaN with one treated unit."""

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
    """Return the variance over placebo treatments of controls; NaN with too few controls."""
    n1 = block.treated.sum().astype(int)

    def replicate(key: Key[Array, ""]) -> Effect:
        order = jnp.where(block.control > 0, jax.random.uniform(key, block.control.shape), 2.0)
        last = jnp.sort(order)[n1 - 1]
        treated = block.control * (order <= last)
        return refit(treated, block.control - treated)

    enough = block.control.sum() > block.treated.sum()
    return _defined(enough, _variance(replicate, key, resamples))


def jackknife(effect: Effect, block: Block) -> Squared:
    """Return the jackknife variance over units, weights kept; NaN with one treated unit."""
    n1, n = block.treated.sum(), block.treated.size
    treated_mean, control_mean = block.treated @ effect.change / n1, effect.units @ effect.change
    without_treated = (n1 * treated_mean - effect.change) / (n1 - 1.0) - control_mean
    rest = 1.0 - effect.units
    without_control = treated_mean - (control_mean - effect.units * effect.change) / rest
    values = jnp.where(block.treated > 0, without_treated, without_control)
    defined = (n1 > 1) & (rest > 0).all()
    return _defined(defined, (n - 1) / n * ((values - values.mean()) ** 2).sum())


def refitted_jackknife(refit: Refit, block: Block) -> Squared:
    """Return the jackknife variance over units, weights refitted; NaN with one unit in an arm."""
    n = block.treated.size

    def without(unit: Array) -> Effect:
        kept = (jnp.arange(n) != unit).astype(float)
        return refit(kept * block.treated, kept * block.control)

    effects = lax.map(without, jnp.arange(n))
    defined = (block.treated.sum() > 1) & (block.control.sum() > 1) & effects.converged.all()
    return _defined(defined, (n - 1) * jnp.var(effects.value))


def _variance(replicate: Callable[[Array], Effect], key: Key[Array, ""], resamples: int) -> Squared:
    """Return the variance (divisor n) of the effect over replicates; NaN if one of them failed."""
    effects = lax.map(replicate, jax.random.split(key, resamples))
    return jnp.where(effects.converged.all(), jnp.var(effects.value), jnp.nan)


def _defined(condition: Array, variance: Squared) -> Squared:
    return jnp.where(condition, variance, jnp.nan)
