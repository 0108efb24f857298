"""The smallest effect that tests detect with a given power, read off a grid of effects."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Float
from numpy import ndarray

from mcsim._core.calls import with_remedies
from mcsim._core.checks import is_finite
from mcsim.errors import InputError, did_you_mean, raise_all

_LEAST = 1e-4  # shares of 0 and 1 have the normal score of this one, or of half a replication
_NAMED = ("dgp", "estimator", "estimand", "inference")

Grid = Float[ndarray, " effect"]


@runtime_checkable
class Summarized(Protocol):
    """Results of a study, which summarize themselves."""

    def summary(self, *, measures: Sequence[str]) -> pd.DataFrame:
        """Return measures, a row for each cell and estimator."""
        ...


class Detectable(NamedTuple):
    """The smallest effect with a power, its Monte Carlo error, and the reason if there is none."""

    value: float
    mcse: float
    note: str


@with_remedies()
def detectable_effect(
    results: Summarized | pd.DataFrame, *, power: float = 0.8, effect: str
) -> pd.DataFrame:
    """Return the smallest effect that each estimator's test detects with a given power.

    The share of rejections is made monotone in the size of the effect (isotonic regression,
    weighted by replications), and interpolated between the two effects around the power: linearly
    in its normal score, in which the power of a normal test is a straight line.

    Parameters
    ----------
    results : Results, or pandas.DataFrame
        The results of a study over a grid of effects, or a summary with ``rejection``.
    power : float
        The power, between 0 and 1.
    effect : str
        The factor, or column, of the effects: all of one sign; the null may be among them. Or
        another factor with which power rises: of a number of units, ``effect="n"``, the result is
        the smallest number that has the power.

    Returns
    -------
    pandas.DataFrame
        One row for each combination of the other labels: ``detectable_effect``; its Monte Carlo
        standard error ``detectable_effect_mcse``, by the delta method from the errors of the
        shares; ``note``: why there is none, if the power is never reached or the smallest effect
        already has it.

    Raises
    ------
    InputError
        For an unknown effect, fewer than two effects, effects of both signs, or no tests.

    References
    ----------
    Bloom (1995), "Minimum detectable effects: a simple way to report the statistical power of
    experimental designs", Evaluation Review 19, 547-556.

    Examples
    --------
    >>> summary = pd.DataFrame({"tau": [0.2, 0.4], "rejection": [0.5, 0.9]})
    >>> summary["rejection_mcse"], summary["rejection_n"] = [0.016, 0.009], 1000
    >>> detectable_effect(summary, effect="tau").round(3).drop(columns="note")
       detectable_effect  detectable_effect_mcse
    0              0.331                   0.006
    """
    summary = _summary_of(results)
    labels = [c for c in map(str, summary) if c != effect and _is_label(summary, c)]
    _check(summary, effect, power, labels)
    groups: Iterable[tuple[Any, pd.DataFrame]] = [((), summary)]
    if labels:
        groups = summary.groupby(labels, sort=False, dropna=False)
    rows = []
    for key, group in groups:
        found = _smallest(*_curve(group, effect), power, effect)
        rows.append(
            {
                **dict(zip(labels, key, strict=True)),
                "detectable_effect": found.value,
                "detectable_effect_mcse": found.mcse,
                "note": found.note,
            }
        )
    return pd.DataFrame(rows)


def _summary_of(results: Summarized | pd.DataFrame) -> pd.DataFrame:
    if isinstance(results, pd.DataFrame):
        return results
    if isinstance(results, Summarized):
        return results.summary(measures=["rejection"])
    raise InputError(
        f"results: got {type(results).__name__}, expected Results, or a summary as a DataFrame"
    )


def _is_label(summary: pd.DataFrame, column: str) -> bool:
    """Return whether a column stands before the measures: those have Monte Carlo errors."""
    columns = list(map(str, summary))
    first = min((columns.index(c) for c in columns if f"{c}_mcse" in columns), default=0)
    named = column in _NAMED
    return named or (columns.index(column) < first and column != "given_shocks")


def _check(summary: pd.DataFrame, effect: str, power: float, labels: Sequence[str]) -> None:
    faults = []
    if not is_finite(power) or not 0 < power < 1:
        faults.append(f"power: got {power!r}, expected a number between 0 and 1")
    missing = [n for n in ("rejection", "rejection_mcse") if n not in summary]
    if missing:
        faults.append('results: the summary has no "rejection"; add it to its measures')
    if effect not in summary:
        hint = did_you_mean(str(effect), labels) or f", expected a factor; there are {labels}"
        faults.append(f"effect: got {effect!r}{hint}")
    raise_all(faults)
    if not pd.api.types.is_numeric_dtype(summary[effect]):
        raise InputError(f"effect: {effect!r} holds {summary[effect].iloc[0]!r}, expected numbers")
    values = summary[effect].dropna().astype(float).unique()
    if len(values) < 2:
        raise InputError(f"effect: {effect!r} has one value, expected a grid of at least two")
    if (values < 0).any() and (values > 0).any():
        raise InputError(
            f"effect: {effect!r} has values of both signs, expected one; keep one side, as in "
            f"summary[summary[{effect!r}] >= 0]"
        )


def _curve(group: pd.DataFrame, effect: str) -> tuple[Grid, Grid, Grid, Grid]:
    """Return effects by size, shares of rejections, their errors and their weights."""
    group = group[group["rejection"].notna()]
    order = np.argsort(group[effect].abs().to_numpy(dtype=float), kind="stable")
    columns = [group[c].to_numpy(dtype=float)[order] for c in (effect, "rejection")]
    error = group["rejection_mcse"].fillna(0.0).to_numpy(dtype=float)[order]
    weight = np.ones(len(order))
    if "rejection_n" in group:
        weight = group["rejection_n"].to_numpy(dtype=float)[order]
    return columns[0], columns[1], error, weight


def _smallest(
    effects: Grid, shares: Grid, errors: Grid, weights: Grid, power: float, name: str
) -> Detectable:
    if len(effects) < 2:
        return Detectable(np.nan, np.nan, f"fewer than two values of {name} have tests")
    shares, errors = _monotone(shares, errors, weights)
    above = int(np.argmax(shares >= power)) if (shares >= power).any() else len(shares)
    if above == len(shares):
        note = f"power is {shares[-1]:.2f} at the largest {name}, {effects[-1]:g}: add larger ones"
        return Detectable(np.nan, np.nan, note)
    if above == 0:
        note = f"power is {shares[0]:.2f} at the smallest {name}, {effects[0]:g}: add smaller ones"
        return Detectable(np.nan, np.nan, note)
    pair = slice(above - 1, above + 1)
    least = np.where(weights[pair] > 1, 0.5 / weights[pair], _LEAST)
    inside = np.clip(shares[pair], least, 1 - least)
    (low, high), (lower, upper) = scipy.special.ndtri(inside), effects[pair]
    # An error of a share moves its normal score by the error over the normal density there.
    slack = errors[pair] / np.exp(-0.5 * np.array([low, high]) ** 2) * np.sqrt(2 * np.pi)
    at = (scipy.special.ndtri(power) - low) / (high - low)
    step = (upper - lower) / (high - low)
    mcse = abs(step) * np.hypot((1 - at) * slack[0], at * slack[1])
    return Detectable(float(lower + at * (upper - lower)), float(mcse), "")


def _monotone(shares: Grid, errors: Grid, weights: Grid) -> tuple[Grid, Grid]:
    """Return shares pooled with their neighbors where they fall, and the errors of the pools."""
    blocks: list[list[int]] = []

    def mean(block: list[int]) -> float:
        return float(np.average(shares[block], weights=weights[block]))

    for place in range(len(shares)):
        blocks.append([place])
        while len(blocks) > 1 and mean(blocks[-2]) > mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    pooled, slack = np.empty(len(shares)), np.empty(len(shares))
    for block in blocks:
        share = weights[block] / weights[block].sum()
        pooled[block], slack[block] = mean(block), np.sqrt(((share * errors[block]) ** 2).sum())
    return pooled, slack
