"""The recipe of cross-sections: columns are drawn in turn, each given those before it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mcsim._core.records import Panel
from mcsim._data.schema import Schema, schema_of
from mcsim.errors import Fault, InputError, Option, did_you_mean, raise_all
from mcsim.generators._cross_sections.architecture import Architecture, design_heads
from mcsim.generators._cross_sections.fitted import FittedGenerator
from mcsim.generators._cross_sections.preparation import (
    LearnedColumns,
    as_columns,
    generation_order,
    raked,
)
from mcsim.generators._training.checks import faults_of_column, warn_of_constants
from mcsim.generators._training.trainer import Source

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
"""Learns, with a resolved trainer, once per key, an architecture from columns, the arm of each row
and the rows of each member; with a bar."""

MIN_ROWS = 20
MIN_ARM = 2


@dataclass(frozen=True)
class CrossSectionRecipe:
    """How a trainer learns cross-sections.

    Attributes
    ----------
    config : Trainer
        With options ``hidden``, ``components`` and ``order``, of which ``order`` alone may be None.
    learn : function
        Learns the columns' networks.
    free : bool
        Whether each level of a column has a logit of its own.
    refused : tuple of str
        Options that are for panels.
    """

    config: Any
    learn: LearnColumns
    free: bool = False
    refused: tuple[str, ...] = ()

    @property
    def takes_missing(self) -> bool:
        """Whether cells may be missing: never."""
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
        """Learn the columns, and rake what is drawn to the shares and moments of each member."""
        config, (schema, given, known) = self.config, source
        columns = dict(known)
        order = config.order or generation_order(schema, given)
        architecture = design_heads(
            columns, schema, given, order, config.hidden, config.components, free=self.free
        )
        vectors = {name: jnp.asarray(values) for name, values in columns.items()}
        arms = np.asarray(architecture.arm(vectors, len(next(iter(columns.values())))))
        learned = self.learn(config, keys, architecture, columns, arms, rows, progress)
        return [
            FittedGenerator(
                config, schema, architecture, raked(architecture, data, params, key), params,
                losses=losses,
            )
            for key, (data, params, losses) in zip(keys, learned, strict=True)
        ]  # fmt: skip


def faults_of_order(order: Any) -> list[str]:
    """Check the option that says in which order columns are drawn."""
    if order is None:
        return []
    if isinstance(order, tuple) and all(isinstance(name, str) for name in order):
        return []
    return [f"order: got {order!r}, expected a tuple of column names, or None"]


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
    raise_all(faults + _faults_of_arms(panel, given, schema))
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


def _faults_of_arms(panel: Panel, given: tuple[str, ...], schema: Schema) -> list[str]:
    faults = []
    for name in given:
        values, counts = np.unique(np.asarray(panel[name]), return_counts=True)
        if len(values) == 1:
            faults.append(
                f"given column {name!r}: all rows hold {values[0]:g}, an arm is empty; drop the "
                "column from given"
            )
        elif schema[name].kind == "binary" and counts.min() < MIN_ARM:
            rare = values[counts.argmin()]
            faults.append(
                f"given column {name!r}: {counts.min()} row holds {rare:g}, expected at least "
                f"{MIN_ARM} in every arm"
            )
    return faults
