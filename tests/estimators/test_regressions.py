"""Regressions of every kind: published figures, linearmodels, and what holds for all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcsim
from mcsim import Panel, Status
from mcsim.errors import InputError
from mcsim.estimators import (
    NativeEstimator,
    between,
    first_difference,
    fixed_effects,
    half_panel_jackknife,
    iv_2sls,
    liml,
    ols,
    random_effects,
)
from regression_panels import (
    INTERCEPT,
    LINEARMODELS,
    assert_as_linearmodels,
    by_linearmodels,
    draw,
    numbers,
)

EVERY = [
    (ols, "y ~ x + w"),
    (fixed_effects, "y ~ x + w | unit"),
    (fixed_effects, "y ~ x + w | unit + time"),
    (first_difference, "y ~ x + w"),
    (random_effects, "y ~ x + w"),
    (between, "y ~ x + w"),
    (iv_2sls, "y ~ w | x ~ z + v"),
    (iv_2sls, "y ~ w | unit + time | x ~ z + v"),
    (liml, "y ~ w | x ~ z + v"),
    (half_panel_jackknife, "y ~ x + w | unit"),
]


def stack(*panels):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *panels)


# Published figures ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grunfeld():
    try:
        frame = mcsim.datasets.load("grunfeld")
    except Exception as reason:
        pytest.skip(f"the Grunfeld data are not at hand: {reason}")
    frame = getattr(frame, "frame", frame).reset_index()
    unit, time = (name for name in ("firm", "year"))
    return mcsim.from_frame(frame, unit=unit, time=time)[0]


TERMS = ("value", "capital")


@pytest.mark.parametrize(
    ("estimator", "value", "se"),
    [
        (
            fixed_effects("inv ~ value + capital | unit", vcov=["iid", "CR0"]),
            (0.1101238, 0.3100653),
            {"iid": (0.0118567, 0.0173545), "CR0": (0.0143421, 0.0497926)},
        ),
        (
            fixed_effects("inv ~ value + capital | unit + time", vcov=["iid", "CR0"]),
            (0.1177159, 0.3579163),
            {"iid": (0.0137513, 0.0227190), "CR0": (0.0097120, 0.0429311)},
        ),
        (
            random_effects("inv ~ value + capital", vcov="iid"),
            (0.1097812, 0.3081130),
            {"iid": (0.0104927, 0.0171805)},
        ),
        (first_difference("inv ~ value + capital", trend=True), (0.0897625, 0.2917667), {}),
        (
            between("inv ~ value + capital", vcov="iid"),
            (0.1346461, 0.0320315),
            {"iid": (0.0287455, 0.1909378)},
        ),
        (
            ols("inv ~ value + capital", vcov=["DK(2)", "CR0(unit + time)"], ssc="none"),
            (0.1155622, 0.2306785),
            {"DK(2)": (0.0115228, 0.0483756), "CR0(unit + time)": (0.0154345, 0.0740718)},
        ),
    ],
    ids=lambda part: repr(part) if callable(part) else "",
)
def test_grunfeld_is_as_plm_prints_it(grunfeld, estimator, value, se):
    estimates = estimator(None, grunfeld)
    vcov = next(iter(estimates))[1]
    got = [float(estimates[term, vcov].value) for term in TERMS]
    np.testing.assert_allclose(got, value, atol=6e-8)
    for name, expected in se.items():
        got = [float(estimates[term, name].se) for term in TERMS]
        np.testing.assert_allclose(got, expected, atol=6e-8)


def test_random_effects_has_plms_constant_on_grunfeld(grunfeld):
    estimates = random_effects("inv ~ value + capital", term=INTERCEPT)(None, grunfeld)
    assert float(estimates[INTERCEPT, "CR1"].value) == pytest.approx(-57.83441, abs=6e-6)


# Other libraries --------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["balanced", "with gaps"])
def wages(request):
    """wage_panel of Vella & Verbeek (1998), whole and without a fifth of its rows."""
    frame = pytest.importorskip("linearmodels.datasets.wage_panel").load()
    for year in range(1981, 1988):
        frame[f"d{year}"] = (frame["year"] == year).astype(float)
    if request.param == "with gaps":
        kept = frame[np.random.default_rng(1).random(len(frame)) < 0.8]
        frame = kept[kept.groupby("nr")["year"].transform("count") > 1].copy()
    return frame, mcsim.from_frame(frame, unit="nr", time="year")[0]


REGRESSORS = ["expersq", "union", "married"]
INVARIANT = ["educ", "black", "hisp", "exper", *REGRESSORS]


def test_as_linearmodels(wages):
    panel_models = pytest.importorskip("linearmodels.panel")
    frame, panel = wages
    frame = frame.set_index(["nr", "year"]).assign(Intercept=1.0)
    years = [f"d{year}" for year in range(1981, 1988)]
    options = {"vcov": list(LINEARMODELS), "ssc": "linearmodels"}
    within = "lwage ~ " + " + ".join(REGRESSORS)
    cases = [
        (
            panel_models.PooledOLS(frame["lwage"], frame[[INTERCEPT, *INVARIANT]]),
            ols(f"lwage ~ {' + '.join(INVARIANT)}", term=[INTERCEPT, *INVARIANT], **options),
        ),
        (
            panel_models.PanelOLS(frame["lwage"], frame[REGRESSORS], entity_effects=True),
            fixed_effects(f"{within} | unit", **options),
        ),
        (
            panel_models.PanelOLS(
                frame["lwage"], frame[REGRESSORS], entity_effects=True, time_effects=True
            ),
            fixed_effects(f"{within} | unit + time", **options),
        ),
        (
            panel_models.FirstDifferenceOLS(frame["lwage"], frame[REGRESSORS]),
            first_difference(within, **options),
        ),
        (
            panel_models.RandomEffects(frame["lwage"], frame[[INTERCEPT, *INVARIANT, *years]]),
            random_effects(
                f"lwage ~ {' + '.join(INVARIANT + years)}",
                term=[INTERCEPT, *INVARIANT, *years],
                **options,
            ),
        ),
    ]
    for model, estimator in cases:
        ours = estimator(None, panel)
        for vcov in LINEARMODELS:
            assert_as_linearmodels(ours, by_linearmodels(model, vcov), vcov)
    model = panel_models.BetweenOLS(frame["lwage"], frame[[INTERCEPT, *INVARIANT]])
    options = {"term": [INTERCEPT, *INVARIANT], "vcov": "iid"}
    ours = between(f"lwage ~ {' + '.join(INVARIANT)}", **options)(None, panel)
    assert_as_linearmodels(ours, by_linearmodels(model, "iid"), "iid")


def test_random_effects_of_wage_panel_are_wooldridges(wages):
    frame, panel = wages
    if len(frame) < 4360:
        pytest.skip("printed for the whole panel")
    years = " + ".join(f"d{year}" for year in range(1981, 1988))
    estimator = random_effects(
        f"lwage ~ {' + '.join(INVARIANT)} + {years}", vcov="iid", components=True
    )
    ours = estimator(None, panel)
    got = [float(ours[term, "iid"].value) for term in ("educ", "married", "union")]
    np.testing.assert_allclose(got, [0.09188, 0.06399, 0.10613], atol=6e-6)
    assert float(ours["theta", "none"].value) == pytest.approx(0.64291, abs=6e-6)
    assert int(ours["theta", "none"].status) == Status.OK


# Bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("estimator", "formula"), EVERY)
def test_a_failed_lane_is_marked_and_leaves_its_neighbors_alone(estimator, formula):
    fit = estimator(formula, term="w")
    third, fourth = draw(22), draw(23)
    collinear = third.with_columns({"w": 2.0 * third["x"]})
    if "~ z + v" in formula:
        collinear = third.with_columns({"v": third["z"]})
    nan = fourth.with_columns({"w": fourth["w"].at[3, 2].set(jnp.nan)})
    run = jax.jit(jax.vmap(lambda panel: fit(None, panel)))

    def lanes(*odd):
        (estimate,) = run(stack(draw(20), *odd, draw(21))).values()
        return jax.tree.map(np.asarray, estimate)

    failed, fine = lanes(collinear, nan), lanes(third, fourth)
    assert list(failed.status) == [Status.OK, Status.SINGULAR, Status.NAN, Status.OK]
    assert list(fine.status) == [Status.OK] * 4
    for what in ("value", "se", "df"):
        assert np.isnan(getattr(failed, what)[1:3]).all()
        np.testing.assert_array_equal(getattr(failed, what)[::3], getattr(fine, what)[::3])


@pytest.mark.parametrize(("estimator", "formula"), EVERY[:-1])
def test_what_a_mask_hides_does_not_matter(estimator, formula):
    panel = draw(observed=0.7)
    junk = {n: jnp.where(panel.mask, c, jnp.nan) for n, c in panel.items()}
    fit = estimator(formula)
    one, two = fit(None, panel), fit(None, Panel(junk, panel.mask))
    assert {int(e.status) for e in one.values()} == {Status.OK}
    for what in ("value", "se", "df"):
        np.testing.assert_array_equal(numbers(one, what), numbers(two, what))


@pytest.mark.parametrize(("estimator", "formula"), EVERY[:-1])
def test_no_observations_at_all_are_told(estimator, formula):
    panel = draw()
    panel = Panel(dict(panel), jnp.zeros((30, 6), bool))
    for estimate in estimator(formula)(None, panel).values():
        assert int(estimate.status) in (Status.INVALID_INPUT, Status.SINGULAR)
        assert np.isnan(float(estimate.value))


@pytest.mark.parametrize(("estimator", "formula"), EVERY[:-1])
def test_units_and_periods_without_observations_change_nothing(estimator, formula):
    panel = draw(observed=0.8)
    wider = Panel(
        {name: jnp.pad(column, ((0, 2), (0, 1))) for name, column in panel.items()},
        jnp.pad(panel.mask, ((0, 2), (0, 1))),
    )
    fit = estimator(formula)
    one, two = fit(None, panel), fit(None, wider)
    for what in ("value", "se", "df"):
        np.testing.assert_allclose(numbers(one, what), numbers(two, what), rtol=1e-9)


@pytest.mark.parametrize(("estimator", "formula"), EVERY[:-1])
def test_fewer_observations_than_parameters_are_told(estimator, formula):
    n_units = 3 if estimator in (between, random_effects) else 2
    few = Panel({name: column[:n_units, :2] for name, column in draw().items()})
    if estimator in (ols, first_difference) or formula.startswith("y ~ w |"):
        few = Panel({name: column[:1] for name, column in few.items()})
    for estimate in estimator(formula)(None, few).values():
        assert int(estimate.status) in (Status.INVALID_INPUT, Status.SINGULAR)
        assert np.isnan(float(estimate.value))


@pytest.mark.parametrize(
    ("estimator", "formula"),
    [
        (fixed_effects, "y ~ w | unit"),
        (fixed_effects, "y ~ w | unit + time"),
        (first_difference, "y ~ w"),
        (iv_2sls, "y ~ w | unit | x ~ z"),
        (half_panel_jackknife, "y ~ w | unit"),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 1e6, 0.1])
def test_a_regressor_that_the_effects_explain_is_singular(estimator, formula, scale):
    panel = draw()
    constant = scale * (jnp.arange(30.0)[:, None] + 1 / 3) * jnp.ones((1, 6))
    for estimate in estimator(formula)(None, panel.with_columns({"w": constant})).values():
        assert int(estimate.status) == Status.SINGULAR


def test_random_effects_take_regressors_that_are_constant_within_units():
    panel = draw()
    panel = panel.with_columns({"w": jnp.arange(30.0)[:, None] % 7 * jnp.ones((1, 6))})
    estimates = random_effects("y ~ x + w")(None, panel)
    assert {int(e.status) for e in estimates.values()} == {Status.OK}


@pytest.mark.parametrize(
    ("estimator", "formula"),
    [
        (fixed_effects, "y ~ x | unit"),
        (first_difference, "y ~ x"),
        (iv_2sls, "y ~ w | unit | x ~ z"),
        (half_panel_jackknife, "y ~ x | unit"),
    ],
)
def test_one_period_is_too_few(estimator, formula):
    panel = Panel({name: column[:, :1] for name, column in draw().items()})
    with pytest.raises(InputError, match="at least"):
        estimator(formula)(None, panel)


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(InputError, match="'wage' of the formula is not in the panel"):
        fixed_effects("wage ~ x | unit")(None, draw())


@pytest.mark.parametrize(
    ("arguments", "pieces"),
    [
        ((ols, "y ~ x | unit"), ["use fixed_effects"]),
        ((fixed_effects, "y ~ x"), ["no effects", "use ols"]),
        ((random_effects, "y ~ x | unit"), ["random here"]),
        ((between, "y ~ x | time"), ["between units"]),
        ((first_difference, "y ~ x | unit"), ["leave 'unit' out"]),
        ((fixed_effects, "y ~ w | unit | x ~ z"), ["use iv_2sls or liml"]),
        ((iv_2sls, "y ~ w | unit"), ["no instruments", "d ~ z"]),
        ((half_panel_jackknife, "y ~ x | time"), ["no unit effects"]),
        ((iv_2sls, "y ~ 1 | x + w ~ z + v", {"first_stage": True}), ["first_stage: formula"]),
        ((liml, "y ~ 1 | x ~ z", {"fuller": -1.0}), ["fuller: got -1.0"]),
        ((ols, "y ~ x", {"term": "Intersept"}), ["did you mean 'Intercept'?"]),
        ((fixed_effects, "y ~ x | unit", {"term": "Intercept"}), ["which it takes out"]),
        ((fixed_effects, "y ~ x + w | unit", {"estimand": "att"}), ["one coefficient"]),
        ((fixed_effects, "y ~ x | unit", {"term": []}), ["at least one coefficient"]),
        ((fixed_effects, "y ~ 1 | unit"), ["at least one coefficient"]),
        ((random_effects, "y ~ 1"), ["it has no regressor"]),
        ((iv_2sls, "y ~ w | x ~ z", {"vcov": "CR2"}), ["'CR2'"]),
        ((random_effects, "y ~ x", {"vcov": "RI"}), ["'RI'"]),
        ((half_panel_jackknife, "y ~ x | unit", {"vcov": "HC1"}), ["'HC1'"]),
        ((half_panel_jackknife, "y ~ x | unit", {"vcov": "CR1(time)"}), ["by 'time'"]),
        (
            (ols, "y ~ x", {"resamples": 0, "level": 95, "null": float("nan")}),
            ["resamples", "0.95", "null"],
        ),
        (
            (fixed_effects, "y ~ xx", {"term": "x", "vcov": "CR9", "ssc": "stata"}),
            ["4 faults", "no effects", "did you mean 'xx'?", "'CR9'", "'stata'"],
        ),
    ],
)
def test_every_fault_is_a_sentence_and_all_come_together(arguments, pieces):
    estimator, formula, *options = arguments
    with pytest.raises(InputError) as caught:
        estimator(formula, **(options[0] if options else {}))
    for piece in pieces:
        assert piece in str(caught.value)


def test_code_does_not_get_in():
    for text in ("y ~ __import__('os').system('true') | unit", "y ~ I(x.real) | unit"):
        for estimator in (fixed_effects, ols, iv_2sls):
            with pytest.raises(InputError):
                estimator(text)


# Configuration ----------------------------------------------------------------------------------


def test_terms_are_found_whatever_their_spaces_and_can_be_renamed():
    estimator = fixed_effects("y ~ x + I(w**2) | unit", term="I(w**2)", estimand="curvature")
    assert list(estimator(None, draw())) == [("curvature", "CR1")]
    assert estimator == fixed_effects("y~x+I(w ** 2)|unit", term="I(w ** 2)", estimand="curvature")
    assert repr(ols("y ~ x")) == (
        "ols('y ~ x', term='x', vcov='HC1', cluster='unit', ssc='fixest-0.13', solver='cholesky')"
    )


def test_new_panels_of_a_shape_are_not_traced_again(monkeypatch):
    traces = []
    estimator = fixed_effects("y ~ x + w | unit + time", vcov=["iid", "CR1"])
    numerics = estimator.numerics

    def counted(*args, **options):
        traces.append(1)
        return numerics(*args, **options)

    estimator = NativeEstimator(estimator.name, estimator.formula, counted, estimator.options)
    for seed in range(4):
        estimator(None, draw(seed))
    assert len(traces) == 1
    estimator(None, draw(0, observed=0.5))
    estimator(None, draw(1, observed=0.9))
    assert len(traces) == 2
