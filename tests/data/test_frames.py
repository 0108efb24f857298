"""The border between pandas and panels."""

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mcsim import Panel, from_frame, infer_schema, to_frame
from mcsim._data.plausibility import is_swapped
from mcsim._data.shapes import note_on_long, note_on_wide
from mcsim.errors import InputError

LONG = pd.DataFrame(
    {
        "firm": ["b", "a", "b", "a"],
        "year": [2002, 2002, 2001, 2001],
        "wage": [4.0, 2.0, 3.0, 1.0],
        "union": [1, 0, 0, 1],
    }
)


def test_a_cell_that_is_no_number_is_quoted():
    with pytest.raises(InputError, match=r"'x': got values like 'n/a\?', expected numbers"):
        from_frame(pd.DataFrame({"x": ["1.5", "n/a?", "2"]}))


def test_a_cross_section_keeps_its_order():
    panel, schema = from_frame(pd.DataFrame({"y": [3.0, 1.0, 2.0]}, index=["c", "a", "b"]))
    assert panel["y"][:, 0].tolist() == [3.0, 1.0, 2.0]
    assert to_frame(panel, schema).index.tolist() == ["c", "a", "b"]


@pytest.mark.parametrize("shape", ["columns", "index", "index in another order"])
def test_a_panel_is_sorted_by_unit_and_period_however_it_comes(shape):
    if shape == "columns":
        panel, schema = from_frame(LONG, unit="firm", time="year")
    else:
        frame = LONG.set_index(["firm", "year"])
        panel, schema = from_frame(frame.iloc[::-1] if "another" in shape else frame)
    assert panel["wage"].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    frame = to_frame(panel, schema)
    assert frame.index.names == ["firm", "year"]
    assert frame.loc[("b", 2001), "wage"] == 3.0
    assert frame["union"].dtype == np.int64


def test_gaps_become_a_mask_and_gaps_again():
    panel, schema = from_frame(LONG.iloc[:3], unit="firm", time="year")
    assert panel.mask is not None
    assert panel.mask.tolist() == [[False, True], [True, True]]
    assert len(to_frame(panel, schema)) == 3


def test_categories_and_strings_that_are_declared():
    frame = pd.DataFrame({"g": ["x", "y", "x"], "h": pd.Categorical(["q", "p", "p"])})
    panel, schema = from_frame(frame, categorical=["g"])
    assert panel["g"][:, 0].tolist() == [0.0, 1.0, 0.0]
    back = to_frame(panel, schema)
    assert back["g"].tolist() == ["x", "y", "x"]
    assert back["h"].tolist() == ["q", "p", "p"]


@pytest.mark.parametrize(
    ("frame", "options", "match"),
    [
        (LONG, {"unit": "firm"}, "name their column with time"),
        (
            pd.concat([LONG, LONG]),
            {"unit": "firm", "time": "year"},
            "4 of 8 rows repeat one before.*keep one row of each",
        ),
        (LONG.assign(firm=None), {"unit": "firm", "time": "year"}, "index is missing in rows"),
        (LONG, {"time": "year"}, "unit: got None"),
        (LONG, {"unit": "frim"}, "did you mean 'firm'"),
        (LONG, {}, "column 'firm': got values like 'b'"),
        (LONG[["wage"]], {"columns": ["wag"]}, "did you mean 'wage'"),
        (pd.DataFrame({"y": [1.0, np.nan]}), {}, "1 missing values"),
        (pd.DataFrame({"y": [1.0, np.inf]}), {}, "1 infinite values"),
        (pd.DataFrame({"y": pd.to_datetime(["2020-01-01"])}), {}, "got dtype datetime"),
        (pd.DataFrame(), {}, "got no rows or no columns"),
    ],
)
def test_frames_that_are_no_panels(frame, options, match):
    with pytest.raises(InputError, match=match):
        from_frame(frame, **options)


def test_all_faults_are_told_at_once():
    frame = pd.DataFrame({"a": ["x"], "b": [np.nan], "c": [np.inf]})
    with pytest.raises(InputError, match=r"3 faults:(?s:.*)'a'(?s:.*)'b'(?s:.*)'c'"):
        from_frame(frame)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float32", "Int64", "Float64"])
def test_other_kinds_of_numbers(dtype):
    panel, _ = from_frame(pd.DataFrame({"y": pd.Series([0, 1, 1], dtype=dtype)}))
    assert panel["y"].dtype == np.float64
    assert panel["y"][:, 0].tolist() == [0.0, 1.0, 1.0]


BIG = 2**53


