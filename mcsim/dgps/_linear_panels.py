"""Panels of a linear regression: error components, whose errors cluster, and interactive effects.

The designs of Moulton (1990), Bertrand, Duflo & Mullainathan (2004) and Petersen (2009), and of Bai
(2009), Econometrica 77: 1229-1279, section 9.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from mcsim._core.calls import with_remedies
from mcsim._core.checks import is_number
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
from mcsim.dgps._random import normals, stationary
from mcsim.errors import raise_all

_SHARES = ("unit_share", "time_share", "group_share")


@pytree()
@with_remedies()
@dataclass(frozen=True, kw_only=True)
class ErrorComponents:
    """Draw ``y = beta x + u``, where u and x each have unit, period, group and AR(1) components.

    All components are normal. Shares are shares of the variance of u (of x): of unit effects, of
    period effects, of group shocks; the rest is the unit's own AR(1). Group shocks follow an AR(1)
    with the same ``rho``. AR(1) components start stationary. A factor of a design with the name of
    a field takes its place.

    Parameters
    ----------
    n_units, n_periods : int
        Size of the panel.
    beta : float or None
        The coefficient; None leaves x out (a source of untreated outcomes for `with_effect`).
    sd, x_sd : float
        Standard deviations of u and x.
    unit_share, time_share, group_share, x_unit_share, x_time_share, x_group_share : float
        Shares of the variance; each three add up to at most 1.
    rho, x_rho : float
        Autocorrelations of the AR(1) components, between -1 and 1.
    n_groups : int
        Groups above the unit, numbered in the column ``group`` (0, 1, ...; units in equal runs); 0:
        none.

    Raises
    ------
    InputError
        For sizes, shares or autocorrelations out of their range.

    Notes
    -----
    Columns y, x, group (x and group where asked for). Truth: ``{"x": beta}``. Petersen's Table 1
    is ``ErrorComponents(n_units=500, sd=2.0, unit_share=.5, x_unit_share=.5)``; the AR(1) states of
    Bertrand, Duflo & Mullainathan are ``ErrorComponents(n_periods=21, beta=None, rho=.8)``.

    References
    ----------
    Petersen (2009), Review of Financial Studies 22: 435-480, section 1. Bertrand, Duflo &
    Mullainathan (2004), Quarterly Journal of Economics 119: 249-275, section IV.

    Examples
    --------
    >>> import jax
    >>> dgp = ErrorComponents(n_units=500, sd=2.0, unit_share=0.5, x_unit_share=0.5)
    >>> sample = dgp(jax.random.key(0), Design({"beta": 0.3}))
    >>> sample.panel, sample.truth
    (Panel(500 units x 10 periods: y, x), {'x': 0.3})
    """

    n_units: int = 50
    n_periods: int = 10
    beta: float | None = 1.0
    sd: float = 1.0
    unit_share: float = 0.0
    time_share: float = 0.0
    group_share: float = 0.0
    rho: float = 0.0
    x_sd: float = 1.0
    x_unit_share: float = 0.0
    x_time_share: float = 0.0
    x_group_share: float = 0.0
    x_rho: float = 0.0
    n_groups: int = 0

    def __post_init__(self):
        raise_all(_faults_of_components(self))

    @property
    def factors(self) -> tuple[str, ...]:
        """Factors of a design that the DGP reads."""
        return field_names(self)

    @property
    def summary(self) -> str:
        """One line for the head of a report."""
        regressor = "" if self.beta is None else f", beta {self.beta:g}"
        return f"error components, {self.n_units} units x {self.n_periods} periods{regressor}"

    def __call__(self, key: Key[Array, ""], design: Design) -> Sample:
        """Draw one sample."""
        dgp = with_factors(self, design)
        raise_all(_faults_of_components(dgp))
        n, t, groups = dgp.n_units, dgp.n_periods, dgp.n_groups
        maps = _maps(dgp)
        unit_width, period_width = maps.unit.shape[0], maps.period.shape[0]
        unit, period, group = normals(
            key, (n, unit_width), (1, period_width), (groups, period_width)
        )
        both = unit @ maps.unit + period @ maps.period
        member = np.arange(n) * groups // n
        if groups:
            both = both + (group @ maps.group)[member]
        columns = {"y": both[:, :t]} if dgp.beta is None else {"y": both[:, :t], "x": both[:, t:]}
        if groups:
            columns["group"] = jnp.broadcast_to(jnp.asarray(member, float)[:, None], (n, t))
        return Sample(Panel(columns), {} if dgp.beta is None else {"x": dgp.beta})


class _Maps(NamedTuple):
    """Maps from the normals of a unit, of the periods and of a group to their (y, x)."""

    unit: Float[Array, "normal column"]
    period: Float[Array, "normal column"]
    group: Float[Array, "normal column"]


def _maps(dgp: ErrorComponents) -> _Maps:
    t = dgp.n_periods
    error = _component(dgp.sd, dgp.unit_share, dgp.time_share, dgp.group_share, dgp.rho, t)
    if dgp.beta is None:
        return error
    shares = dgp.x_unit_share, dgp.x_time_share, dgp.x_group_share
    regressor = _component(dgp.x_sd, *shares, dgp.x_rho, t)
    pairs = zip(error, regressor, strict=True)
    return _Maps(*(jnp.block([[e, 0 * e], [dgp.beta * x, x]]) for e, x in pairs))


def _component(sd: Any, unit: Any, time: Any, group: Any, rho: Any, t: int) -> _Maps:
    rest = 1 - unit - time - group
    own = jnp.sqrt(jnp.where(jnp.abs(rest) < 1e-12, 0.0, rest))  # shares beyond 1 give NaN
    paths = stationary(rho, t)
    level = jnp.full((1, t), jnp.sqrt(unit))
    return _Maps(
        unit=sd * jnp.concatenate([own * paths, level]),
        period=sd * jnp.sqrt(time) * jnp.eye(t),
        group=sd * jnp.sqrt(group) * paths,
    )


def _faults_of_components(dgp: ErrorComponents) -> list[str]:
    sizes = {"n_units": 1, "n_periods": 1, "n_groups": 0}
    shares = [prefix + share for prefix in ("", "x_") for share in _SHARES]
    faults = faults_of_sizes(dgp, sizes)
    faults += faults_of_numbers(dgp, ("sd", "x_sd", *shares), lower=0.0)
    if dgp.beta is not None:
        faults += faults_of_numbers(dgp, ("beta",))
    faults += faults_of_persistence(dgp, ("rho", "x_rho"), ", for a stationary start")
    if faults:
        return faults
    if dgp.n_groups > dgp.n_units:
        faults.append(f"n_groups: got {dgp.n_groups}, expected at most the {dgp.n_units} units")
    for prefix in ("", "x_"):
        names = [prefix + share for share in _SHARES]
        values = [getattr(dgp, name) for name in names]
        if all(is_number(value) for value in values) and sum(values) > 1 + 1e-12:
            faults.append(f"{', '.join(names)}: they add up to {sum(values):g}, expected at most 1")
        if not dgp.n_groups and is_number(values[-1]) and values[-1] > 0:
            faults.append(f"{names[-1]}: got {values[-1]:g} without groups; set n_groups")
    return faults


@pytree()
@with_remedies()
@dataclass(frozen=True, kw_only=True)
class InteractiveEffects:
    """Draw ``y = beta x + unit + period + loadings'factors + e``, with x drawn to the factors.

    ``x = confounding (l'f + sum l + sum f) + own``: with ``confounding`` 0 any regression recovers
    beta, otherwise two-way fixed effects are biased. All parts are independent normals. A factor
    of a design that has the name of a field takes its place.

    Parameters
    ----------
    n_units, n_periods, rank : int
        Size of the panel, and the number of factors.
    beta : float
        The coefficient.
    confounding : float
        Weight of the factor structure in x.
    factor_sd, unit_sd, time_sd, sd, x_sd : float
        Standard deviations: of one factor times its loading, of unit and period effects, of e, and
        of the own part of x.

    Raises
    ------
    InputError
        For sizes or spreads out of their range.

    Notes
    -----
    Columns y, x. Truth: ``{"x": beta}``. Without confounding and with ``factor_sd=0`` this is the
    two-way model.

    References
    ----------
    Bai (2009), Econometrica 77: 1229-1279, section 9.

    Examples
    --------
    >>> import jax
    >>> sample = InteractiveEffects(n_units=30)(jax.random.key(0), Design())
    >>> sample.panel, sample.truth
    (Panel(30 units x 20 periods: y, x), {'x': 1.0})
    """

    n_units: int = 100
    n_periods: int = 20
    rank: int = 2
    beta: float = 1.0
    confounding: float = 1.0
    factor_sd: float = 1.0
    unit_sd: float = 0.0
    time_sd: float = 0.0
    sd: float = 2.0
    x_sd: float = 1.0

    def __post_init__(self):
        raise_all(_faults_of_interactive(self))

    @property
    def factors(self) -> tuple[str, ...]:
        """Factors of a design that the DGP reads."""
        return field_names(self)

    @property
    def summary(self) -> str:
        """One line for the head of a report."""
        size = f"{self.n_units} units x {self.n_periods} periods"
        return f"interactive effects of rank {self.rank}, {size}, beta {self.beta:g}"

    def __call__(self, key: Key[Array, ""], design: Design) -> Sample:
        """Draw one sample."""
        dgp = with_factors(self, design)
        raise_all(_faults_of_interactive(dgp))
        n, t, rank = dgp.n_units, dgp.n_periods, dgp.rank
        e, own, loadings, factors, unit, period = normals(
            key, (n, t), (n, t), (n, rank), (rank, t), (n, 1), (1, t)
        )
        common = loadings @ factors
        drawn = common + loadings.sum(1, keepdims=True) + factors.sum(0, keepdims=True)
        x = dgp.confounding * drawn + dgp.x_sd * own
        effects = dgp.unit_sd * unit + dgp.time_sd * period + dgp.factor_sd * common
        y = dgp.beta * x + effects + dgp.sd * e
        return Sample(Panel({"y": y, "x": x}), {"x": dgp.beta})


def _faults_of_interactive(dgp: InteractiveEffects) -> list[str]:
    spreads = ("factor_sd", "unit_sd", "time_sd", "sd", "x_sd")
    return [
        *faults_of_sizes(dgp, {"n_units": 1, "n_periods": 1, "rank": 1}),
        *faults_of_numbers(dgp, ("beta", "confounding")),
        *faults_of_numbers(dgp, spreads, lower=0.0),
    ]
