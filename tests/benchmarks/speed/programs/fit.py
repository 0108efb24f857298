"""Fit a generator to a data set: ``fit.py DATA GENERATOR STEPS``, 0 steps for its own number."""

import sys
import warnings

import numpy as np

import mcsim
from mcsim.generators import (
    GAN,
    VAE,
    WGAN,
    Autoregressive,
    Flow,
    GaussianCopula,
    GaussianMixture,
    fit_many,
)

NETWORKS = {
    "VAE": (VAE, {}),
    "Autoregressive": (Autoregressive, {}),
    "Flow": (Flow, {}),
    "WGAN": (WGAN, {}),
    "GAN": (GAN, {}),
    "VAE, lstm": (VAE, {"arch": "lstm"}),
    "WGAN, lstm": (WGAN, {"arch": "lstm"}),
}
CLOSED_FORM = {"GaussianCopula": GaussianCopula, "GaussianMixture": GaussianMixture}


def trainer_of(name, steps=0):
    """Return a trainer by its name; a number of steps makes the fit of a network short."""
    if name in CLOSED_FORM:
        return CLOSED_FORM[name]()
    trainer, options = NETWORKS[name]
    return trainer(**options, **({"steps": steps} if steps else {}))


def data_of(name):
    """Return a data set and the options of a fit to it.

    ``experiment``: LaLonde's 445 men. ``wages``: log wage and hours of 545 men over 8 years.
    ``states``: growth of product and employment of 48 states over 16 years.
    """
    if name == "experiment":
        panel, schema = mcsim.from_frame(mcsim.datasets.load("lalonde_experimental"))
        return panel, {"given": ["treat"], "schema": schema}
    if name == "wages":
        frame = mcsim.datasets.load("wage_panel")[["nr", "year", "lwage", "hours"]]
        return mcsim.from_frame(frame, unit="nr", time="year")[0], {}
    frame = mcsim.datasets.load("munnell").sort_values(["state", "year"])
    for column in ("gsp", "emp"):
        frame[column] = 100 * np.log(frame[column]).groupby(frame["state"]).diff()
    kept = frame[["state", "year", "gsp", "emp"]].dropna()
    return mcsim.from_frame(kept, unit="state", time="year")[0], {}


def fit(trainer, panel, options, members=0):
    """Fit once, or an ensemble."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        if members:
            return fit_many(trainer, mcsim.keys(0, members), panel, progress=False, **options)
        return trainer.fit(mcsim.key(0), panel, progress=False, **options)


if __name__ == "__main__":
    print(fit(trainer_of(sys.argv[2], int(sys.argv[3])), *data_of(sys.argv[1])))
