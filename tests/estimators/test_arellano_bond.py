"""Arellano-Bond GMM: the published table, a textbook version in NumPy, what it must not depend on.

EmplUK figures: Arellano & Bond (1991), Table 4, to the seven digits that plm::pgmm (Croissant &
Millo 2008) and Stata's xtabond print for the same specifications.
"""

import importlib
import os
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from mcsim import Panel, Status, from_frame
from mcsim.errors import InputError
from mcsim.estimators import arellano_bond

BOTH = {1: ["robust", "conventional"], 2: ["windmeijer", "conventional"]}
N, W, K, YS = "log(emp)", "log(wage)", "log(capital)", "log(output)"
A1 = (
    f"{N} ~ lag({N}) + lag({N}, 2) + {W} + lag({W}) + {K} + lag({K}) + lag({K}, 2)"
    f" + {YS} + lag({YS}) + lag({YS}, 2) | time"
)
B = f"{N} ~ lag({N}) + lag({N}, 2) + {W} + lag({W}) + {K} + {YS} + lag({YS}) | unit + time"
TABLE_4 = [  # term, value, the default variance's standard error, the conventional one
    (1, A1, f"lag({N})", ".686226", ".144594", ".148616"),
    (1, A1, f"lag({N}, 2)", "-.085358", ".056016", ".044437"),
    (1, A1, W, "-.607821", ".178205", ".065769"),
    (1, A1, f"lag({W})", ".392623", ".167993", ".109237"),
    (1, A1, K, ".356846", ".059020", ".037031"),
    (2, B, f"lag({N})", ".474151", ".185398", ".085303"),
    (2, B, f"lag({N}, 2)", "-.052967", ".051749", ".027284"),
    (2, B, W, "-.513205", ".145565", ".049345"),
    (2, B, f"lag({W})", ".224640", ".141950", ".080063"),
    (2, B, K, ".292723", ".062627", ".039463"),
    (2, B, YS, ".609775", ".156263", ".108524"),
    (2, B, f"lag({YS})", "-.446373", ".217302", ".124815"),
]
SPECIFICATION = {  # statistics of the same fits
    (1, A1): {
        ("sargan", ""): 65.81806,
        ("ar(1)", "robust"): -3.5996,
        ("ar(2)", "robust"): -0.51603,
        ("ar(1)", "conventional"): -3.9394,
        ("ar(2)", "conventional"): -0.54239,
    },
    (2, B): {
        ("hansen", ""): 30.11247,
        ("ar(1)", "windmeijer"): -1.53845,
        ("ar(2)", "windmeijer"): -0.2796829,
        ("ar(1)", "conventional"): -2.427829,
        ("ar(2)", "conventional"): -0.3325401,
    },
}


@pytest.fixture(scope="module")
def empl_uk() -> Panel:
    path = Path(os.environ.get("MCSIM_DATA", "")) / "abdata.csv"
    if not path.is_file():
        pytest.skip("abdata.csv (EmplUK) is not in MCSIM_DATA")
    return from_frame(pd.read_csv(path), unit="firm", time="year")[0]


@pytest.mark.parametrize(("steps", "formula", "term", "value", "se", "conventional"), TABLE_4)
def test_table_4_to_the_printed_digits(empl_uk, steps, formula, term, value, se, conventional):
    estimates = arellano_bond(formula, steps=steps, vcov=BOTH[steps])(None, empl_uk)
    own, other = (estimates[term, name] for name in BOTH[steps])
    assert [f"{number:.6f}".replace("0.", ".") for number in (own.value, own.se, other.se)] == [
        value,
        se,
        conventional,
    ]


@pytest.mark.parametrize(("steps", "formula"), SPECIFICATION)
def test_tests_of_the_specification(empl_uk, steps, formula):
    estimates = arellano_bond(formula, steps=steps, vcov=BOTH[steps], tests=True)(None, empl_uk)
    for label, statistic in SPECIFICATION[steps, formula].items():
        assert float(estimates[label].value) == pytest.approx(statistic, rel=1e-4)
    over = estimates["sargan" if steps == 1 else "hansen", ""]
    assert over.df == 25
    if steps == 2:
        assert float(over.p_value) == pytest.approx(0.22011, abs=5e-6)
        assert float(estimates["ar(1)", "windmeijer"].p_value) == pytest.approx(0.12394, abs=5e-6)


