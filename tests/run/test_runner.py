"""Promises 1 and 2: what a study's rows depend on, and what they do not."""

import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import mcsim
from mcsim import Design, Estimate, Panel, Sample, Study, grid, run
from mcsim._run.replay import replay
from mcsim.errors import InputError
from mcsim.testing import constant_dgp, exact_estimator


def draw(key, design):
    y = design["mean"] + jax.random.normal(key, (30, 1))
    return Sample(Panel({"y": y}), {"mean": design["mean"]})


def native_mean(key, panel):
    y = panel["y"]
    return {"mean": Estimate(y.mean(), y.std() / jnp.sqrt(y.size))}


def resampled(key, panel):
    y = jax.random.choice(key, panel["y"][:, 0], (30,))
    return {"mean": Estimate(y.mean(), y.std())}


@mcsim.host(estimand="mean")
def host_mean(rng, frame):
    return Estimate(frame["y"].mean() + 0.01 * rng.normal() + 0.01 * np.random.normal(), 0.2)  # noqa: NPY002


ESTIMATORS = {"native": native_mean, "resampled": resampled, "host": host_mean}
STUDY = Study({"normal": draw}, ESTIMATORS, grid(mean=[0.0, 1.0]))


def rows_of(study=STUDY, reps=70, workers=0, **options):
    return run(study, reps=reps, workers=workers, progress=False, **options).replicates


