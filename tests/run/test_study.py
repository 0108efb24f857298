"""Studies: bad input is a sentence, and all of it is told at once."""

import jaxtyping
import numpy as np
import pytest

import mcsim
from mcsim import Design, Study, grid
from mcsim.errors import InputError
from mcsim.estimators import ols
from mcsim.testing import constant_dgp, exact_estimator

DGP, ESTIMATOR = constant_dgp(), exact_estimator()


def refused(match, **changes):
    with pytest.raises(InputError, match=match):
        Study(**{"dgp": DGP, "estimators": ESTIMATOR, **changes})


def test_an_empty_grid():
    refused("empty grid", designs=[])
    with pytest.raises(InputError, match="factor 'rho': got no values"):
        grid(rho=[])


@pytest.mark.parametrize(
    "designs",
    [
        [Design({"rho": 0.5}), Design({"rho": 0.5})],
        [Design({"rho": 1}), Design({"rho": 1.0})],
        [Design({"rho": 0.0}), Design({"rho": -0.0})],
        [Design({"k": 1}), Design({"k": 1, "rho": 0.0}, defaults={"rho": 0.0})],
    ],
)
def test_duplicate_cells(designs):
    refused("occurs twice", designs=designs)


def test_cells_that_differ_in_the_last_digits_are_two():
    designs = [Design({"rho": 0.12345671}), Design({"rho": 0.12345672}), Design({"rho": "0.5"})]
    cells = Study(DGP, ESTIMATOR, designs).cells()
    assert len({cell.name for cell in cells}) == 3


def test_two_estimators_of_one_name():
    refused("two are called 'exact_estimator'", estimators=[ESTIMATOR, exact_estimator(bias=1.0)])


@pytest.mark.parametrize("name", ["rep", "estimator", "truth", "status", "value"])
def test_reserved_names_of_factors(name):
    with pytest.raises(InputError, match=f"factor '{name}': the name is reserved"):
        Design({name: 1})


def test_numbers_that_are_none():
    with pytest.raises(InputError, match="factor 'rho': got nan, expected a finite number"):
        grid(rho=[0.0, float("nan")])


def test_values_twice():
    with pytest.raises(InputError, match="every value once"):
        grid(rho=[1, 1.0])


def test_static_names_a_factor():
    with pytest.raises(InputError, match="did you mean 'share'"):
        grid(share=[0.5], static=["shar"])


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, -0.1, float("nan")])
def test_levels(level):
    refused("level", level=level)


def test_parts_that_are_not_callable():
    refused("'a' is int, expected a callable", estimators={"a": 3})
    refused("got none", estimators={})
    refused("expected a string", estimators={3: ESTIMATOR})


def test_functions_take_two_arguments_beside_null_and_level():
    def estimator(key, panel, *, level):
        return None

    Study(DGP, estimator)
    refused(r"'<lambda>' takes \(frame\), expected a function of", estimators=lambda frame: None)
    refused(r"takes \(a, b, c\), expected a function of \(key, design\)", dgp=lambda a, b, c: None)
    refused(r"'ols' takes \(formula, .*; call it first: ols\('y ~ x'\)", estimators=ols)


def test_numbers_of_numpy_become_python_s(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users have it
    study = Study(DGP, ESTIMATOR, scale=np.float32(2.0), null=np.int64(1))
    assert (type(study.scale), study.scale, study.null) == (float, 2.0, 1.0)


def test_host_functions_in_the_wrong_place():
    @mcsim.host
    def draw(rng, design):
        return None

    @mcsim.host
    def mean(frame):
        return None

    refused("takes .rng, design. and so is a DGP", estimators=draw)
    refused("lifted to an estimator", dgp=mean)


def test_all_faults_are_told_at_once():
    with pytest.raises(InputError) as caught:
        Study(dgp=3, estimators={"a": 4}, designs=[], level=2.0)
    for word in ("level", "empty grid", "dgp", "estimators"):
        assert word in str(caught.value)


def test_a_float_in_the_grid_makes_the_factor_float():
    assert [type(d["rho"]) for d in grid(rho=[0, 0.5])] == [float, float]
    assert [type(d["k"]) for d in grid(k=[0, 1])] == [int, int]


def test_a_generator_of_designs_will_do():
    study = Study(DGP, ESTIMATOR, (design for design in grid(k=[1, 2])))
    assert len(study.cells()) == len(study.cells()) == 2


class Ensemble:
    """Two DGPs that a study tells apart by ``generator``."""

    def members(self):
        return {0: constant_dgp(truth=0.0), 1: constant_dgp(truth=1.0)}


def test_members_are_cells_and_keep_static_factors_and_defaults():
    designs = grid(share=[0.5], static=["share"], defaults={"rho": 0.0})
    cells = Study({"fits": Ensemble()}, ESTIMATOR, designs).cells()
    assert [cell.name for cell in cells] == [
        "fits share=0.5 generator=0",
        "fits share=0.5 generator=1",
    ]
    leaves, _ = cells[0].design.tree_flatten()
    assert leaves == []
    assert cells[0].design["rho"] == 0.0


def test_an_ensemble_brings_its_factor_itself():
    refused(
        "brings the factor 'generator' itself", dgp={"e": Ensemble()}, designs=grid(generator=[1])
    )
