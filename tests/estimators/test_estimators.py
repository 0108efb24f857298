"""ATT estimators against short NumPy references, invariances, statuses and Monte Carlo truth."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from mcsim import Estimator, Panel, Status, datasets, from_frame
from mcsim.errors import InputError
from mcsim.estimators import aipw, difference_in_means, ipw, matching, outcome_regression

LALONDE = "re78 ~ treat | age + educ + black + hisp + marr + nodegree + re74 + re75"
TOY = "y ~ d | a + b"
METHODS = {
    "difference_in_means": difference_in_means,
    "outcome_regression": outcome_regression,
    "ipw": ipw,
    "aipw": aipw,
    "matching": matching,
}
MODELS = ("outcome_regression", "ipw", "aipw")
DEFAULT = {
    "difference_in_means": "HC2",
    "matching": "abadie-imbens",
    **dict.fromkeys(MODELS, "sandwich"),
}


def toy(seed: int, n: int = 120) -> dict[str, np.ndarray]:
    """A confounded cross-section with an effect that grows with a covariate."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n))
    d = (rng.uniform(size=n) < 1 / (1 + np.exp(0.5 - 0.8 * a))).astype(float)
    y = 2 + a - b + d * (1 + a) + rng.normal(size=n) * (1 + 0.3 * np.abs(b))
    return {"y": y, "d": d, "a": 40 + 10 * a, "b": 1000 * np.exp(b)}


def lalonde() -> dict[str, np.ndarray]:
    frame = datasets.load("lalonde_experimental")
    return {name: frame[name].to_numpy(float) for name in frame}


def data(name: str):
    """Columns, formula, outcome, treatment and covariates of a data set."""
    columns = lalonde() if name == "lalonde" else toy(int(name[3:]))
    text = LALONDE if name == "lalonde" else TOY
    outcome, treatment = text.split(" | ")[0].split(" ~ ")
    x = np.column_stack([columns[c] for c in text.split(" | ")[1].split(" + ")])
    return columns, text, columns[outcome], columns[treatment], x


def estimator_of(method: str, formula: str, **options):
    short = formula.split(" | ", maxsplit=1)[0] if method == "difference_in_means" else formula
    return METHODS[method](short, **options)


def estimate(method: str, columns, formula: str = TOY, **options):
    """One estimate with the method's default variance."""
    result = estimator_of(method, formula, **options)(None, Panel(columns))
    (label,) = result
    return result[label]


# References: other algorithms than the library's, on raw columns.


def reference_value(method: str, y, d, x) -> float:
    t, c = d == 1, d == 0
    z = sm.add_constant(x)
    mu = z @ np.linalg.lstsq(z[c], y[c], rcond=None)[0]
    scaled = sm.add_constant((x - x.mean(0)) / x.std(0))
    p = sm.Logit(d, scaled).fit(disp=0, tol=1e-12, maxiter=100).predict()
    w = p[c] / (1 - p[c])
    match method:
        case "difference_in_means":
            return y[t].mean() - y[c].mean()
        case "outcome_regression":
            return (y - mu)[t].mean()
        case "ipw":
            return y[t].mean() - np.average(y[c], weights=w)
        case "aipw":
            return (y - mu)[t].mean() - np.average((y - mu)[c], weights=w)
    return reference_matching(y, d, x, 1)[0]


def reference_matching(y, d, x, n_neighbors) -> tuple[float, float, float]:
    """Value, robust and homoskedastic variance, by explicit loops over treated and controls."""
    s = x / x.std(0, ddof=1)
    treated, controls = np.flatnonzero(d == 1), np.flatnonzero(d == 0)
    sets = []
    for i in treated:
        squared = ((s[controls] - s[i]) ** 2).sum(1)
        sets.append(controls[squared <= np.sort(squared)[n_neighbors - 1] + 1e-5])
    times, squares = np.zeros(len(y)), np.zeros(len(y))
    for js in sets:
        times[js] += 1 / len(js)
        squares[js] += 1 / len(js) ** 2
    root, z = np.sqrt(times), sm.add_constant(x)
    beta = np.linalg.lstsq(z * root[:, None], y * root, rcond=None)[0]
    e = y - z @ beta
    effects = np.array([e[i] - e[js].mean() for i, js in zip(treated, sets, strict=True)])
    value, n1 = effects.mean(), len(treated)
    pairs = [((e[i] - e[js] - value) ** 2).mean() for i, js in zip(treated, sets, strict=True)]
    robust = 0.0
    for j in np.flatnonzero(times**2 - squares > 1e-12):
        others = controls[controls != j]
        squared = ((s[others] - s[j]) ** 2).sum(1)
        near = others[squared <= squared.min() + 1e-5]
        sigma2 = len(near) / (len(near) + 1) * (y[j] - y[near].mean()) ** 2
        robust += (times[j] ** 2 - squares[j]) * sigma2
    between = ((effects - value) ** 2).sum()
    pooled = (times**2 - squares).sum() * np.mean(pairs) / 2
    return value, (between + robust) / n1**2, (between + pooled) / n1**2


