"""Calls that do not fit: only those are told; all else of a function stays what it was."""

import copy
import functools
import inspect
import pickle
from dataclasses import dataclass

import pytest

import mcsim
from mcsim import Estimate
from mcsim._core.calls import as_written, with_remedies
from mcsim._definitions.describe import describe
from mcsim.errors import InputError, UnknownAttribute, WrongCall
from mcsim.estimators import ols
from mcsim.generators import WGAN


def plain(first, /, second=2, *rest, steps=1):
    """Add them up."""
    return first + second + sum(rest) + steps


def strict(first, *, steps=1):
    return first + steps


told, strictly = with_remedies()(plain), with_remedies("leave out {}", "say what")(strict)


def test_a_call_that_fits_is_the_same_call():
    assert told(1) == plain(1) == 4
    assert told(1, 2, 3, 4, steps=5) == plain(1, 2, 3, 4, steps=5)
    assert inspect.signature(told) == inspect.signature(plain)
    assert told.__doc__ == plain.__doc__


def test_an_error_inside_passes_as_it_is():
    with pytest.raises(TypeError, match="can only concatenate") as caught:
        told("a")
    assert not isinstance(caught.value, InputError)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: strictly(1, epochs=2), "strict: has no option 'epochs'; did you mean 'steps'?"),
        (lambda: strictly(1, 2), "strict: got 2 by position; leave out strict(1)"),
        (strictly, "strict: lacks 'first'; say what"),
        (lambda: strictly(1, first=2), "strict: got 'first' twice"),
        (told, "plain: lacks 'first'; write plain(first)"),
        (lambda: told(first=1), "plain: has no option 'first'; known are second, steps"),
    ],
)
def test_a_call_that_does_not_fit_is_told(call, sentence):
    with pytest.raises(TypeError) as caught:
        call()
    assert isinstance(caught.value, WrongCall)
    assert str(caught.value) == sentence


def test_all_that_does_not_fit_is_told_at_once():
    with pytest.raises(WrongCall, match="2 faults"):
        strictly(1, 2, epochs=2)


def test_definitions_are_those_of_the_functions_as_written():
    def user(key, panel):
        return ols("y ~ x")(key, panel)

    assert as_written(plain) is plain
    assert as_written(told) is plain
    assert describe(told) == describe(plain)

    @functools.wraps(told)
    def around(first):
        return told(first) + 1

    assert as_written(around) is around
    assert describe(ols) == describe(as_written(ols)) != describe(mcsim.estimate)
    assert describe(ols) in describe(user)["uses"].values()


def test_configurations_and_estimates_stay_what_they_are():
    for thing in (WGAN(steps=3), Estimate(*range(7)), ols("y ~ x")):
        assert pickle.loads(pickle.dumps(thing)) == copy.deepcopy(thing) == thing
    assert list(inspect.signature(Estimate).parameters) == list(Estimate._fields)
    assert Estimate(*range(7))._replace(se=7) == Estimate(0, 7, *range(2, 7))

    @with_remedies()
    @dataclass(frozen=True)
    class Of:
        n: int = 1

    assert (Of(2), Of(n=2).n, repr(Of())[-7:]) == (Of(2), 2, "Of(n=1)")


def test_an_estimator_has_no_attributes_of_a_fitted_model():
    assert not hasattr(ols("y ~ x"), "members")
    with pytest.raises(UnknownAttribute, match="holds no data"):
        ols("y ~ x").predict  # noqa: B018
