"""A real panel as a sum: two-way effects, interactive effects of low rank, and AR(p) noise.

The data-driven design of Arkhangelsky et al. (2021), American Economic Review 111: 4088-4118, III.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from mcsim._core.calls import with_remedies
from mcsim._core.checks import is_whole
from mcsim._core.design import Design
from mcsim._core.pytree import ADDED_LATER, pytree
from mcsim._core.records import Calendar, Panel, Sample, require_panel
from mcsim.dgps._fields import faults_of_sizes, field_names, with_factors
from mcsim.dgps._random import normals
from mcsim.errors import InputError, did_you_mean, printable, raise_all

PARTS = ("additive", "interactive", "noise", "autocorrelation")


@pytree("additive", "interactive", "noise", "carried")
@with_remedies()
@dataclass(frozen=True, eq=False)
class FactorModel:
    """Draw ``Y = F + M + E``: the systematic part of a real panel, and fresh noise.

    `fit` estimates the parts; `without` takes some of them out. F (additive: unit and period
    effects) and M (interactive) are the same in every sample, the rows of E are independent
    N(0, covariance). There is no treatment in it: it is a source for `with_effect`.

    Attributes
    ----------
    outcome : str
        Name of the column.
    additive, interactive : array (unit, period)
        F and M, in standard deviations of the outcome.
    noise : array (normal, period)
        Map from a row of standard normals to a row of E.
    carried : dict of str to array (unit,)
        Columns that go with the rows.
    coefficients : tuple of float
        The noise's autoregression as fitted.
    n_units : int or None
        None: the rows as they are. A number, or the design's factor ``n_units``: this many rows,
        drawn with replacement in each sample.
    calendar : Calendar or None
        The places of the periods; None: one after another.

    References
    ----------
    Arkhangelsky, Athey, Hirshberg, Imbens & Wager (2021), American Economic Review 111: 4088-4118,
    section III.

    Examples
    --------
    >>> import jax
    >>> y = jax.random.normal(jax.random.key(1), (20, 12))
    >>> model = FactorModel.fit(Panel({"y": y}), "y", rank=2, lags=1)
    >>> model
    FactorModel(y: 20 units x 12 periods, noise AR(-0.05))
    >>> model.without("interactive")(jax.random.key(0), Design()).panel
    Panel(20 units x 12 periods: y)
    """

    outcome: str
    additive: Float[Array, "unit period"]
    interactive: Float[Array, "unit period"]
    noise: Float[Array, "normal period"]
    carried: dict[str, Float[Array, " unit"]]
    coefficients: tuple[float, ...] = ()
    n_units: int | None = None
    calendar: Calendar | None = field(default=None, metadata=ADDED_LATER)

    def __repr__(self) -> str:
        units, periods = np.shape(self.additive)
        outcome = printable(self.outcome)
        return f"FactorModel({outcome}: {units} units x {periods} periods, {self._kind})"

    @property
    def factors(self) -> tuple[str, ...]:
        """Factors of a design that the DGP reads."""
        return field_names(self)

    @property
    def summary(self) -> str:
        """One line for the head of a report."""
        return f"factor model of {self.outcome}, {self._kind}"

    @property
    def caveats(self) -> tuple[str, ...]:
        """Conclusions that results do not support, as sentences."""
        return (
            "Factor model: one fit, taken as the truth; its noise is normal with the same "
            "autoregression in all units, and figures are in standard deviations of the outcome.",
        )

    @property
    def covariance(self) -> Float[Array, "period period"]:
        """The covariance of a row of E, in squared standard deviations of the outcome."""
        return self.noise.T @ self.noise

    @property
    def _kind(self) -> str:
        return f"noise AR({', '.join(f'{c:g}' for c in self.coefficients)})"

    @classmethod
    def fit(
        cls,
        panel: Panel,
        outcome: str,
        *,
        rank: int = 4,
        lags: int = 2,
        carry: Sequence[str] = (),
    ) -> "FactorModel":
        """Fit the model to a balanced panel, with NumPy.

        Parameters
        ----------
        panel : Panel
            The real panel.
        outcome : str
            The column to model; it is standardized by its overall mean and standard deviation.
        rank : int
            Rank of F + M, by singular value decomposition.
        lags : int
            Order of the noise's autoregression, by pooled least squares; its coefficients are
            rounded to two digits, as the authors do.
        carry : sequence of str
            Columns, constant within units, that samples carry along with the rows (a probability
            of treatment, say).

        Returns
        -------
        FactorModel

        Raises
        ------
        InputError
            For an unknown column, an unbalanced panel, a rank or order that the panel cannot hold.
        """
        raise_all(_faults_of_fit(panel, outcome, rank, lags, carry))
        y = standardized(panel[outcome])
        left, singular, right = np.linalg.svd(y, full_matrices=False)
        systematic = left[:, :rank] * singular[:rank] @ right[:rank]
        rows, periods = systematic.mean(1, keepdims=True), systematic.mean(0, keepdims=True)
        additive = rows + periods - systematic.mean()
        noise = y - systematic
        calendar = panel.calendar
        coefficients = tuple(float(c) for c in np.round(_autoregression(noise, lags, calendar), 2))
        correlation = _correlations(coefficients, calendar)
        size = np.linalg.norm(noise.T @ noise / len(y)) / np.linalg.norm(correlation)
        root = np.sqrt(size) * np.linalg.cholesky(correlation).T
        f, m, noise_map = (jnp.asarray(a) for a in (additive, systematic - additive, root))
        carried = {name: jnp.asarray(panel[name][:, 0], dtype=float) for name in carry}
        gaps = None if calendar.consecutive else calendar
        return cls(outcome, f, m, noise_map, carried, coefficients, calendar=gaps)

    def without(self, *parts: str) -> "FactorModel":
        """Return the model without some of its parts.

        Parameters
        ----------
        *parts : {"additive", "interactive", "noise", "autocorrelation"}
            Parts to leave out. Without autocorrelation the noise keeps the norm of its covariance.

        Returns
        -------
        FactorModel

        Raises
        ------
        InputError
            For an unknown part.

        Examples
        --------
        The six variants of Arkhangelsky et al.: ``model``, ``model.without("interactive")`` (no M),
        ``"additive"`` (no F), both (only noise), ``"noise"``, ``"autocorrelation"``.
        """
        unknown = [part for part in parts if part not in PARTS]
        raise_all([f"parts: got {part!r}{did_you_mean(part, PARTS)}" for part in unknown])
        changes: dict[str, Any] = {
            part: 0 * getattr(self, part) for part in parts if part != "autocorrelation"
        }
        if "autocorrelation" in parts and "noise" not in parts:
            t = len(self.noise)
            variance = jnp.linalg.norm(self.covariance) / t**0.5
            changes |= {"noise": jnp.sqrt(variance) * jnp.eye(t), "coefficients": ()}
        return replace(self, **changes)

    def __call__(self, key: Key[Array, ""], design: Design) -> Sample:
        """Draw one sample."""
        model = with_factors(self, design)
        systematic, carried = model.additive + model.interactive, model.carried
        if model.n_units is not None:
            raise_all(faults_of_sizes(model, {"n_units": 2}))
            key, row_key = jax.random.split(key)
            rows = jax.random.randint(row_key, (model.n_units,), 0, len(systematic))
            systematic = systematic[rows]
            carried = {name: values[rows] for name, values in carried.items()}
        (z,) = normals(key, systematic.shape)
        columns = {model.outcome: systematic + z @ model.noise}
        for name, values in carried.items():
            columns[name] = jnp.broadcast_to(values[:, None], systematic.shape)
        return Sample(Panel(columns, periods=model.calendar and model.calendar.places), {})


def standardized(values: Any) -> np.ndarray:
    """Return a column minus its overall mean, over its root-mean-square deviation."""
    numbers = np.asarray(values, dtype=float)
    return (numbers - numbers.mean()) / numbers.std()


def faults_of_rank(panel: Panel, outcome: str, rank: int) -> list[str]:
    """Return the faults of a panel and a rank for a decomposition."""
    if outcome not in panel:
        return [f"outcome: got {outcome!r}{did_you_mean(outcome, panel)}"]
    faults = []
    if panel.mask is not None and not np.asarray(panel.mask).all():
        faults.append("panel: some cells are not observed, expected a balanced panel")
    values = np.asarray(panel[outcome])
    if not np.isfinite(values).all() or values.std() == 0:
        faults.append(f"outcome: {outcome!r} is constant or not finite")
    if not is_whole(rank) or not 1 <= rank < min(values.shape):
        faults.append(f"rank: got {rank}, expected 1 to {min(values.shape) - 1}")
    return faults


def _faults_of_fit(panel, outcome, rank, lags, carry) -> list[str]:
    require_panel(panel)
    if isinstance(carry, str):
        raise InputError(f"carry: got {carry!r}, expected names: [{carry!r}]")
    faults = faults_of_rank(panel, outcome, rank)
    if not is_whole(lags) or not 0 <= lags < panel.n_periods - 1:
        faults.append(f"lags: got {lags}, expected 0 to {panel.n_periods - 2}")
    for name in carry:
        if name not in panel:
            faults.append(f"carry: got {name!r}{did_you_mean(name, panel)}")
        elif np.ptp(np.asarray(panel[name]), axis=1).any():
            faults.append(f"carry: {name!r} varies within units, expected one value per unit")
    return faults


def _autoregression(noise: np.ndarray, lags: int, calendar: Calendar) -> np.ndarray:
    """Return coefficients of each value on the values before it, without an intercept."""
    if lags == 0:
        return np.zeros(0)
    sources = zip(*(calendar.before(j) for j in range(1, lags + 1)), strict=True)
    complete = [(t, own) for t, own in enumerate(sources) if None not in own]
    if not complete:
        raise InputError(
            f"lags: got {lags}, but no period of the panel has the {lags} before it (places "
            f"{list(calendar.places)}); lower lags"
        )
    periods, before = [t for t, _ in complete], np.array([own for _, own in complete])
    lagged = np.stack([noise[:, own].ravel() for own in before.T], axis=1)
    return np.linalg.lstsq(lagged, noise[:, periods].ravel(), rcond=None)[0]


def _correlations(coefficients: tuple[float, ...], calendar: Calendar) -> np.ndarray:
    """Return the correlation matrix of a stationary autoregression (Yule-Walker)."""
    p = len(coefficients)
    roots = np.roots([1.0, *(-c for c in coefficients)])
    if p and np.abs(roots).max() >= 1:
        raise InputError(
            f"lags: the noise's autoregression {coefficients} is not stationary; lower lags or rank"
        )
    matrix, right = np.eye(p), np.zeros(p)
    for k in range(p):  # correlation k + 1 = sum of c_j times correlation |k + 1 - j|
        for j, c in enumerate(coefficients, start=1):
            lag = abs(k + 1 - j)
            if lag == 0:
                right[k] += c
            else:
                matrix[k, lag - 1] -= c
    path = [1.0, *(np.linalg.solve(matrix, right) if p else [])]
    for k in range(len(path), calendar.span):
        path.append(sum(c * path[k - j] for j, c in enumerate(coefficients, start=1)))
    return np.asarray(path)[np.abs(np.subtract.outer(calendar.places, calendar.places))]
