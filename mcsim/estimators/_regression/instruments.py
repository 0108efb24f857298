"""Instrumental variables, of panels with effects and of cross-sections, and their first stage."""

from typing import Any

import jax.numpy as jnp
from jax.scipy.special import betainc
from jaxtyping import Array, Bool, Float, Key

from mcsim._core.numerics import eigvalsh, solve
from mcsim._core.records import Estimate, Panel
from mcsim.estimators._formula import RegressionFormula
from mcsim.estimators._linear_model.data import Regression
from mcsim.estimators._linear_model.least_squares import LinearFit, fit_linear
from mcsim.estimators._native import NativeEstimator, makes_estimator, statistic
from mcsim.estimators._options import Names
from mcsim.estimators._parsing import parse_regression
from mcsim.estimators._regression.fixed_effects import read_with_effects
from mcsim.estimators._regression.k_class import fit_k_class, instrument, liml_kappa
from mcsim.estimators._regression.regression import (
    SUMS,
    Inference,
    faults_of_parts,
    labels,
    regression,
)
from mcsim.estimators._variance.inference import infer

LABEL = "first_stage_F"
NEGLIGIBLE = 1e-10  # eigenvalue of a correlation matrix, taken as zero


@makes_estimator(version=1)
def iv_2sls(
    formula: str,
    *,
    first_stage: bool = False,
    term: Names | None = None,
    estimand: str | None = None,
    vcov: Names = "HC1",
    cluster: Names = "unit",
    ssc: str = "fixest-0.13",
) -> NativeEstimator:
    """Regress by two-stage least squares, with or without effects.

    Parameters
    ----------
    formula : str
        ``"y ~ w | d ~ z1 + z2"``, or with effects ``"y ~ w | unit + time | d ~ z"``: exogenous
        regressors (``1`` for none), effects, and last the endogenous regressors on their excluded
        instruments. Terms as in `fixed_effects`.
    first_stage : bool
        Also report ``"first_stage_F"``: the Wald statistic of the excluded instruments in the first
        stage over their number, by each of the variances (``"iid"``: the usual F; a robust one is
        the statistic of Kleibergen & Paap), with the p-value of an F distribution. For one
        endogenous regressor.
    term : str or sequence of str, optional
        The coefficients to report; all by default, endogenous regressors first.
    vcov : str or sequence of str
        ``"iid"``, ``"HC0"``, ``"HC1"``, ``"CR0"``, ``"CR1"``, ``"CR1(unit + time)"``, ``"DK(3)"``,
        ``"NW(3)"``: corrections for leverage have no agreed form here.
    estimand, cluster, ssc
        As in `fixed_effects`.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``(term, vcov)``, with
        statuses as in `fixed_effects`: collinear instruments are ``SINGULAR``.

    Raises
    ------
    InputError
        As `fixed_effects`, and for a formula without instruments or with fewer than endogenous
        regressors.

    References
    ----------
    Wooldridge (2010), Econometric Analysis of Cross Section and Panel Data, 2nd ed., chapter 5.
    Kleibergen & Paap (2006), Journal of Econometrics 133: 97-126.

    Examples
    --------
    >>> from mcsim import Panel
    >>> panel = Panel({"y": [1.0, 2.0, 4.0, 5.0], "d": [0.0, 1.0, 1.0, 2.0], "z": [0, 0, 1, 1]})
    >>> estimates = iv_2sls("y ~ 1 | d ~ z", vcov="iid", first_stage=True)(None, panel)
    >>> {label: round(float(estimate.value), 3) for label, estimate in estimates.items()}
    {('d', 'iid'): 3.0, ('first_stage_F', 'iid'): 2.0}
    """
    parsed = parse_regression(formula, own_names=True)
    faults = faults_of_parts(parsed, "iv_2sls", instruments=True)
    faults += _faults_of_first_stage(parsed, first_stage)
    asked = Inference(vcov, cluster, ssc, term, estimand)
    return regression(fit_iv_2sls, parsed, asked, faults, known=SUMS, first_stage=bool(first_stage))