def reference_sandwich(method: str, y, d, x) -> float:
    """Standard error from the stacked moments, their Jacobian by complex steps."""
    z = sm.add_constant((x - x.mean(0)) / x.std(0))
    k = z.shape[1]
    gamma = sm.Logit(d, z).fit(disp=0, tol=1e-12, maxiter=100).params
    beta = np.linalg.lstsq(z[d == 0], y[d == 0], rcond=None)[0]
    use_regression, use_odds = method != "ipw", method != "outcome_regression"

    def moments(theta):
        b, g, m1, m0 = theta[:k], theta[k : 2 * k], theta[-2], theta[-1]
        r = y - z @ b if use_regression else y
        odds = np.exp(z @ g) if use_odds else np.ones_like(y)
        p = 1 / (1 + np.exp(-z @ g))
        last = (1 - d) * odds * (r - m0) if use_odds else np.full_like(y, -m0, dtype=m0.dtype)
        parts = [z * ((1 - d) * (y - z @ b))[:, None], z * (d - p)[:, None]]
        return np.column_stack([*parts, d * (r - m1), last])

    r = y - z @ beta if use_regression else y
    odds = np.exp(z @ gamma)[d == 0]
    m0 = np.average(r[d == 0], weights=odds) if use_odds else 0.0
    theta = np.r_[beta, gamma, r[d == 1].mean(), m0].astype(complex)
    steps = 1e-30j * np.eye(len(theta))
    jacobian = np.column_stack([moments(theta + h).mean(0).imag / 1e-30 for h in steps])
    bread = np.linalg.inv(jacobian)
    psi = moments(theta).real
    covariance = bread @ (psi.T @ psi / len(y)) @ bread.T / len(y)
    contrast = np.r_[np.zeros(2 * k), 1, -1]
    return math.sqrt(contrast @ covariance @ contrast)


@pytest.mark.parametrize("name", ["lalonde", "toy0", "toy1"])
@pytest.mark.parametrize("method", METHODS)
def test_value_equals_reference(method, name):
    columns, formula, y, d, x = data(name)
    actual = estimate(method, columns, formula).value
    np.testing.assert_allclose(actual, reference_value(method, y, d, x), rtol=1e-8)


@pytest.mark.parametrize("name", ["lalonde", "toy0", "toy1"])
@pytest.mark.parametrize("method", MODELS)
def test_sandwich_equals_stacked_moments(method, name):
    columns, formula, y, d, x = data(name)
    actual = estimate(method, columns, formula).se
    np.testing.assert_allclose(actual, reference_sandwich(method, y, d, x), rtol=1e-8)


@pytest.mark.parametrize("n_neighbors", [1, 3])
@pytest.mark.parametrize("name", ["lalonde", "toy0", "toy1"])
def test_matching_equals_loops(name, n_neighbors):
    columns, formula, y, d, x = data(name)
    both = matching(formula, vcov=["abadie-imbens", "aimm2024"], n_neighbors=n_neighbors)
    result = both(None, Panel(columns))
    robust, pooled = result["att", "abadie-imbens"], result["att", "aimm2024"]
    actual = robust.value, robust.se**2, pooled.se**2
    np.testing.assert_allclose(actual, reference_matching(y, d, x, n_neighbors), rtol=1e-8)


