"""Regressions against published figures, other libraries, and the identities that hold exactly."""

import tomllib
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pandas as pd
import pytest

import mcsim
from mcsim import Panel, Status
from mcsim.errors import InputError
from mcsim.estimators import _native
from mcsim.estimators._formula import INTERCEPT
from mcsim.estimators._regression.fixed_effects import fixed_effects, half_panel_jackknife
from mcsim.estimators._regression.instruments import iv_2sls, liml
from mcsim.estimators._regression.ols import between, first_difference, ols
from mcsim.estimators._regression.random_effects import random_effects

NIST = Path(__file__).parents[1] / "references" / "nist"
RTOL = 1e-8
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


def draw(seed=0, n_units=30, n_periods=6, observed=None):
    """A panel with endogenous x, exogenous w, instruments z and v, and unit effects."""
    rng = np.random.default_rng(seed)
    effect, e, u, w, z, v = rng.normal(size=(6, n_units, n_periods))
    effect = effect[:, :1]
    x = z + 0.5 * v + u + effect + 0.3 * w
    y = 1.0 + 2.0 * x - w + effect + e + 0.5 * u
    columns = {"y": y, "x": x, "w": w, "z": z, "v": v}
    mask = None
    if observed is not None:
        mask = jnp.asarray(rng.random((n_units, n_periods)) < observed)
    return Panel(columns, mask)


def frame_of(panel):
    """The observed cells, one row each."""
    cells = pd.DataFrame({name: np.asarray(column).ravel() for name, column in panel.items()})
    cells["unit"] = np.repeat(np.arange(panel.n_units), panel.n_periods)
    cells["time"] = np.tile(np.arange(panel.n_periods), panel.n_units)
    return cells if panel.mask is None else cells[np.asarray(panel.mask).ravel()].copy()


def numbers(estimates, what="value"):
    return np.array([float(getattr(estimate, what)) for estimate in estimates.values()])


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


# Digits -----------------------------------------------------------------------------------------


def digits(got, certified):
    """The log relative error of the worst number."""
    got, certified = np.asarray(got, float), np.asarray(certified, float)
    return float(-np.log10(np.abs(got / certified - 1.0).max() + 1e-16))


def powers(degree):
    return ["x", *(f"I(x ** {power})" for power in range(2, degree + 1))]


def polynomial(x, y, degree, solver):
    terms = [INTERCEPT, *powers(degree)]
    estimator = ols(f"y ~ {' + '.join(terms[1:])}", term=terms, vcov="iid", solver=solver)
    estimates = estimator(None, Panel({"x": x, "y": y}))
    return [estimates[term, "iid"] for term in terms]


@pytest.mark.parametrize(("solver", "bar"), [("cholesky", 12), ("qr", 12)])
def test_longley(solver, bar):
    longley = pytest.importorskip("statsmodels.datasets").longley.load_pandas().data
    certified = tomllib.loads((NIST / "certified.toml").read_text())["longley"]
    terms = ["GNPDEFL", "GNP", "UNEMP", "ARMED", "POP", "YEAR"]
    panel = Panel({name: longley[name].to_numpy(float) for name in longley})
    estimator = ols(
        f"TOTEMP ~ {' + '.join(terms)}", term=[INTERCEPT, *terms], vcov="iid", solver=solver
    )
    estimates = [estimator(None, panel)[term, "iid"] for term in (INTERCEPT, *terms)]
    assert digits([e.value for e in estimates], certified["coefficients"]) >= bar
    assert digits([e.se for e in estimates], certified["standard_errors"]) >= bar


@pytest.mark.parametrize(
    ("name", "scale", "solver", "bar"),
    [
        ("wampler1", 1.0, "cholesky", 9),
        ("wampler1", 1.0, "qr", 9),
        ("wampler2", 0.1, "cholesky", 10),
        ("wampler2", 0.1, "qr", 10),
    ],
)
def test_wampler(name, scale, solver, bar):
    x = np.arange(21.0)
    y = sum((scale * x) ** power for power in range(6))
    certified = tomllib.loads((NIST / "certified.toml").read_text())[name]["coefficients"]
    estimates = polynomial(x, y, 5, solver)
    assert digits([e.value for e in estimates], certified) >= bar


def test_filip_needs_qr():
    data = np.loadtxt(NIST / "filip.csv", delimiter=",", skiprows=1)
    certified = tomllib.loads((NIST / "certified.toml").read_text())["filip"]
    estimates = polynomial(data[:, 1], data[:, 0], 10, "qr")
    assert digits([e.value for e in estimates], certified["coefficients"]) >= 7
    assert digits([e.se for e in estimates], certified["standard_errors"]) >= 7
    refused = polynomial(data[:, 1], data[:, 0], 10, "cholesky")
    assert {int(e.status) for e in refused} == {Status.SINGULAR}


