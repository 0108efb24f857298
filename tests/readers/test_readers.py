"""Readers of fitted results, each library against what it prints itself.

linearmodels and pyfixest come with ``pip install '.[test]'``. DoubleML, econml and diff-diff
are heavy, and not part of it: their tests skip unless the library is there. They are run by hand
when a reader changes, in an environment of their own:
``pip install '.[test,doubleml,econml,diff-diff]'``, then
``pytest tests/readers/test_readers.py``.
"""

import copy
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf

import mcsim
from mcsim import Estimate, Status, Study, from_frame
from mcsim._readers import read_result
from mcsim.errors import ContractError, InputError
from mcsim.measures._replications import complete_intervals

pytestmark = pytest.mark.filterwarnings("ignore")  # the libraries' own

UNITS, PERIODS = 30, 6


def draw():
    """A small panel with a unit effect, a dummy treatment, an endogenous regressor and counts."""
    rng = np.random.default_rng(3)
    effect, shock = rng.normal(size=UNITS).repeat(PERIODS), rng.normal(size=UNITS * PERIODS)
    d = (effect + rng.normal(size=effect.size) > 0).astype(float)
    z = rng.normal(size=effect.size)
    return pd.DataFrame(
        {
            "unit": np.arange(UNITS).repeat(PERIODS),
            "time": np.tile(np.arange(2001, 2001 + PERIODS), UNITS),
            "y": 0.3 * d + effect + shock,
            "d": d,
            "x": rng.normal(size=effect.size),
            "w": z + 0.5 * shock + rng.normal(size=effect.size),
            "z": z,
            "count": rng.poisson(np.exp(0.3 * d)),
        }
    )


FRAME = draw()
INDEXED = FRAME.set_index(["unit", "time"])


def read(result, term=None):
    (estimate,) = read_result(result, term=term).values()
    return estimate


def agrees(estimate, value, se, lower, upper, p_value, df=None):
    """What mcsim makes of the estimate is what the library prints."""
    row = pd.DataFrame([estimate._asdict()]).drop(columns="status").astype(float)
    row = complete_intervals(row, 0.95, 0.0).iloc[0]
    found = [row[name] for name in ("value", "se", "lower", "upper")]
    np.testing.assert_allclose(found, [value, se, lower, upper], rtol=1e-9)
    np.testing.assert_allclose(row["p_value"], p_value, rtol=1e-6, atol=1e-14)
    assert estimate.status == Status.OK
    if df is not None:
        assert (estimate.df, np.isnan(estimate.lower)) == (df, True)


# statsmodels

CLUSTER = {"cov_type": "cluster", "cov_kwds": {"groups": FRAME["unit"]}}


@pytest.mark.parametrize(
    ("fit", "df"),
    [
        (lambda: smf.ols("y ~ d + x", FRAME).fit(), 177),
        (lambda: smf.ols("y ~ d + x", FRAME).fit(cov_type="HC1"), np.inf),
        (lambda: smf.ols("y ~ d + x", FRAME).fit(cov_type="HC1", use_t=True), 177),
        (lambda: smf.ols("y ~ d + x", FRAME).fit(**CLUSTER), np.inf),
        (lambda: smf.ols("y ~ d + x", FRAME).fit(**CLUSTER, use_t=True), UNITS - 1),
        (lambda: smf.glm("count ~ d + x", FRAME, family=sm.families.Poisson()).fit(), np.inf),
        (lambda: smf.logit("d ~ x + z", FRAME).fit(disp=0), np.inf),
        (lambda: smf.quantreg("y ~ d + x", FRAME).fit(max_iter=5000), 177),
    ],
    ids=["ols", "HC1", "HC1-t", "cluster", "cluster-t", "glm", "logit", "quantreg"],
)
def test_statsmodels(fit, df):
    result = fit()
    term = "x"
    limits = result.conf_int().loc[term]
    numbers = result.params[term], result.bse[term], limits[0], limits[1], result.pvalues[term]
    agrees(read(result, term), *numbers, df)


