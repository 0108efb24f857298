"""Two designs, three regressions: ``small_study.py REPS``."""

import sys

import jax
import jax.numpy as jnp

import mcsim
from mcsim.estimators import ols


def earnings(key, design):
    """Draw a program with an effect of 1, two covariates, and selection on the first."""
    a, b, lot, noise = jax.random.normal(key, (4, 200))
    d = (design["selection"] * a + lot > 0) * 1.0
    y = d + a + b + noise
    columns = {"y": y, "d": d, "a": a, "b": b}
    return mcsim.Sample(mcsim.Panel({n: c[:, None] for n, c in columns.items()}), {"d": 1.0})


ESTIMATORS = {
    f"ols_{k}": ols(f"y ~ {regressors}", term="d")
    for k, regressors in enumerate(("d", "d + a", "d + a + b"), 1)
}

if __name__ == "__main__":
    study = mcsim.Study(
        dgp=earnings, estimators=ESTIMATORS, designs=mcsim.grid(selection=[0.0, 1.0])
    )
    results = mcsim.run(study, reps=int(sys.argv[1]), progress=False)
    assert jnp.isfinite(results.replicates["value"].to_numpy()).all()
    print(results.summary())