def test_solvers_agree_with_gaps_too():
    panel = draw(observed=0.7)
    fits = [
        ols("y ~ x + w", term=["Intercept", "x"], vcov=["iid", "HC1", "CR1"], solver=solver)
        for solver in ("cholesky", "qr")
    ]
    one, two = (fit(None, panel) for fit in fits)
    for what in ("value", "se", "df"):
        np.testing.assert_allclose(numbers(one, what), numbers(two, what), rtol=1e-10)


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


LINEARMODELS = {"iid": "unadjusted", "HC1": "robust", "CR1": "clustered"}
REGRESSORS = ["expersq", "union", "married"]
INVARIANT = ["educ", "black", "hisp", "exper", *REGRESSORS]


def by_linearmodels(model, vcov):
    clusters = {"cluster_entity": True} if vcov == "CR1" else {}
    return model.fit(cov_type=LINEARMODELS[vcov], **clusters)


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


def assert_as_linearmodels(estimates, theirs, vcov):
    ours = {term: estimate for (term, name), estimate in estimates.items() if name == vcov}
    np.testing.assert_allclose(numbers(ours), theirs.params[list(ours)], rtol=RTOL)
    np.testing.assert_allclose(numbers(ours, "se"), theirs.std_errors[list(ours)], rtol=RTOL)


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


PYFIXEST = {"iid": "iid", "HC1": "hetero", "CR1": {"CRV1": "unit"}, "CR1(time)": {"CRV1": "time"}}


def by_pyfixest(formula, frame, vcov):
    pyfixest = pytest.importorskip("pyfixest")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pyfixest.feols(formula, frame, vcov=PYFIXEST[vcov], fixef_tol=1e-13)


@pytest.mark.parametrize("effects", ["unit", "time", "unit + time"])
@pytest.mark.parametrize("seed", range(4))
def test_random_panels_with_gaps_as_pyfixest(effects, seed):
    panel = draw(seed, n_units=25, n_periods=7, observed=0.5)
    ours = fixed_effects(f"y ~ x + w | {effects}", vcov=list(PYFIXEST))(None, panel)
    frame = frame_of(panel)
    for vcov in PYFIXEST:
        theirs = by_pyfixest(f"y ~ x + w | {effects}", frame, vcov)
        for term in ("x", "w"):
            estimate = ours[term, vcov]
            assert float(estimate.value) == pytest.approx(theirs.coef()[term], rel=RTOL)
            assert float(estimate.se) == pytest.approx(theirs.se()[term], rel=RTOL)
            assert float(estimate.df) == pytest.approx(theirs._df_t)


def test_linearmodels_counts_units_that_are_observed_once():
    models = pytest.importorskip("linearmodels.panel")
    panel = draw(0, n_units=25, n_periods=7, observed=0.4)
    frame = frame_of(panel).set_index(["unit", "time"])
    assert (frame.groupby("unit")["y"].count() == 1).any()
    model = models.PanelOLS(frame["y"], frame[["x", "w"]], entity_effects=True, time_effects=True)
    estimator = fixed_effects(
        "y ~ x + w | unit + time", vcov=list(LINEARMODELS), ssc="linearmodels"
    )
    ours = estimator(None, panel)
    for vcov in LINEARMODELS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = by_linearmodels(model, vcov)
        assert_as_linearmodels(ours, theirs, vcov)
        assert {float(ours[t, vcov].df) for t in "xw"} == {theirs.df_resid}


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


# Identities -------------------------------------------------------------------------------------


@pytest.mark.parametrize("observed", [None, 0.6])
def test_fixed_effects_are_dummies(observed):
    panel = draw(6, n_units=12, n_periods=5, observed=observed)
    frame = frame_of(panel)
    dummies = pd.get_dummies(frame[["unit", "time"]].astype(str), drop_first=True, dtype=float)
    design = np.column_stack([frame[["x", "w"]], np.ones(len(frame)), dummies])
    coef, squares, rank, _ = np.linalg.lstsq(design, frame["y"].to_numpy(), rcond=None)
    assert rank == design.shape[1]
    variance = squares[0] / (len(frame) - rank) * np.linalg.inv(design.T @ design)
    ours = fixed_effects("y ~ x + w | unit + time", vcov="iid")(None, panel)
    for position, term in enumerate(("x", "w")):
        assert float(ours[term, "iid"].value) == pytest.approx(coef[position], rel=1e-10)
        assert float(ours[term, "iid"].se) == pytest.approx(variance[position, position] ** 0.5)