def test_statsmodels_results_without_names_of_their_own():
    fit = smf.ols("y ~ d + x", FRAME).fit()
    robust = fit.get_robustcov_results("HC3")
    assert read(robust, "d").se == robust.bse[1] != fit.bse["d"]
    ar = sm.tsa.ARIMA(FRAME["y"].to_numpy(), order=(1, 0, 0)).fit()
    assert read(ar, "ar.L1").value == ar.params[1]


def test_a_fit_that_did_not_converge_says_so():
    logit = smf.logit("d ~ x + z", FRAME)
    glm = smf.glm("count ~ d", FRAME, family=sm.families.Poisson())
    for model, options in ((logit, {"disp": 0}), (glm, {})):
        result = model.fit(maxiter=1, **options)
        assert read(result, "Intercept").status == Status.NONCONVERGED


def quantile_regression(max_iter=5000):
    """Its steps are short and nearly constant: after 1,000 a coefficient has 0.2 errors to go."""
    return smf.quantreg("y ~ d + x", FRAME).fit(max_iter=max_iter)


@pytest.mark.parametrize(
    ("fit", "limit"),
    [
        (lambda **options: smf.rlm("y ~ d + x", FRAME).fit(**options), {"maxiter": 2}),
        (
            lambda **options: smf.rlm("y ~ d + x", FRAME).fit(conv="coefs", **options),
            {"maxiter": 3},
        ),
        (quantile_regression, {"max_iter": 1}),
        (quantile_regression, {"max_iter": 50}),
        (quantile_regression, {"max_iter": 1000}),  # the default
    ],
    ids=["rlm", "rlm-coefs", "quantreg-once", "quantreg", "quantreg-default"],
)
def test_a_fit_that_stops_at_its_iteration_limit_did_not_converge(fit, limit):
    assert read(fit(), "d").status == Status.OK
    assert read(fit(**limit), "d").status == Status.NONCONVERGED


def test_a_looser_tolerance_is_no_failure():
    assert read(smf.rlm("y ~ d + x", FRAME).fit(tol=1e-5), "d").status == Status.OK


def separated():
    """Outcomes that ``s`` predicts perfectly: all of them, those where it is 1, and counts."""
    s = FRAME["d"]
    events = np.where(s == 1, 1.0, FRAME["x"] > 0)
    return FRAME.assign(s=s, all=s, some=events, zeros=np.where(s == 1, 0, FRAME["count"]))


BINOMIAL, POISSON = sm.families.Binomial(), sm.families.Poisson()


@pytest.mark.parametrize(
    "fit",
    [
        lambda y, data: smf.glm(f"{y} ~ s + z", data, family=BINOMIAL).fit(),
        lambda y, data: smf.logit(f"{y} ~ s + z", data).fit(disp=0, method="bfgs"),
        lambda y, data: smf.probit(f"{y} ~ s + z", data).fit(disp=0, method="bfgs"),
    ],
    ids=["glm", "logit", "probit"],
)
@pytest.mark.parametrize("outcome", ["all", "some"])
def test_a_separated_binary_model_did_not_converge(fit, outcome):
    assert read(fit(outcome, separated()), "s").status == Status.NONCONVERGED
    strong = FRAME.assign(s=FRAME["x"], strong=(8 * FRAME["x"] + FRAME["y"] > 0) * 1.0)
    result = fit("strong", strong)
    assert np.min(result.predict()) < 1e-4  # means at the edge alone are no separation
    assert read(result, "s").status == Status.OK


def test_separated_counts_did_not_converge():
    data = separated()
    assert read(smf.glm("zeros ~ s", data, family=POISSON).fit(), "s").status == (
        Status.NONCONVERGED
    )
    assert read(smf.glm("count ~ s", data, family=POISSON).fit(), "s").status == Status.OK


@pytest.mark.parametrize(
    ("result", "match"),
    [
        (lambda: smf.ols("y ~ d", FRAME), r"returned OLS before it was fitted; return \.fit\(\)"),
        (lambda: smf.mnlogit("count ~ x", FRAME).fit(disp=0), "not one vector of coefficients"),
        (lambda: smf.ols("y ~ d", FRAME).fit().t_test("d = 0"), "ContrastResults, which is not"),
    ],
)
def test_statsmodels_results_that_are_no_vector(result, match):
    with pytest.raises(ContractError, match=match):
        read(result(), "d")


