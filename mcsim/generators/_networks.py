"""Networks (the only use of Flax): perceptrons and LSTMs as plain functions of parameters.

A network is split once into structure and parameters; training and drawing call `apply`, a pure
function, so that jit, grad and vmap are JAX's own. All networks map rows to rows: a `Writer` and a
`Reader` go over a unit's periods in turn, and take the place of a perceptron.
"""

import math
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from mcsim._core.pytree import stored_as

Params = dict[str, Any]
Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Writer:
    """An LSTM that writes vectors, period by period, from a latent row.

    Attributes
    ----------
    shared, own : int
        Latent coordinates of all periods, and of each single period; a latent row has ``shared +
        own * periods`` coordinates, period by period after the shared ones.
    state : int
        Size of the LSTM's state.
    periods, columns, invariant : int
        Of the vectors: time-varying columns, and coordinates of time-invariant ones, which follow.
    heads : int
        Vectors for each row, one after the other (a mean and a scale: 2).
    """

    shared: int
    own: int
    state: int
    periods: int
    columns: int
    invariant: int = field(metadata=stored_as("traits"))  # as in `Column`
    heads: int = 1


@dataclass(frozen=True)
class Reader:
    """An LSTM that reads a vector, period by period, into features.

    Attributes
    ----------
    state : int
        Size of the LSTM's state.
    periods, columns, invariant : int
        Of the vector: time-varying columns, and coordinates of time-invariant ones, which follow.
    features : int
        Number of features of each row.
    """

    state: int
    periods: int
    columns: int
    invariant: int = field(metadata=stored_as("traits"))  # as in `Column`
    features: int


Network = Sizes | Writer | Reader


class Perceptron(nnx.Module):
    """Linear layers with leaky rectifiers between them, in float32."""

    def __init__(self, sizes: Sizes, *, rngs: nnx.Rngs):
        self.depth = len(sizes) - 1
        for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
            setattr(self, f"layer_{layer}", _linear(inputs, outputs, rngs))

    def __call__(self, x: Array) -> Array:
        for layer in range(self.depth):
            x = getattr(self, f"layer_{layer}")(x)
            if layer < self.depth - 1:
                x = jax.nn.leaky_relu(x, 0.2)
        return x


class Recurrence(nnx.Module):
    """The states of an LSTM over periods: Hochreiter & Schmidhuber (1997), Neural Computation 9."""

    def __init__(self, inputs: int, state: int, *, rngs: nnx.Rngs):
        self.size = state
        self.gates = _linear(inputs, 4 * state, rngs)
        self.feedback = _linear(state, 4 * state, rngs, bias=False)

    def __call__(self, x: Float[Array, "row period input"]) -> Float[Array, "row period state"]:
        def step(carry: tuple[Array, Array], gates: Array) -> tuple[tuple[Array, Array], Array]:
            state, cell = carry
            write, forget, read, new = jnp.split(gates + self.feedback(state), 4, axis=-1)
            cell = jax.nn.sigmoid(forget + 1) * cell + jax.nn.sigmoid(write) * jnp.tanh(new)
            state = jax.nn.sigmoid(read) * jnp.tanh(cell)
            return (state, cell), state

        nothing = jnp.zeros((len(x), self.size), jnp.float32)
        gates = jnp.swapaxes(self.gates(x), 0, 1)
        return jnp.swapaxes(jax.lax.scan(step, (nothing, nothing), gates)[1], 0, 1)


class Writing(nnx.Module):
    """The network of a `Writer`: the inputs of a period are the latent row and the period."""

    def __init__(self, plan: Writer, *, rngs: nnx.Rngs):
        self.plan = plan
        inputs = plan.shared + plan.own + plan.periods
        self.recurrence = Recurrence(inputs, plan.state, rngs=rngs)
        # "paths" and "traits" name parameters in model files
        self.traits = _linear(plan.shared, plan.heads * plan.invariant, rngs)
        self.paths = _linear(plan.state + plan.periods, plan.heads * plan.columns, rngs)

    def __call__(self, z: Float[Array, "row latent"]) -> Float[Array, "row coordinate"]:
        plan, rows = self.plan, len(z)
        shared, own = z[:, : plan.shared], z[:, plan.shared :]
        everywhere = jnp.broadcast_to(shared[:, None], (rows, plan.periods, plan.shared))
        calendar = _calendar(rows, plan.periods)
        parts = everywhere, own.reshape(rows, plan.periods, plan.own), calendar
        states = self.recurrence(jnp.concatenate(parts, axis=2))
        paths = self.paths(jnp.concatenate([states, calendar], axis=2))
        paths = jnp.swapaxes(paths, 1, 2).reshape(rows, plan.heads, plan.columns * plan.periods)
        constant = self.traits(shared).reshape(rows, plan.heads, plan.invariant)
        return jnp.concatenate([paths, constant], axis=2).reshape(rows, -1)


