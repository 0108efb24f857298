"""Mistakes in data: files and frames."""

import gzip
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import mcsim
from command_line import Done, mcsim_command
from mcsim.dgps import at_random, with_effect
from mcsim.estimators import did, fixed_effects
from mcsim.generators import GaussianCopula
from mistakes import Mistake

Do = Callable[[Path], object]

MEN = pd.DataFrame(
    {
        "man": np.repeat(range(20), 4),
        "year": np.tile(range(2000, 2004), 20),
        "wage": np.linspace(1, 2, 80) ** 2,
    }
)


MANY = pd.DataFrame(np.indices((8, 545)).reshape(2, -1).T, columns=["t", "n"]).assign(y=1.0)


def fit(name: str, data: str | bytes, *options: str) -> Callable[[Path], Done]:
    """Run ``mcsim fit`` on a file with this content."""

    def command(folder: Path) -> Done:
        content = data.encode() if isinstance(data, str) else data
        (folder / name).write_bytes(content)
        return mcsim_command("fit", name, *options)

    return command


def read(name: str, data: str, **options: Any) -> Do:
    """Read a file with this content."""

    def call(folder: Path) -> object:
        (folder / name).write_text(data)
        return mcsim.read_table(folder / name, **options)

    return call


def convert(frame: pd.DataFrame, *index: str, **options: Any) -> Do:
    """Make a panel of a frame."""
    return lambda _: mcsim.from_frame(frame, *index, **options)


def column(*cells: Any, **options: Any) -> Do:
    """Make a panel of one column ``x``."""
    values = np.empty(len(cells), dtype=object)
    values[:] = cells
    return convert(pd.DataFrame({"x": pd.Series(values).infer_objects()}), **options)


def men(**columns: Any) -> Do:
    """Make a panel of men and years, with these columns."""
    return convert(MEN.assign(**columns), "man", "year")


def learn_tuples(_: Path) -> object:
    frame = MEN.assign(g=pd.Categorical([("a", 1), ("b", 2)] * 40))
    panel, schema = mcsim.from_frame(frame, "man", "year")
    return GaussianCopula().fit(mcsim.key(0), panel, schema=schema)


def treat_in_the_column_of_periods(_: Path) -> object:
    panel, schema = mcsim.from_frame(MEN.rename(columns={"year": "d"}), "man", "d")
    drawn = at_random(n_treated=4, start=2)
    return with_effect(panel, outcome="wage", assignment=drawn, schema=schema)


WIDE = pd.DataFrame(np.linspace(1, 2, 80).reshape(20, 4) ** 2).assign(id=range(20))


def wide(*names: str, unit: str | None = "id") -> Do:
    """Make a panel of a frame with a row for each unit and columns of these names."""
    chosen = WIDE[["id", *range(len(names))]].set_axis(["id", *names], axis=1)
    return convert(chosen, **({"unit": unit} if unit else {}))


def drawn_men(estimator: Any) -> Do:
    """Run a study of a host DGP whose frame has men and years as columns."""

    @mcsim.host
    def draw(rng, design):
        frame = MEN.assign(d=((MEN["man"] < 5) & (MEN["year"] > 2001)).astype(int))
        return frame.assign(wage=rng.normal(size=len(frame))), {"att": 0.0}

    def run(_: Path) -> object:
        study = mcsim.Study(dgp=draw, estimators=estimator)
        return mcsim.run(study, reps=2, workers=0, progress=False)

    return run


def fitted_men(fit: Callable[[pd.DataFrame], object]) -> Do:
    """Run a study of an estimator that sees men and years in the index of its frame."""

    @mcsim.host
    def draw(rng, design):
        return MEN.set_index(["man", "year"]), {"slope": 1.0}

    def run(_: Path) -> object:
        study = mcsim.Study(dgp=draw, estimators=mcsim.host(estimand="slope")(fit))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*replications 0 and 1")  # of a constant DGP
            return mcsim.run(study, reps=2, workers=0, progress=False)

    return run


def formula_of_patsy(frame):
    import statsmodels.formula.api as smf

    return smf.ols("wage ~ C(year)", frame).fit()


