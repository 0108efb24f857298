"""The studies of published tables: they run, and their figures are those published."""

import dataclasses
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import mcsim
from mcsim.dgps import ErrorComponents, at_random, with_effect
from mcsim.errors import InputError
from mcsim.estimators import fixed_effects

STUDIES = Path(__file__).parents[2] / "studies"
FIGURES = {
    "arellano_bond": 24,
    "bertrand_duflo_mullainathan": 19,
    "nickell": 12,
    "petersen": 28,
    "placebo_laws_cps": 8,
    "staggered_adoption": 6,
    "stock_yogo": 14,
}
REPS = 1024


@pytest.fixture
def load(monkeypatch):
    """Import a study file, without leaving traces beside it."""
    monkeypatch.syspath_prepend(str(STUDIES))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return import_module


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_the_published_ones(name, load, tmp_path, capsys):
    """With fewer replications than the study asks for, within four combined errors all the same."""
    file = load(name)
    try:
        study = file.study()
    except InputError as error:
        pytest.skip(str(error))
    results = mcsim.run(study, reps=REPS, progress=False)
    compared = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mcsim, "compare", kept(mcsim.compare, compared))
        file.report(results, tmp_path)
    assert (tmp_path / "comparison.md").exists()
    assert len(compared[0].table) == FIGURES[name]
    assert compared[0].df == FIGURES[name]
    assert compared[0].largest < 4
    assert compared[0].p_value > 0.01


def kept(function, found):
    """The function, with what it returns kept in a list."""

    def call(*arguments):
        found.append(function(*arguments))
        return found[-1]

    return call


@pytest.mark.slow
def test_which_standard_error_says_what_its_page_says(load):
    study = load("which_standard_error").study()
    cells = [design for design in study.designs if design["n_units"] == 6]
    results = mcsim.run(dataclasses.replace(study, designs=cells), reps=REPS, progress=False)
    coverage = results.summary(measures=["coverage"]).set_index(["share", "inference"])["coverage"]
    half, one = coverage.loc[0.5], coverage.loc[1 / 6]
    assert 0.92 < half["CR1"] < 0.97
    assert 0.92 < half["CR2:BM"] < 0.98
    assert half[["iid", "HC1", "DK"]].max() < 0.9
    assert one["CR1"] < 0.75
    assert np.isnan(one["CR3"])
    assert one["wild"] > 0.97


@pytest.mark.slow
def test_which_shocks_says_what_its_page_says(load, tmp_path, capsys):
    file = load("which_shocks")
    study = dataclasses.replace(file.study(), designs=mcsim.grid(n_units=[48]))
    results = mcsim.run(study, reps=REPS, progress=False)
    file.report(results, tmp_path)
    assert "CR1(unit + time) †" in (tmp_path / "shocks.md").read_text()
    table = results.summary(measures=["coverage", "bias"])
    coverage = table.set_index(["dgp", "estimator", "inference"])["coverage"]
    effects = ["pooled", "state effects", "state and year effects"]
    fixed, redrawn = coverage["fixed"].unstack(), coverage["redrawn"].unstack()
    assert fixed.loc[effects, "CR1"].between(0.93, 0.97).all()
    assert fixed[["DK", "CR1(time)", "CR1(unit + time)"]].to_numpy().min() > 0.97
    assert redrawn.loc[["pooled", "state effects", "national employment"], "CR1"].max() < 0.55
    assert redrawn.loc["pooled", ["DK", "CR1(unit + time)"]].between(0.85, 0.95).all()
    assert redrawn.loc["state and year effects", "CR1"] < fixed.loc[effects, "CR1"].min()
    assert (table["bias"].abs() < 4 * np.hypot(table["bias_mcse"], 0.004)).all()


@pytest.mark.slow
def test_the_truth_of_which_shocks_is_that_of_the_estimators(load):
    """Over many states, each estimator is where the cross products say."""
    file = load("which_shocks")
    (fixed, _), methods = file.study().dgps.values(), file.study().methods
    truth = fixed.truth(mcsim.key(1), mcsim.Design({"n_units": 48}))
    panel = fixed(mcsim.key(2), mcsim.Design({"n_units": 30_000})).panel
    for name, method in methods.items():
        found = method(mcsim.key(3), panel)
        value = float(found[name, "CR1"].value)
        error = np.hypot(float(found[name, "CR1"].se), truth[name][1])
        assert abs(value - truth[name][0]) < max(4 * error, 0.003)


def test_a_study_of_twenty_cells_compiles_an_estimator_once():
    traces = []
    estimator = fixed_effects("y ~ d | unit + time", estimand="att", vcov=["iid", "CR1"])

    def counted(key, panel, formula, **options):
        traces.append(panel.n_units)
        return estimator.numerics(key, panel, formula, **options)

    laws = at_random(share=0.5, start=(3, 6))
    states = with_effect(
        ErrorComponents(n_units=12, n_periods=8, beta=None), outcome="y", assignment=laws
    )
    study = mcsim.Study(
        dgp={"states": states},
        estimators={"twfe": dataclasses.replace(estimator, numerics=counted)},
        designs=mcsim.grid(rho=[0.0, 0.2, 0.4, 0.6, 0.8], effect=[0.0, 0.1, 0.2, 0.3]),
    )
    results = mcsim.run(study, reps=16, workers=2, progress=False)
    assert len(results.replicates) == 20 * 16 * 2
    assert traces == [12]
    wider = dataclasses.replace(study, designs=mcsim.grid(n_units=[12, 20], rho=[0.1, 0.3]))
    mcsim.run(wider, reps=16, workers=2, progress=False)
    assert traces == [12, 20]


@pytest.mark.slow
def test_networks_of_the_chapter_are_shown_for_what_they_are(load, tmp_path, capsys):
    file = load("state_growth")
    study = file.study()
    results = mcsim.run(study, reps=256, progress=False)
    file.report(results, tmp_path)
    statistics = (tmp_path / "statistics.md").read_text()
    assert all(name in statistics for name in study.dgps)
    assert {f.name for f in tmp_path.glob("*.png")} >= {"paths.png", "vae_grid.png", "vae_CA.png"}
    spread = results.summary(measures=["empirical_se"]).set_index(["dgp", "inference"])
    spread = spread["empirical_se"].xs("iid", level="inference")
    assert 0.8 < spread["vae"] / spread["real"] < 1.25
    assert spread["vae_chapter"] < 0.5 * spread["real"]