@pytest.mark.parametrize("name", ["lalonde", "toy0"])
def test_difference_in_means_equals_statsmodels(name):
    columns, formula, y, d, _ = data(name)
    names = ("iid", "HC1", "HC2", "HC3")
    result = difference_in_means(formula.split(" | ")[0], vcov=names)(None, Panel(columns))
    for vcov in names:
        fit = sm.OLS(y, sm.add_constant(d)).fit(
            cov_type="nonrobust" if vcov == "iid" else vcov, use_t=True
        )
        np.testing.assert_allclose(result["att", vcov].value, fit.params[1], rtol=1e-10)
        np.testing.assert_allclose(result["att", vcov].se, fit.bse[1], rtol=1e-10)
        if vcov != "HC2":
            assert result["att", vcov].df == fit.df_resid


def test_hc2_has_the_degrees_of_freedom_of_bell_and_mccaffrey():
    columns, _, _, d, _ = data("toy0")
    n, z = len(d), sm.add_constant(d)
    hat = z @ np.linalg.inv(z.T @ z) @ z.T
    weight = np.linalg.inv(z.T @ z)[1] @ z.T / np.sqrt(1 - np.diag(hat))
    g = (np.eye(n) - hat) * weight
    eigenvalues = np.linalg.eigvalsh(g.T @ g)
    expected = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    np.testing.assert_allclose(estimate("difference_in_means", columns).df, expected, rtol=1e-9)


def test_published_numbers_of_the_experiment():
    names = ("iid", "HC1", "HC2", "HC3")
    result = difference_in_means("re78 ~ treat", vcov=names)(None, Panel(lalonde()))
    assert f"{result['att', 'iid'].value:.3f}" == "1794.342"
    errors = [f"{result['att', name].se:.3f}" for name in names]
    assert errors == ["632.853", "670.824", "670.997", "672.682"]


def test_without_covariates_models_reduce_to_the_difference_in_means():
    columns = toy(3)
    expected = estimate("difference_in_means", columns).value
    for method in MODELS:
        actual = estimate(method, columns, "y ~ d").value
        np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_trimming_equals_reference():
    columns, _, y, d, x = data("toy0")
    z = sm.add_constant((x - x.mean(0)) / x.std(0))
    p = sm.Logit(d, z).fit(disp=0, tol=1e-12).predict()
    kept = p <= 0.6
    assert 0 < (~kept).sum() < 60
    t, c = kept & (d == 1), kept & (d == 0)
    expected = y[t].mean() - np.average(y[c], weights=(p / (1 - p))[c])
    actual = estimate("ipw", columns, trim=0.6, vcov="aimm2024")
    np.testing.assert_allclose(actual.value, expected, rtol=1e-8)
    share = t.sum() / kept.sum()
    terms = (t * (y - expected) - c * p / (1 - p) * y)[kept] / share
    np.testing.assert_allclose(actual.se, terms.std(ddof=1) / np.sqrt(kept.sum()), rtol=1e-8)


def test_least_squares_keeps_its_digits_on_dollars_and_squares():
    rng = np.random.default_rng(0)
    year = 1990.0 + rng.integers(0, 20, 400)
    d = (rng.uniform(size=400) < 0.4).astype(float)
    y = 1e9 + 3e4 * rng.normal(size=400) + 500 * (year - 2000) ** 2
    actual = estimate(
        "outcome_regression", {"y": y, "d": d, "year": year}, "y ~ d | year + I(year**2)"
    ).value
    centered = np.column_stack([np.ones(400), year - 2000, (year - 2000) ** 2])
    beta = np.linalg.lstsq(centered[d == 0], (y - 1e9)[d == 0], rcond=None)[0]
    expected = (y - 1e9 - centered @ beta)[d == 1].mean()
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


