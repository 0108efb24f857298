"""Drawing cross-sections: columns in turn, each given the columns before.

`relaxed_draw` draws features that pass gradients (for the critic), `log_likelihood` scores real
rows, `exact_draw` draws values. A fitted generator is immutable and a pytree, so that ensembles
share one program.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from mcsim._core.calls import with_remedies
from mcsim._core.records import Panel
from mcsim._data.schema import Schema
from mcsim.errors import did_you_mean, printable, raise_all
from mcsim.generators._cross_sections.architecture import Architecture, Features, Tables, encode
from mcsim.generators._cross_sections.levels import Levels
from mcsim.generators._networks import Params, apply
from mcsim.generators._training.fitted_panel import faults_of_given_values, faults_of_size

CHUNK = 16_384  # rows per call of the networks


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True, eq=False, repr=False)
class FittedGenerator:
    """A fitted generator of cross-sections of any number of units.

    Made by ``fit``, `fit_many` and `load`. A pytree whose leaves are the networks' parameters and
    the tables of the training rows; its static part is the configuration, the schema and the order.

    Attributes
    ----------
    config : WGAN or Autoregressive
        The configuration of the fit.
    schema : Schema
        Kinds, bounds, mass points and labels of the columns.
    given : tuple of str
        Columns that are conditioned on, never drawn.
    order : tuple of str
        The order in which the other columns are drawn, each given the columns before.
    architecture, tables, params
        Heads of the columns (static), tables of the training rows, and the networks' parameters.
    losses : dict of str to array (step,)
        ``"critic"`` (the estimated Wasserstein distance), ``"penalty"``, ``"moments"`` (weighted)
        and ``"likelihood"`` (minus its mean logarithm); empty inside jit.
    rows : array of int, or None
        The training rows; None: all.
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

        A key determines the noise, whatever is given: two calls that differ in ``given`` alone are
        coupled, and the last column is then monotone in common noise (the two potential outcomes
        keep their ranks).

        Parameters
        ----------
        key : key
            Source of the noise.
        n_units : int
            Number of units; static under jit.
        given : mapping of str to array (unit,) or (unit, 1), optional
            Values of the fit's given columns, and of any further leading columns of
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
        return self.schema.panel({name: columns[name] for name in self.schema.names})

    def _known(self, n_units: int, given: Mapping[str, Any]) -> dict[str, Array]:
        raise_all(faults_of_size("n_units", n_units))
        raise_all(self._faults_of_names(given))
        known = {name: jnp.asarray(given[name], jnp.float64) for name in given}
        known = {n: _vector(v) if v.shape[1:] == (1,) else v for n, v in known.items()}
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


