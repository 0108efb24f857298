"""Fakes and checks with which users test their own DGPs and estimators in seconds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from mcsim._core import Design, Estimate, Panel, Sample
from mcsim._engine import draw_chunk, estimate_chunk
from mcsim.errors import ContractError


@dataclass(frozen=True)
class constant_dgp:
    """A DGP of independent normals around a known mean: ``y ~ N(truth, sd**2)``.

    Attributes
    ----------
    truth, sd : float
        Mean and standard deviation of y.
    n_units : int
        Units in a sample.
    estimand : str
        Name of the truth.

    Examples
    --------
    >>> import jax
    >>> constant_dgp(truth=2.0)(jax.random.key(0), Design()).truth["mean"]
    2.0
    """

    truth: float = 0.0
    sd: float = 1.0
    n_units: int = 20
    estimand: str = "mean"

    def __call__(self, key: Key[Array, ""], design: Design) -> Sample:
        """Draw one sample."""
        noise = jax.random.normal(key, (self.n_units, 1))
        panel = Panel({"y": self.truth + self.sd * noise})
        return Sample(panel, {self.estimand: self.truth})


@dataclass(frozen=True)
class exact_estimator:
    """An estimator that returns the truth, shifted, with the standard error that it is told.

    Attributes
    ----------
    truth, bias, se : float
        It returns ``truth + bias`` with standard error ``se``.
    estimand : str
        What the estimate is of.

    Examples
    --------
    >>> import jax
    >>> exact_estimator(truth=2.0, bias=0.5)(jax.random.key(0), Panel({"y": [0.0]}))["mean"].value
    2.5
    """

    truth: float = 0.0
    bias: float = 0.0
    se: float = 1.0
    estimand: str = "mean"

    def __call__(self, key: Key[Array, ""], panel: Panel) -> dict[str, Estimate]:
        """Return the truth, whatever the panel."""
        return {self.estimand: Estimate(self.truth + self.bias, self.se)}


def check_dgp(dgp: Callable[..., Any], design: Design | None = None, *, seed: int = 0) -> None:
    """Check that a DGP keeps the contract; raise an error that says what is wrong.

    It is drawn alone and in a batch: the shapes must agree, the columns must be finite, the same
    key must give the same sample and another key another one.

    Parameters
    ----------
    dgp : DGP
        The DGP under test.
    design : Design, optional
        The design to draw under.
    seed : int
        Seed of the keys.

    Raises
    ------
    ContractError
        If the contract is broken.

    Examples
    --------
    >>> check_dgp(constant_dgp())
    """
    keys = jax.random.split(jax.random.key(seed), 2)
    design = design or Design()
    first, again = (draw_chunk("dgp", dgp, keys, design) for _ in range(2))
    for name in first.panel:
        values = np.asarray(first.panel[name])
        if not np.isfinite(values).all():
            raise ContractError(f"dgp: column {name!r} is not finite")
        if not np.array_equal(values, np.asarray(again.panel[name])):
            raise ContractError(f"dgp: column {name!r} differs between two draws of one key")
    columns = [np.asarray(values) for values in first.panel.values()]
    if all(np.array_equal(values[0], values[1]) for values in columns):
        raise ContractError("dgp: two keys gave the same sample; draw from the key")


def check_estimator(
    estimator: Callable[..., Any], panel: Panel, *, seed: int = 0, rtol: float = 1e-9
) -> None:
    """Check that a native estimator keeps the contract; raise an error that says what is wrong.

    It must give an `Estimate`, or a dict of them, of scalars, the same alone and in a batch.

    Parameters
    ----------
    estimator : Estimator
        The estimator under test.
    panel : Panel
        A panel that it can handle.
    seed : int
        Seed of the keys.
    rtol : float
        Relative agreement asked of one panel alone and in a batch.

    Raises
    ------
    ContractError
        If the contract is broken.

    Examples
    --------
    >>> check_estimator(exact_estimator(), Panel({"y": [1.0, 2.0]}))
    """
    keys = jax.random.split(jax.random.key(seed), 4)
    batches = [jax.tree.map(lambda leaf, n=n: jnp.stack([leaf] * n), panel) for n in (4, 1)]
    many = estimate_chunk("estimator", estimator, keys, batches[0])
    one = estimate_chunk("estimator", estimator, keys[:1], batches[1])
    for label, estimate in many.items():
        for field, number in zip(Estimate._fields, estimate, strict=True):
            alone = np.asarray(getattr(one[label], field))[0]
            if not np.allclose(np.asarray(number)[0], alone, rtol=rtol, atol=0, equal_nan=True):
                raise ContractError(
                    f"estimator: {field} of {label!r} is {alone} alone and {number[0]} in a batch"
                )