FILES = [
    Mistake(
        "a file with semicolons",
        fit("a.csv", "man;year;wage\n1;2000;3\n"),
        "data: a.csv has one column, 'man;year;wage'; read it with --sep=';'",
    ),
    Mistake(
        "a file with semicolons and decimal commas",
        fit("a.csv", "man;wage\n1;3,5\n"),
        "data: a.csv has one column, 'man;wage'; read it with --sep=';' --decimal=','",
    ),
    Mistake(
        "a file with tabs named .csv",
        fit("a.csv", "man\twage\n1\t3\n"),
        "data: a.csv has one column, 'man\\twage'; read it with --sep='\\t'",
    ),
    Mistake(
        "a file with commas named .tsv",
        fit("a.tsv", "man,wage\n1,3\n"),
        "data: a.tsv has one column, 'man,wage'; read it with --sep=','",
    ),
    Mistake(
        "decimal commas",
        fit("a.csv", "man;wage\n1;3,5\n2;4,5\n", "--sep", ";"),
        "column 'wage': got values like '3,5', expected numbers; if these are numbers, read the "
        "file with --decimal=','",
    ),
    Mistake(
        "thousands set apart by commas",
        fit("a.csv", 'man,wage\n1,"1,303.48"\n2,7\n'),
        "column 'wage': got values like '1,303.48', expected numbers; if these are numbers, read "
        "the file with --thousands=','",
    ),
    Mistake(
        "a file in Latin-1",
        fit("a.csv", "name,wage\nMüller,1\n".encode("latin-1")),
        "data: a.csv is no text in utf-8; read it with --encoding=latin-1",
    ),
    Mistake(
        "a file in UTF-16, as Excel writes it",
        fit("a.csv", "name,wage\nMüller,1\n".encode("utf-16")),
        "data: a.csv is no text in utf-8; read it with --encoding=utf-16",
    ),
    Mistake(
        "an encoding that is none",
        fit("a.csv", "x\n1\n", "--encoding", "latin-9000"),
        "--encoding: got 'latin-9000', expected one that Python knows",
    ),
    Mistake(
        "a text for missing values",
        fit("a.csv", "x\n..\n2\n"),
        "column 'x': got values like '..', expected numbers; if '..' stands for a missing value, "
        "read the file with --missing-values='..'",
    ),
    Mistake(
        "a missing value given to --missing",
        fit("a.csv", "x\n1\n", "--missing", "-99"),
        "--missing: got '-99'; known are error, model; if it stands for a missing value in the "
        "data, pass --missing-values=-99",
    ),
    Mistake(
        "row numbers that pandas wrote",
        read("a.csv", ",x\n0,1.5\n1,2.5\n"),
        "path: a column without a name holds row numbers",
    ),
    Mistake(
        "the missing value of Stata in a text file",
        read("a.csv", "x\n.\n2.5\n"),
        "column 'x': 1 cell holds '.', which stands for a missing value in Stata and SAS",
    ),
    Mistake(
        "spaces around names",
        read("a.csv", "man, wage \n1,2\n"),
        "path: spaces around the names of the columns [' wage '] are taken off",
    ),
    Mistake(
        "a name twice in a file",
        fit("a.csv", "wage,wage\n1,2\n"),
        "data: a.csv has more than one column of the name 'wage'",
    ),
    Mistake(
        "a file without names",
        fit("a.csv", "1,2000,3.5\n1,2001,4.5\n"),
        "data: the first line of a.csv holds numbers (1, 2000, 3.5), expected names of columns",
    ),
    Mistake(
        "a title above the names",
        fit("a.csv", "World Bank\n\nman,year,wage\n1,2000,3\n"),
        "data: a.csv has lines with more fields than its first line has names: delete what stands",
    ),
    Mistake(
        "a comma in a text without quotes",
        fit("a.csv", "x,y\n1,2\n3,4,5\n"),
        "data: a.csv is no table",
    ),
    Mistake("an empty file", fit("a.csv", ""), "data: a.csv is empty"),
    Mistake(
        "an Excel file",
        fit("a.xlsx", b"PK\x03\x04"),
        "data: got a.xlsx, expected a file that ends in .csv, .tsv, .csv.gz, .tsv.gz, .parquet or "
        ".dta; frame = pd.read_excel('a.xlsx'); frame.to_csv('a.csv', index=False)",
    ),
    Mistake(
        "a file of SPSS",
        fit("a.sav", "x"),
        "data: got a.sav, expected a file that ends in .csv, .tsv, .csv.gz, .tsv.gz, .parquet or "
        ".dta; frame = pd.read_spss('a.sav'); frame.to_csv('a.csv', index=False)",
    ),
    Mistake(
        "codes with leading zeros in a text file",
        read("a.csv", "fips,x\n1,2\n02,3\n"),
        "column 'fips': '02' is read as the number 2, without leading zeros; if it is a code, read "
        "it as text: pd.read_csv(path, dtype={'fips': str})",
    ),
    Mistake(
        "model and data swapped",
        lambda _: mcsim_command("fidelity", "wages.safetensors", "wages.csv"),
        "data and model: got wages.safetensors, then wages.csv; are they swapped? The data come "
        "first: mcsim fidelity wages.csv wages.safetensors",
    ),
    Mistake(
        "an Excel file named .csv",
        fit("a.csv", b"PK\x03\x04 ..."),
        "data: a.csv is no text but a ZIP file, such as Excel's: save the sheet as CSV",
    ),
    Mistake(
        "a gzipped file named .csv",
        fit("a.csv", gzip.compress(b"x\n1\n")),
        "data: a.csv is no text but a gzip file: end its name in .gz",
    ),
    Mistake(
        "a download that broke off",
        fit("a.csv.gz", gzip.compress(b"x,y\n1,2\n" * 999)[:40]),
        "data: a.csv.gz cannot be read: Compressed file ended",
    ),
    Mistake("a damaged Parquet file", fit("a.parquet", "x"), "data: a.parquet cannot be read as"),
    Mistake("a damaged Stata file", fit("a.dta", "x"), "data: a.dta cannot be read as .dta"),
    Mistake(
        "a separator for a Stata file",
        fit("a.dta", "x", "--sep", ";"),
        "--sep: got ';', but a .dta file is no text",
    ),
    Mistake(
        "a separator of two characters",
        read("a.csv", "x\n1\n", sep="::"),
        "sep: got '::', expected one ASCII character",
    ),
    Mistake(
        "missing values as one text",
        read("a.csv", "x\n1\n", missing_values="-99"),
        "missing_values: got '-99', expected texts: ['-99']",
    ),
    Mistake(
        "a folder", lambda folder: mcsim_command("fit", "."), "data: got ., expected a file that"
    ),
]

