"""Least squares without effects: certified digits, solvers, constants, options."""

import tomllib
from pathlib import Path

import jaxtyping
import numpy as np
import pytest

from mcsim import Panel, Status
from mcsim.errors import InputError
from mcsim.estimators import ols
from regression_panels import INTERCEPT, draw, numbers

NIST = Path(__file__).parents[1] / "references" / "nist"


def digits(got, certified):
    """The log relative error of the worst number."""
    got, certified = np.asarray(got, float), np.asarray(certified, float)
    return float(-np.log10(np.abs(got / certified - 1.0).max() + 1e-16))


def powers(degree):
    return ["x", *(f"I(x ** {power})" for power in range(2, degree + 1))]


def polynomial(x, y, degree, solver):
    terms = [INTERCEPT, *powers(degree)]
    estimator = ols(f"y ~ {' + '.join(terms[1:])}", term=terms, vcov="iid", solver=solver)
    estimates = estimator(None, Panel({"x": x, "y": y}))
    return [estimates[term, "iid"] for term in terms]


@pytest.mark.parametrize(("solver", "bar"), [("cholesky", 12), ("qr", 12)])
def test_longley(solver, bar):
    longley = pytest.importorskip("statsmodels.datasets").longley.load_pandas().data
    certified = tomllib.loads((NIST / "certified.toml").read_text())["longley"]
    terms = ["GNPDEFL", "GNP", "UNEMP", "ARMED", "POP", "YEAR"]
    panel = Panel({name: longley[name].to_numpy(float) for name in longley})
    estimator = ols(
        f"TOTEMP ~ {' + '.join(terms)}", term=[INTERCEPT, *terms], vcov="iid", solver=solver
    )
    estimates = [estimator(None, panel)[term, "iid"] for term in (INTERCEPT, *terms)]
    assert digits([e.value for e in estimates], certified["coefficients"]) >= bar
    assert digits([e.se for e in estimates], certified["standard_errors"]) >= bar


@pytest.mark.parametrize(
    ("name", "scale", "solver", "bar"),
    [
        ("wampler1", 1.0, "cholesky", 9),
        ("wampler1", 1.0, "qr", 9),
        ("wampler2", 0.1, "cholesky", 10),
        ("wampler2", 0.1, "qr", 10),
    ],
)
def test_wampler(name, scale, solver, bar):
    x = np.arange(21.0)
    y = sum((scale * x) ** power for power in range(6))
    certified = tomllib.loads((NIST / "certified.toml").read_text())[name]["coefficients"]
    estimates = polynomial(x, y, 5, solver)
    assert digits([e.value for e in estimates], certified) >= bar


def test_filip_needs_qr():
    data = np.loadtxt(NIST / "filip.csv", delimiter=",", skiprows=1)
    certified = tomllib.loads((NIST / "certified.toml").read_text())["filip"]
    estimates = polynomial(data[:, 1], data[:, 0], 10, "qr")
    assert digits([e.value for e in estimates], certified["coefficients"]) >= 7
    assert digits([e.se for e in estimates], certified["standard_errors"]) >= 7
    refused = polynomial(data[:, 1], data[:, 0], 10, "cholesky")
    assert {int(e.status) for e in refused} == {Status.SINGULAR}


def test_solvers_agree_with_gaps_too():
    panel = draw(observed=0.7)
    fits = [
        ols("y ~ x + w", term=["Intercept", "x"], vcov=["iid", "HC1", "CR1"], solver=solver)
        for solver in ("cholesky", "qr")
    ]
    one, two = (fit(None, panel) for fit in fits)
    for what in ("value", "se", "df"):
        np.testing.assert_allclose(numbers(one, what), numbers(two, what), rtol=1e-10)


def test_the_constant_alone_is_the_mean():
    y = np.random.default_rng(0).normal(size=40)
    estimate = ols("y ~ 1", vcov="iid")(None, Panel({"y": y}))[INTERCEPT, "iid"]
    assert float(estimate.value) == pytest.approx(y.mean())
    assert float(estimate.se) == pytest.approx(y.std(ddof=1) / 40**0.5)
    assert float(estimate.df) == 39


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("null", ["a", [0.0], True, float("nan")]),
        ("level", ["a", [0.9], True, 1.0]),
        ("resamples", [True, 0, 2.5, None]),
        ("solver", ["lu", ["qr"], None]),
        ("vcov", [None, [["CR1"]], 3, []]),
        ("cluster", [None, [["unit"]], 3]),
        ("ssc", [None, ["fixest-0.13"]]),
        ("term", [3, [["x"]], []]),
        ("estimand", [3, ["a"]]),
    ],
)
def test_an_option_that_cannot_be_is_a_sentence_that_names_it(option, wrong, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users have it
    for value in wrong:
        with pytest.raises(InputError) as caught:
            ols("y ~ x", **({"vcov": "CR1"} | {option: value}))
        assert option in str(caught.value), value


@pytest.mark.parametrize("solver", ["cholesky", "qr"])
def test_a_regression_may_have_a_constant_only(solver):
    panel = draw()
    found = ols("y ~ 1", term="Intercept", vcov="iid", solver=solver)(None, panel)
    assert float(found["Intercept", "iid"].value) == pytest.approx(float(panel["y"].mean()))


def test_options_of_resampling_are_part_of_it_only_where_something_resamples():
    assert ols("y ~ x", resamples=99) == ols("y ~ x")
    one, two = (ols("y ~ x", vcov="wild", resamples=number) for number in (99, 199))
    assert one != two
