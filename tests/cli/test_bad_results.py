"""Results that cannot be shown, and replications to choose from: one sentence with the remedy."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mcsim
from command_line import mcsim_command
from mcsim._results.store import Store

STUDY = """
import pandas as pd
import mcsim

@mcsim.host
def normal(rng, design):
    return pd.DataFrame({"y": design["shift"] + rng.normal(size=10)}), {"mean": design["shift"]}

@mcsim.host(estimand="mean")
def fragile(frame):
    y = frame["y"].mean()
    if y > 0.25:
        raise ValueError("too large")
    if y > 0.1:
        raise RuntimeError("large")
    return mcsim.Estimate(y, 0.3)

study = mcsim.Study(normal, {"fragile": fragile}, mcsim.grid(shift=[0.0, -9.0]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("results")
    (home / "study.py").write_text(STUDY)
    done = mcsim_command(
        "run", home / "study.py", "--reps", 64, "--store", home / "store", "--workers", 0, "--quiet"
    )
    assert done.returncode == 0, done.stderr
    Store.create(home / "empty")
    (home / "text.csv").write_text("name,place\na,b\n")
    (home / "head.csv").write_text("est,se\n")
    (home / "bytes.csv").write_bytes(bytes(range(128, 256)))
    frame = pd.DataFrame({"sim": [1, 2, 1, 2], "est": [1.0, 2.0, 3.0, 4.0], "se": 1.0})
    frame.assign(size=[1, 1, 2, 2], true=[0, 0, 1, 1]).to_csv(home / "sizes.csv", index=False)
    frame.assign(true=[0, 1, 0, 1], sim=range(4)).to_csv(home / "truths.csv", index=False)
    many = np.arange(20_002)
    columns = {"n": many // 2, "rep": many % 2, "est": 1.0 * (many % 3), "true": 1.0}
    pd.DataFrame(columns).to_csv(home / "many.csv", index=False)
    return home


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("text.csv", [], "--value: no column of estimates is known among name, place; name it: -"),
        ("head.csv", [], "path: the table has no rows, expected one for each replication"),
        ("bytes.csv", [], "is no text in utf-8; read it with --encoding"),
        ("none.csv", [], "none.csv does not exist"),
        ("sizes.csv", ["--truth", "tau"], "--truth: the table has no column 'tau'; known are"),
        ("sizes.csv", ["--study", "abc"], "--study: "),
        ("truths.csv", [], "--truth: the values differ within 1 cell; name the factor that it"),
        ("many.csv", ["--by", "n"], "10,001 rows of measures, expected at most 5,000 on a page; "
         "keep some cells, such as --only n=0"),
        ("empty", [], "empty holds no run yet; use mcsim run"),
        ("none", [], "none is not a store (it has no STORE.json); mcsim run makes one"),
        ("store", ["--truth", "1"], "--truth: "),
        ("store", ["--only", "shft=0"], "--only: got 'shft=0', expected FACTOR=VALUE; did you"),
        ("store", ["--only", "shift=7"], "expected one of the values 0.0, -9.0"),
    ],
)  # fmt: skip
def test_a_report_that_cannot_be_written_is_a_sentence(folder, name, options, says):
    done = mcsim_command("report", folder / name, *options)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_some_cells_make_a_page(folder):
    for store, options in (
        ("store", ["--only", "shift=0"]),
        ("many.csv", ["--by", "n", "--only", "n=7"]),
    ):
        out = folder / "some.html"
        done = mcsim_command("report", folder / store, *options, "--out", out)
        assert done.returncode == 0, done.stderr
        assert ">1 cell of" in out.read_text()


def test_columns_of_a_file_are_named_by_options(folder):
    frame = pd.DataFrame({"coefficient": [0.4, 0.6], "error": [0.1, 0.1], "draw": [1, 2]})
    frame.to_csv(folder / "own.csv", index=False, sep=";")
    done = mcsim_command(
        "report", folder / "own.csv", "--sep", ";", "--value", "coefficient", "--se", "error",
        "--truth", "0.5", "--rep", "draw",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = (folder / "own.html").read_text()
    assert "estimate: truth 0.5" in text
    assert "1 cell of 2 replications" in text


def test_a_column_for_each_estimator(folder):
    frame = pd.DataFrame({"mean": [0.4, 0.6], "median": [0.5, 0.6]})
    frame.to_stata(folder / "both.dta", write_index=False)
    done = mcsim_command("report", folder / "both.dta", "--value", "mean,median", "--truth", "0.5")
    assert done.returncode == 0, done.stderr
    assert "<dd>mean<br>median</dd>" in (folder / "both.html").read_text()


def test_replay_without_a_cell_lists_the_cells_and_what_failed(folder):
    done = mcsim_command("replay", folder / "study.py", "--store", folder / "store")
    assert done.returncode == 0, done.stderr
    results = mcsim.open(folder / "store")
    for cell in results.study["cells"]:
        assert f"  {cell['hash'][:12]}  normal shift={cell['design']['shift']}" in done.stdout
    assert len(results.failures) == 2
    for row in results.failures.itertuples():
        assert f"{row.replications} of 64: error: {row.reason}\n" in done.stdout
        command = f"--store {folder / 'store'} --cell {row.cell} --rep {row.first_rep}\n"
        assert command in f"{done.stdout}\n"


def test_replay_of_a_cell_without_failures_names_a_replication(folder):
    cell = mcsim.open(folder / "store").study["cells"][1]["hash"]
    done = mcsim_command("replay", folder / "store", "--cell", cell[:6])
    assert "No replication failed" in done.stdout
    assert f"--cell {cell[:12]} --rep 0" in done.stdout
    wrong = mcsim_command("replay", folder / "store", "--cell", "zz")
    assert wrong.returncode == 2
    assert f"expected the first letters of one of {cell[:3]}"[:30] in wrong.stderr


def test_a_store_in_place_of_the_study_file_is_named(folder):
    done = mcsim_command("replay", folder / "store", "--cell", "aa", "--rep", 0)
    assert done.returncode == 2
    assert "expected the study file: mcsim replay FILE --store" in done.stderr


def test_the_store_of_replay_is_by_default_that_of_run(folder):
    (folder / "results").mkdir()
    os.symlink(folder / "store", folder / "results" / "study")
    before = os.getcwd()
    os.chdir(folder)
    try:
        done = mcsim_command("replay", "study.py")
    finally:
        os.chdir(before)
    assert "mcsim replay study.py --store results/study --cell" in done.stdout
