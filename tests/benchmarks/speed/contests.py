"""Contests of estimators: a run of mcsim, its estimator alone, NumPy by hand, loops over libraries.

A run of mcsim draws, estimates and stores. NumPy draws and estimates. Libraries are handed frames
that are there already, which flatters them. All keep to one CPU.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .cases import Contestant
from .costs import Here

ALONE = Contestant("mcsim, the estimator alone", remark="on samples that are there")
COMPARED = 3
"""Samples on which the contestants must agree."""


def run_of(reps: int) -> Contestant:
    """A run of mcsim, whose cost is spread over its replications."""
    return Contestant("mcsim, a run", remark=f"{reps:,} replications, stored")


def peer(name: str, needs: str, remark: str = "") -> Contestant:
    """A library that estimates on frame after frame."""
    return Contestant(f"{name}, a loop", needs, remark)


class Contest:
    """A DGP and an estimator, and the samples that all contestants estimate on.

    Attributes
    ----------
    arrays : dict of str to array (sample, unit, period)
        The samples.
    """

    def __init__(self, dgp: Any, estimator: Any, label: tuple[str, str], batch: int):
        import jax

        import mcsim

        self._study = mcsim.Study(dgp=dgp, estimators=estimator)
        self._keys, self._label = jax.random.split(jax.random.key(0), batch), label
        design = mcsim.Design()
        self._panels = jax.jit(jax.vmap(lambda key: dgp(key, design).panel))(self._keys)
        self._program = jax.jit(jax.vmap(estimator))
        self.arrays = {name: np.asarray(self._panels[name]) for name in self._panels}

    def run(self, reps: int) -> Here:
        """A whole run of mcsim."""
        import mcsim

        return Here(lambda: mcsim.run(self._study, reps=reps, workers=1, progress=False), work=reps)

    def alone(self, *fields: str) -> Here:
        """The compiled estimator on the samples; its answer are these fields of the estimate."""
        import jax

        def job():
            return jax.block_until_ready(self._program(self._keys, self._panels))

        def answer():
            estimate = job()[self._label]
            return np.stack([getattr(estimate, name) for name in fields], -1)[:COMPARED]

        return Here(job, work=len(self._keys), answer=answer)

    def frames(self, n: int) -> list[Any]:
        """The first samples as frames."""
        import pandas as pd

        _, units, periods = next(iter(self.arrays.values())).shape
        unit, time = np.indices((units, periods)).reshape(2, -1)
        return [
            pd.DataFrame(
                {"unit": unit, "time": time}
                | {name: values[i].ravel() for name, values in self.arrays.items()}
            )
            for i in range(min(n, len(self._keys)))
        ]


def loop(
    fit: Callable[[Any], Any], items: Sequence[Any], read: Callable[[Any], Any] | None
) -> Here:
    """A loop over samples; ``read`` returns the numbers of a fit that must agree."""

    def answer():
        return [read(fit(item)) for item in items[:COMPARED]]

    return Here(
        lambda: [fit(item) for item in items], len(items), answer=None if read is None else answer
    )
