"""A column with few values: binary, categorical, or an integer with at most 64 levels.

Its distribution given the columns before is a softmax over the values seen in training. An integer
with many levels (age) is an exponential tilt of its marginal distribution: the heaps of the data
stay, and the columns before enter by a polynomial, or level by level where rows are many
(``free``).
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

FREE_LEVELS = 16  # most levels with a logit each
TILT_DEGREE = 4  # with more levels, the logits follow polynomials of this degree
FORBIDDEN = -1e9  # the logit of a level that is never drawn
NARROW = 0.25  # least standard deviation by which an indicator is divided
PRIOR_ROWS = 20.0  # prior rows by which a stratum's shares are shrunk to the shares of all rows


class LevelsTable(NamedTuple):
    """Shares and scales of a column in the training rows; the last row is for unseen strata."""

    log_share: Any  # (stratum, level)
    center: Any  # (feature,)
    scale: Any  # (feature,)


@dataclass(frozen=True)
class Levels:
    """The head of a column with few values."""

    name: str
    values: tuple[float, ...]
    ordered: bool
    free: bool = False

    @property
    def many(self) -> bool:
        """Whether there are too many levels for indicators of each, and for raking."""
        return self.ordered and len(self.values) > FREE_LEVELS

    @property
    def tilted(self) -> bool:
        """Whether the logits follow polynomials of the values."""
        return self.many and not self.free

    @property
    def n_parts(self) -> int:
        """Number of levels."""
        return len(self.values)

    @property
    def n_outputs(self) -> int:
        """Number of outputs of the network."""
        return TILT_DEGREE if self.tilted else len(self.values)

    @property
    def n_indicators(self) -> int:
        """Number of indicators of levels among the features."""
        return 0 if self.many else len(self.values) - 1

    @property
    def n_features(self) -> int:
        """Number of features of a value, for networks and moments."""
        return self.n_indicators + (self.ordered and len(self.values) > 2)

    @property
    def spread_floor(self) -> np.ndarray:
        """Least divisor of each feature."""
        return np.where(np.arange(self.n_features) < self.n_indicators, NARROW, 1e-20)

    def table(self, values: np.ndarray, strata: np.ndarray, n_strata: int) -> LevelsTable:
        """Describe training values (row,) and their strata; features are not yet normalized."""
        counts = np.stack([values == level for level in self.values], axis=1).astype(float)
        shares = shares_by_stratum(counts, strata, n_strata)
        log_share = np.where(shares > 0, np.log(np.maximum(shares, 1e-12)), FORBIDDEN)
        zeros = np.zeros(self.n_features, np.float32)
        return LevelsTable(log_share.astype(np.float32), zeros, zeros + 1)

    def shares(self, values: np.ndarray, strata: np.ndarray, n_strata: int) -> np.ndarray | None:
        """Return the target shares (stratum, level) of draws; None without targets."""
        if self.many:
            return None
        hot = np.stack([values == level for level in self.values], axis=1)
        return np.stack([hot[strata == stratum].mean(axis=0) for stratum in range(n_strata)])

    def moments(self, values: np.ndarray, strata: np.ndarray, n_strata: int) -> None:
        """Return None: shares describe levels."""

    def index(self, values: Array) -> Int[Array, " row"]:
        """Return the number of each value's level; -1 where it is no level."""
        equal = values[:, None] == jnp.asarray(self.values)
        return jnp.where(equal.any(axis=1), equal.argmax(axis=1), -1).astype(jnp.int32)

    def score(self, table: LevelsTable, values: Array) -> Float[Array, " row"]:
        """Return zeros, since levels have no scores."""
        return jnp.zeros(len(values), jnp.float32)

    def encode(self, table: LevelsTable, values: Array) -> Float[Array, "row feature"]:
        """Return the features of given values (row,); NaN for a value that is no level."""
        hot = (values[:, None] == jnp.asarray(self.values)).astype(jnp.float32)
        return jnp.where(hot.any(axis=1, keepdims=True), self._features(table, hot), jnp.nan)

    @property
    def n_noise(self) -> int:
        """Number of uniforms of a relaxed draw."""
        return self.n_parts

    def relaxed(
        self,
        table: LevelsTable,
        outputs: Array,
        stratum: Array,
        allowed: Bool[Array, "#row level"],
        uniforms: Float[Array, "row level"],
        temperature: Array,
    ) -> tuple[Array, Array]:
        """Draw features that pass gradients (straight-through Gumbel softmax), and the levels.

        References
        ----------
        Jang, Gu & Poole (2017), Categorical reparameterization with Gumbel-softmax, ICLR.
        """
        hot = straight_through(self.logits(table, outputs, stratum, allowed), uniforms, temperature)
        return self._features(table, hot), hot.argmax(axis=1).astype(jnp.int32)

    def log_density(
        self,
        table: LevelsTable,
        outputs: Array,
        stratum: Array,
        allowed: Bool[Array, "#row level"],
        code: Int[Array, " row"],
        score: Float[Array, " row"],
    ) -> Float[Array, " row"]:
        """Return the log probability of each row's level."""
        shares = jax.nn.log_softmax(self.logits(table, outputs, stratum, allowed), axis=1)
        return jnp.take_along_axis(shares, jnp.maximum(code, 0)[:, None], axis=1)[:, 0]

    def draw(
        self,
        table: LevelsTable,
        outputs: Array,
        stratum: Array,
        allowed: Bool[Array, "#row level"],
        uniforms: Float[Array, "row 2"],
        coupled: bool,
    ) -> Float[Array, " row"]:
        """Draw values by inverting the cumulative distribution: monotone in the first uniform."""
        shares = jax.nn.softmax(self.logits(table, outputs, stratum, allowed), axis=1)
        return jnp.asarray(self.values, jnp.float64)[inverse_index(shares, uniforms[:, 0])]

    def logits(self, table: LevelsTable, outputs: Array, stratum: Array, allowed: Array) -> Array:
        """Return the log weights of the levels."""
        if self.tilted:
            x = np.asarray(self.values)
            x = 2 * (x - x[0]) / (x[-1] - x[0]) - 1
            basis = np.polynomial.legendre.legvander(x, TILT_DEGREE)[:, 1:]
            outputs = 2.0 * outputs @ jnp.asarray(basis.T, jnp.float32)
        base = table.log_share[stratum]
        return jnp.where(allowed & (base > FORBIDDEN / 2), base + outputs, FORBIDDEN)

    def _features(self, table: LevelsTable, hot: Array) -> Float[Array, "row feature"]:
        parts = [] if self.many else [hot[:, 1:]]
        if self.ordered and len(self.values) > 2:
            parts.append(hot @ jnp.asarray(self.values, jnp.float32)[:, None])
        return (jnp.concatenate(parts, axis=1) - table.center) / table.scale


