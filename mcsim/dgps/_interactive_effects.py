"""Interactive fixed effects: common factors that units load on, and a regressor that does too.

The design of Bai (2009), Econometrica 77: 1229-1279, section 9.
"""

from dataclasses import dataclass

from jaxtyping import Array, Key

from mcsim._core.calls import with_remedies
from mcsim._core.design import Design
from mcsim._core.pytree import pytree
from mcsim._core.records import Panel, Sample
from mcsim.dgps._fields import faults_of_numbers, faults_of_sizes, field_names, with_factors
from mcsim.dgps._random import normals
from mcsim.errors import raise_all


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
        How much of the factor structure is in x.
    factor_sd, unit_sd, time_sd, sd, x_sd : float
        Standard deviations: of one factor times its loading, of unit and period effects, of e, and
        of what x has of its own.

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
        raise_all(_faults(self))

    @property
    def factors(self) -> tuple[str, ...]:
        """The factors of a design that it reads."""
        return field_names(self)

    @property
    def summary(self) -> str:
        """One line for the head of a report."""
        size = f"{self.n_units} units x {self.n_periods} periods"
        return f"interactive effects of rank {self.rank}, {size}, beta {self.beta:g}"

    def __call__(self, key: Key[Array, ""], design: Design) -> Sample:
        """Draw one sample."""
        dgp = with_factors(self, design)
        raise_all(_faults(dgp))
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


def _faults(dgp: InteractiveEffects) -> list[str]:
    spreads = ("factor_sd", "unit_sd", "time_sd", "sd", "x_sd")
    return [
        *faults_of_sizes(dgp, {"n_units": 1, "n_periods": 1, "rank": 1}),
        *faults_of_numbers(dgp, ("beta", "confounding")),
        *faults_of_numbers(dgp, spreads, lower=0.0),
    ]