# A textbook version: instrument matrices written out unit by unit, inverses by NumPy.


def lagged(a: np.ndarray, by: int = 1) -> np.ndarray:
    return np.hstack([np.full_like(a[:, :by], np.nan), a[:, :-by]])


def pinv(a: np.ndarray) -> np.ndarray:
    d = np.sqrt(np.diag(a))
    d[d == 0] = 1
    return np.linalg.pinv(a / np.outer(d, d), rcond=1e-11, hermitian=True) / np.outer(d, d)


def reference(y, x, levels, own, steps, *, time=False, collapse=False):
    """Coefficients and variances; NaN is what is not observed, levels (variable, from, to)."""
    n_units, n_periods = y.shape
    dy, dx, down = (np.diff(np.array(a), axis=-1) for a in (y, x, own))
    told = np.isfinite(dy) & np.isfinite(dx).all(0) & np.isfinite(down).all(0)
    rows = [t for t in range(n_periods - 1) if told[:, t].any()]
    names: dict = {}
    units = []
    for i in range(n_units):
        entries = []
        used = [t for t in rows if told[i, t]]
        for r, t in enumerate(used):
            for v, (variable, nearest, farthest) in enumerate(levels):
                for s in range(max(0, t + 1 - farthest), t + 2 - nearest):
                    label = (v, t + 1 - s) if collapse else (v, t, s)
                    column = names.setdefault(label, len(names))
                    entries.append((r, column, np.nan_to_num(variable[i, s])))
            for v, o in enumerate(down):
                entries.append((r, names.setdefault(("own", v), len(names)), o[i, t]))
            if time:
                entries.append((r, names.setdefault(("time", t), len(names)), 1.0))
        dummies = np.eye(n_periods - 1)[rows][:, used].T if time else np.zeros((len(used), 0))
        units.append((used, entries, dy[i, used], np.hstack([dx[:, i, used].T, dummies])))
    moments = []
    for used, entries, dyi, dxi in units:
        z = np.zeros((len(used), len(names)))
        for r, column, number in entries:
            z[r, column] += number
        gap = np.subtract.outer(used, used)
        moments.append((z, dyi, dxi, 2.0 * (gap == 0) - 1.0 * (abs(gap) == 1)))
    return gmm(moments, steps)


def gmm(units, steps):
    """Arellano & Bond (1991), equations 4 to 8; Windmeijer (2005), equations 2.4 and 3.1."""
    zx = sum(z.T @ x for z, _, x, _ in units)
    zy = sum(z.T @ y for z, y, _, _ in units)
    a1 = pinv(sum(z.T @ h @ z for z, _, _, h in units))
    m1 = np.linalg.inv(zx.T @ a1 @ zx)
    b1 = m1 @ zx.T @ a1 @ zy
    e1 = [y - x @ b1 for _, y, x, _ in units]
    omega = sum(np.outer(z.T @ e, z.T @ e) for (z, *_), e in zip(units, e1, strict=True))
    v1 = m1 @ zx.T @ a1 @ omega @ a1 @ zx @ m1
    sigma2 = sum(e @ e for e in e1) / 2 / (sum(map(len, e1)) - len(b1))
    if steps == 1:
        return b1, {"robust": v1, "conventional": sigma2 * m1}
    a2 = pinv(omega)
    m2 = np.linalg.inv(zx.T @ a2 @ zx)
    b2 = m2 @ zx.T @ a2 @ zy
    ze2 = zy - zx @ b2
    d = np.empty((len(b2), len(b2)))
    for j in range(len(b2)):
        change = -sum(
            z.T @ (np.outer(x[:, j], e) + np.outer(e, x[:, j])) @ z
            for (z, _, x, _), e in zip(units, e1, strict=True)
        )
        d[:, j] = -m2 @ zx.T @ a2 @ change @ a2 @ ze2
    return b2, {"conventional": m2, "windmeijer": m2 + d @ m2 + m2 @ d.T + d @ v1 @ d.T}


