"""Columns and periods in turn, each given those before, by maximum likelihood."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar

import jax
import numpy as np
from jaxtyping import Array

from mcsim._core.calls import with_remedies
from mcsim._core.checks import at_least, faults_of
from mcsim._core.pytree import stored_as
from mcsim.errors import InputError
from mcsim.generators._autoregressive.likelihood import (
    CellLikelihood,
    Column,
    Data,
    Rates,
    cells_of,
    first_distribution,
    shares_of,
)
from mcsim.generators._cross_sections.recipe import LARGE, CrossSectionRecipe
from mcsim.generators._cross_sections.training import learn_columns
from mcsim.generators._scores.coding import Scores
from mcsim.generators._scores.vectors import UnitNumbers
from mcsim.generators._training.checks import require_paths
from mcsim.generators._training.panel_recipe import (
    CALIBRATION_UNITS,
    Learned,
    PanelRecipe,
    of_scores,
)
from mcsim.generators._training.steps import (
    folds_of,
    numbers_of,
    padded_length,
    train_members,
)
from mcsim.generators._training.trainer import (
    Count,
    Folds,
    Names,
    Positive,
    Share,
    Trainer,
    Weight,
    Widths,
    filled,
)

CROSS_SECTION_ONLY = "dropout", "smallest_stratum"
PANEL_ONLY = "folds", "patience", "common_shocks", "cluster", "missing"


@with_remedies()
@dataclass(frozen=True, kw_only=True)
class Autoregressive(Trainer[Any]):
    """Columns and periods in turn, each given those before, by maximum likelihood.

    There is no adversary and no latent row: likelihoods are exact, and a fit takes seconds.

    In a cross-section, the distribution of each column given the columns before it is a network:
    categories have softmax heads, continuous columns mixtures of mass points and logistic
    components. Small samples are held back by dropout, weight decay and few steps. In the end the
    shares of mass points and categories are raked to the training rows' shares, stratum by stratum.
    Options left at None are chosen by the number of rows: one recipe below 4,000 rows and another
    above.

    In a panel of several periods, cells are drawn period by period and column by column. The
    Gaussian copula with structured shrinkage gives their conditional means; a network per
    column, the same in all periods, gives the distribution of the standardized innovation, a
    mixture of normals and mass points, given the unit's last two periods, the mean and the spread
    of its history, its mass points so far, the columns before and the period. Training starts at
    the copula and ends when held-out units of replicas of the networks become less likely.
    Time-invariant columns are drawn first, by the copula. In the end the shares of
    mass points are raked to the data's, period by period, draws are recolored to the
    covariance of the data, and margins moved to theirs.

    Parameters
    ----------
    hidden : tuple of int, optional
        Widths of the hidden layers of each column's network. None: (64,), large (64, 64); for
        panels (16,).
    components : int, optional
        Components of a continuous column. None: 5 logistic ones; for panels 3 normal ones.
    steps : int, optional
        Steps of the optimizer, for panels at most. None: 400, large 2,000; for panels 400.
    batch_size : int, optional
        Rows of a step; for panels units, all if there are no more. None: 128, large 512; for
        panels 1,024.
    learning_rate : float, optional
        Adam's step size (b1 = 0.9, b2 = 0.99); in cross-sections it decays to zero by a cosine.
        None: 1e-3, large and for panels 3e-3.
    weight_decay : float, optional
        Relative shrinkage of parameters at each step, in units of the step size. None: 1, large 0;
        for panels 0.1.
    dropout : float, optional
        Cross-sections: share of the hidden units that each row of a step goes without. None: 0.5,
        large 0.
    smallest_stratum : float
        Cross-sections: share of a step's rows that each stratum (joint value of the discrete given
        columns) holds at least.
    order : tuple of str, optional
        Order in which the columns are drawn. None: discrete columns in ascending number of levels,
        then continuous ones, the last column last; for panels the time-varying columns as
        they come.
    folds : int
        Panels: replicas for early stopping, each without a part of the units. 0: all steps are
        taken.
    patience : int
        Panels: steps without a lower loss of left-out units after which training ends.
    common_shocks : {"fixed", "redraw"}
        Panels: whether the means of the periods are those of the data in every panel, or drawn
        anew.
    cluster : str, optional
        Panels: a column that holds the group (school, state) of each unit: it is generated with its
        group structure.
    missing : {"error", "model"}
        Panels: missing cells are refused, or completed by a normal distribution given the unit's
        other cells; generated panels are complete.

    References
    ----------
    Uria, Murray & Larochelle (2013), RNADE: the real-valued neural autoregressive
    density-estimator, NeurIPS. Srivastava et al. (2014), Dropout, JMLR 15: 1929-1958.

    Examples
    --------
    >>> import jax, numpy as np
    >>> from mcsim import Panel
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

    hidden: Widths | None = None
    components: Count | None = None
    steps: Count | None = None
    batch_size: Annotated[int, at_least(16)] | None = None
    learning_rate: Positive | None = None
    weight_decay: Weight | None = None
    dropout: Share | None = None
    smallest_stratum: Share = field(default=0.03, metadata=stored_as("smallest_arm"))
    order: Names | None = None
    folds: Folds = 4
    patience: Count = 40

    lists: ClassVar[tuple[str, ...]] = ("hidden", "order")

    def faults(self) -> list[str]:
        """Return the faults of the options."""
        return faults_of(self)

    def recipe(self, n_units: int, n_periods: int) -> PanelRecipe | CrossSectionRecipe:
        """Return the recipe: the cells of a panel, or the columns of a cross-section, in turn."""
        if n_periods > 1:
            common = {"kind": layout_and_points, "refused": CROSS_SECTION_ONLY}
            return of_scores(self, learn_cells, **common)
        config, free = resolved(self, n_units), n_units >= LARGE
        return CrossSectionRecipe(config, learn_columns, free=free, refused=PANEL_ONLY)