def test_periods_that_share_no_unit_have_dummies_too():
    """Units 0 to 9 are seen in periods 0 to 2, the others in 3 to 5: two panels side by side."""
    panel = draw(7, n_units=20, n_periods=6)
    early = jnp.arange(20)[:, None] < 10
    panel = Panel(dict(panel), early == (jnp.arange(6) < 3))
    frame = frame_of(panel)
    dummies = pd.get_dummies(frame[["unit", "time"]].astype(str), dtype=float)
    design = np.column_stack([frame[["x", "w"]], dummies])
    coef = np.linalg.lstsq(design, frame["y"].to_numpy(), rcond=None)[0]
    ours = fixed_effects("y ~ x + w | unit + time")(None, panel)
    np.testing.assert_allclose([float(ours[t, "CR1"].value) for t in "xw"], coef[:2], rtol=1e-9)


@pytest.mark.parametrize(("effects", "trend"), [("unit", False), ("unit + time", True)])
def test_with_two_periods_differences_are_fixed_effects(effects, trend):
    panel = draw(8, n_periods=2)
    within = fixed_effects(f"y ~ x + w | {effects}", vcov=["iid", "CR1"], ssc="none")(None, panel)
    changes = first_difference("y ~ x + w", trend=trend, vcov=["iid", "CR1"], ssc="none")
    differenced = changes(None, panel)
    np.testing.assert_allclose(numbers(within), numbers(differenced), rtol=1e-10)
    for term in "xw":
        se = [float(fit[term, "CR1"].se) for fit in (within, differenced)]
        assert se[0] == pytest.approx(se[1], rel=1e-10)
    with_dummies = first_difference("y ~ x + w | time", ssc="none")(None, panel)
    if trend:
        np.testing.assert_allclose(
            [float(e.value) for e in with_dummies.values()],
            [float(differenced[t, "CR1"].value) for t, _ in with_dummies],
            rtol=1e-10,
        )


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


def test_the_constant_alone_is_the_mean():
    y = np.random.default_rng(0).normal(size=40)
    estimate = ols("y ~ 1", vcov="iid")(None, Panel({"y": y}))[INTERCEPT, "iid"]
    assert float(estimate.value) == pytest.approx(y.mean())
    assert float(estimate.se) == pytest.approx(y.std(ddof=1) / 40**0.5)
    assert float(estimate.df) == 39


def test_the_jackknife_is_what_it_says():
    for n_periods, cuts in ((6, [3]), (7, [3, 4])):
        panel = draw(11, n_periods=n_periods)
        whole = fixed_effects("y ~ x + w | unit")

        def part(start, stop, panel=panel, whole=whole):
            return numbers(whole(None, Panel({n: c[:, start:stop] for n, c in panel.items()})))

        halves = [part(*half) for cut in cuts for half in ((0, cut), (cut, n_periods))]
        ours = half_panel_jackknife("y ~ x + w | unit")(None, panel)
        expected = 2 * numbers(whole(None, panel)) - np.mean(halves, axis=0)
        np.testing.assert_allclose(numbers(ours), expected, rtol=1e-10)


# Simulations ------------------------------------------------------------------------------------


def nickell(rho, n_periods):
    """The bias of fixed effects (Nickell 1981, eq. 18)."""
    a = 1 - (1 - rho**n_periods) / (n_periods * (1 - rho))
    return -(1 + rho) / (n_periods - 1) * a / (1 - 2 * rho * a / ((1 - rho) * (n_periods - 1)))


