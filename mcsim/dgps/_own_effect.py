"""The treatment of a real panel: its effect, estimated to be removed, and exchangeable units.

An effect estimated cell by cell would leave treated units without noise. Averages are by
imputation (Borusyak, Jaravel & Spiess 2024, Review of Economic Studies 91: 3253-3285); where the
treatment is given up again, the coefficient of two-way fixed effects.

Permuted paths of treatment represent the data's own only where units are exchangeable: variances
of treated and untreated units before treatment are compared. The variances are of changes from
period to period, about the mean of each group and period, without levels and common trends.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

Cells = Float[np.ndarray, "unit period"]
Chosen = Bool[np.ndarray, "unit period"]

_COLLINEAR = 1e-10  # share of a treatment's variation that unit and period effects must leave


class OwnTreatment(NamedTuple):
    """Outcome and treatment of a real panel, in NumPy.

    Attributes
    ----------
    y : array (unit, period)
        The outcome.
    on, observed : array of bool (unit, period)
        Whether a cell is observed and treated; whether it is observed.
    """

    y: Cells
    on: Chosen
    observed: Chosen

    @property
    def start(self) -> Int[np.ndarray, " unit"]:
        """Position of each unit's first treated period; the number of periods without one."""
        return np.where(self.on.any(axis=1), self.on.argmax(axis=1), self.on.shape[1])

    @property
    def absorbing(self) -> bool:
        """Whether treated units stay treated."""
        treated = np.arange(self.on.shape[1]) >= self.start[:, None]
        return bool((self.on == (treated & self.observed)).all())

    @property
    def event(self) -> Float[np.ndarray, "unit period"]:
        """Periods since the first treated one; NaN in units whose period before is not observed.

        The adoption date of these units is unknown.
        """
        periods, start = np.arange(self.on.shape[1]), self.start[:, None]
        dated = (self.observed & (periods == start - 1)).any(axis=1, keepdims=True)
        return np.where(dated, periods - start, np.nan)


class OwnEffect(NamedTuple):
    """The average effect of the treatment that a panel had.

    Attributes
    ----------
    average : float
        Over the treated cells; NaN where it is not identified.
    by_event : dict of int to float
        By event time, where it was asked for.
    of_cell : array (unit, period)
        The effect that is removed: 0 in untreated cells.
    used : dict of str to array of bool (unit, period)
        The treated cells of each estimate: ``"average"``, or ``"event time 0"``, ...
    method : str
        The estimator's name.
    """

    average: float
    by_event: dict[int, float]
    of_cell: Cells
    used: dict[str, Chosen]
    method: str


def own_effect(own: OwnTreatment, *, by_event: bool = False) -> OwnEffect:
    """Estimate the effect of a panel's own treatment, the same for all treated cells or by event.

    A treated cell without an estimate at its event time has the average.
    """
    if not own.absorbing:
        return _two_way(own)
    gap = own.y - two_way_fit(own.y, own.observed & ~own.on)
    counted = own.on & np.isfinite(gap)
    average = float(gap[counted].mean()) if counted.any() else np.nan
    of_cell = np.where(own.on, average, 0.0)
    if not by_event:
        return OwnEffect(average, {}, of_cell, {"average": counted}, "imputation")
    event = np.where(counted, own.event, np.nan)
    paths, used = {}, {}
    for time in np.unique(event[np.isfinite(event)]).astype(int).tolist():
        paths[time] = float(gap[event == time].mean())
        used[f"event time {time}"] = event == time
        of_cell = np.where(own.on & (own.event == time), paths[time], of_cell)
    return OwnEffect(average, paths, of_cell, used, "imputation")


def _two_way(own: OwnTreatment) -> OwnEffect:
    """Regress the outcome on treatment, unit and period effects: Frisch, Waugh & Lovell."""
    d = own.on.astype(float)
    left = two_way_residual(d, own.observed)
    varies = (left**2).sum()
    product = (left * np.where(own.observed, own.y, 0.0)).sum()
    slope = float(product / varies) if varies > _COLLINEAR * d.sum() else np.nan
    return OwnEffect(slope, {}, slope * d, {"average": own.on}, "two-way fixed effects")


def two_way_fit(values: Cells, chosen: Chosen) -> Cells:
    """Fit unit and period effects to the chosen cells, and predict all cells by them.

    Parameters
    ----------
    values : array (unit, period)
        Values to fit; other cells may hold any value.
    chosen : array of bool (unit, period)
        The cells of the fit.

    Returns
    -------
    array (unit, period)
        NaN where unit and period do not meet in the chosen cells, directly or through others.

    Examples
    --------
    >>> values = np.array([[1.0, 2.0, 9.0], [4.0, 5.0, 6.0]])
    >>> two_way_fit(values, values < 9).round(12).tolist()
    [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    """
    if values.shape[1] > values.shape[0]:  # the shorter axis is the one whose equations are solved
        return two_way_fit(values.T, chosen.T).T
    weight = chosen.astype(float)
    share = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1.0)
    mean = (share * np.where(chosen, values, 0.0)).sum(axis=1)
    within = np.where(chosen, values - mean[:, None], 0.0)
    normal = np.diag(weight.sum(axis=0)) - share.T @ weight
    of_period = np.linalg.lstsq(normal, within.sum(axis=0))[0]
    of_unit = mean - share @ of_period
    return np.where(_linked(chosen), of_unit[:, None] + of_period, np.nan)


