"""Panels for the comparison: columns and scales, real units and halves, draws.

Draws are many panels, not one long panel, since units of a panel may share common shocks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key
from numpy import ndarray

from mcsim._core.records import Panel
from mcsim._data.schema import Schema
from mcsim._fidelity._panels.moments import (
    Grid,
    Vectors,
    end_to_end,
    moments,
    read_grid,
    weighted_moments,
)
from mcsim._fidelity._panels.placebo import changes_in_means, log_sd, log_sd_weighted
from mcsim._fidelity.candidates import require_columns
from mcsim.dgps._ensemble import without_training_record
from mcsim.errors import InputError, did_you_mean, raise_all

Cube = Float[ndarray, "unit period outcome"]
Rows = Float[ndarray, "unit coordinate"]
Drawn = dict[str, Float[ndarray, "panel unit period"]]

UNITS = 8  # halves of fewer than four units are not informative
BOOTSTRAPS = 200
BATCH_CELLS = 4_000_000  # numbers drawn at once


class Units(NamedTuple):
    """Units of one panel or of several, end to end.

    Attributes
    ----------
    cube : array (unit, period, outcome)
        Standardized outcomes.
    rows : array (unit, coordinate)
        All columns, standardized: paths of the outcomes, other time-varying columns, then
        time-invariant ones.
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
    """Outcomes, other columns, and their scales.

    Attributes
    ----------
    schema : Schema
        Kinds, mass points and labels of periods.
    outcomes : tuple of str
        Columns that change within units, net of period means.
    time_varying, time_invariant : tuple of str
        Other columns, by whether they change within some unit.
    centers, scales : dict of str to float
        Mean and standard deviation of each column in the real data.
    """

    schema: Schema
    outcomes: tuple[str, ...]
    time_varying: tuple[str, ...]
    time_invariant: tuple[str, ...]
    centers: dict[str, float]
    scales: dict[str, float]

    @property
    def n_invariant(self) -> int:
        """Number of coordinates of the time-invariant columns, which are the last ones."""
        columns = [self.schema[name] for name in self.time_invariant]
        return sum(len(column.levels) if column.nominal else 1 for column in columns)

    def units(self, columns: Mapping[str, Any]) -> Units:
        """Read the units of a panel's columns."""
        raw = {name: np.asarray(columns[name], np.float64) for name in self.schema.names}
        paths = [self._encoded(name, raw[name]) for name in (*self.outcomes, *self.time_varying)]
        factors = [self._encoded(name, raw[name][:, :1]) for name in self.time_invariant]
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


def note_on_outcomes(layout: PanelLayout) -> list[str]:
    """Return a note on binary columns that are judged as outcomes, since one may be a treatment."""
    binary = [name for name in layout.outcomes if layout.schema[name].kind == "binary"]
    others = [name for name in layout.outcomes if name not in binary]
    if not binary or not others:
        return []
    return [
        f"{', '.join(binary)}: binary, and judged as an outcome like {', '.join(others)}; if it is "
        f"a treatment, name the outcomes: outcome={others}"
    ]


def _moves(x: ndarray) -> bool:
    """Return whether units differ in their changes over time: in age they do not, in wages yes."""
    within = x - x.mean(axis=1, keepdims=True)
    return bool((within - within.mean(axis=0)).std() > 1e-6 * max(float(x.std()), 1e-300))


