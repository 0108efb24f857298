"""JSON files of a store: a changed bit changes no result, and the sentence names the remedy."""

import json
from dataclasses import dataclass

import jax
import pandas as pd
import pytest

import mcsim
from mcsim import Panel, Sample, Study, grid, run
from mcsim._store_files import read_json, write_json
from mcsim.errors import StoreError
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
def test_a_damaged_file_is_refused_and_its_remedy_helps(name, text, tmp_path):
    before = run_in(tmp_path)
    (file,) = tmp_path.glob(FILES[name])
    held = file.read_bytes()
    file.write_bytes(text.encode("latin-1"))
    reads = run_in if name in ("cell.json", "est.json") else mcsim.open
    with pytest.raises(StoreError) as caught:
        reads(tmp_path)
    assert str(caught.value).startswith(f"store: {file} ")
    assert str(caught.value).endswith(REMEDIES[name])
    file.unlink()
    if name == "STORE.json":
        file.write_bytes(held)
    after = run_in(tmp_path)
    pd.testing.assert_frame_equal(after.replicates, before.replicates, check_exact=True)
    pd.testing.assert_frame_equal(mcsim.open(tmp_path).truth, before.truth)


def test_a_study_that_is_gone_is_told(tmp_path):
    run_in(tmp_path)
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


def test_a_store_of_format_1_is_shown_and_continued(tmp_path):
    before = run_in(tmp_path)
    of_format_1(tmp_path)
    opened = mcsim.open(tmp_path)
    pd.testing.assert_frame_equal(opened.replicates, before.replicates, check_exact=True)
    pd.testing.assert_frame_equal(opened.truth, before.truth)
    pd.testing.assert_frame_equal(run_in(tmp_path).replicates, before.replicates, check_exact=True)
    (file,) = tmp_path.glob(FILES["truth.json"])
    file.write_text('{"kind": "known"}')
    with pytest.raises(StoreError, match=r"truth\.json is damaged: it lacks values; delete it"):
        mcsim.open(tmp_path)
