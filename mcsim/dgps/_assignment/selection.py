"""Assignment by probabilities: given, implied by paths of a column, or estimated.

After Arkhangelsky, Athey, Hirshberg, Imbens & Wager (2021), American Economic Review 111:
4088-4118, section III.
"""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jax.core import Tracer
from jaxtyping import Array, Float, Key

from mcsim._core.calls import with_remedies
from mcsim._core.checks import is_number, is_whole
from mcsim._core.pytree import pytree
from mcsim._core.records import Panel, require_panel
from mcsim.dgps._factor_model import faults_of_rank, standardized
from mcsim.dgps._fields import faults_of_numbers, shown
from mcsim.dgps._random import draw_adoption, draw_order, faults_of_start, first_observed
from mcsim.errors import InputError, did_you_mean, raise_all

_BISECTIONS = 50
_STEPS = 50  # of Newton's method


@pytree("p")
@with_remedies()
@dataclass(frozen=True)
class by_probability:
    """Treat each unit with its own probability, from one period on.

    If chance treats more than ``max_treated`` units, a random ``max_treated`` of them are treated;
    if it treats none, ``max_treated`` random units are.

    Parameters
    ----------
    p : float, array (unit,) or str
        Probability of treatment; a string names a column of the panel that holds it.
    max_treated : int
        Largest number of treated units.
    start : int or (int, int)
        The first treated period, or the range from which one for all is drawn; -10 leaves the last
        ten periods treated.

    Raises
    ------
    InputError
        When it is called (`with_effect`: on a real panel, when it is made): for numbers that are no
        probabilities, an unknown column, a start outside the periods, ``max_treated`` not below
        the number of units.

    References
    ----------
    Arkhangelsky, Athey, Hirshberg, Imbens & Wager (2021), American Economic Review 111: 4088-4118,
    section III.

    Examples
    --------
    >>> import jax
    >>> panel = Panel({"y": jnp.zeros((50, 40))})
    >>> float(by_probability(0.5, max_treated=10, start=-10)(jax.random.key(0), panel).sum())
    100.0
    """

    p: Any
    max_treated: int = 10
    start: int | tuple[int, int] = -10
    column: str | None = field(default=None, init=False)

    def __post_init__(self):
        if isinstance(self.p, str):
            object.__setattr__(self, "column", self.p)
            object.__setattr__(self, "p", None)
        elif not is_number(self.p):
            object.__setattr__(self, "p", jnp.asarray(self.p, dtype=float))

    def __call__(self, key: Key[Array, ""], panel: Panel) -> Float[Array, "unit period"]:
        """Draw the treated units and their adoption date."""
        raise_all(self.faults(panel))
        n, t = panel.n_units, panel.n_periods
        chance_key, order_key, period_key = jax.random.split(key, 3)
        p = jnp.asarray(self.p) if self.column is None else first_observed(panel, self.column)
        chosen = jax.random.uniform(chance_key, (n,), jnp.float32) < p
        ranks = draw_order(order_key, panel).of_unit >> 1
        ranks = jnp.where(chosen, ranks, ranks | jnp.uint32(2**31))  # chosen units go first
        n_chosen = chosen.sum()
        count = jnp.where(n_chosen > 0, jnp.minimum(n_chosen, self.max_treated), self.max_treated)
        treated = ranks <= jnp.sort(ranks)[count - 1]
        start = draw_adoption(period_key, self.start, t)
        cells = (treated[:, None] & (jnp.arange(t) >= start)).astype(float)
        return jnp.where(((p >= 0) & (p <= 1)).all(), cells, jnp.nan)  # a factor may have any value

    def faults(self, panel: Panel) -> list[str]:
        """Return the faults of this assignment on a panel."""
        faults = faults_of_start(self.start, panel.n_periods)
        if not is_whole(self.max_treated) or not 1 <= self.max_treated < panel.n_units:
            came = shown(self.max_treated)
            faults.append(
                f"max_treated: got {came}, expected 1 to {panel.n_units - 1}, fewer than the units"
            )
        if self.column is not None and self.column not in panel:
            faults.append(f"p: got {self.column!r}{did_you_mean(self.column, panel)}")
        if self.column is None and np.shape(self.p) not in ((), (panel.n_units,)):
            shape = np.shape(self.p)
            faults.append(f"p: got shape {shape}, expected a number or one per unit "
                          f"({panel.n_units},)")  # fmt: skip
        concrete = self.p is not None and not isinstance(self.p, Tracer)
        if concrete and not np.all((np.asarray(self.p) >= 0) & (np.asarray(self.p) <= 1)):
            faults.append("p: got numbers outside 0 to 1, expected probabilities")
        return faults


