"""Failures speak: in a line, in a frame, at once where a first block has no success."""

import json
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

import mcsim
from command_line import mcsim_command
from mcsim import Estimate, Panel, Sample, Status, Study, grid, run
from mcsim._results.caveats import means_of
from mcsim._results.failures import often_failing
from mcsim._results.store import Store
from mcsim._results.store_files import read_block, write_block
from mcsim._run.replay import replay
from mcsim.report import notes, write_html
from mcsim.testing import constant_dgp, exact_estimator

NATIVE_BLOCK, HOST_BLOCK = 1024, 64


def draw(key, design):
    y = design.get("mean", 0.0) + jax.random.normal(key, (10, 1))
    return Sample(Panel({"y": y}), {"mean": 0.0})


@mcsim.host(estimand="mean")
def fine(frame):
    return Estimate(frame["y"].mean(), 0.3)


@mcsim.host(estimand="mean")
def raising(frame):
    if frame["y"].iloc[0] > 1.15:
        raise np.linalg.LinAlgError("singular matrix")
    return Estimate(frame["y"].mean(), 0.3)


@mcsim.host(estimand="mean")
def hopeless(frame):
    raise ValueError("in vain")


@mcsim.host(estimand="mean")
def hopeless_above(frame):
    if frame["y"].mean() > 5.0:
        raise ValueError("too large")
    return Estimate(frame["y"].mean(), 0.3)


def hopeless_native(key, panel):
    return {"mean": Estimate(panel["y"].mean(), 0.1, status=Status.SINGULAR)}


def run_it(estimators, reps=64, designs=None, workers=0, **options):
    study = Study({"normal": draw}, estimators, designs or grid(mean=[0.0]))
    return run(study, reps=reps, workers=workers, progress=False, **options)


# Rare failures


def test_a_rare_failure_is_a_line_and_a_row_without_a_store():
    with pytest.warns(UserWarning, match=" failed") as caught:
        results = run_it({"ols": raising, "fine": fine})
    failed = int((results.replicates["status"] == "error").sum())
    assert 2 <= failed <= 20
    (line,) = {str(warning.message) for warning in caught}
    assert line == f"ols: {failed} of 64 failed: LinAlgError: singular matrix"
    assert caught[0].filename == __file__
    (row,) = results.failures.to_dict("records")
    rows = results.replicates
    assert row == {
        "dgp": "normal", "mean": 0.0, "estimator": "ols", "labels": (), "status": "error",
        "replications": failed, "of": 64, "reason": "LinAlgError: singular matrix",
        "first_rep": rows.loc[rows["status"] == "error", "rep"].min(),
        "cell": results.study["cells"][0]["hash"][:12],
    }  # fmt: skip
    assert often_failing(results) == []


def test_without_failures_the_frame_is_empty():
    failures = run_it({"fine": fine}, reps=2).failures
    assert failures.empty
    assert "reason" in failures


def test_a_store_tells_the_same(tmp_path):
    with pytest.warns(UserWarning, match="ols: "):
        results = run_it({"ols": raising}, store=tmp_path)
    pd.testing.assert_frame_equal(mcsim.open(tmp_path).failures, results.failures)


def test_estimates_that_fail_beside_others_are_named():
    def two(key, panel):
        fails = panel["y"][0, 0] > 1.15
        status = jax.numpy.where(fails, int(Status.NAN), 0)
        return {("mean", "a"): Estimate(0.0, 1.0), ("mean", "b"): Estimate(0.0, 1.0, status=status)}

    with pytest.warns(UserWarning, match=r"two \(mean b\): \d+ of 64 failed: nan$"):
        results = run_it({"two": two})
    (row,) = results.failures.to_dict("records")
    assert (row["labels"], row["status"], row["reason"]) == (("mean b",), "nan", "")


