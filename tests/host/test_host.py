"""Host functions: what they are given, what they may return, host DGPs."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf

import mcsim
from mcsim import Design, Estimate, Panel, Study, from_frame, run
from mcsim._host.host import HostDGP, HostEstimator, rng_from_words
from mcsim._readers import read_result
from mcsim.dgps import Bootstrap
from mcsim.errors import ContractError, InputError
from mcsim.testing import check_dgp, check_estimator

RNG = np.random.default_rng(0)
DATA = pd.DataFrame(
    {
        "y": RNG.normal(size=40),
        "treat": (np.arange(40) < 15).astype(int),
        "age": RNG.integers(17, 55, 40),
        "region": pd.Categorical(RNG.choice(["north", "south", "west"], 40)),
    },
    index=pd.Index([f"unit {i}" for i in range(40)], name="person"),
)


def rows_of(dgp, estimators, reps=20, **options):
    study = Study({"d": dgp}, estimators)
    return run(study, reps=reps, **{"workers": 0, "progress": False, **options}).replicates


# What they take


@pytest.mark.parametrize(
    "function",
    [lambda: None, lambda a, b, c: None, lambda frame, design, rng: None],
)
def test_functions_with_other_arguments(function):
    with pytest.raises(InputError, match=r"expected \(frame\), \(rng, frame\) or"):
        mcsim.host(function)


def test_a_timeout_is_positive():
    with pytest.raises(InputError, match=r"timeout: got 0\.0"):
        mcsim.host(timeout=0.0)(lambda frame: None)


def test_which_of_the_two_it_becomes():
    assert isinstance(mcsim.host(lambda rng, frame: None), HostEstimator)
    assert isinstance(mcsim.host(lambda rng, design: None), HostDGP)


def test_frames_have_the_users_names_types_and_categories():
    panel, schema = from_frame(DATA)
    seen = []

    @mcsim.host(estimand="mean")
    def look(frame):
        seen.append(frame)
        return Estimate(0.0, 1.0)

    mcsim.estimate(look, panel, schema=schema)
    (frame,) = seen
    assert list(frame) == list(DATA)
    assert frame["treat"].dtype == frame["age"].dtype == np.int64
    pd.testing.assert_series_equal(
        frame["region"], DATA["region"], check_names=False, check_index=False
    )
    np.testing.assert_array_equal(frame.to_numpy()[:, :3], DATA.to_numpy()[:, :3])


def test_a_panel_with_gaps_comes_without_them():
    index = pd.MultiIndex.from_tuples([(1, 2001), (1, 2002), (2, 2002)], names=["firm", "year"])
    panel, schema = from_frame(pd.DataFrame({"y": [1.0, 2.0, 3.0]}, index=index))

    @mcsim.host(estimand="mean")
    def look(frame):
        assert frame.index.equals(index)
        return Estimate(frame["y"].mean(), 1.0)

    dgp = Bootstrap(panel, truth={"mean": 2.0}, schema=schema)

    @mcsim.host(estimand="mean")
    def count(frame):
        assert frame.index.names == ["firm", "year"]
        return Estimate(len(frame), 1.0)

    assert mcsim.estimate(look, panel, schema=schema)["value"].item() == 2.0
    assert set(rows_of(dgp, {"n": count})["value"]) == {2.0, 3.0, 4.0}


def test_the_generator_is_philox_under_the_key():
    words = np.array([0xDEADBEEF, 7], dtype=np.uint32)
    expected = np.random.Generator(np.random.Philox(key=0xDEADBEEF | 7 << 32)).normal()
    assert rng_from_words(words).normal() == expected


# What they return


def test_statsmodels_results_are_read():
    exog = sm.add_constant(DATA[["treat", "age"]])
    panel, _ = from_frame(DATA)

    def read(fit):
        estimator = mcsim.host(term="treat", estimand="att")(lambda frame: fit)
        return mcsim.estimate(estimator, panel).iloc[0]

    fit = sm.OLS(DATA["y"], exog).fit(cov_type="HC1")
    estimate = read(fit)
    assert (estimate.value, estimate.se) == (fit.params["treat"], fit.bse["treat"])
    assert (estimate.estimand, estimate.df) == ("att", np.inf)
    classical = read(sm.OLS(DATA["y"], exog).fit())
    assert classical.df == 37


@pytest.mark.parametrize(
    ("result", "match"),
    [
        (None, "returned NoneType"),
        (1.5, "returned float"),
        ({}, "empty dict"),
        ({"att": 1.0}, "returned dict whose 'att' is float"),
        ({1: Estimate(1.0)}, "the label 1"),
        (Estimate([1.0, 2.0]), "value must be numbers"),
        (Estimate(1.0, status=99), "status is 99"),
        (sm.OLS(DATA["y"], DATA[["treat", "age"]]).fit(), "name one with @host"),
    ],
)
def test_results_that_are_none(result, match):
    with pytest.raises(ContractError, match=match):
        read_result(result)


def test_an_unknown_term_has_a_suggestion():
    with pytest.raises(ContractError, match="did you mean 'treat'"):
        read_result(sm.OLS(DATA["y"], DATA[["treat"]]).fit(), term="treatt")


# Host DGPs


@mcsim.host
def normal(rng, design):
    frame = pd.DataFrame({"y": rng.normal(design.get("mean", 0.0), size=12)})
    return frame, {"mean": design.get("mean", 0.0)}


@mcsim.host(estimand="mean")
def host_mean(frame):
    return Estimate(frame["y"].mean(), frame["y"].std() / len(frame) ** 0.5)


def native_mean(key, panel):
    return Estimate(panel["y"].mean(), panel["y"].std())


@pytest.mark.usefixtures("small_blocks")
def test_a_host_dgp_feeds_host_and_native_estimators_alike():
    rows = rows_of(normal, {"host": host_mean, "native": native_mean}, reps=70)
    wide = rows.pivot(index="rep", columns="estimator", values="value")
    np.testing.assert_allclose(wide["host"], wide["native"], rtol=1e-12)
    assert wide["host"].nunique() == 70
    assert rows["truth"].eq(0.0).all()


@pytest.mark.slow
def test_a_host_dgp_gives_the_same_rows_on_any_number_of_workers():
    estimators = {"host": host_mean, "native": native_mean}
    one, other = (rows_of(normal, estimators, reps=300, workers=w) for w in (0, 3))
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def refused(function, match):
    with pytest.raises(InputError, match=match):
        rows_of(mcsim.host(function), {"mean": host_mean})


def test_host_dgps_that_break_the_contract():
    def other_sizes(rng, design):
        return pd.DataFrame({"y": rng.normal(size=rng.integers(5, 9))}), {"mean": 0.0}

    def other_columns(rng, design):
        return pd.DataFrame({rng.choice(["y", "z"]): rng.normal(size=5)}), {"mean": 0.0}

    def other_levels(rng, design):
        return pd.DataFrame({"g": pd.Categorical(rng.choice(list("abc"), 3))}), {"mean": 0.0}

    def without_truth(rng, design):
        return pd.DataFrame({"y": [1.0]})

    def truth_in_words(rng, design):
        return pd.DataFrame({"y": [1.0]}), {"mean": "zero"}

    def infinite_values(rng, design):
        return pd.DataFrame({"y": [1.0, np.inf]}), {"mean": 0.0}

    def large_numbers(rng, design):
        return pd.DataFrame({"id": [2**53 + 1, 2**53]}), {"mean": 0.0}

    def complex_numbers(rng, design):
        return pd.DataFrame({"y": [1.0, 2.0 + 1.0j]}), {"mean": 0.0}

    def raising(rng, design):
        raise ValueError("no luck")

    def unknown_factor(rng, design):
        return pd.DataFrame({"y": [design["meen"]]}), {"mean": 0.0}

    refused(other_sizes, r"'other_sizes': its samples differ in units and periods: \(\d, 1\)")
    refused(other_columns, "its samples differ in columns")
    refused(other_levels, "its samples differ in categories")
    refused(without_truth, r"returned DataFrame, expected \(frame, truth\)")
    refused(truth_in_words, "the truth of mean is not a number")
    refused(infinite_values, "column 'y': 1 infinite values")
    refused(large_numbers, f"column 'id': got the whole number {2**53 + 1}")
    refused(complex_numbers, "column 'y': got the complex number")
    refused(raising, r"'raising' fails in replication 0:(?s:.*)ValueError: no luck")
    refused(unknown_factor, "factor 'meen' is not in the design")


@pytest.mark.slow
def test_a_host_dgp_that_dies_is_told_by_name():
    import os

    def dying(rng, design):
        os._exit(1)

    with pytest.raises(InputError, match=r"dgp 'd': its process died .* replications 0 to 1"):
        rows_of(mcsim.host(dying), {"mean": host_mean}, workers=2)


def test_numbers_that_happen_to_be_whole_are_no_integers():
    @mcsim.host
    def halves(rng, design):
        return pd.DataFrame({"y": np.round(rng.integers(0, 3, size=1)) / 2}), {"mean": 0.5}

    values = rows_of(halves, {"mean": host_mean}, reps=64)["value"]
    assert set(values) == {0.0, 0.5, 1.0}


def test_the_checks_for_users_take_host_functions_too():
    panel, _ = from_frame(DATA[["y"]])
    check_dgp(normal, Design({"mean": 1.0}))
    check_estimator(host_mean, panel)
    with pytest.raises(ContractError, match="two keys gave the same sample"):
        check_dgp(mcsim.host(lambda rng, design: (DATA[["y"]], {"mean": 0.0})))
    with pytest.raises(ContractError, match="returned float"):
        check_estimator(mcsim.host(lambda frame: 1.0), Panel({"y": [1.0]}))
    with pytest.raises(ContractError, match="differs between two calls"):
        check_estimator(mcsim.host(lambda frame: Estimate(next(COUNTER))), Panel({"y": [1.0]}))


COUNTER = iter(range(10**6))


def log_slope(frame):
    fit = smf.ols(LOG_FORMULA, frame).fit()
    return mcsim.Estimate(fit.params["d"], fit.bse["d"])


LOG_FORMULA = "np.log(y) ~ d + doubled(d)"


def doubled(x):
    return x**2


def test_names_that_stand_only_in_a_formula_travel_to_the_workers():
    def dgp(key, design):
        y, d = jnp.exp(jax.random.normal(key, (2, 20, 1)))
        return mcsim.Sample(mcsim.Panel({"y": y, "d": d}), {"slope": 0.0})

    study = mcsim.Study(dgp=dgp, estimators=mcsim.host(log_slope, estimand="slope"))
    rows = mcsim.run(study, reps=3, workers=1, progress=False).replicates
    assert set(rows["status"]) == {"ok"}
