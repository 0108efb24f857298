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

STUDIES = Path(__file__).parents[1] / "studies"
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