@makes_estimator(version=1)
def liml(
    formula: str,
    *,
    fuller: float = 0.0,
    first_stage: bool = False,
    term: Names | None = None,
    estimand: str | None = None,
    vcov: Names = "HC1",
    cluster: Names = "unit",
    ssc: str = "fixest-0.13",
) -> NativeEstimator:
    """Regress by limited-information maximum likelihood, or by Fuller's estimator.

    With as many instruments as endogenous regressors LIML is `iv_2sls`.

    Parameters
    ----------
    formula : str
        As in `iv_2sls`.
    fuller : float
        Fuller's constant: 1 makes the estimator nearly unbiased and gives it moments, 4 aims at
        the mean squared error; 0 is LIML.
    first_stage, term, estimand, vcov, cluster, ssc
        As in `iv_2sls`. The variances follow linearmodels' IVLIML: kappa is taken as known,
        robust ones sum over projections on the instruments.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``(term, vcov)``, with
        statuses as in `iv_2sls`.

    Raises
    ------
    InputError
        As `iv_2sls`, and for a ``fuller`` below 0.

    References
    ----------
    Anderson & Rubin (1949), Annals of Mathematical Statistics 20: 46-63. Fuller (1977),
    Econometrica 45: 939-953.

    Examples
    --------
    >>> from mcsim import Panel
    >>> columns = {"y": [1.0, 2.0, 4.0, 5.0, 3.5, 3.0], "d": [0.0, 1.0, 1.0, 2.0, 1.5, 1.0]}
    >>> panel = Panel({**columns, "z": [0, 0, 1, 1, 1, 0], "v": [0, 0, 1, 2, 1, 1]})
    >>> estimate = liml("y ~ 1 | d ~ z + v", vcov="iid")(None, panel)["d", "iid"]
    >>> round(float(estimate.value), 3)
    2.482
    """
    parsed = parse_regression(formula, own_names=True)
    faults = faults_of_parts(parsed, "liml", instruments=True)
    faults += _faults_of_first_stage(parsed, first_stage)
    if not (isinstance(fuller, int | float) and 0.0 <= fuller < float("inf")):
        faults.append(f"fuller: got {fuller!r}, expected a number of at least 0, such as 1")
    asked = Inference(vcov, cluster, ssc, term, estimand)
    return regression(
        fit_liml,
        parsed,
        asked,
        faults,
        known=SUMS,
        first_stage=bool(first_stage),
        fuller=fuller,
    )


def fit_iv_2sls(
    key: Key[Array, ""] | None, panel: Panel, formula: RegressionFormula, **options: Any
) -> dict[tuple[str, str], Estimate]:
    """Regress on projections of the regressors on the instruments."""
    return _fit(key, panel, formula, fuller=None, **options)


def fit_liml(
    key: Key[Array, ""] | None, panel: Panel, formula: RegressionFormula, **options: Any
) -> dict[tuple[str, str], Estimate]:
    """Estimate the k-class with the kappa of limited-information maximum likelihood."""
    return _fit(key, panel, formula, **options)


def _fit(
    key: Key[Array, ""] | None,
    panel: Panel,
    formula: RegressionFormula,
    *,
    fuller: float | None,
    first_stage: bool,
    term: tuple[str, ...],
    estimand: str | None,
    vcov: tuple[str, ...],
    ssc: str,
    cluster: tuple[str, ...],
) -> dict[tuple[str, str], Estimate]:
    """Estimate a member of the k-class, and its first stage; kappa is 1 if ``fuller`` is None."""
    data = read_with_effects(formula, panel, ssc)
    effects, terms, names = formula.effects, formula.positions(term), labels(term, estimand)
    design = instrument(data, effects, len(formula.endogenous))
    kappa = None if fuller is None else liml_kappa(design, data, effects, fuller)
    fit = fit_k_class(design, data, effects, terms, kappa)
    of_iid = fit if kappa is None else _with_inverse(fit, terms)
    inference = {"ssc": ssc, "cluster": cluster}
    found = {}
    for name in vcov:
        fit_of_name = of_iid if name == "iid" else fit
        found |= infer(key, data, fit_of_name, panel, term=names, vcov=(name,), **inference)
    estimates = {(label, name): found[label, name] for label in names for name in vcov}
    if first_stage:
        estimates |= first_stage_statistics(key, data, effects, panel, vcov=vcov, **inference)
    return estimates