def _check_cells(real: Panel, values: dict[str, ndarray]) -> None:
    faults = []
    if real.n_units < UNITS:
        faults.append(
            f"real: got {real.n_units} units, expected at least {UNITS}; halves of fewer units "
            "cannot be compared, so look at generated and real panels side by side instead"
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


# The real panel


class HalfSample(NamedTuple):
    """Moments of some real units, and log sds of their changes in means, with bootstraps."""

    vectors: Vectors
    log_sd: Float[ndarray, "outcome date"]
    log_sd_draws: Float[ndarray, "draw outcome date"]


@dataclass(frozen=True, eq=False)
class RealPanel:
    """The real panel.

    Attributes
    ----------
    panel : Panel
    layout : PanelLayout
    units : Units
    grid : Grid
        Points at which distribution functions are compared.
    weights : array (draw, unit)
        Of a Bayesian bootstrap (Rubin 1981, Annals of Statistics 9: 130-134): unlike counts,
        weights leave no unit out, which matters in halves of four units.
    """

    panel: Panel
    layout: PanelLayout
    units: Units
    grid: Grid
    weights: Float[ndarray, "draw unit"]
    _halves: dict[bytes, HalfSample] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of units and periods."""
        return self.panel.n_units, self.panel.n_periods

    @property
    def dates(self) -> tuple[Any, ...]:
        """Labels of the placebo dates: all periods but the first."""
        labels = self.layout.schema.period_labels
        return tuple(labels[1:]) if len(labels) == self.shape[1] else tuple(range(1, self.shape[1]))

    def half(self, units: Int[ndarray, " unit"]) -> HalfSample:
        """Return the moments of some units; each set of units is computed once."""
        found = self._halves.get(units.tobytes())
        if found is None:
            found = self._halves[units.tobytes()] = self._half(units)
        return found

    @property
    def component_sizes(self) -> dict[str, int]:
        """Number of moments of each component."""
        ones = jnp.ones(self.shape[0])
        shapes = jax.eval_shape(moments, self.units.cube, self.units.rows, ones, self.grid)
        return {name: shape.size for name, shape in shapes.items()}

    def _half(self, units: Int[ndarray, " unit"]) -> HalfSample:
        changes, weights = changes_in_means(self.units.cube[units]), self.weights[:, units]
        every = np.concatenate([np.ones((1, len(units))), weights])
        found = end_to_end(self._moments(units, every))
        draws = log_sd_weighted(changes, weights)
        return HalfSample(Vectors(found[0], found[1:]), log_sd(changes), draws)

    def _moments(self, units: Int[ndarray, " unit"], weights: ndarray) -> dict[str, Any]:
        cube, rows = jnp.asarray(self.units.cube[units]), jnp.asarray(self.units.rows[units])
        return weighted_moments(cube, rows, jnp.asarray(weights), self.grid)


def read_real(key: Key[Array, ""], panel: Panel, layout: PanelLayout) -> RealPanel:
    """Standardize the panel and draw the weights."""
    units = layout.units(panel)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist())
    weights = rng.standard_exponential((BOOTSTRAPS, panel.n_units))
    weights *= panel.n_units / weights.sum(axis=1, keepdims=True)
    grid = read_grid(units.cube, units.rows, layout.n_invariant)
    return RealPanel(panel, layout, units, grid, weights)


# Generated panels


def draw_panels(
    key: Key[Array, ""],
    generator: Any,
    n_panels: int,
    shape: tuple[int, int],
    names: Sequence[str],
) -> Drawn:
    """Draw panels of ``shape`` (unit, period).

    Generators that are pytrees share one program, fits of one kind too; the others run operation
    by operation. Batches are of one size: the last one is filled with panels that are not kept.
    """
    generator, names = without_training_record(generator), tuple(names)
    most = max(1, BATCH_CELLS // (shape[0] * shape[1] * len(names)))
    batches = -(-n_panels // most)
    batch, keys = -(-n_panels // batches), jax.random.split(key, n_panels)
    places = np.arange(batches * batch).reshape(batches, batch) % n_panels
    drawn = [_draw(generator, keys[own] if batches > 1 else keys, shape, names) for own in places]
    return {name: np.concatenate([part[name] for part in drawn])[:n_panels] for name in names}


def _draw(generator: Any, keys: Array, shape: tuple, names: tuple) -> dict[str, ndarray]:
    if not jax.tree_util.all_leaves([generator]):
        drawn = _draw_compiled(generator, keys, shape, names)
    else:
        one = partial(_draw_one, generator, shape, names)
        try:
            drawn = jax.vmap(one)(keys)
        except (jax.errors.JAXTypeError, jax.errors.JAXIndexError):  # it is host code
            drawn = jax.tree.map(lambda *panels: np.stack(panels), *[one(key) for key in keys])
    found = {name: np.asarray(drawn[name], np.float64) for name in names}
    _check_finite(generator, found)
    return found


@partial(jax.jit, static_argnums=(2, 3))
def _draw_compiled(generator: Any, keys: Array, shape: tuple, names: tuple) -> dict[str, Array]:
    return jax.vmap(partial(_draw_one, generator, shape, names))(keys)


def _draw_one(generator: Any, shape: tuple, names: tuple, key: Array) -> dict[str, Array]:
    panel = generator.sample(key, shape[0])
    require_columns(generator, panel, names)
    if panel.n_periods != shape[1]:
        raise InputError(
            f"generators: {type(generator).__name__} draws {panel.n_periods} periods, expected the "
            f"{shape[1]} of real"
        )
    return {name: panel[name] for name in names}


def _check_finite(generator: Any, drawn: dict[str, ndarray]) -> None:
    bad = {name: int((~np.isfinite(values)).sum()) for name, values in drawn.items()}
    raise_all(
        [
            f"generators: {type(generator).__name__} draws {bad[name]:,} of {values.size:,} values "
            f"of column {name!r} that are NaN or infinite, expected finite numbers; fit it again "
            "(another key, other options), or leave the column out with schema=schema.select(...)"
            for name, values in drawn.items()
            if bad[name]
        ]
    )
