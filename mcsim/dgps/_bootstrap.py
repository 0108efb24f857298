"""The bootstrap as a DGP: units of a real panel, drawn with replacement."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from mcsim._core import Panel, Sample
from mcsim._design import Design
from mcsim._pytree import pytree
from mcsim._schema import Schema
from mcsim.errors import did_you_mean, raise_all


@pytree("panel", "groups")
@dataclass(frozen=True, init=False)
class Bootstrap:
    """Draw units of a real panel with replacement, all their periods together.

    The truth of a bootstrap is not known: it is assumed (``truth={"att": 1794.34}``), or each
    estimator's own value on the full sample (``truth="own"``), as in the bootstrap's usual use.

    Parameters
    ----------
    panel : Panel
        The real panel.
    truth : dict of estimand to number, or "own"
        The assumed truth.
    strata : str, optional
        A column of few values, constant over periods (the treatment, say): its groups keep their
        sizes in every sample.
    schema : Schema, optional
        The panel's schema, so that host estimators see the user's names and categories.

    Raises
    ------
    InputError
        For an unknown column, a truth that is no number, or strata that vary within a unit.

    References
    ----------
    Efron (1979), Annals of Statistics 7: 1-26.

    Examples
    --------
    >>> import jax
    >>> dgp = Bootstrap(Panel({"y": [1.0, 2.0, 3.0]}), truth={"mean": 2.0})
    >>> dgp(jax.random.key(0), Design()).panel
    Panel(3 units x 1 period: y)
    """

    panel: Panel
    truth_value: tuple[tuple[str, float], ...] | Literal["own"]
    strata: str | None
    schema: Schema | None
    groups: tuple[Int[Array, " member"], ...] = field(compare=False)

    def __init__(
        self,
        panel: Panel,
        truth: Mapping[str, float] | Literal["own"],
        strata: str | None = None,
        schema: Schema | None = None,
    ):
        raise_all(_faults(panel, truth, strata))
        fields = {
            "panel": panel,
            "truth_value": truth if isinstance(truth, str) else tuple(sorted(truth.items())),
            "strata": strata,
            "schema": schema,
            "groups": _groups(panel, strata),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        within = f", strata={self.strata!r}" if self.strata else ""
        return f"Bootstrap({self.panel!r}, truth={self.truth_value!r}{within})"

    @property
    def truth_kind(self) -> str:
        """What the truth is, in words."""
        return "each estimator's own full-sample value" if self.truth_value == "own" else "assumed"

    @property
    def summary(self) -> str:
        """One line for the head of a report."""
        within = f" within {self.strata}" if self.strata else ""
        return f"bootstrap of {self.panel.n_units} units{within}; truth: {self.truth_kind}"

    @property
    def caveats(self) -> tuple[str, ...]:
        """What a reader may not conclude."""
        return (
            f"Bootstrap: its truth is {self.truth_kind}, so that its bias is a distance from that "
            "value; it repeats units, and repeated units are ties, which break matching.",
        )

    def __call__(self, key: Key[Array, ""], design: Design) -> Sample:
        """Draw one sample of the real size."""
        keys = jax.random.split(key, len(self.groups))
        drawn = [
            group[jax.random.randint(k, group.shape, 0, len(group))]
            for k, group in zip(keys, self.groups, strict=True)
        ]
        return Sample(self.panel.take(jnp.concatenate(drawn)), {})

    def truth(self, key: Key[Array, ""], design: Design) -> dict[str, tuple[float, float]] | Panel:
        """Return the assumed truth, or the panel on which each estimator's value is its own."""
        if isinstance(self.truth_value, str):
            return self.panel
        return {estimand: (value, 0.0) for estimand, value in self.truth_value}


def _faults(panel: Any, truth: Any, strata: str | None) -> list[str]:
    if not isinstance(panel, Panel):
        return [f"panel: got {type(panel).__name__}, expected a Panel (see mcsim.from_frame)"]
    faults = []
    numbers = isinstance(truth, Mapping) and all(np.isfinite(v) for v in truth.values())
    if truth != "own" and not (numbers and truth):
        faults.append(f"truth: got {truth!r}, expected {{estimand: number}} or 'own'")
    if strata is not None and strata not in panel:
        faults.append(f"strata: got {strata!r}{did_you_mean(strata, panel)}")
    elif strata is not None and np.ptp(np.asarray(panel[strata]), axis=1).any():
        faults.append(f"strata: {strata!r} varies within units, expected one value per unit")
    return faults


def _groups(panel: Panel, strata: str | None) -> tuple[Int[Array, " member"], ...]:
    if strata is None:
        return (jnp.arange(panel.n_units),)
    values = np.asarray(panel[strata])[:, 0]
    return tuple(jnp.asarray(np.flatnonzero(values == value)) for value in np.unique(values))
