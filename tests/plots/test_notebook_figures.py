"""Figures in a kernel of Jupyter: each shows once, and pyplot does not know it."""

import pytest

from kernels import running_kernel

SETUP = """
import mcsim
from mcsim import plots
from mcsim.testing import constant_dgp, exact_estimator
study = mcsim.Study(constant_dgp(), exact_estimator())
results = mcsim.run(study, reps=4, workers=0, progress=False)
"""


def pixels(messages):
    return [message for message in messages if "image/png" in message["content"].get("data", {})]


@pytest.mark.slow
def test_a_figure_shows_once_with_and_without_pyplot():
    with running_kernel() as kernel:
        kernel.execute(SETUP)
        (shown,) = kernel.execute("plots.coverage(results)")
        assert shown["msg_type"] == "execute_result"
        assert shown["content"]["metadata"]["image/png"]["width"] > 300
        assert kernel.execute("figure = plots.coverage(results)") == []
        assert len(pixels(kernel.execute("figure"))) == 1
        kernel.execute("%matplotlib inline")
        assert len(pixels(kernel.execute("figure"))) == 1
        with_pyplot = "import matplotlib.pyplot as plt; plt.plot([1, 2]); figure"
        assert len(pixels(kernel.execute(with_pyplot))) == 2  # the user's own, and this one
        (numbers,) = kernel.execute("plots.coverage(results); plt.get_fignums()")
        assert numbers["content"]["data"]["text/plain"] == "[]"