def draw(seed: int, n: int = 60, t: int = 7, gaps: float = 0.0):
    """A panel of y, x, w with w predetermined; some cells not observed."""
    rng = np.random.default_rng(seed)
    y, x, w = np.zeros((3, n, t + 5))
    unit = rng.normal(size=n)
    for s in range(1, t + 5):
        x[:, s] = 0.7 * x[:, s - 1] + rng.normal(size=n)
        w[:, s] = 0.5 * w[:, s - 1] + 0.3 * y[:, s - 1] + rng.normal(size=n)
        y[:, s] = 0.5 * y[:, s - 1] + x[:, s] + 0.5 * w[:, s] + unit + rng.normal(size=n)
    columns = {"y": y[:, 5:], "x": x[:, 5:], "w": w[:, 5:]}
    mask = rng.uniform(size=(n, t)) >= gaps if gaps else None
    return columns, mask


def panel_of(columns, mask=None, garbage=np.nan) -> Panel:
    if mask is None:
        return Panel(columns)
    columns = {name: np.where(mask, column, garbage) for name, column in columns.items()}
    return Panel(columns, jnp.asarray(mask))


SPECIFICATIONS = {
    "plain": ("y ~ lag(y) + x", {}),
    "two lags": ("y ~ lag(y) + lag(y, 2) + x + lag(x)", {}),
    "period effects": ("y ~ lag(y) + x | time", {}),
    "collapse": ("y ~ lag(y) + x", {"collapse": True}),
    "few lags": ("y ~ lag(y) + x | time", {"instrument_lags": (2, 3)}),
    "predetermined": ("y ~ lag(y) + x + w + lag(w)", {"predetermined": "w"}),
    "endogenous": ("y ~ lag(y) + w", {"endogenous": ("w",), "instrument_lags": (3, 4)}),
    "predetermined, few": ("y ~ lag(y) + w", {"predetermined": "w", "instrument_lags": (2, 3)}),
    "a lag alone": ("y ~ lag(y) + lag(w)", {"endogenous": "lag(w)"}),
    "instrument": ("y ~ lag(y) | unit | w ~ x", {}),
}


def expected(name, columns, mask, steps):
    """The reference for one of `SPECIFICATIONS`."""
    seen = True if mask is None else mask
    y, x, w = (np.where(seen, columns[c], np.nan) for c in "yxw")
    far = 99
    x_of = {
        "two lags": [lagged(y), lagged(y, 2), x, lagged(x)],
        "predetermined": [lagged(y), x, w, lagged(w)],
        "endogenous": [lagged(y), w],
        "predetermined, few": [lagged(y), w],
        "a lag alone": [lagged(y), lagged(w)],
        "instrument": [w, lagged(y)],
    }.get(name, [lagged(y), x])
    own = {
        "two lags": [x, lagged(x)],
        "endogenous": np.zeros((0, *y.shape)),
        "predetermined, few": np.zeros((0, *y.shape)),
        "a lag alone": np.zeros((0, *y.shape)),
    }.get(name, [x])
    levels = {
        "few lags": [(y, 2, 3)],
        "predetermined": [(y, 2, far), (w, 1, far)],
        "endogenous": [(y, 3, 4), (w, 3, 4)],
        "predetermined, few": [(y, 2, 3), (w, 1, 2)],
        "a lag alone": [(y, 2, far), (lagged(w)[:, 1:], 2, far)],
    }.get(name, [(y, 2, far)])
    if name == "a lag alone":  # its first period has no level: keep the reference's calendar
        levels[1] = (lagged(w), 2, far)
    time = name in ("period effects", "few lags")
    return reference(y, x_of, levels, own, steps, time=time, collapse=name == "collapse")