# Invariances


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None, max_examples=10)
@given(
    seed=st.integers(0, 1000),
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-1e3, 1e3),
    constant=st.floats(-1e4, 1e4),
)
def test_estimates_do_not_depend_on_order_units_or_origin(method, seed, scale, shift, constant):
    columns = toy(seed % 7)
    order = np.random.default_rng(seed).permutation(len(columns["y"]))
    moved = {name: column[order] for name, column in columns.items()}
    moved["a"] = shift + scale * moved["a"]
    moved["y"] = moved["y"] + constant
    before, after = estimate(method, columns), estimate(method, moved)
    np.testing.assert_allclose(after.value, before.value, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(after.se, before.se, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_unobserved_units_change_nothing(method):
    columns = toy(0)
    padded = {name: np.r_[column, [np.nan, 5.0]] for name, column in columns.items()}
    mask = jnp.asarray(np.r_[np.ones(120), 0, 0] == 1)[:, None]
    result = estimator_of(method, TOY)(None, Panel(padded, mask))["att", DEFAULT[method]]
    expected = estimate(method, columns)
    np.testing.assert_allclose(result.value, expected.value, rtol=1e-10)
    np.testing.assert_allclose(result.se, expected.se, rtol=1e-10)
    assert result.status == Status.OK


def test_matching_averages_ties_and_ignores_rounding():
    y, d = [10.0, 1.0, 3.0, 8.0, 2.0], [1, 0, 0, 0, 0]
    for nudge in (0.0, 1e-13, -1e-13):
        x = [0.0, 1.0, -1.0 + nudge, 9.0, -9.0]
        result = matching("y ~ d | x")(None, Panel({"y": y, "d": d, "x": x}))
        # The two tied neighbors lie on both sides: their line passes 2 at the treated unit.
        np.testing.assert_allclose(result["att", "abadie-imbens"].value, 8.0, atol=1e-9)


# One program for many panels


def batch_of(panels):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *[Panel(columns) for columns in panels])


@pytest.mark.parametrize("method", METHODS)
def test_vmap_equals_loop(method):
    panels = [toy(seed) for seed in range(5)]
    assert len({columns["d"].sum() for columns in panels}) > 1
    estimator = estimator_of(method, TOY)
    many = jax.vmap(lambda panel: estimator(None, panel))(batch_of(panels))
    for lane, columns in enumerate(panels):
        one = estimate(method, columns)
        lanes = many["att", DEFAULT[method]]
        np.testing.assert_allclose(lanes.value[lane], one.value, rtol=1e-10)
        np.testing.assert_allclose(lanes.se[lane], one.se, rtol=1e-10)


@pytest.mark.parametrize("method", [*MODELS, "matching"])
def test_a_singular_lane_leaves_its_neighbors_bit_equal(method):
    good = [toy(seed) for seed in range(4)]
    bad = [*good]
    bad[1] = {**good[1], "b": 3 * good[1]["a"] - 1}
    estimator = estimator_of(method, TOY)
    run = jax.jit(jax.vmap(lambda panel: estimator(None, panel)))
    clean, dirty = (run(batch_of(panels))["att", DEFAULT[method]] for panels in (good, bad))
    assert dirty.status[1] == Status.SINGULAR
    assert np.isnan([dirty.value[1], dirty.se[1]]).all()
    for lane in (0, 2, 3):
        assert clean.value[lane] == dirty.value[lane]
        assert clean.se[lane] == dirty.se[lane]
        assert dirty.status[lane] == Status.OK


@pytest.mark.parametrize("method", METHODS)
def test_one_trace_per_shape(method):
    estimator = estimator_of(method, TOY)
    traces = []

    def counted(key, panel, formula, **options):
        traces.append((panel.n_units,))
        return estimator.numerics(key, panel, formula, **options)

    counting = dataclasses.replace(estimator, numerics=counted)
    for seed in range(3):
        counting(None, Panel(toy(seed)))
    equal = dataclasses.replace(counting)
    equal(None, Panel(toy(3)))
    assert traces == [(120,)]
    counting(None, Panel(toy(0, n=90)))
    assert traces == [(120,), (90,)]


# Statuses


def status(method: str, change, formula: str = TOY) -> tuple[Status, float, float]:
    columns = toy(0)
    change(columns)
    result = estimate(method, columns, formula)
    return Status(int(result.status)), float(result.value), float(result.se)


def set_column(name, values):
    def change(columns):
        columns[name][:] = values

    return change


def keep_treated(n):
    def change(columns):
        columns["d"][np.flatnonzero(columns["d"] == 1)[n:]] = 0

    return change


def keep_controls(n):
    def change(columns):
        columns["d"][np.flatnonzero(columns["d"] == 0)[n:]] = 1

    return change


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (keep_treated(0), Status.INVALID_INPUT),
        (keep_controls(0), Status.INVALID_INPUT),
        (lambda columns: columns["d"].__setitem__(0, 2.0), Status.INVALID_INPUT),
        (lambda columns: columns["y"].__setitem__(0, np.nan), Status.NAN),
        (lambda columns: columns["y"].__setitem__(0, np.inf), Status.NAN),
        (lambda columns: columns["d"].__setitem__(0, np.nan), Status.NAN),
    ],
    ids=["no treated", "no controls", "not binary", "nan", "inf", "nan treatment"],
)
def test_bad_data_are_a_status(method, change, expected):
    code, value, se = status(method, change)
    assert (code, math.isnan(value), math.isnan(se)) == (expected, True, True)


