"""Promise 1: every random number has an address that nothing else moves."""

import hashlib
import json

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcsim import Design, keys
from mcsim._core.keys import (
    Stream,
    canonical_value,
    cell_identity,
    cell_key,
    replication_keys,
    root_key,
    stream_key,
)
from mcsim.errors import InputError

DESIGN = Design({"n_units": 50, "rho": 0.5, "shape": "t5", "clustered": True})


def words(key):
    return np.asarray(jax.random.key_data(key)).tolist()


def test_a_cell_key_keeps_its_digits():
    key = cell_key(root_key(7), "normal", DESIGN)
    assert words(key) == [1850269834, 3167366994]
    reps = replication_keys(stream_key(key, Stream.DGP), np.arange(2))
    assert words(reps) == [[3723875069, 1345475026], [4282035103, 3384497531]]
    assert float(jax.random.uniform(reps[0])) == 0.12430876912116529


def test_a_cell_key_is_two_words_of_the_hash_of_its_canonical_values():
    factors = {
        "clustered": "bool:True",
        "n_units": float(50).hex(),
        "rho": (0.5).hex(),
        "shape": "str:t5",
    }
    text = json.dumps({"dgp": "normal", "factors": factors}, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).digest()
    key = jax.random.key(7, impl="threefry2x32")
    for word in (digest[:4], digest[4:8]):
        key = jax.random.fold_in(key, int.from_bytes(word, "big"))
    assert words(cell_key(root_key(7), "normal", DESIGN)) == words(key)


def test_one_and_one_point_zero_are_one_cell():
    as_int, as_float = Design({"effect": 1}), Design({"effect": 1.0})
    assert words(cell_key(root_key(0), "d", as_int)) == words(cell_key(root_key(0), "d", as_float))


def test_true_one_and_the_string_are_three_cells():
    designs = [Design({"a": value}) for value in (True, 1, "1")]
    assert len({str(words(cell_key(root_key(0), "d", d))) for d in designs}) == 3


def test_factors_may_come_in_any_order():
    one, other = Design({"a": 1, "b": 2}), Design({"b": 2, "a": 1})
    assert words(cell_key(root_key(0), "d", one)) == words(cell_key(root_key(0), "d", other))


def test_a_factor_at_its_default_stays_out_of_the_key():
    bare = Design({"n_units": 50})
    at_default = Design({"n_units": 50, "rho": 0.0}, defaults={"rho": 0.0})
    elsewhere = Design({"n_units": 50, "rho": 0.5}, defaults={"rho": 0.0})
    assert cell_identity("d", at_default) == cell_identity("d", bare)
    assert cell_identity("d", elsewhere) != cell_identity("d", bare)


def test_streams_and_replications_do_not_meet():
    cell = cell_key(root_key(0), "d", Design())
    drawn = [words(replication_keys(stream_key(cell, s), np.arange(64))) for s in Stream]
    assert len({tuple(pair) for stream in drawn for pair in stream}) == 64 * len(Stream)


def test_a_replication_key_does_not_depend_on_how_many_are_asked_for():
    stream = stream_key(cell_key(root_key(0), "d", Design()), Stream.DGP)
    assert words(replication_keys(stream, np.arange(100)))[40:60] == words(
        replication_keys(stream, np.arange(40, 60))
    )


def test_keys_of_fits_are_a_prefix_of_more_of_them():
    assert words(keys(seed=1, n=5))[:3] == words(keys(seed=1, n=3))


@settings(max_examples=200)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_is_told_apart_to_the_last_bit(value):
    assert float.fromhex(canonical_value(value)) == value
    assert canonical_value(np.nextafter(value, 1e308)) != canonical_value(value) or value >= 1e308


def test_large_integers_are_told_apart():
    assert canonical_value(2**53 + 1) != canonical_value(2**53)
    assert canonical_value(10**400) != canonical_value(10**400 + 1)


def test_zero_has_no_sign():
    assert canonical_value(-0.0) == canonical_value(0.0) == canonical_value(0)


@pytest.mark.parametrize("seed", [-1, 2**63, True])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(InputError, match="seed"):
        root_key(seed)
