"""Few replications of a large sample: ``large_sample.py N REPS``."""

import sys
import time

import jax

import mcsim
from mcsim.estimators import ols


def line(key, design):
    """Draw y = x + noise."""
    x, noise = jax.random.normal(key, (2, design["n"], 1))
    return mcsim.Sample(mcsim.Panel({"y": x + noise, "x": x}), {"x": 1.0})


if __name__ == "__main__":
    n, reps = map(int, sys.argv[1:])
    study = mcsim.Study(dgp=line, estimators=ols("y ~ x"), designs=mcsim.grid(n=[n]))
    before = time.process_time()
    print(mcsim.run(study, reps=reps, progress=False).summary())
    print("CPU", time.process_time() - before)
