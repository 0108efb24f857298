"""Two-way fixed effects of a treatment: one coefficient, or one for each period of exposure."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from mcsim._core import Estimate, Panel, Status
from mcsim._precision import require_float64
from mcsim.estimators._did._adoption import (
    BOTH,
    Adoption,
    read_adoption,
    read_treatment,
)
from mcsim.estimators._did._influence import label
from mcsim.estimators._formula import (
    TreatmentFormula,
    check_columns,
    parse_treatment_formula,
)
from mcsim.estimators._linear_model._data import Regression
from mcsim.estimators._linear_model._least_squares import LinearFit, fit_linear
from mcsim.estimators._variance._inference import infer


def fit_did(
    key: Key[Array, ""] | None, panel: Panel, formula: TreatmentFormula, **inference: Any
) -> dict[tuple[str, str], Estimate]:
    """Least squares on treatment, covariates, unit and period effects."""
    data = read_treatment(formula, panel)
    fit = fit_linear(data, BOTH, (0,))
    return infer(key, data, fit, panel, term=("att",), **inference)


def fit_event_study(
    key: Key[Array, ""] | None,
    panel: Panel,
    formula: TreatmentFormula,
    *,
    leads: int,
    lags: int,
    reference: tuple[int, ...],
    ends: str,
    **inference: Any,
) -> dict[tuple[str, str], Estimate]:
    """Least squares on a dummy for each event time but the reference, and on the effects."""
    adoption = read_adoption(formula, panel)
    times = tuple(e for e in range(-leads, lags + 1) if e not in reference)
    data = _with_dummies(adoption, leads, lags, times, ends)
    fit = fit_linear(data, BOTH, tuple(range(len(times))))
    fit = _with_average(fit, tuple(k for k, e in enumerate(times) if e >= 0))
    return infer(key, data, fit, panel, term=(*map(label, times), "att"), **inference)


def twfe_weights(panel: Panel, formula: str) -> Float[Array, "unit period"]:
    """Return the weights that the two-way fixed effects coefficient gives to cells' effects.

    The coefficient that `did` estimates is, but for noise and trends that differ, the sum of these
    weights times the treatment effects in the cells. They sum to one over the treated cells; where
    adoption is staggered some may be negative, and the coefficient may then have the wrong sign
    though every effect has the same.

    Parameters
    ----------
    panel : Panel
        The data; a pure function of them, which may be jitted and vmapped.
    formula : str
        As for `did`: ``"outcome ~ treatment"``, covariates after ``|``. The outcome has no part in
        the weights.

    Returns
    -------
    array (unit, period)
        0 in untreated and in unobserved cells; NaN where the coefficient is not identified.

    Raises
    ------
    InputError
        For a formula that cannot be parsed, an unknown column, or a panel of one period.

    References
    ----------
    de Chaisemartin & D'Haultfoeuille (2020), American Economic Review 110: 2964-2996, theorem 1.

    Examples
    --------
    In the last period the early adopter serves as a control of the late ones, and its effect there
    counts negatively.

    >>> d = [[0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 1]]
    >>> twfe_weights(Panel({"y": d, "d": d}), "y ~ d").round(3).tolist()
    [[0.0, 0.5, 0.5, -0.5], [0.0, 0.0, 0.0, 0.25], [0.0, 0.0, 0.0, 0.25]]
    """
    require_float64("twfe_weights")
    parsed = parse_treatment_formula(formula)
    check_columns(parsed.columns, panel)
    data = read_treatment(parsed, panel)
    fit = fit_linear(data, BOTH, (0,))
    treated = data.x[0] == 1
    return jnp.where(fit.status == Status.OK, jnp.where(treated, fit.loading[0], 0.0), jnp.nan)


def _with_dummies(
    adoption: Adoption, leads: int, lags: int, times: tuple[int, ...], ends: str
) -> Regression:
    """Put a dummy of each event time in the treatment's place; the ends are treated as asked."""
    data = adoption.data
    n_periods = data.shape[1]
    event = jnp.arange(n_periods) - adoption.start[:, None]
    ever = (adoption.start < n_periods)[:, None]
    inside = ~ever | ((event >= -leads) & (event <= lags))
    if ends == "binned":
        event = jnp.clip(event, -leads, lags)
    dummies = jnp.stack([adoption.seen * (ever & (event == e)) for e in times])
    columns = jnp.concatenate([dummies, data.x[1:]])
    data = data._replace(x=columns, status=adoption.status)
    if ends == "dropped":
        data = data._replace(y=data.y * inside, x=columns * inside, weight=adoption.seen * inside)
    return data


def _with_average(fit: LinearFit, post: tuple[int, ...]) -> LinearFit:
    """Append the mean of some coefficients, which is a coefficient like them."""
    chosen = jnp.asarray(post)
    return fit._replace(
        coef=jnp.append(fit.coef, fit.coef[chosen].mean()),
        loading=jnp.concatenate([fit.loading, fit.loading[chosen].mean(axis=0)[None]]),
    )
