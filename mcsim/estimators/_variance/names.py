"""Names of variances, such as ``"CR2:BM"`` and ``"CR1(state)"``, and the arguments of formulas.

A name gives the formula, after a colon the reference distribution or the weights, in brackets the
clusters or the number of lags. The text itself labels the inference of an estimate. Every formula
is called with a fit, the name as a `Vcov`, and a `Setting`: data, clusters, key and options.
"""

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from mcsim._core.records import Panel, Status
from mcsim.errors import InputError, UnknownName, did_you_mean
from mcsim.estimators._linear_model.data import Regression
from mcsim.estimators._linear_model.least_squares import LinearFit
from mcsim.estimators._native import Variance

AXES = {"unit": -2, "time": -1}
TIE = 1e-9  # relative difference below which two statistics are equal, on any machine
CELLS = 2**14  # numbers that one batch of draws holds

CLUSTERED = ("CR0", "CR1", "CR2", "CR3", "wild", "RI")
LAGGED = ("DK", "NW")
KINDS = ("iid", "HC0", "HC1", "HC2", "HC3", *CLUSTERED, *LAGGED)
VARIANTS = {"HC2": ("BM",), "CR2": ("BM",), "wild": ("rademacher", "webb")}
TWO_WAY = ("CR0", "CR1")
UNIT = ("unit",)  # the clusters by default

ELSEWHERE = {
    "robust": "HC1", "hetero": "HC1", "cluster": "CR1", "clustered": "CR1", "CRV1": "CR1",
    "CRV3": "CR3", "HAC": "NW", "kernel": "DK", "driscoll-kraay": "DK", "wildboot": "wild",
}  # fmt: skip
"""The names here by the names of other libraries."""

_GRAMMAR = re.compile(r"(?P<kind>\w+)(:(?P<variant>\w+))?(\((?P<argument>[^()]*)\))?")


@dataclass(frozen=True)
class Vcov:
    """A variance, read from its name.

    Attributes
    ----------
    name : str
        The name as it was written.
    kind : str
        One of `KINDS`.
    variant : str
        ``"BM"`` for the degrees of freedom of Bell & McCaffrey, the weights of a wild bootstrap.
    clusters : tuple of str
        ``"unit"``, ``"time"`` or a column that is constant over a unit's periods; two for two-way.
    lags : int or None
        Lags of a kernel; None for the rule of thumb.
    """

    name: str
    kind: str
    variant: str = ""
    clusters: tuple[str, ...] = ()
    lags: int | None = None


def parse_vcov(name: str, cluster: str | tuple[str, ...]) -> Vcov:
    """Read a name that has no faults; ``cluster`` is for names without clusters in brackets.

    Examples
    --------
    >>> parse_vcov("CR2:BM", "state").clusters
    ('state',)
    >>> parse_vcov("DK(3)", "unit").lags
    3
    """
    kind, variant, argument = _split(name)
    given = _clusters(argument) if argument and kind in CLUSTERED else ()
    default = (cluster,) if isinstance(cluster, str) else tuple(cluster)
    return Vcov(
        name=name,
        kind=kind,
        variant=variant,
        clusters=(given or default) if kind in CLUSTERED else (),
        lags=int(argument) if argument and kind in LAGGED else None,
    )


def spelled(name: str) -> str:
    """Return a name as it labels estimates: one spelling for one variance.

    Examples
    --------
    >>> spelled("CR1( unit+time)"), spelled("DK()")
    ('CR1(unit + time)', 'DK')
    """
    kind, variant, argument = _split(name)
    if not kind:
        return name
    within = f"({' + '.join(_clusters(argument))})" if argument else ""
    return kind + (f":{variant}" if variant else "") + within