@pytest.mark.parametrize("gaps", [0.0, 0.15])
@pytest.mark.parametrize(
    ("name", "steps"),
    [("plain", 1), ("period effects", 1), *((name, 2) for name in SPECIFICATIONS)],
)
def test_the_textbook_version_gives_the_same(name, steps, gaps):
    columns, mask = draw(3, gaps=gaps)
    formula, options = SPECIFICATIONS[name]
    estimator = arellano_bond(formula, steps=steps, vcov=BOTH[steps], **options)
    check(estimator, panel_of(columns, mask), *expected(name, columns, mask, steps))


def check(estimator, panel, coef, variances):
    estimates = estimator(None, panel)
    for k, term in enumerate(estimator.formula.names):
        for name, variance in variances.items():
            estimate = estimates[term, name]
            np.testing.assert_allclose(float(estimate.value), coef[k], rtol=1e-8)
            np.testing.assert_allclose(float(estimate.se), variance[k, k] ** 0.5, rtol=1e-8)


@pytest.mark.parametrize("gaps", [0.0, 0.1])
def test_more_instruments_than_units_take_the_generalized_inverse(gaps):
    columns, mask = draw(5, n=12, gaps=gaps)
    estimator = arellano_bond("y ~ lag(y) + x", vcov=BOTH[2], tests=True)
    check(estimator, panel_of(columns, mask), *expected("plain", columns, mask, 2))
    assert estimator(None, panel_of(columns, mask))["hansen", ""].df == 16 - 2


def test_units_of_measurement_do_not_matter_even_then():
    columns, _ = draw(5, n=12)
    scaled = {"y": 1e4 * columns["y"], "x": 1e-3 * columns["x"]}
    estimator = arellano_bond("y ~ lag(y) + x")
    one, other = (estimator(None, Panel(c)) for c in (columns, scaled))
    for term, factor in (("lag(y)", 1), ("x", 1e7)):
        label = term, "windmeijer"
        assert float(other[label].value) == pytest.approx(factor * float(one[label].value), 1e-8)
        assert float(other[label].se) == pytest.approx(factor * float(one[label].se), 1e-8)


def test_period_shifts_are_absorbed():
    columns, _ = draw(7)
    moved = {**columns, "y": columns["y"] + np.arange(7) ** 2 * 0.3}
    estimator = arellano_bond("y ~ lag(y) + x | time")
    one, other = (estimator(None, Panel(c))["lag(y)", "windmeijer"] for c in (columns, moved))
    assert float(other.value) == pytest.approx(float(one.value), rel=1e-7)
    assert float(other.se) == pytest.approx(float(one.se), rel=1e-7)


def test_what_is_not_observed_does_not_matter():
    columns, mask = draw(11, gaps=0.1)
    mask[3:6] = False
    mask[:, -1] = False
    kept = np.delete(np.arange(60), [3, 4, 5])
    small = {name: column[kept, :-1] for name, column in columns.items()}
    estimator = arellano_bond("y ~ lag(y) + x | time", tests=True)
    results = [
        estimator(None, panel_of(columns, mask)),
        estimator(None, panel_of(columns, mask, garbage=1e30)),
        estimator(None, panel_of(small, mask[kept, :-1])),
    ]
    for one, other in pairwise(results):
        for label, estimate in one.items():
            assert float(estimate.value) == pytest.approx(float(other[label].value), rel=1e-7)
            assert estimate.status == Status.OK


def test_a_full_mask_gives_the_balanced_result():
    columns, _ = draw(13)
    estimator = arellano_bond("y ~ lag(y) + x | time", vcov=BOTH[2], tests=True)
    one = estimator(None, Panel(columns))
    other = estimator(None, panel_of(columns, np.ones((60, 7), bool)))
    for label, estimate in one.items():
        np.testing.assert_allclose(estimate.value, other[label].value, rtol=1e-8)


def lanes(panels: list[dict]) -> Panel:
    stacked = {name: jnp.stack([p[name] for p in panels]) for name in panels[0]}
    return Panel.batch(stacked)


