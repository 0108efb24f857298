"""Variances of linear fits against pyfixest, linearmodels, statsmodels, plm and brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

import mcsim
from mcsim import Panel, Status
from mcsim.errors import InputError
from mcsim.estimators import cluster_diagnostics, fixed_effects, ols
from mcsim.estimators._linear_model.data import Counts
from mcsim.estimators._variance.names import faults_of_vcov, parse_vcov
from mcsim.estimators._variance.small_sample import (
    RULES,
    default_lags,
    for_cells,
    for_clusters,
    for_kernel,
)

SLOW = [pytest.param((effect,), marks=pytest.mark.slow) for effect in ("unit", "time")]
EFFECTS = [(), ("unit", "time"), *SLOW]
COLUMNS = {"unit": "nr", "time": "year", "state": "state"}
X = ("expersq", "union", "married")
rtol = 1e-8


def regression(formula, **options):
    return (fixed_effects if "|" in formula else ols)(formula, **options)


def formula_of(effects, y="lwage", x=X):
    return f"{y} ~ {' + '.join(x)}" + (f" | {' + '.join(effects)}" if effects else "")


@pytest.fixture(scope="module")
def wages():
    data = pytest.importorskip("linearmodels.datasets.wage_panel", reason="data and reference")
    frame = data.load()
    frame = frame[frame.nr.isin(frame.nr.unique()[:60])].reset_index(drop=True)
    return frame.assign(state=frame.nr % 7)


def sample(frame, balanced):
    """Units that come late or leave early, without gaps: libraries differ in what those mean."""
    late, early = (frame.nr % 3 == 0) & (frame.year <= 1981), frame.year >= 1988 - frame.nr % 4
    return frame if balanced else frame[~late & ~early]


@pytest.fixture(scope="module")
def toy():
    rng = np.random.default_rng(3)
    n, t = 14, 6
    frame = pd.DataFrame({"i": np.repeat(np.arange(n), t), "t": np.tile(np.arange(t), n)})
    frame["a"] = rng.normal(size=n * t) + 0.3 * frame.i
    frame["b"] = (rng.random(n * t) < 0.4) * 1.0
    frame["y"] = frame.a + 0.1 * frame.t + rng.normal(size=n * t) * (1 + frame.b)
    frame["g"] = (frame.i % 5).astype(float) ** 2
    return frame, frame[rng.random(n * t) < 0.7]


# The libraries -----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("effects", EFFECTS, ids="+".join)
def test_fixest_rules_are_pyfixest(wages, effects, balanced):
    pf = pytest.importorskip("pyfixest", reason="the reference")
    frame = sample(wages, balanced)
    clusters = ["unit", "time", "state", "unit + time", "state + time"]
    vcov = {f"CR1({c})": {"CRV1": "+".join(COLUMNS[n] for n in c.split(" + "))} for c in clusters}
    vcov |= {f"CR3({name})": {"CRV3": COLUMNS[name]} for name in ("time", "state")}
    vcov |= {"iid": "iid", "HC1": "hetero", "NW": "NW", "DK": "DK", "NW(3)": "NW", "DK(3)": "DK"}
    vcov |= {} if effects else {"HC2": "HC2", "HC3": "HC3"}
    panel, _ = mcsim.from_frame(frame, unit="nr", time="year")
    rule = "fixest-0.13" if effects else "pyfixest-0.60"
    estimates = regression(formula_of(effects), vcov=list(vcov), ssc=rule)(None, panel)
    fit = pf.feols(formula_of([COLUMNS[e] for e in effects]), frame, fixef_tol=1e-13)
    for name, theirs in vcov.items():
        serial = {"time_id": "year", "panel_id": "nr"} | ({"lag": 3} if "(3)" in name else {})
        fit.vcov(theirs, vcov_kwargs=serial if theirs in ("NW", "DK") else None)
        ours = [estimates[term, name] for term in X]
        np.testing.assert_allclose([e.se for e in ours], fit.se()[list(X)], rtol, err_msg=name)
        assert float(ours[0].df) == pytest.approx(float(fit._df_t)), name


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "pyfixest-0.60"])
def test_hc2_and_hc3_are_those_of_statsmodels(wages, rule):
    """Leverage corrections take the place of n/(n - k): statsmodels' HC2_se and HC3_se.

    Under the jackknife rule HC3 has (n - 1)/n (MacKinnon & White 1985, without their mean term).
    """
    panel, _ = mcsim.from_frame(wages, unit="nr", time="year")
    theirs = sm.OLS(wages.lwage, sm.add_constant(wages[list(X)])).fit()
    estimates = ols(formula_of(()), vcov=["HC2", "HC3", "HC2:BM"], ssc=rule)(None, panel)
    n = len(wages)
    share = (n - 1) / n if rule == "jackknife" else 1.0
    for term in X:
        hc2, hc3 = (float(estimates[term, name].se) for name in ("HC2", "HC3"))
        assert hc2 == pytest.approx(theirs.HC2_se[term], rel=rtol)
        assert hc3 == pytest.approx(share**0.5 * theirs.HC3_se[term], rel=rtol)
        assert hc2 == pytest.approx(float(estimates[term, "HC2:BM"].se), rel=1e-14)


@pytest.mark.parametrize("name", ["HC2", "HC3"])
def test_pyfixest_has_no_leverage_corrections_with_effects(name):
    with pytest.raises(InputError, match=f"got '{name}' with ssc='pyfixest-0.60' and effects"):
        fixed_effects("y ~ x | unit", vcov=[name, "CR1"], ssc="pyfixest-0.60")
    with pytest.raises(InputError, match=f"got '{name}' with ssc='pyfixest-0.60' and effects"):
        mcsim.estimators.did("y ~ d", vcov=name, ssc="pyfixest-0.60")
    fixed_effects("y ~ x | unit", vcov="HC2:BM", ssc="pyfixest-0.60")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("effects", EFFECTS, ids="+".join)
def test_linearmodels_rule_is_linearmodels(wages, effects, balanced):
    lm = pytest.importorskip("linearmodels.panel", reason="the reference")
    frame = sample(wages, balanced).set_index(["nr", "year"])
    unit, time = {"cluster_entity": True}, {"cluster_time": True}
    vcov = {
        "iid": ("unadjusted", {}),
        "HC1": ("robust", {}),
        "CR1": ("clustered", unit),
        "CR1(time)": ("clustered", time),
        "CR1(state)": ("clustered", {"clusters": frame[["state"]]}),
        "CR1(unit + time)": ("clustered", unit | time),
        "DK": ("kernel", {}),
        "DK(3)": ("kernel", {"bandwidth": 3}),
        "NW": ("autocorrelated", {}),
        "NW(3)": ("autocorrelated", {"bandwidth": 3}),
    }
    panel, _ = mcsim.from_frame(frame.reset_index(), unit="nr", time="year")
    options = {"vcov": list(vcov), "ssc": "linearmodels"}
    estimates = regression(formula_of(effects), **options)(None, panel)
    dummies = {"entity_effects": "unit" in effects, "time_effects": "time" in effects}
    model = (
        lm.PanelOLS(frame.lwage, frame[list(X)], **dummies)
        if effects
        else lm.PooledOLS(frame.lwage, sm.add_constant(frame[list(X)]))
    )
    for name, (kind, config) in vcov.items():
        fit = model.fit(cov_type=kind, **config)
        ours = [estimates[term, name] for term in X]
        np.testing.assert_allclose(
            [e.se for e in ours], fit.std_errors[list(X)], rtol, err_msg=name
        )
        assert float(ours[0].df) == fit.df_resid, name


@pytest.mark.filterwarnings("ignore")
def test_stata_rules(wages):
    """The manual's xtreg is PanelOLS with group_debias and a constant; areg is LSDV."""
    lm = pytest.importorskip("linearmodels.panel", reason="the reference")
    frame = sample(wages, False)
    panel, _ = mcsim.from_frame(frame, unit="nr", time="year")
    indexed = frame.set_index(["nr", "year"])
    model = lm.PanelOLS(indexed.lwage, sm.add_constant(indexed[list(X)]), entity_effects=True)
    xtreg = model.fit(cov_type="clustered", cluster_entity=True, group_debias=True)
    design = pd.get_dummies(frame[[*X, "nr"]], columns=["nr"], dtype=float)
    codes = frame.nr.astype("category").cat.codes
    areg = sm.OLS(frame.lwage, design).fit(cov_type="cluster", cov_kwds={"groups": codes})
    for rule, theirs in (("stata-xtreg", xtreg.std_errors), ("stata-areg", areg.bse)):
        estimates = fixed_effects(formula_of(("unit",)), ssc=rule)(None, panel)
        ours = [estimates[term, "CR1"].se for term in X]
        np.testing.assert_allclose(ours, theirs[list(X)], rtol)
        assert float(estimates["union", "CR1"].df) == 59


