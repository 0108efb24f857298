"""Two-stage least squares and LIML against pyfixest and linearmodels, and where they coincide."""

import warnings

import jax
import numpy as np
import pytest

from mcsim import Panel
from mcsim.estimators import fixed_effects, iv_2sls, liml
from regression_panels import (
    INTERCEPT,
    LINEARMODELS,
    RTOL,
    assert_as_linearmodels,
    by_pyfixest,
    draw,
    frame_of,
    numbers,
)


@pytest.mark.parametrize("effects", ["", " | unit", " | unit + time"])
@pytest.mark.parametrize("observed", [None, 0.7])
def test_two_stage_least_squares_as_pyfixest(effects, observed):
    panel = draw(3, observed=observed)
    formula, vcovs = f"y ~ w{effects} | x ~ z + v", ["iid", "HC1", "CR1"]
    ours = iv_2sls(formula, vcov=vcovs, first_stage=True)(None, panel)
    for vcov in vcovs:
        theirs = by_pyfixest(formula, frame_of(panel), vcov)
        for term in ("x", "w"):
            assert float(ours[term, vcov].value) == pytest.approx(theirs.coef()[term], rel=RTOL)
            assert float(ours[term, vcov].se) == pytest.approx(theirs.se()[term], rel=RTOL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs.first_stage()
            theirs.IV_Diag()
        ratio = float(ours["first_stage_F", vcov].value) / theirs._f_stat_1st_stage
        assert ratio == pytest.approx(1.0, rel=1e-7)


def test_the_first_stage_f_is_the_ratio_of_sums_of_squares():
    from scipy import stats

    panel = draw(5)
    ours = iv_2sls("y ~ w | x ~ z + v", vcov="iid", first_stage=True)(None, panel)
    x, w, z, v = (np.asarray(panel[name]).ravel() for name in "xwzv")
    ones = np.ones(x.size)

    def squares(*columns):
        design = np.column_stack(columns)
        return np.sum((x - design @ np.linalg.lstsq(design, x, rcond=None)[0]) ** 2)

    short, long = squares(ones, w), squares(ones, w, z, v)
    expected = (short - long) / 2 / (long / (x.size - 4))
    estimate = ours["first_stage_F", "iid"]
    assert float(estimate.value) == pytest.approx(expected, rel=1e-10)
    assert float(estimate.p_value) == pytest.approx(stats.f.sf(expected, 2, x.size - 4), abs=1e-12)
    weak = draw(5).with_columns({"x": np.random.default_rng(8).normal(size=(30, 6))})
    estimate = iv_2sls("y ~ w | x ~ z + v", vcov="iid", first_stage=True)(None, weak)[
        "first_stage_F", "iid"
    ]
    assert float(estimate.p_value) == pytest.approx(
        stats.f.sf(float(estimate.value), 2, x.size - 4), rel=1e-10
    )


@pytest.mark.parametrize("fuller", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("endogenous", [["x"], ["x", "d"]])
def test_k_class_as_linearmodels(fuller, endogenous):
    models = pytest.importorskip("linearmodels.iv")
    panel = draw(4, observed=0.8)
    panel = panel.with_columns({"d": panel["x"] * panel["w"] + panel["v"], "s": panel["z"] ** 2})
    frame = frame_of(panel).assign(Intercept=1.0)
    vcovs = list(LINEARMODELS)
    parts = (
        frame["y"],
        frame[[INTERCEPT, "w"]],
        frame[endogenous],
        frame[["z", "v", "s"]],
    )
    formula = f"y ~ w | {' + '.join(endogenous)} ~ z + v + s"
    pairs = [(models.IVLIML(*parts, fuller=fuller), liml(formula, vcov=vcovs, fuller=fuller))]
    if fuller == 0.0:
        pairs.append((models.IV2SLS(*parts), iv_2sls(formula, vcov=vcovs)))
    for model, estimator in pairs:
        ours = estimator(None, panel)
        for vcov in vcovs:
            clusters = {"clusters": frame["unit"]} if vcov == "CR1" else {}
            theirs = model.fit(cov_type=LINEARMODELS[vcov], debiased=True, **clusters)
            assert_as_linearmodels(ours, theirs, vcov)


def test_liml_with_as_many_instruments_is_two_stage_least_squares():
    panel = draw(9)
    for effects in ("", " | unit"):
        formula = f"y ~ w{effects} | x ~ z"
        one = liml(formula, vcov=["iid", "CR1"])(None, panel)
        two = iv_2sls(formula, vcov=["iid", "CR1"])(None, panel)
        np.testing.assert_allclose(numbers(one), numbers(two), rtol=1e-10)
        np.testing.assert_allclose(numbers(one, "se"), numbers(two, "se"), rtol=1e-10)


def test_instruments_that_are_the_regressor_give_least_squares():
    panel = draw(10)
    panel = panel.with_columns({"copy": panel["x"]})
    two = iv_2sls("y ~ w | unit | x ~ copy", vcov=["iid", "CR1"])(None, panel)
    one = fixed_effects("y ~ x + w | unit", vcov=["iid", "CR1"])(None, panel)
    np.testing.assert_allclose(numbers(two), numbers(one), rtol=1e-10)
    np.testing.assert_allclose(numbers(two, "se"), numbers(one, "se"), rtol=1e-10)


def test_a_constant_may_be_all_that_stands_beside_many_instruments():
    columns = jax.random.normal(jax.random.key(0), (11, 30, 4))
    panel = Panel({name: column for name, column in zip("ydabcefghij", columns, strict=True)})
    for estimator in (iv_2sls, liml):
        found = estimator("y ~ 1 | d ~ a + b + c + e + f + g + h + i + j", first_stage=True)
        assert all(np.isfinite(estimate.value) for estimate in found(None, panel).values())