FRAMES = [
    Mistake(
        "a frame of an array",
        convert(pd.DataFrame(np.eye(3))),
        "frame: it has columns named 0, 1, 2, expected names that are text: frame.columns = [",
    ),
    Mistake(
        "tuples as names",
        convert(pd.DataFrame([[1, 2]], columns=pd.Index([("a", 1), "b"], tupleize_cols=False))),
        "frame: it has columns named ('a', 1), expected names that are text",
    ),
    Mistake(
        "names of two levels",
        convert(MEN.pivot(index="man", columns="year")),
        "frame: its columns have names of 2 levels, such as ('wage', ",
    ),
    Mistake(
        "a name twice",
        convert(pd.concat([MEN, MEN["wage"]], axis=1), "man", "year"),
        "frame: the columns ['wage'] occur more than once",
    ),
    Mistake(
        "an index of three levels",
        convert(MEN.assign(country=1).set_index(["country", "man", "year"])),
        "frame: its index has 3 levels, ['country', 'man', 'year'], expected one of units and",
    ),
    Mistake(
        "levels named by numbers",
        convert(MEN.set_index(["man", "year"]).rename_axis([0, 1])),
        "frame: the levels of its index are named [0, 1], expected two names that are text",
    ),
    Mistake(
        "a level and a column of one name",
        convert(MEN.set_index("man").assign(man=1.5), "man", "year"),
        "frame: 'man' is a column and, with other values, a level of the index; rename one",
    ),
    Mistake(
        "nothing beside unit and time",
        convert(MEN[["man", "year"]], "man", "year"),
        "columns: there are none beside ['man', 'year'], expected at least one",
    ),
    Mistake(
        "one column as text",
        convert(MEN, "man", "year", columns="wage"),
        "columns: got 'wage', expected names: ['wage']",
    ),
    Mistake(
        "the same column for unit and time",
        convert(MEN, "man", "man"),
        "unit and time: both are 'man', expected two columns",
    ),
    Mistake(
        "periods as data",
        column(*pd.period_range("2000", periods=3, freq="Y")),
        "column 'x': got dtype period[Y-DEC], expected numbers; take a number from it, such as "
        "frame['x'].dt.year",
    ),
    Mistake(
        "dates as data",
        column(*pd.date_range("2000", periods=3)),
        "column 'x': got dtype datetime64",
    ),
    Mistake(
        "intervals that are no categories",
        column(*pd.interval_range(0, 3)),
        "column 'x': got dtype interval[int64, right], expected numbers; declare it with categ",
    ),
    Mistake(
        "lists in cells",
        column([1], [2, 3]),
        "column 'x': got values like [1], expected numbers; take its parts as columns",
    ),
    Mistake(
        "lists as categories",
        column([1], [2, 3], categorical=["x"]),
        "column 'x': got values like [1], which are no categories",
    ),
    Mistake(
        "lists as units",
        men(man=[[1]] * 80),
        "column 'man': got labels like [1], expected text, numbers or dates",
    ),
    Mistake(
        "a number beyond float64",
        column(1, 10**400),
        "column 'x': got whole numbers too large for float64",
    ),
    Mistake(
        "long identifiers as text",
        column("9007199254740993", "1"),
        "column 'x': got the whole number 9007199254740993, expected numbers that float64 holds",
    ),
    Mistake(
        "the text nan",
        column("1.5", "nan"),
        "column 'x': got values like 'nan', expected numbers; if 'nan' stands for a missing value",
    ),
    Mistake(
        "codes with leading zeros",
        column("01", "02", "10"),
        "column 'x' is text with leading zeros like '01'; declare it with categorical=['x'], or "
        "make it a number: frame['x'].astype(float)",
    ),
    Mistake(
        "codes with leading zeros among other numbers",
        column("48201", "1003", "01003 "),
        "column 'x' is text with leading zeros like '01003 '",
    ),
    Mistake(
        "percent signs",
        column("12%", "5%"),
        "column 'x': got values like '12%', expected numbers; take the signs off first",
    ),
    Mistake(
        "infinite periods",
        men(year=[2000, 2001, 2002, np.inf] * 20),
        "column 'year': 20 labels are infinite or beyond 2**63 (inf); drop the rows",
    ),
    Mistake(
        "periods that are numbers and text",
        men(year=[2000, 2001, 2002, "2003"] * 20),
        "column 'year': got periods of two kinds, '2003' and 2000",
    ),
    Mistake(
        "periods with and without a time zone",
        men(year=[pd.Timestamp("2000"), *pd.date_range("2001", periods=3, tz="UTC")] * 20),
        "column 'year': the labels have no order",
    ),
    Mistake(
        "labels that no model file holds",
        learn_tuples,
        "column 'g': the label ('a', 1) is a tuple; model files hold strings",
    ),
    Mistake(
        "periods named like the treatment",
        treat_in_the_column_of_periods,
        "treatment: got 'd', which names the period in frames of this DGP; name the treatment",
    ),
]

