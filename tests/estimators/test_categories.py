"""Categories in formulas: dummies of the levels, as in R and statsmodels, whoever made the panel.

A column of categories holds codes 0, 1, ...; until version 0.2 they entered as amounts where no
schema was passed.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

import mcsim
from mcsim import Design, Panel, from_frame, to_frame
from mcsim.dgps import Bootstrap, with_effect
from mcsim.errors import InputError
from mcsim.estimators import (
    cluster_diagnostics,
    did,
    first_difference,
    fixed_effects,
    iv_2sls,
    ols,
    outcome_regression,
)
from mcsim.generators import UnitBootstrap


def frame_of(n=300, seed=0):
    """x is high in the middle region, which has the high outcomes: no effect of its own."""
    rng = np.random.default_rng(seed)
    code = rng.integers(0, 3, n)
    effect = np.array([0.0, 4.0, 1.0])[code]
    x = effect + 0.4 * rng.normal(size=n)
    region = np.array(["north", "south", "west"])[code]
    d = (rng.random(n) < 0.4).astype(int)
    z = x + rng.normal(size=n)
    y = 2 * effect + d + rng.normal(size=n)
    return pd.DataFrame({"y": y, "x": x, "d": d, "z": z, "region": pd.Categorical(region)})


FRAME = frame_of()
PANEL, SCHEMA = from_frame(FRAME)


def first_hundred(key, panel):
    return (jnp.arange(panel.n_units) < 100)[:, None]


def in_statsmodels(formula, frame=FRAME):
    return smf.ols(formula, frame).fit(cov_type="HC1", use_t=True)


@pytest.mark.parametrize(
    ("formula", "reference", "names"),
    [
        ("y ~ x + region", "y ~ C(region) + x", ["region[1]", "region[2]", "x"]),
        (
            "y ~ x*region",
            "y ~ C(region)*x",
            ["region[1]", "region[2]", "x", "x:region[1]", "x:region[2]"],
        ),
        ("y ~ x:region", "y ~ C(region):x", [f"x:region[{k}]" for k in range(3)]),
    ],
)
def test_a_category_is_coded_as_in_statsmodels(formula, reference, names):
    """The coding of R and patsy: full where no margin spans the levels."""
    found, expected = ols(formula)(None, PANEL), in_statsmodels(reference)
    values = [float(found[name, "HC1"].value) for name in names]
    errors = [float(found[name, "HC1"].se) for name in names]
    assert len(found) == len(names)
    np.testing.assert_allclose(values, expected.params.iloc[1:], rtol=1e-8)
    np.testing.assert_allclose(errors, expected.bse.iloc[1:], rtol=1e-8)


def test_every_way_without_a_schema_has_the_dummies():
    """As codes x would have a coefficient of about 1.9, though it has no effect."""
    codes = Panel(dict(PANEL))
    estimator = ols("y ~ x + d + region", term="x")
    assert 1.7 < float(estimator(None, codes)["x", "HC1"].value) < 2.0
    rows = mcsim.estimate(estimator, PANEL)
    np.testing.assert_allclose(rows["value"], in_statsmodels("y ~ x + d + C(region)").params["x"])
    assert abs(rows["value"].item()) < 0.2
    imposed = with_effect(
        PANEL, outcome="y", assignment=first_hundred, effect=1.0, untreated="as is"
    )
    for dgp in (Bootstrap(PANEL), imposed, Bootstrap(PANEL, strata="region")):
        panel = dgp(jax.random.key(1), Design()).panel
        frame = to_frame(panel)
        found = estimator(None, panel)["x", "HC1"].value
        expected = in_statsmodels("y ~ x + d + C(region)", frame).params["x"]
        np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_a_generator_draws_the_categories_that_it_learned():
    fitted = UnitBootstrap().fit(jax.random.key(0), PANEL)
    drawn = fitted.sample(jax.random.key(1), 50)
    assert drawn.nominal == {"region": 3}
    assert fitted.schema["region"].kind == "categorical"


@pytest.mark.parametrize(
    ("method", "formula", "options"),
    [
        (outcome_regression, "y ~ d | {}", {}),
        (iv_2sls, "y ~ d | x ~ {}", {"term": "x"}),
    ],
    ids=["covariates", "instruments"],
)
def test_covariates_and_instruments_are_dummies_too(method, formula, options):
    dummies = pd.get_dummies(FRAME["region"], dtype=float).iloc[:, 1:]
    columns, _ = from_frame(pd.concat([FRAME.drop(columns="region"), dummies], axis=1))
    found = method(formula.format("region"), **options)(None, PANEL)
    expected = method(formula.format("south + west"), **options)(None, columns)
    for label, estimate in expected.items():
        np.testing.assert_allclose(found[label].value, estimate.value, rtol=1e-10)
        np.testing.assert_allclose(found[label].se, estimate.se, rtol=1e-10)


def test_dummies_of_a_panel_vary_over_time():
    rng = np.random.default_rng(2)
    code = rng.integers(0, 3, (40, 4)).astype(float)
    y = rng.normal(size=(40, 4)) + np.array([0.0, 1.0, -1.0])[code.astype(int)]
    panel = Panel({"y": y, "k": code}, nominal={"k": 3})
    by_hand = Panel({"y": y, "a": code == 1, "b": code == 2})
    for method in (fixed_effects, first_difference):
        effects = " | unit + time" if method is fixed_effects else ""
        found = method(f"y ~ k{effects}")(None, panel)
        expected = method(f"y ~ a + b{effects}")(None, by_hand)
        for dummy, column in (("k[1]", "a"), ("k[2]", "b")):
            np.testing.assert_allclose(
                found[dummy, "CR1"].se, expected[column, "CR1"].se, rtol=1e-10
            )
    diagnostics = cluster_diagnostics(fixed_effects("y ~ k | unit"), panel)
    assert diagnostics.n_clusters == 40


@pytest.mark.parametrize(
    ("estimator", "panel"),
    [
        (ols("y ~ x + region"), Panel(dict(PANEL), nominal=["region"])),
        (ols("region ~ x"), PANEL),
        (ols("y ~ log(region)"), PANEL),
        (ols("y ~ I(region**2) + x"), PANEL),
        (iv_2sls("y ~ d | region ~ z"), PANEL),
        (outcome_regression("y ~ region | x"), PANEL),
        (did("y ~ region"), Panel(dict(PANEL), nominal={"region": 2})),
    ],
    ids=["unknown", "outcome", "log", "power", "endogenous", "treatment", "did"],
)
def test_a_category_where_numbers_must_stand_is_refused(estimator, panel):
    with pytest.raises(InputError, match="'region' is categorical; make a 0/1 column"):
        estimator(None, panel)


def test_a_schema_that_knows_more_than_the_panel_refuses_codes():
    with pytest.raises(InputError, match="'region' is categorical; make a 0/1 column"):
        mcsim.estimate(ols("y ~ region"), Panel(dict(PANEL)), schema=SCHEMA)
    rows = mcsim.estimate(ols("y ~ region"), PANEL, schema=SCHEMA)
    assert rows["estimand"].tolist() == ["region[1]", "region[2]"]


def test_one_label_does_not_fit_several_dummies():
    with pytest.raises(InputError, match=r"has 2: region\[1\], region\[2\]; leave estimand= out"):
        ols("y ~ x + region", term="region", estimand="effect")(None, PANEL)


def test_effects_are_not_added_to_categories():
    with pytest.raises(InputError, match=r"outcome: got 'region', whose values are categories"):
        with_effect(PANEL, outcome="region", assignment=first_hundred)


def test_nominal_columns_are_names_of_the_panel():
    with pytest.raises(InputError, match="nominal: 'regions' is not in the panel"):
        Panel(dict(PANEL), nominal=["regions"])
    with pytest.raises(InputError, match=r"nominal: got 'region', expected names: \['region'\]"):
        Panel(dict(PANEL), nominal="region")
