"""Randomization inference: a regressor is permuted among units (Fisher 1935).

Under the sharp null every unit's outcome less null times regressor does not change. For every
permutation the coefficient is affine in the null, so that the limits need no search (Rosenbaum
2002, Observational Studies, section 2.4).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from mcsim.errors import raise_all
from mcsim.estimators._linear_model.least_squares import LinearFit, absorb_all, products
from mcsim.estimators._native import Variance
from mcsim.estimators._variance.names import CELLS, TIE, Setting, Vcov, key_of

MOST = 2**16  # units: a sorting key has as many bits for each of stratum and unit
COLLINEAR = 1e-10  # share of a permuted regressor's squares that the others leave, taken as none
NOT_A_SLOPE = 1e-6  # distance from one of the product of a slope's loading with the regressors

Order = Int[Array, " slot"]


class Slots(NamedTuple):
    """The slots that are permuted: units, or clusters of units.

    Attributes
    ----------
    of_unit : array of int (unit,) or None
        The slot of every unit; None if units are the slots.
    member : array of int (slot,) or None
        A unit of every slot.
    stratum : array of int (slot,) or None
        Only slots of one stratum are exchanged; None if all may be.
    identified : bool array (regressor,)
        Whether two slots may be exchanged, and the regressor does not vary within slots.
    """

    of_unit: Int[Array, " unit"] | None
    member: Order | None
    stratum: Order | None
    identified: Bool[Array, " regressor"]


class Permuted(NamedTuple):
    """The coefficient after each permutation: ``constant + slope * (coef - null)``."""

    constant: Float[Array, " draw"]
    slope: Float[Array, " draw"]


def randomization(fit: LinearFit, vcov: Vcov, setting: Setting) -> Variance:
    """Return p-values and limits of randomization inference; there is no standard error.

    A term's column is permuted across units, periods staying together, or across clusters within
    which it does not vary; other regressors stay where they are. The p-value, (1 + permutations
    with a coefficient as large) / (1 + resamples), rejects no more often than its level if the
    column was assigned that way, however few the units. In a panel with gaps, only units that are
    observed in the same periods change places. The limits are of an effect that all units share.
    """
    _check(fit, vcov, setting)
    slots = _slots(fit, vcov.clusters[0], setting)
    key = key_of(setting.key, vcov.name)
    # The loading of a slope has product 1 with its own regressor and 0 with the others.
    share = jnp.abs(products(fit.loading, fit.x))
    of_slope = jnp.abs(share.sum(axis=1) - 1.0) < NOT_A_SLOPE
    alpha = round(1.0 - setting.level, 12)

    def of_term(position, loading, coef):
        permuted = _permuted(key, fit, position, loading, slots, setting)
        distance = coef - setting.null
        p_value = _p_value(permuted, distance, _largest(fit, loading, distance))
        return p_value, *_limits(permuted, alpha), slots.identified[position]

    p_value, below, above, fine = jax.vmap(of_term)(share.argmax(axis=1), fit.loading, fit.coef)
    fine = fine & of_slope
    return Variance(
        variance=jnp.full_like(fit.coef, jnp.nan),
        lower=jnp.where(fine, fit.coef - below, jnp.nan),
        upper=jnp.where(fine, fit.coef + above, jnp.nan),
        p_value=jnp.where(fine, p_value, jnp.nan),
    )


def _check(fit: LinearFit, vcov: Vcov, setting: Setting) -> None:
    """Raise for clusters and panels that cannot be permuted, when the program is traced."""
    cluster, n_units = vcov.clusters[0], fit.residual.shape[0]
    faults = []
    if cluster == "time":
        faults.append(f"vcov: {vcov.name!r} would permute periods; expected RI or RI(state)")
    elif cluster != "unit" and fit.weight is not None:
        faults.append(
            f"vcov: {vcov.name!r} permutes clusters, and the panel has gaps; expected a panel "
            "without, or RI(unit)"
        )
    if n_units >= MOST:
        faults.append(f"vcov: {vcov.name!r} permutes fewer than {MOST} units, got {n_units}")
    raise_all(faults)


def _slots(fit: LinearFit, cluster: str, setting: Setting) -> Slots:
    """Return the slots, and the strata within which they are permuted."""
    x, weight = setting.data.x, fit.weight
    n_units, any_regressor = x.shape[1], jnp.ones(len(x), bool)
    if cluster != "unit":
        group = setting.groups.of_unit[cluster]
        present = jnp.zeros(n_units, bool).at[group].set(True)
        member = jnp.zeros(n_units, jnp.int32).at[group].set(jnp.arange(n_units, dtype=jnp.int32))
        constant = (x == x[:, member[group]]).all(axis=(1, 2))
        stratum = jnp.where(present, 0, 1 + jnp.arange(n_units)).astype(jnp.int32)
        return Slots(group, member, stratum, constant & (present.sum() > 1))
    if weight is None:
        return Slots(None, None, None, any_regressor & (n_units > 1))
    same = weight @ weight.T + (1.0 - weight) @ (1.0 - weight).T == x.shape[2]
    observed = weight.any(axis=1)
    pairs = (same & observed).sum() > observed.sum()
    return Slots(None, None, same.argmax(axis=1).astype(jnp.int32), any_regressor & pairs)


def shuffle(key: Key[Array, ""], n_slots: int, stratum: Order | None) -> Order:
    """Return a permutation within strata, by sorting random words that contain the slots."""
    width = MOST.bit_length() - 1
    slot = jnp.arange(n_slots, dtype=jnp.uint64)
    words = (jax.random.bits(key, (n_slots,), jnp.uint32).astype(jnp.uint64) << width) | slot
    if stratum is None:
        return (jnp.sort(words) % MOST).astype(jnp.int32)
    shuffled = jnp.sort(words | (stratum.astype(jnp.uint64) << (width + 32))) % MOST
    in_order = jnp.argsort(stratum, stable=True)
    return jnp.zeros(n_slots, jnp.int32).at[in_order].set(shuffled.astype(jnp.int32))


def _permuted(
    key: Key[Array, ""],
    fit: LinearFit,
    position: Int[Array, ""],
    loading: Float[Array, "unit period"],
    slots: Slots,
    setting: Setting,
) -> Permuted:
    """Return the coefficient after every permutation, by partialling out in batches."""
    raw = setting.data.x[position]
    row = fit.inverse[position]
    of_others = fit.inverse - jnp.outer(row, row) / row[position]
    direction = loading / (loading**2).sum()

    def absorbed(column):
        counts = fit.counts
        return absorb_all(column[None], counts.effects, fit.weight, counts.constant)[0]

    within = absorbed(raw)

    def sample(key):
        order = shuffle(key, len(raw), slots.stratum)
        if slots.of_unit is None or slots.member is None:
            column = within[order]
        else:
            column = absorbed(raw[slots.member[order[slots.of_unit]]])
        shared = products(column[None], fit.x)[0]
        squares = (column**2).sum()
        left = squares - (shared[:, None] * of_others * shared).sum()
        left = jnp.where(left > COLLINEAR * squares, left, jnp.nan)
        return (column * fit.residual).sum() / left, (column * direction).sum() / left

    batch = min(max(CELLS // raw.size, 1), setting.resamples)
    return Permuted(
        *jax.lax.map(sample, jax.random.split(key, setting.resamples), batch_size=batch)
    )


def _largest(
    fit: LinearFit, loading: Float[Array, "unit period"], distance: Float[Array, ""]
) -> Float[Array, ""]:
    """Return the largest possible coefficient of the restricted residual: the scale of ties."""
    return jnp.sqrt((fit.residual**2).sum() * (loading**2).sum() + distance**2)


def _p_value(
    permuted: Permuted, distance: Float[Array, ""], largest: Float[Array, ""]
) -> Float[Array, ""]:
    """Return (1 + count) / (1 + draws), counting ties and draws that cannot be computed."""
    size = jnp.abs(permuted.constant + distance * permuted.slope)
    smaller = size < jnp.abs(distance) - TIE * largest
    return (1.0 + (~smaller).sum()) / (1.0 + len(size))


def _limits(permuted: Permuted, alpha: float) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return the distances below and above the estimate at which the test rejects: p < alpha.

    A draw reaches a distance if its coefficient is as large. The limit is the largest distance that
    is reached by as many draws as the test needs for p >= alpha.
    """
    a, c = permuted
    need = math.ceil(round(alpha * (1 + len(a)), 9)) - 1
    if need < 1:
        return jnp.asarray(jnp.inf), jnp.asarray(jnp.inf)
    endless = ~(jnp.abs(c) < 1.0 - TIE)
    below = jnp.where(endless, jnp.inf, jnp.maximum(a / (1.0 - c), -a / (1.0 + c)))
    above = jnp.where(endless, jnp.inf, jnp.maximum(-a / (1.0 - c), a / (1.0 + c)))
    return jnp.sort(below)[-need], jnp.sort(above)[-need]
