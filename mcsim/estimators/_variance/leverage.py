"""Variances corrected for leverage: HC2, HC3, CR2, CR3, and degrees of freedom for HC2 and CR2.

With H the hat matrix of all columns, effects included, a cluster's residuals are multiplied with
(I - H_gg)^(-1/2) (CR2: Bell & McCaffrey 2002, Survey Methodology 28: 169-181; Pustejovsky & Tipton
2018, Journal of Business & Economic Statistics 36: 672-683) or (I - H_gg)^(-1) (CR3, which deletes
one cluster after the other). Effects that are constant within clusters leave H_gg as a projection
orthogonal to the residuals; the other columns are written out as W with W W' = H, and matrices of
the size of a cluster become small ones: f(I - W W') W = W f(I - W'W).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcsim._core.numerics import cholesky, eigh
from mcsim.estimators._linear_model.data import absorb
from mcsim.estimators._linear_model.least_squares import LinearFit, combine, products
from mcsim.estimators._native import Variance
from mcsim.estimators._variance.names import (
    AXES,
    Groups,
    Setting,
    Vcov,
    cluster_grams,
    cluster_sums,
)
from mcsim.estimators._variance.small_sample import for_cells, not_nested, rule_of_clusters

NEGLIGIBLE = 1e-10  # 1 - leverage of a direction, below which residuals have no part in it
TOUCHED = 1e-14  # share of a loading's square in such directions that deletion would lose
POWERS = {"HC2": -0.5, "HC3": -1.0, "CR2": -0.5, "CR3": -1.0}  # of 1 - leverage

Directions = Float[Array, "direction unit period"]
Cells = Float[Array, "unit period"]
Terms = Float[Array, " term"]


class ClusterLeverage(NamedTuple):
    """Loadings and residuals of clusters in the eigenvectors of their leverage.

    Attributes
    ----------
    columns : array (direction, unit, period)
        W.
    squares : array (cluster, direction)
        Eigenvalues of W'W.
    vectors : array (cluster, direction, direction)
    loading : array (cluster, direction, term)
        Coordinates of the loadings: l = W V loading.
    score : array (cluster, direction)
        V'W'u.
    even : float
        Leverage of dummies that are not among the columns, the same in every direction.
    """

    columns: Directions
    squares: Float[Array, "cluster direction"]
    vectors: Float[Array, "cluster direction direction"]
    loading: Float[Array, "cluster direction term"]
    score: Float[Array, "cluster direction"]
    even: float

    @property
    def left(self) -> Bool[Array, "cluster direction"]:
        """Whether residuals have a part in a direction."""
        return 1.0 - self.even - self.squares > NEGLIGIBLE

    def scale(self, power: float) -> Float[Array, "cluster direction 1"]:
        """Return the eigenvalues of a power of I - H_gg, 0 where it has no inverse."""
        gap = jnp.where(self.left, 1.0 - self.even - self.squares, 1.0)
        return jnp.where(self.left, gap**power, 0.0)[..., None]


def leverage_corrected_cells(fit: LinearFit, vcov: Vcov, setting: Setting) -> Variance:
    """Return HC2 or HC3; ``HC2:BM`` with the degrees of freedom of Bell & McCaffrey."""
    factor, df = for_cells(setting.ssc, vcov, fit.counts)
    nested = fit.counts.effects[:1]
    w = directions(fit, nested)
    leverage = (w**2).sum(axis=0) + _share(fit, nested)
    left = 1.0 - leverage > NEGLIGIBLE
    scale = jnp.where(left, jnp.where(left, 1.0 - leverage, 1.0) ** POWERS[vcov.kind], 0.0)
    variance = factor * ((fit.influence * scale) ** 2).sum(axis=(1, 2))
    if vcov.kind == "HC3":
        squares = fit.loading**2
        lost = (squares * ~left).sum(axis=(1, 2)) > TOUCHED * squares.sum(axis=(1, 2))
        variance = jnp.where(lost, jnp.nan, variance)
    if vcov.variant == "BM":
        df = _df_of_cells((fit.loading * scale) ** 2, leverage, w, _share(fit, nested), nested)
    return Variance(variance, df)


def leverage_corrected_clusters(fit: LinearFit, vcov: Vcov, setting: Setting) -> Variance:
    """Return CR2 or CR3; ``CR2:BM`` with Satterthwaite degrees of freedom for iid errors.

    Where I - H_gg is singular, CR2 takes a generalized inverse; CR3 does so where the coefficient
    is identified without the cluster, and is NaN elsewhere.
    """
    factor, df = rule_of_clusters(fit, vcov, setting)
    clusters = cluster_leverage(fit, vcov.clusters[0], setting.groups)
    scale = clusters.scale(POWERS[vcov.kind])
    scores = (clusters.score[..., None] * scale * clusters.loading).sum(axis=1)
    variance = factor * (scores**2).sum(axis=0)
    if vcov.kind == "CR3":
        variance = jnp.where(lost_without(clusters).any(axis=0), jnp.nan, variance)
    if vcov.variant == "BM":
        df = _df_of_clusters(clusters, vcov.clusters[0], scale)
    return Variance(variance, df)


def directions(fit: LinearFit, nested: tuple[str, ...]) -> Directions:
    """Return W: columns with W W' = H less the projection on the ``nested`` effects."""
    dummies = _dummies(fit, nested)
    if not len(dummies):
        return _slopes(fit)
    values, vectors = eigh(_finite(products(dummies, dummies)))
    kept = values > NEGLIGIBLE * values.max()
    root = vectors * jnp.where(kept, jnp.where(kept, values, 1.0) ** -0.5, 0.0)
    return jnp.concatenate([_slopes(fit), jnp.tensordot(root.T, dummies, axes=1)])


