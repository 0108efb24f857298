"""Synthetic control, synthetic difference in differences, demeaned synthetic control."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize, nnls

import mcsim
from mcsim import Panel, Status
from mcsim.errors import InputError
from mcsim.estimators import difp, synthetic_control, synthetic_did
from mcsim.estimators._synthetic.simplex import simplex_weights

METHODS = {"sdid": synthetic_did, "sc": synthetic_control, "difp": difp}
JACKKNIFE = ("att", "jackknife")


def drawn(seed, n=20, t=12, n_treated=4, start=8):
    """Outcomes of a factor model; treated are the last units, from period ``start`` on."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(n, 2)) @ rng.normal(size=(2, t)) + rng.normal(size=(n, 1))
    return y + rng.normal(size=t) + 0.5 * rng.normal(size=(n, t)), blocked(n, t, n_treated, start)


def blocked(n, t, n_treated, start):
    d = np.zeros((n, t))
    d[n - n_treated :, start:] = 1
    return d


def closed_form():
    """A panel without random numbers, the same in every library that sees it."""
    unit, period = np.arange(20)[:, None], np.arange(12)[None, :]
    y = 3 * np.sin(1.7 * unit) + 0.2 * period + np.cos(0.9 * unit) * np.sin(0.5 * period)
    y = y + 0.4 * np.sin(12.9898 * unit + 78.233 * period + unit * period)
    return y, blocked(20, 12, 4, 8)


def fitted(name, y, d, vcov="jackknife", key=None, **options):
    return METHODS[name]("y ~ d", vcov=vcov, **options)(key, Panel({"y": y, "d": d}))


def value(name, y, d, **options):
    return float(fitted(name, y, d, **options)[JACKKNIFE].value)


# ten lines of NumPy ---------------------------------------------------------------------------


def exact(a, b, ridge):
    """Minimize ``|a w - b|^2 + ridge |w|^2`` on the simplex, as nonnegative least squares."""
    rows = [a - b[:, None], np.sqrt(ridge) * np.eye(a.shape[1]), np.ones((1, a.shape[1]))]
    weights, _ = nnls(np.vstack(rows), np.append(np.zeros(a.shape[0] + a.shape[1]), 1.0))
    return weights / weights.sum()


def published(a, b, ridge, stop):
    """The authors' Frank-Wolfe: 100 steps, small weights to zero, 10,000 steps."""

    def descend(x, steps):
        last = np.inf
        for step in range(steps):
            slope = a.T @ (a @ x - b) + ridge * x
            direction = np.eye(x.size)[np.argmin(slope)] - x
            curvature = ((a @ direction) ** 2).sum() + ridge * direction @ direction
            x = x + np.clip(-(slope @ direction) / curvature, 0, 1) * direction
            loss = (((a @ x - b) ** 2).sum() + ridge * x @ x) / b.size
            if step > 0 and last - loss <= stop**2:
                break
            last = loss
        return x

    x = descend(np.full(a.shape[1], 1 / a.shape[1]), 100)
    x = np.where(x > x.max() / 4, x, 0)
    return descend(x / x.sum(), 10_000)


def reference(name, y, d, solve=None):
    treated, post = d.any(axis=1), d.any(axis=0)
    controls, mean = y[~treated], y[treated].mean(axis=0)
    before, after = controls[:, ~post], controls[:, post].mean(axis=1)
    noise = np.diff(before, axis=1).std(ddof=1)
    zeta = (treated.sum() * post.sum()) ** 0.25 if name == "sdid" else 1e-6
    solve = solve or (lambda a, b, ridge, stop: exact(a, b, ridge))
    center = (lambda a: a - a.mean(axis=0)) if name != "sc" else (lambda a: a)
    ridges = before.shape[1] * (zeta * noise) ** 2, len(controls) * (1e-6 * noise) ** 2
    units = solve(center(before.T), center(mean[~post]), ridges[0], 1e-5 * noise)
    periods = np.full(before.shape[1], float(name == "difp") / before.shape[1])
    if name == "sdid":
        periods = solve(before - before.mean(axis=0), after - after.mean(), ridges[1], 1e-5 * noise)
    gap = mean - units @ controls
    return gap[post].mean() - periods @ gap[~post]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("seed", range(5))
