"""Readers of what host functions return: an `Estimate`, a fitted result, or a dict of either.

A result is read at once, because some objects change when they are used again. Which reader is
told by the name of the result's module; no library is imported to find out.
"""

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from mcsim._core import Estimate, Status
from mcsim.errors import ContractError, did_you_mean

UNNAMED = ""
"""The estimand of an estimate that does not say what it is of; the study fills it in."""

FullLabel = tuple[str, str]
"""(estimand, inference), either of them possibly empty."""


def full_label(label: Any) -> FullLabel:
    """Return a label as (estimand, inference).

    Raises
    ------
    ContractError
        If it is neither a string nor a pair of strings.

    Examples
    --------
    >>> full_label("att"), full_label(("att", "HC1"))
    (('att', ''), ('att', 'HC1'))
    """
    if isinstance(label, str):
        return label, ""
    if isinstance(label, tuple) and len(label) == 2 and all(isinstance(p, str) for p in label):
        return label
    raise ContractError(
        f"the label {label!r} is neither an estimand (a string) nor a pair (estimand, inference)"
    )


def label_all(estimates: Mapping[Any, Any]) -> dict[FullLabel, Any]:
    """Return estimates by full label; two of one label are an error."""
    if not estimates:
        raise ContractError("it returned an empty dict, expected an estimate")
    labeled = {full_label(label): estimate for label, estimate in estimates.items()}
    if len(labeled) < len(estimates):
        raise ContractError(f"it returned two estimates of one label: {list(estimates)}")
    return labeled


def read_result(
    result: Any, *, term: str | None = None, estimand: str | None = None
) -> dict[FullLabel, Estimate]:
    """Read what an estimator returned into labeled estimates of plain floats.

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
    dict of (estimand, inference) to Estimate

    Raises
    ------
    ContractError
        If the result is something else, or has no such term.

    Examples
    --------
    >>> read_result(Estimate(1.0, 0.5), estimand="att")["att", ""].se
    0.5
    """
    if isinstance(result, Mapping):
        return {label: _read_one(one, term) for label, one in label_all(result).items()}
    return {(estimand or UNNAMED, ""): _read_one(result, term)}


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
    known = [int(member) for member in Status]
    if status not in known:
        raise ContractError(f"the estimate's status is {status!r}, expected an mcsim.Status")
    return Estimate(*(float(number) for number in numbers), status=int(status))


def _read_statsmodels(result: Any, term: str | None) -> Estimate:
    """Read a statsmodels result: z intervals unless it was fit with ``use_t``."""
    if not hasattr(result, "params"):
        raise ContractError(
            f"the estimator returned {type(result).__name__} before it was fitted; return .fit()"
        )
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
