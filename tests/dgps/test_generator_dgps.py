"""Known effects on learned panels: sizes, ensembles, groups, assignment by paths, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drawn_panels import draw
from mcsim import Design, Panel, Study, fit_many, grid, infer_schema, keys, run
from mcsim.dgps import at_random, by_cohort, by_path, by_probability, by_unit_factors, with_effect
from mcsim.dgps._ensemble import FITTED, ONE_FIT
from mcsim.errors import InputError
from mcsim.estimators import did, fixed_effects
from mcsim.generators import GaussianCopula, UnitBootstrap
from mcsim.testing import check_dgp


def states():
    """Growth of 40 states over 8 years, in 8 regions: levels differ, and regions have shocks."""
    rng = np.random.default_rng(0)
    region = np.repeat(np.arange(8.0), 5)[:, None]
    level, regional = rng.normal(size=(40, 1)), rng.normal(size=(8, 8))[region[:, 0].astype(int)]
    growth = level + 0.7 * regional + rng.normal(size=(40, 8)) + np.linspace(0, 2, 8)
    return Panel({"growth": growth, "region": np.broadcast_to(region, (40, 8))})


PANEL = states()
KEY = jax.random.key(0)
LAW = at_random(n_treated=10, start=4)


@pytest.fixture(scope="module")
def generator():
    return GaussianCopula(cluster="region").fit(KEY, PANEL)


def on(source, assignment=LAW, **options):
    options = {"n_units": 40, "effect": 1.0, **options}
    return with_effect(source, outcome="growth", assignment=assignment, **options)


def test_contract(generator):
    check_dgp(on(generator))


@pytest.mark.slow
def test_sizes_are_arguments_and_factors(generator):
    assert draw(on(generator), 2)[0]["growth"].shape == (2, 40, 8)
    assert draw(on(generator, n_periods=6), 2)[0]["growth"].shape == (2, 40, 6)
    dgp = on(generator, n_units=None, n_periods=7)
    assert draw(dgp, 2, Design({"n_units": 25, "n_periods": 6}))[0]["d"].shape == (2, 25, 6)
    with pytest.raises(InputError, match=r"n_periods: got 9.*learned 8 periods"):
        draw(on(generator, n_periods=9), 2)
    study = Study(on(generator), did("growth ~ d"), grid(n_units=[20, 40], n_periods=[6, 8]))
    assert len(study.cells()) == 4
    with pytest.raises(InputError, match=r"reads the factor 'n_unit'.*n_units"):
        Study(on(generator), did("growth ~ d"), grid(n_unit=[20]))


def test_what_it_says_comes_from_the_generator(generator):
    dgp = on(generator)
    assert dgp.summary.startswith("GaussianCopula of growth, region, common shocks fixed; d: at_")
    assert dgp.caveats == (ONE_FIT, FITTED, *generator.caveats)
    assert "Common shocks are those of the data" in dgp.caveats[-1]
    assert dgp.common_shocks == "fixed"
    redrawn = on(generator.with_shocks("redraw"))
    assert redrawn.caveats == (ONE_FIT, FITTED)
    assert redrawn.common_shocks == "redraw"
    assert dgp.schema.names == ("growth", "region", "d")


@pytest.mark.slow
def test_assignments_of_shares_fail_visibly(generator, tmp_path):
    def shares(key, panel):
        return jnp.full((panel.n_units, panel.n_periods), 0.3)

    panel, _ = draw(on(generator, shares), 2)
    assert np.isnan(panel["growth"]).all()
    assert np.isnan(panel["d"]).all()
    study = Study(on(PANEL, shares, n_units=None), did("growth ~ d"))
    nobody = "^did: 4 of 4 failed: invalid_input: nobody is treated"
    with pytest.warns(UserWarning, match=nobody) as caught:
        run(study, reps=4, store=tmp_path / "store", workers=0, progress=False)
    assert len(caught) == 1  # and no word of equal samples


def test_groups_are_treated_together(generator):
    panel, _ = draw(on(generator, at_random(share=0.5, start=4, cluster="region")), 20)
    for region, treated in zip(panel["region"], panel["d"][:, :, -1], strict=True):
        shares = [treated[region[:, 0] == r].mean() for r in np.unique(region)]
        assert set(shares) == {0.0, 1.0}


@pytest.mark.slow
def test_sample_and_population_truths(generator):
    def growing(key, exposure, panel):
        return exposure * (1.0 + jnp.tanh(panel["growth"]))

    sample = on(generator, by_cohort({3: 10, 5: 10}), effect=growing)
    population = on(generator, by_cohort({3: 10, 5: 10}), effect=growing, truth="population")
    truths = draw(sample, 400)[1]["att"]
    value, mcse = population.truth(jax.random.key(5), Design())["att"]
    error = truths.std(ddof=1) / 20
    assert truths.std() > 0.05
    assert abs(truths.mean() - value) < 4 * np.hypot(error, mcse)
    before = draw(on(generator, by_cohort({3: 10, 5: 10}), effect=0.0), 400)[0]
    panel, _ = draw(sample, 400)
    exposure = np.cumsum(panel["d"], axis=2) * panel["d"]
    expected = before["growth"] + exposure * (1 + np.tanh(before["growth"]))
    np.testing.assert_allclose(panel["growth"], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_an_ensemble_is_a_cell_per_member(tmp_path):
    fits = fit_many(GaussianCopula(), keys(0, 3), PANEL.select(["growth"]), resample="folds")
    dgp = on(fits)
    assert dgp.summary.startswith("3 x GaussianCopula of growth")
    assert ONE_FIT not in dgp.caveats
    assert FITTED in dgp.caveats
    assert ONE_FIT in on(fits[:1]).caveats
    study = Study(dgp, did("growth ~ d"), grid(effect=[0.0, 0.5]))
    assert [cell.design["generator"] for cell in study.cells()] == [0, 1, 2, 0, 1, 2]
    results = run(study, reps=16, store=tmp_path / "store", workers=0, progress=False)
    table = results.summary(measures=["bias"], over="generator")
    assert table["generators"].tolist() == [3, 3]
    assert (table["bias_between"] > 0).all()
    assert set(results.truth["value"]) | set(results.replicates["truth"]) >= {0.0, 0.5}
    with pytest.raises(InputError, match="draws nothing itself"):
        dgp(KEY, Design())


def test_members_share_one_program(generator):
    fits = fit_many(GaussianCopula(), keys(0, 3), PANEL.select(["growth"]), resample="folds")
    structures = {jax.tree.structure(dgp) for dgp in on(fits).dgps}
    assert len(structures) == 1
    shapes = {tuple(jnp.shape(x) for x in jax.tree.leaves(dgp)) for dgp in on(fits).dgps}
    assert len(shapes) <= 3  # the margins' knots differ, what was recorded of training is not there
    assert not any(x.dtype.kind == "i" for x in map(np.asarray, jax.tree.leaves(on(fits).dgps[0])))


# Assignment by paths


def test_paths_decide_as_strongly_as_asked(generator):
    """With weights on one period, the treated differ there; the share stays what it is."""
    only_first = np.eye(8)[0]
    gaps = []
    for strength in (0.0, 1.0, 3.0):
        law = by_path(column="growth", weights=only_first, strength=strength, share=0.3, start=4)
        panel, _ = draw(on(generator, law, effect=0.0, n_units=200), 60)
        treated = panel["d"][:, :, -1] == 1
        share = treated.mean(axis=1)
        assert abs(share.mean() - 0.3) < 4 * share.std() / 60**0.5
        first = panel["growth"][:, :, 0]
        gap = [y[t].mean() - y[~t].mean() for y, t in zip(first, treated, strict=True)]
        gaps.append(np.mean(gap) / first.std(axis=1).mean())
        if strength == 0:
            assert abs(np.mean(gap)) < 4 * np.std(gap) / 60**0.5
    assert gaps[0] < 0.1
    assert 0.7 < gaps[1] < 1.1 < gaps[2]


def test_probabilities_are_a_logit_with_the_mean_asked_for():
    from mcsim.dgps._assignment.selection import _with_mean

    index = jnp.asarray(np.random.default_rng(0).normal(size=50) * 3)
    p = _with_mean(index, 0.2)
    assert float(p.mean()) == pytest.approx(0.2, abs=1e-9)
    odds = np.log(p / (1 - p)) - index
    np.testing.assert_allclose(odds, odds[0], atol=1e-9)


def test_strength_is_a_factor_of_the_design(generator):
    law = by_path(column="growth", start=4)
    study = Study(on(generator, law), did("growth ~ d"), grid(strength=[0.0, 1.0, 2.0]))
    assert len(study.cells()) == 3
    strong = draw(on(generator, law, effect=0.0), 40, Design({"strength": 4.0}))[0]
    treated = strong["d"][:, :, -1] == 1
    levels = strong["growth"].mean(axis=2)
    assert (levels[treated].mean() - levels[~treated].mean()) > levels.std()


def test_unit_factors_of_drawn_units():
    """On the data's own units both forms give the same probabilities; on drawn ones paths tell."""
    growth = np.asarray(PANEL["growth"])
    chance = 1 / (1 + np.exp(-1.5 * (growth.mean(axis=1) - growth.mean())))
    adopted = np.random.default_rng(1).uniform(size=40) < chance
    panel = Panel({"growth": growth, "law": np.repeat(adopted[:, None], 8, axis=1)})
    options = {"rank": 2, "max_treated": 39, "start": 4}
    fixed = by_unit_factors(panel, "growth", "law", **options)
    drawn = by_unit_factors(panel, "growth", "law", drawn=True, **options)
    assert isinstance(drawn, by_path)
    index = np.asarray(panel["growth"] @ drawn.weights)
    index = drawn.strength * (index - index.mean()) / index.std()
    logit = np.log(fixed.p / (1 - fixed.p))
    np.testing.assert_allclose(index - index.mean(), logit - logit.mean(), atol=1e-8)
    assert drawn.share == pytest.approx(fixed.p.mean())

    generator = UnitBootstrap().fit(KEY, panel.select(["growth"]))
    sample, _ = draw(on(generator, drawn, effect=0.0), 100)
    levels, treated = sample["growth"].mean(axis=2), sample["d"][:, :, -1] == 1
    assert levels[treated].mean() - levels[~treated].mean() > 0.3


