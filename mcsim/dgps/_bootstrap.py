"""The bootstrap as a DGP: units of a real panel, drawn with replacement."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from mcsim._core.calls import with_remedies
from mcsim._core.checks import is_number
from mcsim._core.design import Design
from mcsim._core.pytree import pytree
from mcsim._core.records import Panel, Sample
from mcsim._data.schema import Schema
from mcsim.dgps._fields import faults_of_flags, faults_of_schema, faults_of_sizes, with_factors
from mcsim.dgps._random import codes_of, varying
from mcsim.errors import did_you_mean, raise_all


@pytree("panel", "groups")
@with_remedies()
@dataclass(frozen=True, init=False)
class Bootstrap:
    """Draw units of a real panel with replacement, all their periods together.

    The truth of a bootstrap is not known: it is assumed (``truth={"att": 1794.34}``), or each
    estimator's own value on the full sample (``truth="own"``), as in the bootstrap's usual use; as
    a source of `with_effect` it needs none.

    Parameters
    ----------
    panel : Panel
        The real panel.
    truth : dict of estimand to number, or "own", optional
        The assumed truth.
    strata : str, optional
        A column of few values, constant over periods (the treatment, say): its groups keep their
        sizes in every sample.
    cluster : str, optional
        A column that identifies clusters of equal size, constant over periods (states): clusters
        are drawn whole and numbered anew, so that one drawn twice is two clusters.
    n_units : int, optional
        Units in a sample, by default as many as there are; with clusters, a multiple of their
        size. The design's factor of this name takes precedence. Not with strata.
    replacement : bool
        Whether a unit can be drawn twice; False takes a random subset, as from a finite
        population.
    schema : Schema, optional
        The panel's schema, so that frames of host estimators have the user's names and categories.

    Raises
    ------
    InputError
        For an unknown column, a truth that is no number, strata or clusters that vary within a
        unit, clusters of unequal sizes, a number of units that cannot be drawn.

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
    cluster: str | None
    n_units: int | None
    replacement: bool
    schema: Schema | None
    groups: tuple[Int[Array, "draw member"], ...] = field(compare=False)

    def __init__(
        self,
        panel: Panel,
        truth: Mapping[str, float] | Literal["own"] | None = None,
        strata: str | None = None,
        schema: Schema | None = None,
        *,
        cluster: str | None = None,
        n_units: int | None = None,
        replacement: bool = True,
    ):
        raise_all(_faults(panel, truth, strata, cluster) + faults_of_schema(schema))
        fields = {
            "panel": panel,
            "truth_value": truth
            if isinstance(truth, str)
            else tuple(sorted((truth or {}).items())),
            "strata": strata,
            "cluster": cluster,
            "n_units": n_units,
            "replacement": replacement,
            "schema": schema,
            "groups": _groups(panel, strata, cluster),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        raise_all(_faults_of_draws(self))

    def __repr__(self) -> str:
        within = f", strata={self.strata!r}" if self.strata else ""
        within += f", cluster={self.cluster!r}" if self.cluster else ""
        return f"Bootstrap({self.panel!r}, truth={self.truth_value!r}{within})"

    @property
    def factors(self) -> tuple[str, ...]:
        """Factors of a design that the DGP reads."""
        return ("n_units",)

    @property
    def truth_kind(self) -> str:
        """Description of the truth, in words."""
        kinds = {"own": "each estimator's own full-sample value", (): "not known"}
        return kinds.get(self.truth_value, "assumed")

    @property
    def summary(self) -> str:
        """One line for the head of a report."""
        within = f" within {self.strata}" if self.strata else ""
        within += f" by {self.cluster}" if self.cluster else ""
        truth = f"; truth: {self.truth_kind}" if self.truth_value else ""
        return f"bootstrap of {self.panel.n_units} units{within}{truth}"

    @property
    def caveats(self) -> tuple[str, ...]:
        """Conclusions that results do not support, as sentences."""
        kind = self.truth_kind
        truth = (f"Bootstrap: its truth is {kind}, so that bias is a distance from that value.",)
        ties = "Bootstrap: it repeats units, and repeated units are ties, which break matching."
        return (*(truth if self.truth_value else ()), ties)

    def __call__(self, key: Key[Array, ""], design: Design) -> Sample:
        """Draw one sample, of the real size or of ``n_units`` units."""
        dgp = with_factors(self, design)
        raise_all(_faults_of_draws(dgp))
        keys = jax.random.split(key, len(dgp.groups))
        drawn = [dgp._members(k, group) for k, group in zip(keys, dgp.groups, strict=True)]
        panel = dgp.panel.take(jnp.concatenate(drawn))
        if dgp.cluster is not None:
            size = dgp.groups[0].shape[1]
            anew = jnp.arange(panel.n_units, dtype=float)[:, None] // size
            numbers = jnp.broadcast_to(anew, (panel.n_units, panel.n_periods))
            panel = panel.with_columns({dgp.cluster: numbers})
        return Sample(panel, {})

    def truth(self, key: Key[Array, ""], design: Design) -> dict[str, tuple[float, float]] | Panel:
        """Return the assumed truth, or the panel on which each estimator's value is its own."""
        if isinstance(self.truth_value, str):
            return self.panel
        return {estimand: (value, 0.0) for estimand, value in self.truth_value}

    def _members(
        self, key: Key[Array, ""], group: Int[Array, "draw member"]
    ) -> Int[Array, " unit"]:
        """Draw from one group the numbers of the units in the sample."""
        count = (len(group) if self.n_units is None else self.n_units // group.shape[1],)
        if self.replacement:
            return group[jax.random.randint(key, count, 0, len(group))].reshape(-1)
        return group[jax.random.permutation(key, len(group))[: count[0]]].reshape(-1)


def _faults(panel: Any, truth: Any, strata: str | None, cluster: str | None) -> list[str]:
    if not isinstance(panel, Panel):
        return [f"panel: got {type(panel).__name__}, expected a Panel (see mcsim.from_frame)"]
    faults = []
    numbers = isinstance(truth, Mapping) and all(
        isinstance(name, str) and is_number(v) and np.isfinite(v) for name, v in truth.items()
    )
    if truth is not None and truth != "own" and not (numbers and truth):
        faults.append(f"truth: got {truth!r}, expected {{estimand: number}} or 'own'")
    for argument, name in (("strata", strata), ("cluster", cluster)):
        if name is not None and name not in panel:
            faults.append(f"{argument}: got {name!r}{did_you_mean(name, panel)}")
        elif name is not None:
            faults += varying(panel, name, argument)
    if strata is not None and cluster is not None:
        faults.append(f"strata, cluster: got {strata!r} and {cluster!r}, expected one of them")
    elif not faults and cluster is not None:
        sizes = np.unique(codes_of(panel, cluster), return_counts=True)[1]
        if np.ptp(sizes):
            faults.append(
                f"cluster: clusters of {cluster!r} have {sizes.min()} to {sizes.max()} units, "
                "expected one size, so that every sample has the same shape"
            )
    return faults


def _faults_of_draws(dgp: Bootstrap) -> list[str]:
    n, faults = dgp.n_units, faults_of_flags(dgp, ["replacement"])
    if n is None:
        return faults
    faults += faults_of_sizes(dgp, {"n_units": 1})
    if dgp.strata is not None:
        faults.append(f"n_units: got {n} with strata, whose sizes are kept; drop one")
    if faults:
        return faults
    size, most = dgp.groups[0].shape[1], dgp.panel.n_units
    if n % size:
        faults.append(f"n_units: got {n}, expected a multiple of {size}, the size of a cluster")
    if not dgp.replacement and n > most:
        faults.append(f"n_units: got {n} without replacement, expected at most {most}")
    return faults


def _groups(
    panel: Panel, strata: str | None, cluster: str | None
) -> tuple[Int[Array, "draw member"], ...]:
    """Return, for each group, rows of the units that are drawn together."""
    if strata is None and cluster is None:
        return (jnp.arange(panel.n_units)[:, None],)
    values = codes_of(panel, str(strata or cluster))
    members = [np.flatnonzero(values == value) for value in np.unique(values)]
    if cluster is not None:
        return (jnp.asarray(np.stack(members)),)
    return tuple(jnp.asarray(units)[:, None] for units in members)
