"""Promise 3: whatever a function does, its replication has a row with a status."""

import functools
import inspect
import json
import linecache
import os
import random
import re
import sys
import time
import traceback
import warnings

import jax
import numpy as np
import pandas as pd
import pytest

import mcsim
from mcsim import Estimate, Panel, Sample, Status, Study, run
from mcsim._run.replay import replay
from mcsim.errors import InputError


def draw(key, design):
    return Sample(Panel({"y": jax.random.normal(key, (10, 1))}), {"mean": 0.0})


def lifted(function, **options):
    return mcsim.host(estimand="mean", **options)(function)


def is_hit(frame):
    """About one sample in eight."""
    return frame["y"].iloc[0] > 1.15


def is_rarely_hit(frame):
    """About one sample in twenty: each costs a process, which starts anew."""
    return frame["y"].iloc[0] > 1.65


def fine(frame):
    return Estimate(frame["y"].mean(), 0.3)


def no_number(frame):
    return Estimate(np.nan if is_hit(frame) else frame["y"].mean(), 0.3)


def infinite(frame):
    return Estimate(np.inf if is_hit(frame) else frame["y"].mean(), 0.3)


def raising(frame):
    if is_hit(frame):
        raise ValueError("no convergence")
    return fine(frame)


class Stubborn(Exception):
    """Cannot be pickled, nor rebuilt."""

    def __init__(self, one, two):
        super().__init__(lambda: (one, two))


def unpicklable(frame):
    if is_hit(frame):
        raise Stubborn(1, 2)
    return fine(frame)


def interrupting(frame):
    if is_hit(frame):
        raise KeyboardInterrupt
    return fine(frame)


class Stop(BaseException):
    """What some solvers raise to stop."""


def stopping(frame):
    if is_hit(frame):
        raise Stop
    return fine(frame)


def closing_its_output(frame):
    if is_hit(frame):
        sys.stdout.close()
        raise ValueError("after the end")
    return fine(frame)


def leaving(frame):
    if is_hit(frame):
        sys.exit(0)
    return fine(frame)


def out_of_memory(frame):
    if is_hit(frame):
        raise MemoryError
    return fine(frame)


def wrong_type(frame):
    return "0.3" if is_hit(frame) else fine(frame)


def wrong_status(frame):
    return Estimate(1.0, status=77) if is_hit(frame) else fine(frame)


def telling(frame):
    return Estimate(1.0, status=Status.NONCONVERGED) if is_hit(frame) else fine(frame)


def dying(frame):
    if is_hit(frame):
        os._exit(3)
    return fine(frame)


def dying_politely(frame):
    if is_rarely_hit(frame):
        os._exit(0)
    return fine(frame)


def crashing(frame):
    if is_rarely_hit(frame):
        os.kill(os.getpid(), 11)
    return fine(frame)


def hanging(frame):
    if is_rarely_hit(frame):
        time.sleep(3600)
    return fine(frame)


def changing(frame):
    frame["y"] = 0.0
    frame.drop(columns="y", inplace=True)
    return Estimate(0.0, 0.3)


def chatting(frame):
    warnings.warn("a warning", stacklevel=1)
    for _ in range(2000):
        print("a line", file=sys.stderr)
    print("x" * 10**6)
    return fine(frame)


def with_global_state(frame):
    return Estimate(np.random.normal() + random.random(), 0.3)  # noqa: NPY002


def rows_of(estimators, reps=64, workers=2, **options):
    study = Study({"normal": draw}, estimators)
    return run(study, reps=reps, workers=workers, progress=False, **options).replicates


@pytest.fixture(scope="module")
def good():
    return rows_of({"e": lifted(fine)}, workers=0)


def check_failures(rows, good, status):
    """Hit replications have the status and no numbers, the others what they had."""
    assert rows["rep"].tolist() == list(range(len(good)))
    assert rows["estimand"].eq("mean").all()
    failed = rows["status"] == status
    assert 2 <= failed.sum() <= 20
    assert rows.loc[failed, ["value", "se", "lower", "upper", "p_value"]].isna().all(axis=None)
    pd.testing.assert_frame_equal(rows[~failed], good[~failed], check_exact=True)


def rows_of_failing(function, cause, workers=0, **options):
    """Return the rows of an estimator that fails in a few of 64 replications, and says why."""
    with pytest.warns(UserWarning, match=rf"^e: \d+ of 64 failed: {re.escape(cause)}"):
        return rows_of({"e": lifted(function, **options)}, workers=workers)


