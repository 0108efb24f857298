"""Missing cells: NaN in a column that an estimator reads, and panels without these cells.

Only estimators that say which columns they read (`ReadsColumns`) are given panels without them.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from mcsim._core.protocols import ReadsColumns
from mcsim._core.records import Panel

MISSING = "cells with NaN in a column that it reads"
"""The count of a note: such cells are left out, or the status is ``nan`` if all are needed."""


def missing_cells(estimator: object, panels: Panel) -> Bool[Array, "rep unit period"] | None:
    """Return the observed cells in which a column that the estimator reads is NaN.

    Parameters
    ----------
    estimator : Estimator
    panels : Panel
        Columns (rep, unit, period).

    Returns
    -------
    array of bool (rep, unit, period) or None
        None where there are none, and for functions, which see the panel as it is.
    """
    if not isinstance(estimator, ReadsColumns):
        return None
    columns = tuple(panels[name] for name in estimator.reads if name in panels)
    if not any(_has_nan(column) for column in columns):
        return None
    missing, some = _missing(columns, panels.mask)
    return missing if some else None


def _has_nan(column: Array) -> bool:
    """Whether a number is NaN; on a CPU without a program, whose compilation would cost more."""
    numeric: Any = np if jax.default_backend() == "cpu" else jnp
    return bool(numeric.isnan(numeric.min(numeric.asarray(column))))


@jax.jit
def _missing(
    columns: tuple[Array, ...], mask: Array | None
) -> tuple[Bool[Array, "rep unit period"], Bool[Array, ""]]:
    missing = jnp.stack([jnp.isnan(column) for column in columns]).any(axis=0)
    missing = missing if mask is None else missing & mask
    return missing, missing.any()


def without_cells(panels: Panel, cells: Bool[Array, "rep unit period"]) -> Panel:
    """Return panels in which these cells are not observed."""
    mask = ~cells if panels.mask is None else panels.mask & ~cells
    return Panel.batch(panels, mask, panels.static_part)
