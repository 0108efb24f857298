"""Formulas as econometricians write them, parsed once: of a treatment, or of a regression."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mcsim._core.records import Panel
from mcsim.errors import InputError, did_you_mean, raise_all
from mcsim.estimators._expression import Term, columns_of
from mcsim.estimators._parsing import is_column, split_formula, whitelisted

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


def parse_treatment_formula(text: str) -> TreatmentFormula:
    """Parse ``"outcome ~ treatment | covariate + covariate"``; the covariates may be left out.

    Parameters
    ----------
    text : str
        Covariates are columns, products ``a:b`` and ``a*b``, ``log(x)``, ``sqrt(x)``, ``exp(x)``
        and arithmetic inside ``I(...)``, such as ``I(age**2)``. An intercept is always there.

    Returns
    -------
    TreatmentFormula

    Raises
    ------
    InputError
        For anything else: the message names the piece and what to write instead.

    Examples
    --------
    >>> str(parse_treatment_formula("re78 ~ treat | age*educ + I(age**2)"))
    're78 ~ treat | age + educ + age:educ + I(age ** 2)'
    """
    lhs, parts = split_formula(text, "y ~ d | x1 + x2")
    faults = []
    if len(lhs) != 1 or len(lhs[0].factors) != 1:
        faults.append("the outcome must be one column or a function of one")
    if len(parts) > 2:
        faults.append(f"got {len(parts)} parts after '~', expected at most two")
    treatments = [str(term) for term in parts[0]]
    if len(treatments) != 1 or not is_column(parts[0][0]):
        faults.append(f"the treatment must be one column, got {' + '.join(treatments)!r}")
    raise_all([f"formula {text!r}: {fault}; write 'y ~ d | x1 + x2'" for fault in faults])
    covariates = parts[1] if len(parts) == 2 else []
    formula = TreatmentFormula(
        text=f"{lhs[0]} ~ {treatments[0]}"
        + (f" | {' + '.join(map(str, covariates))}" if covariates else ""),
        outcome=whitelisted(lhs[0], text),
        treatment=treatments[0],
        covariates=tuple(whitelisted(term, text) for term in covariates),
    )
    reused = {formula.treatment, *columns_of(formula.outcome)}.intersection(
        name for term in formula.covariates for name in columns_of(term)
    )
    raise_all([f"formula {text!r}: {name!r} stands on two sides" for name in sorted(reused)])
    return formula


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
        """The effects that stand under the user's names."""
        return tuple(effect for effect in self.effects if effect not in EFFECTS)

    def positions(self, names: tuple[str, ...]) -> tuple[int, ...]:
        """Return the positions of coefficients by name; the constant comes after the last."""
        known = (*self.names, INTERCEPT)
        return tuple(known.index(name) for name in names)


def parse_regression(text: str, *, own_names: bool = False) -> RegressionFormula:
    """Parse ``"y ~ x1 + x2 | unit + time"``; instruments stand last, ``"| d ~ z"``.

    Parameters
    ----------
    text : str
        Terms as in `parse_treatment_formula`, and ``lag(x)`` or ``lag(x, 2)``, the unit's value one
        or two periods of the calendar before. A constant is always there (``y ~ 1`` has nothing
        else); effects are ``unit``, ``time`` or both.
    own_names : bool
        Whether effects may stand under the user's names of them, for `with_axes` to translate.

    Returns
    -------
    RegressionFormula

    Raises
    ------
    InputError
        For anything else: the message names the piece and what to write instead.

    Examples
    --------
    >>> parse_regression("lwage ~ union + I(exper**2) | unit + time").names
    ('union', 'I(exper ** 2)')
    >>> str(parse_regression("y ~ w | unit | d ~ z1 + z2"))
    'y ~ w | unit | d ~ z1 + z2'
    """
    main, tail = _split_instruments(text)
    lhs, parts = split_formula(main, "y ~ x1 + x2 | unit + time", constant=True)
    endogenous, instruments = _instruments_of(tail, text)
    effects = [str(term) for term in parts[1]] if len(parts) == 2 else []
    faults = []
    if len(lhs) != 1 or len(lhs[0].factors) != 1:
        faults.append("the outcome must be one column or a function of one")
    if len(parts) > 2:
        faults.append(f"got {len(parts)} parts after '~', expected regressors and effects")
    faults += _faults_of_effects(parts[1] if len(parts) == 2 else [], own_names)
    raise_all([f"formula {text!r}: {fault}; write 'y ~ x1 + x2 | unit + time'" for fault in faults])
    names = [str(term) for term in (*endogenous, *parts[0])]
    pieces = [f"{lhs[0]} ~ {' + '.join(map(str, parts[0])) or '1'}"]
    pieces += [" + ".join(effects)] if effects else []
    if endogenous:
        pieces.append(f"{' + '.join(map(str, endogenous))} ~ {' + '.join(map(str, instruments))}")
    formula = RegressionFormula(
        text=" | ".join(pieces),
        outcome=whitelisted(lhs[0], text),
        names=tuple(names),
        regressors=tuple(whitelisted(term, text) for term in parts[0]),
        effects=_in_order(effects),
        endogenous=tuple(whitelisted(term, text) for term in endogenous),
        instruments=tuple(whitelisted(term, text) for term in instruments),
    )
    raise_all([f"formula {text!r}: {fault}" for fault in _faults_of_sides(formula)])
    return formula


