"""Fakes, and checks of the contract, with which users test their own DGPs and estimators."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from mcsim._core.design import Design
from mcsim._core.keys import root_key
from mcsim._core.records import Estimate, Panel, Sample, require_panel
from mcsim._host.host import HostDGP, HostEstimator, rng_from_words
from mcsim._host.samples import stack_samples
from mcsim._run.compiled import draw_chunk
from mcsim._run.evaluate import evaluate
from mcsim._run.parts import faults_of_parts
from mcsim.errors import ContractError, raise_all


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
    """An estimator that returns the truth plus a bias, with a given standard error.

    Attributes
    ----------
    truth, bias, se : float
        It returns ``truth + bias`` with standard error ``se``.
    estimand : str
        Name of the estimand.

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

    @property
    def reads(self) -> tuple[str, ...]:
        """No column: equal estimates in all replications are intended, and need no warning."""
        return ()

    def __call__(self, key: Key[Array, ""], panel: Panel) -> dict[str, Estimate]:
        """Return the truth, for any panel."""
        return {self.estimand: Estimate(self.truth + self.bias, self.se)}


def check_dgp(dgp: Callable[..., Any], design: Design | None = None, *, seed: int = 0) -> None:
    """Check that a DGP keeps the contract; raise an error with the fault.

    The DGP draws a batch, twice: the columns must be finite, the same key must give the same
    sample and another key another one.

    Parameters
    ----------
    dgp : DGP
        The DGP under test, native or host.
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
    raise_all(faults_of_parts("dgp", dgp))
    keys = jax.random.split(root_key(seed), 2)
    first, again = (_draw(dgp, keys, design or Design()) for _ in range(2))
    for name, values in first.items():
        if not np.isfinite(values).all():
            raise ContractError(f"dgp: column {name!r} is not finite")
        if not np.array_equal(values, again[name]):
            raise ContractError(f"dgp: column {name!r} differs between two draws of one key")
    if all(np.array_equal(values[0], values[1]) for values in first.values()):
        raise ContractError("dgp: two keys gave the same sample; draw from the key")


def _draw(dgp: Any, keys: Key[Array, " rep"], design: Design) -> dict[str, np.ndarray]:
    """Return the columns (rep, unit, period) of one sample per key."""
    if not isinstance(dgp, HostDGP):
        panel = draw_chunk("dgp", dgp, keys, design).panel
        return {name: np.asarray(panel[name]) for name in panel}
    samples = [
        dgp(rng_from_words(words), design, rep)
        for rep, words in enumerate(np.asarray(jax.random.key_data(keys)))
    ]
    columns, *_ = stack_samples(dgp.name, samples)
    return columns


def check_estimator(
    estimator: Callable[..., Any], panel: Panel, *, seed: int = 0, rtol: float = 1e-9
) -> None:
    """Check that an estimator keeps the contract; raise an error with the fault.

    The estimator must give an `Estimate`, or a dict of them, of scalars. A native one must give the
    same alone and in a batch, a host one the same twice from one key.

    Parameters
    ----------
    estimator : Estimator
        The estimator under test, native or host.
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
    require_panel(panel)
    raise_all(faults_of_parts("estimators", estimator))
    keys = jax.random.split(root_key(seed), 4)
    if isinstance(estimator, HostEstimator):
        one, other = (_estimate(estimator, panel, keys[:1]) for _ in range(2))
        _check_alike(one, other, rtol, "differs between two calls with one key:")
        return
    many, alone = (_estimate(estimator, panel, keys[:n]) for n in (4, 1))
    _check_alike(many, alone, rtol, "differs in a batch and alone:")


def _estimate(
    estimator: Any, panel: Panel, keys: Key[Array, " rep"]
) -> dict[tuple[str, str], Estimate]:
    """Return the estimates with the first key, of a batch of one panel for each key."""
    panels = jax.tree.map(lambda leaf: jnp.stack([leaf] * len(keys)), panel)
    found = evaluate("estimator", estimator, keys, panels)
    return jax.tree.map(lambda numbers: numbers[0], found.estimates)


def _check_alike(one: Mapping, other: Mapping, rtol: float, what: str) -> None:
    for label, estimate in one.items():
        pairs = zip(Estimate._fields, estimate, other[label], strict=True)
        for field, number, again in pairs:
            if not np.allclose(number, again, rtol=rtol, atol=0, equal_nan=True):
                name = " ".join(filter(None, (field, *label)))
                raise ContractError(f"estimator: {name} {what} {number} and {again}")