def test_one_unit_is_statsmodels_hac():
    rng = np.random.default_rng(0)
    x, e = rng.normal(size=(2, 80)).cumsum(axis=1) * 0.3
    y = 1 + x + e
    panel = Panel({"y": y[None], "x": x[None]})
    fits = {
        ("none", "NW(4)"): (4, False),
        ("linearmodels", "DK(4)"): (4, True),
        ("linearmodels", "NW"): (3, True),
    }
    for (rule, name), (lags, correction) in fits.items():
        kwds = {"maxlags": lags, "use_correction": correction}
        theirs = sm.OLS(y, sm.add_constant(x)).fit(cov_type="HAC", cov_kwds=kwds).bse[1]
        ours = ols("y ~ x", vcov=name, ssc=rule)(None, panel)["x", name]
        assert float(ours.se) == pytest.approx(theirs, rel=rtol)


@pytest.mark.filterwarnings("ignore")
def test_plm_on_grunfeld():
    """plm in R (vcovSCC with maxlag 2, vcovDC, vcovHC by group, all HC0) on its ten firms."""
    frame = sm.datasets.grunfeld.load_pandas().data
    frame = frame[frame.firm != "American Steel"]
    panel, _ = mcsim.from_frame(frame, unit="firm", time="year")
    figures = {
        ("", "DK(2)"): (0.0115228, 0.0483756),
        ("", "CR0(unit + time)"): (0.0154345, 0.0740718),
        (" | unit", "CR0"): (0.0143421, 0.0497926),
        (" | unit + time", "CR0"): (0.0097120, 0.0429311),
    }
    for (effects, name), (value, capital) in figures.items():
        estimator = regression(f"invest ~ value + capital{effects}", vcov=name, ssc="none")
        estimates = estimator(None, panel)
        assert float(estimates["value", name].se) == pytest.approx(value, abs=6e-8)
        assert float(estimates["capital", name].se) == pytest.approx(capital, abs=6e-8)
        assert float(estimates["capital", name].df) == np.inf


