"""`MacroPanel` on GDP growth: ``pytest -o addopts= tests/benchmarks/bench_macro.py -q``.

One fit; then what 400 generated panels of 25 x 236 have on average, beside the real panel and the
bars; then ten refits on panels that the fitted model drew. Placebo: half of the units (13 of 25)
adopt treatment for good, each from a date drawn evenly from the middle half of the periods, and
growth is regressed on treatment with unit and period effects. Nothing is asserted: these are the
docs' figures, not tests. The data are found in the folder that MCSIM_DATA names, or downloaded.
"""

import dataclasses
import os
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mcsim
from mcsim._fidelity._panels.statistics import panel_statistics
from mcsim.errors import McsimError
from mcsim.estimators import fixed_effects
from mcsim.generators._macro import MacroPanel

PANELS, ADOPTIONS, REFITS, PAIRS = 400, 400, 10, 40

BARS = {
    "sd": lambda real: (0.95 * real, 1.05 * real),
    "ar1": lambda real: (real - 0.04, real + 0.04),
    "ar1_sd": lambda real: (real - 0.05, real + 0.05),
    "cross_correlation": lambda real: (real - 0.04, real + 0.04),
    "kurtosis": lambda real: (4.0, 10.0),
    "kurtosis_median": lambda real: (0.75 * real, 1.25 * real),
    "rank": lambda real: (real - 1, real),
    "abs_ac1": lambda real: (real - 0.05, real + 0.05),
    "abs_ac4": lambda real: (real - 0.05, real + 0.05),
    "mean_path_variance": lambda real: (real - 0.084, real + 0.084),
    "placebo sd": lambda real: (0.85 * real, 1.15 * real),
    "rejects, iid": lambda real: (real - 0.05, real + 0.05),
    "rejects, DK": lambda real: (real - 0.05, real + 0.05),
}
"""Where the average over generated panels should be, given the real panel."""


@pytest.fixture(scope="module")
def cores():
    """Keep to one core from before JAX starts its threads; the value is what there was."""
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield allowed
    os.sched_setaffinity(0, allowed)


@pytest.fixture(scope="module")
def real(cores):
    try:
        frame = mcsim.datasets.load("oecd_gdp_growth")
    except McsimError as error:
        pytest.skip(str(error))
    return mcsim.from_frame(frame, unit="country", time="date")[0]


@pytest.fixture(scope="module")
def fit(real):
    wall, cpu = time.perf_counter(), time.process_time()
    generator = MacroPanel().fit(jax.random.key(0), real, progress=False)
    return generator, time.perf_counter() - wall, time.process_time() - cpu


@pytest.fixture
def tell(capsys):
    def line(text=""):
        with capsys.disabled():
            print(f"\n  {text}", end="")

    return line


def draw(generator, key, n_panels, shape=(25, 236)):
    """Panels (panel, unit, period) in one program."""
    bare = dataclasses.replace(generator, losses={}, rows=None)
    one = jax.jit(jax.vmap(lambda key: bare.sample(key, *shape)["growth"]))
    return one(jax.random.split(key, n_panels))


def adopt(key, n_units, n_periods):
    """The placebo: who is treated when."""
    who, when = jax.random.split(key)
    adopts = jax.random.permutation(who, n_units) < (n_units + 1) // 2
    dates = jax.random.randint(when, (n_units,), n_periods // 4, n_periods - n_periods // 4)
    return (adopts[:, None] & (jnp.arange(n_periods) >= dates[:, None])).astype(float)


def placebo_estimates(panels):
    """Two-way estimates (panel, adoption): the same adoptions for all panels."""
    keys = jax.random.split(jax.random.key(5), ADOPTIONS)
    d = jax.vmap(lambda key: adopt(key, *panels.shape[1:]))(keys)
    within = d - d.mean(2, keepdims=True) - d.mean(1, keepdims=True) + d.mean((1, 2), keepdims=True)
    return np.asarray(jnp.einsum("pit,ait->pa", panels, within) / (within**2).sum((1, 2)))


def rejection_rates(panels, per_panel):
    """Shares of placebo tests at 5 % that reject, with iid and Driscoll-Kraay errors."""
    estimator = fixed_effects("y ~ d | unit + time", vcov=["iid", "DK"])

    def one(key):
        which, how = jax.random.split(key)
        y = panels[jax.random.randint(which, (), 0, len(panels))]
        found = estimator(None, mcsim.Panel({"y": y, "d": adopt(how, *y.shape)}))
        return [(e.value / e.se, e.df) for e in found.values()]

    keys = jax.random.split(jax.random.key(6), per_panel * PANELS)
    found = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=20))(keys)
    return [float((2 * stats.t.sf(np.abs(t), df) < 0.05).mean()) for t, df in found]


def described(panels):
    """Each statistic by panel, the placebo sd with it."""
    found = {k: np.asarray(v) for k, v in jax.jit(jax.vmap(panel_statistics))(panels).items()}
    return {**found, "placebo sd": placebo_estimates(panels).std(axis=1)}


def features(series):
    """What the classifier sees of each series: a constant, and six figures."""
    deviations = series - series.mean(axis=1, keepdims=True)
    sd = deviations.std(axis=1)
    standardized = deviations / sd[:, None]
    figures = (
        series.mean(axis=1),
        jnp.log(sd),
        (standardized[:, 1:] * standardized[:, :-1]).mean(axis=1),
        (standardized**4).mean(axis=1),
        (standardized**3).mean(axis=1),
        jnp.abs(series).max(axis=1),
    )
    return jnp.stack([jnp.ones(len(series)), *figures], axis=1)


