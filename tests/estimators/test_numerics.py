"""Inverses, sums of products and the logit: written out or not, long or short, one answer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcsim import Panel, Status
from mcsim.estimators import aipw, ols


def regression(n_regressors, shape=(60, 1)):
    """A panel and the coefficients of NumPy's least squares, the constant's last."""
    rng = np.random.default_rng(n_regressors)
    names = [f"x{i}" for i in range(n_regressors)]
    columns = {name: rng.normal(size=shape) for name in names}
    columns["y"] = sum(columns.values()) + rng.normal(size=shape)
    x = np.column_stack([*(columns[name].ravel() for name in names), np.ones(columns["y"].size)])
    coef = np.linalg.lstsq(x, columns["y"].ravel(), rcond=None)[0]
    return f"y ~ {' + '.join(names)}", columns, x, coef


@pytest.mark.parametrize("shape", [(60, 1), (30, 2), (12, 5)])
@pytest.mark.parametrize("n_regressors", range(1, 9))
def test_any_number_of_regressors_is_least_squares(n_regressors, shape):
    formula, columns, x, coef = regression(n_regressors, shape)
    estimates = ols(formula, vcov="HC0")(None, Panel(columns))
    residual = columns["y"].ravel() - x @ coef
    loading = np.linalg.inv(x.T @ x) @ x.T
    se = np.sqrt(((loading * residual) ** 2).sum(axis=1))
    assert [float(e.value) for e in estimates.values()] == pytest.approx(coef[:-1], rel=1e-11)
    assert [float(e.se) for e in estimates.values()] == pytest.approx(se[:-1], rel=1e-11)


@pytest.mark.parametrize("n_regressors", range(2, 9))
def test_a_collinear_regressor_is_singular_at_any_number(n_regressors):
    formula, columns, *_ = regression(n_regressors)
    columns["x1"] = 2.0 * columns["x0"] + 1.0
    estimates = ols(formula)(None, Panel(columns))
    assert {int(estimate.status) for estimate in estimates.values()} == {Status.SINGULAR}


def samples(n, slope, batch=64):
    """Samples whose treatment follows three covariates; a steep slope separates many."""
    rng = np.random.default_rng(n)
    a, b, c = x = rng.normal(size=(3, batch, n, 1))
    odds = np.exp(-slope * x.sum(axis=0))
    d = (rng.random((batch, n, 1)) < 1.0 / (1.0 + odds)).astype(float)
    return {"a": a, "b": b, "c": c, "d": d, "y": x.sum(axis=0) + rng.normal(size=(batch, n, 1))}


def newton(x, d, iterations=25):
    """Newton's method in NumPy, every step taken: the linear predictor, and its last change."""
    coef = np.array([np.log(d.mean() / (1.0 - d.mean())), *np.zeros(x.shape[1] - 1)])
    change = np.inf
    for _ in range(iterations):
        p = 1.0 / (1.0 + np.exp(-(x @ coef)))
        step = np.linalg.solve((x * (p * (1.0 - p))[:, None]).T @ x, x.T @ (d - p))
        change = np.abs(x @ step).max()
        coef = coef + step * min(1.0, 5.0 / change)
    return x @ coef, change


def test_the_logit_ends_where_more_steps_would_end():
    columns, batch = samples(200, 0.5), 8
    estimates = jax.vmap(aipw("y ~ d | a + b + c"), in_axes=(None, 0))(
        None, jax.vmap(Panel)(columns)
    )
    value = next(iter(estimates.values())).value
    for i in range(batch):
        y, d = columns["y"][i].ravel(), columns["d"][i].ravel()
        x = np.column_stack([np.ones(len(y)), *(columns[name][i].ravel() for name in "abc")])
        predictor, change = newton(x, d)
        assert change < 1e-12
        outcome = np.linalg.lstsq(x[d == 0], y[d == 0], rcond=None)[0]
        residual, odds = y - x @ outcome, (1.0 - d) * np.exp(predictor)
        effect = residual @ d / d.sum() - residual @ odds / odds.sum()
        assert float(value[i]) == pytest.approx(effect, rel=1e-11, abs=1e-12)


@pytest.mark.parametrize(("n", "slope"), [(20, 1.5), (12, 3.0), (40, 20.0)])
def test_samples_keep_their_bits_beside_separated_ones(n, slope):
    columns = samples(n, slope)
    program = jax.jit(jax.vmap(aipw("y ~ d | a + b + c"), in_axes=(None, 0)))
    together = next(iter(program(None, jax.vmap(Panel)(columns)).values()))
    status = np.asarray(together.status)
    fine = status == Status.OK
    assert fine.any()
    assert (status == Status.NONCONVERGED).any()
    chosen = {name: jnp.asarray(values)[fine] for name, values in columns.items()}
    repeated = {name: jnp.resize(values, columns[name].shape) for name, values in chosen.items()}
    alone = next(iter(program(None, jax.vmap(Panel)(repeated)).values()))
    assert (np.asarray(alone.value)[: fine.sum()] == np.asarray(together.value)[fine]).all()
    assert (np.asarray(alone.se)[: fine.sum()] == np.asarray(together.se)[fine]).all()
