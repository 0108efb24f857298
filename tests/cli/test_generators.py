"""The commands of generators, fit, sample and fidelity, as a user meets them."""

from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest

import mcsim
from command_line import mcsim_command
from mcsim.cli._frames import schema_for
from mcsim.generators import GaussianCopula, load, save


@pytest.fixture(scope="module")
def wages(tmp_path_factory) -> Path:
    """Wages of 60 people in 6 years; 3 regions; one person works part of the time."""
    rng = np.random.default_rng(0)
    people, years = np.repeat(np.arange(60) + 100, 6), np.tile(np.arange(1980, 1986), 60)
    level = np.repeat(rng.normal(size=60), 6)
    frame = pd.DataFrame(
        {
            "person": people,
            "year": years,
            "wage": np.exp(2 + 0.5 * level + 0.2 * rng.normal(size=360)),
            "hours": rng.integers(1000, 3000, 360),
            "region": np.repeat(rng.choice(["a", "b", "c"], 60), 6),
        }
    )
    file = tmp_path_factory.mktemp("wages") / "wages.csv"
    frame.sample(frac=1, random_state=0).to_csv(file, index=False)
    return file


FIT = ("--unit", "person", "--time", "year", "--kind", "gaussian-copula")


@pytest.fixture(scope="module")
def model(wages) -> Path:
    """A model of wages and hours."""
    path = wages.parent / "model.safetensors"
    done = mcsim_command("fit", wages, *FIT, "--columns", "wage,hours", "--out", path)
    assert done.returncode == 0, done.stderr
    assert "Panel(60 units x 6 periods: wage, hours)" in done.stdout
    assert "wage   continuous" in done.stdout
    assert "FittedPanel(GaussianCopula: wage, hours over 6 periods)" in done.stdout
    assert "Caveat: Common shocks are those of the data" in done.stdout
    assert f"Model in {path}" in done.stdout
    return path


def test_fit_is_what_python_fits(wages, model):
    panel, schema = mcsim.from_frame(
        pd.read_csv(wages), "person", "year", columns=["wage", "hours"]
    )
    mine = GaussianCopula().fit(mcsim.key(0), panel, schema=schema)
    loaded = load(model)
    key = mcsim.key(1)
    np.testing.assert_array_equal(loaded.sample(key, 9)["wage"], mine.sample(key, 9)["wage"])


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_sample_writes_the_names_of_the_data(model, tmp_path, ending):
    out = tmp_path / "new" / f"panel.{ending}"
    done = mcsim_command("sample", model, "-n", 25, "--seed", 3, "--out", out)
    assert done.returncode == 0, done.stderr
    if ending == "csv":
        frame = pd.read_csv(out, index_col=["person", "year"])
    else:
        frame = pd.read_parquet(out)
    assert frame.shape == (150, 2)
    assert frame.index.names == ["person", "year"]
    assert frame.index.get_level_values("year").unique().tolist() == list(range(1980, 1986))
    expected = mcsim.to_frame(load(model).sample(mcsim.key(3), 25), load(model).schema)
    pd.testing.assert_frame_equal(frame, expected, rtol=1e-12)


def test_sample_prints_without_a_file(model):
    done = mcsim_command("sample", model, "-n", 2, "--periods", 3, "--common-shocks", "redraw")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "person,year,wage,hours"
    assert [line.split(",")[1] for line in lines[1:]] == ["1980", "1981", "1982"] * 2
    fixed = mcsim_command("sample", model, "-n", 2, "--periods", 3)
    assert fixed.stdout != done.stdout


def test_options_reach_the_trainer(wages, tmp_path):
    out = tmp_path / "grouped.safetensors"
    options = ("--categorical", "region", "--cluster", "person", "--common-shocks", "redraw")
    done = mcsim_command("fit", wages, *FIT, *options, "--out", out)
    assert done.returncode == 2
    assert "gives each unit a group of its own" in done.stderr or "person" in done.stderr
    done = mcsim_command("fit", wages, *FIT, "--categorical", "region", "--common-shocks", "redraw",
                         "--out", out, "--quiet")  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, str(out))
    generator = load(out)
    assert generator.common_shocks == "redraw"
    assert generator.schema["region"].levels == ("a", "b", "c")
    arguments = ("--kind", "UnitBootstrap", "--columns", "wage", "--seed", 7, "--out", out)
    bootstrap = mcsim_command("fit", wages, "--unit", "person", "--time", "year", *arguments)
    assert bootstrap.returncode == 0, bootstrap.stderr
    assert type(load(out).config).__name__ == "UnitBootstrap"


