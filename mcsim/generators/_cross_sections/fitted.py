"""What training returns: an immutable generator, a pytree, so that ensembles share one program."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mcsim._core.calls import with_remedies
from mcsim._core.records import Panel
from mcsim._data.schema import Schema
from mcsim.errors import InputError, did_you_mean, printable, raise_all
from mcsim.generators._cross_sections.architecture import Architecture, Tables
from mcsim.generators._cross_sections.drawing import exact_draw
from mcsim.generators._cross_sections.levels import Levels
from mcsim.generators._networks import Params
from mcsim.generators._training.fitted_panel import faults_of_given_values

CHUNK = 16_384  # rows that pass through the networks at once


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True, eq=False, repr=False)
class FittedGenerator:
    """A generator that has learned: draws cross-sections of any number of units.

    Made by ``fit``, `fit_many` and `load`. A pytree whose leaves are the networks' parameters and
    the tables of the training rows; its static part is the configuration, the schema and the order.

    Attributes
    ----------
    config : WGAN or Autoregressive
        The configuration that it was fit with.
    schema : Schema
        Kinds, bounds, mass points and labels of the columns.
    given : tuple of str
        Columns that are conditioned on, never drawn.
    order : tuple of str
        The order in which the other columns are drawn, each given those before.
    architecture, tables, params
        Heads of the columns (static), what the training rows say, and the networks' parameters.
    losses : dict of str to array (step,)
        ``"critic"`` (the estimated Wasserstein distance), ``"penalty"``, ``"moments"`` (weighted)
        and ``"likelihood"`` (minus its mean logarithm); empty inside jit.
    rows : array of int, or None
        The rows that it was trained on; None: all.
    """

    config: Any
    schema: Schema
    architecture: Architecture
    tables: Tables
    params: tuple[Params, ...]
    losses: Mapping[str, np.ndarray] = field(default_factory=dict)
    rows: np.ndarray | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """Columns that are conditioned on."""
        return tuple(head.name for head in self.architecture.given)

    @property
    def order(self) -> tuple[str, ...]:
        """The other columns, in the order in which they are drawn."""
        return tuple(head.name for head in self.architecture.drawn)

    def __repr__(self) -> str:
        given = f" given {', '.join(self.given)}" if self.given else ""
        rows = "" if self.rows is None else f"; fit on {len(self.rows):,} rows"
        kind = type(self.config).__name__
        return printable(f"FittedGenerator({kind}: {', '.join(self.order)}{given}{rows})")

    @with_remedies()
    def sample(self, key: Array, n_units: int, *, given: Mapping[str, Any] | None = None) -> Panel:
        """Draw a cross-section.

        One key draws one noise, whatever is given: two calls that differ in ``given`` alone are
        coupled, and the last column is then monotone in common noise (the two potential outcomes
        keep their ranks).

        Parameters
        ----------
        key : key
            Where the noise comes from.
        n_units : int
            Number of units; static under jit.
        given : mapping of str to array (unit,) or (unit, 1), optional
            Values of the columns that the fit was given, and of any further leading columns of
            `order`; the remaining columns are drawn.

        Returns
        -------
        Panel
            Float64 columns in the schema's order. Under jit, a unit with a given category that was
            not seen in training is NaN; outside it is an error.

        Raises
        ------
        InputError
            For a wrong number of units, and for given columns that are missing, unknown, of
            another length, or hold a category unseen in training.
        """
        known = self._known(n_units, given or {})
        n_columns = len(self.order)
        uniforms = jax.random.uniform(key, (n_units, n_columns, 2), jnp.float32, 1e-7, 1 - 1e-7)
        columns = _draw(self, known, uniforms)
        return self.schema.panel({name: columns[name][:, None] for name in self.schema.names})

    def _known(self, n_units: int, given: Mapping[str, Any]) -> dict[str, Array]:
        if isinstance(n_units, bool) or not isinstance(n_units, (int, np.integer)) or n_units < 1:
            raise InputError(f"n_units: got {n_units!r}, expected an integer of at least 1")
        raise_all(self._faults_of_names(given))
        known = {name: jnp.asarray(given[name], jnp.float64) for name in given}
        known = {n: v[:, 0] if v.ndim == 2 and v.shape[1] == 1 else v for n, v in known.items()}
        wrong = [
            f"given column {name!r}: got shape {values.shape}, expected ({n_units},)"
            for name, values in known.items()
            if values.shape != (n_units,)
        ]
        raise_all(wrong)
        heads = {h.name: h for h in (*self.architecture.given, *self.architecture.drawn)}
        raise_all([f for name, v in known.items() for f in _faults_of_values(heads[name], v)])
        return known

    def _faults_of_names(self, given: Mapping[str, Any]) -> list[str]:
        names = self.schema.names
        faults = [
            f"given column {name!r} is not in the generator{did_you_mean(name, names)}"
            for name in given
            if name not in names
        ]
        faults += [
            f"given column {name!r} is missing: the generator was fit given {list(self.given)}; "
            f"pass given={{{name!r}: values}}"
            for name in self.given
            if name not in given
        ]
        drawn = [name in given for name in self.order]
        if sorted(drawn, reverse=True) != drawn:
            early = self.order[drawn.index(False)]
            late = [n for n in self.order[self.order.index(early) :] if n in given]
            faults.append(
                f"given columns {late} come after {early!r}, which is to be drawn; columns are "
                f"drawn in the order {list(self.order)}: give leading ones only"
            )
        return faults

    def tree_flatten(self):
        """Split into (parameters and tables, static part), for JAX."""
        return (self.params, self.tables), (self.config, self.schema, self.architecture)

    @classmethod
    def tree_unflatten(cls, static: tuple, leaves: tuple) -> "FittedGenerator":
        """Rebuild without checks; losses and rows stay on the host."""
        generator = object.__new__(cls)
        values = (*static, leaves[1], leaves[0], {}, None)
        for part, value in zip(fields(cls), values, strict=True):
            object.__setattr__(generator, part.name, value)
        return generator


def _faults_of_values(head: Any, values: Array) -> list[str]:
    """Check concrete values; inside jit, units with unknown categories become NaN instead."""
    seen = tuple((value,) for value in head.values) if isinstance(head, Levels) else None
    return faults_of_given_values((head.name,), (values,), seen)


@jax.jit
def _draw(generator: FittedGenerator, known: dict[str, Array], uniforms: Array) -> dict[str, Array]:
    def draw(rows: tuple[dict[str, Array], Array]) -> dict[str, Array]:
        return exact_draw(generator.architecture, generator.tables, generator.params, *rows)

    units = len(uniforms)
    if units <= CHUNK:
        return draw((known, uniforms))
    chunks = -(-units // CHUNK)
    padding = chunks * CHUNK - units

    def split(x: Array) -> Array:
        padded = jnp.concatenate([x, jnp.broadcast_to(x[:1], (padding, *x.shape[1:]))])
        return padded.reshape(chunks, CHUNK, *x.shape[1:])

    drawn = jax.lax.map(draw, jax.tree.map(split, (known, uniforms)))
    return {name: values.reshape(-1)[:units] for name, values in drawn.items()}
