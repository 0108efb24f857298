"""Samples in files as a DGP: which file is which replication, what a store notices, faults."""

import numpy as np
import pandas as pd
import pytest

import mcsim
from command_line import mcsim_command
from mcsim import Study, from_files, run
from mcsim._core.keys import digest
from mcsim._definitions.describe import describe
from mcsim._host.host import rng_from_words
from mcsim.cli._studies import load_study_file
from mcsim.errors import InputError, StoreMismatch
from mcsim.testing import check_dgp

STUDY = """
import jax, jax.numpy as jnp
from mcsim import Estimate, Panel, Sample, Study, grid

def panels(key, design):
    y = jax.random.normal(key, (design["n"], 4))
    d = jnp.zeros((design["n"], 4)).at[:4, 2:].set(1.0)
    return Sample(Panel({"y": y + d, "d": d}), {"att": 1.0 + y[0, 0]})

def last(key, panel):
    return {"att": Estimate(jnp.sum(panel["y"] * panel["d"]) / 8, panel["y"][:, 3].std())}

study = Study(dgp=panels, designs=grid(n=[12]), estimators=last, reps=20)
"""


WRITE = {
    "csv": lambda frame, file: frame.to_csv(file, index=False),
    "parquet": lambda frame, file: frame.to_parquet(file),
    "dta": lambda frame, file: frame.to_stata(file, write_index=False),
}


RNG = rng_from_words(np.array([0, 0], np.uint32))


def mean(frame):
    return mcsim.Estimate(frame["y"].mean())


def write(folder, n=12, rows=5, ending="csv", **columns):
    """Write samples whose y has the mean of the file's number."""
    folder.mkdir(exist_ok=True)
    for k in range(n):
        frame = pd.DataFrame({"y": k + np.arange(rows) - (rows - 1) / 2, **columns})
        WRITE[ending](frame, folder / f"sim{k}.{ending}")
    return folder


def estimates(dgp, reps, **options):
    study = Study(dgp=dgp, estimators=mcsim.host(mean))
    return run(study, reps=reps, progress=False, **options).replicates


@pytest.mark.parametrize("ending", ["csv", "parquet", "dta"])
def test_replication_r_reads_file_r_in_the_order_of_numbers(tmp_path, ending):
    rows = estimates(from_files(write(tmp_path / "sims", ending=ending), 5.5), 12, workers=0)
    assert rows["value"].tolist() == list(range(12))  # sim10 after sim9
    assert set(rows["truth"]) == {5.5}
    assert set(rows["dgp"]) == {"sims"}


def test_seed_and_workers_change_no_sample(tmp_path):
    dgp = from_files(write(tmp_path / "sims"), 0.0)
    one, other = (estimates(dgp, 12, seed=s, workers=w) for s, w in ((0, 0), (7, 2)))
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.filterwarnings("ignore:.*truth")
def test_samples_of_a_study_come_back_with_their_truths_and_estimates(tmp_path):
    (tmp_path / "study.py").write_text(STUDY)
    folder = tmp_path / "samples"
    assert mcsim_command("sample", tmp_path / "study.py", "--reps", 20, "--out", folder)[0] == 0
    study = load_study_file(tmp_path / "study.py").study
    drawn = run(study, reps=20, workers=0, progress=False).replicates
    read = Study(dgp=from_files(folder), estimators=study.estimators)
    rows = run(read, reps=20, workers=0, progress=False).replicates
    for column in ("value", "se", "truth"):
        np.testing.assert_allclose(rows[column], drawn[column], rtol=1e-12)


COMPUTED = """
import jax
import mcsim
from mcsim.testing import exact_estimator

class Normal:
    def __call__(self, key, design):
        return mcsim.Sample(mcsim.Panel({"y": jax.random.normal(key, (4,))}), {})

    def truth(self, key, design):
        return {"mean": (0.25, 0.01)}

study = mcsim.Study(dgp={"normal": Normal()}, estimators=exact_estimator())
"""


def test_a_truth_that_is_computed_once_is_written_with_the_samples(tmp_path):
    (tmp_path / "study.py").write_text(COMPUTED)
    folder = tmp_path / "samples"
    done = mcsim_command("sample", tmp_path / "study.py", "--reps", 3, "--out", folder)
    assert done.returncode == 0, done.stderr
    assert from_files(folder)(RNG, {}, 2)[1] == {"mean": 0.25}