@jax.jit
def c2st(one, other):
    """Accuracy of a logistic classifier on features of series, each left out in turn."""
    x = features(jnp.concatenate([one, other]))
    x = x.at[:, 1:].set((x[:, 1:] - x[:, 1:].mean(axis=0)) / x[:, 1:].std(axis=0))
    label = jnp.repeat(jnp.array([0.0, 1.0]), len(one))
    penalty = jnp.diag(jnp.array([0.0] + [1.0] * 6))  # as scikit-learn has it

    def right(left_out):
        weight = jnp.ones(len(x)).at[left_out].set(0.0)

        def newton(_, coef):
            p = jax.nn.sigmoid(x @ coef)
            slope = x.T @ (weight * (label - p)) - penalty @ coef
            return coef + jnp.linalg.solve((x.T * (weight * p * (1 - p))) @ x + penalty, slope)

        coef = jax.lax.fori_loop(0, 15, newton, jnp.zeros(x.shape[1]))
        return (x[left_out] @ coef > 0) == (label[left_out] > 0.5)

    return jax.vmap(right)(jnp.arange(len(x))).mean()


def line_of(name, real, average, spread=None):
    """A row of the table."""
    text = f"{name:20s} {real:8.3f} {average:8.3f}"
    low, high = BARS[name](real) if name in BARS else (-np.inf, np.inf)
    text += f"  [{low:6.3f}, {high:6.3f}] {'ok' if low <= average <= high else 'NO':2s}"
    if spread is not None:
        low, high = np.quantile(spread, [0.05, 0.95])
        text += f"   [{low:6.3f}, {high:6.3f}] {'inside' if low <= real <= high else 'OUTSIDE'}"
    return text


def test_the_real_panel_and_the_generated(real, fit, tell):
    generator, wall, cpu = fit
    y, began = real["growth"], time.perf_counter()
    panels = jax.block_until_ready(draw(generator, jax.random.key(3), PANELS, y.shape))
    drawing = time.perf_counter() - began
    tell(f"fit: {wall:.0f} s, {cpu:.0f} s of CPU; {PANELS} panels drawn in {drawing:.1f} s")
    mine, theirs = described(panels), described(y[None])
    averages = {name: values.mean() for name, values in mine.items()}
    averages["placebo sd"] = np.sqrt((placebo_estimates(panels) ** 2).mean())
    tell(f"{'':20s} {'real':>8s} {'average':>8s}  {'bars':>16s}      {'5 to 95 %':>16s}")
    for name, values in mine.items():
        tell(line_of(name, theirs[name][0], averages[name], values))
    rates = zip(rejection_rates(panels, 10), rejection_rates(y[None], 10), strict=True)
    for name, (rate, aim) in zip(("rejects, iid", "rejects, DK"), rates, strict=True):
        tell(line_of(name, aim, rate))
    paths = np.asarray(panels.mean(axis=1))
    frozen = paths.mean(axis=0).var() / paths.var(axis=1).mean() - 1 / PANELS
    copied = np.isin(np.asarray(panels), np.asarray(y)).mean()
    tell(f"frozen date effects, net: {frozen:.4f} (bar .05); share of copied cells: {copied}")
    tell()


def test_the_classifier_beside_its_own_null(real, fit, tell):
    panels = draw(fit[0], jax.random.key(4), 2 * PAIRS)
    found = [float(c2st(real["growth"], panel)) for panel in panels[:PAIRS]]
    pairs = zip(panels[:PAIRS], panels[PAIRS:], strict=True)
    null = [float(c2st(one, other)) for one, other in pairs]
    low, middle, high = np.quantile(null, [0.05, 0.5, 0.95])
    tell(f"C2ST of the real panel against generated ones: {np.mean(found):.2f} on average")
    tell(f"two generated panels: 5, 50, 95 %: {low:.2f}, {middle:.2f}, {high:.2f}")
    tell()


def test_refits_on_panels_of_known_truth(fit, cores, tell):
    if cores:
        os.sched_setaffinity(0, cores)  # threads beside each other
    panels = draw(fit[0], jax.random.key(7), REFITS)
    n_units, n_periods = panels.shape[1:]
    rows = list(np.arange(REFITS * n_units).reshape(REFITS, n_units))
    stacked = mcsim.Panel({"growth": panels.reshape(-1, n_periods)})
    keys = jax.random.split(jax.random.key(8), REFITS)
    began = time.perf_counter()
    refits = MacroPanel().fit_members(keys, stacked, rows, progress=False)
    seconds = time.perf_counter() - began

    def estimates(generator):
        return placebo_estimates(draw(generator, jax.random.key(9), PANELS))

    law = estimates(fit[0])
    truth = np.sqrt((law**2).mean())
    ratios = np.array([np.sqrt((estimates(refit) ** 2).mean()) for refit in refits]) / truth
    own = placebo_estimates(panels).std(axis=1) / truth
    tell(f"{REFITS} refits in {seconds:.0f} s; placebo sd over the truth's: {ratios.round(2)}")
    tell(f"of the panels that they were fit on: {own.round(2)}")
    tell(f"bias: {mean_and_error(ratios - 1)}; bar .10")
    controlled = ratios - own + law.std(axis=1).mean() / truth - 1
    tell(f"with the panels' own, whose mean is known, as control: {mean_and_error(controlled)}")
    tell()


def mean_and_error(values):
    """A mean and its Monte Carlo standard error."""
    return f"{values.mean():+.3f} ({values.std(ddof=1) / np.sqrt(len(values)):.3f})"
