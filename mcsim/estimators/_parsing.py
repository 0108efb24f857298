"""Parsing: formulaic splits a formula into terms, a whitelist turns each into a tree.

formulaic keeps arbitrary Python in the factors of its terms; here every factor becomes a tree of
columns, numbers and the functions named in `_expression.FUNCTIONS`, or is refused. Nothing is ever
evaluated as code.
"""

import ast
import keyword
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from formulaic.parser import DefaultFormulaParser
from formulaic.parser.types import Token

from mcsim.errors import InputError, raise_all
from mcsim.estimators._expression import Apply, Expression, Name, Number, Term, names_in

_CALLS = ("I", "log", "sqrt", "exp")
_ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
_OPERATORS = ("~", "|", "+", ":", "*")
_LONGEST = 5_000  # characters; a formula that a person wrote is far below


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Leave out what Python warns of when it parses a formula as code, which this never becomes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@_without_warnings()
def split_formula(text: str, *, constant: bool = False) -> tuple[list, list[list]]:
    """Split a formula into formulaic's terms: those left of ``~``, and each part right of it.

    With ``constant`` a 1 may stand for the constant, which is always there: ``y ~ 1``.
    """
    if not isinstance(text, str):
        raise InputError(f"formula: got {type(text).__name__}, expected a string 'y ~ d | x1 + x2'")
    if len(text) > _LONGEST:
        raise InputError(f"formula: got {len(text)} characters, expected at most {_LONGEST}")
    parser = DefaultFormulaParser(include_intercept=False)
    try:
        tokens = list(parser.get_tokens(text))
        kept = [token for token in tokens if not (constant and str(token) == "1")]
        raise_all([f"formula {text!r}: {fault}" for fault in map(_fault_of_token, kept) if fault])
        terms = parser.get_terms(text)
        left, right = terms.lhs, terms.rhs  # type: ignore[attr-defined]
    except InputError:
        raise
    except Exception:  # the parser of another library, on text that may be anything
        raise InputError(
            f"formula {text!r}: cannot be parsed; write 'outcome ~ treatment | covariate + ...'"
        ) from None
    parts = right if isinstance(right, tuple) else (right,)
    return list(left), [[term for term in part if str(term) != "1"] for part in parts]


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


def is_column(term: Any) -> bool:
    return len(term.factors) == 1 and term.factors[0].eval_method.value == "lookup"


@_without_warnings()
def whitelisted(term: Any, text: str) -> Term:
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
                f"{ast.unparse(node)}: name the column alone; one that from_frame(frame, "
                "categorical=[...]) took as categories enters as a column of 0 and 1 for each "
                "level but one"
            )
        case ast.Call(ast.Name(function), [argument], []) if function in _CALLS:
            return Apply(function, (_expression(argument),))
        case ast.Call(ast.Name("lag"), [lagged, *periods], []):
            return Apply("lag", (_expression(lagged), _lag(node, periods)))
    raise InputError(
        f"{ast.unparse(node)!r} is not allowed; a formula may hold columns, numbers, + - * / **, "
        f"the functions {', '.join(_CALLS)} of one argument, and lag(x) or lag(x, 2)"
    )


def _lag(node: ast.AST, periods: list[ast.expr]) -> Number:
    match periods:
        case []:
            return Number(1)
        case [ast.Constant(int() as value)] if not isinstance(value, bool) and 1 <= value <= 1000:
            return Number(value)
    raise InputError(f"the lag in {ast.unparse(node)} must be a whole number of at least 1")
