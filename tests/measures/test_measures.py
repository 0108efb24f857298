"""Every measure and its Monte Carlo error: brute force, published formulas, simulation."""

import functools

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from mcsim.errors import InputError
from mcsim.measures import MEASURES, reps_needed, summarize
from replications import METHODS, study

# --- every measure against a brute-force computation -------------------------------------------


def leave_one_out(statistic, *arrays):
    n = len(arrays[0])
    values = [statistic(*(np.delete(a, j) for a in arrays)) for j in range(n)]
    return np.sqrt((n - 1) / n * np.sum((values - np.mean(values)) ** 2))


def maritz_jarrett(x):
    n, a = len(x), (len(x) + 1) / 2
    weights = np.diff(stats.beta.cdf(np.arange(n + 1) / n, a, a))
    return np.sqrt(weights @ np.sort(x) ** 2 - (weights @ np.sort(x)) ** 2)


def binomial(hits):
    if np.all(hits) or not np.any(hits):  # Agresti and Coull: two more hits, two more misses
        hits = [*hits, 0, 0, 1, 1]
    return np.sqrt(np.mean(hits) * (1 - np.mean(hits)) / len(hits))


def sd(x):
    return np.std(x, ddof=1)


def brute_force(frame: pd.DataFrame, method: str) -> dict[str, tuple[float, float]]:
    """Value and jackknife or binomial MCSE of each measure, written without the package."""
    wide = frame.pivot(index="rep", columns="method", values=["value", "truth"])
    rows = frame[frame["method"] == method]
    done = rows[rows["value"].notna()]
    full = done[done["se"].notna()]
    e, x, t = done["value"] - done["truth"], full["value"], full["truth"]
    critical = np.where(full["df"].notna(), stats.t.ppf(0.975, full["df"]), stats.norm.ppf(0.975))
    lower, upper = x - critical * full["se"], x + critical * full["se"]
    hit = (lower <= t) & (t <= upper)
    hit_all = np.r_[hit, np.zeros(len(rows) - len(full))]
    centered = (lower <= t + e.mean()) & (t + e.mean() <= upper)
    rejects = (lower > 0) | (upper < 0)
    errors = (wide["value"] - wide["truth"]).dropna()
    own, ref = errors[method].to_numpy(), errors["ols"].to_numpy()
    ef, v, r = (x - t).to_numpy(), full["se"].to_numpy() ** 2, (e / done["truth"]).to_numpy()
    e, gap = e.to_numpy(), (upper - lower).to_numpy()
    significant, true = x[rejects].to_numpy(), t[rejects].to_numpy()
    wrong = np.sign(significant) != np.sign(true)

    def mean(a):
        return np.mean(a), leave_one_out(np.mean, a)

    def both(statistic, *arrays):
        return statistic(*arrays), leave_one_out(statistic, *arrays)

    return {
        "bias": mean(e),
        "median_bias": (np.median(e), maritz_jarrett(e)),
        "relative_bias": mean(r),
        "empirical_se": both(sd, e),
        "mad": (np.median(np.abs(e)), maritz_jarrett(np.abs(e))),
        "model_se": both(lambda a: np.sqrt(np.mean(a)), v),
        "mean_se": mean(np.sqrt(v)),
        "type_s": (np.mean(wrong), binomial(wrong)),
        "type_m": mean(np.abs(significant / true)),
        "relative_error": both(lambda a, b: 100 * (np.sqrt(np.mean(a)) / sd(b) - 1), v, ef),
        "mse": mean(e**2),
        "rmse": both(lambda a: np.sqrt(np.mean(a**2)), e),
        "coverage": (np.mean(hit), binomial(hit)),
        "coverage_all": (np.mean(hit_all), binomial(hit_all)),
        "bias_eliminated_coverage": (np.mean(centered), binomial(centered)),
        "rejection": (np.mean(rejects), binomial(rejects)),
        "width": mean(gap),
        "relative_precision": both(lambda a, b: 100 * (np.var(b) / np.var(a) - 1), own, ref),
        "share_failed": (rows["value"].isna().mean(), binomial(rows["value"].isna())),
    }


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_measure_equals_brute_force(seed):
    frame = study(seed, n=37)
    table = summarize(frame, method="method", reference="ols").set_index("method")
    for method in METHODS:
        expected = brute_force(frame, method)
        assert set(expected) | {"n"} == set(MEASURES)
        for name, (value, mcse) in expected.items():
            assert_allclose(table.loc[method, name], value, rtol=1e-11, err_msg=name)
            assert_allclose(
                table.loc[method, f"{name}_mcse"], mcse, rtol=1e-8, atol=1e-12, err_msg=name
            )


