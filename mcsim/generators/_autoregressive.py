"""Draft."""

from dataclasses import dataclass, replace
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from mcsim._keys import require_key
from mcsim.generators._adversary import Plan
from mcsim.generators._architecture import design_heads
from mcsim.generators._checks import check_training
from mcsim.generators._fitted import FittedGenerator
from mcsim.generators._likelihood import Likelihood, Rates
from mcsim.generators._preparation import (
    Batches,
    arm_rows,
    as_columns,
    generation_order,
    training_data,
)
from mcsim.generators._raking import raked
from mcsim.generators._training import train_members

LARGE = 4000


@dataclass(frozen=True)
class Autoregressive:
    hidden: tuple[int, ...] | None = None
    components: int = 5
    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    dropout: float | None = None
    smallest_arm: float = 0.1
    rake: bool = True
    order: tuple[str, ...] | None = None

    def resolve(self, n):
        large = n >= LARGE
        d = dict(
            hidden=(64,),
            steps=800 if large else 800,
            batch_size=512 if large else 128,
            dropout=0.0 if large else 0.5,
        )
        return replace(self, **{k: v for k, v in d.items() if getattr(self, k) is None})

    def fit(self, key, panel, *, given=(), schema=None, progress=True):
        require_key(key)
        return self.fit_members(
            jnp.stack([key]), panel, [None], given=given, schema=schema, progress=progress
        )[0]

    def fit_members(self, keys, panel, rows, *, given=(), schema=None, progress=True):
        schema, given = check_training(panel, given, schema, self.order)
        columns, config = as_columns(panel), self.resolve(panel.n_units)
        order = self.order or generation_order(schema, given)
        architecture = design_heads(
            columns, schema, given, order, config.hidden or (), config.components
        )
        vectors = {name: jnp.asarray(values) for name, values in columns.items()}
        arms = np.asarray(architecture.arm(vectors, panel.n_units))
        counts = arm_rows(arms, Batches(config.batch_size, config.smallest_arm, 0.0))
        plan = Plan(architecture, (), counts, (0,) * len(counts), 1)
        recipe = Likelihood(architecture, counts, config.dropout > 0)
        rates = Rates(*(jnp.float32(getattr(config, name)) for name in Rates._fields))
        everyone = np.arange(panel.n_units)
        chosen = [everyone if r is None else np.asarray(r) for r in rows]
        data = [training_data(plan, columns, arms, r) for r in chosen]
        trained = train_members(recipe, data, rates, list(keys), progress)
        out = []
        for own, key, r, (state, losses) in zip(data, keys, rows, trained, strict=True):
            tables = raked(architecture, own, state.params, key) if config.rake else own.tables
            out.append(
                FittedGenerator(
                    config, schema, architecture, tables, state.params, losses=losses, rows=r
                )
            )
        return out
