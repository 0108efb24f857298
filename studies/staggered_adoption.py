"""Staggered adoption: two-way fixed effects against estimators that allow effects to differ.

Aims        What do two-way fixed effects estimate when early and late adopters differ and effects
            grow with exposure? Which standard errors cover?
Data        Three equal cohorts: never treated, from the 4th and from the 2nd of five periods.
            Effects of 1, 2, 3, ... by exposure; two-way effects, with and without noise.
Estimand    The average effect over treated cells, 2.1667.
Methods     Two-way fixed effects, Callaway & Sant'Anna (2021), Borusyak, Jaravel & Spiess (2024).
Measures    Bias, empirical and model standard error, RMSE, coverage.

Run it with ``mcsim run studies/staggered_adoption.py``. The example is exact: with the weights of
de Chaisemartin & D'Haultfoeuille (2020), American Economic Review 110: 2964-2996, two-way fixed
effects give 1.25, the others 13/6.
"""

import pandas as pd

import mcsim
from mcsim.dgps import ErrorComponents, by_cohort, by_exposure, with_effect
from mcsim.estimators import callaway_santanna, did, imputation
from mcsim.report import write_comparison

TWFE, ATT = 1.25, 13 / 6


def study():
    """The same cohorts and effects without noise and with."""
    panel = {"n_units": 60, "n_periods": 5, "beta": None}
    cohorts, growing = by_cohort({3: 1 / 3, 1: 1 / 3}), by_exposure([1, 2, 3, 4])
    without = ErrorComponents(**panel, unit_share=0.5, time_share=0.5)
    noisy = ErrorComponents(**panel, sd=2.0, unit_share=0.4, time_share=0.2, rho=0.5)
    return mcsim.Study(
        aim="What do two-way fixed effects estimate when effects grow with exposure?",
        dgp={
            name: with_effect(source, outcome="y", assignment=cohorts, effect=growing)
            for name, source in {"exact": without, "noisy": noisy}.items()
        },
        estimators={
            "twfe": did("y ~ d"),
            "callaway_santanna": callaway_santanna("y ~ d"),
            "imputation": imputation("y ~ d"),
        },
        reps=4000,
    )


def published():
    """The bias of each estimator, exact; it does not depend on the noise."""
    biases = {"twfe": TWFE - ATT, "callaway_santanna": 0.0, "imputation": 0.0}
    rows = [
        {"dgp": dgp, "estimator": estimator, "measure": "bias", "published": bias}
        for dgp in ("exact", "noisy")
        for estimator, bias in biases.items()
    ]
    return pd.DataFrame(rows)


def report(results, folder):
    """The exact biases beside ours."""
    write_comparison(mcsim.compare(results.summary(measures=["bias"]), published()), folder)