# Leverage: brute force ---------------------------------------------------------------------------


def lsdv(frame, effects):
    dummies = [pd.get_dummies(frame[c], dtype=float).iloc[:, 1:].to_numpy() for c in effects]
    return np.column_stack([np.ones(len(frame)), frame.a, frame.b, *dummies])


def brute_force(frame, effects, clusters, power, position):
    """Variance and Satterthwaite df from the full hat matrix; power -1/2 is CR2, -1 is CR3."""
    x = lsdv(frame, effects)
    inverse = np.linalg.pinv(x.T @ x, rcond=1e-13)
    annihilator = np.eye(len(x)) - x @ inverse @ x.T
    loading, variance, forms = (x @ inverse)[:, 1 + position], 0.0, []
    for g in np.unique(clusters):
        at = np.flatnonzero(clusters == g)
        values, vectors = np.linalg.eigh(annihilator[np.ix_(at, at)])
        scale = np.where(values > 1e-9, np.where(values > 1e-9, values, 1.0) ** power, 0.0)
        adjusted = vectors @ (scale * (vectors.T @ loading[at]))
        variance += (adjusted @ (annihilator @ frame.y.to_numpy())[at]) ** 2
        forms.append(annihilator[:, at] @ adjusted)
    form = np.array(forms) @ np.array(forms).T
    return variance, np.trace(form) ** 2 / np.trace(form @ form)


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("effects", EFFECTS, ids="+".join)
def test_leverage_corrections_are_lsdv(toy, effects, balanced):
    frame = toy[0] if balanced else toy[1]
    panel, _ = mcsim.from_frame(frame, unit="i", time="t")
    clusters = {"unit": frame.i, "time": frame.t, "g": frame.g}
    vcov = [f"{kind}({name})" for kind in ("CR2:BM", "CR2", "CR3") for name in clusters]
    vcov += ["HC2", "HC2:BM", "HC3"]
    formula = formula_of(effects, "y", ("a", "b"))
    estimates = regression(formula, vcov=vcov, ssc="none")(None, panel)
    codes = [{"unit": "i", "time": "t"}[effect] for effect in effects]
    for name in vcov:
        groups = clusters[name[:-1].split("(")[1]] if "(" in name else np.arange(len(frame))
        for position, term in enumerate("ab"):
            power = -0.5 if name[2] == "2" else -1.0
            variance, df = brute_force(frame, codes, np.asarray(groups), power, position)
            ours = estimates[term, name]
            assert float(ours.se) == pytest.approx(variance**0.5, rel=rtol), (name, term)
            assert float(ours.df) == pytest.approx(df if "BM" in name else np.inf, rel=rtol)


