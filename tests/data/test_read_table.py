"""Tables from files: what is read, what is said of it, and what is refused with the remedy."""

import gzip
import warnings

import numpy as np
import pandas as pd
import pytest

from command_line import mcsim_command
from mcsim import from_frame, read_table
from mcsim._data.cells import notations_of
from mcsim.errors import InputError

PLAIN = "id,year,wage\n1,2000,3.5\n1,2001,4.25\n2,2000,-0.5\n"
FRAME = pd.DataFrame({"id": [1, 1, 2], "year": [2000, 2001, 2000], "wage": [3.5, 4.25, -0.5]})


def write(path, text, encoding="utf-8"):
    data = text.encode(encoding)
    path.write_bytes(gzip.compress(data) if path.name.lower().endswith(".gz") else data)
    return path


@pytest.mark.parametrize(
    "name", ["a.csv", "A.CSV", "a.tsv", "a.csv.gz", "a.TSV.Gz", "a.parquet", "a.dta", "A.DTA"]
)
def test_every_kind_of_file_gives_the_same_table(tmp_path, name):
    path, kind = tmp_path / name, name.lower()
    if ".parquet" in kind:
        FRAME.to_parquet(path)
    elif ".dta" in kind:
        FRAME.to_stata(path, write_index=False)
    else:
        write(path, PLAIN.replace(",", "\t") if ".tsv" in kind else PLAIN)
    pd.testing.assert_frame_equal(read_table(path), FRAME, check_dtype=kind != "a.dta")
    pd.testing.assert_frame_equal(read_table(str(path)), read_table(path))


