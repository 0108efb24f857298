"""Packs: the same rows from few files, whoever is killed, and whatever is damaged."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

import mcsim
from mcsim import Estimate, Panel, Sample, Status, Study, grid
from mcsim._results import store_packs, study_rows
from mcsim._results.store import Store
from mcsim._results.store_packs import Packs, compact
from mcsim.errors import StoreError

pytestmark = pytest.mark.usefixtures("small_blocks")


def draw(key, design):
    y = design["mean"] + jax.random.normal(key, (3, 1))
    return Sample(Panel({"y": y}), {"mean": design["mean"]})


def mean(key, panel):
    return {"mean": Estimate(panel["y"].mean(), 0.6)}


def odd(key, panel):
    """Fails where the mean is low, and always in the first cell."""
    value = panel["y"].mean()
    status = jax.numpy.where(value < 5, int(Status.SINGULAR), int(Status.OK))
    return {"mean": Estimate(jax.numpy.where(value < 5, jax.numpy.nan, value), status=status)}


ESTIMATORS = {"mean": mean, "odd": odd}
DESIGNS = grid(mean=[0.0, 5.0, 9.0])


@pytest.fixture
def few(monkeypatch):
    """Files of blocks become packs from the fourth on."""
    monkeypatch.setattr(store_packs, "FEW", 3)
    monkeypatch.setattr(store_packs, "GROUP_ROWS", 250)


def rows_of(store, reps=150, estimators=ESTIMATORS, designs=DESIGNS):
    study = Study(draw, estimators, designs)
    return mcsim.run(study, reps=reps, store=store, workers=0, progress=False).replicates


def same(one, other):
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def files_of(store):
    return sorted(store.glob("cells/*/est/*/*.parquet"))


def packs_of(store):
    return sorted(store.glob("packs/*.parquet"))


def pack(store):
    """Compact the blocks of the study that ran last."""
    home = Store.open(store)
    study = home.study(home.find_study())
    compact(home, [(cell["hash"], e) for cell in study["cells"] for _, e in cell["estimators"]])


@pytest.fixture(scope="module")
def loose(tmp_path_factory):
    """A store whose 26 blocks are files, and its rows."""
    store = tmp_path_factory.mktemp("loose") / "s"
    with pytest.MonkeyPatch.context() as patch:
        for name, size in (("plan.NATIVE_BLOCK", 32), ("cell.NATIVE_BLOCK", 32)):
            patch.setattr(f"mcsim._run.{name}", size)
        with pytest.warns(UserWarning, match="odd"):
            rows = rows_of(store)
    assert len(files_of(store)) == 26  # of five blocks each, but for one that always fails
    return store, rows


def copied(loose, folder):
    shutil.copytree(loose[0], folder)
    return folder


pytestmark = [pytestmark, pytest.mark.filterwarnings("ignore:.*odd.*failed")]


# The same rows


def test_rows_are_the_same_bits_from_a_pack(loose, few, tmp_path):
    store = copied(loose, tmp_path / "s")
    pack(store)
    assert not files_of(store)
    assert len(packs_of(store)) == 1
    same(mcsim.open(store).replicates, loose[1])


def test_a_run_leaves_a_pack_and_a_second_run_computes_nothing(loose, few, tmp_path, monkeypatch):
    same(rows_of(tmp_path / "s"), loose[1])
    assert not files_of(tmp_path / "s")
    (held,) = packs_of(tmp_path / "s")
    monkeypatch.setattr("mcsim._run.cell.evaluate", None)
    same(rows_of(tmp_path / "s"), loose[1])
    same(rows_of(tmp_path / "s", reps=40), loose[1][loose[1]["rep"] < 40].reset_index(drop=True))
    assert packs_of(tmp_path / "s") == [held]


def test_few_blocks_stay_files(loose, monkeypatch, tmp_path):
    store = copied(loose, tmp_path / "s")
    monkeypatch.setattr(store_packs, "FEW", 26)
    pack(store)
    assert files_of(store)
    assert not packs_of(store)


@pytest.mark.parametrize("first", [30, 150])
def test_a_packed_store_is_extended(first, loose, few, tmp_path):
    store = tmp_path / "s"
    rows_of(store, first, {"mean": mean}, DESIGNS[1:])
    rows_of(store, first, {"mean": mean})
    same(rows_of(store), loose[1])
    same(mcsim.open(store).replicates, loose[1])


def test_there_are_never_many_packs(few, tmp_path):
    for reps in range(130, 1400, 130):
        rows = rows_of(tmp_path / "s", reps, {"mean": mean}, DESIGNS[:1])
        assert len(packs_of(tmp_path / "s")) + len(files_of(tmp_path / "s")) <= 8
    same(rows, rows_of(tmp_path / "new", reps, {"mean": mean}, DESIGNS[:1]))


def test_blocks_begun_large_are_found_in_packs(tmp_path, monkeypatch, few):
    with monkeypatch.context() as before:
        before.setattr("mcsim._run.plan.block_size", lambda most, _: most)
        before.setattr("mcsim._run.plan.chunk_size", lambda _: 16)
        rows_of(tmp_path / "s", 150, {"mean": mean})
    monkeypatch.setattr("mcsim._run.plan.block_size", lambda most, _: 16)
    rows_of(tmp_path / "s", 170, {"mean": mean})
    assert {file.name for file in files_of(tmp_path / "s")} == {"r0000160-0000191.parquet"}


# Killed at any moment

_STEPS = (
    (os, "fsync"), (os, "replace"), (os, "open"), (Path, "unlink"), (store_packs, "checksum_of"),
    (store_packs, "_listed"), (store_packs, "_group_of"),
)  # fmt: skip


class Killed(BaseException):
    """The end of a process."""


def killing(patch, at, end):
    """Call ``end`` before the step of this number; return the steps that came."""
    came = []
    for owner, name in _STEPS:
        original = getattr(owner, name)

        def step(*arguments, original=original, **options):
            came.append(original)
            if len(came) == at + 1:
                end()
            return original(*arguments, **options)

        patch.setattr(owner, name, step)
    return came


def raise_killed():
    raise Killed


def test_a_compaction_killed_at_any_step_loses_nothing(loose, few, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        came = killing(patch, -2, raise_killed)
        pack(copied(loose, tmp_path / "whole"))
    assert len(came) > 26 + 10  # every file is deleted, and there are steps before
    for at in [*range(len(came) - 24), len(came) - 10, len(came) - 1]:  # and some deletions
        store = copied(loose, tmp_path / f"s{at}")
        with pytest.MonkeyPatch.context() as patch:
            killing(patch, at, raise_killed)
            with pytest.raises(Killed):
                pack(store)
        same(mcsim.open(store).replicates, loose[1])
        pack(store)
        same(mcsim.open(store).replicates, loose[1])
    same(rows_of(store), loose[1])


_SCRIPT = """
import os, sys
from pathlib import Path
import pytest
import test_store_packs as tests
from mcsim._results import store_packs

