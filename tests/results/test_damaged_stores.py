"""Whatever becomes of the files of a store: a sentence or the same numbers, never a traceback."""

import json
import os
import random
import shutil
import signal
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jax
import pandas as pd
import pytest

import mcsim
from command_line import mcsim_command
from mcsim import Estimate, Panel, Sample, Study, grid, run
from mcsim._core.keys import digest
from mcsim.errors import McsimError
from mcsim.report import notes

REPS = 8


@dataclass(frozen=True)
class Located:
    """A DGP whose truth is computed once, with an error, and differs between cells."""

    def __call__(self, key, design):
        return Sample(Panel({"y": design["rho"] + jax.random.normal(key, (5, 1))}), {})

    def truth(self, key, design):
        return {"mean": (float(design["rho"]), 0.125)}


@dataclass(frozen=True)
class Mean:
    """A native estimator that says something of the panels."""

    def __call__(self, key, panel):
        return {"mean": Estimate(panel["y"].mean(), 0.4)}

    def diagnose(self, panel):
        return {"units above zero": (panel["y"] > 0).sum()}


@mcsim.host(estimand="mean")
def median(frame):
    if frame["y"].iloc[0] > 1.5:
        raise ValueError("no convergence")
    return Estimate(frame["y"].median(), 0.5)


STUDY = Study({"d": Located()}, {"mean": Mean(), "median": median}, grid(rho=[0.0, 0.5]))


