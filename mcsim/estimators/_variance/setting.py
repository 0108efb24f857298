"""The setting of a variance: the arguments of its formula beside the fit, and the keys of draws.

A variance by resampling draws with a key of its own, made from the estimator's key and its name.
"""

import zlib
from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Array, Key

from mcsim.errors import InputError
from mcsim.estimators._fit import Variance
from mcsim.estimators._linear_model.data import Regression
from mcsim.estimators._linear_model.least_squares import LinearFit
from mcsim.estimators._variance.clusters import Groups
from mcsim.estimators._variance.names import Vcov

TIE = 1e-9  # relative difference below which two statistics are equal, on any machine
CELLS = 2**14  # numbers that one batch of draws holds


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
        Draws of such methods.
    null, level : float
        The value that their p-values test; the level of their own limits.
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


def key_of(key: Key[Array, ""] | None, name: str) -> Key[Array, ""]:
    """Return the key of one variance; it does not depend on the others that are asked for.

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