@pytest.mark.parametrize(
    ("text", "encoding", "options"),
    [
        (PLAIN.replace(",", ";").replace(".", ","), "utf-8", {"sep": ";", "decimal": ","}),
        (PLAIN.replace(",", "|"), "utf-8", {"sep": "|"}),
        (PLAIN.replace(",", "\t"), "utf-8", {"sep": r"\t"}),
        (PLAIN, "utf-16", {"encoding": "utf-16"}),
        ("\ufeff" + PLAIN, "utf-8", {}),
        (PLAIN.replace("200", "2'00"), "utf-8", {"thousands": "'"}),
        (PLAIN.replace(",", ", "), "utf-8", {}),
    ],
    ids=["semicolon", "bar", "tab", "utf-16", "byte order mark", "thousands", "spaces"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:path. spaces")
def test_options_say_how_a_text_is_written(tmp_path, text, encoding, options):
    path = write(tmp_path / "a.csv", text, encoding)
    pd.testing.assert_frame_equal(read_table(path, **options), FRAME)


@pytest.mark.parametrize(
    ("text", "encoding", "remedy"),
    [
        ("id;wage\n1;3\n", "utf-8", {"sep": ";"}),
        ("id\twage\n1\t3\n", "utf-8", {"sep": "\t"}),
        ("id;wage\n1;3,5\n", "utf-8", {"sep": ";", "decimal": ","}),
        ("id;g;wage\n1;a;1.303,48\n", "utf-8", {"sep": ";", "decimal": ",", "thousands": "."}),
        ("name,wage\nMüller,1\n", "latin-1", {"encoding": "latin-1"}),
        (PLAIN, "utf-16", {"encoding": "utf-16"}),
        (PLAIN, "utf-32", {"encoding": "utf-32"}),
    ],
)
def test_the_option_that_is_named_helps(tmp_path, text, encoding, remedy):
    path = write(tmp_path / "a.csv", text, encoding)
    call = ", ".join(["path", *(f"{name}={value!r}" for name, value in remedy.items())])
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert f"mcsim.read_table({call})" in str(caught.value)
    assert read_table(path, **remedy).shape[1] > 1


@pytest.mark.parametrize(
    ("cell", "remedy"),
    [
        ("3,5", {"decimal": ","}),
        ("1,303.48", {"thousands": ","}),
        ("1.303,48", {"decimal": ",", "thousands": "."}),
        ("1 303,48", {"decimal": ",", "thousands": " "}),
        ("..", {"missing_values": [".."]}),
        ("n/a?", {"missing_values": ["n/a?"]}),
    ],
)
def test_a_column_of_texts_names_the_option_that_makes_it_numbers(tmp_path, cell, remedy):
    path = write(tmp_path / "a.csv", f'g,x\na,"{cell}"\nb,7\n')
    call = ", ".join(["path", *(f"{name}={value!r}" for name, value in remedy.items())])
    with pytest.raises(InputError) as caught:
        from_frame(read_table(path), columns=["x"])
    assert f"column 'x': got values like {cell!r}, expected numbers" in str(caught.value)
    assert f"read the file with mcsim.read_table({call})" in str(caught.value)
    assert pd.api.types.is_numeric_dtype(read_table(path, **remedy)["x"])


def test_numbers_in_another_notation_are_told_from_text():
    assert notations_of(["1,303"]) == [{"thousands": ","}, {"decimal": ","}]
    assert notations_of(["1,303", "2,5"]) == [{"decimal": ","}]
    assert notations_of(["1,303", "3.5"]) == [{"thousands": ","}]
    assert notations_of(["3.5", "7"]) == []
    assert notations_of(["1,2,3", "a"]) == []


@pytest.mark.parametrize("write_index", ["pandas", "pandas, shuffled", "R", "twice"])
def test_row_numbers_without_a_name_are_left_out_and_said(tmp_path, write_index):
    path, frame = tmp_path / "a.csv", FRAME
    if write_index == "pandas, shuffled":
        frame = FRAME.iloc[[2, 0]]
    if write_index == "R":
        write(path, '"","id","year","wage"\n"1",1,2000,3.5\n"2",1,2001,4.25\n"3",2,2000,-0.5\n')
    else:
        frame.to_csv(path)
    if write_index == "twice":
        pd.read_csv(path).to_csv(path)
    with pytest.warns(UserWarning, match="a column without a name holds row numbers"):
        found = read_table(path)
    pd.testing.assert_frame_equal(found, frame.reset_index(drop=True))


def test_other_columns_without_a_name_stay_or_are_empty(tmp_path):
    named = write(tmp_path / "a.csv", ",x\nAustria,1\nBelgium,2\n")
    assert read_table(named)["Unnamed: 0"].tolist() == ["Austria", "Belgium"]
    trailing = write(tmp_path / "b.csv", "x,y,\n1,2,\n3,4,\n")
    assert read_table(trailing).columns.tolist() == ["x", "y"]


def test_a_point_among_numbers_is_missing_and_among_texts_a_text(tmp_path):
    path = write(tmp_path / "a.csv", "id;wage;hours;g\n1;.;8;.\n2;3,5;.a;x\n3;4,5;7;y\n")
    with pytest.warns(UserWarning, match="stands for a missing value in Stata and SAS") as said:
        frame = read_table(path, sep=";", decimal=",")
    assert [str(warning.message).split(",")[0] for warning in said] == [
        "column 'wage': 1 cell holds '.'",
        "column 'hours': 1 cell holds '.'",
    ]
    np.testing.assert_array_equal(frame["wage"], [np.nan, 3.5, 4.5])
    np.testing.assert_array_equal(frame["hours"], [8, np.nan, 7])
    assert frame["g"].tolist() == [".", "x", "y"]
    with pytest.raises(UserWarning, match="column 'wage'"):  # as an error it stays what it is
        read_table(path, sep=";", decimal=",")


def test_missing_values_are_those_of_any_file(tmp_path):
    frame = pd.DataFrame({"x": [1, -99, 3], "g": ["a", "-99", ".."]})
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_csv(tmp_path / "a.csv", index=False)
    for name in ("a.parquet", "a.csv"):
        found = read_table(tmp_path / name, missing_values=["-99", ".."]).isna()
        assert found.to_numpy().tolist() == [[False, False], [True, True], [False, True]]


def test_value_labels_of_stata_become_categories_where_all_values_have_one(tmp_path):
    frame = pd.DataFrame({"region": [1, 2, 1], "age": [30, 97, 31]})
    labels = {"region": {1: "north", 2: "south"}, "age": {97: "97 or older"}}
    frame.to_stata(tmp_path / "a.dta", write_index=False, value_labels=labels)
    with pytest.warns(UserWarning, match=r"\['age'\] have labels for some values only"):
        found = read_table(tmp_path / "a.dta")
    assert found["region"].tolist() == ["north", "south", "north"]
    assert found["age"].tolist() == [30, 97, 31]
    labels = {"region": {1: "north", 2: "north"}}
    frame.to_stata(tmp_path / "b.dta", write_index=False, value_labels=labels)
    with pytest.warns(UserWarning, match="two values share one"):
        assert read_table(tmp_path / "b.dta")["region"].tolist() == [1, 2, 1]


def test_all_commands_read_with_the_same_options(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"firm": np.repeat(range(30), 3), "year": [2000, 2001, 2002] * 30, "y": rng.normal(size=90)}
    )
    data, model = tmp_path / "Firms.CSV.gz", tmp_path / "m.safetensors"
    frame.loc[3, "y"] = np.nan
    frame.to_csv(data, sep=";", decimal=",", na_rep="..", index=False, compression="gzip")
    options = ("--sep", ";", "--decimal", ",", "--missing-values", "..")
    fit = ("--unit", "firm", "--time", "year", "--kind", "gaussian-copula", "--out", model)
    done = mcsim_command("fit", data, *fit, *options)
    assert "column 'y': 1 missing values; drop them, or pass --missing model" in done.stderr
    frame.fillna(0.5).to_csv(data, sep=";", decimal=",", index=False, compression="gzip")
    done = mcsim_command("fit", data, *fit, *options)
    assert done.returncode == 0, done.stderr
    said = f"mcsim fidelity {data} {model} --sep=';' --decimal=',' --missing-values='..'"
    assert said in done.stdout
    done = mcsim_command("fidelity", data, model)
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"error: data: {data} has one column, 'firm;year;y'; read it with --sep=';' --decimal=','"
    )


def test_a_warning_points_at_the_line_of_the_user(tmp_path):
    path = write(tmp_path / "a.csv", " x,y\n1,2\n")
    with warnings.catch_warnings(record=True, action="always") as caught:
        read_table(path)
    assert [warning.filename for warning in caught] == [__file__]


def test_leading_zeros_are_said_where_they_are_lost(tmp_path):
    path = write(tmp_path / "a.csv", "fips,name,x\n1,a01,0\n02,01,0.5\n10,b,7\n", "utf-8")
    with pytest.warns(UserWarning, match="column 'fips': '02' is read as the number 2") as caught:
        frame = read_table(path)
    assert len(caught) == 1
    assert frame["fips"].tolist() == [1, 2, 10]
    assert frame["name"].tolist() == ["a01", "01", "b"]


@pytest.mark.parametrize("name", ["w.XLSX", "w.xls", "w.json", "w.txt"])
def test_other_files_are_read_by_pandas(name):
    with pytest.raises(InputError, match=r"; frame = pd\.read_\w+\('w\.\w+'\); frame\.to_csv\('w"):
        read_table(name)