def _faults_of_effects(terms: list, own_names: bool) -> list[str]:
    """Effects are names of the panel's axes, ours or the user's; which ones, a schema knows."""
    or_own = " or the names that your data have for them" if own_names else ""
    faults = [
        f"{str(term)!r} is not a fixed effect, expected unit or time (the panel's own axes){or_own}"
        for term in terms
        if str(term) not in EFFECTS and not (own_names and is_column(term))
    ]
    if len(terms) > len(EFFECTS):
        faults.append(
            f"got the effects {' + '.join(map(str, terms))}, expected at most unit and time (the "
            "panel's own axes); those of another column are its dummies, made of a category"
        )
    return faults


def _in_order(effects: Sequence[str]) -> tuple[str, ...]:
    """Effects that have our names stand in one order, whatever the formula's."""
    if set(effects) <= set(EFFECTS):
        return tuple(effect for effect in EFFECTS if effect in effects)
    return tuple(effects)


def with_axes(formula: Any, unit: str, time: str) -> Any:
    """Return a formula whose effects are ``unit`` and ``time``, given the user's names of them.

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
            f"{did_you_mean(effect, known)}; those of another column are its dummies"
            for effect in formula.own_effects
            if effect not in axes
        ]
    )
    return replace(formula, effects=_in_order([axes[effect] for effect in formula.effects]))


def require_axes(formula: RegressionFormula) -> None:
    """Raise if effects still stand under the user's names, whose meaning only a schema has."""
    if formula.own_effects:
        raise InputError(
            f"formula {str(formula)!r}: nothing says what {' and '.join(formula.own_effects)} are "
            "here; write 'y ~ x | unit + time', or give the schema of the data (schema=) as well"
        )


def _split_instruments(text: Any) -> tuple[Any, str]:
    """Split off the last part where it has a ``~`` of its own."""
    if isinstance(text, str) and "|" in text:
        main, tail = text.rsplit("|", 1)
        if "~" in tail and "~" in main:
            return main, tail
    return text, ""


def _instruments_of(tail: str, text: str) -> tuple[list, list]:
    if not tail:
        return [], []
    endogenous, parts = split_formula(tail, "y ~ x | d ~ z1 + z2")
    if len(parts) != 1 or not endogenous or len(parts[0]) < len(endogenous):
        raise InputError(
            f"formula {text!r}: got {len(endogenous)} endogenous regressors and "
            f"{len(parts[0])} instruments, expected at least as many instruments; write "
            "'y ~ x | d ~ z1 + z2'"
        )
    return endogenous, parts[0]


def _faults_of_sides(formula: RegressionFormula) -> list[str]:
    """A term may stand on one side only; one with a lag of the outcome is another term."""
    sides = (formula.outcome, *formula.endogenous, *formula.regressors)
    twice = {term for term, count in Counter(sides).items() if count > 1}
    twice |= set(formula.instruments).intersection(sides)
    return [
        f"{' '.join(columns_of(term))!r} stands on two sides" for term in sorted(twice, key=str)
    ]
