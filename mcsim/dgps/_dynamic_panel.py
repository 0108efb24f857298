"""A dynamic panel: an autoregression with unit effects and an autoregressive regressor.

Nickell (1981), Econometrica 49: 1417-1426; Arellano & Bond (1991), section 5.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from mcsim._core.calls import with_remedies
from mcsim._core.design import Design
from mcsim._core.pytree import pytree
from mcsim._core.records import Panel, Sample
from mcsim.dgps._fields import (
    faults_of_numbers,
    faults_of_persistence,
    faults_of_sizes,
    field_names,
    with_factors,
)
from mcsim.dgps._random import normals, recursion
from mcsim.errors import raise_all


@pytree()
@with_remedies()
@dataclass(frozen=True, kw_only=True)
class DynamicPanel:
    """Draw ``y = alpha y_lag + beta x + eta + v`` with ``x = x_rho x_lag + xi``.

    eta, v and xi are independent normals. A factor of a design with the name of a field takes
    its place.

    Parameters
    ----------
    n_units, n_periods : int
        Size of the panel. All its periods are usable: each has its ``y_lag``.
    alpha : float
        Coefficient of the lagged outcome.
    beta : float or None
        Coefficient of x; None leaves x out.
    sd, unit_sd : float
        Standard deviations of v and eta.
    x_rho, x_sd : float
        Autocorrelation of x, and standard deviation of its innovation xi.
    burn_in : int or None
        None: y and x start in their stationary distribution given eta. A number, at least 1: both
        start at 0, and this number of cross-sections is discarded, including the zeros.

    Raises
    ------
    InputError
        For sizes or spreads out of their range, or a stationary start without stationarity.

    Notes
    -----
    Columns y, y_lag, x. The lag is a column so that no period is lost: ``"y ~ y_lag | unit"`` uses
    all n_periods, ``"y ~ lag(y) | unit"`` one less. Truth: alpha as ``y_lag`` and ``lag(y)``, beta
    as ``x``. Nickell's pure autoregression has ``beta=None``. Arellano & Bond observe y in 7
    periods after 10 discarded ones, of which the start at zero is the first:
    ``DynamicPanel(n_units=100, n_periods=7, burn_in=10)``. They lag it within the 7, with
    ``lag(y)``; with ``y_lag`` the same panel has ``n_periods=6`` and ``burn_in=11``.

    References
    ----------
    Nickell (1981), Econometrica 49: 1417-1426. Arellano & Bond (1991), Review of Economic Studies
    58: 277-297, section 5.

    Examples
    --------
    >>> import jax
    >>> sample = DynamicPanel(n_units=20, beta=None)(jax.random.key(0), Design({"alpha": 0.8}))
    >>> sample.panel, sample.truth["y_lag"]
    (Panel(20 units x 7 periods: y, y_lag), 0.8)
    """

    n_units: int = 100
    n_periods: int = 7
    alpha: float = 0.5
    beta: float | None = 1.0
    sd: float = 1.0
    unit_sd: float = 1.0
    x_rho: float = 0.8
    x_sd: float = 0.9**0.5
    burn_in: int | None = None

    def __post_init__(self):
        raise_all(_faults(self))

    @property
    def factors(self) -> tuple[str, ...]:
        """Factors of a design that the DGP reads."""
        return field_names(self)

    @property
    def summary(self) -> str:
        """One line for the head of a report."""
        start = "stationary" if self.burn_in is None else f"at zero, {self.burn_in} periods before"
        return f"dynamic panel, {self.n_units} units x {self.n_periods} periods; start {start}"

    def __call__(self, key: Key[Array, ""], design: Design) -> Sample:
        """Draw one sample."""
        dgp = with_factors(self, design)
        raise_all(_faults(dgp))
        n, t = dgp.n_units, dgp.n_periods + (dgp.burn_in or 1) - 1
        z_unit, z_start, z, z_x = normals(key, (n, 1), (n, 2), (n, t), (n, t))
        unit, beta = dgp.unit_sd * z_unit, 0.0 if dgp.beta is None else dgp.beta
        y0, x0 = _stationary_start(dgp, z_start) if dgp.burn_in is None else (0 * unit, 0 * unit)
        x = jnp.hstack([x0, dgp.x_sd * z_x]) @ recursion(dgp.x_rho, t + 1)
        pushed = beta * x[:, 1:] + dgp.sd * z + unit
        start = y0 + (unit / (1 - dgp.alpha) if dgp.burn_in is None else 0.0)
        y = jnp.hstack([start, pushed]) @ recursion(dgp.alpha, t + 1)
        kept = dgp.n_periods
        columns = {"y": y[:, -kept:], "y_lag": y[:, -kept - 1 : -1]}
        truth = {"y_lag": dgp.alpha, "lag(y)": dgp.alpha}
        if dgp.beta is None:
            return Sample(Panel(columns), truth)
        return Sample(Panel({**columns, "x": x[:, -kept:]}), {**truth, "x": dgp.beta})


def _stationary_start(
    dgp: DynamicPanel, z: Float[Array, "unit 2"]
) -> tuple[Float[Array, "unit 1"], Float[Array, "unit 1"]]:
    """The period before the first: y without its unit effect, and x."""
    alpha, rho, beta = dgp.alpha, dgp.x_rho, 0.0 if dgp.beta is None else dgp.beta
    var_x = dgp.x_sd**2 / (1 - rho**2)
    slope = beta / (1 - alpha * rho)  # of y on x: E[y x] = alpha rho E[y x] + beta var_x
    both = beta**2 * var_x + 2 * alpha * beta * rho * slope * var_x
    var_y = (both + dgp.sd**2) / (1 - alpha**2)
    x0 = jnp.sqrt(var_x) * z[:, :1]
    spread = jnp.sqrt(jnp.maximum(var_y - slope**2 * var_x, 0.0))
    return slope * x0 + spread * z[:, 1:], x0


def _faults(dgp: DynamicPanel) -> list[str]:
    faults = faults_of_sizes(dgp, {"n_units": 1, "n_periods": 1})
    if dgp.burn_in is not None:
        faults += faults_of_sizes(dgp, {"burn_in": 1})
    faults += faults_of_numbers(dgp, ("alpha", "x_rho"))
    faults += faults_of_numbers(dgp, ("sd", "unit_sd", "x_sd"), lower=0.0)
    if dgp.beta is not None:
        faults += faults_of_numbers(dgp, ("beta",))
    if dgp.burn_in is None:
        names = ("alpha", "x_rho")
        faults += faults_of_persistence(dgp, names, ": a stationary start; or set burn_in")
    return faults
