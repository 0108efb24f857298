"""Formulas: what they mean, and that no code gets in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcsim import Panel
from mcsim.errors import InputError
from mcsim.estimators._expression import (
    design_matrix,
    evaluate,
    longest_lag,
    observed_cells,
)
from mcsim.estimators._parsing import parse_regression, parse_treatment_formula

PANEL = Panel(
    {
        "y": [1.0, 2.0, 3.0],
        "d": [0.0, 1.0, 1.0],
        "a": [2.0, 3.0, 5.0],
        "b": [1.0, 4.0, 9.0],
        "my col": [7.0, 8.0, 9.0],
    }
)
A, B = np.array([2.0, 3.0, 5.0]), np.array([1.0, 4.0, 9.0])


@pytest.mark.parametrize(
    ("covariates", "expected"),
    [
        ("a", [A]),
        ("a + b", [A, B]),
        ("a + b + a", [A, B]),
        ("a:b", [A * B]),
        ("a*b", [A, B, A * B]),
        ("(a + b):b", [A * B, B]),
        ("I(a**2)", [A**2]),
        ("I(a**0.5)", [A**0.5]),
        ("log(a)", [np.log(A)]),
        ("sqrt(b) + exp(a)", [np.sqrt(B), np.exp(A)]),
        ("log(a + 1)", [np.log(A + 1)]),
        ("I(a/b - 2*a)", [A / B - 2 * A]),
        ("I(-a)", [-A]),
        ("log(a):I(b**2)", [np.log(A) * B**2]),
        ("`my col`", [np.array([7.0, 8.0, 9.0])]),
    ],
)
def test_terms_are_what_they_say(covariates, expected):
    formula = parse_treatment_formula(f"y ~ d | {covariates}")
    matrix = np.asarray(design_matrix(formula.covariates, PANEL))
    actual = {tuple(column.round(9)) for column in matrix.T}
    assert actual == {tuple(column.round(9)) for column in expected}
    assert matrix.shape == (3, len(expected))


def test_a_formula_is_one_hashable_value():
    formula = parse_treatment_formula("log(y)~d|a*b")
    assert formula == parse_treatment_formula("log(y) ~ d | a + b + a:b")
    assert hash(formula) == hash(parse_treatment_formula(str(formula)))
    assert str(formula) == "log(y) ~ d | a + b + a:b"
    assert formula.columns == ("d", "y", "a", "b")
    np.testing.assert_allclose(evaluate(formula.outcome, PANEL)[:, 0], np.log([1.0, 2.0, 3.0]))


def test_without_covariates_the_matrix_has_no_column():
    formula = parse_treatment_formula("y ~ d")
    assert formula.covariates == ()
    assert design_matrix(formula.covariates, PANEL).shape == (3, 0)


def test_evaluation_is_pure_and_can_be_jitted_and_vmapped():
    terms = parse_treatment_formula("y ~ d | I(a**2) + a:b").covariates
    one = design_matrix(terms, PANEL)
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), PANEL)
    many = jax.jit(jax.vmap(lambda panel: design_matrix(terms, panel)))(batch)
    np.testing.assert_allclose(many, np.stack([one, 4 * one]))


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("y ~ d | __import__('os').system('true')", "__import__"),
        ("y ~ d | {__import__('os')}", "__import__"),
        ("y ~ d | eval(a)", "eval"),
        ("y ~ d | np.log(a)", "np.log"),
        ("y ~ d | I(a.real)", "a.real"),
        ("y ~ d | a.b", "a.b"),
        ("y ~ d | a.__class__", "__class__"),
        ("y ~ d | I(__a)", "__a"),
        ("y ~ d | a[0]", "a[0]"),
        ("y ~ d | lambda: 1", "lambda"),
        ("y ~ d | I((lambda: 1)())", "lambda"),
        ("y ~ d | I('a')", "'a'"),
        ("y ~ d | 'a'", "'a'"),
        ("y ~ d | log(a, 2)", "log(a, 2)"),
        ("y ~ d | log(x=a)", "log(x=a)"),
        ("y ~ d | log(*a)", "log(*a)"),
        ("y ~ d | I(a if a else b)", "if"),
        ("y ~ d | I(a and b)", "and"),
        ("y ~ d | I([a for a in b])", "for"),
        ("y ~ d | I(True * a)", "True"),
        ("y ~ d | I(a**b)", "power"),
        ("y ~ d | I(a * 9**9**9**9)", "power"),
        ("y ~ d | I(2)", "no column"),
        ("y ~ d | a**2", "I(x**2)"),
        ("y ~ d | a - 1", "'-'"),
        ("y ~ d | 1 + a", "constant 1"),
        ("y ~ d | a/b", "'/'"),
        ("y ~ d | .", "'.'"),
        ("y ~ d | [a ~ b]", "'['"),
        ("y ~ d | C(a)", "column of 0 and 1"),
        ("y ~ log(d) | a", "treatment"),
        ("y ~ d + a", "treatment"),
        ("y + a ~ d", "outcome"),
        ("y ~ d | a | b", "3 parts"),
        ("y ~ d | y", "'y' stands on two sides"),
        ("y ~ d | I(d*a)", "'d' stands on two sides"),
        ("y ~ d | log(", "cannot be parsed"),
        ("y ~ d |", "cannot be parsed"),
        ("~ d", "cannot be parsed"),
        ("", "cannot be parsed"),
        ("y", "cannot be parsed"),
        ("y ~ d | I(" + "(" * 400 + "a" + ")" * 400 + ")", "parsed"),
        ("y ~ d | " + "a" * 6000, "characters"),
    ],
)
def test_anything_else_is_refused_by_name(text, piece):
    with pytest.raises(InputError) as caught:
        parse_treatment_formula(text)
    assert piece in str(caught.value)


def test_a_formula_is_a_string():
    with pytest.raises((InputError, TypeError), match="str"):
        parse_treatment_formula(3)  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_a_formula_or_an_input_error(text):
    try:
        formula = parse_treatment_formula(f"y ~ d | {text}")
    except InputError:
        return
    assert formula.outcome == parse_treatment_formula("y ~ d").outcome


@pytest.mark.parametrize(
    ("text", "canonical", "names", "effects"),
    [
        ("y~a+b", "y ~ a + b", ("a", "b"), ()),
        ("y ~ 1", "y ~ 1", (), ()),
        ("y ~ 1 + a", "y ~ a", ("a",), ()),
        ("y ~ a | time + unit", "y ~ a | time + unit", ("a",), ("unit", "time")),
        ("log(y) ~ a*b | unit", "log(y) ~ a + b + a:b | unit", ("a", "b", "a:b"), ("unit",)),
        ("y ~ a | d ~ b", "y ~ a | d ~ b", ("d", "a"), ()),
        ("y ~ 1 | unit | d ~ a + b", "y ~ 1 | unit | d ~ a + b", ("d",), ("unit",)),
        (
            "y ~ lag(y) + lag(a, 2) | unit",
            "y ~ lag(y) + lag(a, 2) | unit",
            ("lag(y)", "lag(a, 2)"),
            ("unit",),
        ),
    ],
)
def test_a_regression_is_what_it_says(text, canonical, names, effects):
    formula = parse_regression(text)
    assert (str(formula), formula.names, formula.effects) == (canonical, names, effects)
    assert parse_regression(canonical) == formula
    assert hash(parse_regression(canonical)) == hash(formula)


def test_the_parts_of_a_regression():
    formula = parse_regression("y ~ a | unit | d ~ b + I(b**2)")
    assert [len(part) for part in (formula.endogenous, formula.regressors)] == [1, 1]
    assert len(formula.instruments) == 2
    assert formula.columns == ("y", "d", "a", "b")
    assert formula.terms[0] == formula.outcome


def test_a_lag_is_the_value_of_the_period_before():
    columns = {"y": jnp.arange(8.0).reshape(2, 4), "a": 10.0 + jnp.arange(8.0).reshape(2, 4)}
    panel = Panel(columns)
    lag, two, change, product = parse_regression(
        "y ~ lag(a) + lag(a, 2) + I(a - lag(a)) + lag(lag(a)):a"
    ).regressors
    nan = np.nan
    np.testing.assert_array_equal(evaluate(lag, panel)[0], [nan, 10, 11, 12])
    np.testing.assert_array_equal(evaluate(two, panel)[1], [nan, nan, 14, 15])
    np.testing.assert_array_equal(evaluate(change, panel)[1], [nan, 1, 1, 1])
    np.testing.assert_array_equal(evaluate(product, panel)[0], [nan, nan, 120, 143])
    assert [longest_lag(term) for term in (lag, two, change, product)] == [1, 2, 1, 2]


def test_a_lag_is_observed_where_its_period_is():
    mask = jnp.asarray([[True, True, False, True, True]])
    lag, two, own = parse_regression("y ~ lag(a) + a:lag(a, 2) + a").regressors
    calendar = Panel({"a": np.zeros((1, 5))}).calendar
    assert observed_cells(lag, mask, calendar).tolist() == [[False, True, True, False, True]]
    assert observed_cells(two, mask, calendar).tolist() == [[False, False, False, True, False]]
    assert observed_cells(own, mask, calendar).tolist() == mask.tolist()


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("y ~ a | firm", "'firm' is not a fixed effect"),
        ("y ~ a | unit | time", "3 parts"),
        ("y ~ a + y", "'y' stands on two sides"),
        ("y ~ a | d ~ a", "'a' stands on two sides"),
        ("y ~ d | d ~ a", "'d' stands on two sides"),
        ("y ~ a | unit | d + b ~ c", "at least as many instruments"),
        ("y + a ~ b", "outcome"),
        ("y:a ~ b", "outcome"),
        ("y ~ 2 + a", "constant 2"),
        ("y ~ a - 1", "'-'"),
        ("y ~ lag(a, 0)", "whole number"),
        ("y ~ lag(a, -1)", "whole number"),
        ("y ~ lag(a, 1.5)", "whole number"),
        ("y ~ lag(a, b)", "whole number"),
        ("y ~ lag(a, True)", "whole number"),
        ("y ~ lag(a, 10**9)", "whole number"),
        ("y ~ lag(2)", "no column"),
        ("y ~ lag()", "lag()"),
        ("y ~ a | __import__('os') ~ b", "__import__"),
        ("y ~ a | d ~ eval(b)", "eval"),
        ("y ~ a | I(unit)", "not a fixed effect"),
        ("y ~ a | C(unit)", "not a fixed effect"),
        ("y ~ a | unit |", "cannot be parsed"),
        ("y ~ | unit", "'~|' is not allowed"),
        ("y | a ~ b", "outcome"),
    ],
)
def test_anything_else_in_a_regression_is_refused_by_name(text, piece):
    with pytest.raises(InputError) as caught:
        parse_regression(text)
    assert piece in str(caught.value)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_a_regression_or_an_input_error(text):
    try:
        formula = parse_regression(f"y ~ {text}")
    except InputError:
        return
    assert formula.outcome == parse_regression("y ~ a").outcome