@pytest.mark.parametrize("method", [*MODELS, "matching"])
@pytest.mark.parametrize(
    ("change", "formula", "expected"),
    [
        (set_column("b", 0.1), TOY, Status.SINGULAR),
        (set_column("b", 0.0), TOY, Status.SINGULAR),
        (lambda columns: None, "y ~ d | a + I(2*a + 1)", Status.SINGULAR),
        (lambda columns: columns["b"].__setitem__(0, np.nan), TOY, Status.NAN),
        (set_column("b", -1.0), "y ~ d | a + log(b)", Status.NAN),
    ],
    ids=["constant", "zero", "collinear", "nan", "log of a negative"],
)
def test_bad_covariates_are_a_status(method, change, formula, expected):
    code, value, se = status(method, change, formula)
    assert (code, math.isnan(value), math.isnan(se)) == (expected, True, True)


@pytest.mark.parametrize("method", ["ipw", "aipw"])
def test_separation_is_not_converged(method):
    def separate(columns):
        columns["d"][:] = columns["a"] > np.median(columns["a"])

    assert status(method, separate)[0] == Status.NONCONVERGED


@pytest.mark.parametrize("method", ["outcome_regression", "aipw"])
def test_fewer_controls_than_regressors(method):
    assert status(method, keep_controls(2))[0] == Status.INVALID_INPUT


def test_fewer_controls_than_neighbors():
    columns = toy(0)
    keep_controls(4)(columns)
    result = estimate("matching", columns, n_neighbors=5)
    assert (int(result.status), math.isnan(result.value)) == (Status.INVALID_INPUT, True)


@pytest.mark.parametrize("method", ["difference_in_means", "outcome_regression", "matching"])
def test_one_treated_unit_has_a_value_without_a_standard_error(method):
    formula = TOY if method != "matching" else "y ~ d | a"
    columns = toy(0)
    keep_treated(1)(columns)
    options = {"n_neighbors": 4} if method == "matching" else {}
    result = estimate(method, columns, formula, **options)
    code, value, se = Status(int(result.status)), float(result.value), float(result.se)
    assert (code, math.isnan(value), math.isnan(se)) == (Status.NO_SE, False, True)


def test_the_pooled_variance_exists_with_one_treated_unit():
    columns = toy(0)
    keep_treated(1)(columns)
    result = estimate("difference_in_means", columns, vcov="iid")
    assert (int(result.status), bool(np.isfinite(result.se))) == (Status.OK, True)


def test_a_rare_treatment_converges():
    """An undamped Newton step from the share of treated overshoots on these data."""
    panel, _ = from_frame(datasets.load("lalonde_cps"))
    assert ipw(LALONDE)(None, panel)["att", "sandwich"].status == Status.OK


# The boundary


@pytest.mark.parametrize("method", METHODS)
def test_protocol_repr_and_hash(method):
    estimator = estimator_of(method, TOY)
    again = estimator_of(method, TOY)
    assert isinstance(estimator, Estimator)
    assert estimator.name == method
    assert estimator == again
    assert hash(estimator) == hash(again)
    assert eval(repr(estimator), {**METHODS}) == estimator
    with pytest.raises(dataclasses.FrozenInstanceError):
        estimator.name = "other"