# linearmodels


@pytest.fixture
def panel():
    return pytest.importorskip("linearmodels.panel", reason="needs the extra linearmodels")


@pytest.fixture
def iv():
    return pytest.importorskip("linearmodels.iv", reason="needs the extra linearmodels")


def agrees_with_linearmodels(result, term, df):
    lower, upper = result.conf_int().loc[term]
    numbers = result.params[term], result.std_errors[term], lower, upper, result.pvalues[term]
    agrees(read(result, term), *numbers, df)


def test_linearmodels_panel_estimators_are_t_unless_told_otherwise(panel):
    two_way = panel.PanelOLS.from_formula("y ~ d + x + EntityEffects + TimeEffects", INDEXED)
    clustered = two_way.fit(cov_type="clustered", cluster_entity=True)
    agrees_with_linearmodels(clustered, "d", UNITS * PERIODS - (UNITS + PERIODS - 1) - 2)
    agrees_with_linearmodels(two_way.fit(debiased=False), "d", np.inf)
    effects = panel.RandomEffects.from_formula("y ~ 1 + d + x", INDEXED)
    agrees_with_linearmodels(effects.fit(), "x", UNITS * PERIODS - 3)
    macbeth = panel.FamaMacBeth.from_formula("y ~ 1 + d + x", INDEXED).fit()
    agrees_with_linearmodels(macbeth, "x", macbeth.df_resid)


def test_linearmodels_iv_is_normal_unless_debiased(iv):
    for model in (iv.IV2SLS, iv.IVLIML, iv.IVGMM):
        spec = model.from_formula("y ~ 1 + x + [w ~ z]", FRAME)
        agrees_with_linearmodels(spec.fit(), "w", np.inf)
        agrees_with_linearmodels(spec.fit(debiased=True), "w", UNITS * PERIODS - 3)


def test_linearmodels_results_that_are_not_one_fit(panel):
    model = panel.PanelOLS.from_formula("y ~ d", INDEXED)
    with pytest.raises(ContractError, match=r"returned PanelOLS before it was fitted"):
        read(model, "d")
    with pytest.raises(ContractError, match="PanelModelComparison of linearmodels, expected"):
        read(panel.compare({"a": model.fit()}), "d")
    with pytest.raises(ContractError, match="no 'dd'; did you mean 'd'"):
        read(model.fit(), "dd")


# pyfixest


@pytest.fixture
def pf():
    return pytest.importorskip("pyfixest", reason="needs the extra pyfixest")


def agrees_with_pyfixest(fit, term, df):
    lower, upper = fit.confint().loc[term]
    numbers = fit.coef()[term], fit.se()[term], lower, upper, fit.pvalue()[term]
    agrees(read(fit, term), *numbers, df)


@pytest.mark.parametrize(
    ("vcov", "df"),
    [
        ("iid", UNITS * PERIODS - UNITS - (PERIODS - 1) - 2),
        ("HC1", UNITS * PERIODS - UNITS - (PERIODS - 1) - 2),
        ({"CRV1": "unit"}, UNITS - 1),
        ({"CRV3": "unit"}, UNITS - 1),
        ({"CRV1": "unit + time"}, PERIODS - 1),
    ],
    ids=str,
)
def test_pyfixest_least_squares(pf, vcov, df):
    agrees_with_pyfixest(pf.feols("y ~ d + x | unit + time", FRAME, vcov=vcov), "d", df)


def test_pyfixest_other_estimators(pf):
    agrees_with_pyfixest(pf.feols("y ~ 1 | unit | w ~ z", FRAME, vcov="HC1"), "w", 149)
    agrees_with_pyfixest(pf.fepois("count ~ d + x", FRAME, vcov="HC1"), "d", np.inf)
    agrees_with_pyfixest(pf.feglm("d ~ x + z", FRAME, family="logit"), "x", np.inf)


def test_a_pyfixest_fit_that_did_not_converge_says_so(pf):
    fit = pf.fepois("count ~ d + x | unit", FRAME, iwls_maxiter=1)
    assert read(fit, "d").status == Status.NONCONVERGED