def test_missing_cells_are_modeled_when_asked(wages, tmp_path):
    frame = pd.read_csv(wages)
    frame.loc[[3, 50, 71], "wage"] = np.nan
    holes, out = tmp_path / "holes.csv", tmp_path / "m.safetensors"
    frame.to_csv(holes, index=False)
    arguments = ("fit", holes, *FIT, "--columns", "wage,hours", "--out", out)
    done = mcsim_command(*arguments)
    assert done.returncode == 2
    assert "3 missing values; drop them, or pass --missing model" in done.stderr
    done = mcsim_command(*arguments, "--missing", "model")
    assert done.returncode == 0, done.stderr
    generator = load(out)
    panel, schema = mcsim.from_frame(frame, *FIT[1:4:2], columns=["wage", "hours"], missing="keep")
    mine = GaussianCopula(missing="model").fit(mcsim.key(0), panel, schema=schema)
    drawn = (one.sample(mcsim.key(1), 9)["wage"] for one in (generator, mine))
    np.testing.assert_array_equal(*drawn)
    frame.dropna().to_csv(holes, index=False)
    done = mcsim_command(*arguments)
    assert "let the generator complete them: --missing model" in done.stderr
    done = mcsim_command(*arguments, "--missing", "model")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [("--unit", "person", "--time", "year", "--kind", "macro-panel"), ("--kind", "wgan")],
)
def test_missing_cells_are_not_promised_to_be_modeled(wages, tmp_path, arguments):
    frame, holes = pd.read_csv(wages), tmp_path / "holes.csv"
    frame.loc[3, "wage"] = np.nan
    frame.to_csv(holes, index=False)
    done = mcsim_command("fit", holes, "--columns", "wage", *arguments)
    assert done.returncode == 2
    assert done.stderr == "error: column 'wage': 1 missing values; drop or impute them first\n"


def test_cross_sections(wages, tmp_path):
    frame = pd.read_csv(wages)
    people, out = tmp_path / "people.parquet", tmp_path / "m.safetensors"
    frame[frame["year"] == 1983][["wage", "hours"]].to_parquet(people, index=False)
    done = mcsim_command("fit", people, "--kind", "gaussian_copula", "--out", out)
    assert done.returncode == 0, done.stderr
    for one in ((), ("--periods", 1)):
        drawn = mcsim_command("sample", out, "-n", 4, *one)
        assert drawn.stdout.splitlines()[0] == "unit,wage,hours"
    done = mcsim_command("sample", out, "-n", 4, "--periods", 2)
    assert (done.returncode, "the model is of a cross-section" in done.stderr) == (2, True)
    done = mcsim_command("sample", out, "-n", 4, "--common-shocks", "redraw")
    assert (done.returncode, "cross-section, which has none" in done.stderr) == (2, True)


