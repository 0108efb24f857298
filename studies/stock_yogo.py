"""Stock & Yogo (2005): the size of tests with a weak instrument.

Aims        How far from 5 % is the rejection rate of the t test of two-stage least squares, by
            strength of the instrument? What does a first-stage F above 10 tell?
Data        The weak-instrument limit: one endogenous regressor, one instrument; errors of the two
            equations with correlation .8, .95 and (nearly) 1; the instrument as strong as its
            critical values for sizes of 10, 15, 20 and 25 % say (concentration 5.771, 1.818, .876
            and .499), and concentration 4.
Estimand    The coefficient, 0.
Methods     Two-stage least squares; LIML is the same with one instrument.
Measures    Rejection of the truth at 5 %, also given a first-stage F above 10; median bias and
            median absolute deviation, because the estimate has no moments.

Run it with ``mcsim run studies/stock_yogo.py``. Published: Stock & Yogo (2005), Testing for weak
instruments in linear IV regression, in: Identification and Inference for Econometric Models,
Cambridge University Press, 80-108; the figures here are a recomputation of its asymptotic design
with 400,000 replications.
"""

import pandas as pd

import mcsim
from mcsim.dgps import LinearIV
from mcsim.estimators import iv_2sls
from mcsim.report import write_comparison, write_table

STRENGTHS = (5.771, 1.818, 0.876, 0.499)  # of maximal size 10, 15, 20, 25 %
SIZES = {
    0.999: (0.102, 0.146, 0.196, 0.248),
    0.95: (0.095, 0.140, 0.186, 0.235),
    0.8: (0.081, 0.103, 0.115, 0.122),
}
PRETEST = {"rho": 0.95, "concentration": 4.0}  # rejects .108, given F > 10 it rejects .70


def study():
    """Strength of the instrument by correlation of the errors."""
    return mcsim.Study(
        aim="How large is the test of two-stage least squares with a weak instrument?",
        dgp={"limit": LinearIV(n_units=1000, instruments="limit")},
        estimators={"2sls": iv_2sls("y ~ 1 | d ~ z1", vcov="iid", ssc="none", first_stage=True)},
        designs=[
            *mcsim.grid(rho=list(SIZES), concentration=list(STRENGTHS)),
            mcsim.Design(PRETEST),
        ],
        reps=100_000,
    )


def published():
    """Rejection rates at 5 %, all and given a first-stage F above 10."""
    rows = [
        {"rho": rho, "concentration": strength, "given": "", "published": size}
        for rho, sizes in SIZES.items()
        for strength, size in zip(STRENGTHS, sizes, strict=True)
    ]
    rows += [{**PRETEST, "given": "", "published": 0.108, "decimals": 3}]
    rows += [{**PRETEST, "given": "F > 10", "published": 0.70, "decimals": 2}]
    table = pd.DataFrame(rows).fillna({"decimals": 3})
    return table.assign(measure="rejection", published_reps=400_000)


def report(results, folder):
    """Sizes beside the published ones; medians, which exist where means do not."""
    rows = results.replicates
    coefficient = rows[rows["estimand"] == "d"].assign(given="")
    cell = ["rho", "concentration", "rep"]
    strength = rows[rows["estimand"] == "first_stage_F"].set_index(cell)["value"]
    strong = coefficient.join(strength.rename("F"), on=cell)["F"] > 10
    by = ["rho", "concentration", "given"]
    pretested = coefficient[strong].assign(given="F > 10")
    summary = mcsim.summarize(
        pd.concat([coefficient, pretested]), by=by, measures=["rejection", "median_bias", "mad"]
    )
    write_comparison(mcsim.compare(summary, published()), folder)
    medians = summary[summary["given"] == ""][["rho", "concentration", "median_bias", "mad"]]
    write_table(medians.round(3).astype(str), folder, "medians")
