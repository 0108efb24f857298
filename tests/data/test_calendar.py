"""Periods on their calendar: which step they have, and that lags and distances count in it.

The reference of most tests is the panel with a row for every year, those of absent years masked.
"""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import mcsim
from drawn_panels import one_sample
from mcsim import Design, Panel, from_frame, to_frame
from mcsim._core.records import Calendar
from mcsim._definitions.describe import describe
from mcsim._host.samples import stack_samples
from mcsim._host.worker import Payload, estimate_piece, piece_of
from mcsim.dgps import Bootstrap, FactorModel, by_exposure, with_effect
from mcsim.dgps._effects import periods_treated
from mcsim.errors import ContractError, InputError
from mcsim.estimators import (
    arellano_bond,
    callaway_santanna,
    event_study,
    first_difference,
    fixed_effects,
    imputation,
    ols,
)
from mcsim.estimators._expression import evaluate
from mcsim.estimators._parsing import parse_regression
from mcsim.generators import GaussianCopula

YEARS = [2000, 2001, 2002, 2004, 2005, 2007]
PLACES = [0, 1, 2, 4, 5, 7]


def autoregressions(rng, n_units, n_years=8, rho=0.8):
    """Stationary AR(1) paths, one row per unit."""
    y = [rng.normal(size=n_units) / np.sqrt(1 - rho**2)]
    for _ in range(n_years - 1):
        y.append(rho * y[-1] + rng.normal(size=n_units))
    return np.stack(y, axis=1)


def with_gaps(columns):
    """The panel of the years that there are, and the one of all years with a mask."""
    shape = next(iter(columns.values())).shape
    mask = np.zeros(shape, bool)
    mask[:, PLACES] = True
    kept = {name: values[:, PLACES] for name, values in columns.items()}
    return Panel(kept, periods=YEARS), Panel(columns, jnp.asarray(mask))


def numbers(estimates):
    found = {k: [float(e.value), float(e.se), float(e.p_value)] for k, e in estimates.items()}
    return {label: values for label, values in found.items() if np.isfinite(values[0])}


ABSENT = pytest.mark.filterwarnings("ignore:time. .* absent between those in")


@ABSENT
@pytest.mark.parametrize(
    ("labels", "places"),
    [
        (YEARS, PLACES),
        ([1968.0, 1969.0, 1971.0], [0, 1, 3]),
        (pd.to_datetime(["2000-03-31", "2000-06-30", "2001-03-31"]), [0, 1, 4]),
        (pd.to_datetime(["2000-01-31", "2000-02-29", "2000-04-15"]), [0, 1, 3]),
        (pd.to_datetime(["2000-12-31", "2001-12-31", "2004-12-31"]), [0, 1, 4]),
        (pd.PeriodIndex(["2000Q1", "2000Q2", "2000Q4"], freq="Q"), [0, 1, 3]),
        (pd.to_datetime(["2000-01-03", "2000-01-07", "2000-01-10"]), [0, 1, 2]),
        (["1990", "1991", "1999"], [0, 1, 2]),
        ([2000.25, 2000.5, 2001.25], [0, 1, 4]),
    ],
    ids=[
        "years",
        "floats",
        "quarters",
        "months",
        "year ends",
        "periods",
        "days",
        "text",
        "fractions",
    ],
)
def test_the_step_is_that_of_the_labels(labels, places):
    frame = pd.DataFrame({"id": 1, "t": labels, "y": [1.0, 2.0, 4.0, 3.0, 5.0, 0.0][: len(labels)]})
    panel, schema = from_frame(frame, "id", "t")
    assert list(panel.calendar.places) == places
    assert schema.panel(dict(panel)).calendar == panel.calendar
    assert to_frame(panel, schema).index.get_level_values("t").tolist() == list(labels)


def test_waves_keep_their_lags_and_the_step_is_told():
    """fixest's panels are "unitary" by default: the step is the greatest common divisor."""
    frame = pd.DataFrame({"id": 1, "year": [1990, 1992, 1996], "y": [1.0, 2.0, 4.0]})
    with pytest.warns(UserWarning, match="'year' are 2 apart or multiples.*step= sets another"):
        panel, _ = from_frame(frame, "id", "year")
    assert panel.calendar.places == (0, 1, 3)
    every_year, _ = from_frame(frame, "id", "year", step=1)
    assert every_year.calendar.places == (0, 2, 6)


