"""What generators of a macro panel tell about a placebo test: growth of 48 states.

Aims        As in ``gdp_growth.py``.
Data        Yearly growth of gross state product, 48 states, 1971 to 1986; the rest as there.
Estimand    The effect: 0.
Methods     As in ``gdp_growth.py``.
Measures    As in ``gdp_growth.py``.

Run it with ``mcsim run studies/state_growth.py``; the data come with linearmodels, after Munnell
(1990), New England Economic Review, September: 11-33.
"""

from pathlib import Path

import gdp_growth
import numpy as np

import mcsim
from mcsim.generators import GaussianCopula

TRAINERS = {  # sixteen years are too few for MacroPanel
    "copula_redrawn": GaussianCopula(common_shocks="redraw"),
    **{name: t for name, t in gdp_growth.TRAINERS.items() if name != "macro_panel"},
}


def data():
    """Yearly growth of gross state product, percent."""
    frame = mcsim.datasets.load("munnell").sort_values(["state", "year"])
    frame["growth"] = 100 * frame["gsp"].transform(np.log).groupby(frame["state"]).diff()
    kept = frame.dropna(subset="growth")[["state", "year", "growth"]]
    return mcsim.from_frame(kept, unit="state", time="year")


def study():
    """The study that ``mcsim run`` runs."""
    return gdp_growth.build(*data(), TRAINERS)


def report(results, folder):
    """Tables and figures beside the results."""
    gdp_growth.describe(Path(folder), *data(), TRAINERS, unit="CA")
