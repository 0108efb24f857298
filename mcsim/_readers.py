"""Readers of what host functions return: an `Estimate`, a fitted result, or a dict of either.

A result is read at once, because some objects change when they are used again. Which reader is
told by the name of the result's module; no library is imported to find out.
"""

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from mcsim._core import Estimate, Label, Status
from mcsim.errors import ContractError, did_you_mean

UNNAMED = ""
"""The label of an estimate that does not say what it is of; the study fills it in."""


def read_result(
    result: Any, *, term: str | None = None, estimand: str | None = None
) -> dict[Label, Estimate]:
    """Read what an estimator returned into labelled estimates of plain floats.

    Parameters
    ----------
    result : Estimate, fitted result, or mapping of label to either
        A label is an estimand or a pair (estimand, inference).
    term : str, optional
        The coefficient to take from a fitted result.
    estimand : str, optional
        The label of a result that has none.

    Returns
    -------
    dict of label to Estimate

    Raises
    ------
    ContractError
        If the result is something else, or has no such term.

    Examples
    --------
    >>> read_result(Estimate(1.0, 0.5), estimand="att")["att"].se
    0.5
    """
    if isinstance(result, Mapping):
        if not result:
            raise ContractError("the estimator returned an empty dict, expected an estimate")
        return {_label(label): _read_one(value, term) for label, value in result.items()}
    return {estimand or UNNAMED: _read_one(result, term)}


def _label(label: Any) -> Label:
    pair = isinstance(label, tuple) and len(label) == 2 and all(isinstance(p, str) for p in label)
    if isinstance(label, str) or pair:
        return label
    raise ContractError(
        f"the estimator returned the label {label!r}, expected an estimand (a string) or a pair "
        "(estimand, inference)"
    )


def _read_one(result: Any, term: str | None) -> Estimate:
    if isinstance(result, Estimate):
        return _plain(result)
    library = type(result).__module__.split(".")[0]
    if library in _READERS:
        return _READERS[library](result, term)
    raise ContractError(
        f"the estimator returned {type(result).__name__}, expected an Estimate, a result of "
        f"{', '.join(sorted(_READERS))}, or a dict of either"
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
    return Estimate(*(float(number) for number in numbers), status=int(status))


def _read_statsmodels(result: Any, term: str | None) -> Estimate:
    """Read a statsmodels result: z intervals unless it was fit with ``use_t``."""
    names = list(result.model.exog_names)
    position = _position(names, term)
    df = result.df_resid_inference if hasattr(result, "df_resid_inference") else result.df_resid
    converged = (getattr(result, "mle_retvals", None) or {}).get("converged", True)
    return Estimate(
        value=float(np.asarray(result.params)[position]),
        se=float(np.asarray(result.bse)[position]),
        df=float(df) if result.use_t else np.inf,
        status=Status.OK if converged else Status.NONCONVERGED,
    )


def _position(names: list[str], term: str | None) -> int:
    if term is None:
        raise ContractError(f"term: the result has {names}; name one with @host(term=...)")
    if term not in names:
        raise ContractError(f"term: the result has no {term!r}{did_you_mean(term, names)}")
    return names.index(term)


_READERS: dict[str, Callable[[Any, str | None], Estimate]] = {"statsmodels": _read_statsmodels}
