"""The fidelity table of panels: its rows and measures, what it prints, its figure, bad input."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import mcsim
from fidelity.panels import KEY, QUICK, SMALL, Law, Truth, draw, measure, read
from mcsim import Estimate, FidelityTable, Panel, PanelFidelityTable, infer_schema
from mcsim._fidelity._panels import moments as _moments
from mcsim._fidelity._panels import placebo as _placebo
from mcsim._fidelity._panels import rows as measures
from mcsim._fidelity._panels.layout import draw_panels, read_panel_layout
from mcsim._fidelity._panels.rows import statistic_records, statistics_on
from mcsim._fidelity.estimates import on_real_data
from mcsim._fidelity.references import PANEL_REFERENCES
from mcsim.errors import InputError, WrongCall
from mcsim.estimators import fixed_effects
from mcsim.generators import GaussianCopula

pytestmark = pytest.mark.usefixtures("two_references")


@pytest.fixture(scope="module")
def table(two_references) -> PanelFidelityTable:
    generators = {"truth": Truth(), "tame": Truth(within=0.6), "redrawn": Truth(redraw=1.0)}
    estimators = {"twfe": fixed_effects("y ~ x | unit + time", vcov="CR1")}
    return mcsim.fidelity(draw(), generators, key=KEY, estimators=estimators, **QUICK)


@pytest.fixture(scope="module")
def wages():
    frame = mcsim.datasets.load("wage_panel")
    return mcsim.from_frame(frame, unit="nr", time="year", columns=["lwage", "hours"])


# The table


@pytest.mark.slow
def test_rows_and_their_order(table):
    names = ["real", "bootstrap", "copula"]
    for frame in (table.inference, table.rejection, table.score, table.measures):
        assert list(dict.fromkeys(frame["generator"])) == [*names, "truth", "tame", "redrawn"]
    assert table.outcomes == ("y", "x")
    assert table.references == tuple(names)
    assert (table.n_units, table.n_periods, table.splits) == (120, 6, 4)
    assert set(table.samples) == set(table.verdicts) - {"real"}
    assert table.samples["truth"].n_units == 120


@pytest.mark.slow
def test_verdicts_in_words(table):
    words = table.verdicts
    assert words["bootstrap"].startswith("copies its training units (100 % exact duplicates")
    assert "inference wrong: y at 5 placebo dates (sd of placebo effects" in words["tame"]
    assert "too small" in words["tame"]
    assert "a classifier distinguishes its units from real ones" in words["tame"]
    assert "wrong" not in words["truth"]
    assert "copies" not in words["truth"]
    assert "the best reference that does not copy" in words["truth"]
    assert "a classifier distinguishes" not in words["truth"]


@pytest.mark.slow
def test_the_text_fits_a_terminal_with_the_headline_first(table):
    text = table.details()
    assert max(len(line) for line in text.splitlines()) <= 100
    dated = table.inference.assign(placebo_date=pd.Timestamp(1961, 4, 1))
    dated["placebo_date"] += pd.to_timedelta(90 * table.inference["placebo_date"], unit="D")
    dated["generator"] = dated["generator"].replace("bootstrap", "a generator with a long name")
    dated = replace(table, inference=dated).details()
    assert "1962-06" in dated
    assert max(len(line) for line in dated.splitlines()) <= 100
    assert text.index("Inference check") < text.index("Rejections") < text.index("Panel score")
    assert "tame: copies" not in text
    assert "inference wrong: y at 5 placebo dates" in " ".join(text.split())
    markdown = table.to_markdown(details=True)
    assert "| generator | 1 | 2 | 3 | 4 | 5 | right | wrong | ? | widest |" in markdown
    assert "- **tame**: " in markdown


@pytest.mark.slow
def test_estimates_lie_inside_the_law_of_the_truth(table):
    frame = table.estimates.set_index("generator")
    real = fixed_effects("y ~ x | unit + time", vcov="CR1")(None, draw())["x", "CR1"]
    assert frame["value"].to_numpy() == pytest.approx(float(real.value))
    assert frame.loc["truth", "p_value"] > 0.01
    assert frame.loc["truth", "draws"] == 40
    assert frame["p_holm"].equals(frame["p_value"])  # one estimate
    assert " ".join(table.details().split()).count("for their number (Holm)") == 1
    # plim of within slope: .5 (1 + s^2) / ... with x = .5 y + e: cov / var = .5 / (.25 + 1)
    assert frame.loc["truth", "mean"] == pytest.approx(0.4, abs=0.02)


@pytest.mark.slow
def test_the_check_sees_shrunk_dispersion_and_passes_the_truth(table):
    frame = table.inference.set_index(["generator", "outcome"])
    for outcome in ("y", "x"):
        tame, truth = frame.loc[("tame", outcome)], frame.loc[("truth", outcome)]
        assert set(tame["verdict"]) == {"wrong"}
        assert tame["value"].to_numpy() == pytest.approx(np.log(0.6), abs=0.2)
        assert "wrong" not in set(truth["verdict"])
        assert "wrong" not in set(frame.loc[("bootstrap", outcome)]["verdict"])
        assert np.abs(frame.loc[("real", outcome)]["value"]).max() < 0.15
    assert list(dict.fromkeys(table.inference["placebo_date"])) == [1, 2, 3, 4, 5]


@pytest.mark.slow
def test_the_score_ranks_the_generators(table):
    frame = table.score[table.score["component"] == "score"].set_index("generator")
    assert frame.loc["real", "value"] == pytest.approx(1, abs=0.25)
    assert frame.loc["truth", "value"] < 1.15
    assert frame.loc["tame", "value"] > 1.5
    assert frame.loc["tame", "ratio_lower"] > 1.15
    best = frame["against"].unique()
    assert len(best) == 1
    row = frame.loc[best[0]]
    assert (row["ratio"], row["ratio_lower"], row["ratio_upper"]) == (1, 1, 1)
    assert measure(table, best[0], "nn_ratio")["value"] >= 0.9


@pytest.mark.slow
def test_the_bootstrap_copies_and_the_truth_does_not(table):
    assert measure(table, "bootstrap", "duplicates")["value"] == 100
    assert measure(table, "bootstrap", "nn_ratio")["value"] == 0
    assert measure(table, "truth", "duplicates")["value"] == 0
    assert measure(table, "truth", "nn_ratio")["value"] == pytest.approx(1, abs=0.12)
    assert measure(table, "real", "nn_ratio")["value"] == pytest.approx(1, abs=0.12)


@pytest.mark.slow
def test_frozen_shares_of_the_table(table):
    assert measure(table, "truth", "fixed_shocks", "y")["value"] > 0.9
    assert measure(table, "bootstrap", "fixed_shocks", "y")["value"] > 0.9
    assert abs(measure(table, "redrawn", "fixed_shocks", "y")["value"]) < 0.15


@pytest.mark.slow
def test_rejections_of_the_table_have_their_errors(table):
    frame = table.rejection.set_index(["generator", "outcome", "inference"])
    assert set(frame.index.get_level_values("inference")) == {"iid", "CR1", "wild"}
    row = frame.loc[("real", "y", "iid")]
    assert row["reps"] == 80
    assert row["mcse"] == pytest.approx(np.sqrt(row["rejection"] * (1 - row["rejection"]) / 80))
    assert (frame["rejection"] < 0.3).all()


@pytest.mark.slow
def test_long_panels_are_described_beside_their_ranges(table):
    panels = np.random.default_rng(10).normal(size=(40, 16, 24))
    own, found = (statistics_on({"y": x}, ["y"]) for x in (panels[:1], panels))
    assert statistics_on({"y": panels[..., :19]}, ["y"]) == {}
    frame = pd.DataFrame(statistic_records("long", own, [found, found]))
    row = frame[frame["statistic"] == "sd"].iloc[0]
    assert row["value"] == pytest.approx(panels[0].std(axis=1, ddof=1).mean())
    assert row["mean"] == pytest.approx(1, abs=0.02)
    assert row["lower"] < row["mean"] < row["upper"]
    assert frame["inside"].mean() > 0.5
    several = [frame.assign(generator=f"generator {name}", outcome="growth") for name in "abc"]
    for statistics in (frame, pd.concat(several)):
        text = replace(table, statistics=statistics).details()
        assert "Statistics of the series" in text
        assert max(len(line) for line in text.splitlines()) <= 100
    assert all(f"generator {name}" in text for name in "abc")


@pytest.mark.slow
def test_the_same_key_gives_the_same_table_and_more_generators_change_none():
    real = draw(40)
    one = mcsim.fidelity(real, {"truth": Truth()}, **SMALL)
    two = mcsim.fidelity(real, {"truth": Truth(), "tame": Truth(0.6)}, key=mcsim.key(0), **SMALL)
    for name in ("inference", "rejection", "measures"):
        first, second = getattr(one, name), getattr(two, name)
        second = second[second["generator"] != "tame"].reset_index(drop=True)
        assert first.equals(second)


@pytest.mark.slow
def test_a_table_compiles_a_bounded_number_of_programs():
    real = draw(40)
    mcsim.fidelity(real, {"truth": Truth()}, key=KEY, **SMALL)
    counted = _moments.mean_moments, _moments.weighted_moments, _placebo._program(40, 6)
    before = [program._cache_size() for program in counted]
    mcsim.fidelity(real, {"other": Truth(0.9)}, key=mcsim.key(9), **SMALL)
    assert [program._cache_size() for program in counted] == before


@pytest.mark.slow
@pytest.mark.parametrize("n_units", [8, 14])
def test_few_units_have_a_table_and_from_14_on_a_classifier(n_units):
    found = mcsim.fidelity(draw(n_units), {"t": Truth()}, **SMALL)
    tested = n_units >= 14
    for name in ("real", "t", "bootstrap"):
        assert np.isfinite(measure(found, name, "auc_holdout")["value"]) == tested
    assert ("classifier" in found.verdicts["t"]) == tested
    assert any("no classifier test where fewer than 7 units" in n for n in found.notes) != tested
    assert "nan" not in str(found) + found.details()


@pytest.mark.slow
def test_wage_panel_references(wages):
    panel, schema = wages
    # per split 8 panels of 272 men: all that the score reads; their part in the sd of a ratio is
    # 1 / sqrt(2 * 80 * 545), or .0034, beside .015 to .034 of the 10 splits (the sd of one over
    # the root of their number); no placebo law and no p-value is asserted
    few = {"splits": 10, "replications": 80, "draws": 80, "permutations": 40}
    again = {"again": mcsim.generators.UnitBootstrap()}
    found = mcsim.fidelity(panel, again, schema=schema, **few)
    ratios = found.inference.set_index(["generator", "outcome"])["value"]
    for outcome in found.outcomes:
        assert np.abs(ratios[("bootstrap", outcome)]).max() < 0.05
        assert np.abs(ratios[("real", outcome)]).max() < 0.05
    score = found.score[found.score["component"] == "score"].set_index("generator")["value"]
    assert score["real"] == pytest.approx(1, abs=0.1)
    assert score["bootstrap"] == pytest.approx(1, abs=0.1)
    assert measure(found, "real", "auc_holdout")["value"] == pytest.approx(0.5, abs=0.05)
    assert measure(found, "again", "mass_points")["value"] < 1


@pytest.mark.slow
def test_every_reference_learns_wages(wages, monkeypatch):
    panel, schema = wages
    others = {"SmoothedBootstrap", "FactorVAR", "GaussianMixture"}
    for name in others:
        monkeypatch.setitem(PANEL_REFERENCES, name, getattr(mcsim.generators, name)())
    found = mcsim.fidelity(
        panel, {"again": mcsim.generators.UnitBootstrap()}, schema=schema, **SMALL
    )
    for frame in (found.inference, found.score, found.measures):
        assert set(frame["generator"]) == {"real", "bootstrap", "copula", "again", *others}
    assert not found.notes or not any("fail" in note for note in found.notes)
    assert np.isfinite(found.inference["value"]).all()


# Measures


def test_memorization_of_copies_is_zero_and_of_fresh_units_one():
    rng = np.random.default_rng(4)
    train, held, fresh = rng.normal(size=(3, 400, 6))
    assert measures.neighbor_ratio(train[:100], train, held) == 0
    assert measures.neighbor_ratio(fresh, train, held) == pytest.approx(1, abs=0.05)
    assert measures.neighbor_ratio(train, train, held, itself=True) == pytest.approx(1, abs=0.05)
    near = train + 0.01 * fresh
    assert measures.neighbor_ratio(near, train, held) < 0.05


def test_frozen_share_of_fixed_and_of_redrawn_shocks():
    rng = np.random.default_rng(5)
    shocks, noise = rng.normal(size=8), 0.05 * rng.normal(size=(40, 8, 1))
    fixed = shocks[:, None] + noise
    redrawn = rng.normal(size=(40, 8, 1)) + noise
    assert measures.fixed_shock_share([fixed, fixed])[0] == pytest.approx(1, abs=0.02)
    many = [rng.normal(size=(10, 8, 1)) for _ in range(300)]
    assert measures.fixed_shock_share(many)[0] == pytest.approx(0, abs=0.02)
    assert abs(measures.fixed_shock_share([redrawn])[0]) < 0.06


def test_mean_correlation_and_cd_against_numpy():
    x = np.random.default_rng(6).normal(size=(9, 12)) + np.linspace(0, 3, 12)
    pairs = np.corrcoef(x)[np.triu_indices(9, 1)]
    assert measures.mean_correlation(x[None])[0] == pytest.approx(pairs.mean())
    cd = np.sqrt(2 * 12 / (9 * 8)) * pairs.sum()
    assert measures.cross_dependence(float(pairs.mean()), 9, 12) == pytest.approx(cd)
    still = np.concatenate([x, np.ones((2, 12))])  # units that never move have no correlation
    assert measures.mean_correlation(still[None])[0] == pytest.approx(pairs.mean())


def test_the_atom_gap_counts_percentage_points():
    hours = np.where(np.random.default_rng(7).random((40, 5)) < 0.5, 2080.0, 1000 + np.arange(5.0))
    hours += np.arange(40)[:, None] * (hours != 2080)
    panel = Panel({"hours": hours})
    schema = infer_schema(panel).replace(hours={"kind": "continuous", "mass_points": (2080.0,)})
    layout = read_panel_layout(panel, schema, None)
    units = layout.units(panel)
    share = 100 * np.mean(hours == 2080)
    moved = layout.units({"hours": hours + 1})
    assert measures.mass_point_gap(moved, units, layout) == pytest.approx(share)
    assert measures.mass_point_gap(units, units, layout) == 0


def test_outcomes_move_apart_over_time():
    panel = draw(20)
    age = jnp.arange(6.0) + jnp.arange(20.0)[:, None]
    kind = jnp.tile(jnp.arange(3.0), 40).reshape(20, 6)
    panel = panel.with_columns({"age": age, "kind": kind})
    schema = infer_schema(panel, levels={"kind": ("a", "b", "c")})
    layout = read_panel_layout(panel, schema, None)
    assert layout.outcomes == ("y", "x")
    assert layout.time_varying == ("age", "kind")
    assert layout.time_invariant == ("educ",)
    assert layout.units(panel).rows.shape == (20, 6 + 6 + 6 + 18 + 1)
    assert read_panel_layout(panel, schema, "x").outcomes == ("x",)


# Estimators


@mcsim.host(estimand="gap")
def gap_on_host(frame):
    assert list(frame.index.names) == ["unit", "time"]
    late = frame.index.get_level_values("time") >= 3
    return Estimate(frame.loc[late, "y"].mean() - frame.loc[~late, "y"].mean())


def gap(key, panel):
    return {"gap": Estimate(panel["y"][:, 3:].mean() - panel["y"][:, :3].mean())}


def test_a_host_estimator_of_a_study_has_the_values_of_the_native_one():
    real, names = draw(20), ("y", "x", "educ")
    layout = read(real)
    ran = on_real_data({"host": gap_on_host, "native": gap}, real, KEY, layout.schema)
    drawn = draw_panels(KEY, Law(), 5, (20, 6), names)
    found = measures._estimates(KEY, ran, drawn, layout, 4)
    assert ran[0].values["gap"] == pytest.approx(ran[1].values["gap"], abs=1e-12)
    assert found["host", "gap"].shape == (4,)
    np.testing.assert_allclose(found["host", "gap"], found["native", "gap"], atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("periods", [1, 6])
def test_a_host_estimator_of_a_study_is_a_row_of_the_table(periods):
    @mcsim.host(estimand="mean")
    def mean(frame):
        return Estimate(frame["y"].mean())

    real = draw(60) if periods > 1 else Panel({"y": draw(60)["y"][:, 0]})
    options = SMALL if periods > 1 else {"splits": 2, "n_generated": 6_000, "draws": 5}
    found = mcsim.fidelity(real, {"t": GaussianCopula()}, estimators=mean, **options)
    rows = found.estimates.set_index("generator")
    assert rows["value"].to_numpy() == pytest.approx(float(real["y"].mean()))
    assert np.isfinite(rows["mean"]).all()
    assert (rows["status"] == "ok").all()


@pytest.mark.slow
def test_an_estimator_that_cannot_run_is_a_row_with_a_status():
    def broken(key, panel):
        return Estimate(panel["wage"].mean())

    found = mcsim.fidelity(draw(40), Truth(), estimators={"broken": broken}, **SMALL)
    assert set(found.estimates["status"]) == {"invalid_input"}
    assert "invalid_input" in str(found)
    assert "invalid_input" in found.details()


# The figure


@pytest.mark.slow
def test_the_figure_sets_real_and_generated_side_by_side(table):
    from mcsim import plots

    figure = plots.fidelity(table, generator="tame")
    titles = [axes.get_title() for axes in figure.axes[:5]]
    assert titles[-1] == "paths of tame"
    assert len(figure.axes) == 10
    real = figure.axes[3].lines[-1].get_ydata()
    np.testing.assert_allclose(real, np.asarray(table.real["y"]).mean(axis=0))
    assert len(plots.fidelity(table, outcome="x").axes) == 5
    assert plots.fidelity(table).axes[4].get_title() == "paths of truth"
    assert [axes.get_xlabel() for axes in figure.axes[:5:4]] == [
        "band and dashes: 10 % and 90 %; lines: median", "red: mean of all units",
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"generator: got 'tam'; did you mean 'tame'"):
        plots.fidelity(table, generator="tam")
    with pytest.raises(InputError, match="outcome: got 'educ'"):
        plots.fidelity(table, outcome="educ")
    with pytest.raises(InputError, match="expected the PanelFidelityTable of a panel"):
        plots.fidelity(FidelityTable(pd.DataFrame(), pd.DataFrame()))


def test_zeros_and_ones_are_drawn_as_shares():
    from mcsim import plots

    rng = np.random.default_rng(0)
    binary = Panel({"d": rng.integers(0, 2, (30, 5)), "y": rng.normal(size=(30, 5))})
    table = PanelFidelityTable(*[pd.DataFrame()] * 6, {}, (), 30, 5, 2, binary, {"mine": binary},
                               infer_schema(binary), ("d", "y"), ())  # fmt: skip
    axes = plots.fidelity(table).axes
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), np.asarray(binary["d"]).mean(axis=0))
    first, second = (axes[3].lines[unit].get_ydata() for unit in (0, 1))
    assert 0 < (second - first).round(6).max() % 1 < 0.1
    assert axes[5].get_xlabel().startswith("band")
    real, drawn = (words.get_text() for words in axes[0].figure.legends[0].get_texts())
    assert real == "real: all 30 units, those held out from the fit among them"
    assert drawn == "mine: 30 drawn units"
    seen = replace(table, verdicts={"mine": "compared with its training units; ..."})
    assert "all used by the fit" in plots.fidelity(seen).legends[0].get_texts()[0].get_text()


# Bad input


@pytest.mark.slow
def test_a_cross_section_goes_to_its_own_table():
    rng = np.random.default_rng(0)
    panel = Panel({"x": rng.normal(size=60), "y": rng.normal(size=60)})
    found = mcsim.fidelity(panel, GaussianCopula(), splits=2, n_generated=6_000)
    assert isinstance(found, FidelityTable)
    assert found.splits == 2
    with pytest.raises(InputError, match="replications: got 3 for a cross-section"):
        mcsim.fidelity(panel, GaussianCopula(), replications=3)
    with pytest.raises(InputError, match=r"outcome: got .* for a cross-section"):
        mcsim.fidelity(panel, GaussianCopula(), outcome=["x", "y"])


@pytest.mark.parametrize(
    ("panel", "message"),
    [
        (draw(7), "got 7 units, expected at least 8"),
        (draw(20).with_columns({"y": jnp.full((20, 6), jnp.nan)}), r"cells in \['y'\]"),
        (Panel({"y": jnp.ones((20, 6))}), "no column moves within units"),
        (Panel({"y": draw(20)["y"]}, jnp.zeros((20, 6), bool)), "got missing cells"),
    ],
)
def test_wrong_panels(panel, message):
    with pytest.raises(InputError, match=message):
        mcsim.fidelity(panel, Truth(), schema=infer_schema(draw(20).select(list(panel))))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"splits": 1}, "splits: got 1, expected a whole number of at least 2"),
        ({"replications": 0, "draws": 0}, "replications: got 0"),
        ({"permutations": 39}, "permutations: got 39, expected a whole number of at least 40"),
        ({"outcome": "educ"}, "outcome: got 'educ', which is nominal or moves alike"),
        ({"outcome": "z"}, "column 'z' is not in real"),
        ({"given": ("educ",)}, r"given: got \['educ'\] for a panel, expected none"),
        ({"n_generated": 10}, "n_generated: got 10 for a panel"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        mcsim.fidelity(draw(20), Truth(), **options)


def test_the_old_name_of_an_option_says_the_new_one():
    with pytest.raises(WrongCall, match="has no option 'folds'; its name is splits"):
        mcsim.fidelity(draw(20), Truth(), folds=3)
