"""Wild cluster bootstrap of one coefficient, with the null imposed (WCR) and limits by inversion.

Cameron, Gelbach & Miller (2008, Review of Economics and Statistics 90: 414-427), computed without
refitting as in Roodman, MacKinnon, Nielsen & Webb (2019, Stata Journal 19: 4-60): the cluster
scores of a bootstrap sample are linear in its weights, and affine in the distance to the null.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import block_diag
from jaxtyping import Array, Bool, Float, Int, UInt32

from mcsim.estimators._linear_model.data import generalized_inverse
from mcsim.estimators._linear_model.least_squares import LinearFit
from mcsim.estimators._native import Variance
from mcsim.estimators._variance.names import CELLS, TIE, Groups, Setting, Vcov, key_of

FLOOR = 1e-20  # of the squared scores before projection, below which a variance is rounding error
FARTHEST = 1e4  # standard errors from the estimate beyond which an accepted null has no end
BISECTIONS = 45
WORD = 32  # bits

Draws = Float[Array, " draw"]


class Weights(NamedTuple):
    """Random words from which weights are read, and the draws that count.

    Attributes
    ----------
    words : array of uint32 (draw, word)
    counted : array (draw,)
        0 for draws after the end of an enumeration.
    """

    words: UInt32[Array, "draw word"]
    counted: Draws


class Scores(NamedTuple):
    """Cluster sums that make the scores of one coefficient in every bootstrap sample.

    Attributes
    ----------
    influence : array (2, cluster)
        Sums of loading times residual: of the unrestricted residual, and its change per unit of
        distance between the estimate and the null.
    loading : array (cluster, column)
        Products of the loading and the columns that a refit projects off, times their inverse Gram
        matrix.
    residual : array (2, column, cluster)
        Products of the columns that a refit projects off and the two residuals.
    """

    influence: Float[Array, "2 cluster"]
    loading: Float[Array, "cluster column"]
    residual: Float[Array, "2 column cluster"]


class Moments(NamedTuple):
    """The t statistics of all bootstrap samples, for any null.

    Attributes
    ----------
    numerator : array (2, draw)
        Bootstrap coefficient less null: the constant, and the slope in the distance.
    variance : array (3, draw)
        Sum of squared scores: constant, half the slope, curvature.
    actual : array (3,)
        The same for the data, without a refit: the first is the variance of the estimate.
    counted : array (draw,)
    """

    numerator: Float[Array, "2 draw"]
    variance: Float[Array, "3 draw"]
    actual: Float[Array, " 3"]
    counted: Draws


def wild(fit: LinearFit, vcov: Vcov, setting: Setting) -> Variance:
    """Return p-values and limits of a wild cluster bootstrap; there is no standard error.

    The p-value is the share of bootstrap statistics that exceed the data's in absolute value; every
    term has its own restricted fit. The limits are the nulls nearest to the estimate that the same
    test rejects, infinite if it rejects none. All 2^G vectors of signs are enumerated if they are
    no more than the resamples, also if the number of clusters G depends on the data. The method is
    for least squares on absorbed columns, not for instruments or for transformations that mix
    units.
    """
    rank, number, slots = _clusters(fit, vcov.clusters[0], setting.groups)
    weights = _weights(vcov, setting, number, slots)
    moments = jax.vmap(lambda scores: _moments(scores, weights, vcov.variant, rank))(
        _scores(fit, vcov.clusters[0], setting.groups)
    )
    alpha = round(1.0 - setting.level, 12)
    p_value = jax.vmap(_p_value)(moments, fit.coef - setting.null)
    lower, upper = jax.vmap(lambda of_term: _limits(of_term, alpha), out_axes=1)(moments)
    several = number >= 2
    return Variance(
        variance=jnp.full_like(fit.coef, jnp.nan),
        lower=jnp.where(several, fit.coef - lower, jnp.nan),
        upper=jnp.where(several, fit.coef + upper, jnp.nan),
        p_value=jnp.where(several, p_value, jnp.nan),
    )


def _clusters(
    fit: LinearFit, cluster: str, groups: Groups
) -> tuple[Int[Array, " cluster"], Float[Array, ""], int]:
    """Return the rank of each slot among observed clusters, their number, and that of slots."""
    present = _cluster_sums(fit.observed, cluster, groups).sum(axis=-1) > 0
    rank = jnp.maximum(jnp.cumsum(present) - 1, 0)
    return rank.astype(jnp.int32), present.sum().astype(float), len(present)


def _weights(vcov: Vcov, setting: Setting, number: Float[Array, ""], slots: int) -> Weights:
    """Draw words of random bits, or enumerate vectors of signs, one of each opposite pair."""
    resamples, signs = setting.resamples, vcov.variant != "webb"
    if signs and slots < WORD and 2**slots <= resamples:
        count = jnp.arange(2 ** (slots - 1), dtype=jnp.uint32)
        return Weights(count[:, None], (count < 2.0 ** (number - 1)).astype(float))
    shape = (resamples, -(-slots // WORD) if signs else slots)
    words = jax.random.bits(key_of(setting.key, vcov.name), shape, jnp.uint32)
    count = jnp.arange(resamples, dtype=jnp.uint32)
    few = jnp.asarray(signs) & (2.0**number <= resamples)
    words = words.at[:, 0].set(jnp.where(few, count, words[:, 0]))
    return Weights(words, jnp.where(few, count < 2.0 ** (number - 1), True).astype(float))


def rademacher(words: UInt32[Array, " word"], slots: int) -> Float[Array, " cluster"]:
    """Return weights -1 and 1: the bits of the words."""
    bits = (words[:, None] >> jnp.arange(WORD, dtype=jnp.uint32)) & 1
    return 1.0 - 2.0 * bits.reshape(-1)[:slots]


def webb(words: UInt32[Array, " word"], slots: int) -> Float[Array, " cluster"]:
    """Return the weights of Webb (2023): plus or minus the roots of 1/2, 1 and 3/2."""
    face = (words[:slots].astype(jnp.uint64) * 6) >> WORD
    return jnp.where(face < 3, -1.0, 1.0) * jnp.sqrt((1.0 + face % 3) / 2.0)


def _cluster_sums(
    cells: Float[Array, "*column unit period"], cluster: str, groups: Groups
) -> Float[Array, "*column cluster other"]:
    """Return sums over the units of a cluster, period by period (for periods: the reverse)."""
    if cluster == "time":
        return cells.swapaxes(-1, -2)
    if cluster == "unit":
        return cells
    group = groups.of_unit[cluster]
    by_unit = jnp.moveaxis(cells, -2, 0)
    return jnp.moveaxis(jax.ops.segment_sum(by_unit, group, len(group)), 0, -2)


def _scores(fit: LinearFit, cluster: str, groups: Groups) -> Scores:
    """Return the cluster sums of the scores, for every term.

    Effects nested in the cluster drop out: a weight that is common to a unit keeps its residuals
    orthogonal to its dummy. A refit projects off the regressors and the other dummies.
    """
    dummies, inverse_dummies = _not_nested(fit, cluster)

    def products(cells):
        by_regressor = _cluster_sums((cells[..., None, :, :] * fit.x), cluster, groups).sum(-1)
        by_period = _cluster_sums(cells, cluster, groups) @ dummies
        return jnp.concatenate([by_regressor.swapaxes(-1, -2), by_period], axis=-1)

    size = (fit.loading**2).sum(axis=(1, 2))[:, None, None]
    influence = jnp.stack([fit.influence, fit.loading**2 / size], axis=1)
    loading, residual = products(fit.loading), products(fit.residual)
    residuals = jnp.stack([jnp.broadcast_to(residual, loading.shape), loading / size], axis=1)
    return Scores(
        influence=_cluster_sums(influence, cluster, groups).sum(axis=-1),
        loading=loading @ block_diag(fit.inverse, inverse_dummies),
        residual=residuals.swapaxes(-1, -2),
    )


def _not_nested(
    fit: LinearFit, cluster: str
) -> tuple[Float[Array, "period dummy"], Float[Array, "dummy dummy"]]:
    """Return the dummies along the other axis, and an inverse of their Gram matrix.

    The dummies are less their projection on dummies of nested effects.
    """
    shape, effects, weight = fit.residual.shape, fit.counts.effects, fit.weight
    nested, other = ("time", "unit") if cluster == "time" else ("unit", "time")
    rows, columns = shape[::-1] if cluster == "time" else shape
    if other not in effects and (nested in effects or not fit.counts.constant):
        return jnp.zeros((columns, 0)), jnp.zeros((0, 0))
    if other not in effects:
        return jnp.ones((columns, 1)), jnp.ones((1, 1)) / fit.counts.observations
    if weight is None:
        return jnp.eye(columns), jnp.eye(columns) / rows
    weight = weight.T if cluster == "time" else weight
    gram = jnp.diag(weight.sum(axis=0))
    if nested in effects:
        gram = gram - (weight / jnp.maximum(weight.sum(axis=1, keepdims=True), 1.0)).T @ weight
    return jnp.eye(columns), generalized_inverse(gram)


def _moments(
    scores: Scores, weights: Weights, variant: str, rank: Int[Array, " cluster"]
) -> Moments:
    """Return the moments of every bootstrap sample, computed by batches of draws."""
    slots, columns = scores.loading.shape
    factors = [scores.loading, scores.residual]
    if slots <= 2 * columns:
        factors = [scores.loading @ scores.residual]

    def sample(words):
        weight = (webb if variant == "webb" else rademacher)(words, slots)[rank]
        projected = weight
        for factor in reversed(factors):
            projected = jnp.matvec(factor, projected)
        score = weight * scores.influence - projected
        squares = jnp.stack([(score[i] * score[j]).sum() for i, j in ((0, 0), (0, 1), (1, 1))])
        return scores.influence @ weight, squares

    batch = min(max(CELLS // slots, 1), len(weights.words))
    numerator, variance = jax.lax.map(sample, weights.words, batch_size=batch)
    c, d = scores.influence
    actual = jnp.stack([(c * c).sum(), (c * d).sum(), (d * d).sum()])
    return Moments(numerator.T, variance.T, actual, weights.counted)


def exceeds(moments: Moments, distance: Float[Array, ""]) -> Bool[Array, " draw"]:
    """Return which bootstrap statistics exceed that of the data; ties do not.

    It is the comparison |t*| > |t| + TIE max(1, |t|), multiplied out.
    """
    numerator = moments.numerator[0] + distance * moments.numerator[1]
    floor = FLOOR * _quadratic(moments.actual, distance)
    variance = jnp.maximum(_quadratic(moments.variance, distance), floor)
    far, se = jnp.abs(distance), jnp.sqrt(moments.actual[0])
    return numerator**2 * se**2 > (far + TIE * jnp.maximum(se, far)) ** 2 * variance


def _quadratic(moments: Float[Array, "3 *draw"], distance: Float[Array, ""]) -> Array:
    return moments[0] + distance * (2.0 * moments[1] + distance * moments[2])


def _p_value(moments: Moments, distance: Float[Array, ""]) -> Float[Array, ""]:
    """Return the share of bootstrap statistics beyond that of the data; NaN without a variance."""
    counted = moments.counted
    share = (counted * exceeds(moments, distance)).sum() / counted.sum()
    return jnp.where(moments.actual[0] > 0, share, jnp.nan)


def _limits(moments: Moments, alpha: float) -> Float[Array, " 2"]:
    """Return the distances below and above the estimate at which the test rejects: p < alpha."""
    se = jnp.sqrt(moments.actual[0])
    side = jnp.array([1.0, -1.0])  # a null below the estimate is at a positive distance

    def accepted(far):
        return jax.vmap(_p_value, in_axes=(None, 0))(moments, side * se * far) >= alpha

    def halve(_, bracket):
        inside, outside = bracket
        middle = (inside + outside) / 2
        inner = accepted(middle / (1.0 - middle))
        return jnp.where(inner, middle, inside), jnp.where(inner, outside, middle)

    start = jnp.zeros(2), jnp.full(2, FARTHEST / (1.0 + FARTHEST))
    inside, _ = jax.lax.fori_loop(0, BISECTIONS, halve, start)
    endless = accepted(jnp.full(2, FARTHEST))
    return jnp.where(endless, jnp.inf, se * inside / (1.0 - inside))
