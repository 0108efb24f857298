"""Formulas: what they mean, and that no code gets in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcsim import Panel
from mcsim.errors import InputError
from mcsim.estimators._expression import design_matrix, evaluate
from mcsim.estimators._formula import parse_treatment_formula

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
