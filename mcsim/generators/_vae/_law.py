"""The law of vectors that a trained autoencoder draws from."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim._pytree import pytree
from mcsim.generators._vae._model import Autoencoder

LatentLaw = Literal["posterior", "normal", "prior"]

BANDWIDTH = 0.3  # of the kernel on posteriors: sd 1 over all units, so this keeps few from copying


@pytree("model", "means", "scales", "root")
@dataclass(frozen=True, eq=False)
class Decoded:
    """Latent rows from a mixture of normals with equal weights, decoded.

    Attributes
    ----------
    model : Autoencoder
    means, scales : array (component, latent)
        Of the components' coordinates, which are independent before ``root``.
    root : array (latent, latent)
        What turns deviations (from the left) into those of z.
    """

    model: Autoencoder
    means: Any
    scales: Any
    root: Any

    def draw(self, key: Array, n_units: int) -> Float[Array, "unit coordinate"]:
        """Draw units."""
        return _draw(self, key, n_units)


@partial(jax.jit, static_argnums=2)
def _draw(law: Decoded, key: Array, n_units: int) -> Float[Array, "unit coordinate"]:
    plan, count = law.model.plan, len(law.means)
    of_component, of_normals = jax.random.split(key)
    component = jax.random.randint(of_component, (n_units,), 0, count)
    shape = n_units, plan.latent + plan.layout.size
    normals = jax.random.normal(of_normals, shape, jnp.float32)
    deviations = normals[:, : plan.latent] * jnp.asarray(law.scales)[component]
    mean, scale = law.model.decode(jnp.asarray(law.means)[component] + deviations @ law.root)
    if not plan.noisy:
        return mean
    return mean + scale * law.model.draw_noise(normals[:, plan.latent :])


def fit_law(
    model: Autoencoder, vectors: Float[np.ndarray, "unit coordinate"], kind: LatentLaw
) -> Decoded:
    """Fit the latent law to the posteriors of the training units.

    Their mixture is smoothed by a kernel, and shrunk so that its variance stays: Silverman (1986),
    Density estimation for statistics and data analysis, section 6.4.
    """
    latent = model.plan.latent
    one, turn = np.ones((1, latent)), np.eye(latent)
    encode = jax.jit(Autoencoder.encode)
    found = encode(model, jnp.asarray(vectors, jnp.float32))
    means, variances = np.asarray(found.mean, np.float64), np.exp(np.asarray(found.log_variance))
    if kind == "posterior":
        center, shrunk = means.mean(axis=0), np.sqrt(1 - BANDWIDTH**2)
        parts = center + shrunk * (means - center), np.sqrt(variances + BANDWIDTH**2), turn
    elif kind == "normal":
        between = np.cov(means, rowvar=False, ddof=0).reshape(latent, latent)
        covariance = between + np.diag(variances.mean(axis=0))
        parts = means.mean(axis=0)[None], one, np.linalg.cholesky(covariance).T
    else:
        parts = 0 * one, one, turn
    return Decoded(model, *(part.astype(np.float32) for part in parts))
