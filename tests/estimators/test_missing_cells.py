"""A NaN in a column that an estimator of mcsim reads removes this cell, for this estimator only."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import mcsim
from mcsim import Estimate, Panel, Sample, Study
from mcsim.estimators import callaway_santanna, fixed_effects, ols

UNITS, PERIODS = 12, 4


def numbers(seed):
    """Outcome, two regressors and groups of units, in every second sample with NaN cells."""
    rng = np.random.default_rng(seed)
    x, z, noise = rng.normal(size=(3, UNITS, PERIODS))
    columns = {"y": x + noise, "x": x, "z": z, "g": np.arange(UNITS)[:, None] // 3 + 0 * x}
    if seed % 2:
        columns["x"][2, 1] = columns["y"][5, 3] = columns["z"][7, 0] = columns["g"][8] = np.nan
    return columns


SAMPLES = [numbers(seed) for seed in range(16)]
STACKED = {name: jnp.stack([sample[name] for sample in SAMPLES]) for name in SAMPLES[0]}


def native(key, design):
    """Pick one of the samples by the key."""
    chosen = jax.random.randint(key, (), 0, len(SAMPLES))
    panel = Panel({name: values[chosen] for name, values in STACKED.items()})
    return Sample(panel, {"x": 1.0, "which": chosen.astype(float)})


@mcsim.host
def from_host(rng, design):
    which = int(rng.integers(0, len(SAMPLES)))
    index = pd.MultiIndex.from_product([range(UNITS), range(PERIODS)], names=["unit", "time"])
    frame = pd.DataFrame({name: v.ravel() for name, v in SAMPLES[which].items()}, index=index)
    return frame, {"x": 1.0, "which": float(which)}


def number(key, panel):
    """Of the sample, by its truth; and how many NaN the function sees."""
    return {"which": Estimate(0.0, 1.0), "x": Estimate(jnp.isnan(panel["x"]).sum(), 1.0)}


@mcsim.host(estimand="x")
def holes(frame):
    return Estimate(float(frame["x"].isna().sum()), 1.0)


ESTIMATORS = {
    "ols": ols("y ~ x", vcov=["HC1", "CR1"]),
    "both": ols("y ~ x + z", term="x", vcov="HC1"),
    "groups": ols("y ~ x", vcov="CR1(g)"),
    "within": fixed_effects("y ~ x | unit", vcov="CR1"),
    "number": number,
    "holes": holes,
}


@cache
def expected(which, method):
    """Least squares on the rows that are complete in the columns of a method."""
    columns = {"both": ["y", "x", "z"], "groups": ["y", "x", "g"]}.get(method, ["y", "x"])
    frame = pd.DataFrame({name: v.ravel() for name, v in SAMPLES[which].items()})
    frame = frame.assign(unit=np.arange(UNITS).repeat(PERIODS)).dropna(subset=columns)
    x = frame[["x", "z"] if method == "both" else ["x"]].assign(constant=1.0)
    if method == "within":
        x = frame[["x"]].join(pd.get_dummies(frame["unit"]) * 1.0)
        return sm.OLS(frame["y"], x).fit().params["x"], None
    kind = {"cov_type": "HC1"}
    if method == "groups":
        kind = {"cov_type": "cluster", "cov_kwds": {"groups": frame["g"].to_numpy().astype(int)}}
    fit = sm.OLS(frame["y"], x).fit(**kind)
    return fit.params["x"], fit.bse["x"]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("dgp", [native, from_host], ids=["native", "host"])
def test_one_rule_for_native_and_host_samples(dgp):
    study = Study({"dgp": dgp}, ESTIMATORS)
    results = mcsim.run(study, reps=40, workers=0, progress=False)
    rows = results.replicates
    assert set(rows["status"]) == {"ok"}
    assert any(note.startswith("ols: cells with NaN in a column that it") for note in results.notes)
    assert not any(note.startswith("number: cells") for note in results.notes)
    which = rows[rows["estimand"] == "which"].set_index("rep")["truth"].astype(int)
    assert {number % 2 for number in which} == {0, 1}
    for method in ("number", "holes"):
        seen = rows[(rows["estimator"] == method) & (rows["estimand"] == "x")].set_index("rep")
        assert (seen["value"] == which % 2).all()
    inferences = {"ols": "HC1", "both": "HC1", "groups": "CR1(g)", "within": "CR1"}
    for method, inference in inferences.items():
        found = rows[(rows["estimator"] == method) & (rows["inference"] == inference)]
        assert len(found) == 40
        for row in found.itertuples():
            value, se = expected(which[row.rep], method)
            assert row.value == pytest.approx(value, rel=1e-9)
            if se is not None:
                assert row.se == pytest.approx(se, rel=1e-9)


def one_of_two(key, design):
    """Draw the first sample, which has no gaps, or another one; the truth says which."""
    first = jax.random.bernoulli(key)
    columns = {
        name: jnp.where(first, v[0], v[design["other"].astype(int)]) for name, v in STACKED.items()
    }
    return Sample(Panel(columns), {"x": first.astype(float)})


@pytest.mark.usefixtures("small_blocks")
def test_samples_without_missing_cells_are_the_same_bits_beside_those_with():
    chosen = {name: ESTIMATORS[name] for name in ("ols", "within")}
    study = Study(one_of_two, chosen, mcsim.grid(other=[2.0, 1.0]))  # without gaps, and with
    rows = mcsim.run(study, reps=32, workers=0, progress=False).replicates
    firsts = rows[rows["truth"] == 1.0].groupby(["estimator", "inference"])
    assert set(rows["other"]) == {1.0, 2.0}
    for _, frame in firsts:
        assert set(frame["other"]) == {1.0, 2.0}
        assert len(frame[["value", "se", "lower", "upper", "df", "p_value"]].drop_duplicates()) == 1


def test_estimate_follows_the_rule_and_so_does_a_mask():
    holed = Panel(SAMPLES[1])
    seen = jnp.asarray(~np.isnan(SAMPLES[1]["x"] + SAMPLES[1]["y"]))
    masked = Panel({name: np.nan_to_num(v, nan=99.0) for name, v in SAMPLES[1].items()}, seen)
    with pytest.warns(UserWarning, match="ols: cells with NaN in a column that it reads: 2"):
        by_nan = mcsim.estimate(ESTIMATORS["ols"], holed)
    assert by_nan.equals(mcsim.estimate(ESTIMATORS["ols"], masked))


def test_an_estimator_that_needs_every_cell_has_the_status_nan_and_raises_nothing():
    d = (np.arange(PERIODS) >= 2) & (np.arange(UNITS)[:, None] < 6)
    panel = Panel({**SAMPLES[1], "d": d * 1.0})
    with pytest.warns(UserWarning, match="callaway_santanna: cells with NaN"):
        rows = mcsim.estimate(callaway_santanna("y ~ d"), panel)
    assert set(rows["status"]) == {"nan"}
    whole = mcsim.estimate(callaway_santanna("z ~ d"), Panel({**SAMPLES[0], "d": d * 1.0}))
    assert set(whole["status"]) == {"ok"}
