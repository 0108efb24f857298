"""The three ways through a generator: columns in turn, each given those before it.

`relaxed_draw` draws features that pass gradients (for the critic), `log_likelihood` judges real
rows, `exact_draw` draws values (sampling).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mcsim.generators._cross_sections.architecture import Architecture, Features, Tables, encode
from mcsim.generators._cross_sections.levels import Levels
from mcsim.generators._networks import Params, apply


def relaxed_draw(
    architecture: Architecture,
    tables: Tables,
    params: tuple[Params, ...],
    given: Float[Array, "row given"],
    arm: Int[Array, " row"],
    key: Array,
    temperature: Array,
) -> Float[Array, "row drawn"]:
    """Draw the features of all columns, for training."""
    # One call for all noise: each costs compile time.
    noise, start = _noise(key, len(given), sum(head.n_noise for head in architecture.drawn)), 0
    context = _with_constant(given)
    codes: list[Any] = []
    for position, head in enumerate(architecture.drawn):
        outputs = apply(architecture.sizes[position], params[position], context)
        mask = allowed_mask(architecture, tables, position, codes)
        own = noise[:, start : start + head.n_noise]
        start += head.n_noise
        features, code = head.relaxed(tables.drawn[position], outputs, arm, mask, own, temperature)
        codes.append(code)
        context = jnp.concatenate([context, features], axis=1)
    return context[:, 1 + architecture.n_given :]


def relaxed_outcome(
    architecture: Architecture,
    tables: Tables,
    params: tuple[Params, ...],
    context: Float[Array, "row before"],
    codes: Int[Array, "row column"],
    arm: Int[Array, " row"],
    key: Array,
    temperature: Array,
) -> Float[Array, "row feature"]:
    """Draw the features of the last column only, given real values of all others."""
    last = len(architecture.drawn) - 1
    outputs = apply(architecture.sizes[last], params[last], _with_constant(context))
    mask = allowed_mask(architecture, tables, last, [codes[:, column] for column in range(last)])
    head = architecture.drawn[last]
    noise = _noise(key, len(context), head.n_noise)
    return head.relaxed(tables.drawn[last], outputs, arm, mask, noise, temperature)[0]


def log_likelihood(
    architecture: Architecture,
    tables: Tables,
    params: tuple[Params, ...],
    rows: Features,
    networks: Sequence[Callable[..., Array]] = (),
) -> Float[Array, "row column"]:
    """Return each column's log density given those before it.

    ``networks``, one per column, may take the place of `apply`.
    """
    context = _with_constant(jnp.concatenate([rows.given, rows.drawn], axis=1))
    codes = list(rows.codes.T)
    parts = []
    for position, head in enumerate(architecture.drawn):
        sizes = architecture.sizes[position]
        network = networks[position] if networks else apply
        outputs = network(sizes, params[position], context[:, : sizes[0]])
        mask = allowed_mask(architecture, tables, position, codes[:position])
        own = codes[position], rows.scores[:, position]
        table = tables.drawn[position]
        parts.append(head.log_density(table, outputs, rows.arms, mask, *own))
    return jnp.stack(parts, axis=1)


def exact_draw(
    architecture: Architecture,
    tables: Tables,
    params: tuple[Params, ...],
    known: Mapping[str, Float[Array, " row"]],
    uniforms: Float[Array, "row column 2"],
) -> dict[str, Float[Array, " row"]]:
    """Draw values; the columns in ``known`` are kept, and the last is monotone in its noise.

    Units with a known category that training never saw are NaN.
    """
    rows = len(uniforms)
    context = _with_constant(encode(architecture.given, tables.given, known, rows))
    arm = architecture.arm(known, rows)
    columns, codes = dict(known), []
    unseen = jnp.zeros(rows, bool)
    for head in (*architecture.given, *architecture.drawn):
        if head.name in known and isinstance(head, Levels):
            unseen |= head.index(known[head.name]) < 0
    for position, head in enumerate(architecture.drawn):
        if head.name not in columns:
            outputs = apply(architecture.sizes[position], params[position], context)
            mask = allowed_mask(architecture, tables, position, codes)
            last = position == len(architecture.drawn) - 1
            table, noise = tables.drawn[position], uniforms[:, position]
            columns[head.name] = head.draw(table, outputs, arm, mask, noise, last)
        values = columns[head.name]
        codes.append(head.index(values) if isinstance(head, Levels) else None)
        features = head.encode(tables.drawn[position], values)
        context = jnp.concatenate([context, features], axis=1)
    drawn = {name: jnp.where(unseen, jnp.nan, columns[name]) for name in set(columns) - set(known)}
    return {**known, **drawn}


def _noise(key: Array, rows: int, columns: int) -> Float[Array, "row noise"]:
    return jax.random.uniform(key, (rows, columns), jnp.float32, 1e-6, 1 - 1e-6)


def _with_constant(features: Array) -> Array:
    return jnp.concatenate([jnp.ones((len(features), 1), jnp.float32), features], axis=1)


def allowed_mask(
    architecture: Architecture, tables: Tables, position: int, codes: list[Any]
) -> Array:
    """Return which levels a column may take; all, if a given combination was never seen."""
    for group, allowed in zip(architecture.groups, tables.allowed, strict=True):
        positions = [place for place, _ in group]
        if position not in positions:
            continue
        prefix = jnp.zeros((), jnp.int32)
        at = positions.index(position)
        for place, size in group[:at]:
            prefix = prefix * size + codes[place]
        mask = jnp.asarray(allowed[at])[jnp.atleast_1d(prefix)]
        return mask | ~mask.any(axis=1, keepdims=True)
    return jnp.ones((1, 1), bool)
