"""Nickell (1981): the bias of fixed effects in a dynamic panel, and the half-panel jackknife.

Aims        How biased is the within estimator of an autoregression with unit effects in T periods,
            against the exact formula? How much of it does the half-panel jackknife take off?
Data        1,000 units, 5, 10 and 20 usable periods; y = rho y(-1) + eta + v, stationary, eta and
            v standard normal; rho .5 and .9.
Estimand    rho.
Methods     Within; the half-panel jackknife of Dhaene & Jochmans (2015), for odd T the mean of its
            two cuts.
Measures    Bias, empirical and model standard error, coverage.

Run it with ``mcsim run studies/nickell.py``. Published: Nickell (1981), Econometrica 49: 1417-1426,
equation 18, exact for many units; the jackknife's bias (Review of Economic Studies 82: 991-1030)
recomputed with 400 replications.
"""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

import mcsim
from mcsim.dgps import DynamicPanel
from mcsim.estimators import fixed_effects, half_panel_jackknife
from mcsim.report import results_table, write_comparison, write_table

MODEL = "y ~ y_lag | unit"
PERIODS = (5, 10, 20)
JACKKNIFE = {0.5: (-0.019, 0.006, 0.005), 0.9: (-0.098, -0.023, 0.004)}


def nickell_bias(rho, n_periods):
    """Asymptotic bias of the within estimator for many units (Nickell 1981, equation 18)."""
    a = 1 - (1 - rho**n_periods) / (n_periods * (1 - rho))
    first_order = (1 + rho) / (n_periods - 1) * a
    return -first_order / (1 - 2 * rho * a / ((1 - rho) * (n_periods - 1)))


def study():
    """Two degrees of persistence by three lengths."""
    return mcsim.Study(
        aim="How biased are fixed effects in a dynamic panel, and what is left after a jackknife?",
        dgp={"autoregression": DynamicPanel(n_units=1000, beta=None)},
        designs=mcsim.grid(alpha=list(JACKKNIFE), n_periods=list(PERIODS)),
        estimators={
            "within": fixed_effects(MODEL, vcov="CR1"),
            "half_panel_jackknife": half_panel_jackknife(MODEL),
        },
        reps=1000,
    )


def published():
    """The exact bias of within, and the recomputed one of the jackknife."""
    exact = [
        {"estimator": "within", "alpha": rho, "n_periods": n, "published": nickell_bias(rho, n)}
        for rho in JACKKNIFE
        for n in PERIODS
    ]
    recomputed = [
        {"estimator": "half_panel_jackknife", "alpha": rho, "n_periods": n, "published": bias}
        for rho, biases in JACKKNIFE.items()
        for n, bias in zip(PERIODS, biases, strict=True)
    ]
    recomputed = pd.DataFrame(recomputed).assign(published_reps=400, decimals=3)
    return pd.concat([pd.DataFrame(exact), recomputed]).assign(measure="bias")


def report(results, folder):
    """Biases beside the formula; the curves."""
    summary = results.summary(measures=["bias"])
    write_comparison(mcsim.compare(summary, published()), folder)
    table = results_table(results, measures=["bias", "empirical_se", "model_se", "coverage"])
    write_table(table, folder, "results")
    draw(summary).savefig(Path(folder) / "bias.png", dpi=100)


def draw(summary):
    """Bias by length: points ours, lines the formula."""
    figure = Figure(figsize=(7.0, 3.2), layout="constrained")
    lengths = range(min(PERIODS), max(PERIODS) + 1)
    for axes, rho in zip(figure.subplots(1, len(JACKKNIFE), sharey=True), JACKKNIFE, strict=True):
        axes.plot(lengths, [nickell_bias(rho, n) for n in lengths], "k-", lw=0.8, label="Nickell")
        for estimator, rows in summary[summary["alpha"] == rho].groupby("estimator"):
            bars = 2 * rows["bias_mcse"]
            axes.errorbar(rows["n_periods"], rows["bias"], bars, fmt="o", label=estimator)
        axes.axhline(0, color="black", linewidth=0.4)
        axes.set_title(f"rho = {rho}")
        axes.set_xlabel("usable periods")
    figure.axes[0].set_ylabel("bias")
    figure.axes[1].legend(frameon=False, fontsize="small")
    return figure
