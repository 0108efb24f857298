"""Differences in differences by every method: exact examples, invariances, batches, faults."""

import inspect
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adoption_panels import (
    KEY,
    METHODS,
    WITH_COVARIATES,
    att,
    given_up_for_good,
    no_never_treated,
    staggered,
    statuses,
    three_cohorts,
    values,
)
from mcsim import Estimator, Panel, Status
from mcsim.errors import InputError
from mcsim.estimators import callaway_santanna, did, event_study, imputation, twfe_weights


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (did("y ~ d"), 1.25),
        (callaway_santanna("y ~ d"), 13 / 6),
        (callaway_santanna("y ~ d", control="notyet"), 13 / 6),
        (callaway_santanna("y ~ d", aggregation="event"), 2.5),
        (callaway_santanna("y ~ d", aggregation="group"), 2.0),
        (callaway_santanna("y ~ d", aggregation="calendar"), 2.0),
        (imputation("y ~ d"), 13 / 6),
        (event_study("y ~ d", leads=3, lags=3), 2.5),
    ],
    ids=lambda case: repr(case)[:60],
)
def test_staggered_adoption_without_noise(estimator, expected):
    np.testing.assert_allclose(att(estimator, three_cohorts()).value, expected, rtol=1e-13)


@pytest.mark.parametrize(
    "estimator",
    [
        event_study("y ~ d", leads=3, lags=3),
        callaway_santanna("y ~ d", aggregation="event", base="universal"),
        imputation("y ~ d", horizons=(0, 1, 2, 3)),
    ],
    ids=["event_study", "callaway_santanna", "imputation"],
)
def test_effects_by_exposure_without_noise(estimator):
    found = values(estimator, Panel(three_cohorts()))
    np.testing.assert_allclose([found[f"att[{e}]"][0] for e in range(4)], [1, 2, 3, 4], rtol=1e-12)


def test_block_design_is_the_difference_of_four_means():
    columns = staggered(3)
    d = np.zeros((40, 6))
    d[:15, 4:] = 1.0
    y = columns["y"]
    means = [y[:15, 4:].mean(), y[:15, :4].mean(), y[15:, 4:].mean(), y[15:, :4].mean()]
    expected = means[0] - means[1] - (means[2] - means[3])
    for name in ("did", "imputation"):
        np.testing.assert_allclose(att(METHODS[name], {"y": y, "d": d}).value, expected, rtol=1e-12)


def test_clusters_of_units_are_sums_of_influences():
    """A cluster of two copies of a unit has the standard error of single units, times root two."""
    columns = staggered(4)
    twice = {name: np.repeat(column, 2, axis=0) for name, column in columns.items()}
    twice["pair"] = np.repeat(np.arange(40), 2)[:, None] * np.ones((1, 6))
    for method in (callaway_santanna, imputation):
        single = att(method("y ~ d"), columns)
        paired = att(method("y ~ d", cluster="pair"), twice)
        np.testing.assert_allclose(paired.value, single.value, rtol=1e-12)
        np.testing.assert_allclose(paired.se, single.se, rtol=1e-10)


# Invariances


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 1000),
    scale=st.floats(0.01, 100),
    method=st.sampled_from(sorted(METHODS) + [f"{name}+z" for name in WITH_COVARIATES]),
)
def test_order_units_and_two_way_constants_do_not_matter(seed, scale, method):
    name = method.removesuffix("+z")
    estimator = (WITH_COVARIATES if method.endswith("+z") else METHODS)[name]
    rng = np.random.default_rng(seed)
    columns = staggered(seed)
    order = rng.permutation(40)
    shift = 10 * rng.normal(size=(40, 1)) + 10 * rng.normal(size=6)
    moved = {key: column[order] for key, column in columns.items()}
    moved |= {"y": scale * (moved["y"] + shift), "z": 3 * moved["z"] + 100}
    base, other = att(estimator, columns), att(estimator, moved)
    np.testing.assert_allclose(other.value, scale * base.value, rtol=1e-7, atol=1e-7 * scale)
    np.testing.assert_allclose(other.se, scale * base.se, rtol=1e-6)


def test_unobserved_cells_may_hold_anything():
    columns = staggered(0)
    mask = np.ones((40, 6), bool)
    mask[3, 2:4] = mask[7] = False
    other = {name: np.where(mask, column, np.inf) for name, column in columns.items()}
    for name in ("did", "event_study", "imputation"):
        first = att(METHODS[name], columns, jnp.asarray(mask))
        second = att(METHODS[name], other, jnp.asarray(mask))
        assert first.status == Status.OK
        assert (first.value, first.se) == (second.value, second.se)


# Identification


