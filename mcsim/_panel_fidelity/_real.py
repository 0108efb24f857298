"""The real panel as the comparison needs it, and its halves under every weighting of the units."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key
from numpy import ndarray

from mcsim._core import Panel
from mcsim._panel_fidelity._inference import changes_in_means, log_sd, log_sd_weighted
from mcsim._panel_fidelity._layout import PanelLayout, Units
from mcsim._panel_fidelity._moments import Grid, moments, read_grid, weighted_moments
from mcsim._panel_fidelity._score import Vectors, end_to_end

BOOTSTRAPS = 200


class Side(NamedTuple):
    """Some real units: their moments, and the log sd of their changes in means, bootstrapped."""

    vectors: Vectors
    log_sd: Float[ndarray, "outcome break"]
    log_sd_draws: Float[ndarray, "draw outcome break"]


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
        Of a Bayesian bootstrap (Rubin 1981, Annals of Statistics 9: 130-134): unlike counts they
        leave no unit out, which matters where a half has four.
    """

    panel: Panel
    layout: PanelLayout
    units: Units
    grid: Grid
    weights: Float[ndarray, "draw unit"]
    _sides: dict[bytes, Side] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of units and periods."""
        return self.panel.n_units, self.panel.n_periods

    @property
    def breaks(self) -> tuple[Any, ...]:
        """Labels of the periods in which something may begin: all but the first."""
        labels = self.layout.schema.period_labels
        return tuple(labels[1:]) if len(labels) == self.shape[1] else tuple(range(1, self.shape[1]))

    def side(self, units: Int[ndarray, " unit"]) -> Side:
        """Return the moments of some units; those of units met before are kept."""
        found = self._sides.get(units.tobytes())
        if found is None:
            found = self._sides[units.tobytes()] = self._side(units)
        return found

    @property
    def component_sizes(self) -> dict[str, int]:
        """Number of moments of each component."""
        ones = jnp.ones(self.shape[0])
        shapes = jax.eval_shape(moments, self.units.cube, self.units.rows, ones, self.grid)
        return {name: shape.size for name, shape in shapes.items()}

    def _side(self, units: Int[ndarray, " unit"]) -> Side:
        changes, weights = changes_in_means(self.units.cube[units]), self.weights[:, units]
        every = np.concatenate([np.ones((1, len(units))), weights])
        found = end_to_end(self._moments(units, every))
        draws = log_sd_weighted(changes, weights)
        return Side(Vectors(found[0], found[1:]), log_sd(changes), draws)

    def _moments(self, units: Int[ndarray, " unit"], weights: ndarray) -> dict[str, Any]:
        cube, rows = jnp.asarray(self.units.cube[units]), jnp.asarray(self.units.rows[units])
        return weighted_moments(cube, rows, jnp.asarray(weights), self.grid)


def read_real(key: Key[Array, ""], panel: Panel, layout: PanelLayout) -> RealPanel:
    """Standardize the panel and draw the weights."""
    units = layout.units(panel)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist())
    weights = rng.standard_exponential((BOOTSTRAPS, panel.n_units))
    weights *= panel.n_units / weights.sum(axis=1, keepdims=True)
    grid = read_grid(units.cube, units.rows, layout.n_fixed)
    return RealPanel(panel, layout, units, grid, weights)
