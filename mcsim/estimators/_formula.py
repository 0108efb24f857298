"""Formulas: parsed once against a whitelist into a small tree, never evaluated as code.

formulaic's parser splits a formula into terms but keeps arbitrary Python in its factors; here every
factor becomes a tree of columns, numbers and the functions named in `FUNCTIONS`, or is refused.
"""

import ast
import keyword
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from formulaic.parser import DefaultFormulaParser
from formulaic.parser.types import Token
from jaxtyping import Array, Float

from mcsim._core import Panel
from mcsim.errors import InputError, did_you_mean, raise_all

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "I": lambda x: x,
    "log": jnp.log,
    "sqrt": jnp.sqrt,
    "exp": jnp.exp,
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, power: a**power,
    "neg": lambda a: -a,
}

_CALLS = ("I", "log", "sqrt", "exp")
_ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
_OPERATORS = ("~", "|", "+", ":", "*")
_LONGEST = 5_000  # characters; a formula that a person wrote is far below


@dataclass(frozen=True)
class Name:
    """A column."""

    name: str


@dataclass(frozen=True)
class Number:
    """A constant."""

    value: int | float


@dataclass(frozen=True)
class Apply:
    """A function of `FUNCTIONS`, applied."""

    function: str
    arguments: tuple["Expression", ...]


Expression = Name | Number | Apply
Term = tuple[Expression, ...]
"""The product of its factors: ``a:b`` has two, ``I(age**2)`` one."""


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
    lhs, parts = _parse(text)
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
        outcome=_term(lhs[0], text),
        treatment=treatments[0],
        covariates=tuple(_term(term, text) for term in covariates),
    )
    reused = {formula.treatment, *columns_of(formula.outcome)}.intersection(
        name for term in formula.covariates for name in columns_of(term)
    )
    raise_all([f"formula {text!r}: {name!r} stands on two sides" for name in sorted(reused)])
    return formula


def columns_of(term: Term) -> tuple[str, ...]:
    """Return the names of the columns that a term uses, each once."""
    return tuple(dict.fromkeys(name for factor in term for name in _names(factor)))


def check_columns(names: Iterable[str], panel: Panel) -> None:
    """Raise one InputError for all the columns that the panel does not have."""
    raise_all(
        [
            f"column {name!r} of the formula is not in the panel{did_you_mean(name, panel)}"
            for name in names
            if name not in panel
        ]
    )


def evaluate(term: Term, panel: Panel) -> Float[Array, "unit period"]:
    """Evaluate a term on a panel, in float64."""
    values = [_value(factor, panel) for factor in term]
    product = values[0]
    for value in values[1:]:
        product = product * value
    return product


def design_matrix(terms: tuple[Term, ...], panel: Panel) -> Float[Array, "unit covariate"]:
    """Evaluate terms on a cross-section, one column each; no intercept is added."""
    if not terms:
        return jnp.zeros((panel.n_units, 0))
    return jnp.stack([evaluate(term, panel)[:, 0] for term in terms], axis=1)


def _value(expression: Expression, panel: Panel) -> Any:
    match expression:
        case Name(name):
            return jnp.asarray(panel[name], dtype=jnp.float64)
        case Number(value):
            return value
        case Apply(function, arguments):
            return FUNCTIONS[function](*(_value(argument, panel) for argument in arguments))


def _names(expression: Expression) -> Iterator[str]:
    match expression:
        case Name(name):
            yield name
        case Apply(_, arguments):
            for argument in arguments:
                yield from _names(argument)


def _parse(text: str) -> tuple[list, list[list]]:
    """Split a formula into formulaic's terms: those left of ``~``, and each part right of it."""
    if not isinstance(text, str):
        raise InputError(f"formula: got {type(text).__name__}, expected a string 'y ~ d | x1 + x2'")
    if len(text) > _LONGEST:
        raise InputError(f"formula: got {len(text)} characters, expected at most {_LONGEST}")
    parser = DefaultFormulaParser(include_intercept=False)
    try:
        tokens = list(parser.get_tokens(text))
        raise_all([f"formula {text!r}: {fault}" for fault in map(_fault_of_token, tokens) if fault])
        terms = parser.get_terms(text)
        left, right = terms.lhs, terms.rhs  # type: ignore[attr-defined]
    except InputError:
        raise
    except Exception:  # the parser of another library, on text that may be anything
        raise InputError(
            f"formula {text!r}: cannot be parsed; write 'outcome ~ treatment | covariate + ...'"
        ) from None
    return list(left), [list(part) for part in (right if isinstance(right, tuple) else (right,))]


def _fault_of_token(token: Token) -> str:
    piece, kind = str(token), token.kind
    if kind is Token.Kind.OPERATOR and piece in ("**", "^"):
        return f"{piece!r} outside I(...); write I(x**2) for a power and a:b for a product"
    if kind is Token.Kind.OPERATOR and piece not in _OPERATORS:
        return (
            f"operator {piece!r} is not allowed; list the terms that you want, joined by '+' (an "
            "intercept is always there)"
        )
    if kind is Token.Kind.CONTEXT and piece not in ("(", ")"):
        return f"bracket {piece!r} is not allowed; use '(' and ')'"
    if kind is Token.Kind.VALUE:
        return f"constant {piece} is not allowed; an intercept is always there"
    if kind is Token.Kind.NAME and ("." in piece or "__" in piece or keyword.iskeyword(piece)):
        return f"name {piece!r} is not allowed; rename the column"
    return ""


def _is_column(term: Any) -> bool:
    return len(term.factors) == 1 and term.factors[0].eval_method.value == "lookup"


def _term(term: Any, text: str) -> Term:
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
    if not all(any(_names(expression)) for expression in expressions):
        raise InputError(f"formula {text!r}: {term} has no column; an intercept is always there")
    return expressions


def _expression(node: ast.AST) -> Expression:
    """Turn Python's syntax tree into ours; whatever is not on the whitelist is refused."""
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
        case ast.Call(ast.Name("C"), _, _):
            raise InputError(
                f"{ast.unparse(node)}: categories are not expanded here; add a column of 0 and 1 "
                "for each level but one and name those columns"
            )
        case ast.Call(ast.Name(function), [argument], []) if function in _CALLS:
            return Apply(function, (_expression(argument),))
    raise InputError(
        f"{ast.unparse(node)!r} is not allowed; a formula may hold columns, numbers, + - * / **, "
        f"and the functions {', '.join(_CALLS)} of one argument"
    )
