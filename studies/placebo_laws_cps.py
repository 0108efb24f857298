"""Bertrand, Duflo & Mullainathan (2004): placebo laws on the wages of women, 1979 to 1999.

Aims        How often does a difference in differences find an effect of laws that never were, on
            real wages? Which remedies work?
Data        Mean log weekly wages of women of 25 to 50 by state and year (Current Population
            Survey), 50 states. A year is drawn from 1985 to 1995, half of the states are treated
            from then on: on the panel as it is, on states drawn with replacement (50, 10 or 6),
            with laws on in ten random years, and with an effect of 2 %.
Estimand    The effect: 0, or .02.
Methods     Two-way fixed effects with conventional errors and errors clustered by state; wages in
            first differences on the law and year effects.
Measures    Rejection of no effect at 5 %.

Run it with ``mcsim run studies/placebo_laws_cps.py``; it needs the data set cps_state_wages.
Published: Bertrand, Duflo & Mullainathan (2004), Quarterly Journal of Economics 119: 249-275,
Tables II and VIII; the figures compared with are a recomputation on these data with 4,000
replications, because the paper's extract and its 200 to 400 replications differ.
"""

import pandas as pd

import mcsim
from mcsim.dgps import Bootstrap, at_random, in_random_periods, with_effect
from mcsim.estimators import did, fixed_effects
from mcsim.report import write_comparison

FIGURES = {  # (dgp, estimator, inference): the paper's, the recomputation's
    ("placebo", "did", "iid"): (0.435, 0.437),
    ("resampled", "did", "iid"): (0.49, 0.426),
    ("random years", "did", "iid"): (0.05, 0.060),
    ("placebo", "differences", "iid"): (0.0, 0.0005),
    ("effect of 2 %", "did", "iid"): (0.72, 0.659),
    ("placebo", "did", "CR1, z"): (0.063, 0.059),
    ("10 states", "did", "CR1, z"): (0.08, 0.078),
    ("6 states", "did", "CR1, z"): (0.115, 0.122),
}


def data():
    """Log wages of 50 states from 1979 to 1999."""
    frame = mcsim.datasets.load("cps_state_wages")
    frame = frame[frame["year"] <= 1999]
    return mcsim.from_frame(frame, unit="state", time="year", columns=["log_wage"])


def study():
    """Placebo laws on the real panel, on resampled states, and with an effect."""
    panel, schema = data()
    laws = at_random(share=0.5, start=(6, 16))
    law = {"outcome": "log_wage", "schema": schema}

    def resampled(n):
        return Bootstrap(panel, schema=schema, n_units=n)

    return mcsim.Study(
        aim="How often does a difference in differences find effects of laws that never were?",
        dgp={
            "placebo": with_effect(panel, assignment=laws, **law),
            "resampled": with_effect(resampled(50), assignment=laws, **law),
            "10 states": with_effect(resampled(10), assignment=laws, **law),
            "6 states": with_effect(resampled(6), assignment=laws, **law),
            "random years": with_effect(
                panel, assignment=in_random_periods(share=0.5, n_treated_periods=10), **law
            ),
            "effect of 2 %": with_effect(panel, assignment=laws, effect=0.02, **law),
        },
        estimators={
            "did": did("log_wage ~ d", vcov=["iid", "CR1"]),
            "differences": fixed_effects(
                "I(log_wage - lag(log_wage)) ~ d | time", term="d", estimand="att", vcov="iid"
            ),
        },
        reps=4000,
    )


def published():
    """Rejections of the recomputation, one row per figure."""
    names = ("dgp", "estimator", "inference")
    rows = [{**dict(zip(names, k, strict=True)), "published": v[1]} for k, v in FIGURES.items()]
    return pd.DataFrame(rows).assign(measure="rejection", published_reps=4000, decimals=3)


def report(results, folder):
    """The recomputation's figures beside ours."""
    rows = results.replicates
    own = ["lower", "upper", "df", "p_value"]
    normal = rows[rows["inference"] == "CR1"].drop(columns=own).assign(inference="CR1, z")
    by = ["dgp", "inference"]
    summary = pd.concat(
        mcsim.summarize(part, by=by, method="estimator", measures=["rejection"])
        for part in (rows, normal)
    )
    write_comparison(mcsim.compare(summary, published()), folder)
