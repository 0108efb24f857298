"""LAPACK without XLA's threads: single matrices in every program, and the bits of jax.numpy."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.linalg import cho_solve, solve_triangular

from mcsim import Panel
from mcsim._core import numerics
from mcsim.estimators import fixed_effects, liml, ols

MATRICES = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5, 20, 20)))
GRAMS = jnp.einsum("abij,abkj->abik", MATRICES, MATRICES)
VECTORS = MATRICES[..., 0]
THEIRS = {
    "cholesky": (jnp.linalg.cholesky, [GRAMS]),
    "cho_solve": (lambda factor, right: cho_solve((factor, True), right), [MATRICES, GRAMS]),
    "eigh": (jnp.linalg.eigh, [GRAMS]),
    "eigvalsh": (jnp.linalg.eigvalsh, [GRAMS]),
    "inv": (jnp.linalg.inv, [MATRICES]),
    "qr": (jnp.linalg.qr, [MATRICES]),
    "slogdet": (jnp.linalg.slogdet, [MATRICES]),
    "solve": (jnp.linalg.solve, [MATRICES, VECTORS]),
    "solve_triangular": (solve_triangular, [MATRICES, VECTORS]),
}


def shapes_for_lapack(function, *arguments):
    """The shapes that the LAPACK calls of a program get on a CPU."""
    text = jax.jit(function).trace(*arguments).lower(lowering_platforms=("cpu",)).as_text()
    calls = re.findall(r"custom_call @lapack_\w+\(.* : \(tensor<([0-9x]+)xf64>", text)
    assert len(calls) == text.count("@lapack_")
    return [tuple(map(int, call.split("x"))) for call in calls]


def twice_batched(function):
    return jax.vmap(jax.vmap(function))


@pytest.mark.parametrize("name", THEIRS)
def test_a_loop_over_matrices_has_the_bits_of_a_batch(name):
    theirs, arrays = THEIRS[name]
    ours = getattr(numerics, name)
    found, expected = (jax.jit(twice_batched(f))(*arrays) for f in (ours, theirs))
    jax.tree.map(np.testing.assert_array_equal, tuple(found), tuple(expected))
    assert {len(shape) for shape in shapes_for_lapack(twice_batched(ours), *arrays)} == {2}
    assert {len(shape) for shape in shapes_for_lapack(twice_batched(theirs), *arrays)} == {4}


def test_a_matrix_of_one_number_has_the_bits_of_lapack():
    numbers = jnp.asarray([2.5, 0.0, -1e-300]).reshape(3, 1, 1)
    found, expected = jax.vmap(numerics.eigh)(numbers), jnp.linalg.eigh(numbers)
    jax.tree.map(np.testing.assert_array_equal, found, tuple(expected))


def test_an_argument_that_is_not_batched_is_that_of_every_matrix():
    right = jnp.ones(20)
    found = jax.vmap(numerics.solve, in_axes=(0, None))(MATRICES[0], right)
    expected = jnp.stack([jnp.linalg.solve(matrix, right) for matrix in MATRICES[0]])
    np.testing.assert_array_equal(found, expected)


def test_derivatives_are_those_of_the_functions():
    ours, theirs = (
        jax.grad(lambda grams: jax.vmap(f)(grams).sum())(GRAMS[0])  # noqa: B023
        for f in (numerics.eigvalsh, jnp.linalg.eigvalsh)
    )
    np.testing.assert_array_equal(ours, theirs)


def columns(n_units=20, n_periods=6):
    draws = np.random.default_rng(1).normal(size=(9, n_units, n_periods))
    names = ["y", *(f"x{i}" for i in range(8))]
    state = np.broadcast_to(np.arange(n_units)[:, None] % 5.0, (n_units, n_periods))
    return dict(zip(names, draws, strict=True)) | {"state": state}


MANY = " + ".join(f"x{i}" for i in range(8))  # more than are written out
VARIANCES = ["HC2", "HC3", *(f"{kind}({at})" for kind in ("CR2", "CR3") for at in ("unit", "time"))]
ESTIMATORS = {
    "fixed effects": fixed_effects(f"y ~ {MANY} | unit + time", vcov=[*VARIANCES, "CR3(state)"]),
    "qr": ols(f"y ~ {MANY}", solver="qr", vcov=VARIANCES),
    "liml": liml("y ~ x0 | x1 + x2 ~ x3 + x4 + x5"),
    "first stage": liml("y ~ x0 | x1 ~ x3 + x4 + x5", first_stage=True),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_program_of_many_replications_hands_lapack_single_matrices(name):
    panels = Panel.batch({name: jnp.stack([values] * 4) for name, values in columns().items()})
    shapes = shapes_for_lapack(jax.vmap(lambda panel: ESTIMATORS[name](None, panel)), panels)
    assert shapes, "nothing for LAPACK to do"
    assert {len(shape) for shape in shapes} == {2}
