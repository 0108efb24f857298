"""Estimators of the contest in NumPy and statsmodels, as one writes them by hand.

Arrays have a first axis of samples: one sample, or all of them at once.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class FewRegressors:
    """y on x and a constant with HC1, written out."""

    n: int

    def run(self, samples: int) -> np.ndarray:
        """Draw and estimate."""
        x, noise = RNG.normal(size=(2, samples, self.n))
        return self.fit(x + noise, x)

    def fit(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return slopes and their standard errors (sample, 2)."""
        y, x = y - y.mean(-1, keepdims=True), x - x.mean(-1, keepdims=True)
        squares = (x * x).sum(-1)
        slope = (x * y).sum(-1) / squares
        scores = x * (y - slope[:, None] * x)
        variance = self.n / (self.n - 2) * (scores * scores).sum(-1) / squares**2
        return np.stack([slope, np.sqrt(variance)], -1)


@dataclass(frozen=True)
class TwoWay:
    """y on d and x with unit and period effects and CR1 by unit, written out."""

    units: int
    periods: int

    def run(self, samples: int) -> np.ndarray:
        """Draw, treat half of the units from the middle period on, and estimate."""
        x, noise = RNG.normal(size=(2, samples, self.units, self.periods))
        treated = RNG.random((samples, self.units)).argsort(-1) < self.units // 2
        after = np.arange(self.periods) >= self.periods // 2
        return self.fit(x + noise, treated[:, :, None] * (1.0 * after), x)

    def fit(self, y: np.ndarray, d: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return coefficients of d and their standard errors (sample, 2)."""
        y, d, x = map(_demeaned, (y, d, x))
        dd, dx, xx = ((a * b).sum((1, 2)) for a, b in ((d, d), (d, x), (x, x)))
        dy, xy = (d * y).sum((1, 2)), (x * y).sum((1, 2))
        determinant = dd * xx - dx**2
        b, c = (xx * dy - dx * xy) / determinant, (dd * xy - dx * dy) / determinant
        residual = y - b[:, None, None] * d - c[:, None, None] * x
        loading = (xx[:, None, None] * d - dx[:, None, None] * x) / determinant[:, None, None]
        scores = (loading * residual).sum(2)
        return np.stack([b, np.sqrt(self.factor * (scores * scores).sum(1))], -1)

    @property
    def factor(self) -> float:
        """The small-sample factor of fixest: unit effects are nested in the clusters."""
        n, t = self.units, self.periods
        return n / (n - 1) * (n * t - 1) / (n * t - 2 - t)


def _demeaned(a: np.ndarray) -> np.ndarray:
    of_units, of_periods = a.mean(-1, keepdims=True), a.mean(-2, keepdims=True)
    return a - of_units - of_periods + of_periods.mean(-1, keepdims=True)


def att_by_aipw(frame: Any) -> tuple[float, float]:
    """The ATT and its sandwich standard error: statsmodels' logit and regression, then arrays."""
    import statsmodels.api as sm

    y, d = frame["y"].to_numpy(), frame["d"].to_numpy()
    x = sm.add_constant(frame[["a", "b", "c"]].to_numpy())
    score = sm.Logit(d, x).fit(disp=0, method="newton", tol=1e-12)
    outcome = sm.OLS(y[d == 0], x[d == 0]).fit()
    p, residual = score.predict(x), y - x @ outcome.params
    treated, odds = d / d.sum(), (1 - d) * p / (1 - p)
    odds /= odds.sum()
    difference = residual @ treated, residual @ odds
    influence = treated * (residual - difference[0]) - odds * (residual - difference[1])
    by_logit = np.linalg.solve(x.T @ (x * (p * (1 - p))[:, None]), x.T)
    by_logit = by_logit.T @ (x.T @ (odds * (residual - difference[1])))
    by_outcome = np.linalg.solve(x[d == 0].T @ x[d == 0], x.T).T @ (x.T @ (odds - treated))
    influence += (1 - d) * residual * by_outcome - (d - p) * by_logit
    return difference[0] - difference[1], np.sqrt(influence @ influence)