store_packs.FEW, store_packs.GROUP_ROWS = 3, 250
for at, store in enumerate(sys.argv[1:]):
    child = os.fork()
    if not child:
        tests.killing(pytest.MonkeyPatch(), 3 * at, lambda: os._exit(9))
        tests.pack(Path(store))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the test ends processes that it forks")
def test_a_process_that_ends_while_it_compacts_loses_nothing(loose, tmp_path):
    stores = [copied(loose, tmp_path / f"s{number}") for number in range(12)]
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _SCRIPT, *map(str, stores)],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.split() == 12 * ["9"]
    left = [(len(files_of(store)), len(packs_of(store))) for store in stores]
    assert left[0] == (26, 0)
    assert any(0 < files < 26 and packs == 1 for files, packs in left)
    for store in stores:
        same(mcsim.open(store).replicates, loose[1])
    same(rows_of(stores[5], 170).query("rep < 150").reset_index(drop=True), loose[1])


def test_a_disk_that_is_full_leaves_files(loose, few, tmp_path, monkeypatch):
    store = copied(loose, tmp_path / "s")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    pack(store)
    assert len(files_of(store)) == 26
    assert not list(store.glob("packs/*"))


# Others at the same time


def test_a_reader_finds_what_is_packed_meanwhile(loose, few, tmp_path, monkeypatch):
    store = copied(loose, tmp_path / "s")
    read, reads = study_rows.read_table, []

    def slow(file):
        reads.append(file)
        if len(reads) == 5:
            pack(store)
        return read(file)

    monkeypatch.setattr(study_rows, "read_table", slow)
    same(mcsim.open(store).replicates, loose[1])
    assert len(reads) < 26