def test_numbers_without_a_common_step_are_counted_one_after_another():
    frame = pd.DataFrame({"id": 1, "t": [0.0, 1.0, 2.5], "y": [1.0, 2.0, 4.0]})
    with pytest.warns(UserWarning, match="'t' are no multiples of the smallest one"):
        panel, _ = from_frame(frame, "id", "t")
    assert panel.calendar.consecutive


@pytest.mark.parametrize(
    ("labels", "step", "message"),
    [
        ([1990, 1993, 1996], 2, "step: got 2, but periods in 't' are 3 apart"),
        ([1990, 1991, 1996], 0, "step: got 0, expected a whole number of at least 1"),
        (["a", "b", "c"], 1, "step: got 1 with periods such as 'a', expected whole numbers or"),
        (pd.to_datetime(["2000-01-03", "2000-01-07", "2000-01-10"]), 1, "leave step out"),
    ],
)
def test_a_step_that_labels_do_not_have_is_refused(labels, step, message):
    frame = pd.DataFrame({"id": 1, "t": labels, "y": [1.0, 2.0, 4.0]})
    with pytest.raises(InputError, match=message):
        from_frame(frame, "id", "t", step=step)
    with pytest.raises(InputError, match="without periods; name their column with time="):
        from_frame(frame.drop(columns="t").drop(columns="id"), step=2)


@pytest.mark.parametrize("periods", [[0, 1], [0, 2, 1], [0, 1, 2, 3], [0, 1, 1]])
def test_periods_are_ascending_whole_numbers(periods):
    with pytest.raises(InputError, match="expected 3 ascending whole numbers, the places"):
        Panel({"y": [[1.0, 2.0, 3.0]]}, periods=periods)


def test_a_lag_across_an_absent_period_is_missing():
    """Stata's L.y and L.L.y = L2.y, on years 2000-02, 04, 05, 07."""
    panel = Panel({"y": jnp.arange(6.0)[None]}, periods=YEARS)
    once, twice, nested = parse_regression("y ~ lag(y) + lag(y, 2) + lag(lag(y))").regressors
    nan = np.nan
    np.testing.assert_array_equal(evaluate(once, panel)[0], [nan, 0, 1, nan, 3, nan])
    np.testing.assert_array_equal(evaluate(twice, panel)[0], [nan, nan, 0, 2, nan, 4])
    np.testing.assert_array_equal(evaluate(nested, panel)[0], evaluate(twice, panel)[0])


@ABSENT
def test_the_coefficient_of_a_lag_is_that_of_a_merge_on_the_year_before():
    rng = np.random.default_rng(3)
    y = autoregressions(rng, 40)[:, PLACES]
    frame = pd.DataFrame({"year": YEARS * 40, "id": np.repeat(np.arange(40), 6), "y": y.ravel()})
    before = frame.assign(year=frame["year"] + 1).rename(columns={"y": "before"})
    rows = frame.merge(before, on=["id", "year"])
    slope = np.polyfit(rows["before"], rows["y"], 1)[0]
    panel, _ = from_frame(frame, "id", "year")
    found = ols("y ~ lag(y)")(None, panel)["lag(y)", "HC1"]
    np.testing.assert_allclose(found.value, slope, rtol=1e-10)


def test_a_monte_carlo_of_lags_by_calendar_and_by_position():
    """AR(1) with .8 in years 2000-02, 04, 05, 07: OLS is consistent for .8 by the calendar.

    By position, as until version 0.2, two of five lags are of two years: the limit is
    (3 x .8 + 2 x .8^2) / 5 = .736 (the variances are equal).
    """
    y = autoregressions(np.random.default_rng(0), 400 * 200)[:, PLACES].reshape(400, 200, 6)
    estimator, keys = ols("y ~ lag(y)"), jax.random.split(jax.random.key(0), 400)

    def found(periods):
        static = Panel({"y": y[0]}, periods=periods).static_part
        panels = Panel.batch({"y": jnp.asarray(y)}, static=static)
        values = np.asarray(jax.vmap(estimator)(keys, panels)["lag(y)", "HC1"].value)
        return values.mean(), values.std(ddof=1) / np.sqrt(len(values))

    after, error = found(YEARS)
    before, error_before = found(None)
    assert max(error, error_before) < 0.0015
    assert abs(after - 0.8) < 0.004  # a bias of -2 rho / (N T) is below .003
    assert abs(before - 0.736) < 0.004


DATA = np.random.default_rng(1)
Y, X = autoregressions(DATA, 60), autoregressions(DATA, 60, rho=0.3)
START = DATA.choice([1, 2, 5, 8], size=60)  # no adoption right after an absent year
D = (np.arange(8) >= START[:, None]).astype(float)


