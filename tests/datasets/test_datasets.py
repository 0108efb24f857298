"""Data sets: what is loaded, where files come from, and the NIST values that other tests use."""

import functools
import hashlib
import http.server
import re
import threading
import tomllib
import zipfile
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mcsim
from mcsim import datasets
from mcsim._data.shapes import note_on_long, note_on_wide
from mcsim.datasets import DatasetInfo, _sources
from mcsim.errors import InputError, UnknownName

ROOT = Path(__file__).parents[2]
NIST = ROOT / "tests" / "references" / "nist"


def load(name):
    """Load, or skip where the data are not at hand: CI has neither network nor every file."""
    try:
        return datasets.load(name)
    except InputError as error:
        if re.search(r"is not downloaded|\(\w*(Connection|Timeout)\w*\)", str(error)):
            pytest.skip(str(error))
        raise


# The door


@pytest.mark.filterwarnings("ignore:time. periods in")  # gapminder is a survey of every five years
@pytest.mark.parametrize("name", datasets.names())
def test_frames_are_what_the_registry_says(name):
    frame, info = load(name), datasets.info(name)
    assert len(frame) == info.rows
    assert isinstance(frame.index, pd.RangeIndex)
    assert not [c for c in frame if str(frame[c].dtype) in ("object", "float32")]
    if info.unit:
        panel, schema = mcsim.from_frame(frame, unit=info.unit, time=info.time)
        assert panel.n_units == frame[info.unit].nunique()
        assert (schema.unit, schema.time) == (info.unit, info.time)


@pytest.mark.parametrize("name", datasets.names())
def test_the_shape_of_each_is_recognized(name):
    """Panels without unit= and time= are taken for what they are, cross-sections for no panels."""
    frame, info = load(name), datasets.info(name)
    columns = {c: frame[c].to_numpy() for c in frame if frame[c].dtype.kind in "iuf"}
    columns |= {c: pd.factorize(frame[c])[0] for c in frame if c == info.unit}
    notes = note_on_long(columns, ())
    years = info.time in columns  # of dates from_frame says that they are no numbers
    assert bool(notes) == (info.unit is not None and years), notes
    assert not notes or f"unit={info.unit!r}, time={info.time!r}" in notes[0]
    assert note_on_wide(list(frame), info.unit) == []


def test_every_entry_says_where_it_comes_from():
    for name in datasets.names():
        info = datasets.info(name)
        assert bool(info.package) != bool(info.file and info.sha256), name
        assert info.package or info.url or info.how, name
        assert all([info.about, info.source, info.license]), name


def test_an_unknown_name_has_a_suggestion():
    for look in (datasets.load, datasets.info):
        with pytest.raises(UnknownName, match="did you mean 'wage_panel'"):
            look("wage_panels")


# Published figures


def within(frame, unit, columns):
    return (frame[columns] - frame.groupby(unit)[columns].transform("mean")).to_numpy()


def test_grunfeld_is_the_one_with_ten_firms():
    data = within(datasets.load("grunfeld"), "firm", ["inv", "value", "capital"])
    slopes = np.linalg.lstsq(data[:, 1:], data[:, 0])[0]
    np.testing.assert_allclose(slopes, [0.1101238, 0.3100653], atol=5e-8)  # plm, within


def test_wage_panel_gives_the_textbook_union_premium():
    frame = load("wage_panel")
    years = pd.get_dummies(frame["year"], prefix="d", dtype=float).iloc[:, 1:]
    names = ["lwage", "expersq", "union", "married", *years]
    data = within(frame.join(years), "nr", names)
    slopes = np.linalg.lstsq(data[:, 1:], data[:, 0])[0]
    np.testing.assert_allclose(slopes[:3], [-0.0051855, 0.0800019, 0.0466804], atol=5e-7)


def test_cps_wages_have_the_published_autocorrelation():
    frame = load("cps_state_wages")
    assert sorted(frame["year"].unique()) == list(range(1979, 2019))
    wide = frame[frame["year"] < 2000].pivot(index="state", columns="year", values="log_wage")
    y = wide.to_numpy()
    e = y - y.mean(0) - y.mean(1, keepdims=True) + y.mean()
    first = (e[:, 1:] * e[:, :-1]).sum() / (e[:, :-1] ** 2).sum()
    assert first == pytest.approx(0.51, abs=0.015)  # Bertrand, Duflo & Mullainathan (2004)


def test_gapminder_and_lalonde():
    assert load("gapminder").groupby("country", observed=True).size().eq(12).all()
    effects = load("lalonde_experimental").groupby("treat")["re78"].mean()
    assert effects[1] - effects[0] == pytest.approx(1794.3424, abs=1e-4)


# Files


