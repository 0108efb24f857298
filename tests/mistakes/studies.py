"""Mistakes in studies, designs and names."""

import mcsim
from mcsim.testing import constant_dgp, exact_estimator
from mistakes import Mistake

MISTAKES = [
    Mistake(
        "a level in percent",
        lambda _: mcsim.Study(
            dgp=constant_dgp(truth=1.0), estimators=exact_estimator(truth=1.0), level=95
        ),
        "level: got 95, expected a number between 0 and 1",
    ),
]
