"""Nominal columns in formulas: dummies of their categories, coded as R codes factors.

A category loses its first level where the term without it is in the formula (the constant always
is), and keeps all of them elsewhere, as in ``y ~ x:g``, which has a slope in every group.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from mcsim.errors import raise_all
from mcsim.estimators._expression import Apply, Expression, Name, Number, Term, columns_of
from mcsim.estimators._formula import RegressionFormula, TreatmentFormula

Nominal = Mapping[str, int | None]
"""The nominal columns of a panel, with the number of their categories where it is known."""

Names = Mapping[str, tuple[str, ...]]
"""The coefficients in the place of one: ``"g[1]"`` and ``"g[2]"`` in that of ``"g"``."""


def with_dummies(formula: Any, nominal: Nominal) -> tuple[Any, Names]:
    """Return a formula with dummies in place of nominal columns, and the names of coefficients.

    Parameters
    ----------
    formula : RegressionFormula or TreatmentFormula
        Returned as it is if it has no nominal column.
    nominal : mapping of str to int or None
        Of the panel that the formula is for.

    Raises
    ------
    InputError
        For a nominal column whose categories are not known, or that stands where numbers must: as
        outcome or treatment, endogenous, or within a function.
    """
    if not set(formula.columns).intersection(nominal):
        return formula, {}
    if isinstance(formula, TreatmentFormula):
        numbers, right = (*columns_of(formula.outcome), formula.treatment), formula.covariates
        raise_all(faults_of_categories(formula, _refused(numbers, right, nominal)))
        covariates = [own for term in right for own, _ in _dummies(term, right, nominal)]
        return replace(formula, covariates=tuple(covariates)), {}
    numbers = [name for term in (formula.outcome, *formula.endogenous) for name in columns_of(term)]
    right = (*formula.regressors, *formula.instruments)
    raise_all(faults_of_categories(formula, _refused(numbers, right, nominal)))
    return _regression_with_dummies(formula, nominal)


def faults_of_categories(formula: Any, columns: Iterable[str]) -> list[str]:
    """Say of columns that they are categories, where a formula makes no dummies of them."""
    return [
        f"formula {str(formula)!r}: {name!r} is categorical; make a 0/1 column of each level but "
        "one, for instance with pandas.get_dummies"
        for name in dict.fromkeys(columns)
    ]


def spread(terms: Sequence[str], names: Names) -> tuple[str, ...]:
    """Return coefficients by name, dummies in the place of their column."""
    return tuple(own for term in terms for own in names.get(term, (term,)))


def _regression_with_dummies(
    formula: RegressionFormula, nominal: Nominal
) -> tuple[RegressionFormula, Names]:
    kept = len(formula.endogenous)
    regressors, names = [], {}
    for text, term in zip(formula.names[kept:], formula.regressors, strict=True):
        dummies = _dummies(term, formula.regressors, nominal)
        regressors += [own for own, _ in dummies]
        names[text] = tuple(_name(text, levels) for _, levels in dummies)
    margins = (*formula.regressors, *formula.instruments)
    instruments = [
        own for term in formula.instruments for own, _ in _dummies(term, margins, nominal)
    ]
    expanded = replace(
        formula,
        names=(*formula.names[:kept], *spread(formula.names[kept:], names)),
        regressors=tuple(regressors),
        instruments=tuple(instruments),
    )
    return expanded, names


def _refused(numbers: Iterable[str], right: tuple[Term, ...], nominal: Nominal) -> list[str]:
    """Return the nominal columns that cannot become dummies where they stand."""
    within = [
        name
        for term in right
        for factor in term
        for name in columns_of((factor,))
        if not isinstance(factor, Name) or nominal.get(name, 0) is None
    ]
    return [name for name in (*numbers, *within) if name in nominal]


def _dummies(
    term: Term, margins: tuple[Term, ...], nominal: Nominal
) -> list[tuple[Term, tuple[int | None, ...]]]:
    """Return the term for each combination of categories, with the level of each factor."""
    known = {frozenset(), *map(frozenset, margins)}
    levels: list[Iterable[int | None]] = []
    for factor in term:
        if isinstance(factor, Name) and (number := nominal.get(factor.name)) is not None:
            levels.append(range(frozenset(term) - {factor} in known, number))
        else:
            levels.append([None])
    return [
        (tuple(map(_dummy, term, combination)), combination) for combination in product(*levels)
    ]


def _dummy(factor: Expression, level: int | None) -> Expression:
    return factor if level is None else Apply("level", (factor, Number(level)))


def _name(text: str, levels: tuple[int | None, ...]) -> str:
    """Write ``x:g`` with its level as ``x:g[2]``."""
    marks = ["" if level is None else f"[{level}]" for level in levels]
    factors = text.split(":")
    if len(factors) != len(marks):
        return text + "".join(marks)
    return ":".join(factor + mark for factor, mark in zip(factors, marks, strict=True))
