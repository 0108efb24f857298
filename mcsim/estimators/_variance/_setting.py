"""What the formulas of variances have in common: their type and what they need beside the fit."""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Array, Key

from mcsim.estimators._fit import Variance
from mcsim.estimators._linear_model._data import Regression
from mcsim.estimators._linear_model._least_squares import LinearFit
from mcsim.estimators._variance._clusters import Groups
from mcsim.estimators._variance._names import Vcov


class Setting(NamedTuple):
    """What a variance needs beside the fit.

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
        How often they do.
    null, level : float
        The value that their p-values are of; the level of their own limits.
    """

    data: Regression
    groups: Groups
    ssc: str
    key: Key[Array, ""] | None
    resamples: int
    null: float
    level: float


Formula = Callable[[LinearFit, Vcov, Setting], Variance]
"""``formula(fit, vcov, setting)`` gives the variances of all terms (term,)."""
