"""Parsing: formulaic splits a formula into terms, a whitelist turns each into a tree.

formulaic keeps arbitrary Python in the factors of its terms; here every factor becomes a tree of
columns, numbers and the functions named in `_expression.FUNCTIONS`, or is refused. Nothing is ever
evaluated as code.
"""

import ast
import keyword
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mcsim.errors import InputError, raise_all
from mcsim.estimators._elsewhere import written_here
from mcsim.estimators._expression import Apply, Expression, Name, Number, Term, columns_of, names_in
from mcsim.estimators._formula import EFFECTS, RegressionFormula, TreatmentFormula, in_order

_CALLS = ("I", "log", "sqrt", "exp")
_ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
_OPERATORS = ("~", "|", "+", ":", "*")
_LONGEST = 5_000  # characters; a formula written by hand is far below
_MOST = 1_000  # terms; products of 12 columns have 4,095, for which formulaic takes 11 seconds

_TERMS = {
    "~": lambda a, b: a + b,
    "|": lambda a, b: a + b,
    "+": lambda a, b: a + b,
    "*": lambda a, b: a + b + a * b,
    ":": lambda a, b: a * b,
}
"""Terms of an operator's result, from those of its sides; later operators bind more tightly."""


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Suppress warnings of Python's parser about a formula, which is never run as code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


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
        For any other text: the message names the wrong piece and the remedy.

    Examples
    --------
    >>> str(parse_treatment_formula("re78 ~ treat | age*educ + I(age**2)"))
    're78 ~ treat | age + educ + age:educ + I(age ** 2)'
    """
    lhs, parts = _split_formula(text, "y ~ d | x1 + x2")
    faults = []
    if len(lhs) != 1 or len(lhs[0].factors) != 1:
        faults.append("the outcome must be one column or a function of one")
    if len(parts) > 2:
        faults.append(f"got {len(parts)} parts after '~', expected at most two")
    treatments = [str(term) for term in parts[0]]
    if len(treatments) != 1 or not _is_column(parts[0][0]):
        faults.append(f"the treatment must be one column, got {' + '.join(treatments)!r}")
    raise_all([f"formula {text!r}: {fault}; write 'y ~ d | x1 + x2'" for fault in faults])
    covariates = parts[1] if len(parts) == 2 else []
    formula = TreatmentFormula(
        text=f"{lhs[0]} ~ {treatments[0]}"
        + (f" | {' + '.join(map(str, covariates))}" if covariates else ""),
        outcome=_whitelisted(lhs[0], text),
        treatment=treatments[0],
        covariates=tuple(_whitelisted(term, text) for term in covariates),
    )
    reused = {formula.treatment, *columns_of(formula.outcome)}.intersection(
        name for term in formula.covariates for name in columns_of(term)
    )
    raise_all([f"formula {text!r}: {name!r} stands on two sides" for name in sorted(reused)])
    return formula


def parse_regression(text: str, *, own_names: bool = False) -> RegressionFormula:
    """Parse ``"y ~ x1 + x2 | unit + time"``; instruments stand last, ``"| d ~ z"``.

    Parameters
    ----------
    text : str
        Terms as in `parse_treatment_formula`, and ``lag(x)`` or ``lag(x, 2)``, the unit's value one
        or two periods of the calendar before. A constant is always there (``y ~ 1`` has nothing
        else); effects are ``unit``, ``time`` or both.
    own_names : bool
        Whether effects may have the user's names of the axes, which `with_axes` translates.

    Returns
    -------
    RegressionFormula

    Raises
    ------
    InputError
        For any other text: the message names the wrong piece and the remedy.

    Examples
    --------
    >>> parse_regression("lwage ~ union + I(exper**2) | unit + time").names
    ('union', 'I(exper ** 2)')
    >>> str(parse_regression("y ~ w | unit | d ~ z1 + z2"))
    'y ~ w | unit | d ~ z1 + z2'
    """
    main, tail = _split_instruments(text)
    lhs, parts = _split_formula(main, "y ~ x1 + x2 | unit + time", constant=True)
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
        outcome=_whitelisted(lhs[0], text),
        names=tuple(names),
        regressors=tuple(_whitelisted(term, text) for term in parts[0]),
        effects=in_order(effects),
        endogenous=tuple(_whitelisted(term, text) for term in endogenous),
        instruments=tuple(_whitelisted(term, text) for term in instruments),
    )
    raise_all([f"formula {text!r}: {fault}" for fault in _faults_of_sides(formula)])
    return formula


def _faults_of_effects(terms: list, own_names: bool) -> list[str]:
    """Return the faults of effects: each must name an axis, or with ``own_names`` be a column."""
    or_own = " or the names that your data have for them" if own_names else ""
    faults = [
        f"{str(term)!r} is not a fixed effect, expected unit or time (the panel's own axes){or_own}"
        for term in terms
        if str(term) not in EFFECTS and not (own_names and _is_column(term))
    ]
    if len(terms) > len(EFFECTS):
        faults.append(
            f"got the effects {' + '.join(map(str, terms))}, expected at most unit and time (the "
            "panel's own axes); effects of another column are its dummies, made of a category"
        )
    return faults


def _split_instruments(text: Any) -> tuple[Any, str]:
    """Split off the last part of a formula if it has a ``~`` of its own."""
    if isinstance(text, str) and "|" in text:
        main, tail = text.rsplit("|", 1)
        if "~" in tail and "~" in main:
            return main, tail
    return text, ""


def _instruments_of(tail: str, text: str) -> tuple[list, list]:
    if not tail:
        return [], []
    endogenous, parts = _split_formula(tail, "y ~ x | d ~ z1 + z2")
    if len(parts) != 1 or not endogenous or len(parts[0]) < len(endogenous):
        raise InputError(
            f"formula {text!r}: got {len(endogenous)} endogenous regressors and "
            f"{len(parts[0])} instruments, expected at least as many instruments; write "
            "'y ~ x | d ~ z1 + z2'"
        )
    return endogenous, parts[0]


def _faults_of_sides(formula: RegressionFormula) -> list[str]:
    """Return the faults of terms on two sides; a lag of the outcome is another term."""
    sides = (formula.outcome, *formula.endogenous, *formula.regressors)
    twice = {term for term, count in Counter(sides).items() if count > 1}
    twice |= set(formula.instruments).intersection(sides)
    return [
        f"{' '.join(columns_of(term))!r} stands on two sides" for term in sorted(twice, key=str)
    ]


@_without_warnings()
def _split_formula(text: str, example: str, *, constant: bool = False) -> tuple[list, list[list]]:
    """Split a formula into formulaic's terms: left of ``~``, and in each part right of it.

    Parameters
    ----------
    text : str
        The formula.
    example : str
        A valid formula, for the message.
    constant : bool
        Whether a 1 may name the constant, which is always there: ``y ~ 1``.
    """
    if not isinstance(text, str):
        raise InputError(f"formula: got {type(text).__name__}, expected a string {example!r}")
    if len(text) > _LONGEST:
        raise InputError(f"formula: got {len(text)} characters, expected at most {_LONGEST}")
    from formulaic.parser import DefaultFormulaParser

    parser = DefaultFormulaParser(include_intercept=False)
    try:
        tokens = list(parser.get_tokens(text))
        kept = [token for token in tokens if not (constant and str(token) == "1")]
        faults = [fault for token in kept if (fault := _fault_of_token(token, text))]
        raise_all([f"formula {text!r}: {fault}" for fault in faults])
        if (number := _number_of_terms(tokens)) > _MOST:
            raise InputError(
                f"formula: got {number:,} terms, expected at most {_MOST:,}; a product a*b*c has "
                "all products of its columns: write the terms that you want, a + b + a:b"
            )
        terms = parser.get_terms(text)
        left, right = terms.lhs, terms.rhs  # type: ignore[attr-defined]
    except InputError:
        raise
    except Exception:  # the parser of another library, on text that may be anything
        raise InputError(f"formula {text!r}: {_why_not(text, example)}") from None
    parts = right if isinstance(right, tuple) else (right,)
    return list(left), [[term for term in part if str(term) != "1"] for part in parts]


def _why_not(text: str, example: str) -> str:
    """Return the reason why a text cannot be parsed as a formula."""
    calls = re.findall(r"[\w.]+\([^()]*\)", text)
    written = [f"{call}: {remedy}" for call in calls if (remedy := written_here(call))]
    if written:
        return "; ".join(written)
    why = "it cannot be parsed" + ("" if "~" in text else ": there is no ~ after the outcome")
    return f"{why}; write {example!r}"


def _number_of_terms(tokens: Sequence[Any]) -> int:
    """Return the largest possible number of terms of a formula; 0 if operands are missing.

    Operators stay on a stack until one follows that binds less tightly.
    """
    counts, waiting, operand = [], [], False
    binding = {operator: place for place, operator in enumerate(_TERMS)}

    def settle(until: Callable[[str], bool]) -> None:
        while waiting and not until(waiting[-1]):
            right, left = counts.pop(), counts.pop()
            counts.append(_TERMS[waiting.pop()](left, right))

    try:
        for piece in map(str, tokens):
            if piece == "(":
                waiting.append(piece)
            elif piece == ")":
                settle(lambda last: last == "(")
                waiting.pop()
            elif piece not in _TERMS:
                counts.append(1)
            elif operand or piece != "+":  # +a is a
                settle(lambda last, p=piece: last == "(" or binding[last] < binding[p])
                waiting.append(piece)
            operand = piece not in _TERMS and piece != "("
        settle(lambda last: False)
    except (IndexError, KeyError):
        return 0
    return max(counts, default=0)


def _fault_of_token(token: Any, text: str) -> str:
    piece, kind = str(token), token.kind.name
    if kind == "OPERATOR" and piece not in _OPERATORS:
        return _fault_of_operator(piece, text)
    if kind == "CONTEXT" and piece not in ("(", ")"):
        return (
            f"bracket {piece!r} is not allowed; use '(' and ')', and write instruments last, "
            "'y ~ w | d ~ z'"
        )
    if kind == "VALUE":
        return f"constant {piece} is not allowed; an intercept is always there"
    return _fault_of_name(piece) if kind == "NAME" else ""


def _fault_of_operator(piece: str, text: str) -> str:
    if piece in ("**", "^"):
        return f"{piece!r} outside I(...); write I(x**2) for a power and a:b for a product"
    if piece in ("#", "##"):
        return f"{piece!r} is not allowed; write a:b for a product, a*b for one with its factors"
    if "-" not in text and piece.endswith("-"):  # as formulaic reads a 0
        return "a 0 is not allowed: an intercept is always there, and an empty part is left out"
    return (
        f"operator {piece!r} is not allowed; list the terms that you want, joined by '+' (an "
        "intercept is always there)"
    )


def _fault_of_name(name: str) -> str:
    if remedy := written_here(name):
        return f"{name}: {remedy}"
    if "." in name or "__" in name or keyword.iskeyword(name):
        return f"name {name!r} is not allowed; rename the column"
    return ""


def _is_column(term: Any) -> bool:
    return len(term.factors) == 1 and term.factors[0].eval_method.value == "lookup"


@_without_warnings()
def _whitelisted(term: Any, text: str) -> Term:
    """Return a term of formulaic as trees of its factors; raise if it is not on the whitelist."""
    for piece in (str(factor.expr) for factor in term.factors):
        if remedy := written_here(piece):
            raise InputError(f"formula {text!r}: {piece}: {remedy}")
    try:
        expressions = tuple(
            Name(factor.expr)
            if factor.eval_method.value == "lookup"
            else _expression(ast.parse(factor.expr, mode="eval").body)
            for factor in term.factors
        )
    except (SyntaxError, RecursionError, MemoryError, ValueError) as error:
        reason = str(error) if isinstance(error, InputError) else f"{term} cannot be parsed"
        raise InputError(f"formula {text!r}: {reason}") from None
    if not all(any(names_in(expression)) for expression in expressions):
        raise InputError(f"formula {text!r}: {term} has no column; an intercept is always there")
    return expressions


def _expression(node: ast.AST) -> Expression:  # noqa: PLR0911  one case, one return
    """Turn Python's syntax tree into an `Expression`, or raise for nodes not on the whitelist."""
    match node:
        case ast.Name(name) if "__" not in name:
            return Name(name)
        case ast.Constant(int() | float() as value) if not isinstance(value, bool):
            if abs(value) <= 1e300:
                return Number(value)
        case ast.UnaryOp(ast.USub(), operand):
            return Apply("neg", (_expression(operand),))
        case ast.BinOp(base, ast.Pow(), power):
            exponent = _expression(power)
            if not isinstance(exponent, Number) or abs(exponent.value) > 100:
                raise InputError(f"the power in {ast.unparse(node)} must be a number up to 100")
            return Apply("**", (_expression(base), exponent))
        case ast.BinOp(left, operator, right) if type(operator) in _ARITHMETIC:
            return Apply(_ARITHMETIC[type(operator)], (_expression(left), _expression(right)))
        case ast.Call(ast.Name(function), [argument], []) if function in _CALLS:
            return Apply(function, (_expression(argument),))
        case ast.Call(ast.Name("lag"), [lagged, *periods], []):
            return Apply("lag", (_expression(lagged), _lag(node, periods)))
    if remedy := written_here(ast.unparse(node)):
        raise InputError(f"{ast.unparse(node)}: {remedy}")
    raise InputError(
        f"{ast.unparse(node)!r} is not allowed; a formula may hold columns, numbers, + - * / **, "
        f"the functions {', '.join(_CALLS)} of one argument, and lag(x) or lag(x, 2); make a "
        "column of anything else before"
    )


def _lag(node: ast.AST, periods: list[ast.expr]) -> Number:
    match periods:
        case []:
            return Number(1)
        case [ast.Constant(int() as value)] if not isinstance(value, bool) and 1 <= value <= 1000:
            return Number(value)
    raise InputError(f"the lag in {ast.unparse(node)} must be a whole number of at least 1")
