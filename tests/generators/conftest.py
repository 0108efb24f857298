"""Fits made once in a session, and the panels that several files of tests of generators learn."""

import os

import pytest

import mcsim
from generators.fits import PANEL, Fits, mixed_frame


@pytest.fixture(scope="session")
def fit_once(tmp_path_factory):
    """Fit a trainer to a panel, unless this process or another worker of the session has.

    For tests of what a fit gives, not of fitting. The folder is that of all workers.
    """
    own = tmp_path_factory.getbasetemp()
    return Fits((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "fits")


@pytest.fixture(scope="session")
def panel():
    """Two outcomes that move together; files whose generators learn other panels have their own."""
    return PANEL


@pytest.fixture(scope="session")
def mixed():
    return mcsim.from_frame(mixed_frame(), unit="id", time="year", categorical=["sector"])
