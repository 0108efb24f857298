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
        assert len(pixels(kernel.execute("plots.coverage(results)"))) == 1
        assert pixels(kernel.execute("figure = plots.coverage(results)")) == []
        assert len(pixels(kernel.execute("figure"))) == 1
        kernel.execute("%matplotlib inline")
        assert len(pixels(kernel.execute("figure"))) == 1
        with_pyplot = "import matplotlib.pyplot as plt; plt.plot([1, 2]); "
        assert len(pixels(kernel.execute(f"{with_pyplot} figure"))) == 2  # and the user's own
        assert len(pixels(kernel.execute("plots.coverage(results)"))) == 1
        kernel.execute("assert plt.get_fignums() == []")
        assert not [m for m in kernel.execute("plt.rcParams") if m["msg_type"] == "error"]
        (shown,) = kernel.execute("print(plt.get_fignums()); plots.coverage(results)")
        size = shown["content"]["metadata"]["image/png"]
        assert size["width"] > 300