def test_a_cross_section_of_mcsim_sample_has_no_column_of_units(tmp_path):
    dgp = from_files(write(tmp_path / "sims", unit=range(5)))
    assert list(dgp(RNG, {}, 3)[0]) == ["y"]


def test_panels_by_the_names_of_units_and_periods(tmp_path):
    folder = write(tmp_path / "sims", rows=6, firm=[*"aabbcc"], year=[2001, 2002] * 3)
    frame, _ = from_files(folder, unit="firm", time="year")(RNG, {}, 0)
    assert frame.index.names == ["firm", "year"]


def test_text_is_a_category_of_the_first_file(tmp_path):
    folder = write(tmp_path / "sims", rows=4, region=["a", "b", "b", None])
    frame, _ = from_files(folder)(RNG, {}, 1)
    assert list(frame["region"].cat.categories) == ["a", "b"]
    pd.DataFrame({"y": [1.0] * 4, "region": [*"abcc"]}).to_csv(folder / "sim3.csv", index=False)
    with pytest.raises(InputError, match=r"column 'region' of .*sim3.csv has 'c', which sim0.csv"):
        estimates(from_files(folder, 0.0), 12, workers=0)


def test_truths_of_a_table_are_in_the_order_of_rep(tmp_path):
    folder = write(tmp_path / "sims", n=3)
    table = pd.DataFrame({"rep": [3, 1, 2], "slope": [3.0, 1.0, 2.0]})
    table.to_csv(folder / "beta.csv", index=False)
    for truth in ("beta.csv", folder / "beta.csv"):
        dgp = from_files(folder, truth)
        assert [dgp(RNG, {}, rep)[1]["slope"] for rep in range(3)] == [1.0, 2.0, 3.0]


def test_the_definition_is_the_content_and_not_the_place(tmp_path):
    def identity(dgp):
        return digest({"": describe(dgp)})

    one, other = (from_files(write(tmp_path / name), 1.0) for name in "ab")
    assert identity(one) == identity(other)
    assert identity(from_files(tmp_path / "a", 2.0)) != identity(one)
    (tmp_path / "b" / "sim4.csv").write_text("y\n1\n2\n3\n4\n6\n")
    assert identity(from_files(tmp_path / "b", 1.0)) != identity(one)


def test_a_changed_file_stops_a_run_on_its_store(tmp_path):
    folder = write(tmp_path / "sims")
    estimates(from_files(folder, 0.0), 12, workers=0, store=tmp_path / "store")
    (folder / "sim4.csv").write_text("y\n1\n2\n3\n4\n6\n")
    with pytest.raises(StoreMismatch, match="cell 'sims'"):
        estimates(from_files(folder, 0.0), 12, workers=0, store=tmp_path / "store")


def test_a_file_that_changes_after_the_study_was_made_is_refused(tmp_path):
    dgp = from_files(write(tmp_path / "sims"), 0.0)
    (tmp_path / "sims" / "sim4.csv").write_text("y\n1\n2\n3\n4\n6\n")
    with pytest.raises(InputError, match=r"sim4\.csv has changed or is gone"):
        estimates(dgp, 12, workers=0)


def test_beyond_the_last_file_a_sentence_says_how_many_there_are(tmp_path):
    dgp = from_files(write(tmp_path / "sims"), 0.0)
    with pytest.raises(InputError, match=r"13, but dgp 'sims' has samples for 12 .* reps=12"):
        estimates(dgp, 13, workers=0)
    study = Study(dgp=dgp, estimators=mcsim.host(mean))
    with pytest.raises(InputError, match="got 2,000, but"):
        run(study, workers=0)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"z": [1] * 5}, "lacks 'y' and has besides 'z', unlike sim0.csv"),
        ({"y": [1.0] * 4}, "has 4 rows, and sim0.csv 5"),
    ],
)
def test_a_file_unlike_the_first_is_named(tmp_path, columns, words):
    folder = write(tmp_path / "sims")
    pd.DataFrame(columns).to_csv(folder / "sim7.csv", index=False)
    with pytest.raises(InputError, match=rf"sim7\.csv {words}"):
        estimates(from_files(folder, 0.0), 12, workers=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"truth": "a.csv"}, "does not exist"),
        ({"truth": float("nan")}, "truth: got nan, expected a number"),
        ({"unit": "firm"}, "unit: sim0.csv has no column 'firm'"),
        ({"time": "y"}, "unit: got none with time='y'"),
        ({"pattern": "*.dta"}, "has 0 files of samples"),
        ({"reps": 3}, "from_files"),
    ],
)
def test_faults_of_arguments(tmp_path, options, words):
    with pytest.raises((InputError, TypeError), match=words):
        from_files(write(tmp_path / "sims"), **options)


