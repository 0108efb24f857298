"""Options of estimators: checked together, and made into a `NativeEstimator`."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from mcsim.errors import did_you_mean, raise_all
from mcsim.estimators._formula import (
    INTERCEPT,
)
from mcsim.estimators._native import Diagnosis, Formula, NativeEstimator, Numerics
from mcsim.estimators._parsing import parse_treatment_formula

Names = str | Sequence[str]


def native(
    numerics: Numerics,
    formula: Formula,
    diagnosis: Diagnosis | None = None,
    /,
    *,
    groups: tuple[str, ...] | None = None,
    **options: Any,
) -> NativeEstimator:
    """Return the estimator called after its numerics, ``fit_ols`` giving ``ols``.

    ``groups`` are the clusters of its variances; default: its option ``cluster``.
    """
    name = numerics.__name__.removeprefix("fit_")
    groups = groups if groups is not None else names_of(options.get("cluster") or ())
    return NativeEstimator(name, formula, numerics, tuple(options.items()), groups, diagnosis)


def native_of_treatment(
    numerics: Numerics,
    formula: str,
    vcov: str | Sequence[str],
    known: Sequence[str],
    faults: Sequence[str] = (),
    *,
    covariates: Literal["none", "optional", "needed"] = "optional",
    otherwise: str = " or take another method",
    **options: Any,
) -> NativeEstimator:
    """Return the estimator of a treatment's effect, or raise all faults of its arguments at once.

    Parameters
    ----------
    numerics
        As `native` takes them.
    formula : str
        ``"outcome ~ treatment | covariates"``.
    vcov : str or sequence of str
        Its variances, of the ``known`` ones.
    faults : sequence of str
        Faults of the method's own options, found by the caller.
    covariates : {"none", "optional", "needed"}
        Whether the method has them.
    otherwise : str
        The end of the remedy for covariates, where it has none.
    **options
        The method's own options.
    """
    method, names = numerics.__name__.removeprefix("fit_"), names_of(vcov)
    parsed = parse_treatment_formula(formula)
    found = faults_of_names("vcov", names, known, method)
    if covariates == "none" and parsed.covariates:
        remedy = f"write '{parsed.text.split(' | ')[0]}'{otherwise}"
        found.append(f"formula {formula!r}: {method} uses no covariates; {remedy}")
    if covariates == "needed" and not parsed.covariates:
        found.append(f"formula {formula!r}: {method} needs covariates; write 'y ~ d | x1 + x2'")
    raise_all([*found, *faults])
    return native(numerics, parsed, vcov=names, **options)


def names_of(argument: Any) -> tuple[Any, ...]:
    """Return one name or several as a tuple; any other value alone, for the check to refuse."""
    if isinstance(argument, str) or not isinstance(argument, Iterable):
        return (argument,)
    return tuple(argument)


def faults_of_names(
    argument: str, names: tuple[str, ...], known: Sequence[str], method: str
) -> list[str]:
    """Return the faults of names chosen among the known ones of a method."""
    faults = [
        f"{argument}: {method} has no {argument} {unknown!r}{did_you_mean(unknown, known)}"
        for unknown in names
        if unknown not in known
    ]
    if not names or len(set(map(str, names))) < len(names):
        faults.append(f"{argument}: got {names}, expected at least one name and each once")
    return faults


def spelled_terms(
    asked: Names | None, default: Sequence[str], names: Sequence[str]
) -> tuple[str, ...]:
    """Spell the terms as the formula does, ignoring spaces."""
    if asked is None:
        return tuple(default)
    spelled = {name.replace(" ", ""): name for name in names}
    return tuple(spelled.get(str(name).replace(" ", ""), str(name)) for name in names_of(asked))


def faults_of_terms(
    terms: tuple[str, ...], estimand: str | None, names: Sequence[str], method: str
) -> list[str]:
    """Return the faults of the coefficients to report, of the known names, and of their label."""
    faults = []
    for unknown in dict.fromkeys(terms):
        if unknown == INTERCEPT and unknown not in names:
            faults.append(f"term: {method} has no {INTERCEPT!r}, which it takes out")
        elif unknown not in names:
            faults.append(f"term: {unknown!r} is not in the formula{did_you_mean(unknown, names)}")
    if not terms or len(set(terms)) < len(terms):
        faults.append(f"term: got {list(terms)}, expected at least one coefficient and each once")
    if not isinstance(estimand, str | None):
        faults.append(f"estimand: got {estimand!r}, expected a name")
    elif estimand is not None and len(terms) > 1:
        faults.append(
            f"estimand: {estimand!r} labels one coefficient, there are {len(terms)}; choose "
            "one with term="
        )
    return faults
