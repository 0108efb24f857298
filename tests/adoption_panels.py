"""Panels with dates of adoption, and estimators of the effects of treatment on them.

The figures of diff-diff and pyfixest were made by tests/references/did_reference.py.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from mcsim import Panel
from mcsim.estimators import callaway_santanna, did, event_study, imputation

DATA = Path(__file__).parent / "references"
REFERENCE = json.loads((DATA / "did_reference.json").read_text())
FRAME = pd.read_csv(DATA / "did_panel.csv")
EXACT = {"rtol": 1e-8, "atol": 1e-11}
KEY = jax.random.key(0)
METHODS = {
    "did": did("y ~ d"),
    "event_study": event_study("y ~ d", leads=1, lags=1),
    "callaway_santanna": callaway_santanna("y ~ d"),
    "imputation": imputation("y ~ d"),
}
WITH_COVARIATES = {
    "did": did("y ~ d | z"),
    "event_study": event_study("y ~ d | z", leads=1, lags=1),
    "dr": callaway_santanna("y ~ d | z", control="notyet"),
    "reg": callaway_santanna("y ~ d | z", method="reg"),
    "ipw": callaway_santanna("y ~ d | z", method="ipw"),
    "imputation": imputation("y ~ d | z"),
}


def columns_of(frame: pd.DataFrame = FRAME) -> dict[str, np.ndarray]:
    """Columns of the reference panel, one row per unit."""
    return {name: frame[name].to_numpy(float).reshape(-1, 6) for name in ("y", "d", "x", "z")}


def reference_panel(name: str = "balanced") -> Panel:
    columns = columns_of(FRAME[FRAME.start > 0] if name == "treated" else FRAME)
    kept = FRAME["kept"].to_numpy().reshape(-1, 6) == 1
    return Panel(columns, jnp.asarray(kept) if name == "unbalanced" else None)


def three_cohorts(size: int = 2) -> dict[str, np.ndarray]:
    """Never, late (from period 3) and early (from 1) adopters; the effect grows by exposure."""
    start = np.repeat([5, 3, 1], size)
    event = np.arange(5) - start[:, None]
    d = (event >= 0).astype(float)
    y = np.arange(3 * size)[:, None] ** 1.5 + np.array([0.0, 2.0, -1.0, 0.5, 3.0])
    return {"y": y + d * (event + 1), "d": d}


def staggered(seed: int, n: int = 40, n_periods: int = 6) -> dict[str, np.ndarray]:
    """A random panel with cohorts of every period but the first, and never-treated units."""
    rng = np.random.default_rng(seed)
    start = 1 + np.arange(n) % n_periods
    event = np.arange(n_periods) - rng.permutation(start)[:, None]
    d = (event >= 0).astype(float)
    z = rng.normal(size=d.shape)
    trend = rng.normal(size=(n, 1)) + np.arange(n_periods)
    y = trend + 0.5 * z + d * (1 + event + rng.normal(size=(n, 1)))
    return {"y": y + rng.normal(size=d.shape), "d": d, "z": z}


def values(estimator, panel: Panel, key=KEY) -> dict[str, tuple[float, float]]:
    """Values and standard errors by estimand, of the estimator's one variance."""
    found = estimator(key, panel)
    return {name: (float(e.value), float(e.se)) for (name, _), e in found.items()}


def att(estimator, columns, mask=None, key=KEY):
    found = estimator(key, Panel(columns, mask))
    return list(found.values())[-1]  # the average over all parts stands last


def statuses(estimator, columns, mask=None) -> set[int]:
    return {int(e.status) for e in estimator(KEY, Panel(columns, mask)).values()}


def given_up_for_good(c):
    """One unit, in the last period: the others stay treated."""
    d = c["d"].copy()
    d[np.flatnonzero(d[:, -1])[0], -1] = 0
    return c | {"d": d}


def no_never_treated(c):
    return c | {"d": np.maximum(c["d"], np.arange(6) == 5)}
