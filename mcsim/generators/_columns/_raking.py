"""After training, draws get the shares and the moments that training rows have in each arm.

A network learns shares of atoms and categories up to a point or two, and one that is held back from
overfitting draws what differs between arms, and how much values vary, too small. Column after
column, in the order of generation and over a large draw of the columns before, log shares are moved
until the mean probabilities are the shares of the training rows; then the scores of values that are
no atoms are shifted and stretched until they have their means and standard deviations.

References
----------
Deming & Stephan (1940), On a least squares adjustment of a sampled frequency table when the
expected marginal totals are known, Annals of Mathematical Statistics 11: 427-444.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim.generators._columns._architecture import Architecture, Tables
from mcsim.generators._columns._drawing import allowed_mask
from mcsim.generators._columns._levels import FORBIDDEN, PRIOR_ROWS, Levels
from mcsim.generators._columns._mixture import Mixture, MixtureTable
from mcsim.generators._networks import Params, apply

ITERATIONS = 40
ROWS_PER_ARM = 8_192
STEP = 0.7
MOST_SHIFT, MOST_STRETCH = 1.5, 0.7  # of scores; the stretch in logs


class Target(NamedTuple):
    """What draws of a column are to have in each arm; None: it is left alone.

    Attributes
    ----------
    shares : array (arm, part)
        Of atoms and the rest, or of levels.
    moments : array (arm, 3)
        Number, mean and standard deviation of the training rows' values that are no atoms.
    """

    shares: Any
    moments: Any


def raked(architecture: Architecture, data: Any, params: tuple[Params, ...], key: Array) -> Tables:
    """Return the tables of training data, raked on rows drawn evenly from each arm."""
    rows = [np.resize(pool.rows[: pool.count], ROWS_PER_ARM) for pool in data.pools]
    given = data.rows.given[np.concatenate(rows)]
    key = jax.random.fold_in(key, 1)
    return rake(architecture, data.tables, params, data.targets, given, key)


@partial(jax.jit, static_argnums=0)
def rake(
    architecture: Architecture,
    tables: Tables,
    params: tuple[Params, ...],
    targets: tuple[Target, ...],
    given: Float[Array, "row feature"],
    key: Array,
) -> Tables:
    """Return tables under which draws meet the targets; rows are equally many by arm."""
    arms = len(architecture.arms)
    arm = jnp.repeat(jnp.arange(arms), len(given) // arms)
    uniforms = jax.random.uniform(
        key, (len(given), len(architecture.drawn), 2), jnp.float32, 1e-7, 1 - 1e-7
    )
    context = jnp.concatenate([jnp.ones((len(given), 1), jnp.float32), given], axis=1)
    codes: list[Any] = []
    raked: list[Any] = []
    for position, head in enumerate(architecture.drawn):
        table, target = tables.drawn[position], targets[position]
        outputs = apply(architecture.sizes[position], params[position], context)
        mask = allowed_mask(architecture, tables, position, codes)
        if target.shares is not None:
            offset = _offsets(head.logits(table, outputs, arm, mask), target.shares)
            table = table._replace(log_share=_shift(table.log_share, offset))
        if isinstance(head, Mixture):
            moves = _moves(head, table, outputs, arm, uniforms[:, position], target.moments)
            table = table._replace(moves=jnp.concatenate([moves, table.moves[arms:]]))
        raked.append(table)
        if position == len(architecture.drawn) - 1:
            break
        values = head.draw(table, outputs, arm, mask, uniforms[:, position], False)
        codes.append(head.index(values) if isinstance(head, Levels) else None)
        context = jnp.concatenate([context, head.encode(table, values)], axis=1)
    return tables._replace(drawn=tuple(raked))


def _offsets(logits: Float[Array, "row part"], target: Float[Array, "arm part"]) -> Array:
    """Return what to add to an arm's logits (arm, part) so that mean probabilities are targets."""
    by_arm = logits.reshape(len(target), -1, target.shape[1])

    def move(_: Any, offset: Array) -> Array:
        mean = jax.nn.softmax(by_arm + offset[:, None], axis=2).mean(axis=1)
        ratio = jnp.log(target) - jnp.log(jnp.maximum(mean, 1e-12))
        return offset + jnp.where(mean > 1e-9, jnp.clip(ratio, -1.0, 1.0), 0.0)

    return jax.lax.fori_loop(0, ITERATIONS, move, jnp.zeros(target.shape, jnp.float32))


def _shift(log_share: Array, offset: Array) -> Array:
    """Add offsets of atoms and, where components follow, of all of them alike."""
    extra = log_share.shape[1] - offset.shape[1]
    offset = jnp.concatenate([offset, jnp.repeat(offset[:, -1:], extra, axis=1)], axis=1)
    moved = log_share[:-1] + offset
    moved = jnp.where(log_share[:-1] > FORBIDDEN / 2, moved, log_share[:-1])
    return jnp.concatenate([moved, log_share[-1:]])


def _moves(
    head: Mixture,
    table: MixtureTable,
    outputs: Float[Array, "row output"],
    arm: Array,
    uniforms: Float[Array, "row 2"],
    target: Float[Array, "arm 3"],
) -> Float[Array, "arm 2"]:
    """Return shifts and log stretches of scores so that values have the target's moments.

    The targets are shrunk to the moments before, by a prior number of rows.
    """
    scores, weight = (
        part.reshape(len(target), -1) for part in head.loose(table, outputs, arm, uniforms)
    )
    weight = weight / weight.sum(axis=1, keepdims=True)

    def moments(scores: Float[Array, "arm row"]) -> tuple[Array, Array]:
        values = head.value(table, scores)
        mean = (weight * values).sum(axis=1)
        spread = (weight * jnp.square(values - mean[:, None])).sum(axis=1)
        return mean, jnp.sqrt(jnp.maximum(spread, 1e-30))

    mean, spread = moments(scores)
    trust = target[:, 0] / (target[:, 0] + PRIOR_ROWS)
    aim = mean + trust * (target[:, 1] - mean)
    wide = spread * (target[:, 2] / spread) ** trust

    def move(_: Any, moves: Array) -> Array:
        mean, spread = moments(moves[:, :1] + jnp.exp(moves[:, 1:]) * scores)
        shift = moves[:, 0] + STEP * jnp.clip((aim - mean) / spread, -0.5, 0.5)
        stretch = moves[:, 1] + STEP * jnp.clip(jnp.log(wide / spread), -0.3, 0.3)
        inside = jnp.clip(shift, -MOST_SHIFT, MOST_SHIFT)
        return jnp.stack([inside, jnp.clip(stretch, -MOST_STRETCH, MOST_STRETCH)], axis=1)

    return jax.lax.fori_loop(0, ITERATIONS, move, jnp.zeros((len(target), 2), jnp.float32))
