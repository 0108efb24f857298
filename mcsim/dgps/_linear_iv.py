"""One endogenous regressor and instruments of a given strength, down to the weak-instrument limit.

Staiger & Stock (1997), Econometrica 65: 557-586; Stock & Yogo (2005).
"""

from dataclasses import dataclass
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from mcsim._core.calls import with_remedies
from mcsim._core.checks import is_number
from mcsim._core.design import Design
from mcsim._core.pytree import pytree
from mcsim._core.records import Panel, Sample
from mcsim.dgps._fields import faults_of_numbers, faults_of_sizes, field_names, with_factors
from mcsim.dgps._random import normals
from mcsim.errors import did_you_mean, raise_all

Instruments = Literal["random", "fixed", "limit"]


@pytree()
@with_remedies()
@dataclass(frozen=True, kw_only=True)
class LinearIV:
    """Draw ``y = beta d + u`` and ``d = pi sum(z) + v`` with corr(u, v) = rho.

    A cross-section; u and v are standard normal. A factor of a design with the name of a field
    takes its place.

    Parameters
    ----------
    n_units : int
        Size of the sample, at least n_instruments + 3.
    beta : float
        The coefficient.
    concentration : float
        The concentration parameter mu^2 = n pi' E[zz'] pi. The first-stage F is about
        1 + mu^2 / K.
    rho : float
        Correlation of the two errors, from -1 to 1.
    n_instruments : int
        Number K of instruments; all have the same coefficient.
    instruments : {"random", "fixed", "limit"}
        Standard normal, drawn anew in every sample; or orthogonal to each other and to the constant
        with mean square 1, the same in every sample, so that the concentration holds exactly; or
        fixed and with errors whose second moments orthogonal to the instruments do not vary, which
        for K = 1 is the weak-instrument limit itself, whatever n.

    Raises
    ------
    InputError
        For sizes, a concentration or a correlation out of their range.

    Notes
    -----
    Columns y, d, z1, ..., zK. Truth: ``{"d": beta, "first_stage_F": 1 + mu^2 / K}``, the second
    being the mean of the first-stage F in large samples.

    The asymptotic design of Stock & Yogo is ``z'd = mu + v``, ``z'u = u``, with known variances.
    Fixed instruments and normal errors give just that z'd and z'u; the residual variance, which
    enters t, still varies with n. In the ``"limit"`` it does not: up to the factor n / (n - k) and
    the critical value of t(n - k), both gone at n = 1,000, 2SLS behaves as at n = infinity.

    References
    ----------
    Stock & Yogo (2005), in Andrews & Stock, Identification and Inference for Econometric Models,
    80-108. Staiger & Stock (1997), Econometrica 65: 557-586.

    Examples
    --------
    >>> import jax
    >>> dgp = LinearIV(n_units=1000, instruments="limit", rho=0.95)
    >>> sample = dgp(jax.random.key(0), Design({"concentration": 1.5}))
    >>> sample.panel, sample.truth
    (Panel(1000 units x 1 period: y, d, z1), {'d': 0.0, 'first_stage_F': 2.5})
    """

    n_units: int = 200
    beta: float = 0.0
    concentration: float = 10.0
    rho: float = 0.5
    n_instruments: int = 1
    instruments: Instruments = "random"

    def __post_init__(self):
        raise_all(_faults(self))

    @property
    def factors(self) -> tuple[str, ...]:
        """Factors of a design that the DGP reads."""
        return field_names(self)

    @property
    def summary(self) -> str:
        """One line for the head of a report."""
        kind = f"{self.n_instruments} {self.instruments} instruments"
        return f"linear IV, {self.n_units} units, {kind}, beta {self.beta:g}"

    def __call__(self, key: Key[Array, ""], design: Design) -> Sample:
        """Draw one sample."""
        dgp = with_factors(self, design)
        raise_all(_faults(dgp))
        n, k = dgp.n_units, dgp.n_instruments
        if dgp.instruments == "limit":
            basis = _basis(n, k + 2)
            (scores,) = normals(key, (k, 2))
            moments = jnp.concatenate([scores / n**0.5, jnp.eye(2)])
            z, errors = basis[:, :k], basis @ moments
        elif dgp.instruments == "fixed":
            (errors,) = normals(key, (n, 2))
            z = _basis(n, k)
        else:
            z, errors = normals(key, (n, k), (n, 2))
        u, own = errors[:, 0], errors[:, 1]
        v = dgp.rho * u + jnp.sqrt(1 - jnp.square(dgp.rho)) * own
        d = jnp.sqrt(dgp.concentration / (n * k)) * z.sum(1) + v
        columns = {"y": dgp.beta * d + u, "d": d, **{f"z{j + 1}": z[:, j] for j in range(k)}}
        return Sample(Panel(columns), {"d": dgp.beta, "first_stage_F": 1 + dgp.concentration / k})


def _basis(n: int, k: int) -> Float[Array, "unit column"]:
    """Cosines: columns orthogonal to each other and to the constant, with mean square 1."""
    angle = np.pi * (np.arange(n)[:, None] + 0.5) * np.arange(1, k + 1) / n
    return jnp.asarray(np.sqrt(2.0) * np.cos(angle))


def _faults(dgp: LinearIV) -> list[str]:
    faults = faults_of_sizes(dgp, {"n_units": 1, "n_instruments": 1})
    faults += faults_of_numbers(dgp, ("beta", "rho"))
    faults += faults_of_numbers(dgp, ("concentration",), lower=0.0)
    if is_number(dgp.rho) and not -1 <= dgp.rho <= 1:
        faults.append(f"rho: got {dgp.rho}, expected a correlation, from -1 to 1")
    if dgp.instruments not in get_args(Instruments):
        options = get_args(Instruments)
        faults.append(
            f"instruments: got {dgp.instruments!r}{did_you_mean(dgp.instruments, options)}"
        )
    if not faults and dgp.n_units < dgp.n_instruments + 3:
        least = dgp.n_instruments + 3
        faults.append(f"n_units: got {dgp.n_units}, expected at least n_instruments + 3 = {least}")
    return faults