def test_a_reader_finds_packs_that_are_joined_meanwhile(few, tmp_path, monkeypatch):
    store = tmp_path / "s"
    rows_of(store, 150, {"mean": mean})
    (held,) = packs_of(store)
    expected = rows_of(tmp_path / "new", 300, {"mean": mean})
    read, reads = store_packs._group_of, []

    def slow(listed, number):
        reads.append(listed)
        if len(reads) == 2:
            monkeypatch.setattr(store_packs, "_group_of", read)
            rows_of(store, 300, {"mean": mean})
            assert held not in packs_of(store)
        return read(listed, number)

    monkeypatch.setattr(store_packs, "_group_of", slow)
    first = mcsim.open(store).replicates
    same(first, expected[expected["rep"] < 150].reset_index(drop=True))
    same(mcsim.open(store).replicates, expected)


@pytest.mark.parametrize("step", ["read_table", "checksum_of", "_listed", "_sync"])
def test_two_compactions_at_once_lose_nothing(step, loose, few, tmp_path, monkeypatch):
    store = copied(loose, tmp_path / "s")
    original = getattr(store_packs, step)

    def slow(*arguments):
        monkeypatch.setattr(store_packs, step, original)
        pack(store)
        return original(*arguments)

    monkeypatch.setattr(store_packs, step, slow)
    pack(store)
    same(mcsim.open(store).replicates, loose[1])
    assert not files_of(store)
    assert 1 <= len(packs_of(store)) <= 2


# Damage


@pytest.fixture
def packed(loose, few, tmp_path):
    store = copied(loose, tmp_path / "s")
    pack(store)
    return store


def test_no_flipped_bit_of_a_pack_goes_unnoticed(packed, loose, recwarn):
    (file,) = packs_of(packed)
    sound, chance = file.read_bytes(), np.random.default_rng(1)
    for place in [*chance.integers(len(sound), size=30), len(sound) - 1, 0]:
        torn = bytearray(sound)
        torn[place] ^= 1 << chance.integers(8)
        file.write_bytes(torn)
        recwarn.clear()
        try:
            rows = mcsim.open(packed).replicates
        except StoreError:  # nothing is left
            continue
        if not recwarn.list:  # a bit that nothing depends on
            same(rows, loose[1])
        else:
            assert "left out: mcsim run computes it again" in str(recwarn.list[0].message)
            assert len(rows.merge(loose[1])) >= (rows["status"] == "ok").sum()


def truncate(file):
    file.write_bytes(file.read_bytes()[:-100])


def tear_a_group(file):
    torn = bytearray(file.read_bytes())
    torn[len(torn) // 8 : len(torn) // 8 + 64] = bytes(64)
    file.write_bytes(torn)


def link_to_nothing(file):
    file.unlink()
    file.symlink_to("nowhere")


def put_a_folder_there(file):
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("damage", [truncate, tear_a_group, link_to_nothing, put_a_folder_there])
def test_a_run_mends_a_damaged_pack(damage, packed, loose):
    (file,) = packs_of(packed)
    damage(file)
    with pytest.warns(UserWarning, match=f"pack {file.name}: .* lost are"):
        same(rows_of(packed), loose[1])
    assert len(list((packed / "quarantine").iterdir())) == 1
    assert not packs_of(packed) or packs_of(packed) != [file]
    same(mcsim.open(packed).replicates, loose[1])
    same(rows_of(packed), loose[1])


def test_a_pack_claims_no_more_rows_than_its_blocks_may_have(packed):
    (file,) = packs_of(packed)
    footer = store_packs._listed(file).groups
    lines = footer[0]["blocks"].replace("r0000000-0000031 32", "r0000000-0000000 32", 1)
    assert store_packs._rows_of({**footer[0], "blocks": lines}) > 0  # 32 labels of a replication
    many = footer[0]["blocks"].replace("-0000031 32", "-0000031 320001", 1)
    assert store_packs._rows_of({**footer[0], "blocks": many}) == -1


def test_a_pack_of_another_store_is_no_one_elses(packed, few, tmp_path):
    rows_of(tmp_path / "other", 150, {"mean": mean}, grid(mean=[3.0]))
    (foreign,) = tmp_path.glob("other/packs/*.parquet") or [None]
    before = mcsim.open(packed).replicates
    shutil.copy(foreign, packed / "packs")
    assert len(Packs(packed).listed) == 2
    same(mcsim.open(packed).replicates, before)
