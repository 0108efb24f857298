"""Petersen (2009): standard errors in finance panels with firm effects.

Aims        Which standard errors of pooled least squares are right when both the regressor and the
            error hold an effect of the firm?
Data        500 firms, 10 years, y = x + u, sd(x) = 1, sd(u) = 2; shares 0, .25, .5 and .75 of the
            variance of x and of u are firm effects.
Estimand    The slope, 1.
Methods     Pooled least squares with conventional and with firm-clustered standard errors;
            Fama & MacBeth (1973), the mean of yearly slopes.
Measures    Empirical and mean standard error, rejection of the true slope at 1 %.

Run it with ``mcsim run studies/petersen.py``. Published: Petersen (2009), Review of Financial
Studies 22: 435-480, Table 1, recomputed with 5,000 replications; the standard deviation of pooled
least squares is exact, .02828 sqrt(1 + 9 share^2).
"""

import jax.numpy as jnp
import pandas as pd

import mcsim
from mcsim.dgps import ErrorComponents
from mcsim.estimators import ols
from mcsim.report import write_comparison

SHARES = (0.0, 0.25, 0.5, 0.75)
PUBLISHED = {  # by estimator and standard error: mean standard errors, rejections
    ("pooled", "iid"): ((0.0283, 0.0283, 0.0283, 0.0283), (0.011, 0.038, 0.150, 0.308)),
    ("pooled", "CR1"): ((0.0283, 0.0353, 0.0508, 0.0695), (0.012, 0.010, 0.012, 0.011)),
    ("fama_macbeth", ""): ((0.0276, 0.0269, 0.0239, 0.0183), (0.036, 0.070, 0.250, 0.517)),
}


def fama_macbeth(key, panel):
    """Mean of the yearly slopes; its standard error takes the years as independent."""
    x = panel["x"] - panel["x"].mean(axis=0)
    slopes = (x * panel["y"]).sum(axis=0) / (x**2).sum(axis=0)
    error = jnp.std(slopes, ddof=1) / jnp.sqrt(len(slopes))
    return {"x": mcsim.Estimate(slopes.mean(), error)}


def study():
    """Four shares of firm effects, three standard errors."""
    firms = ErrorComponents(n_units=500, n_periods=10, sd=2.0)
    return mcsim.Study(
        aim="Which standard errors are right when regressor and error hold firm effects?",
        dgp={"firms": firms},
        designs=[mcsim.Design({"unit_share": share, "x_unit_share": share}) for share in SHARES],
        estimators={
            "pooled": ols("y ~ x", vcov=["iid", "CR1"]),
            "fama_macbeth": fama_macbeth,
        },
        null=1.0,
        level=0.99,
        reps=5000,
    )


def published():
    """Petersen's table: one row per figure; the spread of pooled least squares is exact."""
    rows = []
    for (estimator, inference), (errors, rejections) in PUBLISHED.items():
        for share, error, rejection in zip(SHARES, errors, rejections, strict=True):
            cell = {"unit_share": share, "estimator": estimator, "inference": inference}
            rows += [
                {**cell, "measure": "mean_se", "published": error, "decimals": 4},
                {**cell, "measure": "rejection", "published": rejection, "decimals": 3},
            ]
    table = pd.DataFrame(rows).assign(published_reps=5000)
    exact = [2 / (500 * 10) ** 0.5 * (1 + 9 * share**2) ** 0.5 for share in SHARES]
    pooled = {"estimator": "pooled", "inference": "iid", "measure": "empirical_se"}
    return pd.concat([table, pd.DataFrame({"unit_share": SHARES, "published": exact, **pooled})])


def report(results, folder):
    """Petersen's figures beside ours."""
    summary = results.summary(measures=["empirical_se", "mean_se", "rejection"])
    write_comparison(mcsim.compare(summary, published()), folder)