@pytest.mark.parametrize(
    ("function", "status", "cause"),
    [
        (no_number, "nan", "nan"),
        (infinite, "nan", "nan"),
        (raising, "error", "ValueError: no convergence"),
        (unpicklable, "error", "Stubborn: <function"),
        (leaving, "error", "SystemExit: 0"),
        (interrupting, "error", "KeyboardInterrupt"),
        (stopping, "error", "Stop"),
        (closing_its_output, "error", "ValueError: after the end"),
        (out_of_memory, "oom", "oom: MemoryError"),
        (wrong_type, "error", "ContractError: the estimator returned str, which mcsim does not"),
        (wrong_status, "error", "ContractError: the estimate's status is 77"),
        (telling, "nonconverged", "nonconverged"),
    ],
)
def test_failures_in_the_function(good, function, status, cause):
    check_failures(rows_of_failing(function, cause), good, status)


FAILING = [raising, unpicklable, leaving, interrupting, stopping, out_of_memory]


@functools.cache
def rows_of_all_failing(workers):
    """Return the rows of estimators that fail, each in its own way, in one run."""
    with pytest.warns(UserWarning, match="of 64 failed: ") as caught:
        rows = rows_of({f.__name__: lifted(f) for f in FAILING}, workers=workers)
    sentences = sorted(str(warning.message) for warning in caught)
    names = sorted(f.__name__ for f in FAILING)
    for name, sentence in zip(names, sentences, strict=True):
        assert re.match(rf"{name}: \d+ of 64 failed: ", sentence)
    return rows.groupby("estimator")


@pytest.mark.parametrize("function", FAILING)
@pytest.mark.slow
def test_failures_in_a_worker_are_the_same(function):
    one, other = (rows_of_all_failing(workers).get_group(function.__name__) for workers in (0, 2))
    assert len(one) == 64
    pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.mark.slow
@pytest.mark.parametrize("function", [dying, dying_politely, crashing])
def test_a_worker_that_dies_costs_one_replication(good, function):
    rows = rows_of_failing(function, "crashed: its worker process died: ", workers=3)
    check_failures(rows, good, "crashed")


@pytest.mark.slow
def test_a_hang_is_stopped(good):
    rows = rows_of_failing(hanging, "timeout: stopped after 1.0 seconds", workers=4, timeout=1.0)
    check_failures(rows, good, "timeout")


@pytest.mark.slow
def test_imports_do_not_count_against_a_timeout(tmp_path, monkeypatch):
    (tmp_path / "slow_import.py").write_text("import time\ntime.sleep(4)\nvalue = 0.25\n")
    monkeypatch.syspath_prepend(tmp_path)
    import slow_import  # type: ignore[import-not-found]

    def estimator(frame):
        return Estimate(slow_import.value * frame["y"].mean(), 0.3)

    rows = rows_of({"e": lifted(estimator, timeout=3.0)}, reps=4)
    assert rows["status"].eq("ok").all()


@pytest.mark.slow
def test_everything_at_once_changes_no_other_row(good):
    functions = [raising, dying, telling, changing, chatting, fine]
    with pytest.warns(UserWarning, match="failed") as caught:
        rows = rows_of({f.__name__: lifted(f) for f in functions}, reps=96, workers=4)
    assert len(caught) == 3
    assert rows.groupby("estimator").size().eq(96).all()
    for name in ("fine", "chatting"):
        mine = rows[(rows["estimator"] == name) & (rows["rep"] < 64)].reset_index(drop=True)
        pd.testing.assert_frame_equal(mine.assign(estimator="e"), good, check_exact=True)


def test_a_changed_frame_is_its_own(good):
    rows = rows_of({"changing": lifted(changing), "e": lifted(fine)}, workers=0)
    mine = rows[rows["estimator"] == "e"].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, good, check_exact=True)


def test_chatter_of_workers_stays_away_from_the_terminal(good, capfd):
    pd.testing.assert_frame_equal(rows_of({"e": lifted(chatting)}, workers=1), good)
    assert capfd.readouterr() == ("", "")


def test_prints_are_seen_where_no_worker_is(good, capfd):
    def printing(frame):
        print("to stdout")
        print("to stderr", file=sys.stderr, flush=True)
        return fine(frame)

    pd.testing.assert_frame_equal(rows_of({"e": lifted(printing)}, workers=0), good)
    assert capfd.readouterr() == ("to stdout\n" * 64, "to stderr\n" * 64)


def test_global_random_state_is_seeded_for_every_replication():
    forward = rows_of({"e": lifted(with_global_state)}, reps=128, workers=0)
    alone = rows_of({"e": lifted(with_global_state)}, reps=10, workers=0)
    assert forward["value"].nunique() == 128
    pd.testing.assert_frame_equal(forward[:10], alone, check_exact=True)