def resolved(trainer: Autoregressive, n_rows: int) -> Autoregressive:
    """Return the configuration for a cross-section: every None but ``order`` filled in."""
    large = n_rows >= LARGE
    return filled(
        trainer,
        hidden=(64, 64) if large else (64,),
        components=5,
        steps=2_000 if large else 400,
        batch_size=512 if large else 128,
        learning_rate=3e-3 if large else 1e-3,
        weight_decay=0.0 if large else 1.0,
        dropout=0.0 if large else 0.5,
    )


def layout_and_points(scores: Scores) -> Hashable:
    """Return the layout, and the number of mass points of each column, tilted by networks."""
    coding = scores.coding
    return coding.layout, tuple(len(margin.points) for margin in coding.margins)


def _resolved_for_panels(config: Any) -> Any:
    """Return the configuration for a panel: every None but ``order`` filled in."""
    return filled(
        config,
        hidden=(16,),
        components=3,
        steps=400,
        batch_size=1_024,
        learning_rate=3e-3,
        weight_decay=0.1,
    )


def learn_cells(
    config: Any, keys: Sequence[Array], scores: Sequence[Scores], progress: bool
) -> list[Learned]:
    """Learn one distribution per key, each from its scores; ``config`` is an `Autoregressive`."""
    paths = scores[0].coding.layout.time_varying
    if config.order is not None and sorted(config.order) != sorted(paths):
        raise InputError(
            f"order: got {list(config.order)}, expected each column that varies over time once: "
            f"{list(paths)}"
        )
    config = _resolved_for_panels(config)
    require_paths(scores[0].coding.layout)
    order = config.order or paths
    distributions = [
        first_distribution(own, order, config.hidden, config.components) for own in scores
    ]
    columns = [
        cells_of(distribution, own) for distribution, own in zip(distributions, scores, strict=True)
    ]
    triples = [jax.random.split(key, 3) for key in keys]
    longest = padded_length(own.vectors for own in scores)
    data = [
        _padded(own, known.rows, triple[0], config.folds, longest)
        for own, known, triple in zip(columns, scores, triples, strict=True)
    ]
    algorithm = CellLikelihood(
        distributions[0].order, config.folds, config.batch_size, config.patience
    )
    rates = numbers_of(config, Rates)
    trained = train_members(algorithm, data, rates, [triple[1] for triple in triples], progress)
    found = []
    for distribution, own, triple, (state, losses) in zip(
        distributions, columns, triples, trained, strict=True
    ):
        learned = replace(distribution, params=algorithm.learned(state))
        offsets = learned.raked(triple[2], CALIBRATION_UNITS, shares_of(own))
        found.append(Learned(replace(learned, offsets=np.asarray(offsets)), losses))
    return found


def _padded(
    columns: tuple[Column, ...], rows: UnitNumbers, key: Array, folds: int, longest: int
) -> Data:
    place = np.resize(np.arange(len(rows)), longest)
    padded = jax.tree.map(lambda leaf: np.asarray(leaf)[place], columns)
    return Data(padded, folds_of(key, rows, folds, longest), np.int32(len(rows)))