def _with_inverse(fit: LinearFit, terms: tuple[int, ...]) -> LinearFit:
    """Return the fit with loadings for iid errors: their squares sum to the inverse's diagonal."""
    squares = (fit.loading**2).sum(axis=(1, 2))
    scale = jnp.sqrt(jnp.diagonal(fit.inverse)[jnp.asarray(terms, dtype=int)] / squares)
    return fit._replace(loading=scale[:, None, None] * fit.loading)


def _faults_of_first_stage(formula: RegressionFormula, first_stage: bool) -> list[str]:
    if not first_stage or len(formula.endogenous) <= 1:
        return []
    return [
        f"first_stage: formula {str(formula)!r} has {len(formula.endogenous)} endogenous "
        "regressors, of which one first stage's F is no test; expected one, or first_stage=False"
    ]


def first_stage_statistics(
    key: Key[Array, ""] | None,
    data: Regression,
    effects: tuple[str, ...],
    panel: Panel,
    *,
    vcov: tuple[str, ...],
    **inference: Any,
) -> dict[tuple[str, str], Estimate]:
    """Return the Wald statistic of the instruments over their number, for each variance.

    The one endogenous regressor stands first in ``data.x``.
    """
    n = len(data.z)
    reduced = data._replace(y=data.x[0], x=jnp.concatenate([data.z, data.x[1:]]))
    fit = fit_linear(reduced, effects, tuple(range(n)))
    pairs = [(i, j) for i in range(n) for j in range(i, n)]
    # Covariances follow from variances of sums, under every formula of variances.
    sums = fit._replace(
        coef=jnp.stack([fit.coef[i] if i == j else fit.coef[i] + fit.coef[j] for i, j in pairs]),
        loading=jnp.stack(
            [fit.loading[i] if i == j else fit.loading[i] + fit.loading[j] for i, j in pairs]
        ),
    )
    names = tuple(f"{i} {j}" for i, j in pairs)
    estimates = infer(key, reduced, sums, panel, term=names, vcov=vcov, **inference)
    statistics = {}
    for name in vcov:
        of_name = {pair: estimates[f"{pair[0]} {pair[1]}", name] for pair in pairs}
        statistics[LABEL, name] = _wald(fit.coef, of_name, fit.status)
    return statistics


def _wald(
    coef: Float[Array, " term"], sums: dict[tuple[int, int], Estimate], status: Array
) -> Estimate:
    n = len(coef)
    variance = {pair: estimate.se**2 for pair, estimate in sums.items()}
    for i, j in [pair for pair in variance if pair[0] != pair[1]]:
        variance[i, j] = (variance[i, j] - variance[i, i] - variance[j, j]) / 2.0
        variance[j, i] = variance[i, j]
    matrix = jnp.stack([jnp.stack([variance[i, j] for j in range(n)]) for i in range(n)])
    fine = jnp.isfinite(matrix).all() & _has_full_rank(matrix)
    matrix = jnp.where(fine, matrix, jnp.eye(n))
    value = coef @ solve(matrix, coef) / n
    df = sums[0, 0].df
    tail = betainc(df / 2.0, n / 2.0, df / (df + n * value))
    return statistic(jnp.where(fine, value, jnp.nan), status, p_value=tail)


def _has_full_rank(matrix: Float[Array, "term term"]) -> Bool[Array, ""]:
    """Return whether a variance has an inverse: it has none for more terms than clusters - 1."""
    scale = jnp.sqrt(jnp.abs(jnp.diagonal(matrix)))
    scaled = matrix / jnp.outer(scale, scale)
    values = eigvalsh(jnp.where(jnp.isfinite(scaled), scaled, 0.0))
    return jnp.abs(values).min() > NEGLIGIBLE