@pytest.mark.parametrize("steps", [1, 2])
def test_a_broken_lane_is_marked_and_its_neighbors_are_bit_equal(steps):
    good = [draw(seed)[0] for seed in range(4)]
    collinear = {**good[1], "w": 2.0 * good[1]["x"]}
    constant = {**good[1], "w": np.repeat(good[1]["w"][:, :1], 7, axis=1)}
    nan = {**good[1], "y": np.where(np.arange(7) == 0, np.nan, good[1]["y"])}
    infinite = {**good[1], "x": np.where(np.arange(7) == 6, np.inf, good[1]["x"])}
    estimator = arellano_bond("y ~ lag(y) + x + w", steps=steps, vcov=BOTH[steps], tests=True)
    fit = jax.jit(jax.vmap(lambda panel: estimator(None, panel)))
    whole = fit(lanes(good))
    broken = {
        Status.SINGULAR: [collinear, constant],
        Status.NAN: [nan, infinite],
    }
    for status, panels in broken.items():
        for panel in panels:
            result = fit(lanes([good[0], panel, good[2], good[3]]))
            for label, estimate in result.items():
                assert estimate.status[1] == status
                assert np.isnan(estimate.value[1])
                assert np.isnan(estimate.se[1])
                for lane in (0, 2, 3):
                    for field, same in zip(estimate, whole[label], strict=True):
                        np.testing.assert_array_equal(field[lane], same[lane])


def test_lanes_equal_single_fits():
    panels = [draw(seed)[0] for seed in range(3)]
    estimator = arellano_bond("y ~ lag(y) + x | time", vcov=BOTH[2])
    together = jax.vmap(lambda panel: estimator(None, panel))(lanes(panels))
    for lane, panel in enumerate(panels):
        for label, estimate in estimator(None, Panel(panel)).items():
            np.testing.assert_allclose(estimate.value, together[label].value[lane], rtol=1e-9)


def test_too_little_data_is_a_status():
    columns, _ = draw(17)
    estimator = arellano_bond("y ~ lag(y) + x")
    for keep in (0, 1):
        mask = np.arange(60)[:, None] * np.ones(7) < keep
        for estimate in estimator(None, panel_of(columns, mask)).values():
            assert estimate.status == Status.INVALID_INPUT
            assert np.isnan(estimate.value)


def test_a_test_that_is_not_defined_says_so():
    """Exactly identified, and two equations: no overidentification, no second-order test."""
    columns, _ = draw(19)
    short = {name: column[:, :3] for name, column in columns.items()}
    estimates = arellano_bond("y ~ lag(y)", tests=True)(None, Panel(short))
    for label in (("hansen", ""), ("ar(1)", "windmeijer"), ("ar(2)", "windmeijer")):
        assert estimates[label].status == Status.INVALID_INPUT
        assert np.isnan(estimates[label].p_value)
    assert estimates["lag(y)", "windmeijer"].status == Status.OK


def test_one_trace_per_shape(monkeypatch):
    traces = []
    module = importlib.import_module(arellano_bond.__module__)
    numerics = module.fit_arellano_bond

    def fit_arellano_bond(*args, **options):
        traces.append(args[1].n_units)
        return numerics(*args, **options)

    monkeypatch.setattr(module, "fit_arellano_bond", fit_arellano_bond)
    estimator = arellano_bond("y ~ lag(y) + x")
    for seed in range(3):
        estimator(None, Panel(draw(seed)[0]))
        estimator(None, Panel(draw(seed, n=50)[0]))
    assert traces == [60, 50]


def test_estimand_relabels_the_one_term():
    estimates = arellano_bond("y ~ lag(y) + x", term="lag(y)", estimand="alpha")(
        None, Panel(draw(1)[0])
    )
    assert list(estimates) == [("alpha", "windmeijer")]


def test_spaces_in_a_term_do_not_matter():
    estimator = arellano_bond("y ~ lag(y) + lag(y, 2) + x", term=["lag(y,2)", " x"])
    assert list(estimator(None, Panel(draw(1)[0]))) == [
        ("lag(y, 2)", "windmeijer"),
        ("x", "windmeijer"),
    ]