def test_always_treated_units_and_periods_without_controls_are_left_out():
    columns = staggered(0)
    early = np.ones((3, 6))
    joined = {name: np.vstack([column, early]) for name, column in columns.items()}
    for name in ("callaway_santanna", "imputation"):
        first, second = att(METHODS[name], columns), att(METHODS[name], joined)
        np.testing.assert_allclose(second.value, first.value, rtol=1e-12)
        np.testing.assert_allclose(second.se, first.se, rtol=1e-10)
    ever = columns["d"].any(axis=1)
    treated = {name: column[ever] for name, column in columns.items()}
    last = {name: column[:, :5] for name, column in treated.items()}
    for estimator in (callaway_santanna("y ~ d", control="notyet"), METHODS["imputation"]):
        np.testing.assert_allclose(
            att(estimator, treated).value, att(estimator, last).value, rtol=1e-12
        )


# Batches


def batch_of(panels):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *panels)


@pytest.mark.parametrize("name", WITH_COVARIATES)
def test_a_broken_lane_leaves_its_neighbors_bit_equal(name):
    """Lanes have different cohorts; one is singular, one has no number, one gives up treatment."""
    estimator = jax.jit(jax.vmap(lambda panel: WITH_COVARIATES[name](KEY, panel)))
    clean = [staggered(seed) for seed in range(5)]
    broken = [dict(columns) for columns in clean]
    broken[1] |= {"z": np.ones((40, 6)) * np.arange(40)[:, None]}
    broken[1]["z"] = np.where(name in ("dr", "reg", "ipw"), 1.0, broken[1]["z"])
    broken[2] |= {"y": np.full((40, 6), np.nan)}
    broken[3] |= {"d": np.eye(40, 6)}
    first = estimator(batch_of([Panel(c) for c in clean]))
    second = estimator(batch_of([Panel(c) for c in broken]))
    for label in first:
        for lane in (0, 4):
            for one, other in zip(first[label], second[label], strict=True):
                np.testing.assert_array_equal(one[lane], other[lane])
        assert second[label].status[1] == Status.SINGULAR
        assert second[label].status[2] == Status.NAN
        if name != "did":
            assert second[label].status[3] == Status.INVALID_INPUT


@pytest.mark.parametrize("name", METHODS)
def test_vmap_equals_loop_over_different_cohorts(name):
    panels = [Panel({k: v for k, v in staggered(seed).items() if k != "z"}) for seed in range(3)]
    panels[1] = Panel(
        {k: np.where(k == "d", np.arange(6) >= 3, v) * 1.0 for k, v in panels[1].items()}
        | {"d": np.outer(np.arange(40) % 2, np.arange(6) >= 3).astype(float)}
    )
    batched = jax.jit(jax.vmap(METHODS[name], in_axes=(None, 0)))(KEY, batch_of(panels))
    for lane, panel in enumerate(panels):
        for label, expected in METHODS[name](KEY, panel).items():
            np.testing.assert_allclose(batched[label].value[lane], expected.value, rtol=1e-10)
            np.testing.assert_allclose(batched[label].se[lane], expected.se, rtol=1e-9)


# Bad input


def no_treated(c):
    return c | {"d": np.zeros((40, 6))}


def all_from_the_start(c):
    return c | {"d": np.ones((40, 6))}


def two(c):
    return c | {"d": 2 * c["d"]}


def given_up(c):
    d = c["d"].copy()
    d[d.argmax(axis=1) == 1, 4] = 0
    return c | {"d": d}


def given_up_by_those_treated_at_first(c):
    """Units that `callaway_santanna` would leave out, were they treated for good."""
    d = c["d"].copy()
    d[d.sum(axis=1) == 0] = np.arange(6) < 2
    d[0] = 0
    return c | {"d": d}


def at_once(c):
    return c | {"d": np.tile(np.arange(6) >= 3, (40, 1)).astype(float)}


def nan_outcome(c):
    y = c["y"].copy()
    y[0, 0] = np.nan
    return c | {"y": y}


def nan_treatment(c):
    d = c["d"].copy()
    d[0, 0] = np.nan
    return c | {"d": d}


@pytest.mark.parametrize(
    ("method", "change", "status"),
    [
        *[(m, no_treated, Status.INVALID_INPUT) for m in METHODS],
        *[(m, two, Status.INVALID_INPUT) for m in METHODS],
        *[(m, nan_outcome, Status.NAN) for m in METHODS],
        *[(m, nan_treatment, Status.NAN) for m in METHODS],
        *[(m, all_from_the_start, Status.INVALID_INPUT) for m in METHODS if m != "did"],
        *[
            (method, change, Status.INVALID_INPUT)
            for method in METHODS
            if method != "did"
            for change in (given_up, given_up_for_good, given_up_by_those_treated_at_first)
        ],
        ("did", all_from_the_start, Status.SINGULAR),
        ("did", given_up, Status.OK),
        ("did", at_once, Status.SINGULAR),
        ("event_study", at_once, Status.SINGULAR),
        ("callaway_santanna", at_once, Status.INVALID_INPUT),
        ("imputation", at_once, Status.INVALID_INPUT),
        ("callaway_santanna", no_never_treated, Status.INVALID_INPUT),
        ("imputation", no_never_treated, Status.OK),
    ],
)
def test_bad_data_are_a_status(method, change, status):
    assert statuses(METHODS[method], change(staggered(0))) == {status}