class Reading(nnx.Module):
    """The network of a `Reader`: features of last state, mean state and time-invariant columns."""

    def __init__(self, plan: Reader, *, rngs: nnx.Rngs):
        self.plan = plan
        self.recurrence = Recurrence(plan.columns + plan.periods, plan.state, rngs=rngs)
        self.features = _linear(2 * plan.state + plan.invariant, plan.features, rngs)

    def __call__(self, x: Float[Array, "row coordinate"]) -> Float[Array, "row feature"]:
        plan, rows = self.plan, len(x)
        cells = plan.columns * plan.periods
        paths = jnp.swapaxes(x[:, :cells].reshape(rows, plan.columns, plan.periods), 1, 2)
        states = self.recurrence(jnp.concatenate([paths, _calendar(rows, plan.periods)], axis=2))
        parts = states[:, -1], states.mean(axis=1), x[:, cells:]
        return self.features(jnp.concatenate(parts, axis=1))


def _linear(inputs: int, outputs: int, rngs: nnx.Rngs, bias: bool = True) -> nnx.Linear:
    options = {"dtype": jnp.float32, "param_dtype": jnp.float32, "use_bias": bias}
    # only shapes are used, and there may be no time-invariant columns
    zeros = nnx.initializers.zeros_init()
    return nnx.Linear(inputs, outputs, kernel_init=zeros, rngs=rngs, **options)


def _calendar(rows: int, periods: int) -> Float[Array, "row period period"]:
    return jnp.broadcast_to(jnp.eye(periods, dtype=jnp.float32), (rows, periods, periods))


def param_shapes(networks: tuple[Network, ...]) -> tuple[Params, ...]:
    """Return the shapes and types of the parameters of several networks."""
    return tuple(_shapes(network) for network in networks)


def initialize(
    key: Array, networks: tuple[Network, ...], last: tuple[float, ...]
) -> tuple[Params, ...]:
    """Return parameters of several networks, from one draw of normals cut up by NumPy.

    Weights have variance one over the inputs, biases are zero; each last layer is multiplied by its
    number in ``last``.
    """
    shapes = param_shapes(networks)
    total = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    normals, start = np.asarray(jax.random.normal(key, (total,), jnp.float32)), 0

    def fill(layers: Params, final: tuple[str, ...], shrink: float) -> Params:
        nonlocal start
        params = {}
        for name, layer in layers.items():
            if "kernel" not in layer:
                params[name] = fill(layer, (), 1.0)
                continue
            inputs, outputs = layer["kernel"].shape
            scale = (shrink if name in final else 1.0) / math.sqrt(inputs)
            weights = normals[start : start + inputs * outputs].reshape(inputs, outputs)
            params[name] = {"kernel": (scale * weights).astype(np.float32)}
            if "bias" in layer:
                params[name]["bias"] = np.zeros(outputs, np.float32)
            start += inputs * outputs
        return params

    pairs = zip(networks, shapes, last, strict=True)
    return tuple(fill(layers, _final(network), shrink) for network, layers, shrink in pairs)


def apply(network: Network, params: Params, x: Float[Array, "*row input"]) -> Array:
    """Return the network's outputs; those with an LSTM take rows (row, input)."""
    return nnx.merge(_structure(network), nnx.State(params))(x)


@lru_cache
def _shapes(network: Network) -> Params:
    if isinstance(network, (Writer, Reader)):
        state = nnx.split(_built(network))[1]
        leaves = nnx.to_pure_dict(state)
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), leaves)
    layers = {}
    for layer, (inputs, outputs) in enumerate(pairwise(network)):
        bias = jax.ShapeDtypeStruct((outputs,), jnp.float32)
        kernel = jax.ShapeDtypeStruct((inputs, outputs), jnp.float32)
        layers[f"layer_{layer}"] = {"bias": bias, "kernel": kernel}
    return layers


def _final(network: Network) -> tuple[str, ...]:
    """Return the names of the last layers."""
    if isinstance(network, Writer):
        return "paths", "traits"
    return ("features",) if isinstance(network, Reader) else (f"layer_{len(network) - 2}",)


def _built(network: Network) -> nnx.Module:
    """Return the module, of which the parameters are shapes only."""
    if isinstance(network, Writer):
        return nnx.eval_shape(lambda: Writing(network, rngs=nnx.Rngs(0)))
    if isinstance(network, Reader):
        return nnx.eval_shape(lambda: Reading(network, rngs=nnx.Rngs(0)))
    return nnx.eval_shape(lambda: Perceptron(network, rngs=nnx.Rngs(0)))


@lru_cache
def _structure(network: Network) -> Any:
    return nnx.split(_built(network))[0]