def test_a_failure_is_recorded_with_the_way_to_replay_it(tmp_path):
    with pytest.warns(UserWarning, match="ValueError: no convergence"):
        rows = rows_of({"e": lifted(raising)}, workers=0, store=tmp_path / "a store")
    files = sorted(tmp_path.glob("a store/failures/*/*/*.json"))
    records = [json.loads(file.read_text()) for file in files]
    (first,) = records  # one text
    assert first["reps"] == rows.loc[rows["status"] == "error", "rep"].tolist()
    assert first["rep"] == first["reps"][0]
    assert (first["estimator"], first["status"]) == ("e", "error")
    assert first["reason"] == "ValueError: no convergence"
    assert "ValueError: no convergence" in first["trouble"]
    assert "raise ValueError" in first["trouble"]
    cell = mcsim.open(tmp_path / "a store").study["cells"][0]["hash"]
    command = f"mcsim replay FILE --store '{tmp_path}/a store' --cell {cell[:12]} --rep"
    assert first["replay"].startswith(command)


def test_a_traceback_names_the_line_of_the_user_in_workers_replay_and_estimate(tmp_path):
    lines, first = inspect.getsourcelines(raising)
    source = 'raise ValueError("no convergence")'
    line = first + next(i for i, text in enumerate(lines) if source in text)
    place = f'File "{__file__}", line {line}, in raising\n    {source}'

    study = Study({"normal": draw}, {"e": lifted(raising)})
    for workers in (0, 2):
        with pytest.warns(UserWarning, match="ValueError: no convergence"):
            run(study, reps=64, workers=workers, progress=False, store=tmp_path / str(workers))
        files = sorted((tmp_path / str(workers)).glob("failures/*/*/*.json"))
        records = [json.loads(file.read_text()) for file in files]
        assert records
        assert all(place in record["trouble"] for record in records)

    cell = mcsim.open(tmp_path / "0").study["cells"][0]["hash"]
    with pytest.warns(UserWarning, match="no convergence") as caught:
        replay(study, tmp_path / "0", cell, records[0]["rep"])
    assert place in str(caught[0].message)

    with pytest.raises(ValueError, match="no convergence") as error:
        mcsim.estimate(lifted(raising), Panel({"y": np.full((10, 1), 2.0)}))
    assert place in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_traceback_shows_the_line_of_a_function_that_is_in_no_file(workers, tmp_path):
    """Cells of a notebook, say: workers cannot read them."""
    name, source = "<cell 7>", "def cell(frame):\n    raise ValueError('in a cell')\n"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    module = {"__name__": "__main__"}
    exec(compile(source, name, "exec"), module)
    with pytest.warns(UserWarning, match="in a cell"):
        rows_of({"e": lifted(module["cell"])}, workers=workers, store=tmp_path)
    record = json.loads(next(tmp_path.glob("failures/*/*/*.json")).read_text())
    place = f"File \"{name}\", line 2, in cell\n    raise ValueError('in a cell')"
    assert place in record["trouble"]


@mcsim.host
def five_normals(rng, design):
    return pd.DataFrame({"y": rng.normal(size=5)}), {"mean": 0.5}


def test_a_block_without_any_success_has_the_labels_of_the_others(tmp_path):
    calls = tmp_path / "calls"  # a file: functions have their globals back in every block

    @mcsim.host
    def failing_in_odd_blocks(frame):
        with calls.open("a") as file:
            file.write("x")
        if (calls.stat().st_size - 1) // 64 % 2 == 1:
            raise ValueError
        mean = frame["y"].mean()
        return {"mean": Estimate(mean, 0.3), ("mean", "HC1"): Estimate(mean, 0.4)}

    study = Study({"d": five_normals}, {"e": failing_in_odd_blocks})
    with pytest.warns(UserWarning, match="e: 64 of 128 failed: ValueError$"):
        rows = run(study, reps=128, workers=0, progress=False).replicates
    failed = rows[rows["status"] == "error"]
    assert len(rows) == 256
    assert failed.groupby("inference").size().to_dict() == {"": 64, "HC1": 64}
    assert failed["estimand"].eq("mean").all()
    assert failed["truth"].eq(0.5).all()


@pytest.mark.slow
def test_processes_that_die_before_any_work_end_the_run_with_a_sentence(monkeypatch):
    monkeypatch.setattr("mcsim._host.pool.watch_parent", os.abort)
    with pytest.raises(mcsim.errors.McsimError, match=r"died .* times before they took a task"):
        rows_of({"e": lifted(fine)}, workers=1)


def test_a_function_that_cannot_travel_is_told(tmp_path):
    lock = __import__("threading").Lock()

    def locked(frame):
        with lock:
            return fine(frame)

    with (
        pytest.raises(InputError, match="'locked' cannot be sent to worker processes"),
        pytest.warns(UserWarning, match="definition of an object of type lock"),
    ):
        rows_of({"e": lifted(locked)}, workers=0)