@pytest.fixture
def entry(tmp_path, monkeypatch):
    """A registered file on a server of our own, an empty cache, and no MCSIM_DATA."""
    pytest.importorskip("pooch", reason="needs the extra data")
    content = b"a;b\n1;2\n"
    served = tmp_path / "served"
    served.mkdir()
    (served / "small.csv").write_bytes(content)
    handler = functools.partial(_Quiet, directory=str(served))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv("MCSIM_DATA", raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield DatasetInfo(
            "small",
            *("", 1, "", ""),
            file="small.csv",
            sha256=hashlib.sha256(content).hexdigest(),
            url=f"http://127.0.0.1:{server.server_port}/small.csv",
            separator=";",
        )
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Say nothing."""


def test_a_file_is_fetched_once(entry, tmp_path):
    frame = pd.DataFrame({"a": [1], "b": [2]})
    pd.testing.assert_frame_equal(_sources.read_file(entry), frame)
    (tmp_path / "served" / "small.csv").unlink()
    pd.testing.assert_frame_equal(_sources.read_file(entry), frame)


def test_a_download_that_differs_is_refused(entry, tmp_path):
    (tmp_path / "served" / "small.csv").write_text("a;b\n1;3\n")
    with pytest.raises(InputError, match=r"'small' could not be fetched (?s:.)*hash"):
        _sources.read_file(entry)
    (tmp_path / "served" / "small.csv").unlink()
    with pytest.raises(InputError, match=r"HTTPError(?s:.)*put small\.csv into a folder"):
        _sources.read_file(entry)


def test_the_users_folder_comes_first(entry, tmp_path, monkeypatch):
    monkeypatch.setenv("MCSIM_DATA", str(tmp_path))
    (tmp_path / "small.csv").write_text("a;b\n1;3\n")
    with pytest.raises(InputError, match=r"not the registered file: SHA-256 .* remove it"):
        _sources.read_file(entry)
    rebuilt = DatasetInfo(**{**vars(entry), "url": None, "how": "ask"})
    with pytest.warns(UserWarning, match="published figures need not come out"):
        assert _sources.read_file(rebuilt)["b"].item() == 3
    (tmp_path / "small.csv").write_text("a;b\n1;2\n")
    assert _sources.read_file(rebuilt)["b"].item() == 2


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'a;b\n"1', b"a;b\n1;2;3\n1;2;3;4\n"])
def test_a_file_that_is_no_table_is_a_sentence(entry, tmp_path, monkeypatch, content):
    monkeypatch.setenv("MCSIM_DATA", str(tmp_path))
    (tmp_path / "small.csv").write_bytes(content)
    own = DatasetInfo(**{**vars(entry), "url": None, "how": "ask its author"})
    with (
        pytest.warns(UserWarning, match="published figures need not come out"),
        pytest.raises(InputError, match=r"small\.csv cannot be read as 'small' .*; ask its author"),
    ):
        _sources.read_file(own)


def test_a_folder_that_does_not_exist(monkeypatch):
    monkeypatch.setenv("MCSIM_DATA", "nowhere")
    with pytest.raises(InputError, match="MCSIM_DATA: got 'nowhere', expected a folder"):
        datasets.load("abdata")


def test_a_file_without_an_address_says_how_to_get_it(monkeypatch):
    monkeypatch.delenv("MCSIM_DATA", raising=False)
    with pytest.raises(InputError, match=r"put abdata\.csv into a folder .* MCSIM_DATA; in R: "):
        datasets.load("abdata")


def test_packages_that_are_missing_are_named(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("mcsim.datasets._sources.import_module", missing)
    with pytest.raises(
        InputError, match="in the package linearmodels; install it with pip install"
    ):
        datasets.load("munnell")


@pytest.mark.slow
def test_the_registry_travels_in_the_wheel(tmp_path):
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="needs the extra test")
    (built,) = wheel.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(built) as archive:
        packed = archive.read("mcsim/datasets/registry.toml")
    assert packed == (ROOT / "data" / "registry.toml").read_bytes()


# NIST


def polynomial(x, degree):
    return [[value**power for power in range(degree + 1)] for value in x]


def nist_problem(name):
    """Design matrix and outcome as fractions, exactly as NIST prints them."""
    if name == "filip":
        lines = (NIST / "filip.csv").read_text().split()[1:]
        y, x = zip(*(map(Fraction, line.split(",")) for line in lines), strict=True)
        return polynomial(x, 10), y
    if name == "longley":
        frame = datasets.load("longley")
        rows = [[Fraction(str(value)) for value in row] for row in frame.to_numpy()]
        return [[Fraction(1), *row[1:]] for row in rows], [row[0] for row in rows]
    x = [Fraction(i) for i in range(21)]
    scale = {"wampler1": Fraction(1), "wampler2": Fraction(1, 10)}[name]
    return polynomial(x, 5), [sum((scale * v) ** power for power in range(6)) for v in x]


def exact_least_squares(rows, y):
    """Coefficients, variances and residual sum of squares by Gauss-Jordan in fractions."""
    k = len(rows[0])
    gram = [[sum(r[i] * r[j] for r in rows) for j in range(k)] for i in range(k)]
    system = [row + [Fraction(int(i == j)) for j in range(k)] for i, row in enumerate(gram)]
    for i in range(k):
        system[i] = [value / system[i][i] for value in system[i]]
        for j in set(range(k)) - {i}:
            factor = system[j][i]
            system[j] = [a - factor * b for a, b in zip(system[j], system[i], strict=True)]
    inverse = [row[k:] for row in system]
    moments = [sum(r[i] * v for r, v in zip(rows, y, strict=True)) for i in range(k)]
    beta = [sum(a * m for a, m in zip(row, moments, strict=True)) for row in inverse]
    fitted = [sum(b * v for b, v in zip(beta, row, strict=True)) for row in rows]
    rss = sum((v - f) ** 2 for v, f in zip(y, fitted, strict=True))
    return beta, [rss / (len(y) - k) * inverse[i][i] for i in range(k)], rss


def root(fraction):
    return float((Decimal(fraction.numerator) / Decimal(fraction.denominator)).sqrt())


@pytest.mark.parametrize("name", ["filip", "longley", "wampler1", "wampler2"])
def test_certified_values_hold_in_exact_arithmetic(name):
    certified = tomllib.loads((NIST / "certified.toml").read_text())[name]
    beta, variance, rss = exact_least_squares(*nist_problem(name))
    same = {"rtol": 1e-14, "atol": 0}
    np.testing.assert_allclose([float(b) for b in beta], certified["coefficients"], **same)
    np.testing.assert_allclose([root(v) for v in variance], certified["standard_errors"], **same)
    np.testing.assert_allclose(float(rss), certified["residual_sum_of_squares"], **same)
