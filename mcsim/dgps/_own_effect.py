"""The effect that a panel's own treatment had, estimated to be removed: averages, never cells.

An effect estimated cell by cell would leave treated units without noise. Averages are those of
imputation (Borusyak, Jaravel & Spiess 2024, Review of Economic Studies 91: 3253-3285); where the
treatment is given up again, the coefficient of two-way fixed effects.
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
        Values to fit; cells that are not chosen may hold anything.
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