def test_every_measure_has_its_own_n():
    frame = study(4, n=60)
    row = summarize(frame, method="method", reference="ols").set_index("method").loc["iv"]
    iv = frame[frame["method"] == "iv"].set_index("rep")
    ols = frame[frame["method"] == "ols"].set_index("rep")
    done = iv["value"].notna()
    assert row["n"] == row["bias_n"] == row["mad_n"] == done.sum() < 60
    assert row["model_se_n"] == row["coverage_n"] == (done & iv["se"].notna()).sum() < done.sum()
    assert row["coverage_all_n"] == row["share_failed_n"] == 60
    assert row["relative_precision_n"] == (done & ols["value"].notna()).sum()


def test_normal_rule_is_that_of_morris_white_crowther_2019_table_6():
    frame = study(5, n=50).dropna(subset=["value", "se"]).assign(truth=1.0, df=np.inf)
    table = summarize(frame, method="method", reference="ols", mcse="normal").set_index("method")
    a, b = (frame[frame["method"] == m].set_index("rep") for m in METHODS)
    row, n, s = table.loc["iv"], len(b), sd(b["value"])
    error, v = b["value"] - 1, b["se"] ** 2
    model = np.sqrt(v.mean())
    assert_allclose(row["bias_mcse"], s / np.sqrt(n))
    assert_allclose(row["empirical_se"], s)
    assert_allclose(row["empirical_se_mcse"], s / np.sqrt(2 * (n - 1)))
    mse_mcse = np.sqrt(np.sum((error**2 - row["mse"]) ** 2) / (n * (n - 1)))
    assert_allclose(row["mse_mcse"], mse_mcse)
    assert_allclose(row["rmse_mcse"], mse_mcse / (2 * np.sqrt(np.mean(error**2))))
    assert_allclose(row["model_se_mcse"], np.sqrt(v.var() / (4 * n * model**2)))
    both = np.sqrt(v.var() / (4 * n * model**4) + 1 / (2 * (n - 1)))
    assert_allclose(row["relative_error_mcse"], 100 * model / s * both)
    cover = np.abs(error) <= stats.norm.ppf(0.975) * b["se"]
    assert_allclose(row["coverage"], cover.mean())
    assert_allclose(row["coverage_mcse"], binomial(cover))
    pair = pd.concat([a["value"], b["value"]], axis=1, join="inner").to_numpy().T
    ratio, rho = np.var(pair[0]) / np.var(pair[1]), np.corrcoef(pair)[0, 1]
    assert_allclose(row["relative_precision"], 100 * (ratio - 1))
    expected = 200 * ratio * np.sqrt((1 - rho**2) / (len(pair[0]) - 1))
    assert_allclose(row["relative_precision_mcse"], expected)
    assert table.loc["ols", ["relative_precision", "relative_precision_mcse"]].tolist() == [0, 0]


def test_maritz_jarrett_is_the_bootstrap_of_the_median():
    x = np.random.default_rng(0).standard_cauchy(51)
    draws = np.random.default_rng(1).choice(x, size=(40_000, 51))
    table = summarize(pd.DataFrame({"value": x}), truth=0.0, measures="median_bias")
    assert_allclose(table["median_bias_mcse"], np.median(draws, axis=1).std(), rtol=0.015)


def test_wilson_limits_equal_scipy():
    table = summarize(study(6, n=80), method="method", measures=["coverage", "share_failed"])
    for name in ("coverage", "share_failed"):
        for row in table.to_dict("records"):
            n = row[f"{name}_n"]
            test = stats.binomtest(round(row[name] * n), n)
            limits = test.proportion_ci(method="wilson")
            assert_allclose([row[f"{name}_lower"], row[f"{name}_upper"]], limits)


# --- the Monte Carlo standard errors are right in a simulation ---------------------------------

STUDIES = 400

repeated = functools.cache(study)
"""Frames of many studies, which no test changes."""


def spread_and_reported(frame, name, **options):
    """sd of a measure over repeated studies, and the root mean square of its reported MCSE."""
    table = summarize(frame, by="cell", measures=[name], **options)
    if "method" in table:
        table = table[table["method"] == "iv"]
    assert len(table) == STUDIES
    return table[name].std(), np.sqrt(np.mean(table[f"{name}_mcse"] ** 2))