def test_several_pyfixest_fits_are_not_one(pf):
    fits = pf.feols("y ~ csw(d, x)", FRAME)
    with pytest.raises(ContractError, match=r"FixestMulti, .* return one of its \.to_list\(\)"):
        read(fits, "d")
    one, two = fits.to_list()
    assert len(read_result({"short": one, "long": two}, term="d")) == 2


def test_a_pyfixest_fit_that_changes_in_place(pf):
    fit = pf.feols("y ~ d | unit", FRAME)
    crv1 = {"CRV1": "unit"}
    apart = [pf.feols("y ~ d | unit", FRAME, vcov=v).se()["d"] for v in ("iid", crv1)]
    with pytest.raises(ContractError, match=r"same Feols under 'iid' and 'CRV1'; .* copy\.copy"):
        read_result({"iid": fit.vcov("iid"), "CRV1": fit.vcov(crv1)}, term="d")

    def one_by_one():
        yield ("att", "iid"), fit.vcov("iid")
        yield ("att", "CRV1"), fit.vcov(crv1)

    copies = {"iid": copy.copy(fit).vcov("iid"), "CRV1": copy.copy(fit).vcov(crv1)}
    for result in (one_by_one(), copies):
        found = read_result(result, term="d", estimand="att")
        assert list(found) == [("att", "iid"), ("att", "CRV1")]
        assert [estimate.se for estimate in found.values()] == apart


# DoubleML, econml, diff-diff


def test_doubleml():
    dml = pytest.importorskip("doubleml", reason="needs the extra doubleml")
    from sklearn.linear_model import LinearRegression, LogisticRegression

    data = dml.DoubleMLData(FRAME[["y", "d", "x", "z"]], "y", "d")

    def plr(**options):
        return dml.DoubleMLPLR(data, LinearRegression(), LinearRegression(), **options)

    learners = LinearRegression(), LogisticRegression()
    for fit in (plr().fit(), dml.DoubleMLIRM(data, *learners).fit()):
        row = fit.summary.loc["d"]
        lower, upper = fit.confint().loc["d"]
        agrees(read(fit), fit.coef[0], fit.se[0], lower, upper, row["P>|t|"], np.inf)
        assert read(fit, "d") == read(fit)
    median = plr(n_rep=5).fit()
    agrees(read(median), median.coef[0], median.se[0], *median.confint().loc["d"], median.pval[0])
    outcomes = dml.DoubleMLAPOS(data, *learners, treatment_levels=[0.0, 1.0]).fit()
    assert read(outcomes, "1.0").value == outcomes.coef[1]
    contrast = outcomes.causal_contrast(0.0)
    assert read(contrast).value == contrast.thetas[0]
    with pytest.raises(ContractError, match="DoubleMLPLR before it was fitted"):
        read(plr())


def test_econml():
    econml = pytest.importorskip("econml.dml", reason="needs the extra econml")
    y, d, x = FRAME["y"].to_numpy(), FRAME["d"].to_numpy().astype(int), FRAME[["x", "z"]].to_numpy()
    linear = econml.LinearDML(discrete_treatment=True, random_state=0).fit(y, d, X=x)
    inference = linear.ate_inference(x)
    numbers = inference.mean_point, inference.stderr_mean, *inference.conf_int_mean(alpha=0.05)
    agrees(read(inference), *numbers, inference.pvalue(), np.inf)
    one = linear.effect_inference(x[:1])
    limits = (limit[0] for limit in one.conf_int())
    agrees(read(one), one.point_estimate[0], one.stderr[0], *limits, one.pvalue()[0], np.inf)
    arms = np.random.default_rng(0).integers(0, 3, len(y))
    both = econml.LinearDML(discrete_treatment=True, random_state=0).fit(y, arms, X=x)
    means = both.const_marginal_ate_inference(x)
    assert read(means, "T0_2").value == means.mean_point[1]
    with pytest.raises(ContractError, match=r"LinearDML, .* return est\.ate_inference\(X\)"):
        read(linear)
    with pytest.raises(ContractError, match="inference of 180 effects"):
        read(linear.effect_inference(x))


