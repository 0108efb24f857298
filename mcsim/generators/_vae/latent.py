"""The latent space of a fitted VAE: units encoded, moved, decoded and reconstructed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim._core.records import Panel, require_panel
from mcsim.errors import InputError, did_you_mean, printable, raise_all
from mcsim.generators._training.fitted_panel import FittedPanel, Part
from mcsim.generators._vae.model import Autoencoder, Decoded, encoded


class Posterior(NamedTuple):
    """The latent distribution of each unit: independent normals.

    Attributes
    ----------
    mean, log_variance : array (unit, latent)
    """

    mean: Float[Array, "unit latent"]
    log_variance: Float[Array, "unit latent"]


@dataclass(frozen=True, eq=False, repr=False)
class Latent:
    """The latent space of a fitted VAE; `latent` returns it.

    Attributes
    ----------
    generator : FittedPanel
        The result of ``VAE(...).fit``.
    """

    generator: FittedPanel

    def __repr__(self) -> str:
        names = ", ".join(self._part.coding.layout.names)
        return f"Latent({self.size} coordinates of {printable(names)})"

    @property
    def size(self) -> int:
        """Number of latent coordinates."""
        return self._model.plan.latent

    @property
    def _part(self) -> Part:
        part = self.generator.parts[0]
        assert isinstance(part, Part)
        return part

    @property
    def _model(self) -> Autoencoder:
        return self._part.distribution.model

    def encode(self, panel: Panel) -> Posterior:
        """Return the latent distribution of each unit of a panel.

        Parameters
        ----------
        panel : Panel
            Units with the columns and periods of the training data, for instance
            ``panel.take(np.array([3]))``. A missing cell counts as the mean of its period.

        Returns
        -------
        Posterior
            Means and log variances, float32.

        Raises
        ------
        InputError
            For columns that are missing, and another number of periods.
        """
        coding = self._part.coding
        low, high = coding.intervals(self._columns(panel))
        vectors = encoded(np.where(low == high, low, 0.0), low, high)
        found = _encode(self._model, jnp.asarray(vectors, jnp.float32))
        return Posterior(found.mean, found.log_variance)

    def decode(self, z: Any) -> Panel:
        """Return the units that latent rows stand for, without noise.

        Parameters
        ----------
        z : array (unit, latent)
            Latent rows: ``posterior.mean``, or moved from there (``posterior.mean + delta``).

        Returns
        -------
        Panel
            The values at the center of the decoder's distribution.

        Raises
        ------
        InputError
            For another shape, and values that are not finite.
        """
        try:
            z = jnp.asarray(z, jnp.float32)
        except (TypeError, ValueError):
            raise InputError(
                f"z: got {type(z).__name__}, expected numbers (unit, {self.size})"
            ) from None
        if z.ndim != 2 or z.shape[1] != self.size or not len(z):
            raise InputError(
                f"z: got shape {z.shape}, expected (unit, {self.size}), one row for each unit; "
                "posterior.mean has this shape"
            )
        if not bool(jnp.isfinite(z).all()):
            raise InputError("z: got values that are not finite, expected finite ones")
        vectors = _decode(self._model, z).astype(jnp.float64)
        columns = self._part.coding.values(vectors)
        schema = self.generator.schema
        return schema.panel({n: columns[n] for n in schema.names if n in columns})

    def reconstruct(self, panel: Panel) -> Panel:
        """Return the units of a panel as they come back from the mean of their latent distribution.

        Parameters
        ----------
        panel : Panel
            As in `encode`.

        Returns
        -------
        Panel
        """
        return self.decode(self.encode(panel).mean)

    def _columns(self, panel: Panel) -> Mapping[str, np.ndarray]:
        require_panel(panel)
        layout = self._part.coding.layout
        faults = [
            f"panel: column {name!r} is missing{did_you_mean(name, panel)}"
            for name in layout.names
            if name not in panel
        ]
        if panel.n_periods != layout.periods:
            faults.append(
                f"panel: got {panel.n_periods} periods, expected the {layout.periods} that the "
                "generator learned"
            )
        raise_all(faults)
        columns = {name: np.asarray(panel[name], np.float64) for name in layout.names}
        if panel.mask is None:
            return columns
        observed = np.asarray(panel.mask)
        return {name: np.where(observed, values, np.nan) for name, values in columns.items()}


def latent(generator: FittedPanel) -> Latent:
    """Open the latent space of a fitted VAE: encode, decode and reconstruct units.

    Parameters
    ----------
    generator : FittedPanel
        The result of ``VAE(...).fit``, without given columns.

    Returns
    -------
    Latent

    Raises
    ------
    InputError
        For other generators, and a VAE that was fit given columns.

    Examples
    --------
    >>> import jax
    >>> from mcsim import Panel
    >>> from mcsim.generators import VAE
    >>> level = jax.random.normal(jax.random.key(1), (60, 1))
    >>> panel = Panel({"y": level + jax.random.normal(jax.random.key(2), (60, 5))})
    >>> trainer = VAE(latent=2, volatility=False, hidden=(8,), steps=20)
    >>> space = latent(trainer.fit(jax.random.key(0), panel, progress=False))
    >>> space
    Latent(2 coordinates of y)
    >>> where = space.encode(panel.take(slice(7, 8)))
    >>> where.mean.shape
    (1, 2)
    >>> space.decode(where.mean + 1.0)
    Panel(1 units x 5 periods: y)
    """
    if not isinstance(generator, FittedPanel):
        kind = type(generator).__name__
        raise InputError(f"generator: got {kind}, expected what VAE(...).fit returns")
    distribution = getattr(generator.parts[0], "distribution", None)
    if not isinstance(distribution, Decoded):
        kind = type(generator.config).__name__
        raise InputError(f"generator: got one that {kind} made, expected VAE; others have no codes")
    if generator.given:
        raise InputError(
            f"generator: it was fit given {list(generator.given)}, with a latent space for each of "
            "their values; fit one group of units by itself"
        )
    return Latent(generator)


@jax.jit
def _encode(model: Autoencoder, vectors: Array) -> Any:
    return model.encode(vectors)


@jax.jit
def _decode(model: Autoencoder, z: Array) -> Array:
    return model.decode(z).mean
