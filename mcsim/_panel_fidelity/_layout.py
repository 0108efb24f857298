"""Layout: which columns of a panel are outcomes, which are unit factors, and on which scale."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from mcsim._core import Panel
from mcsim._schema import Schema
from mcsim.errors import InputError, did_you_mean, raise_all

Cube = Float[ndarray, "unit period outcome"]
Rows = Float[ndarray, "unit coordinate"]

UNITS = 8  # halves of fewer than four units say nothing


class Units(NamedTuple):
    """Units of one panel or of several, end to end.

    Attributes
    ----------
    cube : array (unit, period, outcome)
        Standardized outcomes.
    rows : array (unit, coordinate)
        All columns, standardized: paths of the outcomes, of what else varies, then what is fixed.
    raw : dict of str to array (unit, period)
        All columns as they are.
    """

    cube: Cube
    rows: Rows
    raw: Mapping[str, Float[ndarray, "unit period"]]

    def take(self, which: Any) -> "Units":
        """Return some units."""
        raw = {name: values[which] for name, values in self.raw.items()}
        return Units(self.cube[which], self.rows[which], raw)

    def flat(self) -> Float[ndarray, "unit cell"]:
        """All columns as they are, side by side."""
        return np.concatenate(list(self.raw.values()), axis=1)


@dataclass(frozen=True)
class PanelLayout:
    """What the columns of a panel are to the comparison.

    Attributes
    ----------
    schema : Schema
        Kinds, mass points and labels of periods.
    outcomes : tuple of str
        Columns that move within units over and above the common movement.
    varying, fixed : tuple of str
        Other columns that change within some unit, and those that do in none.
    centers, scales : dict of str to float
        Mean and standard deviation of each column in the real data.
    """

    schema: Schema
    outcomes: tuple[str, ...]
    varying: tuple[str, ...]
    fixed: tuple[str, ...]
    centers: dict[str, float]
    scales: dict[str, float]

    @property
    def n_fixed(self) -> int:
        """Number of coordinates, the last ones, that hold the fixed columns."""
        columns = [self.schema[name] for name in self.fixed]
        return sum(len(column.levels) if column.nominal else 1 for column in columns)

    def units(self, columns: Mapping[str, Any]) -> Units:
        """Read the units of a panel's columns."""
        raw = {name: np.asarray(columns[name], np.float64) for name in self.schema.names}
        paths = [self._encoded(name, raw[name]) for name in (*self.outcomes, *self.varying)]
        factors = [self._encoded(name, raw[name][:, :1]) for name in self.fixed]
        cube = np.stack([self._standardized(name, raw[name]) for name in self.outcomes], axis=-1)
        return Units(cube, np.concatenate([*paths, *factors], axis=1), raw)

    def _standardized(self, name: str, values: ndarray) -> ndarray:
        return (values - self.centers[name]) / self.scales[name]

    def _encoded(self, name: str, values: ndarray) -> ndarray:
        column = self.schema[name]
        if not column.nominal:
            return self._standardized(name, values)
        indicators = values[..., None] == np.arange(len(column.levels))
        return indicators.reshape(len(values), -1).astype(np.float64)


def read_panel_layout(
    real: Panel, schema: Schema, outcome: str | Sequence[str] | None
) -> PanelLayout:
    """Check the real panel and find its outcomes."""
    asked = (outcome,) if isinstance(outcome, str) else tuple(outcome or ())
    names = (*schema.names, *asked)
    raise_all(
        [f"column {n!r} is not in real{did_you_mean(n, real)}" for n in names if n not in real]
    )
    values = {name: np.asarray(real[name], np.float64) for name in schema.names}
    _check_cells(real, values)
    free = tuple(n for n in schema.names if not schema[n].nominal and _moves(values[n]))
    _check_outcomes(asked, free)
    moving = tuple(n for n, x in values.items() if np.ptp(x, axis=1).any())
    return PanelLayout(
        schema,
        asked or free,
        tuple(name for name in moving if name not in (asked or free)),
        tuple(name for name in values if name not in moving),
        {name: float(x.mean()) for name, x in values.items()},
        {name: float(x.std()) or 1.0 for name, x in values.items()},
    )


def _moves(x: ndarray) -> bool:
    """Whether units differ in their changes over time: age does not, wages do."""
    within = x - x.mean(axis=1, keepdims=True)
    return bool((within - within.mean(axis=0)).std() > 1e-6 * max(float(x.std()), 1e-300))


def _check_cells(real: Panel, values: dict[str, ndarray]) -> None:
    faults = []
    if real.n_units < UNITS:
        faults.append(
            f"real: got {real.n_units} units, expected at least {UNITS}; halves of fewer cannot be "
            "compared, so look at generated and real panels side by side instead"
        )
    missing = [name for name, x in values.items() if not np.isfinite(x).all()]
    if real.mask is not None and not np.asarray(real.mask).all():
        faults.append("real: got missing cells, expected none; keep the units or the periods "
                      "that are complete")  # fmt: skip
    elif missing:
        faults.append(f"real: got missing or infinite cells in {missing}, expected none; keep the "
                      "units or the periods that are complete")  # fmt: skip
    raise_all(faults)


def _check_outcomes(asked: tuple[str, ...], free: tuple[str, ...]) -> None:
    wrong = [
        f"outcome: got {name!r}, which is nominal or moves alike in all units; expected "
        f"some of {list(free)}"
        for name in asked
        if name not in free
    ]
    raise_all(wrong)
    if not free:
        raise InputError(
            "real: no column moves within units, expected at least one; a cross-section has one "
            "period"
        )