def same(one, other):
    pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store in which the study has been run; no test writes to it."""
    path = tmp_path_factory.mktemp("runner") / "s"
    rows_of(store=path)
    return path


@pytest.fixture(scope="module")
def rows(store):
    return mcsim.open(store).replicates


def test_the_schema_of_the_rows(rows):
    assert list(rows) == [
        "mean", "dgp", "estimator", "estimand", "inference", "rep", "value", "se", "lower",
        "upper", "df", "p_value", "truth", "status",
    ]  # fmt: skip
    assert len(rows) == 2 * 3 * 70
    assert not rows.duplicated(["mean", "dgp", "estimator", "estimand", "inference", "rep"]).any()
    assert (rows["truth"] == rows["mean"]).all()


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same_rows(rows, workers):
    same(rows_of(workers=workers), rows)


def test_20_and_10_replications_are_30(rows, tmp_path):
    first = rows_of(reps=20, store=tmp_path / "s")
    both = rows_of(reps=30, store=tmp_path / "s")
    same(both, rows_of(reps=30))
    same(first, both[both["rep"] < 20].reset_index(drop=True))
    same(rows_of(reps=70, store=tmp_path / "s"), rows)


def test_a_second_run_computes_nothing(tmp_path):
    rows_of(reps=20, store=tmp_path / "s")
    written = {f: f.stat().st_mtime_ns for f in tmp_path.glob("s/cells/**/*.parquet")}
    rows_of(reps=20, store=tmp_path / "s")
    assert written == {f: f.stat().st_mtime_ns for f in tmp_path.glob("s/cells/**/*.parquet")}


def test_an_added_estimator_cell_or_dgp_leaves_the_others_as_they_were(rows, store, tmp_path):
    shutil.copytree(store, tmp_path / "s")
    larger = Study(
        {"normal": draw, "constant": constant_dgp()},
        {"exact": exact_estimator(), **ESTIMATORS},
        [Design({"mean": 0.5}), *STUDY.designs],
    )
    found = rows_of(larger, store=tmp_path / "s")
    kept = found[
        (found["dgp"] == "normal") & (found["mean"] != 0.5) & (found["estimator"] != "exact")
    ]
    same(kept.reset_index(drop=True), rows)


def test_one_and_one_point_zero_are_one_cell(tmp_path):
    as_float = rows_of(Study({"normal": draw}, ESTIMATORS, [Design({"mean": 1.0})]), store=tmp_path)
    blocks = sorted(tmp_path.glob("cells/**/*.parquet"))
    as_int = rows_of(Study({"normal": draw}, ESTIMATORS, [Design({"mean": 1})]), store=tmp_path)
    assert sorted(tmp_path.glob("cells/**/*.parquet")) == blocks
    same(as_int.drop(columns="mean"), as_float.drop(columns="mean"))


def test_a_factor_added_at_its_default_moves_no_cell(tmp_path):
    def with_shift(key, design):
        return draw(key, design)

    bare = Study({"d": with_shift}, {"native": native_mean}, [Design({"mean": 0.0})])
    wider = [Design({"mean": 0.0, "rho": rho}, defaults={"rho": 0.0}) for rho in (0.0, 0.5)]
    before = rows_of(bare, store=tmp_path)
    after = rows_of(Study({"d": with_shift}, {"native": native_mean}, wider), store=tmp_path)
    same(after[after["rho"] == 0.0].drop(columns="rho").reset_index(drop=True), before)


def test_estimators_of_a_cell_see_the_same_samples(rows):
    means = rows.pivot(index=["mean", "rep"], columns="estimator", values="value")
    assert np.abs(means["host"] - means["native"]).max() < 0.1
    assert means["native"].std() > 0.15


def test_every_replication_has_its_own_random_state(rows):
    host = rows[rows["estimator"] == "host"].pivot(index="rep", columns="mean", values="value")
    native = rows[rows["estimator"] == "native"].pivot(index="rep", columns="mean", values="value")
    noise = (host - native).to_numpy().ravel()
    assert len(np.unique(noise)) == len(noise)


@pytest.mark.parametrize("rep", [0, 17, 69])
def test_a_replayed_replication_gives_its_row(rows, store, rep):
    cell = mcsim.open(store).study["cells"][1]["hash"]
    sample, replayed = replay(STUDY, store, cell[:12], rep)
    assert len(sample) == 30
    assert (replayed["value"] == replayed["stored"]).all()
    stored = rows[(rows["mean"] == 1.0) & (rows["rep"] == rep)]
    assert sorted(replayed["value"]) == sorted(stored["value"])


def test_replay_keeps_estimands_of_one_estimator_apart(tmp_path):
    def moments(key, panel):
        y = panel["y"]
        return {"mean": Estimate(y.mean(), 1.0), "sd": Estimate(y.std(), 1.0)}

    study = Study(dgp=constant_dgp(truth=1.0), estimators={"moments": moments})
    with pytest.warns(UserWarning, match="truth of its"):
        run(study, reps=4, store=tmp_path / "store", workers=0, progress=False)
    cell = mcsim.open(tmp_path / "store").study["cells"][0]["hash"]
    _, rows = replay(study, tmp_path / "store", cell, 3)
    assert rows["estimand"].tolist() == ["mean", "sd"]
    np.testing.assert_array_equal(rows["value"], rows["stored"])


def test_a_dgp_that_draws_from_numpy_is_warned_of(tmp_path):
    def frozen(key, design):
        return Sample(
            Panel({"y": jnp.asarray(np.random.default_rng().normal(size=50))}), {"mean": 0.0}
        )

    with pytest.warns(UserWarning, match="all replications are the same sample; draw from the key"):
        run(Study(frozen, native_mean), reps=4, store=tmp_path, workers=0, progress=False)


def test_stored_blocks_are_whole(tmp_path):
    rows_of(reps=5, store=tmp_path)
    sizes = {f.name: len(pd.read_parquet(f)) for f in tmp_path.glob("cells/**/*.parquet")}
    assert sizes == {"r0000000-0001023.parquet": 1024, "r0000000-0000063.parquet": 64}


SCRIPT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
import os, sys, time
import numpy as np
import jax, jax.numpy as jnp
import mcsim
from mcsim import Estimate, Panel, Sample, Study, grid

def draw(key, design):
    return Sample(Panel({"y": design["mean"] + jax.random.normal(key, (30, 1))}), {"mean": 0.0})

def native(key, panel):
    return {"mean": Estimate(panel["y"].mean(), panel["y"].std())}

@mcsim.host(estimand="mean")
def slow(rng, frame):
    time.sleep(float(os.environ["PAUSE"]))
    return Estimate(frame["y"].mean() + rng.normal(), 0.2)

study = Study({"normal": draw}, {"native": native, "slow": slow}, grid(mean=[0.0, 0.5, 1.0]))
if __name__ == "__main__":
    print("started", flush=True)
    mcsim.run(study, reps=300, store=sys.argv[1], workers=2, progress=False)
    print("finished", flush=True)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "study_script.py"
    path.write_text(SCRIPT)
    return path


def start(file, store, pause):
    process = subprocess.Popen(
        [sys.executable, str(file), str(store)],
        env={**os.environ, "PAUSE": str(pause)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def wait_for_blocks(store, n, process):
    deadline = time.monotonic() + 60
    while len(list(store.glob("cells/**/*.parquet"))) < n and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def members_of(group):
    """Processes of a session that are still there, zombies aside."""
    found = []
    for stat in os.scandir("/proc"):
        if stat.name.isdigit():
            try:
                with open(f"/proc/{stat.name}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == group and fields[0] != "Z":
                found.append(int(stat.name))
    return found


def assert_no_process_is_left(group):
    deadline = time.monotonic() + 5
    while members_of(group):
        assert time.monotonic() < deadline, f"orphans: {members_of(group)}"
        time.sleep(0.05)


def finish(file, store):
    done = subprocess.run(
        [sys.executable, str(file), str(store)],
        env={**os.environ, "PAUSE": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return mcsim.open(store).replicates


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for orphans in /proc")
def test_killed_at_random_and_resumed_is_the_uninterrupted_run(tmp_path, file):
    rng = np.random.default_rng(0)
    whole = finish(file, tmp_path / "whole")
    store = tmp_path / "killed"
    for _ in range(6):
        process = start(file, store, 0.002)
        wait_for_blocks(store, 1, process)
        time.sleep(float(rng.uniform(0.0, 0.7)))
        process.kill()
        process.communicate()
        assert_no_process_is_left(process.pid)
    same(finish(file, store), whole)
    assert not (store / "quarantine").exists()


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for orphans in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_soon_leaves_no_process_and_can_go_on(tmp_path, file, number):
    store = tmp_path / "interrupted"
    process = start(file, store, 0.05)
    wait_for_blocks(store, 1, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert "finished" not in out  # it did not go on to the end, however slow the machine
    if number == signal.SIGINT:
        last = err.splitlines()[-1]
        assert last.startswith("KeyboardInterrupt: interrupted at ")
        assert last.endswith("the same call continues from them")
    assert_no_process_is_left(process.pid)
    rows = finish(file, store)
    assert (rows["status"] == "ok").all()
    assert len(rows) == 3 * 2 * 300


@pytest.mark.slow
def test_two_runs_at_once_on_one_store(tmp_path, file):
    processes = [start(file, tmp_path / "shared", 0.001) for _ in range(2)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (out, err) == ("finished\n", "")
    same(mcsim.open(tmp_path / "shared").replicates, finish(file, tmp_path / "alone"))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"reps": 0}, "reps: got 0"),
        ({"reps": -5}, "reps: got -5"),
        ({"workers": -1}, "workers: got -1"),
        ({"seed": -1}, "seed: got -1"),
    ],
)
def test_arguments_that_make_no_run(tmp_path, options, match):
    with pytest.raises(InputError, match=match):
        run(STUDY, **{"store": tmp_path / "s", "progress": False, **options})
    assert not (tmp_path / "s").exists()


def test_an_estimand_without_truth_is_told(tmp_path):
    def estimator(key, panel):
        return {"maen": Estimate(panel["y"].mean(), 0.1)}

    study = Study({"normal": draw}, {"e": estimator}, [Design({"mean": 0.0})])
    with pytest.warns(UserWarning, match="truth of its estimand 'maen'; did you mean 'mean'"):
        rows = rows_of(study, reps=3)
    assert rows["truth"].isna().all()
    assert (rows["status"] == "ok").all()


def test_an_estimand_of_a_host_function_without_truth_is_told():
    @mcsim.host(estimand="maen")
    def estimator(frame):
        return Estimate(frame["y"].mean(), 0.1)

    study = Study({"normal": draw}, {"e": estimator}, [Design({"mean": 0.0})])
    with pytest.warns(UserWarning, match="truth of its estimand 'maen'; did you mean 'mean'"):
        rows_of(study, reps=3)


def test_an_unnamed_estimate_is_of_the_only_estimand():
    study = Study(
        {"normal": draw}, {"e": lambda key, panel: Estimate(panel["y"].mean())}, STUDY.designs
    )
    rows = rows_of(study, reps=2)
    assert rows["estimand"].unique().tolist() == ["mean"]
    assert (rows["truth"] == rows["mean"]).all()


def test_what_is_wrong_with_any_part_is_told_before_anything_is_computed(tmp_path):
    def branching(key, panel):
        return Estimate(1.0 if panel["y"].sum() > 0 else 0.0)

    study = Study({"normal": draw}, {"fine": native_mean, "branching": branching}, STUDY.designs)
    with pytest.raises(InputError, match="estimator 'branching': it cannot be traced"):
        rows_of(study, store=tmp_path)
    assert not list(tmp_path.glob("cells/**/*.parquet"))


def test_the_users_random_state_is_left_alone():
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.RandomState(3).normal()
    rows_of(reps=2)
    assert np.random.normal() == expected  # noqa: NPY002