@pytest.mark.parametrize("name", [name for name in MEASURES if name != "n"])
def test_mcse_is_the_sd_over_repeated_studies(name):
    # se of sd / E(sd) over 400 studies is 1 / sqrt(800) = .035
    reference = {"reference": "ols"} if name == "relative_precision" else {}
    truth = {} if name != "relative_bias" else {"truth": 1.0}
    actual, reported = spread_and_reported(
        repeated(10, n=150, cells=STUDIES), name, method="method", **reference, **truth
    )
    # the interval of bias_eliminated_coverage is centered at an estimate: binomial is approximate;
    # type_s is a share of few rejections, often 0, where the error is that of Agresti and Coull
    approximate = name in ("bias_eliminated_coverage", "type_s")
    assert abs(reported / actual - 1) < (0.20 if approximate else 0.13)


@pytest.mark.parametrize("name", ["empirical_se", "relative_error", "rmse"])
def test_jackknife_holds_with_heavy_tails_where_normal_theory_fails(name):
    frame = repeated(11, n=400, cells=STUDIES, tails=5)
    actual, reported = spread_and_reported(frame, name, method="method")
    assert abs(reported / actual - 1) < 0.2
    if name != "rmse":
        normal = spread_and_reported(frame, name, method="method", mcse="normal")[1]
        assert normal < 0.75 * actual


@functools.cache
def studies_of_a_shared_truth(offset, tau, n=500):
    """An estimator biased by `offset` standard errors, a truth known up to `tau` of them."""
    rng = np.random.default_rng(12)
    frame = pd.DataFrame({"cell": np.repeat(np.arange(STUDIES), n), "se": 1.0})
    frame["value"] = 3 + offset + rng.normal(size=len(frame))
    frame["truth"] = 3 + np.repeat(tau * rng.normal(size=STUDIES), n)
    return frame


@pytest.mark.parametrize("offset", [0.0, 1.0])
@pytest.mark.parametrize(
    "name",
    ["bias", "median_bias", "mse", "rmse", "mad", "relative_bias", "coverage", "coverage_all",
     "bias_eliminated_coverage", "empirical_se"],
)  # fmt: skip
def test_shared_error_of_the_truth_enters_and_does_not_shrink(name, offset):
    tau = 0.2
    frame = studies_of_a_shared_truth(offset, tau)
    actual, reported = spread_and_reported(frame, name, truth_mcse=tau)
    if offset == 0 and name in ("mse", "rmse", "mad", "coverage", "coverage_all"):
        # the effect is of second order, of which the delta method reports at most sqrt(2) times
        assert 0.9 < reported / actual < 1.45
    else:
        assert abs(reported / actual - 1) < 0.2
    ignored = spread_and_reported(frame, name)[1]
    if name in ("bias_eliminated_coverage", "empirical_se"):
        assert reported == ignored
    elif offset == 1:
        assert ignored < 0.5 * actual


def test_truth_error_adds_to_bias_in_quadrature():
    frame = study(13, n=30).query("method == 'ols'")
    without = summarize(frame, measures="bias")["bias_mcse"]
    table = summarize(frame, measures="bias", truth_mcse=0.3)
    assert_allclose(table["bias_mcse"], np.hypot(without, 0.3))
    missing = frame.assign(tau=np.nan)
    assert_allclose(summarize(missing, measures="bias", truth_mcse="tau")["bias_mcse"], without)


# --- replications needed -----------------------------------------------------------------------


def test_reps_needed_are_those_of_the_literature():
    assert reps_needed(0.005, share=0.5) == 10_000
    assert reps_needed(0.005, share=0.95) == 1_900
    assert reps_needed(0.005, sd=0.2) == 1_600
    assert reps_needed(0.1, sd=2.0, measure="empirical_se") == 201
    assert reps_needed(0.1, share=1.0) == 1


@pytest.mark.parametrize(
    "options",
    [dict(mcse=0, sd=1.0), dict(mcse=0.1), dict(mcse=0.1, sd=1.0, share=0.5),
     dict(mcse=0.1, share=2.0), dict(mcse=0.1, sd=-1.0)],
)  # fmt: skip
def test_reps_needed_refuses_nonsense(options):
    with pytest.raises(InputError):
        reps_needed(**options)
