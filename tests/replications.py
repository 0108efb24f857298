"""Replications of two methods, some of which failed."""

import numpy as np
import pandas as pd

METHODS = ("ols", "iv")


def study(seed: int = 0, n: int = 40, cells: int = 1, tails: float = 0.0) -> pd.DataFrame:
    """Two correlated methods with failures, missing SEs, varying truth and df, some limits."""
    rng = np.random.default_rng(seed)
    shape = (cells, n)
    common, truth = rng.normal(size=shape), 1 + 0.3 * rng.normal(size=shape)
    frames = []
    for shift, method in enumerate(METHODS):
        noise = rng.standard_t(tails, size=shape) if tails else rng.normal(size=shape)
        value = truth + 0.2 * shift + 0.6 * common + 0.8 * (1 + shift) * noise
        se = np.sqrt(rng.chisquare(12, size=shape) / 12) * (1 + 0.5 * shift)
        frame = pd.DataFrame({"value": value.ravel(), "se": se.ravel(), "truth": truth.ravel()})
        frame["df"] = np.where(rng.random(cells * n) < 0.5, 12.0, np.nan)
        frame["cell"], frame["rep"] = np.repeat(np.arange(cells), n), np.tile(np.arange(n), cells)
        frame["method"], frame["status"] = method, "ok"
        failed, no_se = rng.random((2, cells * n)) < [[0.1], [0.08]]
        frame.loc[no_se, "se"] = np.nan
        frame.loc[failed, ["value", "status"]] = [np.nan, "singular"]
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)
