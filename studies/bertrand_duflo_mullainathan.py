"""Bertrand, Duflo & Mullainathan (2004): placebo laws on autocorrelated states.

Aims        How often does a difference in differences find an effect of laws that never were?
Data        50 states, 21 years, normal AR(1) outcomes that start stationary. A year is drawn from
            the 7th to the 17th, half of the states are treated from then on. Also 20, 10 and 6
            states; and 11, 7, 5 and 3 years with the law in the middle.
Estimand    The effect, 0.
Methods     Two-way fixed effects, with conventional errors (OLS) and errors clustered by state.
Measures    Rejection of no effect at 5 %; for clusters with the normal and with the t(G - 1)
            distribution.

Run it with ``mcsim run studies/bertrand_duflo_mullainathan.py``; the same laws on the CPS panel
are ``studies/placebo_laws_cps.py``. Published: Bertrand, Duflo & Mullainathan (2004), Quarterly
Journal of Economics 119: 249-275, Tables II to VIII; the figures here are a recomputation with
4,000 replications (the paper has 200 to 400).
"""

import pandas as pd

import mcsim
from mcsim.dgps import ErrorComponents, at_random, with_effect
from mcsim.estimators import did
from mcsim.report import write_comparison

BY_RHO = {-0.4: 0.003, 0.0: 0.047, 0.2: 0.098, 0.4: 0.184, 0.6: 0.269, 0.8: 0.396}
BY_STATES = {6: (0.408, 0.124, 0.064), 10: (0.412, 0.082, 0.048), 20: (0.398, 0.066, 0.052)}
BY_YEARS = {11: 0.322, 7: 0.214, 5: 0.158, 3: 0.078}


def study():
    """Placebo laws by autocorrelation, by number of states and by number of years."""
    states = ErrorComponents(n_units=50, n_periods=21, beta=None)
    laws = at_random(share=0.5, start=(6, 16))
    middle = [{"n_units": 50, "n_periods": n, "rho": 0.8, "start": n // 2} for n in BY_YEARS]
    return mcsim.Study(
        aim="How often does a difference in differences find an effect of placebo laws?",
        dgp={"ar1": with_effect(states, outcome="y", assignment=laws)},
        estimators={"did": did("y ~ d", vcov=["iid", "CR1"])},
        designs=[
            *mcsim.grid(n_units=50, n_periods=21, rho=list(BY_RHO)),
            *mcsim.grid(n_units=list(BY_STATES), n_periods=21, rho=[0.8]),
            *(mcsim.Design(cell) for cell in middle),
        ],
        reps=4000,
    )


def published():
    """Rejections of the recomputation: one row per figure; "CR1, z" is normal, CR1 is t."""
    states, years = {"n_units": 50, "n_periods": 21}, {"n_units": 50, "rho": 0.8}
    rows = [{**states, "rho": rho, "inference": "iid", "published": x} for rho, x in BY_RHO.items()]
    for n, figures in BY_STATES.items():
        for inference, figure in zip(("iid", "CR1, z", "CR1"), figures, strict=True):
            cell = {"n_units": n, "n_periods": 21, "rho": 0.8, "inference": inference}
            rows.append({**cell, "published": figure})
    rows += [
        {**years, "n_periods": n, "inference": "iid", "published": x} for n, x in BY_YEARS.items()
    ]
    return pd.DataFrame(rows).assign(measure="rejection", published_reps=4000, decimals=3)


def report(results, folder):
    """The paper's figures beside ours; rejections by autocorrelation."""
    summary = pd.concat([rejections(results), rejections(results, normal=True)])
    write_comparison(mcsim.compare(summary, published()), folder)


def rejections(results, normal=False):
    """Rejection rates by cell and standard error, with the normal distribution if asked for."""
    rows = results.replicates
    if normal:
        own = ["lower", "upper", "df", "p_value"]
        rows = rows[rows["inference"] == "CR1"].drop(columns=own).assign(inference="CR1, z")
    by = ["n_units", "n_periods", "rho", "inference"]
    return mcsim.summarize(rows, by=by, measures=["rejection"])