@pytree("weights", "share", "strength")
@with_remedies()
@dataclass(frozen=True, kw_only=True)
class by_path:
    """Treat units with probabilities that depend on their own paths, from one period on.

    The log odds of treatment are linear in a weighted sum of the unit's path of a column. Unlike
    `by_probability` it suits generators, which draw other units in every panel.

    Parameters
    ----------
    column : str
        The column of these paths, such as the (untreated) outcome.
    weights : float or array (period,)
        Weight of each period in the index. A number gives all periods one weight: selection on the
        unit's level; weights on the periods before ``start`` give selection on the past.
    strength : float
        Rise of the log odds with one standard deviation of the index over units: 0 is
        assignment at random with full overlap, larger is more confounding and worse overlap.
    share : float
        Mean probability over the units, in every panel.
    max_treated : int, optional
        The most units that are treated, as in `by_probability`; default all but one.
    start : int or (int, int)
        The first treated period, or the range from which one for all is drawn.

    Raises
    ------
    InputError
        When it is called (`with_effect`: on a real panel, when it is made): for an unknown column,
        weights that are not one per period, a share outside 0 to 1.

    References
    ----------
    Arkhangelsky, Athey, Hirshberg, Imbens & Wager (2021), American Economic Review 111: 4088-4118,
    section III: adoption by a logit in unit factors.

    Examples
    --------
    >>> import jax
    >>> panel = Panel({"y": jnp.arange(40.0)[:, None] * jnp.ones((40, 6))})
    >>> d = by_path(column="y", strength=5.0, start=3)(jax.random.key(0), panel)
    >>> bool((d[:, -1] * panel["y"][:, -1]).sum() / d[:, -1].sum() > 25)
    True
    """

    column: str
    start: int | tuple[int, int]
    weights: Any = 1.0
    strength: Any = 1.0
    share: Any = 0.5
    max_treated: int | None = None

    def __post_init__(self):
        if not is_number(self.weights):
            object.__setattr__(self, "weights", _as_weights(self.weights))

    def __call__(self, key: Key[Array, ""], panel: Panel) -> Float[Array, "unit period"]:
        """Draw the treated units and their adoption date."""
        raise_all(self.faults(panel))
        values = panel[self.column] if panel.mask is None else panel[self.column] * panel.mask
        index = (values * self.weights).sum(axis=1)
        index = (index - index.mean()) / jnp.maximum(index.std(), 1e-12)
        within = (jnp.asarray(self.share) > 0) & (jnp.asarray(self.share) < 1)  # of a factor too
        p = jnp.where(within, _with_mean(self.strength * index, self.share), jnp.nan)
        most = panel.n_units - 1 if self.max_treated is None else self.max_treated
        return by_probability(p, max_treated=most, start=self.start)(key, panel)

    def faults(self, panel: Panel) -> list[str]:
        """Return the faults of this assignment on a panel."""
        faults = faults_of_numbers(self, ["strength"])
        if self.column not in panel:
            faults.append(f"column: got {self.column!r}{did_you_mean(self.column, panel)}")
        shape = np.shape(self.weights)
        if shape not in ((), (panel.n_periods,)):
            faults.append(
                f"weights: got shape {shape}, expected a number or one per period "
                f"({panel.n_periods},)"
            )
        elif not isinstance(self.weights, Tracer) and not np.isfinite(self.weights).all():
            faults.append("weights: got numbers that are not finite")
        concrete = not isinstance(self.share, Tracer)
        if concrete and not (is_number(self.share) and 0 < self.share < 1):
            faults.append(f"share: got {shown(self.share)}, expected a share between 0 and 1")
        most = 1 if self.max_treated is None else self.max_treated
        return faults + by_probability(0.5, max_treated=most, start=self.start).faults(panel)


def _as_weights(weights: Any) -> Array:
    try:
        return jnp.asarray(weights, dtype=float)
    except (TypeError, ValueError):
        raise InputError(
            f"weights: got {weights!r}, expected a number, or one for each period"
        ) from None


def _with_mean(index: Float[Array, " unit"], share: Array | float) -> Float[Array, " unit"]:
    """Return the logit probabilities of an index whose mean is ``share``, by bisection."""
    reach = 40.0 + jnp.abs(index).max()

    def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        more = jax.nn.sigmoid(middle + index).mean() < share
        return jnp.where(more, middle, low), jnp.where(more, high, middle)

    low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, (-reach, reach))
    return jax.nn.sigmoid(0.5 * (low + high) + index)


