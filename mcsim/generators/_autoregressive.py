"""Autoregressive likelihood: columns (and periods) in turn, each given those before."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mcsim._core import Panel
from mcsim._keys import require_key
from mcsim._schema import Schema
from mcsim.errors import raise_all
from mcsim.generators._architecture import design_heads
from mcsim.generators._cache import cached
from mcsim.generators._checks import check_training, faults_of_likelihood
from mcsim.generators._fitted import FittedGenerator
from mcsim.generators._likelihood import Likelihood, Rates, TrainingRows
from mcsim.generators._preparation import (
    Batches,
    arm_rows,
    as_columns,
    generation_order,
    training_rows,
)
from mcsim.generators._raking import raked
from mcsim.generators._training import Trained, train_members

LARGE = 4_000  # rows from which the recipe for large samples is the default


@dataclass(frozen=True)
class Autoregressive:
    """Columns in turn, each given those before it, by maximum likelihood.

    The law of each column given the columns before it is a network: categories have softmax heads,
    continuous columns mixtures of mass points and logistic components. No adversary: the rows'
    likelihood is exact, and a fit takes seconds. Small samples are held back by dropout, weight
    decay and few steps. In the end the shares of atoms and categories are raked to those of the
    training rows, arm by arm. Options left at None are chosen by the number of rows: one recipe
    below 4,000 rows and another above.

    Parameters
    ----------
    hidden : tuple of int, optional
        Widths of the hidden layers of each column's network. None: (64,), large (64, 64).
    components : int
        Logistic components of a continuous column.
    steps : int, optional
        Steps of the optimizer. None: 400, large 2,000.
    batch_size : int, optional
        Rows of a step. None: 128, large 512.
    learning_rate : float, optional
        Adam's first step size; it decays to zero by a cosine. None: 1e-3, large 3e-3.
    dropout : float, optional
        Share of the hidden units that each row of a step goes without. None: 0.5, large 0.
    weight_decay : float, optional
        By which parameters shrink, times the step size, at each step. None: 1, large 0.
    smallest_arm : float
        Share of a step's rows that each arm (joint value of the discrete given columns) holds at
        least.
    order : tuple of str, optional
        Order in which the columns are drawn. None: discrete columns in ascending number of levels,
        then continuous ones, the panel's last column last.

    References
    ----------
    Uria, Murray & Larochelle (2013), RNADE: the real-valued neural autoregressive
    density-estimator, NeurIPS. Srivastava et al. (2014), Dropout, JMLR 15: 1929-1958.

    Examples
    --------
    >>> import jax, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> treat = np.repeat([0.0, 1.0], 30)
    >>> panel = Panel({"treat": treat, "wage": np.exp(rng.normal(2 + 0.1 * treat, 0.5))})
    >>> trainer = Autoregressive(hidden=(8,), steps=3, batch_size=16)
    >>> generator = trainer.fit(jax.random.key(0), panel, given=["treat"], progress=False)
    >>> generator
    FittedGenerator(Autoregressive: wage given treat)
    >>> generator.sample(jax.random.key(1), 4, given={"treat": np.ones(4)})
    Panel(4 units x 1 period: treat, wage)
    """

    hidden: tuple[int, ...] | None = None
    components: int = 5
    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    dropout: float | None = None
    weight_decay: float | None = None
    smallest_arm: float = 0.03
    order: tuple[str, ...] | None = None

    def __post_init__(self):
        for name in ("hidden", "order"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        raise_all(faults_of_likelihood(self))

    def resolve(self, n_rows: int) -> "Autoregressive":
        """Return the configuration with every None but ``order`` filled in for so many rows."""
        large = n_rows >= LARGE
        defaults = {
            "hidden": (64, 64) if large else (64,),
            "steps": 2_000 if large else 400,
            "batch_size": 512 if large else 128,
            "learning_rate": 3e-3 if large else 1e-3,
            "dropout": 0.0 if large else 0.5,
            "weight_decay": 0.0 if large else 1.0,
        }
        return replace(self, **{n: v for n, v in defaults.items() if getattr(self, n) is None})

    def fit(
        self,
        key: Array,
        panel: Panel,
        *,
        given: Sequence[str] = (),
        schema: Schema | None = None,
        progress: bool = True,
    ) -> FittedGenerator:
        """Learn the law of a cross-section, conditional on the columns ``given``.

        Parameters
        ----------
        key : key
            Where the first parameters and the batches come from.
        panel : Panel
            The data; one period, finite.
        given : sequence of str
            Columns that are conditioned on and never drawn, for instance the treatment.
        schema : Schema, optional
            Kinds, bounds and mass points; default `mcsim.infer_schema`.
        progress : bool
            Show a bar, if on a terminal.

        Returns
        -------
        FittedGenerator

        Raises
        ------
        InputError
            For data that cannot be learned from: all faults are reported together.
        TrainingDiverged
            If the likelihood ends in NaN or runs away.
        """
        require_key(key)
        options: dict[str, Any] = {"given": given, "schema": schema, "progress": progress}
        return self.fit_members(jnp.stack([key]), panel, [None], **options)[0]

    def fit_members(
        self,
        keys: Array,
        panel: Panel,
        rows: Sequence[np.ndarray | None],
        *,
        given: Sequence[str] = (),
        schema: Schema | None = None,
        progress: bool = True,
    ) -> list[FittedGenerator]:
        """Fit one generator per key, each on its rows of the panel (None: all); see `fit_many`."""
        schema, given = check_training(panel, given, schema, self.order)
        columns, config = as_columns(panel), self.resolve(panel.n_units)
        order, large = self.order or generation_order(schema, given), panel.n_units >= LARGE
        architecture = design_heads(
            columns, schema, given, order, config.hidden or (), config.components, free=large
        )
        vectors = {name: jnp.asarray(values) for name, values in columns.items()}
        arms = np.asarray(architecture.arm(vectors, panel.n_units))
        counts = arm_rows(arms, Batches(config.batch_size or 0, config.smallest_arm, 0.0))
        recipe = Likelihood(architecture, counts, bool(config.dropout))
        rates = Rates(*(jnp.float32(getattr(config, name)) for name in Rates._fields))

        def fitted(member: int, data: TrainingRows, trained: Trained) -> FittedGenerator:
            params = trained.state.params
            tables = raked(architecture, data, params, keys[member])
            parts = config, schema, architecture, tables, params
            return FittedGenerator(*parts, losses=trained.losses, rows=rows[member])

        def train(missing: list[int]) -> list[FittedGenerator]:
            everyone = np.arange(panel.n_units)
            chosen = [everyone if rows[m] is None else np.asarray(rows[m]) for m in missing]
            data = [training_rows(architecture, columns, arms, r) for r in chosen]
            trained = train_members(recipe, data, rates, [keys[m] for m in missing], progress)
            return [fitted(*parts) for parts in zip(missing, data, trained, strict=True)]

        return cached(config, schema, given, columns, keys, rows, train)
