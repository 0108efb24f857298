"""Panels, designs and the other nouns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcsim import Design, Estimate, Panel, Status, grid
from mcsim._core.pytree import pytree
from mcsim.errors import InputError, UnknownName

PANEL = Panel({"y": [[1.0, 2.0], [3.0, 4.0]], "x": [[0.0, 1.0], [1.0, 0.0]]})


def test_a_vector_is_a_cross_section():
    panel = Panel({"y": [1.0, 2.0]})
    assert (panel.n_units, panel.n_periods, panel["y"].shape) == (2, 1, (2, 1))


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({}, "got none"),
        ({"y": [1.0], "x": [1.0, 2.0]}, "expected one shape"),
        ({"y": np.zeros((2, 2, 2))}, "expected .unit, period."),
    ],
)
def test_panels_that_are_none(columns, match):
    with pytest.raises(InputError, match=match):
        Panel(columns)


def test_unknown_columns_and_factors_have_a_suggestion():
    with pytest.raises(UnknownName, match="did you mean 'earnings'"):
        Panel({"earnings": [1.0]})["earning"]
    with pytest.raises(UnknownName, match="did you mean 'rho'"):
        Design({"rho": 0.5})["rhoo"]


def test_an_unknown_name_is_a_key_error_so_that_get_works():
    assert Design({"rho": 0.5}).get("n_units", 50) == 50


def test_taking_selecting_and_adding():
    assert PANEL.take(np.array([1, 1]))["y"].tolist() == [[3.0, 4.0], [3.0, 4.0]]
    assert list(PANEL.select(["x"])) == ["x"]
    assert list(PANEL.with_columns({"z": PANEL["y"]})) == ["y", "x", "z"]


def test_a_panel_goes_through_jax_with_its_mask():
    panel = Panel(dict(PANEL), mask=jnp.array([[True, False], [True, True]]))
    doubled = jax.jit(lambda p: jax.tree.map(lambda leaf: leaf, p))(panel)
    assert list(doubled) == ["y", "x"]
    assert doubled.mask.tolist() == [[True, False], [True, True]]


def test_floats_of_a_design_are_traced_and_the_rest_is_static():
    seen = []

    @jax.jit
    def draw(design):
        seen.append(design["n_units"])
        return jnp.ones(design["n_units"]) * design["rho"]

    for design in grid(n_units=[2, 3], rho=[0.1, 0.2, 0.3]):
        assert draw(design).shape == (design["n_units"],)
    assert seen == [2, 3]


def test_static_floats_stay_concrete():
    @jax.jit
    def draw(design):
        return jnp.ones(int(10 * design["share"]))

    assert draw(grid(share=[0.5], static=["share"])[0]).shape == (5,)


def test_defaults_are_read_and_are_no_factors():
    design = Design({"k": 1}, defaults={"rho": 0.5})
    assert (design["rho"], list(design), "rho" in design) == (0.5, ["k"], True)
    assert design.effective() == {"rho": 0.5, "k": 1}


def test_grids_cross_with_the_last_factor_fastest():
    designs = grid(a=[1, 2], b=["x", "y"])
    assert [(d["a"], d["b"]) for d in designs] == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]


def test_numpy_values_become_plain_ones():
    design = grid(k=np.array([1, 2]), rho=np.linspace(0, 1, 2))[0]
    assert (type(design["k"]), type(design["rho"])) == (int, float)


def test_an_estimate_is_ok_and_normal_unless_it_says_otherwise():
    estimate = Estimate(1.0)
    assert (estimate.status, estimate.df, np.isnan(estimate.se)) == (Status.OK, np.inf, True)


def test_statuses_keep_their_numbers():
    assert {s.label: int(s) for s in Status} == {
        "ok": 0, "nonconverged": 1, "singular": 2, "nan": 3, "error": 4, "timeout": 5,
        "crashed": 6, "oom": 7, "skipped": 8, "invalid_input": 9, "no_se": 10,
    }  # fmt: skip


def test_pytrees_are_rebuilt_without_their_checks():
    import dataclasses

    @pytree("x")
    @dataclasses.dataclass(frozen=True)
    class Positive:
        x: float
        name: str = "a"

        def __post_init__(self):
            if self.x <= 0:
                raise ValueError

    assert jax.tree.map(lambda leaf: -leaf, Positive(1.0)).x == -1.0


def test_units_are_taken_by_list_mask_and_slice():
    panel = Panel({"y": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]})
    for chosen in ([0, 2], [True, False, True], slice(0, 3, 2)):
        assert panel.take(chosen)["y"].tolist() == [[1.0, 2.0], [5.0, 6.0]]
