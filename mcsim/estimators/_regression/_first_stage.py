"""The first stage: F of the excluded instruments, by whatever variance."""

from typing import Any

import jax.numpy as jnp
from jax.scipy.special import betainc
from jaxtyping import Array, Bool, Float, Key

from mcsim._core import Estimate, Panel
from mcsim._lapack import eigvalsh, solve
from mcsim.estimators._fit import statistic
from mcsim.estimators._linear_model._data import Regression
from mcsim.estimators._linear_model._least_squares import fit_linear
from mcsim.estimators._variance._inference import infer

LABEL = "first_stage_F"
NEGLIGIBLE = 1e-10  # eigenvalue of a correlation matrix, taken as zero


def first_stage(
    key: Key[Array, ""] | None,
    data: Regression,
    effects: tuple[str, ...],
    panel: Panel,
    *,
    vcov: tuple[str, ...],
    **inference: Any,
) -> dict[tuple[str, str], Estimate]:
    """Return the Wald statistic of the instruments over their number, for each variance.

    The one endogenous regressor stands first in ``data.x``.
    """
    n = len(data.z)
    reduced = data._replace(y=data.x[0], x=jnp.concatenate([data.z, data.x[1:]]))
    fit = fit_linear(reduced, effects, tuple(range(n)))
    pairs = [(i, j) for i in range(n) for j in range(i, n)]
    # Covariances from variances of sums: any formula of variances will do.
    sums = fit._replace(
        coef=jnp.stack([fit.coef[i] if i == j else fit.coef[i] + fit.coef[j] for i, j in pairs]),
        loading=jnp.stack(
            [fit.loading[i] if i == j else fit.loading[i] + fit.loading[j] for i, j in pairs]
        ),
    )
    names = tuple(f"{i} {j}" for i, j in pairs)
    estimates = infer(key, reduced, sums, panel, term=names, vcov=vcov, **inference)
    statistics = {}
    for name in vcov:
        of_name = {pair: estimates[f"{pair[0]} {pair[1]}", name] for pair in pairs}
        statistics[LABEL, name] = _wald(fit.coef, of_name, fit.status)
    return statistics


def _wald(
    coef: Float[Array, " term"], sums: dict[tuple[int, int], Estimate], status: Array
) -> Estimate:
    n = len(coef)
    variance = {pair: estimate.se**2 for pair, estimate in sums.items()}
    for i, j in [pair for pair in variance if pair[0] != pair[1]]:
        variance[i, j] = (variance[i, j] - variance[i, i] - variance[j, j]) / 2.0
        variance[j, i] = variance[i, j]
    matrix = jnp.stack([jnp.stack([variance[i, j] for j in range(n)]) for i in range(n)])
    fine = jnp.isfinite(matrix).all() & _has_full_rank(matrix)
    matrix = jnp.where(fine, matrix, jnp.eye(n))
    value = coef @ solve(matrix, coef) / n
    df = sums[0, 0].df
    tail = betainc(df / 2.0, n / 2.0, df / (df + n * value))
    return statistic(jnp.where(fine, value, jnp.nan), status, p_value=tail)


def _has_full_rank(matrix: Float[Array, "term term"]) -> Bool[Array, ""]:
    """Whether a variance has an inverse: that of more terms than clusters - 1 has none."""
    scale = jnp.sqrt(jnp.abs(jnp.diagonal(matrix)))
    scaled = matrix / jnp.outer(scale, scale)
    values = eigvalsh(jnp.where(jnp.isfinite(scaled), scaled, 0.0))
    return jnp.abs(values).min() > NEGLIGIBLE