def cluster_leverage(fit: LinearFit, cluster: str, groups: Groups) -> ClusterLeverage:
    """Diagonalize the leverage of every cluster.

    In a balanced panel with effects, the dummies of the other axis have the same leverage in all
    directions of a cluster, so that only the slopes are diagonalized.
    """
    nested = nested_in(fit, cluster)
    if fit.weight is None and fit.counts.effects and cluster in AXES:
        crossed = len(fit.counts.effects) > len(nested)
        even = 1.0 / fit.residual.shape[AXES[cluster]] if crossed else 0.0
        w = _slopes(fit)
    else:
        w, even = directions(fit, nested), 0.0
    squares, vectors = jax.vmap(eigh)(_finite(cluster_grams(w, cluster, groups)))
    sums = cluster_sums(w * fit.residual, (cluster,), groups).reshape(len(w), -1)
    return ClusterLeverage(
        columns=w,
        squares=squares,
        vectors=vectors,
        loading=jnp.einsum("gpq,pj->gqj", vectors, products(w, fit.loading)),
        score=jnp.einsum("gpq,pg->gq", vectors, sums),
        even=even,
    )


def lost_without(clusters: ClusterLeverage) -> Bool[Array, "cluster term"]:
    """Return the clusters without which a coefficient is not identified."""
    squares = clusters.loading**2
    gone = (squares * ~clusters.left[..., None]).sum(axis=1)
    return gone > TOUCHED * squares.sum(axis=1)


def nested_in(fit: LinearFit, cluster: str) -> tuple[str, ...]:
    """Return the effects that are constant within clusters."""
    free = not_nested(fit.counts.effects, (cluster,))
    return tuple(effect for effect in fit.counts.effects if effect not in free)


def _slopes(fit: LinearFit) -> Directions:
    if not len(fit.x):
        return fit.x
    return combine(cholesky(_finite(fit.inverse)).T, fit.x)


def _dummies(fit: LinearFit, nested: tuple[str, ...]) -> Directions:
    """Return dummies of the effects that are not nested, less their projection on nested ones."""
    n_units, n_periods = fit.residual.shape
    free = [effect for effect in fit.counts.effects if effect not in nested]
    if not free:
        constant = fit.counts.constant and not nested
        return fit.observed[None] if constant else jnp.zeros((0, n_units, n_periods))
    each = jnp.eye(n_periods)[:, None, :] if free == ["time"] else jnp.eye(n_units)[:, :, None]
    dummies = each * fit.observed
    return absorb(dummies, nested, fit.weight) if nested else dummies


def _share(fit: LinearFit, nested: tuple[str, ...]) -> Cells:
    """Return the leverage of a nested effect: 1 / cells of its level, 0 where not observed."""
    if not nested:
        return jnp.zeros(fit.residual.shape)
    axis = 1 if nested == ("unit",) else 0
    return fit.observed / jnp.maximum(fit.observed.sum(axis=axis, keepdims=True), 1.0)


def _df_of_clusters(
    clusters: ClusterLeverage, cluster: str, scale: Float[Array, "cluster direction 1"]
) -> Terms:
    """Return Satterthwaite's df: B = diag(d) - b'b is the form of the variance in iid errors."""
    squares, scaled = clusters.squares[..., None], scale * clusters.loading
    d = (squares * scaled**2).sum(axis=1)
    b = jnp.einsum("gpq,gqj->gpj", clusters.vectors, squares * scaled)
    if clusters.even:
        weights = jnp.einsum("gpq,gqj->gpj", clusters.vectors, scaled)
        cells = "gpj,pgc->gcj" if cluster == "unit" else "gpj,pcg->gcj"
        adjusted = jnp.einsum(cells, weights, clusters.columns)
        b = jnp.concatenate([b, clusters.even**0.5 * adjusted], axis=1)
    b_squared = (b**2).sum(axis=1)
    outer = jnp.einsum("gpj,gqj->jpq" if len(b) > b.shape[1] else "gpj,hpj->jgh", b, b)
    variance = (d**2 - 2.0 * d * b_squared).sum(axis=0) + (outer**2).sum(axis=(1, 2))
    return (d - b_squared).sum(axis=0) ** 2 / variance


def _df_of_cells(
    q: Float[Array, "term unit period"],
    leverage: Cells,
    w: Directions,
    share: Cells,
    nested: tuple[str, ...],
) -> Terms:
    """Return the df if every cell is a cluster; the sum of q_s q_r H_sr^2 by blocks of H."""
    axis = 2 if nested == ("unit",) else 1
    outer = jnp.einsum("jnt,pnt,qnt->jpq", q, w, w)
    squares = (q**2 * (1.0 - 2.0 * leverage)).sum(axis=(1, 2)) + (outer**2).sum(axis=(1, 2))
    if nested:
        squares += ((q * share).sum(axis=axis) ** 2).sum(axis=1)
        within = (q[:, None] * w).sum(axis=axis + 1)
        level = share.max(axis=axis - 1)
        squares += 2.0 * (level * (within**2).sum(axis=1)).sum(axis=1)
    return (q * (1.0 - leverage)).sum(axis=(1, 2)) ** 2 / squares


def _finite(matrix: Float[Array, "*many k k"]) -> Float[Array, "*many k k"]:
    """Return a matrix, or zeros for that of a failed fit, so that LAPACK gets no NaN."""
    return jnp.where(jnp.isfinite(matrix).all(axis=(-2, -1), keepdims=True), matrix, 0.0)