def autoregression(key, rho, n_units, n_periods):
    """A stationary AR(1) with unit effects, and the period before the first."""
    effects, start, shocks = jax.random.split(key, 3)
    effect = jax.random.normal(effects, (n_units,))
    first = effect / (1 - rho) + jax.random.normal(start, (n_units,)) / jnp.sqrt(1 - rho**2)

    def step(y, shock):
        y = rho * y + effect + shock
        return y, y

    _, later = jax.lax.scan(step, first, jax.random.normal(shocks, (n_periods, n_units)))
    return Panel({"y": jnp.concatenate([first[None], later]).T})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rho", "n_periods", "jackknife_bias"),
    [(0.5, 5, -0.019), (0.5, 10, 0.006), (0.5, 20, 0.005), (0.9, 5, -0.098), (0.9, 20, 0.004)],
)
def test_nickells_bias_and_what_the_jackknife_leaves_of_it(rho, n_periods, jackknife_bias):
    reps, within, corrected = (
        300,
        fixed_effects("y ~ lag(y) | unit"),
        half_panel_jackknife("y ~ lag(y) | unit"),
    )

    def one(key):
        panel = autoregression(key, rho, 1000, n_periods)
        return [fit(None, panel)["lag(y)", "CR1"].value - rho for fit in (within, corrected)]

    draws = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), reps))
    for errors, bias, printed in zip(
        draws, (nickell(rho, n_periods), jackknife_bias), (0.0005, 0.0015), strict=True
    ):
        mcse = float(errors.std()) / reps**0.5
        assert abs(float(errors.mean()) - bias) < 4 * mcse + printed


@pytest.mark.slow
def test_standard_errors_of_the_jackknife_cover():
    corrected = half_panel_jackknife("y ~ lag(y) | unit")

    def one(key):
        estimate = corrected(None, autoregression(key, 0.5, 100, 10))["lag(y)", "CR1"]
        return estimate.value, estimate.se

    value, se = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(2), 2000))
    assert float(se.mean()) == pytest.approx(float(value.std()), rel=4 / 4000**0.5)
    assert abs(float((jnp.abs(value - value.mean()) < 1.96 * se).mean()) - 0.95) < 0.02


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


def test_the_jackknife_needs_two_periods_in_each_half():
    panel = Panel({name: column[:, :4] for name, column in draw().items()})
    half_panel_jackknife("y ~ x | unit")(None, panel)
    with pytest.raises(InputError, match="at least 4 periods after lags, got 3"):
        half_panel_jackknife("y ~ lag(x) | unit")(None, panel)


def test_the_jackknife_refuses_gaps():
    with pytest.raises(InputError, match="keep the units that are observed in every period"):
        half_panel_jackknife("y ~ x | unit")(None, draw(observed=0.9))


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


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("null", ["a", [0.0], True, float("nan")]),
        ("level", ["a", [0.9], True, 1.0]),
        ("resamples", [True, 0, 2.5, None]),
        ("solver", ["lu", ["qr"], None]),
        ("vcov", [None, [["CR1"]], 3, []]),
        ("cluster", [None, [["unit"]], 3]),
        ("ssc", [None, ["fixest-0.13"]]),
        ("term", [3, [["x"]], []]),
        ("estimand", [3, ["a"]]),
    ],
)
def test_an_option_that_cannot_be_is_a_sentence_that_names_it(option, wrong, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users have it
    for value in wrong:
        with pytest.raises(InputError) as caught:
            ols("y ~ x", **({"vcov": "CR1"} | {option: value}))
        assert option in str(caught.value), value


@pytest.mark.parametrize("solver", ["cholesky", "qr"])
def test_a_regression_may_have_a_constant_only(solver):
    panel = draw()
    found = ols("y ~ 1", term="Intercept", vcov="iid", solver=solver)(None, panel)
    assert float(found["Intercept", "iid"].value) == pytest.approx(float(panel["y"].mean()))


def test_a_constant_may_be_all_that_stands_beside_many_instruments():
    columns = jax.random.normal(jax.random.key(0), (11, 30, 4))
    panel = Panel({name: column for name, column in zip("ydabcefghij", columns, strict=True)})
    for estimator in (iv_2sls, liml):
        found = estimator("y ~ 1 | d ~ a + b + c + e + f + g + h + i + j", first_stage=True)
        assert all(np.isfinite(estimate.value) for estimate in found(None, panel).values())


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


def test_options_of_resampling_are_part_of_it_only_where_something_resamples():
    assert ols("y ~ x", resamples=99) == ols("y ~ x")
    one, two = (ols("y ~ x", vcov="wild", resamples=number) for number in (99, 199))
    assert one != two


def test_new_panels_of_a_shape_are_not_traced_again(monkeypatch):
    traces = []
    estimator = fixed_effects("y ~ x + w | unit + time", vcov=["iid", "CR1"])
    numerics = estimator.numerics

    def counted(*args, **options):
        traces.append(1)
        return numerics(*args, **options)

    estimator = _native.NativeEstimator(
        estimator.name, estimator.formula, counted, estimator.options
    )
    for seed in range(4):
        estimator(None, draw(seed))
    assert len(traces) == 1
    estimator(None, draw(0, observed=0.5))
    estimator(None, draw(1, observed=0.9))
    assert len(traces) == 2