def test_exact_weights_give_the_estimate_of_nonnegative_least_squares(name, seed):
    y, d = drawn(seed, t=30, start=24)
    assert value(name, y, d) == pytest.approx(reference(name, y, d), abs=1e-8)


@pytest.mark.parametrize("name", METHODS)
def test_the_published_rule_is_followed_step_by_step(name):
    y, d = drawn(7, t=30, start=24)
    expected = reference(name, y, d, solve=published)
    assert value(name, y, d, solver="aahiw2021") == pytest.approx(expected, abs=1e-11)
    assert abs(expected - value(name, y, d)) > 1e-7  # and it is not the optimum


@pytest.mark.slow
def test_diff_diff():
    """diff-diff 3.13.0 on `closed_form`, whose weights follow the published rule.

    SyntheticDiD(variance_method="jackknife").fit(frame, outcome="y", treatment="ever",
    unit="unit", time="period", post_periods=[8, 9, 10, 11]), ever = 1 for the last four units;
    placebo and bootstrap with n_bootstrap=8000, seed=5.
    """
    options = {"vcov": ["jackknife", "placebo", "bootstrap"], "resamples": 2000}
    got = fitted("sdid", *closed_form(), key=mcsim.key(1), solver="aahiw2021", **options)
    assert float(got[JACKKNIFE].value) == pytest.approx(-0.15019078102341749, rel=1e-12)
    assert float(got[JACKKNIFE].se) == pytest.approx(0.18578587374793254, rel=1e-12)
    assert float(got["att", "placebo"].se) == pytest.approx(0.275622395445385, rel=0.06)
    assert float(got["att", "bootstrap"].se) == pytest.approx(0.19504081192127398, rel=0.08)


def test_plain_difference_in_differences_where_all_controls_have_one_trend():
    rng = np.random.default_rng(3)
    y, d = np.ones((9, 1)) * rng.normal(size=7), blocked(9, 7, 2, 5)
    y = y + rng.normal(size=(9, 1))
    y[7:] += rng.normal(size=(2, 7))
    change = y[:, 5:].mean(axis=1) - y[:, :5].mean(axis=1)
    expected = change[7:].mean() - change[:7].mean()
    assert value("difp", y, d) == pytest.approx(expected, abs=1e-12)
    assert value("sdid", y, d) == pytest.approx(expected, abs=1e-10)


def test_more_controls_than_periods_take_the_smallest_weights_that_fit():
    rng = np.random.default_rng(0)
    distance = rng.normal(size=(30, 4))
    gram = distance @ distance.T
    ridge = 1e-10 * gram.diagonal().max() * np.eye(30)
    got = simplex_weights(jnp.asarray(gram + ridge), jnp.ones(30, bool))
    fits = {"type": "eq", "fun": lambda w: np.append(w @ distance, w.sum() - 1)}
    start = np.full(30, 1 / 30)
    least = minimize(
        lambda w: w @ w, start, bounds=[(0, 1)] * 30, constraints=fits, options={"ftol": 1e-14}
    )
    assert bool(got.converged)
    np.testing.assert_allclose(got.weights @ distance, 0, atol=1e-8)
    np.testing.assert_allclose(got.weights, least.x, atol=1e-5)


# invariances ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_the_order_of_units_does_not_matter(name):
    y, d = drawn(1)
    order = np.random.default_rng(0).permutation(len(y))
    assert value(name, y[order], d[order]) == pytest.approx(value(name, y, d), abs=1e-9)


@pytest.mark.parametrize("name", METHODS)
def test_the_estimate_has_the_unit_of_the_outcome_and_shifts_with_the_effect(name):
    y, d = drawn(2)
    expected = 1000 * (value(name, y, d) + 0.7)
    assert value(name, 1000 * (y + 0.7 * d), d) == pytest.approx(expected, rel=1e-8)


