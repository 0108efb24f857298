"""The recipe of cross-sections: checks, networks of the columns in turn, and raking after training.

A network learns shares of mass points and categories up to a point or two, and a regularized one
draws too small differences between strata and too little variation of values.
Column after column, in the order of generation and over a large draw of the columns before, log
shares are moved until the mean probabilities are the shares of the training rows; then the scores
of values off mass points are shifted and stretched until they have their means and standard
deviations.

References
----------
Deming & Stephan (1940), On a least squares adjustment of a sampled frequency table when the
expected marginal totals are known, Annals of Mathematical Statistics 11: 427-444.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim._core.records import Panel
from mcsim._data.schema import Schema, schema_of
from mcsim.errors import Fault, InputError, Option, did_you_mean, raise_all
from mcsim.generators._cross_sections.architecture import Architecture, Tables, design_heads
from mcsim.generators._cross_sections.drawing import FittedGenerator, allowed_mask
from mcsim.generators._cross_sections.levels import FORBIDDEN, PRIOR_ROWS, Levels
from mcsim.generators._cross_sections.mixture import Mixture, MixtureTable
from mcsim.generators._cross_sections.training import LearnedColumns, Target
from mcsim.generators._networks import Params, apply
from mcsim.generators._training.checks import faults_of_column, warn_of_constants
from mcsim.generators._training.trainer import Source

ITERATIONS = 40
ROWS_PER_STRATUM = 8_192
STEP = 0.7
MOST_SHIFT, MOST_STRETCH = 1.5, 0.7  # of scores; the stretch in logs

LARGE = 4_000  # rows from which the options for large samples are the default

LearnColumns = Callable[
    [
        Any,
        Sequence[Array],
        Architecture,
        dict[str, np.ndarray],
        np.ndarray,
        Sequence[np.ndarray],
        bool,
    ],
    list[LearnedColumns],
]
"""Fits, per key, the networks of an architecture: resolved trainer, keys, architecture, columns,
strata of the rows, rows of each member, whether to show a bar."""

MIN_ROWS = 20
MIN_STRATUM = 2


@dataclass(frozen=True)
class CrossSectionRecipe:
    """The recipe of a trainer for cross-sections.

    Attributes
    ----------
    config : Trainer
        With options ``hidden``, ``components`` and ``order``, of which ``order`` alone may be None.
    learn : function
        Learns the columns' networks.
    free : bool
        Whether each level of a column has a logit of its own.
    refused : tuple of str
        Options for panels alone.
    """

    config: Any
    learn: LearnColumns
    free: bool = False
    refused: tuple[str, ...] = ()

    @property
    def takes_missing(self) -> bool:
        """False: cells may not be missing."""
        return False

    def checked(
        self,
        panel: Panel,
        rows: Sequence[np.ndarray | None],
        given: Sequence[str],
        schema: Schema | None,
    ) -> Source:
        """Return schema, given columns and columns (row,), or raise all faults."""
        schema, given = check_training(panel, given, schema, self.config.order)
        return Source(schema, given, as_columns(panel))

    def train(
        self, source: Source, keys: Sequence[Array], rows: Sequence[np.ndarray], progress: bool
    ) -> list[FittedGenerator]:
        """Learn the columns, and rake draws to the shares and moments of each member."""
        config, (schema, given, known) = self.config, source
        columns = dict(known)
        order = config.order or generation_order(schema, given)
        architecture = design_heads(
            columns, schema, given, order, config.hidden, config.components, free=self.free
        )
        strata = np.asarray(_strata(architecture, columns, len(next(iter(columns.values())))))
        learned = self.learn(config, keys, architecture, columns, strata, rows, progress)
        return [
            FittedGenerator(
                config, schema, architecture, raked(architecture, data, params, key), params,
                losses=losses,
            )
            for key, (data, params, losses) in zip(keys, learned, strict=True)
        ]  # fmt: skip


def check_training(
    panel: Panel, given: Sequence[str], schema: Schema | None, order: tuple[str, ...] | None
) -> tuple[Schema, tuple[str, ...]]:
    """Return the schema of the panel's columns and the given ones, or raise all faults."""
    if not isinstance(panel, Panel):
        raise InputError(
            f"panel: got {type(panel).__name__}, expected a Panel; use mcsim.from_frame"
        )
    if isinstance(given, str):
        raise InputError(f"given: got the string {given!r}, expected names: given=[{given!r}]")
    given = tuple(given)
    faults = _faults_of_shape(panel, given, order)
    finite = {name: bool(np.isfinite(np.asarray(panel[name])).all()) for name in panel}
    faults += [
        Fault(
            f"column {name!r}: {int((~np.isfinite(np.asarray(panel[name]))).sum())} values are not "
            "finite",
            [Option("drop or impute them first", "missing")],
        )
        for name in panel
        if not finite[name]
    ]
    raise_all(faults)
    schema = replace(schema_of(panel, schema), unit_labels=())
    for name in panel:
        faults += faults_of_column(schema[name], np.asarray(panel[name]))
    raise_all(faults + _faults_of_strata(panel, given, schema))
    warn_of_constants({name: np.asarray(panel[name]) for name in panel}, given)
    return schema, given