@pytest.mark.parametrize("cluster", ["unit", "time", "g"])
@pytest.mark.parametrize("effects", EFFECTS, ids="+".join)
def test_cr3_is_the_jackknife(toy, effects, cluster):
    frame, column = toy[1], {"unit": "i", "time": "t"}.get(cluster, cluster)
    formula = formula_of(effects, "y", ("a", "b"))
    estimator = regression(formula, vcov="CR3", cluster=cluster, ssc="jackknife")
    ours = estimator(None, mcsim.from_frame(frame, unit="i", time="t")[0])["a", "CR3"]
    codes = [{"unit": "i", "time": "t"}[effect] for effect in effects]
    left = [frame[frame[column] != g] for g in frame[column].unique()]
    fits = [np.linalg.lstsq(lsdv(f, codes), f.y, rcond=None)[0][1] for f in left]
    share = (len(fits) - 1) / len(fits)
    variance = share * ((np.array(fits) - float(ours.value)) ** 2).sum()
    assert float(ours.se) == pytest.approx(variance**0.5, rel=rtol)
    assert float(ours.df) == len(fits) - 1


def test_a_coefficient_that_rests_on_one_cluster(toy):
    """CR2 takes a generalized inverse; CR3 cannot delete the cluster, others have an error."""
    frame = toy[0].assign(b=lambda f: (f.i == 3) * (f.t > 2) * 1.0)
    panel, _ = mcsim.from_frame(frame, unit="i", time="t")
    formula = formula_of(("unit", "time"), "y", ("a", "b"))
    estimates = fixed_effects(formula, vcov=["CR2", "CR3", "CR3(time)"], ssc="none")(None, panel)
    variance, _ = brute_force(frame, ["i", "t"], frame.i.to_numpy(), -0.5, 0)
    assert float(estimates["a", "CR2"].se) == pytest.approx(variance**0.5, rel=rtol)
    assert estimates["b", "CR3"].status == Status.NO_SE
    assert np.isnan(estimates["b", "CR3"].se)
    assert np.isfinite(estimates["b", "CR3"].value)
    assert estimates["a", "CR3"].status == estimates["b", "CR3(time)"].status == Status.OK


# Rules -------------------------------------------------------------------------------------------


