"""Terms of a formula as trees of columns, numbers and functions; their values on a panel."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcsim._core.records import Calendar, Panel


def lagged(
    values: Float[Array, "unit period"], periods: int, calendar: Calendar
) -> Float[Array, "unit period"]:
    """Return the values of some periods before on the calendar; NaN where there were none."""
    if calendar.consecutive:
        before = jnp.full_like(values[:, :periods], jnp.nan)
        return jnp.concatenate([before, values[:, : values.shape[1] - periods]], axis=1)
    source = calendar.before(periods)
    known = jnp.asarray([position is not None for position in source])
    return jnp.where(known, values[:, jnp.asarray([position or 0 for position in source])], jnp.nan)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "I": lambda x: x,
    "log": jnp.log,
    "sqrt": jnp.sqrt,
    "exp": jnp.exp,
    "level": lambda code, level: jnp.where(jnp.isnan(code), jnp.nan, code == level),
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, power: a**power,
    "neg": lambda a: -a,
}


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
    """A function of `FUNCTIONS`, applied; or ``lag``, which needs the panel's calendar.

    ``level`` is no function that a formula may name: `with_dummies` makes dummies with it.
    """

    function: str
    arguments: tuple["Expression", ...]


Expression = Name | Number | Apply
Term = tuple[Expression, ...]
"""The product of its factors: ``a:b`` has two, ``I(age**2)`` one."""


def columns_of(term: Term) -> tuple[str, ...]:
    """Return the names of the columns that a term uses, each once."""
    return tuple(dict.fromkeys(name for factor in term for name in names_in(factor)))


def names_in(expression: Expression) -> Iterator[str]:
    """Yield the columns of an expression, as often as they occur."""
    match expression:
        case Name(name):
            yield name
        case Apply(_, arguments):
            for argument in arguments:
                yield from names_in(argument)


def longest_lag(term: Term) -> int:
    """Return the number of periods of the longest lag of a term."""
    return max(_longest_lag(factor) for factor in term)


def periods_of(term: Term, calendar: Calendar) -> tuple[int, ...]:
    """Return the positions of the periods for which the panel has every lag of a term."""
    known = [_periods(factor, calendar) for factor in term]
    return tuple(sorted(set.intersection(*known)))


def evaluate(term: Term, panel: Panel) -> Float[Array, "unit period"]:
    """Evaluate a term on a panel, in float64."""
    values = [_value(factor, panel) for factor in term]
    product = values[0]
    for value in values[1:]:
        product = product * value
    return product


def observed_cells(
    term: Term, mask: Bool[Array, "unit period"], calendar: Calendar
) -> Bool[Array, "unit period"]:
    """Return the cells in which a term is defined: its columns, at its lags, are observed."""
    cells = [_observed(factor, mask, calendar) for factor in term]
    return jnp.stack([cell for cell in cells if cell is not None]).all(axis=0)


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
        case Apply("lag", (inner, Number(periods))):
            inner, periods = _whole_lag(inner, int(periods), panel.calendar)
            return lagged(_value(inner, panel), periods, panel.calendar)
        case Apply(function, arguments):
            return FUNCTIONS[function](*(_value(argument, panel) for argument in arguments))


def _whole_lag(inner: Expression, periods: int, calendar: Calendar) -> tuple[Expression, int]:
    """Return a lag with inner lags added to it: ``lag(lag(x))`` is ``lag(x, 2)``.

    The period between need not be in the panel.
    """
    match inner:
        case Apply("lag", (deeper, Number(more))) if not calendar.consecutive:
            return _whole_lag(deeper, periods + int(more), calendar)
    return inner, periods


def _observed(expression: Expression, mask: Any, calendar: Calendar) -> Any:
    match expression:
        case Name():
            return mask
        case Apply("lag", (inner, Number(periods))):
            inner, periods = _whole_lag(inner, int(periods), calendar)
            before = lagged(_observed(inner, mask, calendar).astype(float), periods, calendar)
            return jnp.nan_to_num(before) > 0
        case Apply(_, arguments):
            cells = [_observed(argument, mask, calendar) for argument in arguments]
            cells = [cell for cell in cells if cell is not None]
            return jnp.stack(cells).all(axis=0) if cells else None
    return None


def _periods(expression: Expression, calendar: Calendar) -> set[int]:
    match expression:
        case Apply("lag", (inner, Number(periods))):
            inner, periods = _whole_lag(inner, int(periods), calendar)
            known = _periods(inner, calendar)
            return {t for t, source in enumerate(calendar.before(periods)) if source in known}
        case Apply(_, arguments):
            return set.intersection(*(_periods(argument, calendar) for argument in arguments))
    return set(range(len(calendar.places)))


def _longest_lag(expression: Expression) -> int:
    match expression:
        case Apply("lag", (inner, Number(periods))):
            return int(periods) + _longest_lag(inner)
        case Apply(_, arguments):
            return max(_longest_lag(argument) for argument in arguments)
    return 0