def _faults_of_shape(panel: Panel, given: tuple[str, ...], order: Any) -> list[str]:
    faults = [
        f"given: column {name!r} is not in the panel{did_you_mean(name, panel)}"
        for name in given
        if name not in panel
    ]
    faults += [f"given: column {n!r} is named twice" for n in given if given.count(n) > 1][:1]
    drawn = [name for name in panel if name not in given]
    if not drawn:
        faults.append("given: all columns of the panel, expected at least one left to draw")
    if order is not None and sorted(order) != sorted(drawn):
        faults.append(f"order: got {list(order)}, expected each column to be drawn once: {drawn}")
    if panel.n_periods != 1:
        faults.append(
            f"panel: got {panel.n_periods} periods; this generator learns cross-sections, of one "
            "period, only: fit on one period"
        )
    if panel.n_units < MIN_ROWS:
        faults.append(
            f"panel: got {panel.n_units} rows, expected at least {MIN_ROWS} to learn from"
        )
    if panel.mask is not None and not bool(np.asarray(panel.mask).all()):
        faults.append("panel: some cells are masked; keep complete units only")
    return faults


def _faults_of_strata(panel: Panel, given: tuple[str, ...], schema: Schema) -> list[str]:
    faults = []
    for name in given:
        values, counts = np.unique(np.asarray(panel[name]), return_counts=True)
        if len(values) == 1:
            faults.append(
                f"given column {name!r}: all rows hold {values[0]:g}, a stratum is empty; drop the "
                "column from given"
            )
        elif schema[name].kind == "binary" and counts.min() < MIN_STRATUM:
            rare = values[counts.argmin()]
            faults.append(
                f"given column {name!r}: {counts.min()} row holds {rare:g}, expected at least "
                f"{MIN_STRATUM} in every stratum"
            )
    return faults


