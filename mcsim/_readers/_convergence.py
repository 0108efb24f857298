"""Whether a fit of statsmodels converged: its flags, and what some models only warn of.

Robust and quantile regressions (RLM, QuantReg) stop at their iteration limit with a warning and no
flag, and under separation the flag of a binary or count model says yes: its likelihood rises
without end, by less and less, while coefficients and standard errors run away.
"""

from typing import Any

import numpy as np

_MOVING = 1e-3  # standard errors that a coefficient may still have to go
_RUNNING = 0.05  # change of a linear predictor by a Newton step from a maximum, which has none
_EDGE = 1e-4  # distance of a mean from the end of its range below which separation is looked for

_DEFAULTS = {"RLM": (50, 1e-8), "QuantReg": (1000, 1e-6)}
"""Iterations and tolerance where the user gives no others; results do not hold them."""

_BINARY = ("Logit", "Probit", "Binomial")
_COUNTS = ("Poisson", "NegativeBinomial", "NegativeBinomialP", "GeneralizedPoisson")


def converged(result: Any) -> bool:
    """Return whether the coefficients of a result are those that its model asks for."""
    flags = getattr(result, "mle_retvals", None) or {}
    told = bool(flags.get("converged", True)) and bool(getattr(result, "converged", True))
    return told and not _stopped(result) and not _separated(result)


def _stopped(result: Any) -> bool:
    """Whether an iteration that has no flag ended before its coefficients stood still."""
    limit, tolerance = _DEFAULTS.get(type(result.model).__name__, (0, 0.0))
    history = getattr(result, "fit_history", None) or getattr(result, "history", None)
    if not limit or history is None or result.scale == 0:  # a perfect fit ends RLM at once
        return False
    criterion = history.get("deviance", history["params"])
    if len(criterion) < 2:
        return True
    last, before = (np.asarray(step, dtype=float) for step in (criterion[-1], criterion[-2]))
    if np.abs(last - before).max() <= tolerance:
        return False
    number = history.get("iteration", getattr(result, "iterations", 0))
    return number == limit or _still_to_go(history["params"], result.bse) > _MOVING


def _still_to_go(history: Any, se: Any) -> float:
    """Return how far coefficients are from where their steps lead, in standard errors.

    Steps of an iteration of this kind shrink by about the same factor each time.
    """
    points = [np.asarray(params, dtype=float) for params in history[-3:] if np.ndim(params)]
    steps = [float(np.abs(step / np.asarray(se)).max()) for step in np.diff(points, axis=0)]
    if len(steps) < 2 or steps[1] >= steps[0]:
        return np.inf
    return steps[1] ** 2 / (steps[0] - steps[1])


def _separated(result: Any) -> bool:
    """Whether regressors predict some outcomes perfectly, so that no maximum exists.

    A Newton step from a maximum is nil. Under separation it moves the linear predictors of those
    outcomes by about one, wherever an optimizer gave up.
    """
    model = result.model
    kind = type(model.family if type(model).__name__ == "GLM" else model).__name__
    penalized = "trimmed" in (getattr(result, "mle_retvals", None) or {})
    if penalized or kind not in (*_BINARY, *_COUNTS) or getattr(model, "exog", None) is None:
        return False
    mean = np.asarray(result.predict(), dtype=float)
    edge = np.minimum(mean, 1 - mean).min() if kind in _BINARY else mean.min() / mean.mean()
    return bool(edge < _EDGE and _newton_step(result) > _RUNNING)


def _newton_step(result: Any) -> float:
    """Return by how much a Newton step moves a linear predictor; infinite where there is none."""
    model, params = result.model, np.asarray(result.params, dtype=float)
    options = {"scale": 1.0} if type(model).__name__ == "GLM" else {}
    step = np.asarray(result.normalized_cov_params) @ np.asarray(model.score(params, **options))
    moved = np.abs(model.exog @ step[: model.exog.shape[1]]).max()
    return float(moved) if np.isfinite(moved) else np.inf
