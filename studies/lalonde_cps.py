"""Estimators of a training program's effect, on data like LaLonde's treated and CPS controls.

Aims        Bias, RMSE, coverage and power of six estimators of the effect on the treated, where
            the 185 treated men are compared with 15,992 men of the Current Population Survey.
Data        Ten conditional WGANs and ten autoregressive likelihoods, each fit on 9/10 of the men;
            and a bootstrap of the men.
Estimand    ATT on earnings in 1978: each fit's own population effect; for the bootstrap it is
            each estimator's own value on the full sample.
Methods     As in ``lalonde.py``.
Measures    As in ``lalonde.py``.

Run it with ``mcsim run studies/lalonde_cps.py``. After Athey, Imbens, Metzger & Munro (2024),
Journal of Econometrics 240: 105076, sections 4 and 5.
"""

from pathlib import Path

import lalonde

import mcsim


def data():
    """The 185 treated men and the 15,992 controls."""
    return mcsim.from_frame(mcsim.datasets.load("lalonde_cps"))


def study():
    """The study that ``mcsim run`` runs."""
    panel, schema = data()
    fits = lalonde.learn(panel, schema, n_fits=10)
    return lalonde.build(panel, schema, fits, bootstrap_truth="own")


def report(results, folder):
    """Tables and figures beside the results."""
    panel, schema = data()
    fits = lalonde.learn(panel, schema, n_fits=10)
    comparable = [name for name in lalonde.ESTIMATORS if name != "difference_in_means"]
    lalonde.describe(results, Path(folder), panel, schema, fits, [*comparable, "ols_hc1"])