def generation_order(schema: Schema, given: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns in the order of generation: categories first, the last column last.

    Discrete columns come in ascending number of possible values, then the continuous ones.
    """
    names = [name for name in schema.names if name not in given]
    *others, last = names

    def rank(name: str) -> float:
        column = schema[name]
        if column.kind == "continuous":
            return np.inf
        return float(len(column.levels) or column.upper - column.lower + 1)

    return (*sorted(others, key=rank), last)


def as_columns(panel: Mapping[str, Array]) -> dict[str, np.ndarray]:
    """Return a cross-section's columns as vectors of float64."""
    return {name: np.asarray(values, np.float64)[:, 0] for name, values in panel.items()}


def raked(architecture: Architecture, data: Any, params: tuple[Params, ...], key: Array) -> Tables:
    """Return the tables of training data, raked on rows drawn evenly from each stratum."""
    rows = [np.resize(pool.rows[: pool.count], ROWS_PER_STRATUM) for pool in data.pools]
    given = data.rows.given[np.concatenate(rows)]
    key = jax.random.fold_in(key, 1)
    return rake(architecture, data.tables, params, data.targets, given, key)


_strata = jax.jit(Architecture.stratum, static_argnums=(0, 2))


@partial(jax.jit, static_argnums=0)
def rake(
    architecture: Architecture,
    tables: Tables,
    params: tuple[Params, ...],
    targets: tuple[Target, ...],
    given: Float[Array, "row feature"],
    key: Array,
) -> Tables:
    """Return tables under which draws meet the targets; rows are equally many by stratum."""
    strata = len(architecture.strata)
    stratum = jnp.repeat(jnp.arange(strata), len(given) // strata)
    uniforms = jax.random.uniform(
        key, (len(given), len(architecture.drawn), 2), jnp.float32, 1e-7, 1 - 1e-7
    )
    context = jnp.concatenate([jnp.ones((len(given), 1), jnp.float32), given], axis=1)
    codes: list[Any] = []
    raked: list[Any] = []
    for position, head in enumerate(architecture.drawn):
        table, target = tables.drawn[position], targets[position]
        outputs = apply(architecture.sizes[position], params[position], context)
        mask = allowed_mask(architecture, tables, position, codes)
        if target.shares is not None:
            offset = _offsets(head.logits(table, outputs, stratum, mask), target.shares)
            table = table._replace(log_share=_shift(table.log_share, offset))
        if isinstance(head, Mixture):
            moves = _moves(head, table, outputs, stratum, uniforms[:, position], target.moments)
            table = table._replace(moves=jnp.concatenate([moves, table.moves[strata:]]))
        raked.append(table)
        if position == len(architecture.drawn) - 1:
            break
        values = head.draw(table, outputs, stratum, mask, uniforms[:, position], False)
        codes.append(head.index(values) if isinstance(head, Levels) else None)
        context = jnp.concatenate([context, head.encode(table, values)], axis=1)
    return tables._replace(drawn=tuple(raked))


def _offsets(logits: Float[Array, "row part"], target: Float[Array, "stratum part"]) -> Array:
    """Return offsets (stratum, part) of logits with which mean probabilities are the targets."""
    by_stratum = logits.reshape(len(target), -1, target.shape[1])

    def move(_: Any, offset: Array) -> Array:
        mean = jax.nn.softmax(by_stratum + offset[:, None], axis=2).mean(axis=1)
        ratio = jnp.log(target) - jnp.log(jnp.maximum(mean, 1e-12))
        return offset + jnp.where(mean > 1e-9, jnp.clip(ratio, -1.0, 1.0), 0.0)

    return jax.lax.fori_loop(0, ITERATIONS, move, jnp.zeros(target.shape, jnp.float32))


def _shift(log_share: Array, offset: Array) -> Array:
    """Add offsets of mass points and, where components follow, of all of them alike."""
    extra = log_share.shape[1] - offset.shape[1]
    offset = jnp.concatenate([offset, jnp.repeat(offset[:, -1:], extra, axis=1)], axis=1)
    moved = log_share[:-1] + offset
    moved = jnp.where(log_share[:-1] > FORBIDDEN / 2, moved, log_share[:-1])
    return jnp.concatenate([moved, log_share[-1:]])


def _moves(
    head: Mixture,
    table: MixtureTable,
    outputs: Float[Array, "row output"],
    stratum: Array,
    uniforms: Float[Array, "row 2"],
    target: Float[Array, "stratum 3"],
) -> Float[Array, "stratum 2"]:
    """Return shifts and log stretches of scores so that values have the target's moments.

    The targets are shrunk to the moments before, by a prior number of rows.
    """
    scores, weight = (
        part.reshape(len(target), -1)
        for part in head.off_mass_points(table, outputs, stratum, uniforms)
    )
    weight = weight / weight.sum(axis=1, keepdims=True)

    def moments(scores: Float[Array, "stratum row"]) -> tuple[Array, Array]:
        values = head.value(table, scores)
        mean = (weight * values).sum(axis=1)
        spread = (weight * jnp.square(values - mean[:, None])).sum(axis=1)
        return mean, jnp.sqrt(jnp.maximum(spread, 1e-30))

    mean, spread = moments(scores)
    trust = target[:, 0] / (target[:, 0] + PRIOR_ROWS)
    aim = mean + trust * (target[:, 1] - mean)
    wide = spread * (target[:, 2] / spread) ** trust

    def move(_: Any, moves: Array) -> Array:
        mean, spread = moments(moves[:, :1] + jnp.exp(moves[:, 1:]) * scores)
        shift = moves[:, 0] + STEP * jnp.clip((aim - mean) / spread, -0.5, 0.5)
        stretch = moves[:, 1] + STEP * jnp.clip(jnp.log(wide / spread), -0.3, 0.3)
        inside = jnp.clip(shift, -MOST_SHIFT, MOST_SHIFT)
        return jnp.stack([inside, jnp.clip(stretch, -MOST_STRETCH, MOST_STRETCH)], axis=1)

    return jax.lax.fori_loop(0, ITERATIONS, move, jnp.zeros((len(target), 2), jnp.float32))