@pytest.mark.parametrize(
    "estimator",
    [
        ols("y ~ lag(y) + x", vcov=["CR1", "NW(3)", "DK(3)"]),
        fixed_effects("y ~ lag(x, 2) + x | unit + time", vcov="CR1"),
        first_difference("y ~ x", vcov=["CR1", "NW(1)"]),
        arellano_bond("y ~ lag(y) + x", tests=True, vcov=["windmeijer", "conventional"]),
        arellano_bond("y ~ lag(y)", steps=1, collapse=True, predetermined=[], tests=True),
        event_study("y ~ d", leads=2, lags=3),
        imputation("y ~ d", horizons=[0, 2, 3]),
    ],
    ids=lambda estimator: repr(estimator)[:24],
)
def test_absent_years_count_as_years_that_are_masked(estimator):
    gaps, masked = with_gaps({"y": Y, "x": X, "d": D})
    found, expected = numbers(estimator(None, gaps)), numbers(estimator(None, masked))
    assert found
    assert found.keys() == expected.keys()
    for label, values in expected.items():
        np.testing.assert_allclose(found[label], values, rtol=1e-8, err_msg=str(label))


def test_event_times_of_cohorts_are_years():
    """As R's did, whose event times are years minus first treated year, bases waves before."""
    panel, _ = with_gaps({"y": Y, "d": D})
    found = numbers(callaway_santanna("y ~ d", aggregation="event")(None, panel))
    y, never = Y[:, PLACES], START == 8
    effects = {}
    for cohort in (1, 2, 5):  # at the positions 1, 2 and 4
        g, own = PLACES.index(cohort), np.equal(START, cohort)
        for t in range(1, 6):
            base = g - 1 if t >= g else t - 1
            change = y[:, t] - y[:, base]
            own_size = own.sum()
            effect = change[own].mean() - change[never].mean()
            effects.setdefault(PLACES[t] - cohort, []).append((effect, own_size))
    for event, parts in effects.items():
        value, weight = zip(*parts, strict=True)
        np.testing.assert_allclose(
            found[f"att[{event}]", "influence"][0], np.average(value, weights=weight), rtol=1e-10
        )
    assert sorted(effects) == [-4, -3, -1, 0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (ols("y ~ lag(y, 6)"), r"looks 6 periods back, the panel has 3 periods \(places 0, 2, 4"),
        (first_difference("y ~ x"), "differences need at least 2 periods"),
        (arellano_bond("y ~ lag(y)"), "it looks 1 periods back|expected at least 3 that follow"),
        (imputation("y ~ d", horizons=1), r"expected some of \[0, 2\]"),
        (ols("y ~ x", vcov="NW(5)"), "has 5 lags, the panel 5 periods"),
        (event_study("y ~ d", leads=2, lags=2), r"can have the event times \[1\]; add them"),
    ],
    ids=["lag", "difference", "dynamic", "horizon", "kernel", "window"],
)
def test_a_calendar_without_the_periods_needed_is_refused(estimator, message):
    columns = {"y": Y[:, :3], "x": X[:, :3], "d": D[:, 1:4]}
    with pytest.raises(InputError, match=message):
        estimator(None, Panel(columns, periods=[0, 2, 4]))