def test_statuses_are_counted_apart():
    @mcsim.host(estimand="mean")
    def mixed(frame):
        if frame["y"].iloc[0] > 1.15:
            raise ValueError("no luck")
        return Estimate(np.nan if frame["y"].iloc[0] < -1.15 else frame["y"].mean(), 0.3)

    with pytest.warns(UserWarning, match=r"failed: .*ValueError: no luck \(\d+\)") as caught:
        results = run_it({"mixed": mixed})
    assert sorted(results.failures["status"]) == ["error", "nan"]
    counts = dict(zip(results.failures["status"], results.failures["replications"], strict=True))
    message = str(caught[0].message)
    assert f"mixed: {sum(counts.values())} of 64 failed" in message
    assert f"nan ({counts['nan']})" in message


def test_a_text_is_stored_once_and_short(tmp_path):
    @mcsim.host(estimand="mean")
    def verbose(frame):
        raise ValueError("x" * 300_000)

    with pytest.warns(UserWarning, match="verbose: 4 of 4 failed: ValueError: xxx"):
        run_it({"verbose": verbose}, reps=4, store=tmp_path)
    (file,) = tmp_path.glob("failures/*/*/*.json")
    record = json.loads(file.read_text())
    assert record["reps"] == list(range(HOST_BLOCK))
    assert len(record["trouble"].encode()) <= 4_000
    assert record["trouble"].startswith("Traceback")
    assert "bytes left out" in record["trouble"]
    assert file.stat().st_size < 8_000


# A first block without a success


def check_skipped(results, estimator, reps, block):
    rows = results.replicates[results.replicates["estimator"] == estimator]
    assert rows["rep"].tolist() == list(range(reps))
    assert (rows["status"] == "skipped").tolist() == [rep >= block for rep in range(reps)]
    assert rows["value"].isna().all()
    assert rows["estimand"].nunique() == 1
    numbers = results.summary(measures=["share_failed", "coverage_all"])
    mine = numbers[numbers["estimator"] == estimator]
    assert mine["share_failed"].item() == 1.0
    assert mine["coverage_all"].item() == 0.0
    assert mine["share_failed_n"].item() == reps


def blocks_of(store: Path) -> list[str]:
    return sorted(file.name for file in store.glob("cells/*/est/*/*.parquet"))


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_what_follows_a_first_block_without_a_success_is_skipped(tmp_path, workers, capfd):
    estimators = {"hopeless": hopeless, "native": hopeless_native, "fine": exact_estimator()}
    with pytest.warns(UserWarning, match=" failed") as caught:
        results = run_it(estimators, 1100, store=tmp_path, workers=workers)
    check_skipped(results, "hopeless", 1100, HOST_BLOCK)
    check_skipped(results, "native", 1100, NATIVE_BLOCK)
    assert set(results.replicates.query("estimator == 'fine'")["status"]) == {"ok"}
    first, other = "r0000000-0001023.parquet", "r0001024-0002047.parquet"
    assert blocks_of(tmp_path) == ["r0000000-0000063.parquet", first, first, other]
    assert {str(warning.message) for warning in caught} == {
        "hopeless: 1,100 of 1,100 failed, 1,036 of them skipped after a first block without a "
        "success: ValueError: in vain",
        "native: 1,100 of 1,100 failed, 76 of them skipped after a first block without a "
        "success: singular",
    }
    at_once = capfd.readouterr().err
    assert (
        "hopeless failed in all 64 replications of its first block in cell 'normal mean=0': "
        "ValueError: in vain; its other replications there are skipped" in at_once
    )
    assert "native failed in all 1,024 replications of its first block" in at_once
    assert often_failing(results) == ["hopeless", "native"]
    assert "hopeless: 1,100 of 1,100 estimates failed" in notes(results)
    assert "hopeless: 1,036 of its failures are replications that were skipped" in notes(results)
    assert "INCOMPLETE" not in notes(results)
    pd.testing.assert_frame_equal(mcsim.open(tmp_path).replicates, results.replicates)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* failed")