def test_a_unit_never_observed_changes_nothing():
    columns = staggered(0)
    more = {name: np.vstack([column, np.ones((1, 6))]) for name, column in columns.items()}
    mask = jnp.asarray(np.vstack([np.ones((40, 6), bool), np.zeros((1, 6), bool)]))
    for name in ("did", "event_study", "imputation"):
        first, second = att(METHODS[name], columns), att(METHODS[name], more, mask)
        np.testing.assert_allclose(second.value, first.value, rtol=1e-10)
        np.testing.assert_allclose(second.se, first.se, rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_one_period_is_a_sentence(method):
    with pytest.raises(InputError, match="expected at least 2, one before treatment"):
        METHODS[method](KEY, Panel({"y": [1.0, 2.0], "d": [0.0, 1.0]}))


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        (lambda: did("y ~ d", vcov="CR9"), "vcov: got 'CR9'; known are"),
        (lambda: did("y ~ d", ssc="fixest"), "ssc: did has no ssc 'fixest'"),
        (lambda: did("y ~ d + x"), "the treatment must be one column"),
        (lambda: event_study("y ~ d", leads=2, lags=1, reference=-3), "expected event times of"),
        (lambda: event_study("y ~ d", leads=-1, lags=1), "leads: got -1"),
        (lambda: event_study("y ~ d", leads=1, lags=0, reference=0), "no event time after"),
        (lambda: event_study("y ~ d", leads=1, lags=1, ends="cut"), "ends: got 'cut', expected"),
        (lambda: callaway_santanna("y ~ d", control="none"), "control: got 'none'"),
        (lambda: callaway_santanna("y ~ d", aggregation="all"), "aggregation: got 'all'"),
        (lambda: callaway_santanna("y ~ d", method="ols"), "method: got 'ols'"),
        (lambda: callaway_santanna("y ~ d", vcov="CR1"), "callaway_santanna has no vcov 'CR1'"),
        (lambda: callaway_santanna("y ~ d", resamples=0), "resamples: got 0"),
        (lambda: callaway_santanna("y ~ d", horizons=[-1]), "event times of at least 0"),
        (
            lambda: callaway_santanna("y ~ d", aggregation="event", horizons=[-2, -1]),
            "at least one of 0 or more",
        ),
        (lambda: callaway_santanna("y ~ d", horizons=[]), "horizons: got none"),
        (lambda: imputation("y ~ d", vcov="bsj"), "did you mean 'bjs'"),
        (lambda: imputation("y ~ d", horizons=[-1]), "horizons: got -1, expected event times of"),
        (lambda: imputation("y ~ d", cluster="time"), "cluster: got 'time', expected 'unit' or"),
        (
            lambda: callaway_santanna("y ~ d", cluster="time"),
            "clusters that callaway_santanna has; did and event_study have others",
        ),
        (lambda: imputation("y ~ d", horizons=[5])(KEY, Panel(three_cohorts())), "at most 3"),
        (
            lambda: callaway_santanna("y ~ d", horizons=[9])(KEY, Panel(three_cohorts())),
            "a panel of 5 periods",
        ),
        (
            lambda: callaway_santanna("y ~ d", vcov="bootstrap")(None, Panel(three_cohorts())),
            "key: got None",
        ),
        (lambda: twfe_weights(Panel(three_cohorts()), "y ~ treat"), "column 'treat'"),
        (lambda: callaway_santanna("y ~ d", control="a", base="b"), "2 faults"),
    ],
)
def test_wrong_arguments_are_sentences(attempt, words):
    with pytest.raises(InputError, match=words):
        attempt()


# Without the checks of types that tests have and users have not