def test_econml_forests_have_a_doubly_robust_ate():
    econml = pytest.importorskip("econml.dml", reason="needs the extra econml")
    y, d, x = FRAME["y"].to_numpy(), FRAME["d"].to_numpy().astype(int), FRAME[["x", "z"]].to_numpy()
    options = {"discrete_treatment": True, "n_estimators": 24, "random_state": 0}
    forest = econml.CausalForestDML(**options, drate=True).fit(y, d, X=x)
    estimate = read(forest)
    assert (estimate.value, estimate.se) == (forest.ate_[0], forest.ate_stderr_[0])
    with pytest.raises(ContractError, match="CausalForestDML, which holds a function of effects"):
        read(econml.CausalForestDML(**options, drate=False).fit(y, d, X=x))


def staggered():
    frame = FRAME.assign(start=np.array([0, 2003, 2005])[FRAME["unit"] % 3])
    on = (frame["start"] > 0) & (frame["time"] >= frame["start"])
    return frame.assign(y=frame["y"] + on * (frame["time"] - frame["start"] + 1))


@pytest.mark.parametrize(
    "name", ["CallawaySantAnna", "ImputationDiD", "SunAbraham", "StackedDiD", "WooldridgeDiD"]
)
def test_diff_diff_staggered(name):
    library = pytest.importorskip("diff_diff", reason="needs the extra diff-diff")
    names = {"outcome": "y", "unit": "unit", "time": "time", "first_treat": "start"}
    fit = getattr(library, name)().fit(staggered(), **names)
    limits = fit.overall_conf_int
    agrees(read(fit), fit.overall_att, fit.overall_se, *limits, fit.overall_p_value)
    assert read(fit, "att") == pytest.approx(read(fit), nan_ok=True)


def test_diff_diff_event_times_and_groups():
    library = pytest.importorskip("diff_diff", reason="needs the extra diff-diff")
    names = {"outcome": "y", "unit": "unit", "time": "time", "first_treat": "start"}
    fit = library.CallawaySantAnna().fit(staggered(), **names, aggregate="all")
    terms = {"att_1": "event[1]", "late": "att[2005, 2006]"}
    found = read_result(fit, term=terms)
    for label, effect in {
        "att_1": fit.event_study_effects[1],
        "late": fit.group_time_effects[2005, 2006],
    }.items():
        numbers = effect["effect"], effect["se"], *effect["conf_int"], effect["p_value"]
        agrees(found[label, ""], *numbers, np.inf)


@pytest.mark.parametrize("options", [{}, {"cluster": "unit"}, {"alpha": 0.1}])
def test_diff_diff_two_by_two(options):
    library = pytest.importorskip("diff_diff", reason="needs the extra diff-diff")
    frame = FRAME.assign(late=(FRAME["time"] > 2003).astype(int), group=FRAME["unit"] % 2)
    model = library.DifferenceInDifferences(**options)
    fit = model.fit(frame, outcome="y", treatment="group", time="late")
    estimate = read(fit)
    assert (estimate.value, estimate.se, estimate.df) == (fit.att, fit.se, 176)
    if not options.get("alpha"):
        agrees(estimate, fit.att, fit.se, *fit.conf_int, fit.p_value, 176)


def test_diff_diff_keeps_the_limits_of_a_bootstrap():
    library = pytest.importorskip("diff_diff", reason="needs the extra diff-diff")
    frame = FRAME.assign(late=(FRAME["time"] > 2003).astype(int), group=FRAME["unit"] % 2)
    options = {"inference": "wild_bootstrap", "cluster": "unit", "n_bootstrap": 99, "seed": 1}
    model = library.DifferenceInDifferences(**options)
    fit = model.fit(frame, outcome="y", treatment="group", time="late")
    estimate = read(fit)
    assert (estimate.lower, estimate.upper, estimate.p_value) == (*fit.conf_int, fit.p_value)


# Labels, terms, extractors

OLS = smf.ols("y ~ d + x", FRAME).fit()


