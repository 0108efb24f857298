"""The recipe of cross-sections: columns are drawn in turn, each given those before it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mcsim._core import Panel
from mcsim._schema import Schema
from mcsim.generators._columns._architecture import Architecture, design_heads
from mcsim.generators._columns._checks import check_training
from mcsim.generators._columns._fitted import FittedGenerator
from mcsim.generators._columns._preparation import LearnedColumns, as_columns, generation_order
from mcsim.generators._columns._raking import raked
from mcsim.generators._training._trainer import Source

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
