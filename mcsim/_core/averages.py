"""Names of average effects on the treated: estimators write them, DGPs read them.

``att`` is the mean over all treated cells. Brackets name another average:

=================== ===============================================================================
``att[2]``          cells at event time 2; 0 is the first treated period
``att[1+]``         cells from event time 1 on; ``att[-3-]`` cells up to -3
``att[0..3]``       the plain mean of ``att[0]``, ..., ``att[3]``, as far as they occur
``att[0..1+]``      the plain mean of ``att[0]`` and ``att[1+]``
``att[group]``      the mean over treated units of each cohort's average over its cells
``att[calendar]``   the plain mean over periods of the mean over their treated cells
``att[g=3]``        cells of units first treated in period 3, by position; ``att[t=3]`` of period 3
``att[group, 0..3]`` the same of the cells at these event times; ``att[simple, 0..3]`` their mean
=================== ===============================================================================
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

ATT = "att"
KINDS = ("simple", "group", "calendar")

_END = 10**9  # beyond any event time
_RUN = re.compile(r"(?P<first>-?\d+)(\.\.(?P<last>-?\d+))?(?P<open>[+-])?")
_OF = re.compile(r"(?P<axis>[gt])=(?P<position>\d+)")

Bin = tuple[int, int]


class Average(NamedTuple):
    """An average, read from its name.

    Attributes
    ----------
    kind : {"event", "simple", "group", "calendar", "g", "t"}
    bins : tuple of (first, last)
        Event times; for ``"event"`` averaged one bin after the other, else the cells that count.
        None: all.
    position : int
        Of the cohort or period.
    """

    kind: str
    bins: tuple[Bin, ...] | None = None
    position: int = 0


def at_event_times(
    times: Sequence[int], *, before: bool = False, after: bool = False, kind: str = ""
) -> str:
    """Name the average over event times.

    Parameters
    ----------
    times : sequence of int
    before, after : bool
        Whether the first also stands for all before it, and the last for all after it.
    kind : str
        Another average than the plain mean of event times, over the cells at these times.

    Examples
    --------
    >>> at_event_times([0, 1, 2]), at_event_times([2], after=True), at_event_times([0, 1, 3])
    ('att[0..2]', 'att[2+]', 'att[0..1,3]')
    >>> at_event_times([-3], before=True), at_event_times([0, 1], kind="group")
    ('att[-3-]', 'att[group, 0..1]')
    """
    runs = [f"{first}..{last}" if first < last else f"{first}" for first, last in _runs(times)]
    window = ",".join(runs) + ("-" if before else "+" if after else "")
    return named(f"{kind}, {window}" if kind else window)


def named(inside: str | int) -> str:
    """Name the average that brackets describe.

    Examples
    --------
    >>> named("group"), named(2)
    ('att[group]', 'att[2]')
    """
    return f"{ATT}[{inside}]"


def read_average(name: str) -> Average | None:
    """Read the name of an average other than ``"att"``; None where it is not one.

    Examples
    --------
    >>> read_average("att[0..1+]")
    Average(kind='event', bins=((0, 0), (1, 1000000000)), position=0)
    >>> read_average("att[g=3]")
    Average(kind='g', bins=None, position=3)
    """
    if not (name.startswith(f"{ATT}[") and name.endswith("]")):
        return None
    kind, comma, window = name[len(ATT) + 1 : -1].partition(", ")
    cohort_or_period = _OF.fullmatch(kind)
    if kind not in KINDS and not cohort_or_period:
        bins = None if comma else _bins(kind)
        return None if bins is None else Average("event", bins)
    bins = _bins(window) if comma else None
    if (comma or kind == "simple") and bins is None:
        return None
    if cohort_or_period:
        return Average(cohort_or_period["axis"], bins, int(cohort_or_period["position"]))
    return Average(kind, bins)


def _runs(times: Sequence[int]) -> Iterator[Bin]:
    """Yield first and last of each run of event times without a gap."""
    ordered = sorted(times)
    starts = [e for e in ordered if e - 1 not in ordered]
    ends = [e for e in ordered if e + 1 not in ordered]
    yield from zip(starts, ends, strict=True)


def _bins(window: str) -> tuple[Bin, ...] | None:
    """Read ``"0..1,3+"``, an event time after the other; the open end is a bin."""
    bins: list[Bin] = []
    for part in window.split(","):
        run = _RUN.fullmatch(part)
        if run is None:
            return None
        first = int(run["first"])
        last = first if run["last"] is None else int(run["last"])
        bins += [(e, e) for e in range(first, last + 1)]
        if not bins:
            return None
        if run["open"] == "+":
            bins[-1] = (bins[-1][0], _END)
        if run["open"] == "-":
            bins[-1] = (-_END, bins[-1][1])
    return tuple(bins)
