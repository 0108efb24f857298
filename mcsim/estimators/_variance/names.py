"""Names of variances: ``"CR2:BM"``, ``"CR1(state)"``, ``"CR1(unit + time)"``, ``"DK(3)"``.

A name says which formula, after a colon which reference distribution or weights, in brackets which
clusters or how many lags. The text itself labels the inference of an estimate.
"""

import re
from dataclasses import dataclass

from mcsim.errors import did_you_mean

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
"""Names of other libraries."""

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
    """Read a name that has no faults; ``cluster`` is for names without clusters of their own.

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
    """Return what is wrong with names of variances, for a method that has some kinds."""
    faults = [fault for name in names for fault in _faults_of_name(name, cluster, known)]
    if not names or len(set(map(str, names))) < len(names):
        faults.append(f"vcov: got {names}, expected at least one name and each once")
    return faults or _faults_of_unused(names, cluster)


def _faults_of_unused(names: tuple[str, ...], cluster: str | tuple[str, ...]) -> list[str]:
    """Say that clusters were given which no variance has: inference would ignore them."""
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
        listed = f"; known are {', '.join(known)}"  # of HC4, HC3 is no misspelling
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
