"""The same with arrays of all samples: ``small_study_numpy.py REPS``."""

import sys

import numpy as np


def ols_hc1(x, y):
    """Return coefficients and HC1 standard errors, (sample, regressor)."""
    n, k = x.shape[1:]
    inverse = np.linalg.inv(np.swapaxes(x, 1, 2) @ x)
    coef = (inverse @ (np.swapaxes(x, 1, 2) @ y[..., None]))[..., 0]
    scores = x * (y - (x @ coef[..., None])[..., 0])[..., None]
    variance = inverse @ (np.swapaxes(scores, 1, 2) @ scores) @ inverse * n / (n - k)
    return coef, np.sqrt(np.diagonal(variance, axis1=1, axis2=2))


if __name__ == "__main__":
    rng, reps = np.random.default_rng(0), int(sys.argv[1])
    for selection in (0.0, 1.0):
        a, b, lot, noise = rng.normal(size=(4, reps, 200))
        d = (selection * a + lot > 0) * 1.0
        y = d + a + b + noise
        for k in range(1, 4):
            coef, se = ols_hc1(np.stack([d, np.ones_like(d), a, b][: k + 1], axis=-1), y)
            error, se = coef[:, 0] - 1.0, se[:, 0]
            covered = np.abs(error) < 1.96 * se
            print(selection, k, error.mean(), error.std(), se.mean(), covered.mean())
