"""How long the parts of the main job take: ``pytest -o addopts= tests/benchmarks/bench_speed.py``.

Each test times one thing and prints it; the docs set it beside the figures of the rival, ds-wgan,
where it could be run (one core: fit on the experiment 56 s, on the CPS 2.2 h, a million rows 18 s
and 5.7 GB). Machines are noisy, so that nothing is asserted about time.
"""

import resource
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import mcsim
from mcsim.dgps import Bootstrap
from mcsim.estimators import aipw, difference_in_means, ipw, matching, outcome_regression
from mcsim.generators import WGAN

COVARIATES = "age + educ + black + hisp + marr + nodegree + re74 + re75"
FORMULA = f"re78 ~ treat | {COVARIATES}"
ESTIMATORS = {
    "difference_in_means": difference_in_means("re78 ~ treat"),
    "outcome_regression": outcome_regression(FORMULA),
    "ipw": ipw(FORMULA),
    "aipw": aipw(FORMULA),
    "matching": matching(FORMULA),
}


@mcsim.host(estimand="att")
def trivial(frame):
    return mcsim.Estimate(float(frame["re78"].iloc[0]), 1.0)


def seconds(job: Callable[[], Any]) -> float:
    began = time.perf_counter()
    jax.block_until_ready(job())
    return time.perf_counter() - began


def tell(capsys: pytest.CaptureFixture[str], line: str) -> None:
    with capsys.disabled():
        print(f"\n  {line}", end="")


@pytest.fixture(scope="module")
def experiment():
    return mcsim.from_frame(mcsim.datasets.load("lalonde_experimental"))


@pytest.fixture(scope="module")
def survey():
    return mcsim.from_frame(mcsim.datasets.load("lalonde_cps"))


@pytest.mark.parametrize("data", ["experiment", "survey"])
def test_fit_and_population(data, request, capsys):
    panel, schema = request.getfixturevalue(data)
    fits = {}

    def fit():
        fits["one"] = WGAN().fit(
            mcsim.key(0), panel, given=["treat"], schema=schema, progress=False
        )

    tell(capsys, f"{data}: one fit from a cold start {seconds(fit):.1f} s")
    n_rows = 1_000_000
    treat = {"treat": np.resize(np.asarray(panel["treat"])[:, 0], n_rows)}
    draws = [
        seconds(lambda k=k: dict(fits["one"].sample(k, n_rows, given=treat)))
        for k in mcsim.keys(1, 3)
    ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    tell(
        capsys,
        f"{data}: a million rows {draws[0]:.1f} s at first, then {min(draws[1:]):.1f} s; "
        f"peak memory of the process {peak:.2f} GiB",
    )


def test_native_estimators(experiment, tmp_path, capsys):
    panel, schema = experiment
    dgp = Bootstrap(panel, truth="own", strata="treat", schema=schema)
    study = mcsim.Study(dgp=dgp, estimators=ESTIMATORS)
    for label in ("cold", "warm"):
        run = seconds(
            lambda label=label: mcsim.run(study, reps=2000, store=tmp_path / label, progress=False)
        )
        tell(capsys, f"2,000 replications x 5 native estimators, {label}: {run:.1f} s")


def test_host_overhead(experiment, tmp_path, capsys):
    panel, schema = experiment
    dgp = Bootstrap(panel, truth={"att": 0.0}, strata="treat", schema=schema)
    reps = 8192
    study = mcsim.Study(dgp=dgp, estimators=trivial)
    mcsim.run(study, reps=64, store=tmp_path / "store", progress=False)
    few = seconds(lambda: mcsim.run(study, reps=1024, store=tmp_path / "few", progress=False))
    many = seconds(lambda: mcsim.run(study, reps=reps, store=tmp_path / "many", progress=False))
    cost = 1e3 * (many - few) / (reps - 1024)
    tell(capsys, f"host function: {cost:.2f} ms per replication, pool started before")
