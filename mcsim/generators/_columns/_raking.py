"""After training, the shares of atoms and categories in each arm are raked to those of the data.

A network learns shares up to a point or two. Column after column, in the order of generation, the
log shares that its logits start from are moved until the mean probabilities, over a large draw of
the columns before, are the shares of the training rows.

References
----------
Deming & Stephan (1940), On a least squares adjustment of a sampled frequency table when the
expected marginal totals are known, Annals of Mathematical Statistics 11: 427-444.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim.generators._columns._architecture import Architecture, Tables
from mcsim.generators._columns._drawing import allowed_mask
from mcsim.generators._columns._levels import FORBIDDEN, Levels
from mcsim.generators._networks import Params, apply

ITERATIONS = 40
ROWS_PER_ARM = 8_192


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
    targets: tuple[Float[Array, "arm _"] | None, ...],
    given: Float[Array, "row feature"],
    key: Array,
) -> Tables:
    """Return tables whose log shares give the target shares; rows are equally many by arm."""
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
        if target is not None:
            offset = _offsets(head.logits(table, outputs, arm, mask), target)
            table = table._replace(log_share=_shift(table.log_share, offset))
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
