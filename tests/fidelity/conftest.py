"""The references that tests of the tables of panels compare with."""

from collections.abc import Iterator

import pytest

from mcsim._fidelity.references import PANEL_REFERENCES


@pytest.fixture(scope="module")
def two_references() -> Iterator[None]:
    """The other references have tests of their own, and compile for long; a slow test has all.

    They come back in their old order, by which they are given their keys.
    """
    everyone = dict(PANEL_REFERENCES)
    for name in ("smoothed bootstrap", "factor VAR", "mixture"):
        del PANEL_REFERENCES[name]
    yield
    PANEL_REFERENCES.clear()
    PANEL_REFERENCES.update(everyone)