@pytest.mark.parametrize(
    ("cells", "match"),
    [
        (np.array([BIG, BIG + 1]), rf"whole number {BIG + 1}, expected numbers that float64 holds"),
        (np.array([2**63, 2**63 + 1], np.uint64), f"whole number {2**63 + 1}"),
        (pd.array([1, -BIG - 1], dtype="Int64"), f"whole number -{BIG + 1}"),
        (np.array([1, BIG + 1], object), f"whole number {BIG + 1}"),
        (np.array([1, 10**400], object), "whole numbers too large for float64"),
        (np.array([1.0, 2.0 + 1.0j]), r"complex number \(1\+0j\), expected real ones"),
        (np.array([1.0, 2.0 + 1.0j], object), r"complex number \(2\+1j\)"),
    ],
)
def test_numbers_that_float64_does_not_hold_are_refused(cells, match):
    """They came back as 2**53 twice, or as their real part."""
    with pytest.raises(InputError, match=rf"column 'y': got.*{match}.*categorical=\['y'\]"):
        from_frame(pd.DataFrame({"y": cells}))


@pytest.mark.parametrize(
    "cells",
    [[BIG, -BIG], [2**60, 1], [1e20, 2e300], [2**63, 0], [-(2**63), 0], [0.1, 2**53 + 2]],
    ids=str,
)
def test_numbers_that_float64_holds_come_back_the_same(cells):
    back = to_frame(*from_frame(pd.DataFrame({"y": cells})))["y"].tolist()
    assert [Fraction(cell) for cell in back] == [Fraction(cell) for cell in cells]


def test_labels_of_any_size_are_kept():
    """Codes of units and categories are small, whatever their labels are."""
    frame = pd.DataFrame({"firm": [BIG + 1, BIG], "g": [2**64, 2**64 + 1], "y": [1.0, 2.0]})
    panel, schema = from_frame(frame, "firm", categorical=["g"])
    back = to_frame(panel, schema)
    assert back.index.tolist() == [BIG, BIG + 1]
    assert back["g"].tolist() == [2**64 + 1, 2**64]


@pytest.mark.filterwarnings("ignore:time. .*periods")  # apart, or absent between others
@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 5),
            st.integers(2000, 2004),
            st.floats(-1e12, 1e12, allow_nan=False),
            st.integers(-(2**40), 2**40),
        ),
        min_size=1,
        max_size=30,
        unique_by=lambda row: row[:2],
    )
)
def test_a_frame_comes_back(rows):
    frame = pd.DataFrame(rows, columns=["unit", "time", "x", "k"]).set_index(["unit", "time"])
    assume(frame.index.get_level_values("time").nunique() > 1)  # else it is a cross-section
    back = to_frame(*from_frame(frame))
    pd.testing.assert_frame_equal(back, frame.sort_index(), check_dtype=False)


INDEXED = LONG.set_index(["firm", "year"])


@pytest.mark.parametrize(
    "frame",
    [
        LONG.set_index("firm", drop=False),
        LONG.set_index(["firm", "year"], drop=False),
        INDEXED.set_index(pd.Index(range(4), name=7), append=True),
        INDEXED.set_index(pd.Index(range(4)), append=True),
    ],
    ids=["unit twice", "both twice", "another level named 7", "another level without a name"],
)
def test_levels_that_say_nothing_new_are_left_out(frame):
    panel, schema = from_frame(frame, "firm", "year")
    assert list(panel) == ["wage", "union"]
    back = to_frame(panel, schema)
    pd.testing.assert_frame_equal(back, INDEXED.sort_index(), check_dtype=False)


def test_a_level_keeps_its_name_and_gets_one_if_it_has_none():
    names = [("firm", None), (None, None)]
    schemas = [from_frame(INDEXED.rename_axis(index=pair))[1] for pair in names]
    assert [(schema.unit, schema.time) for schema in schemas] == [
        ("firm", "time"),
        ("unit", "time"),
    ]


def test_intervals_become_text_in_their_order():
    frame = LONG.assign(size=pd.cut(LONG["wage"], [0, 1.5, 3.5, 9]))
    panel, schema = from_frame(frame, "firm", "year")
    assert schema["size"].levels == ("(0.0, 1.5]", "(1.5, 3.5]", "(3.5, 9.0]")
    assert panel["size"].tolist() == [[0, 1], [1, 2]]
    spans = LONG.assign(year=pd.cut(LONG["year"], [2000, 2001, 2002]))
    assert from_frame(spans, "firm", "year")[1].period_labels == ("(2000, 2001]", "(2001, 2002]")


def test_a_name_may_be_empty():
    """It was taken for none."""
    panel, schema = from_frame(LONG.rename(columns={"year": ""}), "firm", "")
    assert (panel.n_units, panel.n_periods, schema.time) == (2, 2, "")