def two_way_residual(values: Cells, chosen: Chosen) -> Cells:
    """Return deviations from unit and period effects in the chosen cells, and 0 in the others."""
    return np.where(chosen, values - two_way_fit(values, chosen), 0.0)


def _linked(chosen: Chosen) -> Chosen:
    """Return whether unit and period meet in the chosen cells, directly or through others."""
    met = chosen.astype(float)
    linked = met.T @ met > 0
    for _ in range(max(len(linked) - 1, 1).bit_length()):
        linked = linked.astype(float) @ linked > 0
    return met @ linked > 0


# Exchangeable units

_PERMUTATIONS = 499
_CELLS_AT_ONCE = 10**6
_SEED = 0  # the p-value of a panel is the same in every process


class VarianceRatio(NamedTuple):
    """The variance of changes of later treated units over that of never treated ones, and its p."""

    ratio: float
    p: float


def pre_period_variances(
    y: Cells, observed: Chosen, start: Int[np.ndarray, " unit"], *,
    number: Int[np.ndarray, " unit"], stratum: Int[np.ndarray, " unit"],
) -> VarianceRatio | None:  # fmt: skip
    """Compare the variances of treated and untreated units before treatment.

    Parameters
    ----------
    y : array (unit, period)
        Outcomes, from which the effect of treatment is removed: permutations read treated cells.
    observed : array of bool (unit, period)
        Mask of the observed cells.
    start : array of int (unit,)
        Position of the first treated period; the number of periods for the untreated.
    number, stratum : array of int (unit,)
        Numbers of the units or clusters that exchange their starts, and the strata within which.

    Returns
    -------
    VarianceRatio or None
        The p-value is of a two-sided permutation test of the logarithm. None: in no period
        have two units of both kinds changes before treatment.
    """
    change = np.diff(y, axis=1)
    seen = observed[:, 1:] & observed[:, :-1]
    total = np.where(seen, change, 0.0).sum(axis=0)
    change = np.where(seen, change - total / np.maximum(seen.sum(axis=0), 1), 0.0)
    (found,) = _log_ratio(change, seen, start[None])
    if not np.isfinite(found):
        return None
    _, first = np.unique(number, return_index=True)
    rng, each = np.random.default_rng(_SEED), max(1, _CELLS_AT_ONCE // y.size)
    drawn = []
    for done in range(0, _PERMUTATIONS, each):
        count = min(each, _PERMUTATIONS - done)
        starts = _permute(rng, start[first], stratum[first], count)
        drawn.append(_log_ratio(change, seen, starts[:, number]))
    drawn = np.concatenate(drawn)
    as_far = np.abs(drawn[np.isfinite(drawn)]) >= abs(found) - 1e-9
    return VarianceRatio(float(np.exp(found)), float((1 + as_far.sum()) / (1 + len(as_far))))


def _permute(
    rng: np.random.Generator, values: np.ndarray, stratum: np.ndarray, count: int
) -> np.ndarray:
    """Return ``count`` permutations of the values within strata: (permutation, group)."""
    taker = np.argsort(stratum, kind="stable")
    ranks = rng.random((count, len(values)))
    giver = np.lexsort((ranks, np.broadcast_to(stratum, ranks.shape)), axis=-1)
    drawn = np.empty(ranks.shape, values.dtype)
    drawn[:, taker] = values[giver]
    return drawn


def _log_ratio(
    change: Float[np.ndarray, "unit change"],
    seen: Bool[np.ndarray, "unit change"],
    start: Int[np.ndarray, "permutation unit"],
) -> Float[np.ndarray, " permutation"]:
    """Return the log ratio of variances, pooled over periods with two units of both kinds."""
    last = seen.shape[1]
    never = (start > last)[..., None]
    before = start[..., None] > np.arange(1, last + 1)
    n_treated, treated = _spread(change, seen & before & ~never)
    n_never, untreated = _spread(change, seen & never)
    both = (n_treated > 1) & (n_never > 1)
    df = np.where(both, n_treated - 1, 0)
    expected = (df * untreated / np.maximum(n_never - 1, 1)).sum(axis=-1)
    total = np.where(both, treated, 0.0).sum(axis=-1)
    known = (total > 0) & (expected > 0)
    return np.log(np.where(known, total, np.nan) / np.where(known, expected, 1.0))


def _spread(change: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of chosen units in each period, and the sum of their squared deviations."""
    number = chosen.sum(axis=-2)
    total = np.einsum("...ut,ut->...t", chosen.astype(float), change)
    squares = np.einsum("...ut,ut->...t", chosen.astype(float), change**2)
    return number, squares - total**2 / np.maximum(number, 1)