def _vector(column: Array) -> Array:
    """Return a column (row, 1) as (row,): by NumPy, without a program, where it is known."""
    return column[:, 0] if isinstance(column, Tracer) else jnp.asarray(np.asarray(column)[:, 0])


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
        return {name: values[:, None] for name, values in draw((known, uniforms)).items()}
    chunks = -(-units // CHUNK)
    padding = chunks * CHUNK - units

    def split(x: Array) -> Array:
        padded = jnp.concatenate([x, jnp.broadcast_to(x[:1], (padding, *x.shape[1:]))])
        return padded.reshape(chunks, CHUNK, *x.shape[1:])

    drawn = jax.lax.map(draw, jax.tree.map(split, (known, uniforms)))
    return {name: values.reshape(-1, 1)[:units] for name, values in drawn.items()}


def relaxed_draw(
    architecture: Architecture,
    tables: Tables,
    params: tuple[Params, ...],
    given: Float[Array, "row given"],
    stratum: Int[Array, " row"],
    key: Array,
    temperature: Array,
) -> Float[Array, "row drawn"]:
    """Draw the features of all columns, for training."""
    # One call for all noise: each costs compile time.
    noise, start = _noise(key, len(given), sum(head.n_noise for head in architecture.drawn)), 0
    context = _with_constant(given)
    codes: list[Any] = []
    for position, head in enumerate(architecture.drawn):
        outputs = apply(architecture.sizes[position], params[position], context)
        mask = allowed_mask(architecture, tables, position, codes)
        own = noise[:, start : start + head.n_noise]
        start += head.n_noise
        features, code = head.relaxed(
            tables.drawn[position], outputs, stratum, mask, own, temperature
        )
        codes.append(code)
        context = jnp.concatenate([context, features], axis=1)
    return context[:, 1 + architecture.n_given :]


def relaxed_outcome(
    architecture: Architecture,
    tables: Tables,
    params: tuple[Params, ...],
    context: Float[Array, "row before"],
    codes: Int[Array, "row column"],
    stratum: Int[Array, " row"],
    key: Array,
    temperature: Array,
) -> Float[Array, "row feature"]:
    """Draw the features of the last column only, given real values of all others."""
    last = len(architecture.drawn) - 1
    outputs = apply(architecture.sizes[last], params[last], _with_constant(context))
    mask = allowed_mask(architecture, tables, last, [codes[:, column] for column in range(last)])
    head = architecture.drawn[last]
    noise = _noise(key, len(context), head.n_noise)
    return head.relaxed(tables.drawn[last], outputs, stratum, mask, noise, temperature)[0]


def log_likelihood(
    architecture: Architecture,
    tables: Tables,
    params: tuple[Params, ...],
    rows: Features,
    networks: Sequence[Callable[..., Array]] = (),
) -> Float[Array, "row column"]:
    """Return each column's log density given the columns before it.

    ``networks``, one per column, may take the place of `apply`.
    """
    context = _with_constant(jnp.concatenate([rows.given, rows.drawn], axis=1))
    codes = list(rows.codes.T)
    parts = []
    for position, head in enumerate(architecture.drawn):
        sizes = architecture.sizes[position]
        network = networks[position] if networks else apply
        outputs = network(sizes, params[position], context[:, : sizes[0]])
        mask = allowed_mask(architecture, tables, position, codes[:position])
        own = codes[position], rows.scores[:, position]
        table = tables.drawn[position]
        parts.append(head.log_density(table, outputs, rows.strata, mask, *own))
    return jnp.stack(parts, axis=1)


def exact_draw(
    architecture: Architecture,
    tables: Tables,
    params: tuple[Params, ...],
    known: Mapping[str, Float[Array, " row"]],
    uniforms: Float[Array, "row column 2"],
) -> dict[str, Float[Array, " row"]]:
    """Draw values; the columns in ``known`` are kept, and the last is monotone in its noise.

    Units with a known category unseen in training are NaN.
    """
    rows = len(uniforms)
    context = _with_constant(encode(architecture.given, tables.given, known, rows))
    stratum = architecture.stratum(known, rows)
    columns, codes = dict(known), []
    unseen = jnp.zeros(rows, bool)
    for head in (*architecture.given, *architecture.drawn):
        if head.name in known and isinstance(head, Levels):
            unseen |= head.index(known[head.name]) < 0
    for position, head in enumerate(architecture.drawn):
        if head.name not in columns:
            outputs = apply(architecture.sizes[position], params[position], context)
            mask = allowed_mask(architecture, tables, position, codes)
            last = position == len(architecture.drawn) - 1
            table, noise = tables.drawn[position], uniforms[:, position]
            columns[head.name] = head.draw(table, outputs, stratum, mask, noise, last)
        values = columns[head.name]
        codes.append(head.index(values) if isinstance(head, Levels) else None)
        features = head.encode(tables.drawn[position], values)
        context = jnp.concatenate([context, features], axis=1)
    drawn = {name: jnp.where(unseen, jnp.nan, columns[name]) for name in set(columns) - set(known)}
    return {**known, **drawn}


def _noise(key: Array, rows: int, columns: int) -> Float[Array, "row noise"]:
    return jax.random.uniform(key, (rows, columns), jnp.float32, 1e-6, 1 - 1e-6)


def _with_constant(features: Array) -> Array:
    return jnp.concatenate([jnp.ones((len(features), 1), jnp.float32), features], axis=1)


def allowed_mask(
    architecture: Architecture, tables: Tables, position: int, codes: list[Any]
) -> Array:
    """Return the allowed levels of a column; all, if a given combination is unseen."""
    for group, allowed in zip(architecture.groups, tables.allowed, strict=True):
        positions = [place for place, _ in group]
        if position not in positions:
            continue
        prefix = jnp.zeros((), jnp.int32)
        at = positions.index(position)
        for place, size in group[:at]:
            prefix = prefix * size + codes[place]
        mask = jnp.asarray(allowed[at])[jnp.atleast_1d(prefix)]
        return mask | ~mask.any(axis=1, keepdims=True)
    return jnp.ones((1, 1), bool)
