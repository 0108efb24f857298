"""A store that holds several studies gives each its own rows, whatever the clocks say."""

import json
import os
from dataclasses import dataclass

import jax
import pandas as pd
import pytest

import mcsim
from mcsim import Estimate, Panel, Sample, Study, run
from mcsim._results.open import other_studies
from mcsim._results.store import Store
from mcsim._run.replay import replay
from mcsim.testing import constant_dgp, exact_estimator


def draw(key, design):
    return Sample(Panel({"y": jax.random.normal(key, (10, 1))}), {"mean": 0.0})


ONE = Study({"one": draw}, {"slow": exact_estimator(bias=1.0)})
TWO = Study({"two": draw}, {"fast": exact_estimator(bias=2.0)}, null=2.0)


def run_in(store, study, reps=20, **options):
    return run(study, reps=reps, store=store, workers=0, progress=False, **options)


def names_in(results):
    rows = results.replicates
    return set(zip(rows["dgp"], rows["estimator"], rows["value"], strict=True))


ROWS_OF_ONE, ROWS_OF_TWO = {("one", "slow", 1.0)}, {("two", "fast", 2.0)}


def set_clock_back(store):
    """Let every run so far bear the time of another machine, whose clock is ahead."""
    for file in store.glob("runs/*.json"):
        os.replace(file, file.with_name(f"29990101T000000.000000-{file.stem[-6:]}.json"))


def test_a_run_returns_its_own_rows_after_one_whose_clock_was_ahead(tmp_path):
    assert names_in(run_in(tmp_path, ONE)) == ROWS_OF_ONE
    set_clock_back(tmp_path)
    second = run_in(tmp_path, TWO)
    assert names_in(second) == ROWS_OF_TWO
    opened = mcsim.open(tmp_path)
    assert opened.study == second.study
    assert names_in(opened) == ROWS_OF_TWO
    assert names_in(run_in(tmp_path, ONE)) == ROWS_OF_ONE
    assert names_in(mcsim.open(tmp_path)) == ROWS_OF_ONE


def test_a_run_returns_its_own_rows_beside_another_that_ends_meanwhile(tmp_path, monkeypatch):
    from mcsim._run import run as _runner

    begun = _runner.store_truths

    def run_the_other_meanwhile(*arguments):
        monkeypatch.undo()
        assert names_in(run_in(tmp_path, TWO)) == ROWS_OF_TWO
        return begun(*arguments)

    monkeypatch.setattr(_runner, "store_truths", run_the_other_meanwhile)
    results = run_in(tmp_path, ONE)
    assert names_in(results) == ROWS_OF_ONE
    assert list(results.study["dgps"]) == ["one"]
    assert results.study["null"] == 0.0


def test_a_replay_finds_the_seed_of_its_cell_and_not_that_of_the_last_run(tmp_path):
    first = run_in(tmp_path, ONE, seed=5)
    run_in(tmp_path, TWO, seed=6)
    cell = first.study["cells"][0]["hash"]
    _, rows = replay(ONE, tmp_path, cell[:6], 3)
    assert (rows["value"] == rows["stored"]).all()
    _, beyond = replay(ONE, tmp_path, cell[:6], 30)  # in the store, where blocks are whole
    assert beyond["stored"].notna().all()


def test_a_damaged_study_is_named_and_hides_no_other(tmp_path):
    run_in(tmp_path, ONE)
    run_in(tmp_path, TWO)
    store = Store.open(tmp_path)
    one, two = store.studies()
    (tmp_path / "studies" / one / "study.json").write_text("{}")
    assert names_in(mcsim.open(tmp_path)) == ROWS_OF_TWO
    assert f"the store also holds {one} (damaged): choose" in other_studies(store, two)
    with pytest.raises(mcsim.errors.StoreError, match="its checksum is wrong; delete it and run"):
        mcsim.open(tmp_path, study=one)


# Reasons of failures


def test_the_reason_of_a_failure_is_of_the_code_that_was_run(tmp_path):
    def failing(message):
        @mcsim.host(estimand="mean")
        def estimator(frame):
            raise ValueError(message)

        return Study({"d": draw}, {"e": estimator})

    for message in ("reason of the old code", "reason of the new code"):
        with pytest.warns(UserWarning, match=message) as caught:
            run_in(tmp_path, failing(message), reps=4, accept_changes=True)
        assert len(caught) == 1


def test_the_reason_of_a_failure_is_of_the_cells_that_are_shown(tmp_path):
    @mcsim.host(estimand="mean")
    def estimator(frame):
        raise ValueError(f"a mean near {abs(round(frame['y'].mean(), -1)):g}")

    for mean in (0.0, 100.0, 200.0):
        study = Study({f"d{mean:g}": constant_dgp(truth=mean)}, {"e": estimator})
        with pytest.warns(UserWarning, match=f"a mean near {mean:g}"):
            run_in(tmp_path, study, reps=4)


# A truth that was computed


@dataclass(frozen=True)
class Computed:
    """A DGP whose truth is computed once, with an error."""

    def __call__(self, key, design):
        return Sample(Panel({"y": jax.random.normal(key, (10, 1))}), {})

    def truth(self, key, design):
        return {"mean": (0.0, 0.125)}


def test_a_truth_that_is_gone_is_noticed_and_computed_again(tmp_path):
    study = Study({"d": Computed()}, {"e": exact_estimator()})
    results = run_in(tmp_path, study)
    assert results.summary(measures=["bias"])["bias_mcse"].item() == pytest.approx(0.125)
    (file,) = tmp_path.glob("cells/*/truth.json")
    held = file.read_bytes()
    file.unlink()
    with pytest.raises(mcsim.errors.StoreError, match=r"truth\.json is missing; run its study"):
        mcsim.open(tmp_path)
    pd.testing.assert_frame_equal(run_in(tmp_path, study).truth, results.truth)
    assert file.read_bytes() == held
    assert json.loads(held)["values"] == {"mean": [0.0, 0.125]}


def test_a_population_needs_no_truth_of_its_cell(tmp_path):
    class Population:
        def __call__(self, key, design):
            return Computed()(key, design)

        def truth(self, key, design):
            return Panel({"y": [[1.0], [3.0]]})

    def mean(key, panel):
        return {"mean": Estimate(panel["y"].mean(), 0.3)}

    run_in(tmp_path, Study({"d": Population()}, {"e": mean}))
    assert mcsim.open(tmp_path).replicates["truth"].eq(2.0).all()
    (file,) = tmp_path.glob("cells/*/est/*/truth.json")
    file.unlink()
    with pytest.raises(mcsim.errors.StoreError, match=r"truth\.json is missing"):
        mcsim.open(tmp_path)