@pytest.mark.slow
def test_selection_on_levels_biases_pooled_but_not_two_way_estimates(generator, tmp_path):
    """What confounds is a unit's level here: two-way effects take it out."""
    law = by_path(column="growth", weights=np.repeat([1.0, 0.0], 4), strength=2.0, start=4)
    study = Study(
        on(generator.with_shocks("redraw"), law, effect=0.5, n_units=100),
        {
            "pooled": fixed_effects("growth ~ d | time", term="d", estimand="att"),
            "did": did("growth ~ d"),
        },
    )
    results = run(study, reps=200, store=tmp_path / "store", workers=0, progress=False)
    table = results.summary(measures=["bias"]).set_index("estimator")["bias"]
    assert table["pooled"] > 0.5
    assert abs(table["did"]) < table["pooled"]


# Bad input


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda g: on(g, n_units=0), "n_units: got 0"),
        (lambda g: on(g, n_periods=1), "n_periods: got 1, expected at least 2"),
        (lambda g: on(g, at_random(share=0.5, start=1, cluster="regio")), "mean 'region'"),
        (lambda g: on(g, by_probability(np.full(40, 0.5))), r"by_unit_factors\(..., drawn=True\)"),
        (lambda g: on([]), "an empty list"),
        (lambda g: on([g, 3]), "a list with int"),
        (lambda g: on([g, replace_names(g)]), "schemas differ"),
        (lambda g: with_effect([g], outcome="growt", assignment=LAW), "mean 'growth'"),
        (lambda g: Study(g, did("growth ~ d")), "'fittedpanel' is a generator.*with_effect"),
        (lambda g: Study([g, g], did("growth ~ d")), "with_effect"),
        (lambda g: by_path(column="y", start=2)(KEY, PANEL), "column: got 'y'"),
        (
            lambda g: by_path(column="growth", start=9, weights=[1.0, 2.0], share=1.5)(KEY, PANEL),
            "3 faults",
        ),
    ],
)
def test_bad_input_is_a_sentence(generator, make, match):
    with pytest.raises(InputError, match=match):
        make(generator)


def replace_names(generator):
    return GaussianCopula().fit(KEY, Panel({"wage": PANEL["growth"]}))


def test_effects_are_added_to_numbers_only():
    levels = {"region": tuple("abcdefgh")}
    fit = GaussianCopula().fit(KEY, PANEL, schema=infer_schema(PANEL, levels=levels))
    with pytest.raises(InputError, match=r"outcome: got 'region', whose values are categories \(a"):
        with_effect(fit, outcome="region", assignment=LAW, n_units=9)


def test_a_generator_with_given_columns_draws_no_whole_panel():
    rng = np.random.default_rng(0)
    people = Panel({"treat": np.arange(60) % 2.0, "wage": rng.normal(size=60)})
    fit = GaussianCopula().fit(KEY, people, given=["treat"])
    with pytest.raises(InputError, match=r"fit given \['treat'\].*without given="):
        with_effect(fit, outcome="wage", assignment=at_random(share=0.5, start=0), n_units=9)
