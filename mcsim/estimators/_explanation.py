"""Reasons for which an estimator fails on a panel: values that its formula does not allow."""

from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from mcsim._core.records import Panel
from mcsim.estimators._expression import (
    Apply,
    Expression,
    Name,
    Number,
    Term,
    columns_of,
    evaluate,
    observed_cells,
)
from mcsim.estimators._formula import EFFECTS, RegressionFormula, TreatmentFormula

Cells = Bool[ndarray, "unit period"]
Values = Float[ndarray, "unit period"]

_SHOWN = 3  # values of a treatment, in a sentence


def explain_failure(formula: Any, panel: Panel) -> str:
    """Return the first reason for which an estimator fails on a panel, as a sentence.

    Parameters
    ----------
    formula : Formula
        Of a treatment or a regression; for others there is no explanation.
    panel : Panel
        Numbers, not tracers.

    Returns
    -------
    str
        Empty where the panel shows no reason.

    Examples
    --------
    >>> from mcsim.estimators._parsing import parse_treatment_formula
    >>> panel = Panel({"hours": [30.0, 40.0], "union": [1.0, 0.0]})
    >>> explain_failure(parse_treatment_formula("union ~ hours"), panel)
    "treatment 'hours' must hold 0 and 1, got 30, 40; are outcome and treatment swapped?"
    """
    if isinstance(formula, TreatmentFormula):
        terms = (formula.outcome, *formula.covariates)
        reasons: tuple[Callable[[], Iterator[str]], ...] = (
            lambda: _no_numbers(terms, panel),
            lambda: _of_treatment(formula, panel),
        )
    elif isinstance(formula, RegressionFormula):
        reasons = (
            lambda: _no_numbers(formula.terms, panel),
            lambda: _of_regressors(formula, panel),
        )
    else:
        return ""
    return next((reason for look in reasons for reason in look()), "")


def _no_numbers(terms: tuple[Term, ...], panel: Panel) -> Iterator[str]:
    """Yield the terms that have no value where their columns have one, such as logs of 0."""
    for term in terms:
        names = columns_of(term)
        known = _observed(term, panel)
        for name in names:
            known = known & np.isfinite(_numbers(panel, name))
        failing = known & ~np.isfinite(np.asarray(evaluate(term, panel)))
        if failing.any():
            written = ":".join(map(_written, term))
            lowest = ", ".join(f"{n} = {_numbers(panel, n)[failing].min():g}" for n in names)
            yield (
                f"{written} is no number in {failing.sum():,} of {known.sum():,} rows, as where "
                f"{lowest}; leave these rows out, or transform otherwise"
            )


def _of_treatment(formula: TreatmentFormula, panel: Panel) -> Iterator[str]:
    """Yield the reasons for which a panel has no treated and untreated cells to compare."""
    name, d = formula.treatment, _numbers(panel, formula.treatment)
    seen = _mask(panel) & np.isfinite(d)
    values = np.unique(d[seen])
    if not np.isin(values, (0, 1)).all():
        others = values[~np.isin(values, (0, 1))]
        shown = ", ".join(f"{value:g}" for value in others[:_SHOWN])
        more = ", ..." if len(others) > _SHOWN else ""
        outcome = np.unique(np.asarray(evaluate(formula.outcome, panel))[seen])
        if np.isin(outcome, (0, 1)).all():
            remedy = "are outcome and treatment swapped?"
        elif len(values) == 2:
            remedy = f"make it one, frame[{name!r}] == {values[1]:g}"
        else:
            remedy = "an amount is for regressions such as ols and fixed_effects"
        yield f"treatment {name!r} must hold 0 and 1, got {shown}{more}; {remedy}"
        return
    on = seen & (d == 1)
    if not on.any():
        yield f"nobody is treated: treatment {name!r} is 0 in every row"
    elif not (seen & (d == 0)).any():
        yield f"nobody is untreated: treatment {name!r} is 1 in every row"
    elif panel.n_periods > 1:
        yield from _of_adoption(name, on, seen)


def _of_adoption(name: str, on: Cells, seen: Cells) -> Iterator[str]:
    """Yield the reasons for which a panel shows no change from untreated to treated."""
    ever = on.any(axis=1)
    start = np.where(ever, on.argmax(axis=1), on.shape[1])
    if not (seen & ~on)[ever & (start > 0)].any():
        yield (
            f"no period before treatment: where {name!r} is ever 1, it is 1 in a unit's first "
            "period"
        )
    with_treated = on.any(axis=0)
    if not (seen & ~on)[:, with_treated].any():
        yield f"no control: in every period in which anyone has {name!r} = 1, everyone has"
    after = np.arange(on.shape[1]) >= start[:, None]
    leavers = (seen & after & ~on).any(axis=1).sum()
    if leavers:
        yield (
            f"{leavers:,} of {ever.sum():,} treated units give the treatment {name!r} up (1, later "
            "0), and it must last"
        )


def _of_regressors(formula: RegressionFormula, panel: Panel) -> Iterator[str]:
    """Yield the reasons for which a panel does not identify the coefficients."""
    terms = (*formula.endogenous, *formula.regressors)
    seen = _mask(panel)
    for term in formula.terms:
        seen = seen & _observed(term, panel)
    columns = [np.asarray(evaluate(term, panel)) for term in terms]
    for label, column in zip(formula.names, columns, strict=True):
        yield from _without_variation(label, column, seen, formula.effects)
    effects = [seen.any(axis=1 - EFFECTS.index(effect)).sum() for effect in formula.effects]
    parameters = len(columns) + max(1, sum(effects) - len(effects) + 1)
    if seen.sum() <= parameters:
        yield f"{seen.sum():,} rows are too few for {parameters:,} coefficients and effects"


def _without_variation(
    label: str, column: Values, seen: Cells, effects: tuple[str, ...]
) -> Iterator[str]:
    """Yield the effects, or the constant, that a regressor is a combination of."""
    if _is_constant_along(column, seen, (0, 1)):
        yield f"{label!r} is the same in every row"
    for effect, axis, within in zip(EFFECTS, (1, 0), ("units", "periods"), strict=True):
        if effect in effects and _is_constant_along(column, seen, axis):
            yield (
                f"{label!r} does not vary within {within}, so that the {effect} effects explain "
                "it; leave one of them out"
            )


def _is_constant_along(column: Values, seen: Cells, axis: int | tuple[int, int]) -> bool:
    highest = np.where(seen, column, -np.inf).max(axis=axis)
    lowest = np.where(seen, column, np.inf).min(axis=axis)
    return bool(seen.any() and (highest <= lowest).all())


def _written(factor: Expression) -> str:
    """Write a factor as in a formula."""
    match factor:
        case Name(name):
            return name
        case Number(value):
            return f"{value:g}"
        case Apply("neg", (inner,)):
            return f"-{_written(inner)}"
        case Apply(function, arguments):
            parts = [_written(argument) for argument in arguments]
            named = function.isalpha()
            return f"{function}({', '.join(parts)})" if named else f" {function} ".join(parts)


def _numbers(panel: Panel, name: str) -> Values:
    return np.asarray(panel[name], dtype=float)


def _mask(panel: Panel) -> Cells:
    shape = (panel.n_units, panel.n_periods)
    return np.ones(shape, bool) if panel.mask is None else np.asarray(panel.mask)


def _observed(term: Term, panel: Panel) -> Cells:
    return np.asarray(observed_cells(term, jnp.asarray(_mask(panel)), panel.calendar))