def test_factors_are_frozen():
    """Two-way effects, 14 units and 6 periods, 2 slopes: 21 parameters, 8 not nested in units."""
    counts = Counts(84, 14, 6, 2, ("unit", "time"))
    n, k, crossed, g, t = 84, 21, 8, 14, 6
    full, kernel = n / (n - k), t / (t - 1) * (n - 1) / (n - k)
    sums, all_sums = g / (g - 1) * (n - 1) / (n - crossed), g / (g - 1) * (n - 1) / (n - k)
    kinds = ("iid", "HC1", "HC2", "HC2:BM", "HC3", "CR1", "CR2", "CR3", "DK")
    expected = {
        "fixest-0.13": (full, full, 1, 1, 1, sums, 1, sums, kernel),
        "pyfixest-0.60": (full, full, full, 1, full, sums, 1, sums, kernel),
        "stata-xtreg": (full, full, 1, 1, 1, sums, 1, (g - 1) / g, kernel),
        "stata-areg": (full, full, 1, 1, 1, all_sums, 1, (g - 1) / g, kernel),
        "linearmodels": (full, full, 1, 1, 1, full, 1, 1, full),
        "jackknife": (full, full, 1, 1, (n - 1) / n, sums, 1, (g - 1) / g, kernel),
        "none": (1,) * 9,
    }
    assert tuple(expected) == RULES
    for rule, factors in expected.items():
        df = {"linearmodels": (n - k,) * 3, "none": (np.inf,) * 3}.get(rule, (n - k, g - 1, t - 1))
        for name, factor in zip(kinds, factors, strict=True):
            vcov = parse_vcov(name, "unit")
            told = [
                for_cells(rule, vcov, counts),
                for_clusters(rule, vcov, counts, jnp.asarray(14.0)),
                for_kernel(rule, counts),
            ]
            kind = {"CR": 1, "DK": 2}.get(name[:2], 0)
            assert float(told[kind].factor) == pytest.approx(factor, rel=1e-14), (rule, name)
            assert float(told[kind].df) == df[kind], (rule, name)


def test_default_lags():
    assert [default_lags("fixest-0.13", t) for t in (1, 8, 16, 81)] == [0, 1, 2, 3]
    assert [default_lags("linearmodels", t) for t in (1, 8, 100)] == [0, 2, 4]


def test_names_that_a_method_does_not_have():
    faults = faults_of_vcov(("CR2", "CRR", "DK(x)"), "unit", ("iid", "CR1", "DK"))
    assert faults[0].startswith("vcov: 'CR2' is not defined for this method, which has iid")
    assert "did you mean 'CR1'" in faults[1]
    assert "expected a number of lags" in faults[2]


def test_more_lags_than_periods(toy):
    panel, _ = mcsim.from_frame(toy[0], unit="i", time="t")
    with pytest.raises(InputError, match="6 lags, the panel 6 periods"):
        ols("y ~ a", vcov="DK(6)")(None, panel)


# Properties --------------------------------------------------------------------------------------

ALL = ["iid", "HC1", "HC2:BM", "HC3", "CR1", "CR1(g + time)", "CR2:BM(g)", "CR3", "DK(2)", "NW(2)"]


@pytest.mark.parametrize("effects", EFFECTS, ids="+".join)
@pytest.mark.parametrize("balanced", [True, False])
def test_order_scale_and_labels_do_not_matter(toy, effects, balanced):
    panel, _ = mcsim.from_frame(toy[0] if balanced else toy[1], unit="i", time="t")
    estimator = regression(formula_of(effects, "y", ("a", "b")), vcov=ALL)
    order = np.random.default_rng(1).permutation(panel.n_units)
    before, shuffled = estimator(None, panel), estimator(None, panel.take(order))
    relabeled = {"y": 100.0 * panel["y"] + 7.0, "g": 5.5 - jnp.sqrt(panel["g"])}
    scaled = estimator(None, panel.with_columns(relabeled))
    for label, estimate in before.items():
        for other, scale in ((shuffled, 1.0), (scaled, 100.0)):
            assert estimate.status == Status.OK
            np.testing.assert_allclose(other[label].se, scale * estimate.se, 1e-9, err_msg=label[1])
            np.testing.assert_allclose(other[label].df, estimate.df, 1e-9)


def test_repeated_observations_are_worth_one():
    """Petersen's extreme: x and e the same in all T periods, CR0 = T HC0 = HC0 of one period."""
    rng = np.random.default_rng(5)
    x, e = rng.normal(size=(2, 40, 1))
    columns = {"x": np.repeat(x, 6, axis=1), "y": np.repeat(x + e, 6, axis=1)}
    many = ols("y ~ x", vcov=["HC0", "CR0"], ssc="none")(None, Panel(columns))
    one = ols("y ~ x", vcov="HC0", ssc="none")(None, Panel({"x": x, "y": x + e}))
    assert float(many["x", "CR0"].se) == pytest.approx(6**0.5 * float(many["x", "HC0"].se))
    assert float(many["x", "CR0"].se) == pytest.approx(float(one["x", "HC0"].se))