SLIPS = [
    Mistake(
        "unit and time swapped",
        convert(MEN, "year", "man"),
        "unit and time: 4 units in 'year' and 20 periods in 'man' look swapped; is it unit='man'",
    ),
    Mistake(
        "unit and time swapped, without years",
        convert(MANY, "t", "n"),
        "unit and time: 8 units in 't' and 545 periods in 'n' look swapped",
    ),
    Mistake(
        "a unit misspelt",
        men(man=MEN["man"].where(MEN.index != 5, 99)),
        "unit: 1 of 21 units in 'man' has one period only",
    ),
    Mistake(
        "years that are absent",
        men(year=[2000, 2001, 2003, 2007] * 20),
        "time: 4 periods are absent between those in 'year' (after 2001, 2003); lags and diff",
    ),
    Mistake(
        "months as numbers",
        men(year=[200011, 200012, 200101, 200102] * 20),
        "time: 88 periods are absent between those in 'year' (after 200012); lags and differences "
        "across them are missing; turn numbers that stand for dates into dates",
    ),
    Mistake(
        "a column for each year",
        wide("y2000", "y2001"),
        "columns ['y2000', 'y2001'] look like one variable in 2 periods, but each is taken as a "
        "variable of its own; if so, make the frame long: pd.wide_to_long(frame, ['y'], i='id', "
        "j='period')",
    ),
    Mistake(
        "a column for each year, no unit",
        wide("y_1990", "y_2000", "y_2010", "x", unit=None),
        "columns ['y_1990', 'y_2000', 'y_2010'] look like one variable in 3 periods, but each is "
        "taken as a variable of its own; if so, make the frame long: "
        "pd.wide_to_long(frame.reset_index(), ['y_'], i='index', j='period')",
    ),
    Mistake(
        "years as names",
        wide("1999", "2000", "2001"),
        "columns ['1999', '2000', '2001'] look like one variable in 3 periods, but each is taken "
        "as a variable of its own; if so, make the frame long: frame.melt(",
    ),
    Mistake(
        "a column for each wave of two variables",
        wide("wage1", "wage2", "hours1", "hours2"),
        "columns ['wage1', 'wage2'] look like one variable in 2 periods, but each is taken as a "
        "variable of its own; if so, make the frame long: pd.wide_to_long(frame, ['wage', 'hours']",
    ),
    Mistake(
        "men and years without unit= and time=",
        convert(MEN),
        "column 'man' repeats and ('man', 'year') is unique: is this a panel? unit='man', "
        "time='year' (--unit man --time year)",
    ),
    Mistake(
        "men and waves without unit= and time=, some men with gaps",
        convert(MEN.assign(wave=MEN["year"] - 1999).drop(columns="year").drop(index=[1, 7, 8])),
        "column 'man' repeats and ('man', 'wave') is unique: is this a panel?",
    ),
    Mistake(
        "men as categories, without unit= and time=",
        convert(MEN.assign(man=MEN["man"].map("m{}".format)), categorical=["man"]),
        "column 'man' repeats and ('man', 'year') is unique: is this a panel?",
    ),
    Mistake(
        "-99 for a missing value",
        men(wage=MEN["wage"].where(MEN.index % 8 > 0, -99)),
        "column 'wage' holds -99 in 10 rows, far from all else: a missing value? read it with "
        "mcsim.read_table(path, missing_values=['-99']) (--missing-values=-99)",
    ),
    Mistake(
        "9999 for a missing value",
        convert(MEN[["wage"]].mask(MEN["man"] % 8 == 0, 9999)),
        "column 'wage' holds 9999 in 12 rows, far from all else",
    ),
    Mistake(
        "-9 among numbers that are never negative",
        men(hours=(MEN.index % 50).where(MEN.index % 8 > 0, -9)),
        "column 'hours' holds -9 in 10 rows, far from all else",
    ),
    Mistake(
        "numbers as text",
        column("1.2", "3"),
        "column 'x' is text like '1.2' and is read as numbers; if these are categories, declare it "
        "with categorical=['x'], else make it a number: frame['x'].astype(float)",
    ),
    Mistake(
        "a column twice under two names",
        men(pay=MEN["wage"]),
        "column 'pay' equals column 'wage' in every row; leave one out",
    ),
    Mistake(
        "row numbers in a frame",
        convert(MEN.reset_index(names="Unnamed: 0"), "man", "year"),
        "column 'Unnamed: 0' holds row numbers, which pandas writes without a name",
    ),
]  # fmt: skip

