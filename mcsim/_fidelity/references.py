"""Reference generators, which stand in every table, and the Gaussian of cross-sections.

The bootstrap, which repeats the data, is as close to them as possible.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from numpy import ndarray

from mcsim import generators as trainers
from mcsim._core.records import Panel
from mcsim.errors import InputError

REAL = "real"
"""The row of real units in place of generated ones."""

Nominal = tuple[tuple[str, int | None], ...]
"""The nominal columns of a panel, with the number of their categories."""


@dataclass(frozen=True)
class Gaussian:
    """A trainer of cross-sections: the training rows' mean and covariance in each stratum.

    The strata are the joint values of the given columns. The fit keeps
    means and covariances alone, less than any trainer of `mcsim.generators`.

    Examples
    --------
    >>> panel = Panel({"y": [1.0, 2.0, 3.0]})
    >>> normal = Gaussian().fit(jax.random.key(0), panel)
    >>> bool(abs(normal.sample(jax.random.key(1), 10_000)["y"].mean() - 2) < 0.05)
    True
    """

    def fit(
        self,
        key: Key[Array, ""],
        panel: Panel,
        *,
        given: Sequence[str] = (),
        schema: Any = None,
        progress: bool = False,
    ) -> "FittedGaussian":
        """Return a generator with the moments of a cross-section."""
        rows = np.column_stack([np.asarray(panel[name], np.float64)[:, 0] for name in panel])
        strata, codes = np.zeros((1, 0)), np.zeros(len(rows), dtype=int)
        if given:
            joint = np.column_stack([np.asarray(panel[name], np.float64)[:, 0] for name in given])
            strata, codes = np.unique(joint, axis=0, return_inverse=True)
        parts = [rows[codes.ravel() == code] for code in range(len(strata))]
        if min(map(len, parts)) < 2:
            raise InputError(f"panel: a group of {list(given)} has one row, expected at least two")
        return FittedGaussian(
            tuple(panel),
            tuple(given),
            jnp.asarray([part.mean(axis=0) for part in parts]),
            jnp.asarray([_square_root(np.cov(part, rowvar=False)) for part in parts]),
            jnp.asarray(strata),
            panel.static_part.nominal,
        )


@dataclass(frozen=True, eq=False)
class FittedGaussian:
    """Draws normal rows with the mean and the covariance of their stratum.

    Attributes
    ----------
    names, given : tuple of str
        The columns, and the columns that ``sample`` is given.
    means : array (stratum, column)
    factors : array (stratum, column, column)
        Symmetric square roots of the covariance matrices.
    strata : array (stratum, given)
        The values of the given columns.
    nominal : tuple of (str, int or None)
    """

    names: tuple[str, ...]
    given: tuple[str, ...]
    means: Float[Array, "stratum column"]
    factors: Float[Array, "stratum column column"]
    strata: Float[Array, "stratum given"]
    nominal: Nominal = ()

    def sample(
        self, key: Key[Array, ""], n_units: int, *, given: Mapping[str, Any] | None = None
    ) -> Panel:
        """Draw units; NaN where no training row has the given values."""
        missing = [name for name in self.given if name not in (given or {})]
        if missing:
            raise InputError(f"given: got no values of {missing}, expected one per unit")
        known = [jnp.asarray((given or {})[name], jnp.float64) for name in self.given]
        parts = self.means, self.factors, self.strata
        return Panel(
            dict(zip(self.names, _draw(n_units, key, known, *parts), strict=True)),
            nominal=dict(self.nominal),
        )


@partial(jax.jit, static_argnums=0)
def _draw(
    n_units: int,
    key: Key[Array, ""],
    known: list[Array],
    means: Float[Array, "stratum column"],
    factors: Float[Array, "stratum column column"],
    strata: Float[Array, "stratum given"],
) -> list[Float[Array, " unit"]]:
    columns = [jnp.reshape(values, (n_units, 1)) for values in known]
    values = jnp.concatenate([jnp.zeros((n_units, 0)), *columns], axis=1)
    match = (values[:, None, :] == strata[None]).all(axis=-1)
    noise = jax.random.normal(key, (n_units, means.shape[1]), dtype=jnp.float64)
    drawn = jnp.full_like(noise, jnp.nan)
    for index in range(len(means)):  # few strata: a gather of matrices would be larger
        drawn = jnp.where(match[:, [index]], means[index] + noise @ factors[index], drawn)
    return list(drawn.T)


def _square_root(covariance: ndarray) -> Float[ndarray, "column column"]:
    """Return the symmetric root of a matrix, singular for constant or collinear columns."""
    eigenvalues, vectors = np.linalg.eigh(np.atleast_2d(covariance))
    return (vectors * np.sqrt(np.maximum(eigenvalues, 0.0))) @ vectors.T


CROSS_SECTION_REFERENCES = {"bootstrap": trainers.UnitBootstrap(), "normal": Gaussian()}
"""The reference rows of the table of a cross-section, by name."""

PANEL_REFERENCES = {
    "bootstrap": trainers.UnitBootstrap(),
    "smoothed bootstrap": trainers.SmoothedBootstrap(),
    "copula": trainers.GaussianCopula(),
    "factor VAR": trainers.FactorVAR(),
    "mixture": trainers.GaussianMixture(),
}
"""The reference rows of the table of a panel, by name."""
