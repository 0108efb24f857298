"""The options that all regressions share, checked together and once."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from mcsim.errors import did_you_mean, raise_all
from mcsim.estimators._formula import INTERCEPT, RegressionFormula
from mcsim.estimators._native import (
    NativeEstimator,
    Numerics,
    faults_of_names,
    names_of,
    native,
)
from mcsim.estimators._variance._names import KINDS, faults_of_vcov, parse_vcov
from mcsim.estimators._variance._small_sample import RULES

Names = str | Sequence[str]

REFITTED = tuple(kind for kind in KINDS if kind != "RI")
"""All but randomization inference, which draws treatments of the panel as it is."""

SUMS = ("iid", "HC0", "HC1", "CR0", "CR1", "DK", "NW")
"""Variances made of sums of influences alone, which any estimator has."""

RESAMPLED = ("wild", "RI")


class Inference(NamedTuple):
    """What a user may ask of any regression; see `fixed_effects` for the meaning."""

    term: Names | None = None
    estimand: str | None = None
    vcov: Names = "CR1"
    cluster: Names = "unit"
    ssc: str = "fixest-0.13"
    resamples: int = 999
    null: float = 0.0
    level: float = 0.95


def regression(
    numerics: Numerics,
    formula: RegressionFormula,
    asked: Inference,
    faults: Sequence[str] = (),
    *,
    known: tuple[str, ...] = KINDS,
    constant: bool = False,
    **options: Any,
) -> NativeEstimator:
    """Return the estimator, or raise all faults of its arguments at once.

    Parameters
    ----------
    numerics, formula
        As `native` takes them.
    asked : Inference
        Terms, variances and the rest.
    faults : sequence of str
        What the caller found wrong with the formula and with the options of its own.
    known : tuple of str
        The kinds of variance that the method has.
    constant : bool
        Whether the constant has a coefficient, ``"Intercept"``.
    **options
        The method's own options.
    """
    method = numerics.__name__.removeprefix("fit_")
    names = (*formula.names, INTERCEPT) if constant else formula.names
    terms = _terms(asked.term, formula.names or names, names)
    vcov, cluster = names_of(asked.vcov), names_of(asked.cluster)
    raise_all(
        [
            *faults,
            *_faults_of_terms(asked, terms, names, method),
            *faults_of_vcov(vcov, cluster, known),
            *faults_of_names("ssc", (asked.ssc,), RULES, method),
            *_faults_of_resampling(asked),
        ]
    )
    resampling = any(parse_vcov(name, cluster).kind in RESAMPLED for name in vcov)
    own = {"resamples": asked.resamples, "null": float(asked.null), "level": float(asked.level)}
    return native(
        numerics,
        formula,
        term=terms,
        estimand=asked.estimand,
        vcov=vcov,
        cluster=cluster,
        ssc=asked.ssc,
        **(own if resampling else {}),
        **options,
    )


def positions(formula: RegressionFormula, term: tuple[str, ...]) -> tuple[int, ...]:
    """Return the positions of terms among the regressors; the constant comes after the last."""
    names = (*formula.names, INTERCEPT)
    return tuple(names.index(name) for name in term)


def labels(term: tuple[str, ...], estimand: str | None) -> tuple[str, ...]:
    """Return what the estimates of some terms are labeled."""
    return term if estimand is None else (estimand,)


def faults_of_parts(
    formula: RegressionFormula, method: str, *, effects: str = "", instruments: bool = False
) -> list[str]:
    """Return which parts of a formula a method cannot use.

    Parameters
    ----------
    formula, method
        The formula, and the name of the method.
    effects : str
        What to do about effects; empty where the method takes them.
    instruments : bool
        Whether the method needs instruments; the others have none.
    """
    faults = []
    if effects and formula.effects:
        faults.append(f"has effects {' + '.join(formula.effects)!r}; {effects}")
    if formula.endogenous and not instruments:
        faults.append(f"has instruments, which {method} does not use; use iv_2sls or liml")
    if instruments and not formula.endogenous:
        faults.append(f"has no instruments, which {method} needs; write 'y ~ x | d ~ z'")
    return [f"formula {str(formula)!r}: it {fault}" for fault in faults]


def _terms(asked: Names | None, default: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Spell the terms as the formula does: spaces do not matter."""
    if asked is None:
        return tuple(default)
    spelled = {name.replace(" ", ""): name for name in names}
    return tuple(spelled.get(str(name).replace(" ", ""), str(name)) for name in names_of(asked))


def _faults_of_terms(
    asked: Inference, terms: tuple[str, ...], names: tuple[str, ...], method: str
) -> list[str]:
    faults = []
    for unknown in dict.fromkeys(terms):
        if unknown == INTERCEPT and unknown not in names:
            faults.append(f"term: {method} has no {INTERCEPT!r}, which it takes out")
        elif unknown not in names:
            faults.append(f"term: {unknown!r} is not in the formula{did_you_mean(unknown, names)}")
    if not terms or len(set(terms)) < len(terms):
        faults.append(f"term: got {list(terms)}, expected at least one coefficient and each once")
    if asked.estimand is not None and len(terms) > 1:
        faults.append(
            f"estimand: {asked.estimand!r} labels one coefficient, there are {len(terms)}; choose "
            "one with term="
        )
    return faults


def _faults_of_resampling(asked: Inference) -> list[str]:
    faults = []
    if not isinstance(asked.resamples, int) or asked.resamples < 1:
        faults.append(f"resamples: got {asked.resamples!r}, expected a whole number of at least 1")
    if not 0.0 < asked.level < 1.0:
        faults.append(f"level: got {asked.level!r}, expected one between 0 and 1, such as 0.95")
    if not math.isfinite(asked.null):
        faults.append(f"null: got {asked.null!r}, expected a finite number")
    return faults
