"""Random effects: generalized least squares with variance components of Swamy & Arora."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from mcsim._core.records import Estimate, Panel
from mcsim.estimators._formula import RegressionFormula
from mcsim.estimators._linear_model.data import (
    Cells,
    Columns,
    Regression,
    generalized_inverse,
    quasi_demeaned,
    read_regression,
    unit_means,
)
from mcsim.estimators._linear_model.least_squares import (
    EXPLAINED,
    absorb_all,
    combine,
    fit_linear,
    products,
)
from mcsim.estimators._native import NativeEstimator, makes_estimator, statistic, worst
from mcsim.estimators._options import Names
from mcsim.estimators._parsing import parse_regression
from mcsim.estimators._regression.regression import (
    REFITTED,
    Inference,
    Resampling,
    faults_of_parts,
    labels,
    regression,
)
from mcsim.estimators._variance.inference import infer


class Components(NamedTuple):
    """Variance components of the error.

    Attributes
    ----------
    sigma2_u, sigma2_e : array ()
        Variances of the unit effects (at least 0) and of the rest.
    theta : array (unit, 1)
        Share of its means that is subtracted from each unit's data.
    status : int array ()
        ``INVALID_INPUT`` where degrees of freedom are missing.
    """

    sigma2_u: Float[Array, ""]
    sigma2_e: Float[Array, ""]
    theta: Float[Array, "unit 1"]
    status: Int[Array, ""]


@makes_estimator(version=1)
def random_effects(
    formula: str,
    *,
    components: bool = False,
    term: Names | None = None,
    estimand: str | None = None,
    vcov: Names = "CR1",
    cluster: Names = "unit",
    ssc: str = "fixest-0.13",
    null: float | None = None,
    level: float | None = None,
    resamples: int = 999,
) -> NativeEstimator:
    """Regress with random unit effects, uncorrelated with the regressors.

    The variance of the cells comes from the within regression. The variance of the unit effects
    comes from the between regression, less the cells' variance over the harmonic mean of the
    numbers of periods: as in Stata's xtreg and linearmodels' RandomEffects, and in balanced panels
    in plm. Degrees of freedom count the coefficients that each of the two regressions identifies.

    Parameters
    ----------
    formula : str
        ``"y ~ x1 + x2"``, with terms as in `fixed_effects`; some may be constant within units.
    components : bool
        Also report ``"sigma_u"``, ``"sigma_e"`` (standard deviations of unit effects and of the
        rest) and ``"theta"`` (the share of the means that is subtracted, averaged over units),
        under the inference ``"none"``.
    term : str or sequence of str, optional
        The coefficients to report; by default all but the constant, whose name is ``"Intercept"``.
    estimand, vcov, cluster, ssc, resamples, null, level
        As in `fixed_effects`; there is no ``"RI"``. The components are taken as known.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``(term, vcov)``, with
        statuses as in `fixed_effects`; too few units or periods are ``INVALID_INPUT``.

    Raises
    ------
    InputError
        As `fixed_effects`, and for a formula with effects, or one period.

    References
    ----------
    Swamy & Arora (1972), Econometrica 40: 261-275. Wooldridge (2010), Econometric Analysis of Cross
    Section and Panel Data, 2nd ed., section 10.4.

    Examples
    --------
    >>> from mcsim import Panel
    >>> x = [[1.0, 2.0, 4.0], [3.0, 1.0, 2.0], [0.0, 2.0, 1.0], [2.0, 5.0, 3.0]]
    >>> y = [[1.5, 2.0, 4.5], [4.0, 2.5, 2.5], [0.0, 1.0, 2.0], [3.5, 6.0, 4.5]]
    >>> estimates = random_effects("y ~ x", components=True)(None, Panel({"y": y, "x": x}))
    >>> [round(float(estimates[label].value), 3) for label in [("x", "CR1"), ("theta", "none")]]
    [1.036, 0.19]
    """
    parsed = parse_regression(formula, own_names=True)
    remedy = "they are random here; use fixed_effects for fixed ones"
    faults = faults_of_parts(parsed, "random_effects", effects=remedy)
    if not parsed.regressors:
        faults.append(
            f"formula {str(parsed)!r}: it has no regressor; write 'y ~ x', or use between"
        )
    asked = Inference(vcov, cluster, ssc, term, estimand, Resampling(resamples, null, level))
    return regression(
        fit_random_effects,
        parsed,
        asked,
        faults,
        known=REFITTED,
        constant=True,
        components=bool(components),
    )


def fit_random_effects(
    key: Key[Array, ""] | None,
    panel: Panel,
    formula: RegressionFormula,
    *,
    term: tuple[str, ...],
    estimand: str | None,
    components: bool,
    **inference: Any,
) -> dict[tuple[str, str], Estimate]:
    """Regress on the data and the constant, less a share of their unit means."""
    data = read_regression(formula, panel)
    error = swamy_arora(data)
    with_constant = data._replace(
        x=jnp.concatenate([data.x, data.observed[None]]), status=error.status
    )
    partly = quasi_demeaned(with_constant, error.theta)
    fit = fit_linear(partly, (), formula.positions(term), constant=False)
    estimates = infer(key, partly, fit, panel, term=labels(term, estimand), **inference)
    return estimates | (_reported(error, fit.status) if components else {})


def swamy_arora(data: Regression) -> Components:
    """Estimate the variance components from the within and the between regression."""
    means = unit_means(data)
    n_cells = data.observed.sum(axis=1, keepdims=True)
    present = n_cells > 0
    n_units = present.sum()
    within, rank = _unexplained(data, ("unit",))
    between, rank_of_means = _unexplained(means, ())
    df = n_cells.sum() - n_units - rank
    df_of_means = n_units - rank_of_means - 1
    harmonic = n_units / jnp.where(present, 1.0 / jnp.maximum(n_cells, 1.0), 0.0).sum()
    sigma2_e = within / df
    sigma2_u = jnp.maximum(between / df_of_means - sigma2_e / harmonic, 0.0)
    return Components(
        sigma2_u=sigma2_u,
        sigma2_e=sigma2_e,
        theta=1.0 - jnp.sqrt(sigma2_e / (n_cells * sigma2_u + sigma2_e)),
        status=worst(data.status, (df <= 0) | (df_of_means <= 0), False),
    )


def _unexplained(
    data: Regression, effects: tuple[str, ...]
) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """Return the sum of squared residuals and the rank, leaving out redundant regressors."""
    x = absorb_all(data.x, effects, data.weight)
    y: Cells = absorb_all(data.y[None], effects, data.weight)[0]
    x = _varying(x, data.x)
    inverse = generalized_inverse(products(x, x))
    residual = y - combine(inverse @ products(x, y[None])[:, 0], x)
    residual = residual - combine(inverse @ products(x, residual[None])[:, 0], x)
    return (residual**2).sum(), (jnp.diagonal(inverse) > 0).sum()


def _varying(left: Columns, x: Columns) -> Columns:
    """Return columns after absorbing, with 0 for columns of rounding errors."""
    share = (left**2).sum(axis=(1, 2)) > EXPLAINED * (x**2).sum(axis=(1, 2))
    return jnp.where(share[:, None, None], left, 0.0)


def _reported(error: Components, status: Int[Array, ""]) -> dict[tuple[str, str], Estimate]:
    """Return the components as estimates without standard errors."""
    present = error.theta > 0
    theta = jnp.where(present, error.theta, 0.0).sum() / jnp.maximum(present.sum(), 1)
    values = {
        "sigma_u": jnp.sqrt(error.sigma2_u),
        "sigma_e": jnp.sqrt(error.sigma2_e),
        "theta": theta,
    }
    return {(name, "none"): statistic(value, status) for name, value in values.items()}