def shares_by_stratum(counts: np.ndarray, strata: np.ndarray, n_strata: int) -> np.ndarray:
    """Return shares (stratum, part), shrunk to the shares of all rows, which are the last row."""
    overall = counts.mean(axis=0)
    overall = overall / overall.sum()
    sums = np.stack([counts[strata == stratum].sum(axis=0) for stratum in range(n_strata)])
    shares = (sums + PRIOR_ROWS * overall) / (sums.sum(axis=1, keepdims=True) + PRIOR_ROWS)
    return np.concatenate([shares, overall[None]])


def straight_through(logits: Array, uniforms: Array, temperature: Array) -> Array:
    """Draw one-hot rows with the gradient of the relaxed draw."""
    noisy = logits - jnp.log(-jnp.log(uniforms))
    soft = jax.nn.softmax(noisy / temperature, axis=1)
    hard = jax.nn.one_hot(noisy.argmax(axis=1), logits.shape[1], dtype=jnp.float32)
    return soft + jax.lax.stop_gradient(hard - soft)


def inverse_index(shares: Float[Array, "row level"], uniform: Float[Array, " row"]) -> Array:
    """Return the smallest level whose cumulative share exceeds the uniform, among shares > 0."""
    cumulative = jnp.cumsum(shares, axis=1)
    below = uniform[:, None] * cumulative[:, -1:] >= cumulative
    index = jnp.sum(below, axis=1)
    last = shares.shape[1] - 1 - jnp.argmax(shares[:, ::-1] > 0, axis=1)
    return jnp.minimum(index, last)
