"""The commands of studies, run, show and replay: exit codes, sentences instead of tracebacks."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import mcsim
from command_line import mcsim_command
from mcsim.testing import constant_dgp, exact_estimator

STUDY = """
import jax.numpy as jnp
import mcsim
from mcsim import report  # the module: no report() of the file
from mcsim.testing import constant_dgp, exact_estimator

def mean(key, panel):
    y = panel["y"]
    return {"mean": mcsim.Estimate(y.mean(), y.std(ddof=1) / jnp.sqrt(y.size), df=y.size - 1)}

@mcsim.host(estimand="mean")
def median(frame):
    return mcsim.Estimate(frame["y"].median(), FACTOR * frame["y"].std() / len(frame) ** 0.5)

FACTOR = 1.25

def study():
    return mcsim.Study(
        aim="Mean or median?",
        dgp=constant_dgp(truth=1.0),
        estimators=[mean, median],
        designs=mcsim.grid(shift=[0.0, 1.0]),
        caveats=["Normal data only."],
    )
"""


@pytest.fixture(scope="module")
def study_file(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("study") / "means.py"
    file.write_text(STUDY)
    return file


@pytest.fixture(scope="module")
def finished(study_file) -> Path:
    """A store in which the study has been run."""
    store = study_file.parent / "store"
    done = mcsim_command("run", study_file, "--reps", 60, "--store", store, "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert "Mean or median?" in done.stderr
    assert "coverage" in done.stdout
    assert "Normal data only." in done.stdout
    return store


def test_version_in_a_process_of_its_own():
    command = [sys.executable, "-m", "mcsim", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == f"mcsim {mcsim.__version__}"
    assert done.stderr == ""


def test_second_run_continues(study_file, finished):
    before = mcsim.open(finished).replicates
    done = mcsim_command("run", study_file, "--reps", 64, "--store", finished, "--quiet")
    assert (done.returncode, done.stdout.strip()) == (0, str(finished))
    after = mcsim.open(finished).replicates
    kept = after[after["rep"] < 60].reset_index(drop=True)
    assert kept.equals(before.reset_index(drop=True))


def test_dry_run_computes_nothing(study_file, tmp_path):
    done = mcsim_command("run", study_file, "--dry-run", "--store", tmp_path / "none")
    assert done.returncode == 0
    assert "2 cells" in done.stderr
    assert not list(tmp_path.iterdir())


def test_dry_run_finds_the_fits_of_a_store_and_refuses_another_folder(study_file, tmp_path):
    (tmp_path / "thesis.tex").touch()
    done = mcsim_command("run", study_file, "--dry-run", "--store", tmp_path)
    assert (done.returncode, "a folder with other content" in done.stderr) == (1, True)
    file, store = tmp_path / "cached.py", tmp_path / "store"
    run_in(store, ONE)
    file.write_text(
        "from mcsim.generators._training.trainer import KEEPER\n"
        "print(*getattr(KEEPER.get(), 'args', [None]))\n" + STUDY
    )
    done = mcsim_command("run", file, "--dry-run", "--store", store)
    assert done.stdout.strip() == str(store / "models")
    done = mcsim_command("run", file, "--dry-run", "--store", tmp_path / "none")
    assert done.stdout.strip() == "None"


def test_fitted_generators_are_cached_in_a_new_store(tmp_path):
    """The cache writes into the store before the run does."""
    text = """
        import mcsim, numpy as np
        from mcsim.generators import WGAN
        rng = np.random.default_rng(0)
        panel = mcsim.Panel({"treat": np.repeat([0.0, 1.0], 30), "y": rng.lognormal(size=60)})
        trainer = WGAN(hidden=(4,), critic_hidden=(4,), steps=2, batch_size=16, critic_steps=1)
        fits = mcsim.fit_many(trainer, mcsim.keys(0, 2), panel, given=["treat"], progress=False)
        study = mcsim.Study(
            dgp=mcsim.dgps.PotentialOutcomes(fits, outcome="y", treatment="treat", n_treated=9,
                                             n_control=9, truth_draws=64),
            estimators=mcsim.estimators.difference_in_means("y ~ treat"),
        )
    """
    file, store = tmp_path / "learned.py", tmp_path / "store"
    file.write_text(textwrap.dedent(text))
    first = mcsim_command("run", file, "--store", store, "--reps", 2, "--quiet")
    assert first.returncode == 0, first.stderr
    models = {path: path.stat().st_mtime_ns for path in store.glob("models/*")}
    assert len(models) >= 2
    assert mcsim_command("run", file, "--store", store, "--reps", 3, "--quiet").returncode == 0
    assert {path: path.stat().st_mtime_ns for path in store.glob("models/*")} == models


@pytest.mark.parametrize(
    ("form", "sign"), [("text", "----"), ("markdown", "| :-- |"), ("latex", "\\toprule")]
)
def test_show_formats(finished, form, sign):
    done = mcsim_command("show", finished, "--format", form)
    assert done.returncode == 0
    assert sign in done.stdout
    assert "Caveat: Normal data only." in done.stdout


def test_show_does_not_need_the_study_file(finished, study_file, tmp_path):
    hidden = study_file.rename(tmp_path / "moved.py")
    try:
        assert mcsim_command("show", finished, "--measure", "bias").returncode == 0
    finally:
        hidden.rename(study_file)


def test_replay_gives_the_stored_values(study_file, finished):
    rows = mcsim.open(finished).replicates
    cell = mcsim.open(finished).study["cells"][1]["hash"]
    done = mcsim_command("replay", study_file, "--store", finished, "--cell", cell[:8], "--rep", 7)
    assert done.returncode == 0, done.stderr
    mine = rows[(rows["rep"] == 7) & (rows["shift"] == 1.0) & (rows["estimator"] == "mean")]
    line = next(line for line in done.stdout.splitlines() if line.split()[:1] == ["mean"])
    assert line.count(f"{mine['value'].item():.6f}") == 2  # estimated again, and as stored


def test_changed_study_stops_with_the_difference(study_file, finished, tmp_path):
    changed = tmp_path / "means.py"
    changed.write_text(STUDY.replace("FACTOR = 1.25", "FACTOR = 1.3"))
    done = mcsim_command("run", changed, "--reps", 60, "--store", finished, "--quiet")
    assert done.returncode == 3
    assert "median" in done.stderr
    assert "FACTOR" in done.stderr
    assert "--accept-changes" in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "defines no 'study'"),
        ("study = 3", "expected an mcsim.Study"),
        ("study = undefined", "NameError"),
        ("import mcsim\nstudy = mcsim.Study(dgp=None, estimators=[])", "estimators: got none"),
    ],
)
def test_wrong_study_files_are_sentences(tmp_path, text, message):
    file = tmp_path / "wrong.py"
    file.write_text(textwrap.dedent(text))
    done = mcsim_command("run", file, "--store", tmp_path / "store")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("run", "missing.py"), 2, "does not exist"),
        (("show", "nowhere"), 1, "is not a store"),
        (("run", "{file}", "--reps", 0), 2, "--reps"),
        (("show", "{store}", "--measure", "coverag"), 2, "did you mean 'coverage'"),
        (("show", "{store}", "--format", "xlsx"), 2, "format"),
        (("show", "{store}", "--over", "shft"), 2, "did you mean 'shift'"),
        (("replay", "{file}", "--store", "{store}", "--cell", "zz", "--rep", 1), 2, "expected one"),
    ],
)
def test_wrong_arguments_are_sentences(study_file, finished, arguments, code, message):
    filled = [str(a).format(file=study_file, store=finished) for a in arguments]
    done = mcsim_command(*filled)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_estimator_that_always_fails_exits_with_4(tmp_path):
    file = tmp_path / "failing.py"
    file.write_text(STUDY.replace('frame["y"].median()', 'frame["z"].median()'))
    done = mcsim_command("run", file, "--reps", 4, "--store", tmp_path / "store", "--workers", 1)
    assert done.returncode == 4
    assert "warning: median: 8 of 8 failed: KeyError: 'z'; the frame has no column" in done.stderr
    assert "median failed in all 64 replications of its first block in cell" in done.stderr
    failures = list((tmp_path / "store").glob("failures/*/*/*.json"))
    assert failures
    assert "KeyError" in failures[0].read_text()


# Several studies in one store

ONE = mcsim.Study({"one": constant_dgp()}, {"slow": exact_estimator(bias=1.0)})
TWO = mcsim.Study({"two": constant_dgp()}, {"fast": exact_estimator(bias=2.0)})


def run_in(store, study, reps=20):
    return mcsim.run(study, reps=reps, store=store, workers=0, progress=False)


FILE_OF_TWO = """
import jax
import mcsim
from mcsim.testing import constant_dgp, exact_estimator

