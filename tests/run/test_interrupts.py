"""An interrupt of `run` (Ctrl-C, a notebook's button): what is kept, and the sentence about it."""

import re
import signal
import threading
import time

import pytest

import mcsim
from kernels import running_kernel
from mcsim import Estimate, Study
from mcsim._run.progress import Progress
from mcsim.testing import constant_dgp

REPS = 64  # four blocks of the fixture


@mcsim.host(estimand="mean")
def slow(frame):
    return Estimate(0.1 * frame["y"].mean(), 0.2)


STUDY = Study(constant_dgp(), {"slow": slow})


@pytest.fixture(autouse=True)
def taken():
    """Take interrupts also where a shell began the tests in the background, which ignores them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def pressed(small_blocks, monkeypatch):
    """Interrupt the main thread after the second block."""
    blocks, computed = [], Progress.computed

    def counted(display, plan, estimator, rows):
        computed(display, plan, estimator, rows)
        blocks.append(rows)
        if len(blocks) == 2:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(0.5)

    monkeypatch.setattr(Progress, "computed", counted)
    return blocks


def interrupted(**options):
    with pytest.raises(KeyboardInterrupt) as caught:
        mcsim.run(STUDY, reps=REPS, workers=0, progress=False, **options)
    return caught.value


def test_finished_blocks_are_kept_and_the_same_call_continues(tmp_path, pressed):
    store = tmp_path / "s"
    error = interrupted(store=store)
    kept = len(mcsim.open(store).replicates)
    assert 32 <= kept < REPS
    assert str(error) == (
        f"interrupted at {100 * kept / REPS:.0f} % of the study: finished blocks are in the store "
        f"{str(store)!r}; the same call continues from them"
    )
    before = len(pressed)
    whole = mcsim.run(STUDY, reps=REPS, workers=0, store=store, progress=False)
    assert len(whole.replicates) == REPS
    assert sum(map(len, pressed[before:])) == REPS - kept


@pytest.mark.usefixtures("pressed")
def test_without_a_store_nothing_is_kept_and_the_sentence_says_how():
    error = interrupted()
    assert re.match(r"interrupted at \d\d % of the study: nothing is kept", str(error))
    assert "run(..., store='my_study')" in str(error)
    assert error._render_traceback_() == [f"KeyboardInterrupt: {error}"]  # of a notebook
    assert error.__suppress_context__


def test_an_interrupt_before_the_first_replication(tmp_path, monkeypatch):
    monkeypatch.setattr("mcsim._run.run.plan", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    error = interrupted(store=tmp_path / "s")
    assert str(error).startswith("interrupted before the first replication: finished blocks are")


SETUP = """
import time
import mcsim
from mcsim.testing import constant_dgp
store = {store!r}

@mcsim.host(estimand="mean")
def slow(frame):
    time.sleep(0.02)
    return mcsim.Estimate(1.0 + 0.1 * frame["y"].mean(), 0.2)

study = mcsim.Study(constant_dgp(), dict(slow=slow))
"""


@pytest.mark.slow
def test_the_button_of_a_notebook(tmp_path):
    """A kernel is interrupted while worker processes run; its one line is replaced until then."""
    with running_kernel() as kernel:
        pressed = threading.Event()

        def press(message):
            if "bias" in message["content"]["data"]["text/plain"] and not pressed.is_set():
                pressed.set()
                kernel.interrupt()

        assert kernel.execute(SETUP.format(store=str(tmp_path / "s"))) == []
        cell = "mcsim.run(study, reps=600, store=store, workers=2)"
        *shown, error = kernel.execute(cell, lambda m: m["msg_type"] == "error" or press(m))
    lines = [message["content"]["data"]["text/plain"] for message in shown]
    assert lines[0] == "starting 2 workers, planning the study"
    assert len({message["content"]["transient"]["display_id"] for message in shown}) == 1
    assert error["content"]["ename"] == "KeyboardInterrupt"
    assert error["content"]["evalue"].startswith("interrupted at ")
    assert len(error["content"]["traceback"]) == 1
    assert 0 < len(mcsim.open(tmp_path / "s").replicates) < 600
