"""Draws: many panels of the real size from one fitted generator, as one compiled program.

Panels, not one long panel, since units of a panel may share what is drawn for all of them.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Key
from numpy import ndarray

from mcsim._core import Panel
from mcsim.errors import InputError, raise_all

BATCH_CELLS = 4_000_000  # numbers that are drawn at once


def draw_panels(
    key: Key[Array, ""],
    generator: Any,
    n_panels: int,
    shape: tuple[int, int],
    names: Sequence[str],
) -> dict[str, Float[ndarray, "panel unit period"]]:
    """Draw panels of ``shape`` (unit, period).

    Generators that are pytrees share one program; the others run operation by operation.
    """
    batch = max(1, BATCH_CELLS // (shape[0] * shape[1] * len(names)))
    keys = jax.random.split(key, n_panels)
    names, parts = tuple(names), range(0, n_panels, batch)
    drawn = [_draw(generator, keys[s : s + batch], shape, names) for s in parts]
    return {name: np.concatenate([part[name] for part in drawn]) for name in names}


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
    _check(generator, panel, shape[1], names)
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


def _check(generator: Any, panel: Panel, n_periods: int, names: Sequence[str]) -> None:
    kind = type(generator).__name__
    missing = [name for name in names if name not in panel]
    if missing:
        raise InputError(
            f"generators: {kind} draws no columns {missing}, expected all columns of real; pass "
            "schema=schema.select(...) to compare fewer"
        )
    if panel.n_periods != n_periods:
        raise InputError(
            f"generators: {kind} draws {panel.n_periods} periods, expected the {n_periods} of real"
        )
