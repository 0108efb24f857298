"""JSON files of a store: a changed bit changes no result, and the sentence names the remedy."""

import builtins
import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import pandas as pd
import pytest

import mcsim
from command_line import mcsim_command
from mcsim import Panel, Sample, Study, grid, run
from mcsim._results.store_files import read_json, write_json
from mcsim.errors import InputError, StoreError
from mcsim.testing import exact_estimator


@dataclass(frozen=True)
class Computed:
    """A DGP whose truth is computed once, with an error."""

    def __call__(self, key, design):
        return Sample(Panel({"y": jax.random.normal(key, (10, 1))}), {})

    def truth(self, key, design):
        return {"mean": (0.25, 0.125)}


STUDY = Study({"d": Computed()}, {"e": exact_estimator()}, grid(rho=[0.5]), caveats=["A caveat."])


def run_in(store):
    return run(STUDY, reps=8, store=store, workers=0, progress=False)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    store = tmp_path_factory.mktemp("filled")
    return store, run_in(store)


def copy_of(filled, store):
    """Put a copy of the store that is filled there, and return its results."""
    shutil.copytree(filled[0], store, dirs_exist_ok=True)
    return filled[1]


FILES = {
    "truth.json": "cells/*/truth.json",
    "study.json": "studies/*/study.json",
    "cell.json": "cells/*/cell.json",
    "est.json": "cells/*/est/*/est.json",
    "STORE.json": "STORE.json",
    "run": "runs/*.json",
}


@pytest.mark.parametrize("name", FILES)
def test_no_flipped_bit_goes_unnoticed(filled, name, tmp_path):
    (file,) = filled[0].glob(FILES[name])
    held, noticed, copy = file.read_bytes(), 0, tmp_path / file.name
    content = read_json(file)
    assert "sha256" not in content
    for bit in range(8 * len(held)):
        changed = bytearray(held)
        changed[bit // 8] ^= 1 << bit % 8
        copy.write_bytes(changed)
        told = refusal(copy)
        noticed += told is not None
        assert str(copy) in told if told else read_json(copy) == content
    assert noticed > 0.9 * 8 * len(held)  # the others are layout


def refusal(file):
    try:
        read_json(file)
    except StoreError as error:
        return str(error)
    return None


REMEDIES = {
    "truth.json": "delete it and run its study again, which writes it anew",
    "study.json": "delete it and run its study again, which writes it anew",
    "cell.json": "delete it and run its study again, which writes it anew",
    "est.json": "delete it and run its study again, which writes it anew",
    "STORE.json": "put the STORE.json of another store of this version in its place",
    "run": "delete it: no row depends on it",
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"format": 2}', "{", "[" * 100_000, '{"sha256": "0"}', "\xff"]
)
def test_a_damaged_file_is_refused_and_its_remedy_helps(name, text, filled, tmp_path):
    before = copy_of(filled, tmp_path)
    (file,) = tmp_path.glob(FILES[name])
    held = file.read_bytes()
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(StoreError) as caught:
        mcsim.open(tmp_path)
    assert str(caught.value).startswith(f"store: {file} ")
    assert str(caught.value).endswith(REMEDIES[name])
    file.unlink()
    if name == "STORE.json":
        file.write_bytes(held)
    after = run_in(tmp_path)
    pd.testing.assert_frame_equal(after.replicates, before.replicates, check_exact=True)
    pd.testing.assert_frame_equal(mcsim.open(tmp_path).truth, before.truth)


@pytest.mark.parametrize("name", [name for name in FILES if name != "STORE.json"])
@pytest.mark.parametrize("damage", ["text", "folder", "pipe", "gone"])
def test_a_run_writes_damaged_files_anew(name, damage, filled, tmp_path):
    before = copy_of(filled, tmp_path)
    (file,) = tmp_path.glob(FILES[name])
    file.unlink()
    make = {"text": Path.touch, "folder": Path.mkdir, "pipe": os.mkfifo}
    if damage == "gone":
        after = run_in(tmp_path)
    else:
        make[damage](file)
        with pytest.warns(
            UserWarning,
            match=f"{file.name}.* set aside as .*quarantine.* and (written anew|passed over)",
        ) as caught:
            after = run_in(tmp_path)
        assert len(caught) == 1
        assert "delete it" not in str(caught[0].message)
        assert len(list((tmp_path / "quarantine").iterdir())) == 1
    for results in (after, mcsim.open(tmp_path)):
        pd.testing.assert_frame_equal(results.replicates, before.replicates, check_exact=True)
        pd.testing.assert_frame_equal(results.truth, before.truth)


