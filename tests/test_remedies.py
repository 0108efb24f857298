"""A fault carries its remedy apart, which Python and the command line word each for its users."""

import pickle

import pandas as pd
import pytest

import mcsim
from mcsim.cli._frames import options_named
from mcsim.errors import Fault, InputError, Option, raise_all

TEXTS = pd.DataFrame({"y": [1.0, 2.0, 3.0], "kind": ["it's", "v", "it's"], "z": ["u", "v", "w"]})
PYTHON = "declare it with categorical=['z'] or leave it out with columns=[...]"
COMMANDS = "declare it with --categorical z or leave it out with --columns naming the others"


def test_an_error_holds_its_faults_and_their_remedies():
    with pytest.raises(InputError, match=r"2 faults:\n  - column 'kind'.*\n.*column 'z'") as caught:
        mcsim.from_frame(TEXTS)
    first, second = caught.value.faults
    assert str(second) == f"column 'z': got values like 'u', expected numbers; {PYTHON}"
    assert isinstance(first, Fault)
    assert first.text == "column 'kind': got values like \"it's\", expected numbers"
    assert [piece.name for piece in first.remedy if isinstance(piece, Option)] == [
        "categorical", "columns",
    ]  # fmt: skip


def test_the_command_line_words_remedies_by_the_options_they_hold():
    with pytest.raises(InputError) as caught, options_named():
        mcsim.from_frame(TEXTS)
    assert COMMANDS in str(caught.value)
    assert "--categorical it's" not in str(caught.value)  # a column is named, not its values
    assert "--categorical kind or" in str(caught.value)


def test_text_that_looks_like_an_option_is_left_alone():
    """Names and values of users are no remedies."""
    frame = pd.DataFrame({"y": [1.0], "categorical=['y']": ["panel.select(['y'])"]})
    with pytest.raises(InputError) as caught, options_named():
        mcsim.from_frame(frame)
    assert "column \"categorical=['y']\": got values like" in str(caught.value)
    assert "\"panel.select(['y'])\"" in str(caught.value)


def test_errors_travel_between_processes_with_their_faults():
    error = InputError("reps: got 0", remedy=["write ", Option("reps=10", "reps", 10)])
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "reps: got 0; write reps=10"
    (fault,) = again.faults
    assert fault.worded({"reps": "--reps {}".format}, {}) == "reps: got 0; write --reps 10"


def test_one_fault_alone_is_the_message():
    with pytest.raises(InputError, match=r"^a: b; c$") as caught:
        raise_all([Fault("a: b", "c")])
    assert caught.value.faults == ("a: b; c",)