@pytest.mark.parametrize("pattern", ["", "/etc/*", "../*.csv"])
def test_a_pattern_names_files_of_the_folder(tmp_path, pattern):
    with pytest.raises(InputError, match="expected names of files in the folder"):
        from_files(write(tmp_path / "sims"), 0.0, pattern=pattern)


def test_digits_that_are_no_numbers_are_text(tmp_path):
    folder = write(tmp_path / "sims", n=2)
    for name in ("sim\u00b2.csv", "sim\u0663.csv"):
        (folder / name).write_text("y\n" + "9\n" * 5)
    names = [f"sim{n}.csv" for n in (0, 1, "\u0663", "\u00b2")]
    assert list(from_files(folder, 0.0).function.names) == names


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"rep": [0.0, None, 2.0]}, "no number in some rows of rep"),
        ({"rep": ["sim0", "sim10", "sim2"]}, "no number in some rows of rep"),
        ({"mean": [1.0, np.inf, 2.0]}, "infinite truths"),
    ],
)
def test_truths_are_finite_and_their_order_is_numbers(tmp_path, table, words):
    folder = write(tmp_path / "sims", n=3)
    table = pd.DataFrame({"mean": [1.0, 2.0, 3.0], **table})
    table.to_csv(folder / "truth.csv", index=False)
    with pytest.raises(InputError, match=words):
        from_files(folder)


def test_a_number_without_its_file_is_named(tmp_path, recwarn):
    folder = write(tmp_path / "sims")
    from_files(folder, 0.0)
    assert not recwarn.list
    (folder / "sim7.csv").unlink()
    with pytest.warns(
        UserWarning, match=r"between sim6.csv and sim8.csv; .* sim8.csv is replication 7"
    ):
        from_files(folder, 0.0)


def test_text_among_the_numbers_of_the_first_file_is_named(tmp_path):
    folder = write(tmp_path / "sims", n=3, d=[0, 1, 0, 1, 1])
    (folder / "sim1.csv").write_text("y,d\n" + "1,0\n" * 4 + "1,none\n")
    with pytest.raises(InputError, match=r"column 'd' of .*sim1.csv has 'none', and only numbers"):
        estimates(from_files(folder, 0.0), 3, workers=0)


def test_true_and_false_with_missing_cells_are_categories(tmp_path):
    folder = write(tmp_path / "sims", n=2, d=[True, False, True, True, False])
    (folder / "sim1.csv").write_text("y,d\n" + "1,True\n" * 4 + "2,\n")
    assert estimates(from_files(folder, 0.0), 2, workers=0)["value"].tolist() == [0.0, 1.2]


def test_faults_of_folders(tmp_path):
    folder = write(tmp_path / "sims")
    with pytest.raises(InputError, match=r"nowhere does not exist, expected a folder"):
        from_files(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"is a file, expected a folder"):
        from_files(folder / "sim1.csv")
    pd.DataFrame({"att": [1.0, 2.0]}).to_csv(folder / "truth.csv", index=False)
    with pytest.raises(InputError, match=r"truth.csv has 2 rows, expected one for each of 12"):
        from_files(folder)
    write(folder, ending="parquet")
    with pytest.raises(InputError, match=r"end in \.csv, \.parquet, expected one kind"):
        from_files(folder, 0.0)


def test_the_contract_of_dgps_holds(tmp_path):
    check_dgp(from_files(write(tmp_path / "sims", d=[0, 1, 0, 1, 1]), {"att": 0.0}))
