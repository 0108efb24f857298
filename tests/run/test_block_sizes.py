"""Sizes of blocks: fewer replications of large samples, and stores begun before this rule."""

import jax
import jax.numpy as jnp
import pandas as pd
import pytest

import mcsim
from mcsim import Estimate, Panel, Sample, Status, Study, run
from mcsim._run.plan import HOST_BLOCK, NATIVE_BLOCK, block_size, chunk_size

N_LARGE = 2**17 + 1


def shapes(cells, dtype="float64"):
    return {"x": jax.ShapeDtypeStruct((cells, 1), dtype)}


@pytest.mark.parametrize(
    ("cells", "native", "host"),
    [
        (1, 1024, 64),
        (2**15, 1024, 64),
        (2**15 + 1, 128, 64),
        (2**17, 128, 64),
        (2**17 + 1, 16, 16),
        (10**8, 16, 16),
    ],
)
def test_large_samples_have_small_blocks(cells, native, host):
    assert block_size(NATIVE_BLOCK, shapes(cells)) == native
    assert block_size(HOST_BLOCK, shapes(cells)) == host


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "bool"])
def test_chunks_divide_blocks(dtype, backend, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    for cells in (1, 100, 4_097, 2**15, 2**15 + 1, 2**17, 2**17 + 1, 300_000, 10**7):
        sample = shapes(cells, dtype)
        assert block_size(NATIVE_BLOCK, sample) % chunk_size(sample) == 0


def draw_large(key, design):
    y = jax.random.normal(key, ())
    return Sample(Panel({"y": jnp.broadcast_to(y, (N_LARGE, 1))}), {"mean": 0.0})


def native_mean(key, panel):
    return {"mean": Estimate(panel["y"].mean() + jax.random.normal(key, ()), 1.0)}


@mcsim.host(estimand="mean")
def host_mean(frame):
    return Estimate(frame["y"].iloc[0], 1.0)


@mcsim.host(estimand="mean")
def other_mean(frame):
    return Estimate(frame["y"].iloc[-1] + 1.0, 1.0)


def failing(key, panel):
    return {"mean": Estimate(jnp.nan * panel["y"].sum(), status=int(Status.SINGULAR))}


ESTIMATORS = {"native": native_mean, "host": host_mean}


def rows_of(reps, store, estimators=ESTIMATORS):
    study = Study({"large": draw_large}, estimators)
    return run(study, reps=reps, store=store, workers=0, progress=False).replicates


def blocks_of(store):
    return sorted(file.name for file in store.glob("cells/*/est/*/*.parquet"))


def same(one, other):
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_large_samples_are_extended_in_small_blocks(tmp_path):
    rows_of(10, tmp_path / "grown")
    assert blocks_of(tmp_path / "grown") == 2 * ["r0000000-0000015.parquet"]
    grown = rows_of(20, tmp_path / "grown")
    same(grown, rows_of(20, tmp_path / "whole"))
    assert blocks_of(tmp_path / "grown") == blocks_of(tmp_path / "whole")
    assert blocks_of(tmp_path / "grown")[2:] == 2 * ["r0000016-0000031.parquet"]


@pytest.fixture
def old_store(tmp_path, small_blocks, monkeypatch):
    """A store begun before large samples had small blocks; those of its time have 32 here."""
    monkeypatch.setattr("mcsim._run.plan.HOST_BLOCK", 32)
    with monkeypatch.context() as before:
        before.setattr("mcsim._run.plan.block_size", lambda most, _: most)
        rows_of(10, tmp_path)
    assert blocks_of(tmp_path) == 2 * ["r0000000-0000031.parquet"]
    return tmp_path


def test_estimators_begun_in_large_blocks_are_continued_in_them(old_store):
    expected = rows_of(40, old_store / "new")
    same(rows_of(40, old_store), expected)
    large = ["r0000000-0000031.parquet", "r0000032-0000063.parquet"]
    assert blocks_of(old_store) == sorted(2 * large)
    same(mcsim.open(old_store).replicates, expected)


def test_an_estimator_added_to_an_old_cell_has_small_blocks(old_store):
    rows = rows_of(20, old_store, ESTIMATORS | {"other": other_mean})
    small = ["r0000000-0000015.parquet", "r0000016-0000031.parquet"]
    assert blocks_of(old_store) == sorted([*small, *(2 * ["r0000000-0000031.parquet"])])
    same(rows, rows_of(20, old_store / "new", ESTIMATORS | {"other": other_mean}))


def test_a_damaged_large_block_is_computed_in_small_ones(old_store):
    expected = rows_of(40, old_store / "new")
    for file in old_store.glob("cells/*/est/*/*.parquet"):
        file.write_bytes(b"torn")
    with pytest.warns(UserWarning, match="set aside"):
        rows = rows_of(40, old_store)
    same(rows, expected)


@pytest.mark.filterwarnings("ignore:.* failed")
def test_a_small_first_block_decides(tmp_path, capfd):
    rows = rows_of(40, tmp_path, {"failing": failing, "native": native_mean})
    mine = rows[rows["estimator"] == "failing"]
    assert mine["status"].tolist() == 16 * ["singular"] + 24 * ["skipped"]
    assert "failing failed in all 16 replications of its first block" in capfd.readouterr().err
