"""Rules of options: what passes, the sentence where something does not, rules in annotations."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

import jax
import numpy as np
import pytest

from mcsim._core.checks import (
    FINITE,
    at_least,
    faults_of,
    faults_of_value,
    is_finite,
    is_number,
    is_whole,
    one_of,
    plain,
)


@dataclass(frozen=True)
class Config:
    steps: Annotated[int, at_least(1)] = 10
    folds: Annotated[int, at_least(2)] | None = None
    scale: Annotated[float, FINITE] = 1.0
    kind: Annotated[str, one_of("a", "b")] = "a"
    free: object = None


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers(value):
    assert all(test(value) for test in (is_whole, is_number, is_finite))
    assert type(plain(value)) is int


@pytest.mark.parametrize("value", [True, np.bool_(True), np.timedelta64(3, "D"), "3", None, 1j])
def test_no_numbers(value):
    assert not any(test(value) for test in (is_whole, is_number, is_finite))
    assert plain(value) is value


@pytest.mark.parametrize("value", [3.0, np.float32(3), Fraction(1, 2), math.inf, math.nan])
def test_numbers_that_are_not_whole(value):
    assert is_number(value)
    assert not is_whole(value)
    assert is_finite(value) == math.isfinite(value)
    assert type(plain(value)) is float


def test_a_traced_number_is_none():
    found = []
    jax.jit(lambda value: found.append((is_whole(value), is_number(value))) or value)(3)
    assert found == [(False, False)]


def test_a_configuration_without_faults():
    assert not faults_of(Config())
    assert not faults_of(Config(steps=np.int64(1), folds=2, scale=0, kind="b", free="anything"))


def test_every_field_that_breaks_its_rule_has_a_sentence():
    assert faults_of(Config(steps=0, folds=1, scale=math.nan, kind="c")) == [
        "steps: got 0, expected a whole number of at least 1",
        "folds: got 1, expected a whole number of at least 2, or None",
        "scale: got nan, expected a finite number",
        "kind: got 'c', expected one of 'a', 'b'",
    ]


def test_none_is_right_only_where_the_annotation_says_so():
    assert faults_of(Config(steps=None)) == [  # type: ignore[arg-type]
        "steps: got None, expected a whole number of at least 1"
    ]
    assert not faults_of_value("folds", None, at_least(2), or_none=True)
