"""Known effects on panels of any source: truths, size and power, published placebo designs."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from drawn_panels import (
    CPS,
    EMPTY,
    LAWS,
    STATES,
    Uniform,
    assert_mean,
    draw,
    needs_cps,
    one_sample,
    twfe,
)
from mcsim import Design, Estimate, Panel, Sample, Study, from_frame, grid, run, to_frame
from mcsim.dgps import (
    Bootstrap,
    ErrorComponents,
    at_random,
    by_cohort,
    by_exposure,
    by_probability,
    heterogeneous,
    in_random_periods,
    with_effect,
)
from mcsim.errors import InputError
from mcsim.testing import check_dgp


@pytest.mark.parametrize("shuffle", [True, False])
def test_staggered_adoption_is_exact(shuffle):
    """Three cohorts: never, from the fourth and from the second of five periods."""
    effects = ErrorComponents(
        n_units=30, n_periods=5, beta=None, unit_share=0.5, time_share=0.5, sd=3.0
    )
    dgp = with_effect(
        effects,
        outcome="y",
        assignment=by_cohort({3: 1 / 3, 1: 1 / 3}, shuffle=shuffle),
        effect=by_exposure([1, 2, 3, 4]),
    )
    drawn, truth = draw(dgp, 3)
    for i in range(3):
        assert twfe(drawn["y"][i], drawn["d"][i]) == pytest.approx(1.25, abs=1e-12)
        assert truth["att"][i] == pytest.approx(13 / 6, abs=1e-12)


def rejections(y, d):
    """How often a z-test on two-way OLS with iid standard errors rejects that d does nothing."""

    def within(a):
        return (
            a - a.mean(1, keepdims=True) - a.mean(2, keepdims=True) + a.mean((1, 2), keepdims=True)
        )

    n, t = y.shape[1:]
    y, d = within(y), within(d)
    square = (d**2).sum((1, 2))
    slope = (d * y).sum((1, 2)) / square
    residual = y - slope[:, None, None] * d
    variance = (residual**2).sum((1, 2)) / (n * t - n - t) / square
    return np.mean(np.abs(slope) > 1.96 * np.sqrt(variance))


def assert_rate(rate, expected, reps=4000):
    assert abs(rate - expected) < 4 * np.sqrt(2 * expected * (1 - expected) / reps)


@pytest.mark.parametrize(("rho", "rate"), [(-0.4, 0.003), (0.0, 0.047), (0.8, 0.396)])
def test_placebo_laws_reject_as_in_bertrand_and_others(rho, rate):
    """An independent simulation of their AR(1) design, 4,000 replications."""
    drawn, _ = draw(LAWS, 4000, Design({"rho": rho}))
    assert_rate(rejections(drawn["y"], drawn["d"]), rate)


def test_a_factor_scales_a_path_and_does_not_replace_it():
    panel = ErrorComponents(n_units=9, n_periods=5, beta=None)
    growing = by_exposure([1, 2])
    dgp = with_effect(panel, outcome="y", assignment=by_cohort({3: 9}), effect=growing)
    assert float(one_sample(dgp, effect_scale=0.1).truth["att"]) == pytest.approx(0.15)
    with pytest.raises(
        InputError, match="vary the size of the path with the factor 'effect_scale'"
    ):
        dgp(jax.random.key(0), Design({"effect": 0.1}))


def test_horizons_have_truths_of_their_own():
    panel = ErrorComponents(n_units=9, n_periods=5, beta=None)
    dgp = with_effect(
        panel,
        outcome="y",
        assignment=by_cohort({3: 1 / 3, 1: 1 / 3}),
        effect=by_exposure([1, 2, 3, 4]),
        horizons=(0, 1, 3, 4),
    )
    truth = one_sample(dgp).truth
    assert [float(truth[f"att[{e}]"]) for e in (0, 1, 3)] == [1.0, 2.0, 4.0]
    assert np.isnan(truth["att[4]"])  # nobody is treated for so long
    constant = with_effect(panel, outcome="y", assignment=by_cohort({2: 3}), horizons=[1], effect=2)
    assert float(one_sample(constant).truth["att[1]"]) == 2.0
    before = with_effect(panel, outcome="y", assignment=by_cohort({2: 3}), horizons=[-1], effect=2)
    assert float(one_sample(before).truth["att[-1]"]) == 0.0


@needs_cps
@pytest.mark.parametrize(
    ("resampled", "laws", "rate"),
    [
        (False, at_random(n_treated=25, start=(6, 16)), 0.437),
        (True, at_random(n_treated=25, start=(6, 16)), 0.426),
        (False, in_random_periods(n_treated=25, n_treated_periods=10), 0.060),
    ],
)
def test_placebo_laws_on_state_wages(resampled, laws, rate):
    """Wages by state and year, 1979 to 1999; 4,000 replications of an independent simulation."""
    frame = pd.read_csv(CPS, sep=";").query("year <= 1999")
    panel, _ = from_frame(frame[["state", "year", "log_wage"]], "state", "year")
    source = Bootstrap(panel) if resampled else panel
    drawn, _ = draw(with_effect(source, outcome="log_wage", assignment=laws), 4000)
    assert_rate(rejections(drawn["log_wage"], drawn["d"]), rate)


def test_effects_by_cohort():
    effect = by_exposure({3: [5.0], 1: [1.0, 2.0]})
    dgp = with_effect(
        Panel({"y": np.zeros((3, 5))}),
        outcome="y",
        assignment=by_cohort({3: 1, 1: 1}, shuffle=False),
        effect=effect,
    )
    y = one_sample(dgp).panel["y"]
    assert y.tolist() == [[0, 0, 0, 5, 5], [0, 1, 2, 2, 2], [0] * 5]
    assert "path=((3, (5.0,)), (1, (1.0, 2.0)))" in dgp.summary  # what a study writes down
    other = with_effect(
        Panel({"y": np.zeros((3, 5))}), outcome="y", assignment=by_cohort({2: 1}), effect=effect
    )
    assert np.isnan(one_sample(other).truth["att"])  # a cohort without a path


def test_a_real_panel_stays_as_it_is():
    panel = Panel({"y": np.arange(8.0).reshape(4, 2), "d": np.ones((4, 2))})
    laws = at_random(n_treated=2, start=1)
    drawn, truth = draw(with_effect(panel, outcome="y", assignment=laws), 50)
    np.testing.assert_array_equal(drawn["y"], np.array([panel["y"]] * 50))
    assert set(drawn["d"].sum((1, 2))) == {2}
    assert len({d.tobytes() for d in drawn["d"]}) == 6
    drawn, truth = draw(
        with_effect(panel, outcome="y", assignment=laws, treatment="law", effect=0.5), 5
    )
    np.testing.assert_array_equal(drawn["y"] - 0.5 * drawn["law"], np.array([panel["y"]] * 5))
    assert set(truth["att"]) == {0.5}


def test_the_average_effect_is_over_observed_treated_cells():
    mask = jnp.array([[True, True, True], [True, True, False], [True, True, True]])
    panel = Panel({"y": np.zeros((3, 3))}, mask)
    cohorts = by_cohort({1: 2}, shuffle=False)
    dgp = with_effect(panel, outcome="y", assignment=cohorts, effect=by_exposure([1, 4]))
    sample = one_sample(dgp)
    assert float(sample.truth["att"]) == pytest.approx(2.0)  # 1, 4, 1
    np.testing.assert_array_equal(sample.panel.mask, mask)


def test_any_function_assigns_and_has_effects():
    def first(key, panel):
        return jnp.zeros((panel.n_units, panel.n_periods)).at[0].set(jnp.array([0, 1, 0, 1]))

    def scaled(key, exposure, panel):
        return exposure * panel["y"]

    panel = Panel({"y": np.full((3, 4), 2.0)})
    dgp = with_effect(panel, outcome="y", assignment=first, effect=scaled)
    sample = one_sample(dgp)
    assert sample.panel["y"][0].tolist() == [2, 4, 2, 6]  # exposure 1 and 2
    assert float(sample.truth["att"]) == 3.0


def test_heterogeneous_effects_have_their_moments_and_a_population_truth():
    options = {"outcome": "y", "assignment": at_random(n_treated=10, start=-5)}
    effect = heterogeneous(0.5, 0.2)
    _, truth = draw(with_effect(STATES, effect=effect, **options), 3000)
    assert_mean(truth["att"], 0.5)
    assert truth["att"].std() == pytest.approx(0.2 / np.sqrt(10), rel=0.06)
    population = with_effect(STATES, effect=effect, truth="population", **options)
    assert "att" not in population(jax.random.key(0), Design()).truth
    value, mcse = population.truth(jax.random.key(0), Design())["att"]
    assert mcse == pytest.approx(0.2 / np.sqrt(10 * 4096), rel=0.06)
    assert abs(value - 0.5) < 4 * mcse
    constant = with_effect(STATES, effect=0.2, truth="population", **options)
    assert constant.truth(jax.random.key(0), Design({"effect_scale": 0.5}))["att"] == (0.1, 0.0)


def differences(key, panel):
    """Difference in differences with the standard error of independent units."""
    d = panel["d"]
    treated, after = d.max(1), d.max(0)
    change = (panel["y"] * after).sum(1) / after.sum() - (panel["y"] * (1 - after)).sum(1) / (
        1 - after
    ).sum()
    means = [(change * w).sum() / w.sum() for w in (treated, 1 - treated)]
    spread = [
        (((change - m) ** 2) * w).sum() / w.sum() ** 2
        for m, w in zip(means, (treated, 1 - treated), strict=True)
    ]
    return {"att": Estimate(means[0] - means[1], jnp.sqrt(sum(spread)))}


def test_a_grid_of_effects_gives_size_and_power():
    laws = at_random(n_treated=25, start=10)
    quiet = ErrorComponents(n_units=50, n_periods=21, beta=None, sd=0.1)
    study = Study(
        with_effect(quiet, outcome="y", assignment=laws),
        differences,
        designs=grid(effect=[0, 0.01, 0.05]),
    )
    rows = run(study, reps=512, workers=0, progress=False).replicates
    power = rows.groupby("effect")["p_value"].apply(lambda p: (p < 0.05).mean())
    error = 0.1 * np.sqrt((1 / 10 + 1 / 11) * 2 / 25)
    for effect, share in power.items():
        expected = norm.sf(norm.ppf(0.975) - effect / error)
        assert share == pytest.approx(max(expected, 0.05), abs=0.045)
    assert (rows["truth"] == rows["effect"]).all()


def test_factors_of_the_design_reach_the_assignment():
    drawn, _ = draw(LAWS, 20, Design({"n_treated": 5, "start": -1}))
    assert set(drawn["d"].sum((1, 2))) == {5}
    shared = with_effect(STATES, outcome="y", assignment=at_random(share=0.1, start=3))
    drawn, _ = draw(shared, 20, Design({"share": 0.3}))
    assert set(drawn["d"][:, :, -1].sum(1)) == {15}


def plain(key, design):
    return Sample(Panel({"y": jax.random.normal(key, (8, 6)), "x": jnp.ones((8, 6))}), {"x": 2.0})


@pytest.mark.parametrize(
    ("source", "options"),
    [(plain, {}), (Uniform(), {"n_units": 8}), (Bootstrap(Panel({"y": np.eye(8)})), {})],
)
def test_sources_of_every_kind(source, options):
    assignment = at_random(n_treated=3, start=2)
    dgp = with_effect(source, outcome="y", assignment=assignment, effect=1.0, **options)
    check_dgp(dgp)
    drawn, truth = draw(dgp, 4)
    assert drawn["y"].shape[1] == 8
    assert set(drawn["d"][:, :, -1].sum(1)) == {3}
    assert set(truth["att"]) == {1.0}
    if source is plain:
        assert set(truth["x"]) == {2.0}


def test_it_says_what_it_is():
    dgp = with_effect(EMPTY, outcome="y", assignment=by_probability(np.full(50, 0.3)), effect=0.5)
    said = "Panel(50 units x 21 periods: y); d: by_probability(); effect: 0.5"
    assert dgp.summary == said
    assert Study(dgp, differences).cells()[0].dgp_name == "with_effect"
    assert "only the treatment is random" in dgp.caveats[0]
    assert LAWS.summary.endswith("at_random(start=(6, 16), n_treated=25); effect: 0.0")


def test_host_estimators_see_names_and_any_outcome():
    frame = pd.DataFrame(
        {"state": list("aabbcc"), "year": [1, 2] * 3, "y": [0, 1, 2, 3, 4, 5], "x": [0, 1] * 3}
    )
    panel, schema = from_frame(frame, "state", "year")
    laws = at_random(n_treated=1, start=1)
    dgp = with_effect(panel, outcome="y", assignment=laws, effect=0.5, schema=schema)
    seen = to_frame(dgp(jax.random.key(0), Design()).panel, dgp.schema)
    assert seen.index.names == ["state", "year"]
    assert (seen["y"] % 1).max() == 0.5  # y was integer, and is no longer
    assert seen["d"].dtype == np.int64
