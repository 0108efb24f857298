"""Reference generators: what every fidelity table compares a generator with.

The bootstrap is as close to the data as can be, since it repeats them; the multivariate normal
knows the first two moments and nothing else. Both draw within the groups of the given columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from mcsim._core import Panel
from mcsim.errors import InputError

Nominal = tuple[tuple[str, int | None], ...]
"""The nominal columns of a panel, with the number of their categories."""


class _Groups(NamedTuple):
    """The distinct values of the given columns, and where their rows lie."""

    values: Float[Array, "group given"]
    starts: Int[Array, " group"]
    counts: Int[Array, " group"]


@dataclass(frozen=True, eq=False)
class RowBootstrap:
    """Draws training rows with replacement, within the groups of the given columns.

    Attributes
    ----------
    names, given : tuple of str
        The columns, and those that ``sample`` is given.
    values : array (row, column)
        The training rows, sorted by group.
    groups : groups
        The values of the given columns, first row and number of rows of each group.
    nominal : tuple of (str, int or None)
        The nominal columns, with the number of their categories.

    Examples
    --------
    >>> import jax
    >>> panel = Panel({"treat": [0.0, 0.0, 1.0], "y": [1.0, 2.0, 5.0]})
    >>> bootstrap = RowBootstrap.fit(jax.random.key(0), panel, given=("treat",))
    >>> drawn = bootstrap.sample(jax.random.key(1), 2, given={"treat": [1.0, 1.0]})
    >>> drawn["y"].ravel().tolist()
    [5.0, 5.0]
    """

    names: tuple[str, ...]
    given: tuple[str, ...]
    values: Float[Array, "row column"]
    groups: _Groups
    nominal: Nominal = ()

    @classmethod
    def fit(
        cls,
        key: Key[Array, ""],
        panel: Panel,
        *,
        given: Sequence[str] = (),
        schema: Any = None,
        progress: bool = False,
    ) -> "RowBootstrap":
        """Keep the rows of a cross-section; the other arguments are those of every trainer."""
        rows, groups = _sorted_by_group(panel, tuple(given))
        return cls(tuple(panel), tuple(given), rows, groups, panel.static_part.nominal)

    def sample(
        self, key: Key[Array, ""], n_units: int, *, given: Mapping[str, Any] | None = None
    ) -> Panel:
        """Draw units: NaN where the given values are no group of the training rows."""
        group, known = _group_of(self.groups, self.given, given, n_units)
        uniform = jax.random.uniform(key, (n_units,), dtype=jnp.float64)
        place = jnp.floor(uniform * self.groups.counts[group]).astype(int)
        drawn = self.values[self.groups.starts[group] + place]
        return _as_panel(self.names, jnp.where(known[:, None], drawn, jnp.nan), self.nominal)


@dataclass(frozen=True, eq=False)
class MultivariateNormal:
    """Draws normal rows with the training rows' mean and covariance in each group.

    Attributes
    ----------
    names, given : tuple of str
        The columns, and those that ``sample`` is given.
    means : array (group, column)
    factors : array (group, column, column)
        Symmetric square roots of the covariance matrices.
    groups : groups
        The values of the given columns in each group.
    nominal : tuple of (str, int or None)
        The nominal columns, with the number of their categories.

    Examples
    --------
    >>> import jax
    >>> panel = Panel({"y": [1.0, 2.0, 3.0]})
    >>> normal = MultivariateNormal.fit(jax.random.key(0), panel)
    >>> bool(abs(normal.sample(jax.random.key(1), 10_000)["y"].mean() - 2) < 0.05)
    True
    """

    names: tuple[str, ...]
    given: tuple[str, ...]
    means: Float[Array, "group column"]
    factors: Float[Array, "group column column"]
    groups: _Groups
    nominal: Nominal = ()

    @classmethod
    def fit(
        cls,
        key: Key[Array, ""],
        panel: Panel,
        *,
        given: Sequence[str] = (),
        schema: Any = None,
        progress: bool = False,
    ) -> "MultivariateNormal":
        """Compute the moments; the other arguments are those of every trainer."""
        rows, groups = _sorted_by_group(panel, tuple(given))
        if int(groups.counts.min()) < 2:
            raise InputError(f"panel: a group of {list(given)} has one row, expected at least two")
        parts = np.split(np.asarray(rows), np.asarray(groups.starts)[1:])
        means = jnp.asarray([part.mean(axis=0) for part in parts])
        factors = jnp.asarray([_square_root(np.cov(part, rowvar=False)) for part in parts])
        nominal = panel.static_part.nominal
        return cls(tuple(panel), tuple(given), means, factors, groups, nominal)

    def sample(
        self, key: Key[Array, ""], n_units: int, *, given: Mapping[str, Any] | None = None
    ) -> Panel:
        """Draw units: NaN where the given values are no group of the training rows."""
        group, known = _group_of(self.groups, self.given, given, n_units)
        noise = jax.random.normal(key, (n_units, len(self.names)), dtype=jnp.float64)
        drawn = jnp.zeros_like(noise)
        for index in range(len(self.means)):  # few groups: a gather of matrices would be larger
            rows = self.means[index] + noise @ self.factors[index]
            drawn = jnp.where((group == index)[:, None], rows, drawn)
        return _as_panel(self.names, jnp.where(known[:, None], drawn, jnp.nan), self.nominal)


def _sorted_by_group(panel: Panel, given: tuple[str, ...]) -> tuple[Array, _Groups]:
    rows = np.column_stack([np.asarray(panel[name], np.float64)[:, 0] for name in panel])
    keys = np.column_stack([np.zeros((len(rows), 0)), *(np.asarray(panel[n]) for n in given)])
    values, codes = np.unique(keys, axis=0, return_inverse=True) if given else _one_group(len(rows))
    counts = np.bincount(codes.ravel())
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    order = np.argsort(codes.ravel(), kind="stable")
    groups = _Groups(jnp.asarray(values), jnp.asarray(starts), jnp.asarray(counts))
    return jnp.asarray(rows[order]), groups


def _one_group(n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((1, 0)), np.zeros(n_rows, dtype=int)


def _group_of(groups: _Groups, names: tuple[str, ...], given: Any, n_units: int):
    missing = [name for name in names if name not in (given or {})]
    if missing:
        raise InputError(f"given: got no values of {missing}, expected one per unit")
    columns = [jnp.reshape(jnp.asarray(given[name], jnp.float64), (n_units, 1)) for name in names]
    values = jnp.concatenate([jnp.zeros((n_units, 0)), *columns], axis=1)
    match = (values[:, None, :] == groups.values[None]).all(axis=-1)
    return match.argmax(axis=1), match.any(axis=1)


def _square_root(covariance: np.ndarray) -> np.ndarray:
    """Symmetric root of a matrix that may be singular (constant or collinear columns)."""
    eigenvalues, vectors = np.linalg.eigh(np.atleast_2d(covariance))
    return (vectors * np.sqrt(np.maximum(eigenvalues, 0.0))) @ vectors.T


def _as_panel(names: tuple[str, ...], rows: Array, nominal: Nominal) -> Panel:
    return Panel({name: rows[:, k] for k, name in enumerate(names)}, nominal=dict(nominal))
