"""Labels of estimates: an estimand, or a pair (estimand, inference)."""

from collections.abc import Mapping
from typing import Any

from mcsim.errors import ContractError

UNNAMED = ""
"""The estimand of an estimate that does not say what it is of; the study fills it in."""

UNTOLD = "estimate"
"""Its estimand in results where the study does not have exactly one."""

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