def test_lags_count_periods_across_gaps(toy):
    frame = toy[1]
    panel, _ = mcsim.from_frame(frame, unit="i", time="t")
    x = lsdv(frame, [])
    inverse = np.linalg.inv(x.T @ x)
    influence = (x @ inverse)[:, 1] * (frame.y - x @ (inverse @ (x.T @ frame.y)))
    weight = np.maximum(1 - np.abs(np.subtract.outer(*[frame.t.to_numpy()] * 2)) / 3, 0)
    same = np.equal.outer(*[frame.i.to_numpy()] * 2)
    estimates = ols("y ~ a + b", vcov=["NW(2)", "DK(2)"], ssc="none")(None, panel)
    for name, pairs in (("NW(2)", same), ("DK(2)", 1.0)):
        variance = influence @ (weight * pairs) @ influence
        assert float(estimates["a", name].se) == pytest.approx(variance**0.5, rel=rtol)


def panels(key, number, n_units, n_periods):
    draws = jax.random.normal(key, (number, 2, n_units, n_periods))
    return jax.vmap(lambda d: Panel({"y": d[0], "x": d[1]}))(draws)


def test_negative_two_way_variances_are_told():
    batch = panels(jax.random.key(0), 300, 4, 4)
    names = ["CR0(unit + time)", "CR0", "CR0(time)", "HC0"]
    estimates = jax.vmap(lambda p: ols("y ~ x", vcov=names, ssc="none")(None, p))(batch)
    both, unit, time, cell = (estimates["x", name] for name in names)
    variance = unit.se**2 + time.se**2 - cell.se**2
    assert 0 < int((variance < 0).sum()) < 300
    np.testing.assert_array_equal(np.isnan(both.se), variance < 0)
    np.testing.assert_array_equal(both.status == Status.NO_SE, variance < 0)
    np.testing.assert_allclose(both.se[variance > 0] ** 2, variance[variance > 0], 1e-9)


@pytest.mark.parametrize("effects", ["", " | unit + time"])
def test_iid_t_intervals_are_exact(effects):
    batch = panels(jax.random.key(1), 8000, 6, 3)
    estimator = regression(f"y ~ x{effects}", vcov="iid")
    estimate = jax.jit(jax.vmap(lambda p: estimator(None, p)))(batch)["x", "iid"]
    rejected = np.abs(estimate.value / estimate.se) > stats.t.ppf(0.975, np.asarray(estimate.df))
    assert rejected.mean() == pytest.approx(0.05, abs=3 * (0.05 * 0.95 / 8000) ** 0.5)


def test_hc2_is_unbiased_and_bell_mccaffrey_covers():
    """Three treated among 20: HC2 has no bias, yet with t(n-2) rejects too often; BM does not."""
    d = jnp.zeros((20, 1)).at[:3].set(1.0)
    noise = jax.random.normal(jax.random.key(2), (20000, 20, 1))
    estimator = ols("y ~ d", vcov=["HC2", "HC2:BM"], ssc="none")
    estimates = jax.jit(jax.vmap(lambda y: estimator(None, Panel({"y": y, "d": d}))))(noise)
    squared = estimates["d", "HC2"].se ** 2
    mcse = float(squared.std()) / 20000**0.5
    assert float(squared.mean()) == pytest.approx(1 / 3 + 1 / 17, abs=4 * mcse)
    ratio = np.abs(estimates["d", "HC2"].value / estimates["d", "HC2"].se)
    df = np.asarray(estimates["d", "HC2:BM"].df)
    assert (ratio > stats.t.ppf(0.975, 18)).mean() > 0.08
    assert 0.02 < (ratio > stats.t.ppf(0.975, df)).mean() <= 0.05


