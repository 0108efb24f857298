"""Random numbers of a sample's units: normals, AR(1) paths, random orders, adoption dates.

A unit's draws are a row of normals times a matrix that all units share: one product for all units
of all replications, faster than a recursion over periods. Clusters of units draw one number.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from mcsim._core.checks import is_whole
from mcsim._core.records import Panel
from mcsim.errors import did_you_mean


def normals(key: Key[Array, ""], *shapes: tuple[int, ...]) -> list[Float[Array, "..."]]:
    """Draw independent standard normals of these shapes in one call, in float32, and cast them."""
    sizes = [math.prod(shape) for shape in shapes]
    drawn = jax.random.normal(key, (sum(sizes),), dtype=jnp.float32).astype(float)
    pieces = jnp.split(drawn, np.cumsum(sizes)[:-1].tolist())
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]


def recursion(rho: Any, n_periods: int) -> Float[Array, "innovation period"]:
    """Return the map from innovations to ``u_t = rho u_{t-1} + e_t``, from ``u_0 = e_0``."""
    lag = np.arange(n_periods) - np.arange(n_periods)[:, None]
    powers = jnp.cumprod(jnp.concatenate([jnp.ones(1), jnp.full(n_periods - 1, rho)]))
    return jnp.where(lag >= 0, powers[np.maximum(lag, 0)], 0.0)


def stationary(rho: Any, n_periods: int) -> Float[Array, "innovation period"]:
    """Return the map from standard normals to an AR(1) of variance 1 that starts stationary."""
    later = jnp.sqrt(1 - jnp.square(rho))
    scale = jnp.where(np.arange(n_periods) == 0, 1.0, later)
    return scale[:, None] * recursion(rho, n_periods)


class RandomOrder(NamedTuple):
    """A random order of units: one number per unit, all different, and the numbers ascending.

    With clusters above the units, all units of a cluster hold their cluster's number.
    """

    of_unit: UInt32[Array, " unit"]
    ascending: UInt32[Array, " unit"]
    count: Any

    def among_first(self, k: Any) -> Bool[Array, " unit"]:
        """Return whether a unit (its cluster) is among the k with the lowest numbers."""
        bound = self.ascending[jnp.maximum(k, 1) - 1]
        return (self.of_unit <= bound) & (k > 0)

    @property
    def place(self) -> Int[Array, " unit"]:
        """Return the rank of each unit's number from 0; units of a cluster share it."""
        return jnp.searchsorted(self.ascending, self.of_unit)


def draw_order(key: Key[Array, ""], panel: Panel, cluster: str | None = None) -> RandomOrder:
    """Draw a random order of the units, or of the clusters that a column identifies."""
    n = panel.n_units
    drawn = distinct_bits(key, n)
    if cluster is None:
        return RandomOrder(drawn, jnp.sort(drawn), n)
    _, number = jnp.unique(first_observed(panel, cluster), return_inverse=True, size=n)
    number = number.reshape(-1)
    count = number.max() + 1
    last = jnp.iinfo(jnp.uint32).max
    ascending = jnp.sort(jnp.where(jnp.arange(n) < count, drawn, last))
    return RandomOrder(drawn[number], ascending, count)


def distinct_bits(key: Key[Array, ""], n: int) -> UInt32[Array, " unit"]:
    """Draw random integers without ties: their low bits are their own position."""
    low = max(1, (n - 1).bit_length())
    return (jax.random.bits(key, (n,), jnp.uint32) >> low << low) | jnp.arange(n, dtype=jnp.uint32)


def number_of(value: Any, total: Any) -> Any:
    """Return a number of units: a whole number as it is, a share times the total, rounded."""
    if is_whole(value):
        return value
    return jnp.round(value * total).astype(int)


def first_observed(panel: Panel, name: str) -> Array:
    """Return each unit's value of a column in its first observed period."""
    if panel.mask is None:
        return panel[name][:, 0]
    first = jnp.argmax(panel.mask, axis=1)
    return jnp.take_along_axis(panel[name], first[:, None], axis=1)[:, 0]


def codes_of(panel: Panel, name: str) -> np.ndarray:
    """Return the values of `first_observed` for a concrete panel, also while tracing."""
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
