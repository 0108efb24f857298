"""Arkhangelsky et al. (2021): coverage of synthetic difference in differences.

Aims        Do bootstrap, jackknife and placebo standard errors of synthetic difference in
            differences (SDID), synthetic control (SC) and demeaned synthetic control (DIFP) cover?
Data        Three of the designs of ``synthetic_did.py``: the baseline, treatment at random, and
            unemployment as the outcome.
Estimand    The effect on the treated, 0.
Methods     SDID, SC, DIFP with bootstrap and placebo (200 resamples each) and with two jackknives:
            one refits the weights, one keeps them, which is the authors' algorithm 3.
Measures    Coverage of 95 % intervals, normal.

Run it with ``mcsim run studies/synthetic_did_coverage.py``. Published: Arkhangelsky, Athey,
Hirshberg, Imbens & Wager (2021), American Economic Review 111: 4088-4118, Table 4 (and the authors'
replicates, 400). Their jackknife is compared with the one that refits, with which it agrees; with
fixed weights, coverage is lower for SDID and near 1 for SC and DIFP. Not compared: DID and the
other designs.
"""

import pandas as pd
import synthetic_did as designs

import mcsim
from mcsim.estimators import difp, synthetic_control, synthetic_did
from mcsim.report import write_comparison

METHODS = ("sdid", "sc", "difp")
VARIANCES = ("bootstrap", "jackknife:refit", "placebo")

# Each design: the three methods, and the three variances of each.
COVERAGE = """
baseline           0.9600  0.9625  0.9525  0.9325  0.9475  0.8850  0.9375  0.9675  0.9425
random             0.9600  0.9675  0.9575  0.9575  0.9850  0.9625  0.9475  0.9825  0.9625
urate              0.9100  0.9225  0.8750  0.8975  0.9600  0.8850  0.9125  0.9600  0.8900
"""


def study():
    """Three designs, three methods, four variances."""
    chosen = {line.split()[0] for line in COVERAGE.strip().splitlines()}
    return mcsim.Study(
        aim="Do the standard errors of synthetic difference in differences cover?",
        dgp={name: dgp for name, dgp in designs.designs().items() if name in chosen},
        estimators={
            "sdid": synthetic_did("y ~ d", vcov=(*VARIANCES, "jackknife")),
            "sc": synthetic_control("y ~ d", vcov=(*VARIANCES, "jackknife")),
            "difp": difp("y ~ d", vcov=(*VARIANCES, "jackknife")),
        },
        reps=1024,
    )


def published():
    """The authors' coverage, one row per figure."""
    rows = []
    for line in COVERAGE.strip().splitlines():
        name, *figures = line.split()
        labels = [(method, variance) for method in METHODS for variance in VARIANCES]
        for (method, variance), figure in zip(labels, figures, strict=True):
            row = {"dgp": name, "estimator": method, "inference": variance}
            rows.append({**row, "published": float(figure)})
    return pd.DataFrame(rows).assign(measure="coverage", published_reps=400)


def report(results, folder):
    """The authors' figures beside ours."""
    summary = results.summary(measures=["coverage"])
    write_comparison(mcsim.compare(summary, published()), folder)