def test_imposed_effects_grow_by_the_calendar():
    """A cohort of 2001 has the exposures 1, 2, 4, 5, 7 in 2001, 02, 04, 05, 07."""
    treated = jnp.asarray([[0.0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1], [0, 1, 0, 1, 1, 0]])
    exposure = periods_treated(treated, Calendar(tuple(PLACES))) * treated
    assert exposure.tolist() == [[0, 1, 2, 4, 5, 7], [0] * 5 + [1], [0, 1, 0, 2, 3, 0]]
    panel = Panel({"y": jnp.zeros((3, 6))}, periods=YEARS)
    path = by_exposure([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    dgp = with_effect(
        panel, outcome="y", assignment=lambda key, p: treated, effect=path, horizons=[0, 3]
    )
    sample = one_sample(dgp)
    assert sample.panel["y"][0].tolist() == [0, 1, 2, 4, 5, 7]
    assert sample.truth["att[3]"] == 4.0
    assert sample.panel.calendar == panel.calendar


def test_a_factor_model_has_the_autoregression_of_the_calendar():
    """Noise four years apart correlates with rho^4, and a lag of two years is none of one."""
    y = autoregressions(np.random.default_rng(5), 4000)[:, PLACES]
    model = FactorModel.fit(Panel({"y": y}, periods=YEARS), "y", rank=1, lags=1)
    correlation = np.asarray(model.covariance / model.covariance[0, 0])
    (rho,) = model.coefficients
    distance = np.abs(np.subtract.outer(PLACES, PLACES))
    np.testing.assert_allclose(correlation, rho**distance, rtol=1e-8)
    assert model(jax.random.key(0), Design()).panel.calendar.places == tuple(PLACES)


def test_every_way_through_a_panel_keeps_its_static_part(tmp_path):
    n = 80
    columns = {"y": Y[:n, PLACES], "k": np.tile([[0.0], [1.0], [2.0]], (20, 6))}
    panel = Panel(columns, periods=YEARS, nominal={"k": 3})
    generator = GaussianCopula().fit(jax.random.key(0), panel.select(["y"]))
    path = mcsim.save(generator, tmp_path / "model.safetensors")
    drawn = (generator.sample(jax.random.key(1), 5), mcsim.load(path).sample(jax.random.key(1), 5))
    ways = [
        panel.with_columns({"z": panel["y"]}),
        panel.select(["y", "k"]),
        panel.take(np.array([1, 2])),
        jax.jit(lambda p: p.take(slice(3)))(panel),
        pickle.loads(pickle.dumps(panel)),
        Bootstrap(panel)(jax.random.key(0), Design()).panel,
        mcsim.infer_schema(panel).panel(columns),
    ]
    assert all(way.calendar == panel.calendar for way in (*ways, *drawn))
    assert all(way.nominal == {"k": 3} for way in ways)
    assert generator.sample(jax.random.key(1), 5, 4).calendar.places == (0, 1, 2, 4)
    assert to_frame(panel).index.get_level_values("time").tolist()[:6] == PLACES


def test_consecutive_periods_share_programs_and_definitions_with_panels_of_arrays():
    frame = pd.DataFrame({"id": 1, "year": [2001, 2002, 2003], "y": [1.0, 2.0, 4.0]})
    panel, schema = from_frame(frame, "id", "year")
    arrays = Panel({"y": [[1.0, 2.0, 4.0]]})
    assert jax.tree.structure(panel) == jax.tree.structure(arrays)
    assert describe(panel) == describe(arrays) == {"y": describe(arrays["y"])}
    assert "places" not in describe(schema)
    apart = Panel(dict(arrays), periods=[0, 1, 3])
    assert describe(apart)["panel: periods"] == [0, 1, 3]


def test_a_calendar_that_a_slice_has_outlived_is_refused():
    panel = Panel({"y": Y[:, PLACES]}, periods=YEARS)
    shorter = jax.tree.map(lambda column: column[:, :3], panel)
    with pytest.raises(InputError, match="3 periods with the calendar of 6"):
        ols("y ~ lag(y)")(None, shorter)


def yearly_frame(rng, years=YEARS):
    index = pd.MultiIndex.from_product([range(3), years], names=["firm", "year"])
    region = pd.Categorical(rng.choice(["n", "s", "w"], len(index)), ["n", "s", "w"])
    return pd.DataFrame({"y": rng.normal(size=len(index)), "region": region}, index)


def test_samples_of_a_host_dgp_keep_calendar_and_categories():
    frames = [yearly_frame(np.random.default_rng(seed)) for seed in range(2)]
    columns, mask, _, schema = stack_samples("host", [(frame, {}) for frame in frames])
    static = schema.static_part(tuple(columns), len(YEARS))
    assert mask is None
    batch = Panel.batch({n: jnp.asarray(v) for n, v in columns.items()}, static=static)
    assert batch.calendar.places == tuple(PLACES)
    assert batch.nominal == {"region": 3}
    other = yearly_frame(np.random.default_rng(2), [2000, 2001, 2002, 2003, 2004, 2005])
    with pytest.raises(ContractError, match="its samples differ in distances between periods"):
        stack_samples("host", [(frames[0], {}), (other, {})])


def test_a_host_estimator_without_a_schema_gets_the_places_as_periods():
    def last_period(rng, frame):
        return mcsim.Estimate(float(frame.index.get_level_values("time").max()))

    panel = Panel({"y": Y[:, PLACES]}, jnp.asarray(Y[:, PLACES] > -9), periods=YEARS)
    batch = jax.tree.map(lambda leaf: leaf[None], panel)
    payload = Payload(mcsim.host(last_period), None)
    (outcome,) = estimate_piece(payload, piece_of(batch), np.zeros((1, 2), np.uint32))
    assert outcome.estimates["", ""].value == 7.0
    assert mcsim.estimate(mcsim.host(last_period), panel)["value"].item() == 7.0
