"""The commands report and check: what they write and print, and their exit codes."""

import json

import numpy as np
import pandas as pd
import pytest

import mcsim
from command_line import mcsim_command

GOOD = """
import mcsim
from mcsim.testing import constant_dgp, exact_estimator

study = mcsim.Study(
    dgp=constant_dgp(truth=1.0),
    estimators={"exact": exact_estimator(truth=1.0)},
    designs=mcsim.grid(shift=[0.0, 1.0]),
)
"""

BAD = """
import pandas as pd
import mcsim

@mcsim.host
def drawn(rng, design):
    return pd.DataFrame({"y": rng.normal(size=design["n"])}), {"mean": 0.0}

@mcsim.host(estimand="mean")
def failing(frame):
    return 1 / 0

def misspelled(key, panel):
    return {"mean": mcsim.Estimate(panel["z"].mean(), 1.0)}

def tupled(key, panel):
    return "estimate"

@mcsim.host
def broken(rng, design):
    raise KeyError("b")

ESTIMATORS = [failing, misspelled, tupled]
study = mcsim.Study(
    dgp=[drawn, broken], estimators=ESTIMATORS, designs=mcsim.grid(n=[10])
)
"""


@pytest.fixture
def good(tmp_path):
    file = tmp_path / "good.py"
    file.write_text(GOOD)
    return file


@pytest.fixture
def bad(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text(BAD)
    return file


def test_a_store_becomes_a_page(good, tmp_path):
    store = tmp_path / "store"
    run = ["run", good, "--reps", 20, "--store", store, "--workers", 0]
    assert mcsim_command(*run).returncode == 0
    done = mcsim_command("report", store)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Report in {store / 'report.html'}\n"
    assert "Which intervals cover" in (store / "report.html").read_text()
    assert mcsim_command("report", store, "--out", tmp_path / "x" / "p.html").returncode == 0
    assert (tmp_path / "x" / "p.html").is_file()
    assert mcsim_command(*run).returncode == 0  # the page does not disturb the store


def test_a_store_without_replications_or_no_store_is_a_sentence(tmp_path):
    done = mcsim_command("report", tmp_path / "nothing")
    assert done.returncode == 1
    assert "is not a store" in done.stderr


def test_a_file_of_replications_becomes_a_page(tmp_path):
    file = tmp_path / "sim.csv"
    rng = np.random.default_rng(0)
    rows = {"dataset": np.arange(40), "method": "<b>ols</b>", "b": rng.normal(size=40), "se": 1.0}
    pd.DataFrame({**rows, "true": 0.0}).to_csv(file, index=False)
    done = mcsim_command("report", file)
    assert done.stdout == f"Report in {tmp_path / 'sim.html'}\n", done.stderr
    assert "&lt;b&gt;ols" in (tmp_path / "sim.html").read_text()
    assert mcsim_command("report", file, "--study", "ab").returncode == 2


def test_a_table_without_estimates_is_a_sentence_with_the_remedy(tmp_path):
    file = tmp_path / "cars.csv"
    pd.DataFrame({"speed": [1.0], "dist": [2.0]}).to_csv(file, index=False)
    done = mcsim_command("report", file)
    assert done.returncode == 2
    assert "no column of estimates is known among speed, dist; name it" in done.stderr


def test_check_reports_all_faults_together(bad, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = mcsim_command("check", bad)
    assert done.returncode == 2
    for said in ("'broken' fails", "column 'z'", "'tupled'", "ZeroDivisionError"):
        assert said in done.stderr
    assert "error: 3 faults" in done.stderr
    assert [file.name for file in tmp_path.iterdir() if file.suffix == ""] in ([], ["__pycache__"])


def test_check_prints_json_for_machines(good, bad):
    done = mcsim_command("check", good, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert found["ok"] is True
    assert [row["value"] for row in found["estimates"]] == [1.0, 1.0]
    assert found["estimates"][0]["truth"] == 1.0
    done = mcsim_command("check", bad, "--json")
    assert done.returncode == 2
    assert len(json.loads(done.stdout)["faults"]) == 3


def test_check_ends_with_4_where_only_estimates_failed(bad):
    text = bad.read_text()
    bad.write_text(
        text.replace("[failing, misspelled, tupled]", "[failing]").replace(", broken]", "]")
    )
    done = mcsim_command("check", bad)
    assert done.returncode == 4
    assert "estimator 'failing', cell 'drawn n=10': error: ZeroDivisionError" in done.stderr
    assert json.loads(mcsim_command("check", bad, "--json").stdout)["ok"] is False


def test_check_of_a_file_that_raises_is_a_sentence(tmp_path):
    file = tmp_path / "raises.py"
    file.write_text("import mcsim\nstudy = mcsim.nothing\n")
    done = mcsim_command("check", file, "--json")
    assert done.returncode == 2
    assert "line 2" in json.loads(done.stdout)["faults"][0]


def test_samples_of_a_study_are_those_of_its_run(tmp_path, good):
    study = tmp_path / "drawn.py"
    study.write_text(BAD.replace("[drawn, broken]", "drawn").replace("n=[10]", "n=[10, 20]"))
    study.write_text(study.read_text().replace("[failing, misspelled, tupled]", "[mean]"))
    mean = '@mcsim.host(estimand="mean")\ndef mean(frame):\n    '
    mean += 'return mcsim.Estimate(frame["y"].mean(), 1.0)\n\n'
    study.write_text(study.read_text().replace("ESTIMATORS =", f"{mean}ESTIMATORS ="))
    refused = mcsim_command("sample", study, "--out", tmp_path / "out", "--seed", 5)
    assert refused.returncode == 2
    assert "--cell: got none, expected one of (they depend on --seed)" in refused.stderr
    cell = refused.stderr.split("drawn n=20")[0].split()[-1]
    done = mcsim_command(
        "sample", study, "--cell", cell, "--reps", 3, "--out", tmp_path / "out", "--seed", 5
    )
    assert done.returncode == 0, done.stderr
    assert "3 samples of cell 'drawn n=20'" in done.stdout
    files = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert files == ["r0000000.csv", "r0000001.csv", "r0000002.csv", "truth.csv"]
    store = tmp_path / "store"
    run = mcsim_command("run", study, "--reps", 3, "--seed", 5, "--store", store, "--workers", 0)
    assert run.returncode == 0, run.stderr
    rows = mcsim.open(store).replicates.query("n == 20")["value"].tolist()
    means = [pd.read_csv(tmp_path / "out" / name)["y"].mean() for name in files[:3]]
    np.testing.assert_allclose(means, rows, rtol=1e-14)
    again = mcsim_command("sample", study, "--cell", cell, "--out", tmp_path / "out")
    assert "expected an empty folder or a new name" in again.stderr


def test_options_of_models_and_studies_are_not_mixed(tmp_path, good):
    done = mcsim_command("sample", good, "-n", 5, "--cell", "a")
    assert done.returncode == 2
    assert "--out: got none" in done.stderr
    assert "-n: " in done.stderr
    done = mcsim_command("sample", tmp_path / "x.safetensors", "--reps", 5)
    assert "-n: got none" in done.stderr
    assert "--reps: is an option of studies" in done.stderr