study = mcsim.Study({"two": constant_dgp()}, {"fast": exact_estimator(bias=2.0)}, reps=20)

def report(results, folder):
    (folder / "dgps.txt").write_text(" ".join(results.study["dgps"]))
"""


def test_the_command_prints_reports_and_judges_the_rows_of_its_own_file(tmp_path):
    @mcsim.host(estimand="mean")
    def failing(frame):
        raise ValueError("of study one")

    with pytest.warns(UserWarning, match="of study one"):
        run_in(tmp_path / "s", mcsim.Study({"one": constant_dgp()}, {"slow": failing}))
    (record,) = tmp_path.glob("s/runs/*.json")  # of another machine, whose clock is ahead
    record.rename(record.with_name("29990101T000000.000000-abcdef.json"))
    file = tmp_path / "two.py"
    file.write_text(FILE_OF_TWO)
    done = mcsim_command("run", file, "--store", tmp_path / "s", "--workers", 0)
    assert done.returncode == 0  # 4 where an estimator fails as that of study one does
    assert "fast" in done.stdout
    assert "slow" not in done.stdout + done.stderr
    assert "of study one" not in done.stderr
    assert (tmp_path / "s" / "report" / "dgps.txt").read_text() == "two"


def test_show_takes_a_study_and_names_the_others(tmp_path):
    run_in(tmp_path, ONE)
    run_in(tmp_path, TWO)
    last = mcsim_command("show", tmp_path)
    assert "fast" in last.stdout
    said = re.fullmatch(
        r"This is study (\w+), run last; the store also holds (\w+) \(one; slow; 20 replications, "
        r"seed 0\): choose with --study\.\n",
        last.stderr,
    )
    two, one = said.groups()
    chosen = mcsim_command("show", tmp_path, "--study", one[:5])
    assert "slow" in chosen.stdout
    assert "fast" not in chosen.stdout
    assert chosen.stderr == ""
    assert list(mcsim.open(tmp_path, study=one).study["dgps"]) == ["one"]
    unknown = mcsim_command("show", tmp_path, "--study", "xyz")
    assert unknown.returncode == 2
    assert f"study: got 'xyz', expected one of {', '.join(sorted([one, two]))}" in unknown.stderr


def test_show_names_no_study_whose_rows_it_shows(tmp_path):
    run_in(tmp_path, ONE, reps=10)
    run_in(tmp_path, mcsim.Study({**ONE.dgps, **TWO.dgps}, ONE.methods), reps=20)
    assert mcsim_command("show", tmp_path).stderr == ""
    run_in(tmp_path, ONE, reps=10)  # the larger one has rows that are not shown now
    assert "(one and two; slow; 20 replications, seed 0)" in mcsim_command("show", tmp_path).stderr


def test_the_module_report_of_mcsim_is_no_report_of_the_study(tmp_path):
    (tmp_path / "study.py").write_text(
        "from mcsim import *\n"
        "from mcsim.testing import constant_dgp, exact_estimator\n"
        "study = Study(constant_dgp(), exact_estimator())\n"
    )
    options = "--reps", 4, "--workers", 0, "--store", tmp_path / "s"
    done = mcsim_command("run", tmp_path / "study.py", *options)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
