"""Variances that allow for serial correlation up to some lag, with Bartlett weights.

Driscoll & Kraay (1998) let units be correlated as well and sum the influences of a period over
units first; Newey & West (1987) in a panel take each unit as a series of its own. Lags count
periods of the calendar, also where those between are not observed (as plm and sandwich do for the
periods of a panel; linearmodels and pyfixest count observations, which is the same without gaps).
Of one unit both are the usual HAC.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim._calendar import Calendar
from mcsim.errors import InputError
from mcsim.estimators._fit import Variance
from mcsim.estimators._linear_model._least_squares import LinearFit
from mcsim.estimators._variance._names import Vcov
from mcsim.estimators._variance._setting import Setting
from mcsim.estimators._variance._small_sample import default_lags, for_kernel


def driscoll_kraay(fit: LinearFit, vcov: Vcov, setting: Setting) -> Variance:
    """Driscoll-Kraay: a Bartlett kernel on the sums of each period."""
    return _smoothed(fit, fit.influence.sum(axis=1, keepdims=True), vcov, setting)


def newey_west(fit: LinearFit, vcov: Vcov, setting: Setting) -> Variance:
    """Newey-West within units: no correlation between them."""
    return _smoothed(fit, fit.influence, vcov, setting)


def bartlett(calendar: Calendar, lags: int) -> Float[np.ndarray, "period period"]:
    """Return the weights of pairs of periods: 1 - lag / (lags + 1), 0 beyond the lags."""
    distance = np.abs(np.subtract.outer(calendar.places, calendar.places))
    return np.maximum(1.0 - distance / (lags + 1.0), 0.0)


def _smoothed(
    fit: LinearFit, series: Float[Array, "term series period"], vcov: Vcov, setting: Setting
) -> Variance:
    calendar, n_periods = setting.data.calendar, series.shape[-1]
    lags = default_lags(setting.ssc, n_periods) if vcov.lags is None else vcov.lags
    if lags >= max(calendar.span, 2):
        raise InputError(
            f"vcov: {vcov.name!r} has {lags} lags, the panel {calendar.span} periods (those before "
            "the first lag of the formula not counted); expected fewer lags than periods"
        )
    factor, df = for_kernel(setting.ssc, fit.counts)
    weights = jnp.asarray(bartlett(calendar, lags))
    return Variance(factor * ((series @ weights) * series).sum(axis=(1, 2)), df)
