"""Estimates as records, and what may become of one: its status."""

import math
from enum import IntEnum
from typing import Any, NamedTuple

from mcsim._core.calls import with_remedies


class Status(IntEnum):
    """The outcome of one estimate. Inside jit a status is data; in frames it is its label.

    All but ``OK`` and ``NO_SE`` are failures. ``OK`` has a result: a value, or a
    p-value or an interval alone. ``NO_SE`` is an estimate whose inference is not defined: its value
    counts, in every measure that needs no standard error. ``SKIPPED`` is given by a run, to
    replications that it leaves out since all of a first block failed.

    Attributes
    ----------
    label : str
        The status as it is written in frames: ``"ok"``, ``"singular"``, ...
    """

    OK = 0
    NONCONVERGED = 1
    SINGULAR = 2
    NAN = 3
    ERROR = 4
    TIMEOUT = 5
    CRASHED = 6
    OOM = 7
    SKIPPED = 8
    INVALID_INPUT = 9
    NO_SE = 10

    def __init__(self, _: int):
        self.label: str = self.name.lower()

    @property
    def has_result(self) -> bool:
        """Whether there is a result, with a standard error or without."""
        return self in (Status.OK, Status.NO_SE)


WITH_RESULT = tuple(int(status) for status in Status if status.has_result)
"""The statuses of results, as numbers; `SUCCESSES` are their labels."""

SUCCESSES = tuple(Status(status).label for status in WITH_RESULT)


@with_remedies()
class Estimate(NamedTuple):
    """The result of an estimator: numbers, and a status as data.

    Where ``lower``, ``upper`` or ``p_value`` is NaN, mcsim uses value -+ t(df) se (normal where
    ``df`` is infinite) at the study's level and null; an estimator with limits of its own
    (percentile bootstrap, Anderson-Rubin) gives them here. A p-value or limits without a value are
    a result too. A standard error that was given and is not above zero is none: where nothing else
    can stand for it, the status becomes ``NO_SE``.

    Attributes
    ----------
    value, se : float or array ()
        Estimate and standard error, in units of the outcome.
    lower, upper : float or array ()
        Limits of the estimator's own interval.
    df : float or array ()
        Degrees of freedom of the reference distribution.
    p_value : float or array ()
        The estimator's own p-value.
    status : int or array ()
        A `Status`; anything but ``OK`` and ``NO_SE`` marks a failure.

    Examples
    --------
    >>> Estimate(1.5, 0.2).df
    inf
    """

    value: Any
    se: Any = math.nan
    lower: Any = math.nan
    upper: Any = math.nan
    df: Any = math.inf
    p_value: Any = math.nan
    status: Any = Status.OK
