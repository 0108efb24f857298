"""The bootstrap of panels: units, clusters, subsets."""

import jax
import jax.numpy as jnp
import numpy as np

from drawn_panels import assert_mean, draw
from mcsim import Design, Panel
from mcsim.dgps import Bootstrap


def test_units_are_drawn_with_all_their_periods_and_their_mask():
    mask = jnp.asarray(np.arange(24).reshape(6, 4) % 5 > 0)
    y = np.arange(24.0).reshape(6, 4)
    drawn = Bootstrap(Panel({"y": y}, mask))(jax.random.key(1), Design()).panel
    rows = np.asarray(drawn["y"])[:, 0].astype(int) // 4
    np.testing.assert_array_equal(drawn["y"], y[rows])
    np.testing.assert_array_equal(drawn.mask, mask[rows])
    assert len(set(rows)) < 6


def test_clusters_are_drawn_whole_and_numbered_anew():
    state = np.repeat([4.0, 9.0, 2.0, 7.0], 3)[:, None] * np.ones(2)
    panel = Panel({"y": np.arange(24.0).reshape(12, 2), "state": state})
    drawn, _ = draw(Bootstrap(panel, cluster="state"), 300)
    rows = drawn["y"][..., 0].reshape(300, 4, 3) // 2
    assert (np.diff(rows, axis=2) == 1).all()
    assert (rows[..., 0] % 3 == 0).all()
    assert_mean(rows[..., 0] == 3, 0.25)
    np.testing.assert_array_equal(
        drawn["state"], np.array([np.repeat(np.arange(4.0), 3)[:, None] * np.ones(2)] * 300)
    )


def test_fewer_clusters():
    state = np.repeat([4.0, 9.0, 2.0, 7.0], 3)[:, None] * np.ones(2)
    panel = Panel({"y": np.arange(24.0).reshape(12, 2), "state": state})
    drawn, _ = draw(Bootstrap(panel, cluster="state"), 5, Design({"n_units": 6}))
    assert drawn["state"][..., 0].tolist() == [[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]] * 5


def test_fewer_units_and_subsets():
    panel = Panel({"y": np.arange(20.0).reshape(10, 2)})
    drawn, _ = draw(Bootstrap(panel), 5, Design({"n_units": 6}))
    assert drawn["y"].shape == (5, 6, 2)
    subsets, _ = draw(Bootstrap(panel, n_units=6, replacement=False), 400)
    assert all(len(set(y[:, 0])) == 6 for y in subsets["y"])
    assert_mean([(y[:, 0] == 4.0).any() for y in subsets["y"]], 0.6)
