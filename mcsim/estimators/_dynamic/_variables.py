"""Which variables of a formula are instrumented by their own lagged levels, and which are not."""

from collections.abc import Sequence

from mcsim.errors import did_you_mean
from mcsim.estimators._dynamic._differences import LaggedLevels
from mcsim.estimators._expression import Apply, Number, Term
from mcsim.estimators._formula import RegressionFormula


def instrumented_terms(
    formula: RegressionFormula,
    predetermined: Sequence[str],
    endogenous: Sequence[str],
    lags: tuple[int, int | None],
) -> tuple[LaggedLevels, ...]:
    """Return the outcome and the named variables, with the lags of their levels."""
    nearest, farthest = lags
    earlier = None if farthest is None else farthest - 1
    term = _variables(formula)
    return (
        LaggedLevels(formula.outcome, nearest, farthest),
        *(LaggedLevels(term[name], nearest, farthest) for name in endogenous),
        *(LaggedLevels(term[name], nearest - 1, earlier) for name in predetermined),
    )


def own_instruments(
    formula: RegressionFormula, instrumented: Sequence[LaggedLevels]
) -> tuple[int, ...]:
    """Return the positions of the regressors that instrument themselves."""
    terms = {each.term for each in instrumented}
    own = range(len(formula.endogenous), len(formula.names))
    exogenous = dict(zip(own, formula.regressors, strict=True))
    return tuple(k for k, term in exogenous.items() if not terms.intersection((term, _base(term))))


def faults_of_variables(
    formula: RegressionFormula, predetermined: Sequence[str], endogenous: Sequence[str]
) -> list[str]:
    """Return what is wrong with the names of predetermined and endogenous variables."""
    known = _variables(formula)
    faults = []
    if formula.outcome not in (_base(term) for term in known.values()):
        outcome = str(formula).split(" ~ ", maxsplit=1)[0]
        faults.append(
            f"formula {str(formula)!r}: got no lag of the outcome, expected lag({outcome}) among "
            "the regressors; for a static model use fixed_effects or first_difference"
        )
    for argument, names in (("predetermined", predetermined), ("endogenous", endogenous)):
        faults += [
            f"{argument}: {name!r} is neither a regressor of the formula nor lagged in it"
            f"{did_you_mean(name, known)}"
            for name in names
            if name not in known
        ]
        faults += [
            f"{argument}: {name!r} is the outcome, whose levels are instruments anyway"
            for name in names
            if known.get(name) == formula.outcome
        ]
        if len(set(names)) < len(names):
            faults.append(f"{argument}: got {tuple(names)}, expected each name once")
    twice = set(predetermined) & set(endogenous)
    return faults + [
        f"endogenous: {name!r} is called predetermined too, expected one of the two"
        for name in sorted(twice)
    ]


def faults_of_lags(lags: tuple[int, int | None]) -> list[str]:
    """The nearest level that is a valid instrument is two periods old."""
    match lags:
        case (int(nearest), int() | None as farthest) if 2 <= nearest <= (farthest or nearest):
            return []
    return [
        f"instrument_lags: got {lags!r}, expected (nearest, farthest) with nearest at least 2, the "
        "farthest not below it, or None for all there are"
    ]


def faults_of_terms(
    formula: RegressionFormula, terms: tuple[str, ...], estimand: str | None
) -> list[str]:
    """Return what is wrong with the coefficients that are wanted, and with their label."""
    faults = [
        f"term: {name!r} is not a term of the formula{did_you_mean(name, formula.names)}"
        for name in terms
        if name not in formula.names
    ]
    if not terms or len(set(terms)) < len(terms):
        faults.append(f"term: got {terms}, expected at least one term and each once")
    if estimand is not None and len(terms) != 1:
        faults.append(f"estimand: got one label for {len(terms)} terms; choose one with term=")
    return faults


def _variables(formula: RegressionFormula) -> dict[str, Term]:
    """Return every regressor, and everything that is lagged in one, by its text."""
    variables = {}
    for text, term in zip(formula.names, (*formula.endogenous, *formula.regressors), strict=True):
        variables[text] = term
        match term:
            case (Apply("lag", (_, Number(periods))),):
                variables[text[4:-1].removesuffix(f", {periods}")] = _base(term)
    return variables


def _base(term: Term) -> Term:
    """Return what a lagged term is the lag of, else the term itself."""
    match term:
        case (Apply("lag", (lagged, _)),):
            return (lagged,)
    return term