def test_one_period_may_be_any_number():
    assert from_frame(LONG.iloc[:2].assign(year=2000.5), "firm", "year")[1].period_labels == (
        2000.5,
    )


def test_booleans_of_arrow_come_back():
    frame = pd.DataFrame({"d": pd.array([True, False, True], dtype="bool[pyarrow]")})
    assert to_frame(*from_frame(frame))["d"].tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("units", "periods", "swapped"),
    [
        (range(8), range(545), True),
        (range(1980, 1988), range(13, 558), True),
        (pd.date_range("2000", periods=3).tolist(), ["a", "b"], True),
        (range(13, 558), range(1980, 1988), False),
        (range(1901, 2001), range(5), False),
        (range(8), pd.date_range("2000", periods=545).tolist(), False),
        (["AT", "BE"], range(200), False),
        (range(25), range(236), False),
        (range(1), range(545), False),
    ],
)
def test_units_and_periods_that_look_swapped(units, periods, swapped):
    assert is_swapped(tuple(units), tuple(periods)) is swapped


@pytest.mark.parametrize(
    "names",
    [
        ["re74", "re75", "re78"],
        ["x1", "x2", "x3", "z1", "z2", "z3"],
        ["pop1990", "pop2000"],
        ["wage1", "wage2", "hours1", "hours3"],
        ["wage1", "hours1"],
        ["q2001a", "q2002a"],
        ["gdp12000", "gdp12001", "v3000", "v3001"],
        ["score1", "score2", "score3"],
        ["y2000", "x2001"],
    ],
    ids=" ".join,
)
def test_variables_of_their_own_are_not_taken_for_periods(names):
    assert note_on_wide(names, "id") == []


def test_two_waves_are_periods_only_beside_a_unit():
    waves = ["wage1", "wage2", "hours1", "hours2"]
    assert note_on_wide(waves, "id")
    assert not note_on_wide(waves, None)


def test_the_call_that_a_wide_frame_is_told_makes_a_panel():
    wide = pd.DataFrame(np.arange(60.0).reshape(20, 3) ** 2, columns=["y2000", "y2001", "y2002"])
    for unit, frame in (("id", wide.assign(id=range(20))), (None, wide)):
        with pytest.warns(UserWarning, match="look like one variable in 3 periods") as caught:
            from_frame(frame, unit=unit)
        call = str(caught[0].message).partition("make the frame long: ")[2]
        long = eval(call, {"pd": pd, "frame": frame})
        panel, _ = from_frame(long)
        assert np.array_equal(panel["y"], wide)


def test_columns_that_are_no_units_and_periods():
    rng = np.random.default_rng(0)
    n = 400
    year, school = rng.integers(1950, 1990, n), rng.integers(0, 30, n)
    cross_section = {"school": school, "birth": year, "wage": rng.normal(size=n)}
    assert note_on_long(cross_section, ()) == []  # pairs that recur
    grid = np.indices((20, 20)).reshape(2, -1)
    assert note_on_long({"a": grid[0], "b": grid[1]}, ()) == []  # no name, and no years
    assert note_on_long({"id": np.arange(n), "year": year}, ()) == []  # units seen once
    few = np.indices((2, 3)).reshape(2, -1)
    assert note_on_long({"id": few[0], "year": 2000 + few[1]}, ()) == []  # by chance
    both = {"id": grid[0], "t": grid[1]}
    assert note_on_long(both, ())
    assert not note_on_long(both, ["t"])


def test_values_that_are_no_codes_of_missing_ones():
    """A warning would be an error here."""
    rng = np.random.default_rng(0)
    change = np.where(rng.random(100) < 0.1, -9, rng.integers(-20, 20, 100))
    income = np.where(rng.random(100) < 0.1, 9999, rng.integers(0, 50_000, 100))
    once = np.where(np.arange(100) == 3, -99.0, rng.random(100))
    from_frame(pd.DataFrame({"change": change, "income": income, "once": once}))


def test_codes_beside_kept_missing_values():
    wage = np.where(np.arange(40) % 5 == 0, np.nan, np.linspace(1, 2, 40))
    wage[[1, 2]] = -999
    with pytest.warns(UserWarning, match="'wage' holds -999 in 2 rows"):
        from_frame(pd.DataFrame({"wage": wage}), missing="keep")


@pytest.mark.parametrize("dtype", ["object", "str", "string"])
def test_text_that_reads_as_numbers_is_said(dtype):
    frame = pd.DataFrame({"x": pd.Series(["1.5", "0", "0.5"], dtype=dtype)})
    with pytest.warns(UserWarning, match="column 'x' is text like '1.5' and is read as numbers"):
        panel, _ = from_frame(frame)
    assert panel["x"].ravel().tolist() == [1.5, 0.0, 0.5]
    from_frame(frame, categorical=["x"])  # declared: nothing is said
    from_frame(frame.astype(float))