@pytest.mark.parametrize("method", METHODS)
def test_several_variances_share_one_estimate(method):
    estimator = estimator_of(method, TOY, vcov=[DEFAULT[method], "aimm2024"])
    first, second = estimator(None, Panel(toy(0))).values()
    assert first.value == second.value
    assert first.se != second.se


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        (lambda: aipw(TOY, vcov="sandwhich"), "did you mean 'sandwich'"),
        (lambda: difference_in_means("y ~ d", vcov="hc2"), "did you mean 'HC2'"),
        (lambda: aipw(TOY, vcov=()), "at least one"),
        (lambda: aipw(TOY, vcov=("sandwich", "sandwich")), "each once"),
        (lambda: ipw(TOY, trim=90.0), "probability"),
        (lambda: matching(TOY, n_neighbors=0), "whole number"),
        (lambda: difference_in_means(TOY), "write 'y ~ d'"),
        (lambda: matching("y ~ d"), "needs covariates"),
        (lambda: aipw("y ~ d | __import__('os')"), "__import__"),
        (lambda: ipw("y ~ d | age")(None, Panel(toy(0))), "'age' of the formula is not"),
        (lambda: ipw("why ~ d | aa")(None, Panel(toy(0))), "did you mean 'a'"),
        (lambda: ipw(TOY)(None, Panel({k: np.ones((4, 2)) for k in "ydab"})), "2 periods"),
    ],
)
def test_wrong_arguments_are_sentences(attempt, words):
    with pytest.raises(InputError) as caught:
        attempt()
    assert words in str(caught.value)


# Monte Carlo truth

REPS, UNITS = 2000, 500


def draw(key):
    """Confounded by ``a``; the effect is 1 + a/2, the noise heteroskedastic."""
    k1, k2, k3, k4 = jax.random.split(key, 4)
    a, b = jax.random.normal(k1, (UNITS,)), jax.random.normal(k2, (UNITS,))
    d = (jax.random.uniform(k3, (UNITS,)) < jax.nn.sigmoid(0.5 + 0.7 * a)).astype(float)
    noise = jax.random.normal(k4, (UNITS,)) * (1 + 0.3 * jnp.abs(b))
    return Panel({"y": 1 + a + b + d * (1 + a / 2) + noise, "d": d, "a": a, "b": b})


def att_of_draw() -> float:
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    p = weights / (1 + np.exp(-0.5 - 0.7 * nodes))
    return 1 + (p @ nodes) / p.sum() / 2


@pytest.fixture(scope="module")
def replications():
    keys = jax.random.split(jax.random.key(20240607), REPS)
    methods = {
        name: METHODS[name](TOY, vcov=[DEFAULT[name], "aimm2024"])
        for name in METHODS
        if name != "difference_in_means"
    }
    run = jax.jit(
        lambda keys: jax.lax.map(
            lambda key: {name: method(None, draw(key)) for name, method in methods.items()},
            keys,
            batch_size=50,
        )
    )
    return run(keys)


@pytest.mark.optimized
@pytest.mark.slow
@pytest.mark.parametrize("method", [*MODELS, "matching"])
def test_coverage_and_bias(replications, method):
    result = replications[method]["att", DEFAULT[method]]
    assert (result.status == Status.OK).all()
    error = np.asarray(result.value) - att_of_draw()
    covered = np.abs(error) <= 1.959963984540054 * np.asarray(result.se)
    assert abs(covered.mean() - 0.95) <= 4 * math.sqrt(0.95 * 0.05 / REPS)
    assert abs(error.mean()) <= 4 * error.std() / math.sqrt(REPS)


@pytest.mark.optimized
@pytest.mark.slow
def test_the_papers_variances_do_not_cover_as_the_sandwich_does(replications):
    """The regression is taken as known: too small. Uncentered terms: too large."""
    coverage = {}
    for method in ("outcome_regression", "ipw"):
        result = replications[method]["att", "aimm2024"]
        error = np.abs(np.asarray(result.value) - att_of_draw())
        coverage[method] = (error <= 1.96 * np.asarray(result.se)).mean()
    assert coverage["outcome_regression"] < 0.93
    assert coverage["ipw"] > 0.97


def test_difference_in_means_covers_in_a_small_unequal_experiment():
    """HC2 with its degrees of freedom holds its level with 6 and 24 units, unequal variances."""

    def one(key):
        k1, k2 = jax.random.split(key)
        d = (jax.random.permutation(k1, 30) < 6).astype(float)
        y = jax.random.normal(k2, (30,)) * jnp.where(d == 1, 1.0, 1.2)
        return difference_in_means("y ~ d")(None, Panel({"y": y, "d": d}))["att", "HC2"]

    result = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(5), 20_000))
    critical = scipy.stats.t.ppf(0.975, np.asarray(result.df))
    covered = np.abs(np.asarray(result.value)) <= critical * np.asarray(result.se)
    assert abs(covered.mean() - 0.95) <= 4 * math.sqrt(0.95 * 0.05 / 20_000)