@with_remedies()
def by_unit_factors(
    panel: Panel,
    outcome: str,
    indicator: str,
    *,
    rank: int = 4,
    strength: float = 1.0,
    max_treated: int = 10,
    start: int | tuple[int, int] = -10,
    drawn: bool = False,
) -> by_probability | by_path:
    """Make an assignment with the probabilities of `unit_factor_probabilities`.

    Parameters
    ----------
    panel, outcome, indicator, rank, strength
        As in `unit_factor_probabilities`.
    max_treated, start
        As in `by_probability`.
    drawn : bool
        Whether the source draws new units, as generators do: the factors
        of a drawn unit are then computed from its path, and the mean probability stays in every
        panel. False: units are the panel's, as in `FactorModel`.

    Returns
    -------
    by_probability, or by_path if ``drawn``

    Raises
    ------
    InputError
        As in `unit_factor_probabilities`, and in `by_probability`.

    Examples
    --------
    The baseline of Arkhangelsky et al.: ``with_effect(FactorModel.fit(cps, "log_wage"),
    outcome="log_wage", assignment=by_unit_factors(cps, "log_wage", "min_wage"))``.
    """
    p = unit_factor_probabilities(panel, outcome, indicator, rank=rank, strength=strength)
    if not drawn:
        return by_probability(p, max_treated=max_treated, start=start)
    _, slopes, loadings, adopted = _fit_logit(panel, outcome, indicator, rank)
    weights = loadings @ slopes
    spread = float((standardized(panel[outcome]) @ weights).std())
    return by_path(
        column=outcome, weights=weights, strength=strength * spread, share=float(adopted.mean()),
        max_treated=max_treated, start=start,
    )  # fmt: skip


@with_remedies()
def unit_factor_probabilities(
    panel: Panel, outcome: str, indicator: str, *, rank: int = 4, strength: float = 1.0
) -> np.ndarray:
    """Estimate each unit's probability of adoption from its factors, by a logit.

    Parameters
    ----------
    panel : Panel
        A balanced panel.
    outcome : str
        The column whose left singular vectors are the factors.
    indicator : str
        A column of zeros and ones, 1 in units that have adopted; the last period counts.
    rank : int
        Number of factors.
    strength : float
        Factor of the slopes: 1 as estimated, 0 for assignment at random (full overlap), more than 1
        for worse overlap and more confounding. The mean probability stays.

    Returns
    -------
    array (unit,)

    Raises
    ------
    InputError
        For unknown columns, an indicator that is none, or factors that separate the adopters.

    References
    ----------
    Arkhangelsky, Athey, Hirshberg, Imbens & Wager (2021), American Economic Review 111: 4088-4118.

    Examples
    --------
    >>> import jax
    >>> y, law = jax.random.normal(jax.random.key(1), (30, 12)), np.arange(30) % 3 == 0
    >>> panel = Panel({"y": y, "law": np.repeat(law[:, None], 12, axis=1)})
    >>> p = unit_factor_probabilities(panel, "y", "law", rank=2)
    >>> p.shape, round(float(p.mean()), 6)
    ((30,), 0.333333)
    """
    require_panel(panel)
    raise_all(_faults_of_adopters(panel, outcome, indicator, rank, strength))
    factors, slopes, _, adopted = _fit_logit(panel, outcome, indicator, rank)
    index = strength * (factors @ slopes)
    reach = 40 + np.abs(index).max()
    intercept: Any = scipy.optimize.brentq(
        lambda a: scipy.special.expit(a + index).mean() - adopted.mean(), -reach, reach, xtol=1e-13
    )
    return scipy.special.expit(intercept + index)


def _fit_logit(panel: Panel, outcome: str, indicator: str, rank: int) -> tuple[np.ndarray, ...]:
    """Return the units' factors, their slopes, the map from paths to factors, and the adopters."""
    left, sizes, right = np.linalg.svd(standardized(panel[outcome]), full_matrices=False)
    factors = left[:, :rank] * len(left) ** 0.5
    loadings = right[:rank].T / sizes[:rank] * len(left) ** 0.5
    adopted = np.asarray(panel[indicator], dtype=float)[:, -1]
    slopes = _logit(np.column_stack([np.ones(len(left)), factors]), adopted)[1:]
    return factors, slopes, loadings, adopted


def _logit(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return maximum likelihood estimates by Newton's method."""
    coefficients = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        p = scipy.special.expit(np.clip(x @ coefficients, -30, 30))
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x, x.T @ (y - p))
        coefficients = coefficients + step
        if np.abs(step).max() < 1e-10:
            return coefficients
        if np.abs(coefficients).max() > 1e3:
            break
    raise InputError(
        "indicator: the factors separate those who adopted from those who did not, so that no "
        "logit has a maximum; lower rank"
    )


def _faults_of_adopters(panel, outcome, indicator, rank, strength) -> list[str]:
    faults = faults_of_rank(panel, outcome, rank)
    if indicator not in panel:
        faults.append(f"indicator: got {indicator!r}{did_you_mean(indicator, panel)}")
    else:
        last = np.asarray(panel[indicator])[:, -1]
        if set(np.unique(last).tolist()) != {0.0, 1.0}:
            values = np.unique(last)[:5].tolist()
            faults.append(
                f"indicator: {indicator!r} holds {values} in the last period, expected zeros and "
                "ones, both"
            )
    if not np.isfinite(strength):
        faults.append(f"strength: got {strength}, expected a finite number")
    return faults