def test_hc2_within_units_observed_twice():
    """Unit effects, T = 2, iid errors: HC2 has no bias; HC3 doubles it, its factor 1/(1 - h)^2.

    Before 0.3 the default rule had HC2 twice and HC3 four times as large. The leverages are 1/2
    and a little, so that the exact expectation of HC3 is that of 1/(1 - h) in place of 1.
    """
    x = jax.random.normal(jax.random.key(8), (100, 2))
    noise = jax.random.normal(jax.random.key(9), (4000, 100, 2))
    estimator = fixed_effects("y ~ x | unit", vcov=["HC2", "HC3"])
    run = jax.jit(jax.vmap(lambda y: estimator(None, Panel({"y": y, "x": x}))))
    estimates = jax.device_get(run(noise))
    within = np.asarray(x - x.mean(axis=1, keepdims=True))
    loading, leverage = within / (within**2).sum(), 0.5 + within**2 / (within**2).sum()
    expected = {"HC2": (loading**2).sum(), "HC3": (loading**2 / (1.0 - leverage)).sum()}
    for name, variance in expected.items():
        squared = np.asarray(estimates["x", name].se) ** 2
        assert squared.mean() == pytest.approx(variance, abs=4 * squared.std() / 4000**0.5)
    of_hc2 = estimates["x", "HC2"]
    covered = np.abs(of_hc2.value / of_hc2.se) <= stats.t.ppf(0.975, of_hc2.df)
    assert covered.mean() == pytest.approx(0.95, abs=0.015)


# Failures are data -------------------------------------------------------------------------------


def test_too_few_clusters_and_groups_that_vary(toy):
    frame = toy[0].assign(one=1.0, two=toy[0].i % 2, c=lambda f: f.a**2, moves=toy[0].t)
    panel, _ = mcsim.from_frame(frame, unit="i", time="t")
    broken = ["CR1(one)", "CR2:BM(one)", "CR3(one)", "CR0(moves)", "CR1(moves)", "CR2(moves)"]
    estimates = ols("y ~ a + b + c", vcov=[*broken, "CR1", "CR0(two)"])(None, panel)
    for name in broken:
        estimate = estimates["a", name]
        assert (estimate.status, np.isnan(estimate.se)) == (Status.NO_SE, True), name
        assert estimate.value == estimates["a", "CR1"].value
    assert estimates["a", "CR1"].status == Status.OK
    x = np.column_stack([np.ones(len(frame)), frame[["a", "b", "c"]]])
    residual = frame["y"] - x @ np.linalg.lstsq(x, frame["y"], rcond=None)[0]
    weights = np.linalg.pinv(x)[1]  # two clusters, four coefficients
    scores = (weights * residual).groupby(frame["two"]).sum()
    assert float(estimates["a", "CR0(two)"].se) == pytest.approx(np.sqrt((scores**2).sum()))


@pytest.mark.parametrize(
    ("effects", "masked"), [("", False), (" | unit + time", False), (" | unit + time", True)]
)
def test_broken_lanes_leave_their_neighbors_alone(toy, effects, masked):
    frame = toy[1] if masked else toy[0]
    panel, _ = mcsim.from_frame(frame, unit="i", time="t")
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), panel)
    a, y, g = batch["a"], batch["y"], batch["g"]
    spoiled = {
        "a": a.at[1].set(2.0 * batch["b"][1]),
        "y": y.at[2].set(jnp.nan),
        "g": g.at[3].set(jnp.arange(6.0)),
    }
    columns = {name: spoiled.get(name, batch[name]) for name in panel}
    worse = Panel.batch(columns, batch.mask)
    estimator = regression(f"y ~ a + b{effects}", vcov=ALL)
    run = jax.jit(jax.vmap(lambda p: estimator(None, p)))
    fine, spoilt = run(batch), run(worse)
    for label, estimate in spoilt.items():
        for ours, theirs in zip(estimate, fine[label], strict=True):
            np.testing.assert_array_equal(ours[0], theirs[0])
        group = Status.NO_SE if "g" in label[1] else Status.OK
        expected = [Status.OK, Status.SINGULAR, Status.NAN, group]
        assert estimate.status.tolist() == expected, label


@pytest.mark.parametrize("balanced", [True, False])
def test_two_way_clusters_of_units_subtract_those_of_both(toy, balanced):
    """Cameron, Gelbach & Miller (2011): V(g) + V(h) - V(g and h), where groups have no order."""
    frame = toy[0] if balanced else toy[1]
    frame = frame.assign(h=(frame.i * 7 % 3).astype(float))
    frame["both"] = frame.g * 10 + frame.h
    panel, _ = mcsim.from_frame(frame, unit="i", time="t")
    names = ["CR0(g + h)", "CR0(g)", "CR0(h)", "CR0(both)"]
    found = fixed_effects("y ~ a + b | time", term="a", vcov=names)(None, panel)
    two, one, other, both = (float(found["a", name].se) ** 2 for name in names)
    assert two == pytest.approx(one + other - both, rel=1e-9)


