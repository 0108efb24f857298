"""From the result of a host function to labeled estimates; each fitted result is read at once."""

import math
from collections.abc import Callable, Iterator, Mapping
from numbers import Real
from types import GeneratorType
from typing import Any

import numpy as np

from mcsim._core.records import Estimate, Status
from mcsim._readers.coefficients import UNNAMED, Coefficients, FullLabel, full_label, settled
from mcsim._readers.libraries import (
    of_diff_diff,
    of_doubleml,
    of_econml,
    of_linearmodels,
    of_pyfixest,
    of_statsmodels,
)
from mcsim.errors import ContractError, raise_all

Terms = str | Mapping[str, str] | None
"""The coefficient to take from a fitted result, or several by estimand."""


def read_result(
    result: Any,
    *,
    term: Terms = None,
    estimand: str | None = None,
    extract: Callable[[Any], Any] | None = None,
) -> dict[FullLabel, Estimate]:
    """Read the result of an estimator into labeled estimates of plain floats.

    Parameters
    ----------
    result : Estimate, fitted result, mapping of label to either, or generator of (label, either)
        A label is an estimand or a pair (estimand, inference); where the estimand is known from
        ``estimand`` or ``term``, a string is the inference.
    term : str or mapping of estimand to str, optional
        The coefficient to take from a fitted result, or several.
    estimand : str, optional
        The estimand of results without a label of their own.
    extract : callable, optional
        Applied to the result first.

    Returns
    -------
    dict of (estimand, inference) to Estimate

    Raises
    ------
    ContractError
        If the result is something else, or has no such term.

    Examples
    --------
    >>> read_result(Estimate(1.0, 0.5), estimand="att")["att", ""].se
    0.5
    >>> list(read_result({"HC1": Estimate(1.0), "CR1": Estimate(1.0)}, estimand="att"))
    [('att', 'HC1'), ('att', 'CR1')]
    """
    estimates: dict[FullLabel, Estimate] = {}
    returned = result if extract is None else extract(result)
    for key, one in _parts(returned):
        whose = "" if key is None else f"{type(returned).__name__} whose {key!r} is "
        for name, estimate in _read_one(one, term, whose):
            label = _label(key, name or estimand)
            if label in estimates:
                raise ContractError(f"it returned two estimates of one label: {label}")
            estimates[label] = estimate._replace(status=int(settled(estimate)))
    if not estimates:
        raise ContractError("it returned an empty dict, expected an estimate")
    return estimates


def _parts(result: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (label or None, result); a pair of a generator before it makes the next."""
    if isinstance(result, Mapping):
        _require_different(result)
        yield from result.items()
    elif isinstance(result, GeneratorType):
        for pair in result:
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise ContractError(
                    f"it yielded {type(pair).__name__}, expected pairs (label, result)"
                )
            yield pair
    else:
        yield None, result


def _require_different(results: Mapping[Any, Any]) -> None:
    """Raise if one fit stands under two labels: both would have its last variance."""
    first: dict[int, Any] = {}
    for label, one in results.items():
        if not isinstance(one, Estimate | Real) and id(one) in first:
            raise ContractError(
                f"it returned the same {type(one).__name__} under {first[id(one)]!r} and {label!r};"
                " some fits change in place (pyfixest's .vcov() returns the fit itself), so that "
                "both have the last variance: use copy.copy(fit).vcov(...), or refit, or yield "
                "(label, fit.vcov(...)) one by one instead of returning a dict"
            )
        first[id(one)] = label


def _label(key: Any, estimand: str | None) -> FullLabel:
    if key is None:
        return estimand or UNNAMED, ""
    if estimand and isinstance(key, str):
        return estimand, key
    return full_label(key)


def _read_one(result: Any, term: Terms, whose: str) -> Iterator[tuple[str | None, Estimate]]:
    """Yield (estimand or None, estimate) of one result, which may be part of another."""
    if isinstance(result, Estimate):
        yield None, _plain(result)
        return
    coefficients = _coefficients(result, whose)
    if isinstance(term, Mapping):
        for estimand, one in term.items():
            yield estimand, coefficients.estimate(one)
    else:
        yield None, coefficients.estimate(term)


def _coefficients(result: Any, whose: str) -> Coefficients:
    library = type(result).__module__.split(".")[0]
    if library not in _READERS:
        raise ContractError(
            f"the estimator returned {whose}{type(result).__name__}{_remedy(result)}; expected an "
            f"Estimate, a result of {', '.join(sorted(_READERS))}, or a dict of either"
        )
    return _READERS[library](result)


def _remedy(result: Any) -> str:
    """Return the remedy for a result that has no reader."""
    if result is None:
        return ", so that its function has no return statement, or returns nothing"
    if isinstance(result, Real | tuple | list | np.ndarray):
        return ": return mcsim.Estimate(value, se)"
    if callable(result):
        return ": call it, or return mcsim.Estimate(value, se)"
    return (
        ", which mcsim does not read: return mcsim.Estimate(value, se), or use "
        "@host(extract=lambda result: mcsim.Estimate(...))"
    )


def _plain(estimate: Estimate) -> Estimate:
    wrong = [
        name
        for name, number in zip(Estimate._fields, estimate, strict=True)
        if not isinstance(number, Real) and np.ndim(number) > 0
    ]
    if wrong:
        raise ContractError(f"the estimate's {', '.join(wrong)} must be numbers, not arrays")
    *numbers, status = estimate
    known = [int(member) for member in Status]
    if status not in known:
        raise ContractError(f"the estimate's status is {status!r}, expected an mcsim.Status")
    plain = Estimate(*(float(number) for number in numbers), status=int(status))
    raise_all(_faults_of_limits(plain), ContractError)
    return plain


def _faults_of_limits(estimate: Estimate) -> list[str]:
    """Return the faults of the limits of an estimate; ``lower`` stands after ``se``."""
    value, _, lower, upper, *_ = estimate
    given = {"lower": lower, "upper": upper}
    alone = [name for name, limit in given.items() if not math.isnan(limit)]
    if len(alone) == 1 and not math.isnan(value):
        (other,) = given.keys() - alone
        df = f", or df={lower:g} for degrees of freedom" if alone == ["lower"] else ""
        infinite = "math.inf" if other == "upper" else "-math.inf"
        return [
            f"the estimate has {alone[0]}={given[alone[0]]:g} without {other}; give both limits "
            f"({other}={infinite} of a one-sided interval){df}"
        ]
    if lower > upper:
        return [f"the estimate has lower={lower:g} above upper={upper:g}; give the lower one first"]
    return []


_READERS: dict[str, Callable[[Any], Coefficients]] = {
    "diff_diff": of_diff_diff,
    "doubleml": of_doubleml,
    "econml": of_econml,
    "linearmodels": of_linearmodels,
    "pyfixest": of_pyfixest,
    "statsmodels": of_statsmodels,
}
"""Readers by the name of the library's top module; none of them imports its library."""
