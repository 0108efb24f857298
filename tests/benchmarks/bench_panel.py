"""Replications per second on one core: ``pytest -o addopts= tests/benchmarks/bench_panel.py -q``.

Everything runs side by side in one process that keeps to one CPU, so that ratios hold where times
do not. ``run`` draws, estimates and stores; the loops of the libraries and of NumPy are given
panels that were drawn before, which flatters them; "with drawing" adds NumPy's own draws.
"""

import contextlib
import os
import time

import jax
import numpy as np
import pandas as pd
import pytest

import mcsim
from mcsim._run.compiled import chunk_size, draw_chunk, estimate_chunk
from mcsim.dgps import ErrorComponents, LinearIV, at_random, with_effect
from mcsim.estimators import aipw, arellano_bond, fixed_effects, iv_2sls

pytestmark = pytest.mark.filterwarnings("ignore")  # of the other libraries

SIZES = [(50, 10), (200, 20), (1000, 10)]
SECONDS = 1.5  # for each line of the table


@pytest.fixture(scope="module", autouse=True)
def one_core():
    """Keep to one CPU from before JAX starts its threads; not at import, which collecting does."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield
    os.sched_setaffinity(0, allowed)


@pytest.fixture
def tell(capsys):
    def line(text):
        with capsys.disabled():
            print(f"\n  {text}", end="")

    return line


def per_second(job, replications=1):
    """Replications per second of a job, the best of a few rounds."""
    job()
    best, began = 0.0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        start = time.perf_counter()
        job()
        best = max(best, replications / (time.perf_counter() - start))
    return best


def rate_of_run(study, reps):
    """Replications per second of a whole run, once its programs are compiled."""
    mcsim.run(study, reps=1024, workers=1, progress=False)
    best = 0.0
    for _ in range(3):
        began = time.perf_counter()
        mcsim.run(study, reps=reps, workers=1, progress=False)
        best = max(best, reps / (time.perf_counter() - began))
    return best


def drawn(dgp, design, n):
    """A chunk of panels and its keys."""
    keys = jax.random.split(jax.random.key(0), n)
    return keys, draw_chunk("dgp", dgp, keys, design).panel


def frames_of(panels, n=20):
    """The first panels of a chunk as frames."""
    return [mcsim.to_frame(jax.tree.map(lambda leaf, i=i: leaf[i], panels)) for i in range(n)]


def alone(estimator, keys, panels):
    """The estimator alone, on panels that are there."""
    return per_second(
        lambda: jax.block_until_ready(estimate_chunk("e", estimator, keys, panels)), len(keys)
    )


def each(function, items):
    """A loop in Python over panels, as one writes it."""
    return per_second(lambda: [function(item) for item in items], len(items))


def demeaned(a):
    return (
        a - a.mean(-1, keepdims=True) - a.mean(-2, keepdims=True) + a.mean((-1, -2), keepdims=True)
    )


def twfe_numpy(y, d, x):
    """Two-way effects with CR1 by unit, hand-written for one panel."""
    y, d, x = demeaned(y), demeaned(d), demeaned(x)
    n, t = y.shape
    regressors = np.column_stack([d.ravel(), x.ravel()])
    inverse = np.linalg.inv(regressors.T @ regressors)
    coef = inverse @ (regressors.T @ y.ravel())
    residual = y.ravel() - regressors @ coef
    scores = (regressors * residual[:, None]).reshape(n, t, 2).sum(1)
    factor = n / (n - 1) * (n * t - 1) / (n * t - 2 - t)
    return coef[0], np.sqrt(factor * (inverse @ scores.T @ scores @ inverse)[0, 0])


def twfe_numpy_batch(y, d, x):
    """The same for all panels of a chunk at once."""
    y, d, x = demeaned(y), demeaned(d), demeaned(x)
    _, n, t = y.shape
    dd, dx, xx = (d * d).sum((1, 2)), (d * x).sum((1, 2)), (x * x).sum((1, 2))
    dy, xy = (d * y).sum((1, 2)), (x * y).sum((1, 2))
    determinant = dd * xx - dx**2
    b, c = (xx * dy - dx * xy) / determinant, (dd * xy - dx * dy) / determinant
    residual = y - b[:, None, None] * d - c[:, None, None] * x
    loading = (xx[:, None, None] * d - dx[:, None, None] * x) / determinant[:, None, None]
    scores = (loading * residual).sum(2)
    factor = n / (n - 1) * (n * t - 1) / (n * t - 2 - t)
    return b, np.sqrt(factor * (scores**2).sum(1))


@pytest.mark.parametrize(("n_units", "n_periods"), SIZES)
def test_two_way_effects(n_units, n_periods, tell):
    import pyfixest
    from linearmodels import PanelOLS

    source = ErrorComponents(n_units=n_units, n_periods=n_periods)
    dgp = with_effect(source, outcome="y", assignment=at_random(share=0.5, start=n_periods // 2))
    estimator = fixed_effects("y ~ d + x | unit + time", term="d", estimand="att", vcov="CR1")
    design = mcsim.Design()
    size = chunk_size(mcsim._run.compiled.sample_shape("dgp", dgp, design).panel)
    keys, panels = drawn(dgp, design, max(size, 20))
    arrays = [np.asarray(panels[name]) for name in ("y", "d", "x")]
    frames, rng = frames_of(panels), np.random.default_rng(0)

    def numpy_with_drawing():
        y, x = rng.normal(size=(2, n_units, n_periods))
        return twfe_numpy(y, arrays[1][0], x)

    def with_linearmodels(frame):
        model = PanelOLS(frame["y"], frame[["d", "x"]], entity_effects=True, time_effects=True)
        return model.fit(cov_type="clustered", cluster_entity=True)

    def with_pyfixest(frame):
        return pyfixest.feols("y ~ d + x | unit + time", frame, vcov={"CRV1": "unit"})

    flat = [frame.reset_index() for frame in frames]
    study = mcsim.Study(dgp=dgp, estimators=estimator)
    draws = per_second(lambda: jax.block_until_ready(draw_chunk("d", dgp, keys, design)), len(keys))
    rates = {
        "mcsim run": rate_of_run(study, 2**14 if n_units * n_periods < 5000 else 2**12),
        "mcsim drawing alone": draws,
        "mcsim estimator alone": alone(estimator, keys, panels),
        "pyfixest loop": each(with_pyfixest, flat[:5]),
        "linearmodels loop": each(with_linearmodels, frames[:5]),
        "NumPy loop": each(lambda one: twfe_numpy(*one), list(zip(*arrays, strict=True))[:20]),
        "NumPy loop with drawing": per_second(numpy_with_drawing),
        "NumPy batch": per_second(lambda: twfe_numpy_batch(*arrays), len(keys)),
    }
    show(tell, f"two-way effects, CR1, {n_units} x {n_periods}", rates)


def test_two_stage_least_squares(tell):
    from linearmodels.iv import IV2SLS

    dgp, design = LinearIV(n_units=500), mcsim.Design()
    estimator = iv_2sls("y ~ 1 | d ~ z1", vcov="HC1")
    keys, panels = drawn(dgp, design, 256)

    def with_linearmodels(frame):
        one = pd.Series(1.0, frame.index)
        return IV2SLS(frame["y"], one, frame["d"], frame["z1"]).fit(cov_type="robust")

    study = mcsim.Study(dgp=dgp, estimators=estimator)
    rates = {
        "mcsim run": rate_of_run(study, 2**14),
        "mcsim estimator alone": alone(estimator, keys, panels),
        "linearmodels loop": each(with_linearmodels, frames_of(panels, 10)),
    }
    show(tell, "2SLS, HC1, 500 observations", rates)


def test_aipw_and_its_logit(tell):
    import statsmodels.api as sm

    rng = np.random.default_rng(0)
    x = rng.normal(size=(128, 500, 3))
    d = (rng.random((128, 500)) < 1 / (1 + np.exp(-x[..., 0]))).astype(float)
    y = d + x.sum(-1) + rng.normal(size=(128, 500))
    columns = {"y": y, "d": d, "x1": x[..., 0], "x2": x[..., 1], "x3": x[..., 2]}
    panels = mcsim.Panel.batch({n: jax.numpy.asarray(a)[..., None] for n, a in columns.items()})
    keys = jax.random.split(jax.random.key(0), 128)

    def with_statsmodels(i):
        """The logit alone: what AIPW needs before anything else."""
        return sm.Logit(d[i], sm.add_constant(x[i])).fit(disp=0)

    rates = {
        "mcsim AIPW, logit in it": alone(aipw("y ~ d | x1 + x2 + x3"), keys, panels),
        "statsmodels logit loop": each(with_statsmodels, range(20)),
    }
    with contextlib.suppress(ImportError):
        rates["DoubleML loop"] = each(doubleml_irm(y, d, x), range(3))
    show(tell, "AIPW, 500 observations, 3 covariates", rates)


def doubleml_irm(y, d, x):
    """The interactive model with linear and logit nuisances, no cross-fitting of more folds."""
    import doubleml
    from sklearn.linear_model import LinearRegression, LogisticRegression

    def fit(i):
        data = doubleml.DoubleMLData.from_arrays(x[i], y[i], d[i])
        nuisances = LinearRegression(), LogisticRegression(C=1e6)
        return doubleml.DoubleMLIRM(data, *nuisances, n_folds=2, score="ATTE").fit()

    return fit


def test_arellano_bond(tell):
    from mcsim.dgps import DynamicPanel

    dgp, design = DynamicPanel(n_units=100, n_periods=7), mcsim.Design()
    estimator = arellano_bond("y ~ lag(y) + x", steps=1)
    keys, panels = drawn(dgp, design, 32)
    rates = {
        "mcsim run": rate_of_run(mcsim.Study(dgp=dgp, estimators=estimator), 2**12),
        "mcsim estimator alone": alone(estimator, keys, panels),
    }
    with contextlib.suppress(ImportError):
        rates["pydynpd loop"] = each(pydynpd_of, frames_of(panels, 3))
    show(tell, "Arellano-Bond, one step, 100 x 7", rates)


def pydynpd_of(frame):
    """The same model in pydynpd, which prints."""
    from pydynpd import regression

    with contextlib.redirect_stdout(None):
        return regression.abond(
            "y L(1:1).y x | gmm(y, 2:99) iv(x) | onestep nolevel",
            frame.reset_index(),
            ["unit", "time"],
        )


def show(tell, title, rates):
    tell(f"{title}; replications per second, and times mcsim's run or estimator")
    base = next(iter(rates.values()))
    for name, rate in rates.items():
        tell(f"  {name:28s} {rate:12,.0f}  {rate / base:10.4f}")
    tell("")
