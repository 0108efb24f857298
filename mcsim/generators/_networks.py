"""The only file that knows Flax: perceptrons as plain functions of plain parameters.

A network is split once into structure and parameters; what trains and draws is `apply`, a pure
function, so that jit, grad and vmap are JAX's own.
"""

import math
from functools import lru_cache
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

Params = dict[str, Any]
Sizes = tuple[int, ...]


class Perceptron(nnx.Module):
    """Linear layers with leaky rectifiers between them, in float32."""

    def __init__(self, sizes: Sizes, *, rngs: nnx.Rngs):
        self.depth = len(sizes) - 1
        for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
            linear = nnx.Linear(
                inputs, outputs, rngs=rngs, dtype=jnp.float32, param_dtype=jnp.float32
            )
            setattr(self, f"layer_{layer}", linear)

    def __call__(self, x: Array) -> Array:
        for layer in range(self.depth):
            x = getattr(self, f"layer_{layer}")(x)
            if layer < self.depth - 1:
                x = jax.nn.leaky_relu(x, 0.2)
        return x


def param_shapes(networks: tuple[Sizes, ...]) -> tuple[Params, ...]:
    """Return the shapes and types of the parameters of several perceptrons."""
    described = []
    for sizes in networks:
        layers = {}
        for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
            bias = jax.ShapeDtypeStruct((outputs,), jnp.float32)
            kernel = jax.ShapeDtypeStruct((inputs, outputs), jnp.float32)
            layers[f"layer_{layer}"] = {"bias": bias, "kernel": kernel}
        described.append(layers)
    return tuple(described)


def initialize(
    key: Array, networks: tuple[Sizes, ...], last: tuple[float, ...]
) -> tuple[Params, ...]:
    """Return parameters of several perceptrons, from one draw of normals cut up by NumPy.

    Weights have variance one over the inputs, biases are zero; each last layer is multiplied by its
    number in ``last``.
    """
    shapes = param_shapes(networks)
    total = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    normals, start = np.asarray(jax.random.normal(key, (total,), jnp.float32)), 0
    networks_params = []
    for layers, shrink in zip(shapes, last, strict=True):
        params = {}
        for name, layer in layers.items():
            inputs, outputs = layer["kernel"].shape
            scale = (shrink if name == f"layer_{len(layers) - 1}" else 1.0) / math.sqrt(inputs)
            weights = normals[start : start + inputs * outputs].reshape(inputs, outputs)
            kernel = (scale * weights).astype(np.float32)
            params[name] = {"bias": np.zeros(outputs, np.float32), "kernel": kernel}
            start += inputs * outputs
        networks_params.append(params)
    return tuple(networks_params)


def apply(sizes: Sizes, params: Params, x: Float[Array, "*row input"]) -> Array:
    """Return the perceptron's outputs."""
    return nnx.merge(_structure(sizes), nnx.State(params))(x)


@lru_cache
def _structure(sizes: Sizes) -> Any:
    return nnx.split(nnx.eval_shape(lambda: Perceptron(sizes, rngs=nnx.Rngs(0))))[0]