def test_the_keys_of_a_dict():
    both = {"HC0": OLS.get_robustcov_results("HC0"), "HC1": OLS.get_robustcov_results("HC1")}
    assert list(read_result(both, term="d", estimand="att")) == [("att", "HC0"), ("att", "HC1")]
    assert list(read_result(both, term="d")) == [("HC0", ""), ("HC1", "")]
    pairs = {("att", name): result for name, result in both.items()}
    assert list(read_result(pairs, term="d")) == [("att", "HC0"), ("att", "HC1")]
    terms = {"effect": "d", "slope": "x"}
    found = read_result(both, term=terms)
    assert list(found) == [(e, v) for v in ("HC0", "HC1") for e in terms]
    assert found["slope", "HC1"].se == both["HC1"].bse[2]
    with pytest.raises(ContractError, match="two estimates of one label"):
        read_result(pairs, term=terms)


def test_the_only_coefficient_needs_no_term():
    assert read(sm.OLS(FRAME["y"], FRAME[["d"]]).fit()).df == 179
    with pytest.raises(ContractError, match=r"has \['Intercept', 'd', 'x'\]; name one"):
        read(OLS)


def test_an_extractor_reads_what_no_reader_knows():
    def extract(result):
        return {"slope": Estimate(result["b"], result["se"])}

    assert read_result({"b": 1.0, "se": 2.0}, extract=extract)["slope", ""].se == 2.0
    with pytest.raises(ContractError, match=r"returned complex.*@host\(extract="):
        read(1j)


@pytest.mark.parametrize(
    ("result", "match"),
    [
        ((x for x in [OLS]), r"it yielded .*, expected pairs \(label, result\)"),
        ((x for x in []), "it returned an empty dict"),
        ({"iid": OLS, "HC1": OLS}, "same RegressionResultsWrapper under 'iid' and 'HC1'"),
    ],
)
def test_collections_that_are_none(result, match):
    with pytest.raises(ContractError, match=match):
        read_result(result, term="d")


def test_options_of_host_are_checked_together():
    with pytest.raises(InputError, match=r"4 faults(?s:.)*term: got 3(?s:.)*extract: got 'x'"):
        mcsim.host(term=3, extract="x", timeout=-1, estimand=2)
    with pytest.raises(InputError, match="but term names the estimands already"):
        mcsim.host(term={"att": "d"}, estimand="att")


def test_readers_import_no_library():
    libraries = ["linearmodels", "pyfixest", "doubleml", "econml", "diff_diff"]
    code = f"import mcsim, sys; print([n for n in {libraries} if n in sys.modules])"
    printed = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert printed.stdout.strip() == "[]", printed.stderr


# In a study


@mcsim.host(term="d", estimand="att")
def by_linearmodels(frame):
    from linearmodels.panel import PanelOLS

    model = PanelOLS.from_formula("y ~ d + x + EntityEffects + TimeEffects", frame)
    return {"robust": model.fit(cov_type="robust"), "iid": model.fit()}


@mcsim.host(term="d", estimand="att")
def by_pyfixest(frame):
    import pyfixest

    fit = pyfixest.feols("y ~ d + x | unit + time", frame.reset_index())
    for name, vcov in {"iid": "iid", "CRV1": {"CRV1": "unit"}}.items():
        yield name, fit.vcov(vcov)


@pytest.mark.slow
def test_a_study_of_both_with_two_workers(pf, panel):
    data, schema = from_frame(INDEXED)
    dgp = mcsim.dgps.Bootstrap(data, truth={"att": 0.3}, schema=schema)
    study = Study(dgp, {"linearmodels": by_linearmodels, "pyfixest": by_pyfixest})
    rows = mcsim.run(study, reps=4, workers=2, progress=False).replicates
    assert set(rows["status"]) == {"ok"}
    assert len(rows) == 4 * 4
    assert set(rows["truth"]) == {0.3}
    iid = rows[rows["inference"] == "iid"].pivot(index="rep", columns="estimator")
    assert iid["value"].nunique().eq(4).all()
    np.testing.assert_allclose(iid["value", "linearmodels"], iid["value", "pyfixest"], rtol=1e-9)
    np.testing.assert_allclose(iid["se", "linearmodels"], iid["se", "pyfixest"], rtol=1e-9)
    crv1 = rows[rows["inference"] == "CRV1"]
    assert set(crv1["df"]) == {UNITS - 1.0}
