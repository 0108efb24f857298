"""Starts: the period from which treatment is on, as a position or drawn from a range of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from mcsim.dgps._factors import is_whole


def start_positions(start: Any, n_periods: int) -> tuple[int, int]:
    """A start, or a range of them, as positions from 0; negative ones count from the end."""
    first, last = start if isinstance(start, tuple) else (start, start)
    return tuple(s + n_periods if s < 0 else s for s in (int(first), int(last)))  # type: ignore[return-value]


def draw_start(
    key: Key[Array, ""], start: Any, n_periods: int, shape: tuple[int, ...] = ()
) -> Int[Array, "..."]:
    """Starting periods, uniform on their range; one for all by default."""
    first, last = start_positions(start, n_periods)
    if first == last:
        return jnp.full(shape, first)
    return jax.random.randint(key, shape, first, last + 1)


def faults_of_start(start: Any, n_periods: int) -> list[str]:
    """Say what is wrong with a start or a range of starts."""
    pair = isinstance(start, tuple) and len(start) == 2
    if not all(is_whole(s) for s in (start if pair else (start,))):
        return [f"start: got {start!r}, expected a period's position or (first, last) of a range"]
    if not all(-n_periods <= s < n_periods for s in np.ravel(start)):
        return [
            f"start: got {start!r}, expected positions within the {n_periods} periods, counted "
            "from 0 (negative: from the end); a label's is schema.period_labels.index(label)"
        ]
    first, last = start_positions(start, n_periods)
    return [f"start: got {start!r}, whose first comes after its last"] if first > last else []
