"""The panels that several files of tests of generators learn."""

import pytest

import mcsim
from generators.fits import PANEL, mixed_frame


@pytest.fixture(scope="session")
def panel():
    """Two outcomes that move together; files whose generators learn other panels have their own."""
    return PANEL


@pytest.fixture(scope="session")
def mixed():
    return mcsim.from_frame(mixed_frame(), unit="id", time="year", categorical=["sector"])