def test_damaged_notes_are_computed_again(tmp_path):
    @dataclass(frozen=True)
    class Telling(exact_estimator):
        def diagnose(self, panel):
            return {"units above zero": (panel["y"] > 0).sum()}

    study = Study({"d": Computed()}, {"e": Telling()}, grid(rho=[0.5]))
    before = run(study, reps=8, store=tmp_path, workers=0, progress=False)
    (file,) = tmp_path.glob("cells/*/est/*/notes.json")
    file.write_text("{")
    with pytest.raises(StoreError, match=r"notes\.json is damaged .*; delete it: no row depends"):
        mcsim.open(tmp_path)
    with pytest.warns(UserWarning, match=r"notes\.json .* set aside as .* and written anew"):
        after = run(study, reps=8, store=tmp_path, workers=0, progress=False)
    assert len(before.notes) == 1
    assert after.notes == mcsim.open(tmp_path).notes == before.notes
    pd.testing.assert_frame_equal(after.replicates, before.replicates, check_exact=True)


def test_a_link_to_itself_is_set_aside(filled, tmp_path):
    before = copy_of(filled, tmp_path)
    (file,) = tmp_path.glob(FILES["est.json"])
    file.unlink()
    file.symlink_to(file.name)
    with pytest.raises(StoreError, match=r"est\.json is a link to itself; delete it and run its"):
        mcsim.open(tmp_path)
    with pytest.warns(UserWarning, match=r"est\.json is a link to itself; set aside as"):
        after = run_in(tmp_path)
    pd.testing.assert_frame_equal(after.replicates, before.replicates, check_exact=True)


def test_a_file_where_a_folder_belongs_is_told(filled, tmp_path):
    copy_of(filled, tmp_path)
    (file,) = tmp_path.glob(FILES["est.json"])
    shutil.rmtree(file.parent)
    file.parent.write_text("text")
    with pytest.raises(StoreError, match="a file stands where a folder belongs: delete it"):
        run_in(tmp_path)


def test_a_damaged_definition_of_another_study_stops_a_run(filled, tmp_path):
    """It cannot be written anew, and may be another definition under a name of this one."""
    copy_of(filled, tmp_path)
    (file,) = tmp_path.glob(FILES["cell.json"])
    file.write_text("{}")
    other = Study({"other": Computed()}, {"e": exact_estimator()}, grid(rho=[0.5]))
    with pytest.raises(
        StoreError, match=r"cell\.json is damaged: its checksum is wrong; delete it"
    ):
        run(other, reps=8, store=tmp_path, workers=0, progress=False)


def test_files_know_their_place(tmp_path):
    two = Study({"d": Computed()}, {"e": exact_estimator()}, grid(rho=[0.5, 0.7]))
    before = run(two, reps=8, store=tmp_path, workers=0, progress=False)
    one, other = tmp_path.glob(FILES["truth.json"])
    held = one.read_bytes()
    one.write_bytes(other.read_bytes())
    with pytest.raises(StoreError, match=r"truth\.json is damaged: it belongs to 'cells/"):
        mcsim.open(tmp_path)
    content = json.loads(held)
    for field in ("address", "sha256"):
        content.pop(field)
    write_json(one, content)  # as mcsim wrote it before files knew their place
    pd.testing.assert_frame_equal(mcsim.open(tmp_path).truth, before.truth)


def test_what_could_not_be_read_is_not_written(tmp_path):
    study = replace(STUDY)
    object.__setattr__(study, "unit", 5)
    with pytest.raises(InputError, match="study: holds 5 as unit, expected text"):
        run(study, reps=8, store=tmp_path, workers=0, progress=False)
    assert not list(tmp_path.glob("**/*.parquet"))


