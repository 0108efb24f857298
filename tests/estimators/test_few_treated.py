"""Standard errors of few treated units, few clusters: what is not defined, and what notes say."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcsim
from mcsim import Panel, Sample, Status, Study
from mcsim.estimators import (
    callaway_santanna,
    cluster_diagnostics,
    did,
    fixed_effects,
    imputation,
    ols,
)
from mcsim.estimators._regression.regression import attainable_size

ALL = ["bjs", "bjs:loo", "bjs:cohort", "bjs:event", "bjs:all"]


def adopters(*starts, n=20, n_periods=6, seed=0):
    """A panel of noise in which these units adopt, and the rest never do."""
    d = (
        np.arange(n_periods) >= np.array([*starts, *[n_periods] * (n - len(starts))])[:, None]
    ) * 1.0
    return Panel({"y": np.random.default_rng(seed).normal(size=d.shape), "d": d})


@pytest.mark.parametrize(
    "estimator",
    [
        imputation("y ~ d", horizons=[0, 1], vcov=ALL),
        callaway_santanna("y ~ d", vcov=["influence", "bootstrap"]),
    ],
    ids=["imputation", "callaway_santanna"],
)
def test_one_treated_unit_has_no_standard_error(estimator):
    """20 x 6: "bjs" was .127 where the truth is .597 (coverage .30), influence .184 for .855."""
    for label, estimate in estimator(jax.random.key(0), adopters(3)).items():
        assert int(estimate.status) == Status.NO_SE, label
        assert np.isfinite(estimate.value)
        assert np.isnan(estimate.se)
    for label, estimate in estimator(jax.random.key(0), adopters(3, 3)).items():
        assert int(estimate.status) == Status.OK, label
        assert estimate.se > 0


def test_one_treated_cluster_has_no_standard_error():
    columns = dict(adopters(3, 3, 3)) | {"g": np.repeat(np.arange(5.0), 4)[:, None] * np.ones(6)}
    for method in (imputation, callaway_santanna):
        ((_, found),) = method("y ~ d", cluster="g")(None, Panel(columns)).items()
        assert int(found.status) == Status.NO_SE
        ((_, found),) = method("y ~ d")(None, Panel(columns)).items()
        assert int(found.status) == Status.OK


def test_leaving_out_needs_somebody_left():
    """Cohorts of one, one and two units: the first cells have nobody left, all together have."""
    found = imputation("y ~ d", vcov=ALL)(None, adopters(2, 3, 4, 4))
    told = {name: int(estimate.status) for (_, name), estimate in found.items()}
    lost, fine = int(Status.NO_SE), int(Status.OK)
    assert told == dict(zip(ALL, [fine, lost, lost, lost, fine], strict=True))
    found = imputation("y ~ d", horizons=[0], vcov=ALL)(None, adopters(2, 3, 4, 4))
    assert int(found["att[0]", "bjs:event"].status) == fine


def influence_by_hand(panel, pool, leave_out):
    """Formula (8) of Borusyak, Jaravel & Spiess, unit by unit, with dummies written out."""
    y, d = np.asarray(panel["y"]), np.asarray(panel["d"])
    n, t = d.shape
    unit, time = np.kron(np.eye(n), np.ones((t, 1))), np.kron(np.ones((n, 1)), np.eye(t))
    x, treated = np.hstack([unit, time]), d.ravel() == 1
    effect = y.ravel() - x @ (np.linalg.pinv(x[~treated]) @ y.ravel()[~treated])
    v = np.where(treated, 1.0 / treated.sum(), 0.0)
    v[~treated] = -(x[treated].T @ v[treated]) @ np.linalg.pinv(x[~treated])
    start, i = np.where(d.any(1), d.argmax(1), t), np.repeat(np.arange(n), t)
    event = np.tile(np.arange(t), n) - start[i]
    group = {"bjs:cohort": start[i], "bjs:event": event, "bjs:all": 0 * event}[pool]
    error = effect.copy()
    for g in np.unique(group[treated]):
        here = treated & (group == g)
        weight = np.array([v[here & (i == k)].sum() for k in range(n)])  # of each unit
        for cell in np.flatnonzero(here):
            smart = weight[i[here]] * v[here]
            mean = (smart * effect[here]).sum() / smart.sum()
            own = weight[i[cell]] ** 2 / (weight**2).sum()
            error[cell] = (effect[cell] - mean) / (1.0 - own if leave_out else 1.0)
    return np.array([(v * error)[i == k].sum() for k in range(n)])


@pytest.mark.parametrize("pool", ["bjs:cohort", "bjs:event", "bjs:all"])
def test_pooled_variances_by_hand(pool):
    panel = adopters(2, 2, 3, 3, 3, 4, 4, seed=2)
    found = imputation("y ~ d", vcov=pool)(None, panel)["att", pool]
    expected = (influence_by_hand(panel, pool, leave_out=True) ** 2).sum() ** 0.5
    assert float(found.se) == pytest.approx(expected, rel=1e-9)


def test_pooling_by_clusters_of_one_unit_is_pooling_by_units():
    columns = dict(adopters(2, 2, 3, 3, seed=3)) | {"g": np.arange(20.0)[::-1, None] * np.ones(6)}
    for name in ALL:
        one = imputation("y ~ d", vcov=name)(None, Panel(columns))["att", name]
        other = imputation("y ~ d", vcov=name, cluster="g")(None, Panel(columns))["att", name]
        assert float(one.se) == pytest.approx(float(other.se), rel=1e-12)


def test_three_cohorts_of_one_unit_are_covered_by_pooling():
    """True sd .54: "bjs" .17 (coverage .46), "bjs:all" .68 (.88), root mean squares."""
    d = adopters(2, 3, 4)["d"]
    noise = jax.random.normal(jax.random.key(5), (2000, 20, 6))
    estimator = imputation("y ~ d", vcov=["bjs", "bjs:all"])
    found = jax.device_get(
        jax.jit(jax.vmap(lambda y: estimator(None, Panel({"y": y, "d": d}))))(noise)
    )
    covered = {name: (abs(e.value) < 1.96 * e.se).mean() for (_, name), e in found.items()}
    assert covered["bjs"] < 0.50
    assert abs(covered["bjs:all"] - 0.885) < 4 * (0.885 * 0.115 / 2000) ** 0.5
    pooled = found["att", "bjs:all"]
    assert (pooled.se**2).mean() ** 0.5 > pooled.value.std()


# Notes


def test_cohorts_of_one_unit_are_told():
    """7 of the 15 treated cells are of cohorts of one unit; the cohort from 4 on has four."""
    panel = adopters(2, 3, 4, 4, 4, 4)
    for method in (imputation, callaway_santanna):
        told = jax.jit(method("y ~ d").diagnose)(panel)
        (share,) = [float(n) for name, n in told.items() if name.startswith("share of the weight")]
        assert share == pytest.approx(7 / 15)
    assert not any(
        "share" in name for name in jax.jit(imputation("y ~ d", vcov="bjs:all").diagnose)(panel)
    )
    with pytest.warns(UserWarning, match="imputation: share of the weight on cohorts of one"):
        mcsim.estimate(imputation("y ~ d"), panel)


@pytest.mark.parametrize(
    "estimator", [did("y ~ d"), fixed_effects("y ~ d | unit + time")], ids=["did", "fixed_effects"]
)
def test_one_treated_cluster_keeps_its_number_with_a_note(estimator):
    with pytest.warns(UserWarning, match="CR1 rests on one treated cluster: 1"):
        table = mcsim.estimate(estimator, adopters(3))
    assert np.isfinite(table["se"]).all()
    mcsim.estimate(estimator, adopters(3, 3))  # no warning, which would be an error


def test_cluster_diagnostics_count_treated_clusters():
    columns = dict(adopters(3, 3, 3)) | {"g": np.repeat(np.arange(5.0), 4)[:, None] * np.ones(6)}
    columns["x"] = np.random.default_rng(1).normal(size=(20, 6))
    for cluster, number in (("unit", 3), ("g", 1)):
        estimator = fixed_effects("y ~ d + x | unit + time", cluster=cluster)
        assert cluster_diagnostics(estimator, Panel(columns), "d").treated == number
        assert cluster_diagnostics(estimator, Panel(columns), "x").treated is None


# Few clusters, signs enumerated


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.01])
@pytest.mark.parametrize("number", range(2, 10))
def test_the_attainable_size_is_that_of_all_signs(alpha, number):
    """Every vector of signs plays the data: how often is the p-value, strictly counted, below a?"""
    sums = np.random.default_rng(number).normal(size=number)
    signs = np.array(list(itertools.product([-1, 1], repeat=number)))
    statistic = abs(signs @ sums)
    p_values = (statistic[:, None] < statistic - 1e-12).mean(axis=1)
    size = float(attainable_size(alpha, jnp.asarray(float(number))))
    assert size == pytest.approx((p_values < alpha).mean())


@pytest.mark.parametrize(("number", "size"), [(3, 0.25), (6, 0.0625), (7, 0.0625), (8, 0.0)])
def test_few_clusters_are_told_at_the_level(number, size):
    rng = np.random.default_rng(0)
    panel = Panel({"y": rng.normal(size=(number, 4)), "x": rng.normal(size=(number, 4))})
    estimator = ols("y ~ x", vcov=["wild", "wild:webb"], cluster="unit")
    ((name, told),) = estimator.diagnose(panel).items()
    assert name.startswith("wild has so few clusters that a test at 0.05")
    assert float(told) == size
    at_ten = ols("y ~ x", vcov="wild", cluster="unit", level=0.9)
    expected = {3: 0.25, 6: 0.125, 7: 0.0, 8: 0.0}[number]
    assert [float(n) for n in at_ten.diagnose(panel).values()] == [expected]
    drawn = ols("y ~ x", vcov="wild", cluster="unit", resamples=2**number - 1)
    assert [float(n) for n in drawn.diagnose(panel).values()] == [0.0]


def test_the_note_of_a_study_is_at_its_level():
    def six_units(key, design):
        y, x = jax.random.normal(key, (2, 6, 4))
        return Sample(Panel({"y": y, "x": x}), {"x": 0.0})

    study = Study(six_units, ols("y ~ x", vcov="wild", cluster="unit"), level=0.9)
    (note,) = mcsim.run(study, reps=2, workers=0, progress=False).notes
    assert "a test at 0.1 rejects true nulls at: 0.125" in note
