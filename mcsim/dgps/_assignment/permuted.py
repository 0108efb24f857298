"""Assignment by permutation: the treatment paths of the data, permuted across units."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int, Key

from mcsim._core.calls import with_remedies
from mcsim._core.pytree import pytree
from mcsim._core.records import Panel
from mcsim.dgps._random import draw_order, faults_of_cluster, first_observed, numbered, varying
from mcsim.errors import did_you_mean, raise_all


@pytree()
@with_remedies()
@dataclass(frozen=True, kw_only=True)
class permuted:
    """Permute the paths of the data's own treatment across units, or across clusters of units.

    Numbers of treated units and their periods are as in the data. An unobserved period of a unit
    continues the period before (at the start: the first observed one).

    Parameters
    ----------
    strata : str, optional
        A column that is constant within units (size, region): paths are permuted within its values.
    cluster : str, optional
        A column that is constant within units, such as states, whose units share one path: whole
        clusters exchange their paths.
    treatment : str, optional
        The column of zeros and ones whose paths are permuted; `with_effect` gives the name of its
        own.

    Raises
    ------
    InputError
        When it is called (`with_effect`: on a real panel, when it is made): for a treatment that is
        no column of zeros and ones, clusters whose units differ in their paths or strata, or paths
        that are all the same.

    Notes
    -----
    Units are taken as exchangeable but for their treatment. Placebo estimates do not show the
    consequences of treated units that are noisier, larger or trending, compared with untreated ones
    of their stratum; `with_effect` warns where their variances before treatment differ.

    References
    ----------
    Imbens & Rubin (2015), Causal Inference for Statistics, Social, and Biomedical Sciences, ch. 5;
    Abadie, Athey, Imbens & Wooldridge (2023), Quarterly Journal of Economics 138: 1-35 (clusters).

    Examples
    --------
    >>> import jax
    >>> d = jnp.array([[0, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]])
    >>> drawn = permuted(treatment="d")(jax.random.key(0), Panel({"d": d}))
    >>> sorted(drawn.tolist()) == sorted(d.tolist()), drawn.sum(axis=0).tolist()
    (True, [0.0, 1.0, 1.0])
    """

    strata: str | None = None
    cluster: str | None = None
    treatment: str | None = None

    def __call__(self, key: Key[Array, ""], panel: Panel) -> Float[Array, "unit period"]:
        """Draw the path of every unit."""
        raise_all(self.faults(panel))
        n = panel.n_units
        order, groups = draw_order(key, panel, self.cluster), _groups(self, panel)
        place = jax.ops.segment_max(order.place, groups.number, n)
        empty = jnp.arange(n) >= order.count
        giver = jnp.lexsort((place, groups.stratum, empty))
        taker = jnp.lexsort((jnp.arange(n), groups.stratum, empty))
        path_of = jnp.zeros(n, int).at[taker].set(giver)
        drawn = groups.paths[path_of[groups.number]]
        return jnp.where(groups.whole, drawn, jnp.nan)

    @property
    def caveats(self) -> tuple[str, ...]:
        """Conclusions that results do not support, as sentences."""
        among = "" if self.strata is None else f" with the same {self.strata}"
        return (
            f"Permuting {self.treatment} takes units{among} as exchangeable: it is blind to "
            "treated units that are noisier, larger or trending.",
        )

    def faults(self, panel: Panel) -> list[str]:
        """Return the faults of this assignment on a panel."""
        faults = faults_of_cluster(panel, self.cluster)
        if self.treatment is None:
            faults.append("treatment: got none; with_effect names its own, else write "
                          "permuted(treatment='d')")  # fmt: skip
        elif self.treatment not in panel:
            faults.append(
                f"treatment: got {self.treatment!r}{did_you_mean(self.treatment, panel)}; permuted "
                "draws from the paths of the data's own treatment"
            )
        if self.strata is not None and self.strata not in panel:
            faults.append(f"strata: got {self.strata!r}{did_you_mean(self.strata, panel)}")
        read = (self.treatment, self.cluster, self.strata)
        if faults or any(isinstance(panel[name], Tracer) for name in read if name is not None):
            return faults
        return _faults_of_paths(self, panel)


def with_treatment(assignment: Any, treatment: str) -> Any:
    """Return an assignment that permutes paths with the name of their column, if none is given."""
    if not isinstance(assignment, permuted) or assignment.treatment is not None:
        return assignment
    return replace(assignment, treatment=treatment)


class _Groups(NamedTuple):
    """Groups that exchange paths: units, or clusters of units, numbered from 0, then padding.

    Attributes
    ----------
    number : array of int (unit,)
        The group of each unit.
    paths : array (group, period)
        Each group's treatment.
    stratum : array (group,)
        The value of its strata's column.
    whole : bool array ()
        Whether all units of a group share its path and stratum.
    """

    number: Int[Array, " unit"]
    paths: Float[Array, "group period"]
    stratum: Float[Array, " group"]
    whole: Bool[Array, ""]


def _groups(assignment: permuted, panel: Panel) -> _Groups:
    n = panel.n_units
    number = jnp.arange(n)
    if assignment.cluster is not None:
        codes = first_observed(panel, assignment.cluster)
        number = jnp.unique(codes, return_inverse=True, size=n)[1].reshape(-1)
    d = panel[str(assignment.treatment)].astype(float)
    observed = jnp.ones(d.shape, bool) if panel.mask is None else panel.mask
    most = jax.ops.segment_max(jnp.where(observed, d, -jnp.inf), number, n)
    least = jax.ops.segment_min(jnp.where(observed, d, jnp.inf), number, n)
    stratum = jnp.zeros(n)
    if assignment.strata is not None:
        stratum = first_observed(panel, assignment.strata).astype(float)
    top, bottom = (f(stratum, number, n) for f in (jax.ops.segment_max, jax.ops.segment_min))
    whole = (most <= least).all() & (top <= bottom).all()
    return _Groups(number, _continued(most), top, whole)


def _continued(paths: Float[Array, "group period"]) -> Float[Array, "group period"]:
    """Fill unobserved cells, which are infinite, with the last observed one, or the first."""
    seen = jnp.isfinite(paths)
    last = jax.lax.cummax(jnp.where(seen, jnp.arange(paths.shape[1]), -1), axis=1)
    source = jnp.where(last < 0, jnp.argmax(seen, axis=1)[:, None], last)
    return jnp.take_along_axis(paths, source, axis=1)


def _faults_of_paths(assignment: permuted, panel: Panel) -> list[str]:
    """Return the faults of the paths, clusters and strata of a concrete panel."""
    name, strata, cluster = assignment.treatment, assignment.strata, assignment.cluster
    d = np.asarray(panel[str(name)], dtype=float)
    observed = np.ones(d.shape, bool) if panel.mask is None else np.asarray(panel.mask)
    if not np.isin(d[observed], (0.0, 1.0)).all():
        return [f"treatment: {name!r} has other values than 0 and 1, expected who is treated when"]
    faults = [] if strata is None else varying(panel, strata, "strata")
    number, stratum = numbered(panel, cluster), np.zeros(panel.n_units)
    if strata is not None:
        stratum = numbered(panel, strata)
    if _differs(d, observed, number):
        faults.append(f"cluster: units with the same {cluster!r} differ in {name!r}, expected "
                      "clusters that are treated as a whole")  # fmt: skip
    if not faults and _differs(stratum[:, None], np.ones((len(stratum), 1), bool), number):
        faults.append(f"strata: {strata!r} varies within {cluster!r}, expected strata of clusters")
    if not faults and not _differs(d, observed, stratum.astype(int)):
        among = "" if strata is None else f" with the same {strata!r}"
        faults.append(f"treatment: all units{among} have the same path of {name!r}, so that there "
                      "is nothing to permute")  # fmt: skip
    return faults


def _differs(values: np.ndarray, observed: np.ndarray, number: np.ndarray) -> bool:
    """Return whether units of one number differ in observed cells."""
    most, least = np.full((2, *values.shape), np.array([-np.inf, np.inf])[:, None, None])
    np.maximum.at(most, number, np.where(observed, values, -np.inf))
    np.minimum.at(least, number, np.where(observed, values, np.inf))
    return bool((most > least).any())