def test_what_is_ordinary_in_data_is_not_remarked_on():
    """A warning would be an error here."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"i": np.repeat(range(30), 4), "t": [2000, 2001, 2002, 2003] * 30})
    frame = frame.assign(y=rng.normal(size=120), d=(frame["t"] > 2001).astype(int))
    from_frame(frame, "i", "t")
    from_frame(frame.drop(index=[1, 2, 7]), "i", "t")  # two periods of each unit are left
    from_frame(frame.assign(t=frame["t"].replace(2003, 2009)), "i", "t", step=1)
    from_frame(frame.drop(columns=["i", "t"]).iloc[:5].assign(one=1, same=1))  # a few rows


def test_kinds_bounds_and_mass_points_are_found():
    earnings = np.concatenate([np.zeros(30), np.geomspace(10.5, 9000, 69), [25_000.0] * 12])
    schema = infer_schema({"re": earnings, "d": earnings > 0, "age": np.arange(111.0) % 40})
    assert [c.kind for c in schema.columns] == ["continuous", "binary", "integer"]
    assert schema["re"].mass_points == (0.0, 25_000.0)
    assert (schema["re"].lower, schema["re"].upper) == (0.0, 25_000.0)
    assert (schema["age"].lower, schema["age"].upper) == (0.0, 39.0)


def test_schemas_are_overridden_and_checked():
    schema = infer_schema(Panel({"y": [0.5, 1.5]}))
    assert schema.replace(y={"lower": -1.0})["y"].lower == -1.0
    with pytest.raises(InputError, match="outside the bounds"):
        schema.replace(y={"mass_points": (-5.0,)})
    with pytest.raises(InputError, match="column 'yy' is not in the schema"):
        schema.replace(yy={"lower": 0.0})


def test_missing_values_are_kept_when_asked():
    frame = LONG.assign(
        wage=[1.5, None, 2.5, 3.5],
        hours=pd.array([7, 8, None, 3], dtype="Int64"),
        place=["x", "y", "x", None],
    )
    options = {"unit": "firm", "time": "year", "columns": ["wage", "hours", "place"]}
    with pytest.raises(InputError, match=r"3 faults:(?s:.*)'place': 1 missing values"):
        from_frame(frame, categorical=["place"], **options)
    panel, schema = from_frame(frame, categorical=["place"], missing="keep", **options)
    assert panel.mask is None
    assert {name: int(np.isnan(panel[name]).sum()) for name in panel} == dict.fromkeys(panel, 1)
    assert schema["place"].levels == ("x", "y")
    assert schema["hours"].kind == "integer"
    back = to_frame(panel, schema)
    want = frame.set_index(["firm", "year"])[["wage", "hours", "place"]].sort_index()
    pd.testing.assert_frame_equal(back.isna(), want.isna())
    with pytest.raises(InputError, match="'wage': 4 missing values"):
        from_frame(frame.assign(wage=np.nan), categorical=["place"], missing="keep", **options)
    with pytest.raises((InputError, TypeError), match=r"'error' or 'keep'|drop"):
        from_frame(frame, missing="drop")  # type: ignore[arg-type]


def test_masked_cells_of_integers_are_left_out_whatever_they_hold():
    schema = infer_schema({"k": np.array([[1.0, 2.0], [3.0, 5.0]])})
    panel = Panel({"k": [[1.0, np.nan], [3.0, 5.0]]}, jnp.array([[True, False], [True, True]]))
    assert to_frame(panel, schema)["k"].tolist() == [1, 3, 5]


def test_text_labels_out_of_the_order_of_the_alphabet_are_told():
    months = [f"{month} 2001" for month in ("Jan", "Feb", "Mar", "Apr")]
    frame = pd.DataFrame({"i": np.repeat([1, 2], 4), "m": months * 2, "y": np.arange(8.0)})
    with pytest.warns(UserWarning, match=r"'m' are text.*\(Apr 2001, Feb 2001, Jan 2001, \.\.\.\)"):
        from_frame(frame, unit="i", time="m")
    ordered = pd.Categorical(frame["m"], months, ordered=True)
    labels = from_frame(frame.assign(m=ordered), unit="i", time="m")[1].period_labels
    assert labels == tuple(months)
    quarters = [f"2001Q{quarter}" for quarter in (2, 1, 4, 3)]  # rows in any order: sorts rightly
    assert (
        from_frame(frame.assign(m=quarters * 2), unit="i", time="m")[1].period_labels[0] == "2001Q1"
    )