# Diagnostics -------------------------------------------------------------------------------------


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("cluster", ["unit", "time", "g"])
def test_cluster_diagnostics(toy, cluster, balanced):
    frame = toy[0] if balanced else toy[1]
    panel, _ = mcsim.from_frame(frame, unit="i", time="t")
    estimator = fixed_effects("y ~ a + b | time", cluster=cluster)
    told = cluster_diagnostics(estimator, panel, "b")
    table = pd.DataFrame(told.by_cluster).set_index("cluster")
    column = frame[{"unit": "i", "time": "t"}.get(cluster, cluster)]
    x = lsdv(frame, ["t"])
    hat = x @ np.linalg.inv(x.T @ x) @ x.T
    nested = 1.0 / frame.groupby("t").t.transform("count") if cluster == "time" else 0.0
    leverage = pd.Series(np.diag(hat) - nested, frame.index).groupby(column).sum()
    loading = (x @ np.linalg.inv(x.T @ x))[:, 2]
    assert table.observations.tolist() == column.value_counts().sort_index().tolist()
    assert told.n_clusters == column.nunique() == len(table)
    np.testing.assert_allclose(table.leverage, leverage, 1e-9)
    gamma = pd.Series(loading, frame.index).groupby(column).agg(lambda v: (v**2).sum())
    np.testing.assert_allclose(table.partial_leverage, gamma / gamma.sum(), 1e-9)
    assert told.effective == pytest.approx(gamma.sum() ** 2 / (gamma**2).sum())
    assert np.isnan(told.effective_correlated) == (cluster == "time")
    first = frame[column != table.index[0]]
    refit = np.linalg.lstsq(lsdv(first, ["t"]), first.y, rcond=None)[0][2]
    assert table.coefficient_without.iloc[0] == pytest.approx(refit)


@pytest.mark.parametrize(("ssc", "number"), [("fixest-0.13", 5), ("stata-xtreg", 6)])
def test_cluster_diagnostics_are_of_the_sample_that_is_estimated_on(ssc, number):
    y, x = jax.random.normal(jax.random.key(7), (2, 6, 4))
    mask = jnp.ones((6, 4), bool).at[0, 1:].set(False)  # a unit that is seen once
    panel = Panel({"y": y, "x": x}, mask)
    estimator = fixed_effects("y ~ x | unit", vcov="CR1", ssc=ssc)
    estimate = estimator(None, panel)["x", "CR1"]
    told = cluster_diagnostics(estimator, panel)
    assert told.n_clusters == len(told.by_cluster["cluster"]) == float(estimate.df) + 1 == number
    assert told.coefficient == pytest.approx(float(estimate.value))


def test_cluster_diagnostics_solve_as_the_estimator_does():
    t = jnp.arange(30.0).reshape(10, 3)
    panel = Panel({"y": jnp.sin(t), "a": t, "b": t + 1e-6 * jnp.cos(7 * t)})
    with pytest.raises(InputError, match="cannot be estimated"):
        cluster_diagnostics(ols("y ~ a + b"), panel)
    estimator = ols("y ~ a + b", solver="qr")
    told = cluster_diagnostics(estimator, panel)
    assert told.coefficient == pytest.approx(float(estimator(None, panel)["a", "HC1"].value))


def test_cluster_diagnostics_refuse(toy):
    panel, _ = mcsim.from_frame(toy[0], unit="i", time="t")
    with pytest.raises(InputError, match="expected one from ols or fixed_effects"):
        cluster_diagnostics(mcsim.estimators.difference_in_means("y ~ b"), panel)
    with pytest.raises(InputError, match=r"fixed_effects\('y ~ b \+ a \| unit \+ time'\)"):
        cluster_diagnostics(mcsim.estimators.did("y ~ b | a"), panel)
    with pytest.raises(InputError, match="2 faults"):
        cluster_diagnostics(ols("y ~ a", vcov="CR1", cluster=("unit", "g")), panel, "c")
    with pytest.raises(InputError, match="cannot be estimated"):
        cluster_diagnostics(ols("y ~ a + I(2*a)"), panel)