def test_tests_have_rows_after_the_terms_and_the_variance_that_they_use():
    options = {"steps": 1, "vcov": ["conventional", "robust"], "term": "x", "tests": True}
    estimates = arellano_bond("y ~ lag(y) + x", **options)(None, Panel(draw(1)[0]))
    assert list(estimates) == [
        ("x", "conventional"),
        ("x", "robust"),
        ("sargan", ""),
        ("ar(1)", "conventional"),
        ("ar(2)", "conventional"),
        ("ar(1)", "robust"),
        ("ar(2)", "robust"),
    ]
    for (label, _), estimate in estimates.items():
        assert estimate.status == Status.OK
        if label != "x":
            assert np.isnan(estimate.se)
            assert 0 < estimate.p_value < 1
            assert estimate.df == (15 - 1 if label == "sargan" else np.inf)


def test_it_shows_itself_as_it_was_written():
    estimator = arellano_bond("y~lag(y)+x|time", steps=1, term="lag(y)")
    assert repr(estimator).startswith("arellano_bond('y ~ lag(y) + x | time', steps=1, ")
    assert estimator.name == "arellano_bond"
    assert hash(estimator) == hash(arellano_bond("y ~ lag(y) + x|time", steps=1, term=["lag(y)"]))


@pytest.mark.parametrize(
    ("formula", "options", "message"),
    [
        ("y ~ x", {}, "got no lag of the outcome, expected lag\\(y\\)"),
        ("log(y) ~ lag(y)", {}, "expected lag\\(log\\(y\\)\\)"),
        ("y ~ lag(y) + x", {"term": "z"}, "term: 'z' is not in the formula"),
        ("y ~ lag(y) + x", {"term": ()}, "at least one coefficient"),
        ("y ~ lag(y) + x", {"estimand": "alpha"}, "labels one coefficient, there are 2"),
        ("y ~ lag(y) + x", {"steps": 3}, "steps: got 3"),
        ("y ~ lag(y) + x", {"vcov": "robust"}, "has no vcov 'robust'"),
        ("y ~ lag(y) + x", {"steps": 1, "vcov": "windmeijer"}, "has no vcov 'windmeijer'"),
        ("y ~ lag(y) + x", {"predetermined": "X"}, "predetermined: 'X' is neither"),
        ("y ~ lag(y) + x", {"endogenous": "y"}, "endogenous: 'y' is the outcome"),
        ("y ~ lag(y) + x", {"endogenous": "x", "predetermined": "x"}, "one of the two"),
        ("y ~ lag(y) + x", {"endogenous": ["x", "x"]}, "each name once"),
        ("y ~ lag(y) + x", {"instrument_lags": (1, None)}, "nearest at least 2"),
        ("y ~ lag(y) + x", {"instrument_lags": (3, 2)}, "not below it"),
        ("y ~ lag(y) + x | firm", {}, "'firm' is not a fixed effect"),
    ],
)
def test_bad_arguments_are_sentences(formula, options, message):
    with pytest.raises(InputError, match=message):
        arellano_bond(formula, **options)


def test_all_faults_come_at_once():
    with pytest.raises(InputError, match="4 faults"):
        arellano_bond("y ~ x", steps=3, term="z", instrument_lags=(1, 2))


@pytest.mark.parametrize(
    ("formula", "options", "periods", "message"),
    [
        ("y ~ lag(y)", {}, 2, "got 2 periods, expected at least 3"),
        ("y ~ lag(y) + lag(x, 4)", {}, 4, "got 4 periods, expected at least 6"),
        ("y ~ lag(y)", {"instrument_lags": (4, None)}, 4, "0 instruments for 1 coefficients"),
        ("y ~ lag(y) + missing", {}, 7, "'missing' of the formula is not in the panel"),
    ],
)
def test_bad_panels_are_sentences(formula, options, periods, message):
    columns = {name: column[:, :periods] for name, column in draw(1)[0].items()}
    with pytest.raises(InputError, match=message):
        arellano_bond(formula, **options)(None, Panel(columns))