def test_rows_do_not_depend_on_workers_or_on_the_order_of_runs(tmp_path):
    estimators = {"hopeless": hopeless, "native": hopeless_native, "fine": fine}
    whole = run_it(estimators, 1100, workers=3)
    run_it(estimators, 40, store=tmp_path)
    before = blocks_of(tmp_path)
    extended = run_it(estimators, 1100, store=tmp_path, workers=1)
    assert set(before) <= set(blocks_of(tmp_path))
    pd.testing.assert_frame_equal(extended.replicates, whole.replicates, check_exact=True)
    pd.testing.assert_frame_equal(extended.failures, whole.failures)


def test_a_stored_first_block_skips_the_rest(tmp_path, capfd, monkeypatch):
    with pytest.warns(UserWarning, match="hopeless: 10 of 10 failed"):
        run_it({"hopeless": hopeless}, 10, store=tmp_path)
    assert "first block" in capfd.readouterr().err
    monkeypatch.setattr("mcsim._run.chunks.draw_chunk", None)  # nothing is drawn
    with pytest.warns(UserWarning, match="200 of 200 failed, 136 of them skipped"):
        results = run_it({"hopeless": hopeless}, 200, store=tmp_path)
    check_skipped(results, "hopeless", 200, HOST_BLOCK)
    assert capfd.readouterr().err == ""


def test_a_changed_estimator_is_computed(tmp_path):
    with pytest.warns(UserWarning, match="skipped"):
        run_it({"e": hopeless}, 130, store=tmp_path)
    results = run_it({"e": fine}, 130, store=tmp_path, accept_changes=True)
    assert set(results.replicates["status"]) == {"ok"}


def test_other_cells_are_not_skipped(tmp_path):
    designs = grid(mean=[0.0, 10.0])
    with pytest.warns(UserWarning, match=" failed") as caught:
        results = run_it({"e": hopeless_above}, 200, designs, store=tmp_path)
    assert str(caught[0].message) == (
        "e: 200 of 400 failed, 136 of them skipped after a first block without a success, "
        "all in normal mean=10: ValueError: too large"
    )
    rows = results.replicates
    assert set(rows.loc[rows["mean"] == 0.0, "status"]) == {"ok"}
    assert rows.groupby("mean")["estimand"].unique().str.len().eq(1).all()
    assert often_failing(results) == ["e"]


def test_a_skipped_replication_can_be_replayed(tmp_path):
    with pytest.warns(UserWarning, match="skipped"):
        results = run_it({"e": hopeless}, 200, store=tmp_path)
    study = Study({"normal": draw}, {"e": hopeless}, grid(mean=[0.0]))
    with pytest.warns(UserWarning, match="in vain"):
        _, rows = replay(study, tmp_path, results.failures["cell"].iloc[0], 150)
    assert rows["status"].tolist() == ["error"]
    assert rows["stored"].isna().all()


def test_blocks_that_an_older_version_stored_after_a_first_block_in_vain_are_kept(tmp_path):
    with pytest.warns(UserWarning, match="e: 10 of 10"):
        results = run_it({"e": hopeless}, 10, store=tmp_path)
    cell = results.study["cells"][0]
    store, estimator = Store.open(tmp_path), dict(cell["estimators"])["e"]
    first = read_block(store.block(cell["hash"], estimator, 0, 64))
    write_block(
        store.block(cell["hash"], estimator, 64, 64),
        first.assign(rep=first["rep"] + 64, value=1.0, se=1.0, status="ok"),
        {},
    )
    with pytest.warns(UserWarning, match="72 of them skipped"):
        rows = run_it({"e": hopeless}, 200, store=tmp_path).replicates
    assert rows["status"].tolist() == ["error"] * 64 + ["ok"] * 64 + ["skipped"] * 72


# The command


STUDY = """
import mcsim
from mcsim.report import notes, write_html
from mcsim.testing import constant_dgp

@mcsim.host(estimand="mean")
def e(frame):
    if frame["y"].mean() > 5.0:
        raise ValueError("too large")
    return mcsim.Estimate(frame["y"].mean(), 0.3)

dgps = {f"d{truth}": constant_dgp(truth=truth) for truth in (0.0, 1.0, 2.0, 10.0)}
study = mcsim.Study(dgp=dgps, estimators=e)
"""