def resume(store):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*failed: ValueError: no convergence")
        return run(STUDY, reps=REPS, store=store, workers=0, progress=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    store = tmp_path_factory.mktemp("finished") / "store"
    results = resume(store)
    shown = mcsim_command("show", store)
    assert shown.returncode == 0, shown.stderr
    return store, results, without_notes(shown.stdout)


# Damage: each takes a file of the store, and a source of chance


def flip_bits(file, chance):
    content = bytearray(file.read_bytes())
    for _ in range(chance.choice([1, 1, 1, 20])):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.write_bytes(content)


def truncate(file, chance):
    content = file.read_bytes()
    file.write_bytes(content[: chance.randrange(len(content))])


def empty(file, _):
    file.write_bytes(b"")


def remove(file, _):
    file.unlink()


def swap(file, chance):
    """Exchange two files: of one role, where there are."""
    others = [other for other in files_of(root_of(file)) if other != file]
    other = chance.choice([one for one in others if role_of(one) == role_of(file)] or others)
    mine, its = file.read_bytes(), other.read_bytes()
    file.write_bytes(its)
    other.write_bytes(mine)


def overwrite(file, chance):
    texts = [b"{}", b"[]", b"null", b"NaN", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 3_000 + b"1"]
    texts += [b'{"a": 1, "a": 2}', b"1" * 5_000, chance.randbytes(500), b"PAR1" + b"\0" * 50]
    file.write_bytes(chance.choice(texts))


def mistype(file, chance):
    """Give a field another type, under a checksum that is right; of a block, change its bytes."""
    if (content := content_of(file)) is None:
        return flip_bits(file, chance)
    holder, name = chance.choice(list(leaves(content)))
    holder[name] = chance.choice(
        [value for value in (None, [1], {"a": 1}) if type(value) is not type(holder[name])]
        if isinstance(holder[name], (str, float))
        else [None, "../..", -1.5]
    )
    file.write_text(json.dumps({**content, "sha256": digest(content)}))


def lose_a_field(file, chance):
    if (content := content_of(file)) is None:
        return truncate(file, chance)
    del content[chance.choice(list(content))]
    file.write_text(json.dumps({**content, "sha256": digest(content)}))


def make_a_pipe(file, _):
    file.unlink()
    os.mkfifo(file)


def make_a_folder(file, chance):
    file.unlink()
    file.mkdir()
    if chance.random() < 0.5:
        (file / "inside").write_text("text")


def make_a_device(file, _):
    file.unlink()
    file.symlink_to("/dev/zero")


def make_a_loop(file, _):
    file.unlink()
    file.symlink_to(file.name)


def put_a_file_for_its_folder(file, _):
    folder = file.parent
    if folder == root_of(file):
        return file.write_bytes(b"")
    shutil.rmtree(folder)
    folder.write_text("text")


DAMAGES = [
    flip_bits, flip_bits, truncate, empty, remove, swap, overwrite, mistype, mistype, lose_a_field,
    make_a_pipe, make_a_folder, make_a_device, make_a_loop, put_a_file_for_its_folder,
]  # fmt: skip


def content_of(file):
    """What a JSON file holds, but for its checksum; None of a block, or if it is damaged."""
    try:
        content = json.loads(file.read_bytes())
    except ValueError:
        return None
    return content if isinstance(content, dict) and content.pop("sha256", None) else None


def leaves(tree):
    """Yield (holder, name) of everything in a tree of JSON."""
    for name, part in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield tree, name
        if isinstance(part, (dict, list)):
            yield from leaves(part)


def root_of(file):
    return next(folder for folder in file.parents if folder.name == "store")


def role_of(file):
    """What a file is in a store: ``truth.json``, ``runs``, ``.parquet``."""
    top = file.relative_to(root_of(file)).parts[0]
    return file.suffix if file.suffix == ".parquet" else file.name if top == "cells" else top


def files_of(store):
    return sorted(
        file for file in store.rglob("*") if file.is_file() and "models" not in file.parts
    )


# What must hold


@contextmanager
def no_longer_than(seconds):
    def stop(*_):
        raise AssertionError(f"it takes longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def attempt(step, store):
    """Return (results, warned); no results where the step ends in a sentence."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            return step(store), bool(caught)
        except McsimError as error:
            sentence = str(error)
    assert len(sentence) < 2_000
    return None, True


def without_notes(text):
    """A table and what stands under it, without what estimators say of panels: no row of theirs."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("Note:"))


def assert_same_rows(some, all_rows):
    keys = ["dgp", "rho", "estimator", "estimand", "inference", "rep"]
    there = all_rows.merge(some[keys].drop_duplicates(), on=keys)
    order = [*keys]
    left, right = (frame.sort_values(order, ignore_index=True) for frame in (some, there))
    pd.testing.assert_frame_equal(left, right, check_exact=True)


def check(store, finished):
    """Open, show and resume a damaged store; say what became of each."""
    _, expected, shown = finished
    results, warned = attempt(mcsim.open, store)
    outcome = ["refused" if results is None else "opened"]
    if results is not None:
        assert_same_rows(results.replicates, expected.replicates)
        pd.testing.assert_frame_equal(results.truth, expected.truth)
        fewer = len(results.replicates) < len(expected.replicates)
        assert not fewer or warned or "INCOMPLETE" in notes(results)
    done = mcsim_command("show", store)
    assert "Traceback" not in done.stderr
    assert (done.returncode == 0) == (results is not None)
    if done.returncode == 0 and not done.stderr and "INCOMPLETE" not in done.stdout:
        assert without_notes(done.stdout) == shown
    results, _ = attempt(resume, store)
    outcome.append("refused" if results is None else "completed")
    if results is not None:
        pd.testing.assert_frame_equal(results.replicates, expected.replicates, check_exact=True)
        pd.testing.assert_frame_equal(results.truth, expected.truth)
    return outcome


def damaged_copy(original, folder, number):
    """Return a copy of a store with one or two damaged files, and what was done to them."""
    chance = random.Random(number)
    store = Path(shutil.copytree(original, folder / str(number) / "store"))
    done = []
    for _ in range(chance.choice([1, 1, 2])):
        files = files_of(store)
        role = chance.choice(sorted({role_of(file) for file in files}))
        file = chance.choice([file for file in files if role_of(file) == role])
        damage = DAMAGES[number % len(DAMAGES)] if not done else chance.choice(DAMAGES)
        damage(file, chance)
        done.append(f"{damage.__name__} {file.relative_to(store)}")
    return store, done


def check_all(numbers, finished, folder):
    outcomes = []
    for number in numbers:
        store, done = damaged_copy(finished[0], folder, number)
        try:
            with no_longer_than(60):
                outcomes.append(check(store, finished))
        except Exception as error:
            error.add_note(f"damage {number}: {done}")
            raise
        shutil.rmtree(store.parent)
    return outcomes


@pytest.mark.parametrize("start", range(0, 60, 15))
def test_sixty_damaged_stores(finished, tmp_path, start):
    outcomes = check_all(range(start, start + 15), finished, tmp_path)
    assert {opened for opened, _ in outcomes} == {"refused", "opened"}
    assert sum(resumed == "completed" for _, resumed in outcomes) > 5


@pytest.mark.slow
@pytest.mark.parametrize("start", range(60, 360, 30))
def test_three_hundred_damaged_stores(finished, tmp_path, start):
    check_all(range(start, start + 30), finished, tmp_path)