def faults_of_vcov(
    names: tuple[str, ...], cluster: str | tuple[str, ...], known: tuple[str, ...] = KINDS
) -> list[str]:
    """Return the faults of names of variances, for a method that has these kinds."""
    faults = [fault for name in names for fault in _faults_of_name(name, cluster, known)]
    if not names or len(set(map(str, names))) < len(names):
        faults.append(f"vcov: got {names}, expected at least one name and each once")
    return faults or _faults_of_unused(names, cluster)


def _faults_of_unused(names: tuple[str, ...], cluster: str | tuple[str, ...]) -> list[str]:
    """Return the fault of clusters that no variance uses: inference would ignore them."""
    given = (cluster,) if isinstance(cluster, str) else tuple(cluster)
    used = any(_split(name)[0] in CLUSTERED and not _split(name)[2] for name in names)
    if used or given == UNIT:
        return []
    got = given[0] if len(given) == 1 else given
    return [f"cluster: got {got!r}, which no variance of vcov={list(names)} uses; write vcov='CR1'"]


def _faults_of_name(name: str, cluster: str | tuple[str, ...], known: tuple[str, ...]) -> list[str]:
    kind, variant, argument = _split(name)
    if kind in KINDS and kind not in known:
        return [f"vcov: {name!r} is not defined for this method, which has {', '.join(known)}"]
    if str(name) in ELSEWHERE:
        return [f"vcov: got {name!r}; here it is called {ELSEWHERE[str(name)]!r}"]
    if kind not in known:
        listed = f"; known are {', '.join(known)}"  # HC4 is no misspelling of HC3
        hint = listed if kind[-1:].isdigit() else did_you_mean(kind or str(name), known)
        return [f"vcov: got {name!r}{hint}"]
    faults = []
    if variant and variant not in VARIANTS.get(kind, ()):
        faults.append(f"vcov: {name!r}: {kind} has no variant {variant!r}")
    if argument and kind not in (*CLUSTERED, *LAGGED):
        faults.append(f"vcov: {name!r}: {kind} takes no argument, got ({argument})")
    if argument and kind in LAGGED and not argument.isdigit():
        faults.append(f"vcov: {name!r}: got {argument!r}, expected a number of lags, {kind}(3)")
    if kind in CLUSTERED:
        clusters = parse_vcov(name, cluster).clusters
        most = 2 if kind in TWO_WAY else 1
        if not 1 <= len(set(clusters)) == len(clusters) <= most:
            faults.append(
                f"vcov: {name!r}: got clusters {' + '.join(clusters)!r}, expected "
                f"{'one or two different ones' if most == 2 else 'one'}"
            )
    return faults


def _split(name: str) -> tuple[str, str, str]:
    match = _GRAMMAR.fullmatch(str(name).replace(" ", ""))
    if match is None:
        return "", "", ""
    return match["kind"], match["variant"] or "", match["argument"] or ""


def _clusters(argument: str) -> tuple[str, ...]:
    return tuple(re.split(r"[+,]", argument))


class Groups(NamedTuple):
    """Groups of units by column, and the status of each column.

    Attributes
    ----------
    of_unit : dict of column to array of int (unit,)
        The group of every unit, a number below the number of units.
    status : dict of column to int array ()
    """

    of_unit: Mapping[str, Int[Array, " unit"]]
    status: Mapping[str, Int[Array, ""]]


def read_groups(clusters: set[str], panel: Panel) -> Groups:
    """Read the columns of clusters above the unit off a panel."""
    found = {name: group_of_units(name, panel) for name in sorted(clusters.difference(AXES))}
    return Groups(
        {name: group for name, (group, _) in found.items()},
        {name: status for name, (_, status) in found.items()},
    )