def test_an_estimator_without_a_success_in_one_cell_exits_with_4(tmp_path):
    file = tmp_path / "study.py"
    file.write_text(STUDY)
    done = mcsim_command("run", file, "--reps", 8, "--store", tmp_path / "s", "--workers", 0)
    assert done.returncode == 4
    assert "warning: e: 8 of 32 failed, all in d10.0: ValueError: too large" in done.stderr
    file.write_text(STUDY.replace("10.0)", "3.0)"))
    done = mcsim_command("run", file, "--reps", 8, "--store", tmp_path / "t", "--workers", 0)
    assert (done.returncode, "failed" in done.stderr) == (0, False)


def test_exact_estimators_do_not_fail():
    results = run(Study(constant_dgp(), exact_estimator()), reps=3, workers=0, progress=False)
    assert often_failing(results) == []


# Several reasons of one status


def test_every_reason_of_a_status_has_a_row_and_a_replication_to_replay(tmp_path):
    @mcsim.host(estimand="mean")
    def mixed(frame):
        first = frame["y"].iloc[0]
        if first > 1.0:
            raise ValueError("too large")
        if first < -1.5:
            raise RuntimeError("too small")
        return Estimate(frame["y"].mean(), 0.3)

    with pytest.warns(UserWarning, match=r"mixed: \d+ of 100 failed: ValueError: too large \("):
        results = run_it({"mixed": mixed}, reps=100, store=tmp_path)
    failures, rows = results.failures, results.replicates
    assert failures["reason"].tolist() == ["ValueError: too large", "RuntimeError: too small"]
    assert failures["replications"].sum() == (rows["status"] == "error").sum()
    assert failures["replications"].is_monotonic_decreasing
    study = Study({"normal": draw}, {"mixed": mixed}, grid(mean=[0.0]))
    for row in failures.itertuples():
        with pytest.warns(UserWarning, match=f"(?s)estimator 'mixed'.*{row.reason}"):
            replay(study, tmp_path, row.cell, row.first_rep)
    text = write_html(results, tmp_path / "page.html", store=tmp_path).read_text()
    for row in failures.itertuples():
        assert f"--cell {row.cell} --rep {row.first_rep}" in text


def test_beyond_five_reasons_the_others_are_counted():
    @mcsim.host(estimand="mean")
    def talkative(frame):
        raise ValueError(f"{frame['y'].mean():.0f}{frame['y'].iloc[0]:.0f}")

    with pytest.warns(UserWarning, match=r"\(\d+\); error: other reasons \(\d+\)$"):
        results = run_it({"talkative": talkative})
    reasons = results.failures["reason"].tolist()
    assert len(reasons) == 6
    assert reasons[-1] == "other reasons"
    assert results.failures["replications"].sum() == 64


def test_other_reasons_come_last_however_many():
    @mcsim.host(estimand="mean")
    def different(frame):
        raise ValueError(f"{frame['y'].mean():.9f}")

    one = r"ValueError: \S+ \(1\); "
    with pytest.warns(UserWarning, match=rf"failed: {one}{one}{one}error: other reasons \(61\)$"):
        results = run_it({"different": different})
    assert results.failures["reason"].iloc[-1] == "other reasons"


def test_reasons_that_differ_in_an_address_are_one():
    @mcsim.host(estimand="mean")
    def unlucky(frame):
        raise ValueError([object() for _ in range(3)][int(frame["y"].iloc[0] > 0)], object())

    cause = r"ValueError: \(<object object at 0x\.\.\.>, <object object at 0x\.\.\.>\)$"
    with pytest.warns(UserWarning, match=f"64 of 64 failed: {cause}"):
        results = run_it({"unlucky": unlucky})
    assert results.failures["replications"].tolist() == [64]


def test_a_chunk_without_missing_cells_counts_in_the_mean():
    assert means_of([{}, {"cells": np.array([2.0, 4.0])}]) == {"cells": 1.5}
