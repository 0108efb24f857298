"""A column with a continuous distribution and mass points: earnings with zeros and top codes.

Given the columns before, its distribution is a mixture of mass points and of logistic components on
a scale of normal scores; a piecewise linear quantile function leads back to dollars, inside the
bounds.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float, Int

from mcsim._core.pytree import stored_as
from mcsim.generators._cross_sections.levels import (
    NARROW,
    inverse_index,
    shares_by_stratum,
    straight_through,
)

BISECTIONS = 26  # of (-9, 9), to the resolution of float32 uniforms
FARTHEST = 9.0  # scores beyond are not drawn


class MixtureTable(NamedTuple):
    """Shares and quantiles of a column in the training rows.

    Between knots scores run over (-reach, reach).
    """

    log_share: Any  # (stratum, part)
    moves: Any  # (stratum, 2): shift, and log of the stretch, of the components' scores
    knots: Any  # (knot,), in units of the column
    reach: Any  # ()
    room: Any  # (2,): bounds of the tails beyond the knots
    center: Any  # (feature,)
    scale: Any  # (feature,)


@dataclass(frozen=True)
class Mixture:
    """The head of a column with a continuous distribution and mass points."""

    name: str
    mass_points: tuple[float, ...] = field(metadata=stored_as("atoms"))  # as in `Column`
    components: int
    n_knots: int
    integer: bool
    lower: float
    upper: float

    @property
    def n_parts(self) -> int:
        """Number of mass points and components."""
        return len(self.mass_points) + self.components

    @property
    def n_outputs(self) -> int:
        """Number of outputs of the network."""
        return len(self.mass_points) + 3 * self.components

    @property
    def n_features(self) -> int:
        """Number of features: normal score, value, and an indicator of each mass point."""
        return 2 + len(self.mass_points)

    @property
    def spread_floor(self) -> np.ndarray:
        """Least divisor of each feature."""
        return np.where(np.arange(self.n_features) < 2, 1e-20, NARROW)

    def table(
        self, values: np.ndarray, strata: np.ndarray, n_strata: int, everyone: np.ndarray
    ) -> MixtureTable:
        """Describe training values (row,); ``everyone`` replaces too few values off mass points."""
        off = ~np.isin(values, self.mass_points)
        others = values[off] if len(np.unique(values[off])) > 1 else everyone
        others = others[~np.isin(others, self.mass_points)]
        end = 0.5 / max(len(others), 4)
        norm = scipy.stats.norm
        reach = float(norm.ppf(1 - end))
        scores = np.linspace(-reach, reach, self.n_knots)
        knots = np.quantile(others, np.clip((norm.cdf(scores) - end) / (1 - 2 * end), 0.0, 1.0))
        ends = 0.5 * np.array([knots[1] - knots[0], knots[-1] - knots[-2]])
        room = np.minimum(ends, [knots[0] - self.lower, self.upper - knots[-1]])
        room = np.maximum(room, 1e-7 * (knots[-1] - knots[0]))
        counts = [values == point for point in self.mass_points]
        counts += [off * weight for weight in _component_weights(self.components)]
        shares = shares_by_stratum(np.stack(counts, axis=1).astype(float), strata, n_strata)
        zeros, still = np.zeros(self.n_features), np.zeros((n_strata + 1, 2))
        parts = np.log(np.maximum(shares, 1e-6)), still, knots, reach, room, zeros, zeros + 1
        return MixtureTable(*(np.float32(part) for part in parts))

    def shares(self, values: np.ndarray, strata: np.ndarray, n_strata: int) -> np.ndarray | None:
        """Return the shares (stratum, mass point or rest) of draws, if there are mass points."""
        if not self.mass_points:
            return None
        hot = np.stack([values == point for point in self.mass_points], axis=1)
        shares = np.stack([hot[strata == stratum].mean(axis=0) for stratum in range(n_strata)])
        return np.concatenate([shares, 1 - shares.sum(axis=1, keepdims=True)], axis=1)

    def moments(self, values: np.ndarray, strata: np.ndarray, n_strata: int) -> np.ndarray:
        """Return number, mean and standard deviation (stratum, 3) of values off mass points."""
        off = ~np.isin(values, self.mass_points)
        by_stratum = [values[off & (strata == stratum)] for stratum in range(n_strata)]
        known = [
            (len(own), own.mean(), own.std()) if np.ptp(own) else (0, 0, 1) for own in by_stratum
        ]
        return np.asarray(known, np.float32)

    def index(self, values: Array) -> Int[Array, " row"]:
        """Return which mass point each value is; for others, the number of mass points."""
        equal = [values == point for point in self.mass_points]
        return jnp.argmax(jnp.stack([*equal, jnp.ones(len(values), bool)]), axis=0).astype(
            jnp.int32
        )

    def score(self, table: MixtureTable, values: Array) -> Float[Array, " row"]:
        """Return the normal scores of values."""
        return self._score(table, values.astype(jnp.float32))

    def encode(self, table: MixtureTable, values: Array) -> Float[Array, "row feature"]:
        """Return the features of given values (row,)."""
        at = values[:, None] == jnp.asarray(self.mass_points, values.dtype)
        off = ~at.any(axis=1)
        score = jnp.where(off, self._score(table, values.astype(jnp.float32)), 0.0)
        raw = jnp.concatenate(
            [score[:, None], values.astype(jnp.float32)[:, None], at.astype(jnp.float32)], axis=1
        )
        return (raw - table.center) / table.scale

    @property
    def n_noise(self) -> int:
        """Number of uniforms of a relaxed draw."""
        return self.n_parts + 1

    def relaxed(
        self,
        table: MixtureTable,
        outputs: Array,
        stratum: Array,
        allowed: Any,
        uniforms: Float[Array, "row noise"],
        temperature: Array,
    ) -> tuple[Array, None]:
        """Draw features that pass gradients: reparameterized logistics, straight-through parts."""
        logits, location, scale = self._distribution_of(table, outputs, stratum)
        hot = straight_through(logits, uniforms[:, :-1], temperature)
        scores = location + scale * jax.scipy.special.logit(uniforms[:, -1:])
        points, components = hot[:, : len(self.mass_points)], hot[:, len(self.mass_points) :]
        value = jnp.sum(components * self.value(table, scores), axis=1, keepdims=True)
        if self.integer:
            value = value + jax.lax.stop_gradient(jnp.rint(value) - value)
        value = value + points @ jnp.asarray(self.mass_points, jnp.float32)[:, None]
        inside = jnp.clip(scores, -table.reach, table.reach)
        score = jnp.sum(components * inside, axis=1, keepdims=True)
        raw = jnp.concatenate([score, value, points], axis=1)
        return (raw - table.center) / table.scale, None

    def log_density(
        self,
        table: MixtureTable,
        outputs: Array,
        stratum: Array,
        allowed: Any,
        code: Int[Array, " row"],
        score: Float[Array, " row"],
    ) -> Float[Array, " row"]:
        """Return the log probability of a mass point, or the log density of a score."""
        logits, location, scale = self._distribution_of(table, outputs, stratum)
        shares, points = jax.nn.log_softmax(logits, axis=1), len(self.mass_points)
        x = (score[:, None] - location) / scale
        parts = -jnp.abs(x) - 2 * jnp.log1p(jnp.exp(-jnp.abs(x))) - jnp.log(scale)
        continuous = jax.nn.logsumexp(shares[:, points:] + parts, axis=1)
        if not points:
            return continuous
        fixed = jnp.take_along_axis(shares, jnp.minimum(code, points - 1)[:, None], axis=1)[:, 0]
        return jnp.where(code < points, fixed, continuous)

    def draw(
        self,
        table: MixtureTable,
        outputs: Array,
        stratum: Array,
        allowed: Any,
        uniforms: Float[Array, "row 2"],
        coupled: bool,
    ) -> Float[Array, " row"]:
        """Draw values; ``coupled``: by inversion, monotone in the first uniform."""
        logits, location, scale = self._distribution_of(table, outputs, stratum)
        shares = jax.nn.softmax(logits, axis=1)
        if coupled:
            point, score = self._invert(table, shares, location, scale, uniforms[:, 0])
        else:
            part = inverse_index(shares, uniforms[:, 0])
            point = jnp.where(part < len(self.mass_points), part, -1)
            chosen = jnp.maximum(part - len(self.mass_points), 0)
            score = _component_score(location, scale, chosen, uniforms[:, 1])
        score = jnp.clip(score, -FARTHEST, FARTHEST)
        return self._finish(self.value(table, score), point)

    def off_mass_points(
        self, table: MixtureTable, outputs: Array, stratum: Array, uniforms: Float[Array, "row 2"]
    ) -> tuple[Float[Array, " row"], Float[Array, " row"]]:
        """Draw scores off mass points; return them, and the probability of no mass point."""
        logits, location, scale = self._distribution_of(table, outputs, stratum)
        shares = jax.nn.softmax(logits, axis=1)[:, len(self.mass_points) :]
        score = _component_score(
            location, scale, inverse_index(shares, uniforms[:, 0]), uniforms[:, 1]
        )
        return score, shares.sum(axis=1)

    def _finish(self, value: Array, chosen: Array) -> Float[Array, " row"]:
        """Round values off mass points, keep them inside the bounds, and put mass points in."""
        value = jnp.clip(value.astype(jnp.float64), self.lower, self.upper)
        if self.integer:
            value = jnp.clip(jnp.rint(value), np.ceil(self.lower), np.floor(self.upper))
        for point in self.mass_points:
            step = 1.0 if self.integer else 1e-9 * max(1.0, abs(point))
            beside = point - step if point >= self.upper else point + step
            value = jnp.where(value == point, beside, value)
        if not self.mass_points:
            return value
        return jnp.where(chosen >= 0, jnp.asarray(self.mass_points, jnp.float64)[chosen], value)

    def _distribution_of(
        self, table: MixtureTable, outputs: Array, stratum: Array
    ) -> tuple[Array, Array, Array]:
        """Return logits of the parts, and locations and scales of the components."""
        at, k = self.n_parts, self.components
        location = _component_locations(k) + outputs[:, at : at + k]
        scale = _component_scale(k) * jnp.exp(2 * jnp.tanh(outputs[:, at + k :] / 2))
        shift, stretch = table.moves[stratum, 0][:, None], jnp.exp(table.moves[stratum, 1])[:, None]
        return (
            table.log_share[stratum] + outputs[:, :at],
            shift + stretch * location,
            stretch * scale,
        )

    def logits(self, table: MixtureTable, outputs: Array, stratum: Array, allowed: Any) -> Array:
        """Return the log weights of mass points, and of all components together."""
        parts, at = self._distribution_of(table, outputs, stratum)[0], len(self.mass_points)
        rest = jax.nn.logsumexp(parts[:, at:], axis=1, keepdims=True)
        return jnp.concatenate([parts[:, :at], rest], axis=1)

    def _invert(self, table, shares, location, scale, uniform) -> tuple[Array, Array]:
        """Return mass point (or -1) and score at which the distribution function is ``uniform``.

        Mass points lie among the scores at their values, so larger noise is a larger value.
        """
        weights = shares[:, len(self.mass_points) :]

        def below(score: Array) -> Array:
            return jnp.sum(weights * jax.nn.sigmoid((score[:, None] - location) / scale), axis=1)

        chosen, shift = jnp.full(uniform.shape, -1), jnp.zeros_like(uniform)
        smaller = jnp.zeros_like(uniform)  # share of mass points below, whether a unit passes them
        for number, point in enumerate(self.mass_points):
            left = below(jnp.full_like(uniform, self._score_of_mass_point(table, point))) + smaller
            smaller = smaller + shares[:, number]
            here = (uniform >= left) & (uniform < left + shares[:, number])
            chosen = jnp.where(here, number, chosen)
            passed = uniform >= left + shares[:, number]
            shift = jnp.where(passed, smaller, shift)
        target = jnp.minimum(uniform - shift, jnp.sum(weights, axis=1) * (1 - 1e-6))

        def halve(_: Any, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = bracket
            middle = 0.5 * (low + high)
            up = below(middle) < target
            return jnp.where(up, middle, low), jnp.where(up, high, middle)

        ends = jnp.full_like(uniform, -FARTHEST), jnp.full_like(uniform, FARTHEST)
        low, high = jax.lax.fori_loop(0, BISECTIONS, halve, ends)
        return chosen, 0.5 * (low + high)

    def _score_of_mass_point(self, table: MixtureTable, point: float) -> Array:
        inside = self._score(table, jnp.asarray([point], jnp.float32))[0]
        beyond = jnp.where(point <= table.knots[0], -jnp.inf, inside)
        return jnp.where(point >= table.knots[-1], jnp.inf, beyond)

    def value(self, table: MixtureTable, score: Array) -> Array:
        """Map scores to values: linear between knots, saturating beyond."""
        step = 2 * table.reach / (self.n_knots - 1)
        place = jnp.clip((score + table.reach) / step, 0.0, self.n_knots - 1.0)
        left = jnp.minimum(place.astype(jnp.int32), self.n_knots - 2)
        low, high = table.knots[left], table.knots[left + 1]
        inner = low + (place - left) * (high - low)
        slope = (table.knots[jnp.array([1, -1])] - table.knots[jnp.array([0, -2])]) / step
        over = jnp.maximum(score - table.reach, 0.0)
        under = jnp.maximum(-score - table.reach, 0.0)
        inner = inner + table.room[1] * -jnp.expm1(-slope[1] * over / table.room[1])
        return inner - table.room[0] * -jnp.expm1(-slope[0] * under / table.room[0])

    def _score(self, table: MixtureTable, value: Array) -> Array:
        """Map values to scores, the inverse of `value`; the tails end at their knots' score."""
        scores = jnp.linspace(-1.0, 1.0, self.n_knots, dtype=jnp.float32) * table.reach
        return jnp.interp(value, table.knots, scores)


def _component_score(location: Array, scale: Array, chosen: Array, uniform: Array) -> Array:
    """Draw from the chosen component of each row."""
    location, scale = (
        jnp.take_along_axis(part, chosen[:, None], axis=1)[:, 0] for part in (location, scale)
    )
    return location + scale * jax.scipy.special.logit(uniform)


def _component_locations(k: int) -> Array:
    return jnp.asarray(1.2 * np.linspace(-1, 1, k) if k > 1 else np.zeros(1), jnp.float32)


def _component_weights(k: int) -> np.ndarray:
    locations = 1.2 * np.linspace(-1, 1, k) if k > 1 else np.zeros(1)
    weights = np.exp(-0.5 * locations**2)
    return weights / weights.sum()


def _component_scale(k: int) -> float:
    return 0.4 if k > 1 else 0.55
