"""The law of vectors that a trained autoencoder draws from."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim._pytree import pytree
from mcsim.generators._vae_model import Autoencoder


@pytree("model", "weights", "means", "roots")
@dataclass(frozen=True, eq=False)
class Decoded:
    """Latent rows from a mixture of normals, decoded.

    Attributes
    ----------
    model : Autoencoder
    weights : array (component,)
    means : array (component, latent)
    roots : array (component, latent, latent)
        Of the mixture; one component or several.
    """

    model: Autoencoder
    weights: Any
    means: Any
    roots: Any

    def draw(self, key: Array, n_units: int) -> Float[Array, "unit coordinate"]:
        """Draw units."""
        plan = self.model.plan
        of_component, of_latent, of_noise = jax.random.split(key, 3)
        share = jax.random.uniform(of_component, (n_units,), jnp.float32)
        ends = jnp.cumsum(jnp.asarray(self.weights))[:-1]
        component = jnp.searchsorted(ends, share, side="right")
        noise = jax.random.normal(of_latent, (n_units, plan.latent), jnp.float32)
        roots = jnp.asarray(self.roots)[component]
        z = jnp.asarray(self.means)[component] + jnp.einsum("nd,nde->ne", noise, roots)
        mean, scale = self.model.decode(z)
        if not plan.noisy:
            return mean
        normal = jax.random.normal(of_noise, mean.shape, jnp.float32)
        return mean + scale * self.model.draw_noise(normal)