def group_of_units(column: str, panel: Panel) -> tuple[Int[Array, " unit"], Int[Array, ""]]:
    """Return the group of every unit as a number below the number of units, and a status.

    The number is the position of the group's first unit in sorted order: it has gaps, but needs no
    shape that depends on the data. A group that changes over a unit's observed periods is
    ``INVALID_INPUT``.
    """
    if column not in panel:
        raise UnknownName(
            f"cluster: {column!r} is not a column of the panel{did_you_mean(column, panel)}; its "
            "own axes are called 'unit' and 'time'"
        )
    values = jnp.asarray(panel[column], dtype=jnp.float64)
    seen = jnp.ones(values.shape, bool) if panel.mask is None else panel.mask
    highest = jnp.where(seen, values, -jnp.inf).max(axis=1)
    lowest = jnp.where(seen, values, jnp.inf).min(axis=1)
    wrong = (seen & ~jnp.isfinite(values)).any() | (highest > lowest).any()
    code = jnp.where(seen.any(axis=1), highest, jnp.inf)
    group = jnp.searchsorted(jnp.sort(code), code).astype(jnp.int32)
    return group, jnp.where(wrong, Status.INVALID_INPUT, Status.OK).astype(jnp.int32)


def cluster_sums(
    cells: Float[Array, "column unit period"], clusters: tuple[str, ...], groups: Groups
) -> Float[Array, "column *cluster"]:
    """Return sums over the cells of each cluster; for two ways, of each pair of clusters."""
    if "unit" not in clusters:
        above = [groups.of_unit[name] for name in clusters if name in groups.of_unit]
        cells = _group_sums(cells, above) if above else cells.sum(axis=-2, keepdims=True)
    if "time" not in clusters:
        cells = cells.sum(axis=-1, keepdims=True)
    return cells


def cluster_grams(
    columns: Float[Array, "column unit period"], cluster: str, groups: Groups
) -> Float[Array, "cluster column column"]:
    """Return the sums of products of columns over the cells of each cluster."""
    if cluster == "time":
        return jnp.einsum("pnt,qnt->tpq", columns, columns)
    of_unit = jnp.einsum("pnt,qnt->npq", columns, columns)
    if cluster == "unit":
        return of_unit
    return jax.ops.segment_sum(of_unit, groups.of_unit[cluster], len(of_unit))


def n_clusters(
    observed: Float[Array, "unit period"], clusters: tuple[str, ...], groups: Groups
) -> Float[Array, ""]:
    """Return the number of clusters with an observation."""
    return (cluster_sums(observed[None], clusters, groups) > 0).sum().astype(float)


def _group_sums(
    cells: Float[Array, "column unit period"], above: list[Int[Array, " unit"]]
) -> Float[Array, "column group period"]:
    group = above[0]
    for other in above[1:]:
        pair = group * len(group) + other
        group = jnp.searchsorted(jnp.sort(pair), pair).astype(jnp.int32)
    return jax.vmap(lambda column: jax.ops.segment_sum(column, group, len(group)))(cells)


class Setting(NamedTuple):
    """The arguments of a variance beside the fit.

    Attributes
    ----------
    data : Regression
        The data before anything was absorbed.
    groups : Groups
        The clusters above the unit.
    ssc : str
        Name of the small-sample rule.
    key : Key or None
        For methods that resample.
    resamples : int
        Draws of methods that resample.
    null, level : float
        The value that methods that resample test, and the level of their limits.
    """

    data: Regression
    groups: Groups
    ssc: str
    key: Key[Array, ""] | None
    resamples: int
    null: float
    level: float


VarianceFormula = Callable[[LinearFit, Vcov, Setting], Variance]
"""``formula(fit, vcov, setting)`` gives the variances of all terms (term,)."""


def key_of(key: Key[Array, ""] | None, name: str) -> Key[Array, ""]:
    """Return the key of one variance, which does not depend on the other variances.

    Raises
    ------
    InputError
        If there is no key.
    """
    if key is None:
        raise InputError(
            f"key: got None, and {name!r} draws random numbers; expected a key, such as "
            "mcsim.key(0), as the first argument of the estimator"
        )
    return jax.random.fold_in(key, zlib.crc32(name.encode()))