@pytest.mark.parametrize(
    ("function", "options", "words"),
    [
        (imputation, {"horizons": None}, "horizons: got None, expected event times of at least 0"),
        (imputation, {"horizons": "0"}, "horizons: got '0', expected event times"),
        (imputation, {"horizons": [0.0]}, "horizons: got 0.0, expected event times"),
        (imputation, {"horizons": [0, True]}, "horizons: got True, expected event times"),
        (imputation, {"cluster": ["unit"]}, "cluster: got \\['unit'\\], expected 'unit' or one"),
        (callaway_santanna, {"cluster": None}, "cluster: got None, expected 'unit' or one"),
        (callaway_santanna, {"control": ["never"]}, "control: got \\['never'\\], expected one of"),
        (callaway_santanna, {"resamples": 99.0}, "resamples: got 99.0, expected a whole number"),
        (event_study, {"leads": 1, "lags": 1, "reference": None}, "reference: got \\(None,\\)"),
        (event_study, {"leads": 1.0, "lags": 1}, "leads: got 1.0, expected a whole number"),
    ],
)
def test_arguments_of_another_type_are_sentences(function, options, words):
    with pytest.raises(InputError, match=words):
        inspect.unwrap(function)("y ~ d", **options)


@pytest.mark.parametrize(
    ("function", "options", "same"),
    [
        (imputation, {"horizons": 1}, {"horizons": [1]}),
        (imputation, {"horizons": np.arange(2)}, {"horizons": [0, 1]}),
        (imputation, {"horizons": jnp.arange(2)}, {"horizons": [0, 1]}),
        (callaway_santanna, {"horizons": np.arange(2)}, {"horizons": range(2)}),
        (callaway_santanna, {"resamples": np.int64(99)}, {"resamples": 99}),
        (
            event_study,
            {"leads": np.int64(2), "lags": np.int32(1), "reference": np.int64(-2)},
            {"leads": 2, "lags": 1, "reference": [-2]},
        ),
    ],
)
def test_whole_numbers_of_any_library_are_taken(function, options, same):
    one, other = (inspect.unwrap(function)("y ~ d", **given) for given in (options, same))
    assert one == other
    assert repr(one) == repr(other)


@pytest.mark.parametrize("name", METHODS)
def test_protocol_repr_and_hash(name):
    estimator = METHODS[name]
    assert isinstance(estimator, Estimator)
    assert repr(estimator).startswith(f"{name}('y ~ d'")
    assert hash(estimator) == hash(eval(repr(estimator)))
    assert estimator == eval(repr(estimator))


# Coverage


class Draw(NamedTuple):
    """A panel, the mean of its treated cells' effects, and that of their expectations."""

    panel: Panel
    realized: Any
    expected: Any


def heterogeneous(key) -> Draw:
    """Cohorts at random; a cohort's effects grow at its own pace and vary between its units.

    The effect in a cell has mean (g / 2) (e + 1), with cohort g = 2, 4, 6 or never, equally likely.
    """
    n, n_periods = 120, 8
    draws = jax.random.normal(key, (n, n_periods + 2))
    start = 2 * (1 + jnp.argmax(jax.random.uniform(jax.random.fold_in(key, 1), (n, 4)), axis=1))
    event = jnp.arange(n_periods) - start[:, None]
    d = (event >= 0).astype(float)
    expected = d * 0.5 * start[:, None] * (event + 1)
    effect = expected + d * draws[:, :1]
    panel = Panel({"y": draws[:, 1:2] + draws[:, 2:] + effect, "d": d})
    return Draw(panel, effect.sum() / d.sum(), expected.sum() / d.sum())


MEAN_EFFECT = sum(g / 2 * (e + 1) for g in (2, 4, 6) for e in range(8 - g)) / 12


@pytest.mark.slow
def test_coverage_where_effects_differ():
    """3,000 replications: MCSE of a coverage of .95 is .004.

    The influence function covers the mean effect of the population, cohorts drawn at random. The
    variance of imputation takes the cohorts as given: leaving out, it covers the mean expected
    effect of those drawn, and what was realized at more than 95 %. Two-way effects are biased.
    """
    draws = jax.vmap(heterogeneous)(jax.random.split(jax.random.key(7), 3000))
    estimators = [did("y ~ d"), callaway_santanna("y ~ d"), imputation("y ~ d", vcov="bjs:loo")]
    results = [
        next(iter(jax.jit(jax.vmap(estimator, in_axes=(None, 0)))(KEY, draws.panel).values()))
        for estimator in estimators
    ]
    assert all((result.status == Status.OK).all() for result in results)

    def coverage(result, truth):
        return float((abs(result.value - truth) < 1.96 * result.se).mean())

    two_way, by_cohort, imputed = results
    assert coverage(two_way, MEAN_EFFECT) < 0.05
    assert abs(coverage(by_cohort, MEAN_EFFECT) - 0.95) < 3 * 0.004
    assert abs(coverage(imputed, draws.expected) - 0.95) < 3 * 0.004
    assert coverage(imputed, draws.realized) > 0.96
    for result in (by_cohort, imputed):
        error = result.value - draws.realized
        assert abs(error.mean()) < 3 * error.std() / 3000**0.5