def test_a_store_on_a_file_system_that_is_read_only(filled, tmp_path, monkeypatch):
    before = copy_of(filled, tmp_path)

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    def open_to_read(file, mode="r", *options, **more):
        return refuse() if mode[0] in "wax" else opened(file, mode, *options, **more)

    opened = builtins.open
    monkeypatch.setattr("builtins.open", open_to_read)
    for name in ("unlink", "replace", "mkdir"):
        monkeypatch.setattr(f"os.{name}", refuse)
    with pytest.raises(StoreError, match="Read-only file system; mcsim show reads a store without"):
        run_in(tmp_path)
    after = mcsim.open(tmp_path)
    pd.testing.assert_frame_equal(after.replicates, before.replicates, check_exact=True)


def test_what_killed_runs_left_is_swept(filled, tmp_path):
    copy_of(filled, tmp_path)
    (block,) = tmp_path.glob("cells/*/est/*/*.parquet")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = {
        "abandoned": f"r0.parquet.tmp-{ended.pid}-0123abcd",
        "running": f"r1.parquet.tmp-{os.getpid()}-0123abcd",
        "young": f"r2.parquet.tmp-{ended.pid}-0123abcd",
        "other": f"notes.tmp-{ended.pid}-mine",
    }
    files = {name: block.with_name(text) for name, text in names.items()}
    for name, file in files.items():
        file.write_bytes(b"half")
        if name != "young":
            os.utime(file, (0, 0))
    run_in(tmp_path)
    assert [name for name, file in files.items() if not file.exists()] == ["abandoned"]


def test_a_path_that_is_not_utf_8(tmp_path):
    store = tmp_path / os.fsdecode(b"caf\xe9")
    before = run_in(store)
    assert len(before.replicates) == 8
    pd.testing.assert_frame_equal(run_in(store).replicates, before.replicates, check_exact=True)
    done = mcsim_command("show", store / "nothing")
    assert done.stderr.startswith(f"error: store: {tmp_path}/caf\\udce9/nothing is not a store")


def test_a_study_that_is_gone_is_told(filled, tmp_path):
    copy_of(filled, tmp_path)
    (file,) = tmp_path.glob(FILES["study.json"])
    file.unlink()
    with pytest.raises(StoreError, match=r"study\.json is missing; run its study again"):
        mcsim.open(tmp_path)


def test_numbers_that_json_writes_in_its_own_way_keep_their_seal(tmp_path):
    content = {
        "a": float("nan"),
        "b": 1e300,
        "c": 0.1,
        "d": {2: 1, 10: 1, "x": "é\u2028"},
        "e": -0.0,
    }
    write_json(tmp_path / "f.json", content)
    assert str(read_json(tmp_path / "f.json")["d"]) == str({"2": 1, "10": 1, "x": "é\u2028"})


def of_format_1(store):
    """Make a store what mcsim to 0.2 wrote: no checksums, no order of runs, other words."""
    for file in store.rglob("*.json"):
        content = json.loads(file.read_text())
        for field in ("sha256", "order"):
            content.pop(field, None)
        for cell in content.get("cells", ()):
            cell.pop("truth_computed", None)
        if file.name == "STORE.json":
            content["format"] = 1
        file.write_text(json.dumps(content))


def test_a_store_of_format_1_is_shown_and_continued(filled, tmp_path):
    before = copy_of(filled, tmp_path)
    of_format_1(tmp_path)
    opened = mcsim.open(tmp_path)
    pd.testing.assert_frame_equal(opened.replicates, before.replicates, check_exact=True)
    pd.testing.assert_frame_equal(opened.truth, before.truth)
    pd.testing.assert_frame_equal(run_in(tmp_path).replicates, before.replicates, check_exact=True)
    (file,) = tmp_path.glob(FILES["truth.json"])
    file.write_text('{"kind": "known"}')
    with pytest.raises(StoreError, match=r"truth\.json is damaged: it lacks values; delete it"):
        mcsim.open(tmp_path)
