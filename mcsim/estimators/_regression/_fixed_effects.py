"""Pooled least squares and fixed effects."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Array, Key

from mcsim._core import Estimate, Panel
from mcsim.errors import raise_all
from mcsim.estimators._formula import RegressionFormula, parse_regression
from mcsim.estimators._native import NativeEstimator, names_of, native
from mcsim.estimators._regression._data import read_regression
from mcsim.estimators._regression._linear import check_periods, fit_linear
from mcsim.estimators._variance._inference import infer
from mcsim.estimators._variance._names import faults_of_vcov


def fixed_effects(
    formula: str,
    *,
    term: str | Sequence[str] | None = None,
    estimand: str | None = None,
    vcov: str | Sequence[str] = "CR1",
    cluster: str | Sequence[str] = "unit",
    ssc: str = "fixest-0.13",
) -> NativeEstimator:
    """Regress with unit effects, period effects, or both.

    Examples
    --------
    >>> fixed_effects("lwage ~ union + exper | unit + time", term="union", vcov=["iid", "CR1"])
    fixed_effects('lwage ~ union + exper | unit + time', term='union', vcov=('iid', 'CR1'), cluster='unit', ssc='fixest-0.13')
    """
    parsed = parse_regression(formula)
    terms = names_of(term) if term is not None else parsed.names
    names = names_of(vcov)
    raise_all(faults_of_vcov(names, tuple(names_of(cluster))))
    return native(
        fit_fixed_effects, parsed, term=terms, vcov=names, cluster=names_of(cluster), ssc=ssc
    )


def fit_fixed_effects(
    key: Key[Array, ""] | None, panel: Panel, formula: RegressionFormula, *, term, **inference: Any
) -> dict[tuple[str, str], Estimate]:
    """Least squares on the data less their unit and period means."""
    check_periods(panel.n_periods, formula.effects, str(formula))
    data = read_regression(formula, panel)
    terms = tuple(formula.names.index(name) for name in term)
    fit = fit_linear(data, formula.effects, terms)
    return infer(key, data, fit, panel, term=term, **inference)