@pytest.fixture(scope="module")
def growth(tmp_path_factory) -> Path:
    """Growth of 12 countries in 60 quarters, and the temperature there."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(12, 1)) + rng.normal(size=60) + rng.normal(size=(12, 60))
    quarters = pd.date_range("1990-01-01", periods=60, freq="QS").strftime("%Y-%m-%d")
    frame = pd.DataFrame(
        {
            "country": np.repeat([f"c{number}" for number in range(12)], 60),
            "quarter": np.tile(quarters, 12),
            "growth": values.ravel(),
            "temperature": rng.normal(size=720),
        }
    )
    file = tmp_path_factory.mktemp("growth") / "growth.csv"
    frame.to_csv(file, index=False)
    return file


MACRO = ("--unit", "country", "--time", "quarter", "--kind", "macro-panel")


@pytest.mark.optimized
@pytest.mark.slow
def test_macro_panels(growth, tmp_path):
    out, report = tmp_path / "m.safetensors", tmp_path / "report"
    done = mcsim_command("fit", growth, *MACRO, "--columns", "growth", "--out", out)
    assert done.returncode == 0, done.stderr
    drawn = mcsim_command("sample", out, "-n", 2, "--periods", 62)
    lines = drawn.stdout.splitlines()
    assert lines[0] == "country,quarter,growth"
    assert [line.split(",")[1] for line in lines[61:63]] == ["2005-01-01", "2005-04-01"]
    done = mcsim_command("sample", out, "-n", 2, "--periods", 62, "--common-shocks", "fixed")
    assert done.returncode == 2
    assert "--periods: got 62" in done.stderr
    assert "draw them anew: --common-shocks redraw" in done.stderr
    arguments = ("--splits", 2, "--replications", 20, "--out", report)
    done = mcsim_command("fidelity", growth, out, *arguments)
    assert done.returncode == 0, done.stderr
    assert "MacroPanel is fit again on half splits" in done.stdout
    assert "| MacroPanel |" in (report / "fidelity.md").read_text()


@pytest.mark.slow
def test_fidelity_of_a_cross_section(wages, tmp_path):
    frame, out = pd.read_csv(wages), tmp_path / "m.safetensors"
    people, report = tmp_path / "people.csv", tmp_path / "report"
    frame.assign(north=frame["region"] == "a")[["north", "wage", "hours"]].to_csv(
        people, index=False
    )
    fit = ("fit", people, "--kind", "gaussian-copula", "--given", "north", "--out", out)
    done = mcsim_command(*fit)
    assert done.returncode == 0, done.stderr
    assert f"mcsim fidelity {people} {out}" in done.stdout
    assert "mcsim sample" not in done.stdout
    done = mcsim_command("fidelity", people, out, "--out", report)
    assert done.returncode == 0, done.stderr
    assert "GaussianCopula is fit again on folds" in done.stdout
    assert "GaussianCopula" in (report / "fidelity.md").read_text()
    done = mcsim_command("fidelity", people, out, "--splits", 4)
    assert done.returncode == 2
    assert "--splits: the model is of a cross-section" in done.stderr


def test_periods_go_on_where_the_generator_draws_more(wages, tmp_path):
    out = tmp_path / "blocks.safetensors"
    done = mcsim_command("fit", wages, "--unit", "person", "--time", "year", "--kind",
                         "block-bootstrap", "--columns", "wage", "--out", out)  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = mcsim_command("sample", out, "-n", 1, "--periods", 8).stdout.splitlines()
    assert [line.split(",")[1] for line in lines[1:]] == [str(1980 + t) for t in range(8)]


@pytest.mark.parametrize(
    ("labels", "later"),
    [
        ((1980, 1982, 1984), [1986, 1988]),
        (("1961-04-01", "1961-07-01", "1961-10-01"), ["1962-01-01", "1962-04-01"]),
        (tuple(pd.date_range("2000-01-31", periods=3, freq="ME")), list(pd.to_datetime(
            ["2000-04-30", "2000-05-31"]))),
        (("a", "b", "c"), [3, 4]),
        ((1980, 1982, 1985), [3, 4]),
    ],
)  # fmt: skip
def test_labels_go_on_in_their_step(labels, later):
    schema = mcsim.Schema((mcsim.Column("y", "continuous"),), period_labels=labels)
    assert list(schema_for(schema, 5).period_labels[3:]) == later
    assert schema_for(schema, 2).period_labels == labels[:2]


@pytest.mark.slow
def test_fidelity_refits_and_writes(wages, model, tmp_path):
    arguments = ("--splits", 2, "--replications", 20, "--out", tmp_path / "report")
    done = mcsim_command("fidelity", wages, model, *arguments)
    assert done.returncode == 0, done.stderr
    assert "GaussianCopula is fit again on half splits" in done.stdout
    assert "nearest-neighbor ratio" in done.stdout
    text = (tmp_path / "report" / "fidelity.md").read_text()
    assert "| GaussianCopula |" in text
    assert (tmp_path / "report" / "fidelity.png").stat().st_size > 10_000


def test_one_period_is_said_to_be_a_cross_section(wages, tmp_path):
    out, one = tmp_path / "one.safetensors", tmp_path / "one.csv"
    frame = pd.read_csv(wages)
    frame[frame["year"] == 1980].to_csv(one, index=False)
    done = mcsim_command("fit", one, *FIT, "--columns", "wage,hours", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "There is one period in 'year': the data were learned as a cross-section." in done.stdout


def test_fidelity_of_data_with_gaps_is_neither_proposed_nor_made(wages, tmp_path):
    out, holed = tmp_path / "holed.safetensors", tmp_path / "holed.csv"
    frame = pd.read_csv(wages)
    frame.loc[frame.index[3], "wage"] = np.nan
    frame.to_csv(holed, index=False)
    done = mcsim_command(
        "fit", holed, *FIT, "--columns", "wage", "--missing", "model", "--out", out
    )
    assert done.returncode == 0, done.stderr
    assert "mcsim sample" in done.stdout
    assert "mcsim fidelity" not in done.stdout
    done = mcsim_command("fidelity", holed, out)
    assert done.returncode == 2
    assert "drop units that have any: fidelity compares complete panels" in done.stderr


def test_fidelity_is_without_groups(wages, tmp_path):
    out, clustered = tmp_path / "grouped.safetensors", tmp_path / "clustered.csv"
    frame = pd.read_csv(wages)
    names = "v" + (frame["person"] // 4).astype(str)
    frame.assign(village=names).to_csv(clustered, index=False)
    grouped = ("--columns", "wage,village", "--cluster", "village", "--out", out, "--quiet")
    done = mcsim_command("fit", clustered, *FIT, *grouped)
    assert done.returncode == 0, done.stderr
    with mock.patch.object(mcsim, "fidelity", return_value="the table") as compared:
        done = mcsim_command("fidelity", clustered, out)
    assert done.returncode == 0, done.stderr
    assert "units are compared, without the groups in 'village'" in done.stdout
    panel, trainers = compared.call_args.args
    assert list(panel) == ["wage"]
    assert trainers["GaussianCopula"].cluster is None
    assert compared.call_args.kwargs["schema"].names == ("wage",)


def test_notes_of_an_error_follow_its_sentence(wages, model):
    error = mcsim.errors.InputError("it draws NaN")
    error.add_note("in fidelity: the draws of generator 'mine'")
    with mock.patch.object(mcsim, "fidelity", side_effect=error):
        done = mcsim_command("fidelity", wages, model)
    assert done.returncode == 2
    assert done.stderr == "error: it draws NaN\nin fidelity: the draws of generator 'mine'\n"


def test_fidelity_checks_out_before_it_computes(wages, model):
    with mock.patch.object(mcsim, "fidelity", side_effect=AssertionError("computed")):
        done = mcsim_command("fidelity", wages, model, "--out", wages)
    assert done.returncode == 2
    assert f"--out: {wages} cannot be a folder to write to" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit", "nowhere.csv"), "data: nowhere.csv does not exist"),
        (("fit", "{wages}.txt"), "ends in .csv, .tsv, .csv.gz, .tsv.gz, .parquet or .dta"),
        (("fit", "{wages}", "--kind", "vaee"), "--kind: got 'vaee'; did you mean 'vae'?"),
        (("fit", "{wages}", "--kind", "copula"), "did you mean 'gaussian-copula'?"),
        (("fit", "{wages}", "--unit", "person", "--columns", "wage"),
         "name their column with --time"),
        (("fit", "{wages}", "--kind", "macro-panel", "--cluster", "x"), "has no such option"),
        (("fit", "{wages}", "--kind", "gaussian-copula", "--unit", "persn", "--time", "year"),
         "did you mean 'person'"),
        (("fit", "{wages}", *FIT, "--columns", "wag"), "did you mean 'wage'"),
        (("fit", "{wages}", *FIT),
         "declare it with --categorical region or leave it out with --columns"),
        (("fit", "{wages}", *FIT, "--columns", "wage", "--missing", "modl"), "mean 'model'"),
        (("fit", "{wages}", *FIT, "--columns", "wage", "--out", "/proc/x/m"), "cannot be written"),
        (("fit", "{wages}", *FIT, "--columns", "wage", "--out", "/proc/m"), "cannot be written"),
        (("fit", "{wages}", *FIT, "--columns", "wage", "--out", "/proc"), "/proc is a folder"),
        (("fit", "{growth}", *MACRO), "learns one outcome; choose it: --columns growth"),
        (("fit", "{growth}", *MACRO, "--missing", "model"), "--missing: MacroPanel has no such"),
        (("sample", "{wages}", "-n", 3), "not a model file"),
        (("sample", "nowhere.safetensors", "-n", 3), "there is no such file"),
        (("sample", "{model}", "-n", 3, "--periods", 9), "learned 6 periods and draws no more"),
        (("sample", "{model}", "-n", 3, "--out", "panel.xlsx"), "ends in .csv or .parquet"),
        (("sample", "{model}", "-n", 3, "--common-shocks", "new"), "--common-shocks: got 'new'"),
        (("sample", "{model}", "-n", 0), "-n"),
        (("fidelity", "{wages}", "{wages}"), "not a model file"),
        (("fidelity", "{other}", "{model}"), "'person' is not in the frame"),
    ],
)  # fmt: skip
def test_wrong_arguments_of_generators_are_sentences(
    wages, model, growth, tmp_path, arguments, message
):
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    files = {"wages": wages, "model": model, "growth": growth, "other": other}
    filled = [str(a).format(**files) for a in arguments]
    done = mcsim_command(*filled)
    assert done.returncode == 2
    assert message in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_other_categories_are_named(wages, tmp_path):
    out, other = tmp_path / "m.safetensors", tmp_path / "other.csv"
    arguments = (*FIT, "--categorical", "region", "--out", out, "--quiet")
    assert mcsim_command("fit", wages, *arguments).returncode == 0
    pd.read_csv(wages).replace({"region": {"c": "z"}}).to_csv(other, index=False)
    done = mcsim_command("fidelity", other, out)
    assert done.returncode == 2
    assert "column 'region': its categories are ['a', 'b', 'z']" in done.stderr


def test_models_that_are_given_columns_are_not_sampled_blindly(tmp_path):
    rng = np.random.default_rng(0)
    panel = mcsim.Panel({"treat": np.arange(60) % 2.0, "wage": rng.normal(size=60)})
    fit = GaussianCopula().fit(mcsim.key(0), panel, given=["treat"])
    done = mcsim_command("sample", save(fit, tmp_path / "m"), "-n", 5)
    assert done.returncode == 2
    assert "was fit given ['treat']" in done.stderr