def test_unit_constants_cancel_where_weights_match_trends():
    y, d = drawn(3)
    shifted = y + 10 * np.random.default_rng(0).normal(size=(len(y), 1))
    for name in ("sdid", "difp"):
        assert value(name, shifted, d) == pytest.approx(value(name, y, d), abs=1e-9)
    assert abs(value("sc", shifted, d) - value("sc", y, d)) > 0.01


def test_period_constants_cancel():
    y, d = drawn(4)
    shifted = y + 10 * np.random.default_rng(0).normal(size=y.shape[1])
    for name in ("sc", "difp"):
        assert value(name, shifted, d) == pytest.approx(value(name, y, d), abs=1e-6)
    trend = y + 5.0 * np.arange(y.shape[1])  # the ridge of SDID sees the spread of changes only
    assert value("sdid", trend, d) == pytest.approx(value("sdid", y, d), abs=1e-8)


# variances ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_the_jackknife_leaves_out_each_unit_and_keeps_the_weights(name):
    y, d = drawn(5)
    treated, post = d.any(axis=1), d.any(axis=0)
    mean, controls = y[treated].mean(axis=0), y[~treated]
    noise = np.diff(controls[:, ~post], axis=1).std(ddof=1)
    zeta = 16**0.25 if name == "sdid" else 1e-6
    center = (lambda a: a - a.mean(axis=0)) if name != "sc" else (lambda a: a)
    ridge = 8 * (zeta * noise) ** 2
    units = exact(center(controls[:, ~post].T), center(mean[~post]), ridge)
    after, periods = controls[:, post].mean(axis=1), np.full(8, float(name == "difp") / 8)
    if name == "sdid":
        before = controls[:, ~post]
        periods = exact(
            before - before.mean(axis=0), after - after.mean(), 16 * (1e-6 * noise) ** 2
        )
    change = y[:, post].mean(axis=1) - y[:, ~post] @ periods
    left_out = []
    for i in range(len(y)):
        kept = np.delete(np.arange(len(y)), i)
        weights = np.append(units, np.zeros(4))[kept]
        effect = change[kept][treated[kept]].mean() - weights @ change[kept] / weights.sum()
        left_out.append(effect)
    expected = np.sqrt(19 / 20 * ((left_out - np.mean(left_out)) ** 2).sum())
    assert float(fitted(name, y, d)[JACKKNIFE].se) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_the_refitted_jackknife_fits_without_each_unit(name):
    y, d = drawn(5, n=10, t=20, n_treated=3, start=15)
    noise, effects = np.diff(y[:7, :15], axis=1).std(ddof=1), []
    for i in range(10):
        kept = np.delete(np.arange(10), i)
        cells = {"sdid": (15 / d[kept].sum()) ** 0.5}.get(name, 1.0)  # zeta^2 is the sample's
        fixed = lambda a, b, ridge, stop, c=cells: exact(  # noqa: E731
            a, b, ridge * c * (noise / (stop / 1e-5)) ** 2
        )
        effects.append(reference(name, y[kept], d[kept], solve=fixed))
    got = fitted(name, y, d, vcov="jackknife:refit")["att", "jackknife:refit"]
    assert float(got.se) == pytest.approx(3.0 * np.std(effects), rel=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_the_placebo_is_the_spread_over_controls_in_the_place_of_one_treated_unit(name):
    y, d = drawn(6, n_treated=1)
    noise = np.diff(y[:-1, :8], axis=1).std(ddof=1)
    # The ridge is that of the sample: with the noise of 19 controls, not of 18.
    fixed = lambda a, b, ridge, stop: exact(a, b, ridge * (noise / (stop / 1e-5)) ** 2)  # noqa: E731
    effects = [reference(name, np.roll(y[:-1], -i, axis=0), d[1:], solve=fixed) for i in range(19)]
    got = fitted(name, y, d, vcov="placebo", key=mcsim.key(3), resamples=4000)["att", "placebo"]
    assert float(got.se) == pytest.approx(np.std(effects), rel=0.05)


def test_the_bootstrap_resamples_units_until_both_arms_are_there():
    y, d = drawn(8, n=8, t=10, n_treated=2, start=7)
    treated, noise = d.any(axis=1), np.diff(y[:6, :7], axis=1).std(ddof=1)
    fixed = lambda a, b, ridge, stop: exact(a, b, ridge * (noise / (stop / 1e-5)) ** 2)  # noqa: E731
    rng, effects = np.random.default_rng(0), []
    while len(effects) < 1500:
        units = rng.integers(0, 8, 8)
        if 0 < treated[units].sum() < 8:
            effects.append(reference("difp", y[units], d[units], solve=fixed))
    options = {"vcov": "bootstrap", "resamples": 6000}
    got = fitted("difp", y, d, key=mcsim.key(3), **options)["att", "bootstrap"]
    assert float(got.se) == pytest.approx(np.std(effects), rel=0.08)


def test_each_variance_has_random_numbers_of_its_own():
    y, d = drawn(9)
    one = fitted("sc", y, d, vcov="bootstrap", key=mcsim.key(1), resamples=20)
    two = fitted("sc", y, d, vcov=["placebo", "bootstrap"], key=mcsim.key(1), resamples=20)
    assert float(one["att", "bootstrap"].se) == float(two["att", "bootstrap"].se)
    assert float(two["att", "placebo"].se) != float(two["att", "bootstrap"].se)


def test_one_treated_unit_has_a_placebo_only():
    options = {"vcov": ["placebo", "jackknife", "bootstrap"], "resamples": 20}
    got = fitted("sdid", *drawn(1, n_treated=1), key=mcsim.key(1), **options)
    assert len({float(estimate.value) for estimate in got.values()}) == 1
    assert np.isfinite(got["att", "placebo"].se)
    for name in ("jackknife", "bootstrap"):
        assert np.isnan(got["att", name].se)
        assert got["att", name].status == Status.NO_SE


def test_an_estimate_may_stand_alone():
    y, d = drawn(1, n_treated=1)
    got = fitted("sdid", y, d, vcov=["jackknife", "none"])
    assert list(got) == [JACKKNIFE, ("att", "none")]
    assert got[JACKKNIFE].status == Status.NO_SE
    alone = got["att", "none"]
    assert float(alone.value) == float(got[JACKKNIFE].value)
    assert np.isnan(alone.se)
    assert alone.status == Status.OK
    assert fitted("sdid", y, 0 * d, vcov="none")["att", "none"].status == Status.INVALID_INPUT


def test_a_placebo_needs_more_controls_than_treated_units():
    options = {"vcov": "placebo", "resamples": 20, "key": mcsim.key(1)}
    got = fitted("sc", *drawn(1, n_treated=10), **options)["att", "placebo"]
    assert np.isfinite(got.value)
    assert np.isnan(got.se)
    assert got.status == Status.NO_SE


# what is wrong --------------------------------------------------------------------------------


def staggered(y, d):
    d[-1, -5] = 1
    return y, d


def reversed_treatment(y, d):
    d[:, -1] = 0
    return y, d


def half_treated(y, d):
    return y, 0.5 * d


def with_gap(y, d):
    y[0, 0] = np.nan
    return y, d


FAULTY = {
    "staggered": (staggered, Status.INVALID_INPUT),
    "reversed": (reversed_treatment, Status.INVALID_INPUT),
    "no binary treatment": (half_treated, Status.INVALID_INPUT),
    "none treated": (lambda y, d: (y, 0 * d), Status.INVALID_INPUT),
    "no control": (lambda y, d: (y, blocked(20, 12, 20, 8)), Status.INVALID_INPUT),
    "one period before": (lambda y, d: (y, blocked(20, 12, 4, 1)), Status.INVALID_INPUT),
    "not a number": (with_gap, Status.NAN),
}


@pytest.mark.parametrize("name", METHODS)
def test_faulty_lanes_are_marked_and_leave_their_neighbors_alone(name):
    panels = [drawn(seed, n_treated=2 + seed % 4, start=7 + seed % 4) for seed in range(15)]
    broken = [(y.copy(), d.copy()) for y, d in panels]
    for lane, (spoil, _) in zip(range(1, 15, 2), FAULTY.values(), strict=True):
        broken[lane] = spoil(*broken[lane])
    estimator = METHODS[name]("y ~ d", vcov=["jackknife", "placebo", "bootstrap"], resamples=5)

    @jax.jit
    @jax.vmap
    def estimate(key, y, d):
        return estimator(key, Panel({"y": y, "d": d}))

    def estimates(batch):
        keys = jax.random.split(mcsim.key(2), len(batch))
        return estimate(keys, np.stack([y for y, _ in batch]), np.stack([d for _, d in batch]))

    whole, spoiled = estimates(panels), estimates(broken)
    for label, got in spoiled.items():
        assert got.status[1::2].tolist() == [status for _, status in FAULTY.values()]
        assert np.isnan([got.value[1::2], got.se[1::2]]).all()
        assert np.isfinite([got.value[::2], got.se[::2]]).all()
        for mine, theirs in zip(got, whole[label], strict=True):
            np.testing.assert_array_equal(mine[::2], theirs[::2])


def test_constant_outcomes_have_uniform_weights():
    got = fitted("sdid", np.ones((6, 5)), blocked(6, 5, 2, 3))[JACKKNIFE]
    assert (float(got.value), float(got.se), int(got.status)) == (0.0, 0.0, Status.OK)


def test_an_unbalanced_panel_is_refused_with_the_remedy():
    y, d = drawn(1)
    panel = Panel({"y": y, "d": d}, jnp.asarray(y > y.min()))
    with pytest.raises(InputError, match=r"unbalanced panel .* drop the units or periods"):
        difp("y ~ d")(mcsim.key(1), panel)


def test_two_periods_are_refused():
    with pytest.raises(InputError, match="got 20 units x 2 periods, expected at least"):
        value("sc", *(part[:, -2:] for part in drawn(1)))


def test_a_placebo_needs_a_key():
    with pytest.raises(InputError, match=r"key: got None.*'placebo'"):
        fitted("sc", *drawn(1), vcov="placebo")


def test_all_faults_of_a_call_are_told_together():
    with pytest.raises(InputError) as caught:
        synthetic_did("y ~ d | x", vcov="jacknife", resamples=1, solver="frank-wolfe")
    message = str(caught.value)
    for part in (
        "did you mean 'jackknife'",
        "no covariates; write 'y ~ d'",
        "resamples: got 1",
        "solver",
    ):
        assert part in message


@pytest.mark.parametrize("method", METHODS.values())
@pytest.mark.parametrize("solver", [("aahiw2021", "active-set"), ["active-set"], None])
def test_the_solver_is_one_name(method, solver):
    """Without the checks of types that tests have and users have not."""
    with pytest.raises(InputError, match=r"solver: got .*, expected one of 'active-set'"):
        inspect.unwrap(method)("y ~ d", solver=solver)


def test_a_block_costs_one_program_whatever_it_is():
    estimator = difp("y ~ d", vcov="jackknife")
    traces = []

    @jax.jit
    def traced(y, d):
        traces.append(1)
        return estimator(None, Panel({"y": y, "d": d}))[JACKKNIFE].value

    for seed in range(3):
        traced(*drawn(seed, n_treated=2 + seed, start=6 + seed))
    assert len(traces) == 1


def test_one_control_and_two_periods_before_are_enough():
    y, d = drawn(1, n=2, t=3, n_treated=1, start=2)
    for name in METHODS:
        alone = fitted(name, y, d, vcov="none")["att", "none"]
        assert alone.status == Status.OK
    change = y[:, 2] - y[:, :2].mean(axis=1)
    assert float(fitted("difp", y, d, vcov="none")["att", "none"].value) == pytest.approx(
        change[1] - change[0], abs=1e-12
    )
