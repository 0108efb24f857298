"""Lengths of groups of whitened coordinates: how volatile a unit is, in all and in each column."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from mcsim.generators._vectors._layout import Layout

LEAST = 4  # coordinates below which a length says little
SMALL = 0.1  # of mean squares, so that no length is infinitely small

Groups = tuple[tuple[int, int], ...]


def length_groups(layout: Layout) -> Groups:
    """Return first and last (exclusive) coordinates: of all, and of each path."""
    places = [layout.place(name) for name in layout.paths]
    groups = dict.fromkeys([(0, layout.size), *((place.start, place.stop) for place in places)])
    return tuple((start, stop) for start, stop in groups if stop - start >= LEAST)


def log_lengths(
    vectors: Float[Array, "unit coordinate"], groups: Groups
) -> Float[Array, "unit group"]:
    """Return the logarithm of the mean square of each group."""
    squares = [(vectors[:, start:stop] ** 2).mean(axis=1) for start, stop in groups]
    return jnp.log(jnp.stack(squares, axis=1) + SMALL) if groups else vectors[:, :0]
