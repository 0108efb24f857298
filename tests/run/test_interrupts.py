"""An interrupt of `run` (Ctrl-C, a notebook's button): what is kept, and the sentence about it."""

import re
import signal
import threading
import time

import pytest

import mcsim
from mcsim import Estimate, Study
from mcsim._run.progress import Progress
from mcsim.testing import constant_dgp

REPS = 64  # four blocks of the fixture


@mcsim.host(estimand="mean")
def slow(frame):
    return Estimate(0.1 * frame["y"].mean(), 0.2)


STUDY = Study(constant_dgp(), {"slow": slow})


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


@pytest.mark.slow
def test_the_button_of_a_notebook(tmp_path):
    """A kernel of Jupyter is interrupted while worker processes run."""
    pytest.importorskip("ipykernel")
    manager = pytest.importorskip("jupyter_client.manager")
    kernel, client = manager.start_new_kernel(kernel_name="python3")
    try:
        said = executed(client, SETUP.format(store=str(tmp_path / "s")), lambda _: None)
        assert said == []
        once = threading.Event()

        def press(message):
            if (
                "bias" in message["content"].get("data", {}).get("text/plain", "")
                and not once.is_set()
            ):
                once.set()
                kernel.interrupt_kernel()

        said = executed(client, "mcsim.run(study, reps=600, store=store, workers=2)", press)
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
    shown = [m["content"]["data"]["text/plain"] for m in said if "data" in m["content"]]
    assert shown[0] == "starting 2 workers, planning the study"
    ids = {m["content"]["transient"]["display_id"] for m in said if "data" in m["content"]}
    assert len(ids) == 1  # one line, replaced
    (error,) = [m["content"] for m in said if m["msg_type"] == "error"]
    assert error["ename"] == "KeyboardInterrupt"
    assert error["evalue"].startswith("interrupted at ")
    assert len(error["traceback"]) == 1
    assert 0 < len(mcsim.open(tmp_path / "s").replicates) < 600


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


def executed(client, code, look):
    """Execute code in a kernel and return its outputs, each of which was looked at."""
    name, outputs, deadline = client.execute(code), [], time.monotonic() + 120
    while True:
        message = client.get_iopub_msg(timeout=max(1.0, deadline - time.monotonic()))
        if message["parent_header"].get("msg_id") != name:
            continue
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            return outputs
        if message["msg_type"] in ("display_data", "update_display_data", "error"):
            outputs.append(message)
            look(message)