DRAWN = [
    Mistake(
        "a DGP's frame with men and years as columns",
        drawn_men({"e": did("wage ~ d")}),
        "estimator 'e': panel: got 1 period, expected at least 2, one before treatment; each row "
        "is a unit, since the frame has no (unit, time) index: a host DGP returns "
        "frame.set_index(['man', 'year'])",
    ),
    Mistake(
        "unit effects in a DGP's frame with men and years as columns",
        drawn_men({"e": fixed_effects("wage ~ d | unit + time", estimand="att")}),
        "estimator 'e': formula 'wage ~ d | unit + time': unit effects need at least 2 periods, "
        "got 1; each row is a unit, since the frame has no (unit, time) index",
    ),
    Mistake(
        "a level of the index in a formula of statsmodels",
        fitted_men(formula_of_patsy),
        "formula_of_patsy: 2 of 2 failed: PatsyError: Error evaluating factor: NameError: name "
        "'year' is not defined; wage ~ C(year); 'year' is in the index: frame.reset_index() makes "
        "it a column",
    ),
    Mistake(
        "a level of the index among columns",
        fitted_men(lambda frame: frame[["wage", "year"]].mean()),
        "<lambda>: 2 of 2 failed: KeyError: \"['year'] not in index\"; 'year' is in the index",
    ),
]

MISTAKES = [*FILES, *FRAMES, *SLIPS, *DRAWN]
