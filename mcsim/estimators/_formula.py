"""Formulas of a treatment or a regression, parsed: their columns, effects and dummies.

A nominal column of the panel enters as dummies of its categories, coded as R codes factors. A
category loses its first level if the formula has the term without it (the constant always is
there). It keeps all levels otherwise, as in ``y ~ x:g``, which has a slope in every group.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from mcsim._core.records import Panel
from mcsim.errors import InputError, did_you_mean, raise_all
from mcsim.estimators._expression import Apply, Expression, Name, Number, Term, columns_of

EFFECTS = ("unit", "time")
"""The fixed effects that a regression may have."""

_AXIS = "; it is one of its axes, whose effects a method has or not, and no covariate"

INTERCEPT = "Intercept"
"""The name of the constant's coefficient."""


@dataclass(frozen=True)
class TreatmentFormula:
    """``outcome ~ treatment | covariates``, parsed.

    Attributes
    ----------
    text : str
        The formula in canonical form: products written out, every term once.
    outcome : Term
        The outcome, one factor.
    treatment : str
        The column that is 1 for treated units and 0 for controls.
    covariates : tuple of Term
        The covariates, without an intercept.
    """

    text: str
    outcome: Term
    treatment: str
    covariates: tuple[Term, ...] = ()

    def __str__(self) -> str:
        return self.text

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the formula uses, each once."""
        names = (name for term in (self.outcome, *self.covariates) for name in columns_of(term))
        return tuple(dict.fromkeys((self.treatment, *names)))


@dataclass(frozen=True)
class RegressionFormula:
    """``outcome ~ regressors | effects | endogenous ~ instruments``, parsed.

    Attributes
    ----------
    text : str
        The formula in canonical form.
    outcome : Term
        The outcome, one factor.
    names : tuple of str
        The coefficients, as their terms are written: of the endogenous regressors, then of the
        exogenous ones.
    regressors, endogenous, instruments : tuple of Term
        Exogenous regressors (without the constant), endogenous ones, excluded instruments.
    effects : tuple of str
        The fixed effects: ``"unit"``, ``"time"``, or names of the user's own index, which
        `with_axes` translates where the schema is known.
    """

    text: str
    outcome: Term
    names: tuple[str, ...]
    regressors: tuple[Term, ...]
    effects: tuple[str, ...] = ()
    endogenous: tuple[Term, ...] = ()
    instruments: tuple[Term, ...] = ()

    def __str__(self) -> str:
        return self.text

    @property
    def terms(self) -> tuple[Term, ...]:
        """Every term, the outcome first."""
        return (self.outcome, *self.endogenous, *self.regressors, *self.instruments)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the formula uses, each once."""
        return tuple(dict.fromkeys(name for term in self.terms for name in columns_of(term)))

    @property
    def own_effects(self) -> tuple[str, ...]:
        """The effects that have the user's names of the axes."""
        return tuple(effect for effect in self.effects if effect not in EFFECTS)

    def positions(self, names: tuple[str, ...]) -> tuple[int, ...]:
        """Return the positions of coefficients by name; the constant comes after the last."""
        known = (*self.names, INTERCEPT)
        return tuple(known.index(name) for name in names)


def check_columns(names: Iterable[str], panel: Panel) -> None:
    """Raise one InputError for all the columns that the panel does not have."""
    raise_all(
        [
            f"column {name!r} of the formula is not in the panel"
            + (_AXIS if name in EFFECTS else did_you_mean(name, panel))
            for name in names
            if name not in panel
        ]
    )


def in_order(effects: Sequence[str]) -> tuple[str, ...]:
    """Return effects with ``unit`` before ``time``; the user's names in the formula's order."""
    if set(effects) <= set(EFFECTS):
        return tuple(effect for effect in EFFECTS if effect in effects)
    return tuple(effects)


def with_axes(formula: Any, unit: str, time: str) -> Any:
    """Return a formula whose effects are ``unit`` and ``time``, given the user's names of the axes.

    Raises
    ------
    InputError
        For an effect that is neither.
    """
    if not isinstance(formula, RegressionFormula) or not formula.own_effects:
        return formula
    axes = {unit: "unit", time: "time"} | {name: name for name in EFFECTS}
    known = (unit, time)
    raise_all(
        [
            f"formula {str(formula)!r}: {effect!r} is not a fixed effect, expected "
            f"{' or '.join(known)} (the panel's own axes; unit and time will do)"
            f"{did_you_mean(effect, known)}; effects of another column are its dummies"
            for effect in formula.own_effects
            if effect not in axes
        ]
    )
    return replace(formula, effects=in_order([axes[effect] for effect in formula.effects]))


def require_axes(formula: RegressionFormula) -> None:
    """Raise if effects have the user's names of the axes, which only a schema can translate."""
    if formula.own_effects:
        raise InputError(
            f"formula {str(formula)!r}: the effects {' and '.join(formula.own_effects)} are not "
            "known here; write 'y ~ x | unit + time', or give the schema of the data (schema=) too"
        )


Nominal = Mapping[str, int | None]
"""The nominal columns of a panel, with the number of their categories, or None if it is unknown."""

DummyNames = Mapping[str, tuple[str, ...]]
"""The coefficients of dummies by the name of their column: ``("g[1]", "g[2]")`` of ``"g"``."""


def with_dummies(formula: Any, nominal: Nominal) -> tuple[Any, DummyNames]:
    """Return a formula with dummies in place of nominal columns, and the names of coefficients.

    Parameters
    ----------
    formula : RegressionFormula or TreatmentFormula
        Returned as it is if it has no nominal column.
    nominal : mapping of str to int or None
        The nominal columns of the panel.

    Raises
    ------
    InputError
        For a nominal column whose categories are not known, or in the place of a number: as
        outcome, treatment or endogenous regressor, or within a function.
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
    """Return the faults of categorical columns in places where no dummies are made."""
    return [
        f"formula {str(formula)!r}: {name!r} is categorical; make a 0/1 column of each level but "
        "one, for instance with pandas.get_dummies"
        for name in dict.fromkeys(columns)
    ]


def spread(terms: Sequence[str], names: DummyNames) -> tuple[str, ...]:
    """Return the names of coefficients, with dummies in the place of their column."""
    return tuple(own for term in terms for own in names.get(term, (term,)))


def _regression_with_dummies(
    formula: RegressionFormula, nominal: Nominal
) -> tuple[RegressionFormula, DummyNames]:
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
