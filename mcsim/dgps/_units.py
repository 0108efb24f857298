"""Units of a panel: their values of a column, the clusters above them, their adoption dates."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Int, Key

from mcsim._core.checks import is_whole
from mcsim._core.records import Panel
from mcsim.errors import did_you_mean


def first_observed(panel: Panel, name: str) -> Array:
    """Return each unit's value of a column in its first observed period."""
    if panel.mask is None:
        return panel[name][:, 0]
    first = jnp.argmax(panel.mask, axis=1)
    return jnp.take_along_axis(panel[name], first[:, None], axis=1)[:, 0]


def codes_of(panel: Panel, name: str) -> np.ndarray:
    """Return the same for a concrete panel, in NumPy, also while a program is traced."""
    values = np.asarray(panel[name])
    first = 0 if panel.mask is None else np.argmax(np.asarray(panel.mask), axis=1)
    return values[np.arange(len(values)), first]


def numbered(panel: Panel, name: str | None) -> np.ndarray:
    """Number the units of a concrete panel from 0, or the values that a column has in them."""
    if name is None:
        return np.arange(panel.n_units)
    return np.unique(codes_of(panel, name), return_inverse=True)[1].reshape(-1)


def cluster_count(panel: Panel, cluster: str | None) -> int | None:
    """Return the number of units (clusters); None while the clusters are traced."""
    if cluster is None:
        return panel.n_units
    codes = panel.get(cluster)
    known = codes is not None and not isinstance(codes, Tracer)
    return len(np.unique(codes_of(panel, cluster))) if known else None


def faults_of_cluster(panel: Panel, cluster: str | None) -> list[str]:
    """Return the faults of the column of the clusters above the units."""
    if cluster is None:
        return []
    if cluster not in panel:
        return [f"cluster: got {cluster!r}{did_you_mean(cluster, panel)}"]
    return [] if isinstance(panel[cluster], Tracer) else varying(panel, cluster, "cluster")


def varying(panel: Panel, name: str, argument: str) -> list[str]:
    """Return the fault of a column of a concrete panel that varies within a unit."""
    values = np.asarray(panel[name])
    observed = np.ones(values.shape, bool) if panel.mask is None else np.asarray(panel.mask)
    own = codes_of(panel, name)[:, None]
    if not np.any((values != own) & observed):
        return []
    return [f"{argument}: {name!r} varies within units, expected one value per unit"]


def adoption_positions(start: Any, n_periods: int) -> tuple[int, int]:
    """Return a start, or a range of them, as positions from 0; negative ones count backwards."""
    first, last = start if isinstance(start, tuple) else (start, start)
    return tuple(s + n_periods if s < 0 else s for s in (int(first), int(last)))  # type: ignore[return-value]


def draw_adoption(
    key: Key[Array, ""], start: Any, n_periods: int, shape: tuple[int, ...] = ()
) -> Int[Array, "..."]:
    """Draw adoption dates, uniform on their range; one for all units by default."""
    first, last = adoption_positions(start, n_periods)
    if first == last:
        return jnp.full(shape, first)
    return jax.random.randint(key, shape, first, last + 1)


def faults_of_start(start: Any, n_periods: int) -> list[str]:
    """Return the faults of a start or a range of starts."""
    pair = isinstance(start, tuple) and len(start) == 2
    if not all(is_whole(s) for s in (start if pair else (start,))):
        return [f"start: got {start!r}, expected a period's position or (first, last) of a range"]
    if not all(-n_periods <= s < n_periods for s in np.ravel(start)):
        return [
            f"start: got {start!r}, expected positions within the {n_periods} periods, counted "
            "from 0 (negative: from the end); a label's is schema.period_labels.index(label)"
        ]
    first, last = adoption_positions(start, n_periods)
    return [f"start: got {start!r}, whose first comes after its last"] if first > last else []
