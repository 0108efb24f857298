"""Assignment by unit factors: units like those which adopted a law are likely to be treated.

After Arkhangelsky et al. (2021), American Economic Review 111: 4088-4118, section III.
"""

from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from mcsim._calls import with_remedies
from mcsim._core import Panel, require_panel
from mcsim.dgps._by_path import by_path
from mcsim.dgps._factor_model import faults_of_rank, standardized
from mcsim.dgps._probabilities import by_probability
from mcsim.errors import InputError, did_you_mean, raise_all

_STEPS = 50  # of Newton's method


@with_remedies()
def by_unit_factors(
    panel: Panel,
    outcome: str,
    indicator: str,
    *,
    rank: int = 4,
    strength: float = 1.0,
    max_treated: int = 10,
    start: int | tuple[int, int] = -10,
    drawn: bool = False,
) -> by_probability | by_path:
    """Make an assignment with the probabilities of `unit_factor_probabilities`.

    Parameters
    ----------
    panel, outcome, indicator, rank, strength
        As in `unit_factor_probabilities`.
    max_treated, start
        As in `by_probability`.
    drawn : bool
        Whether the source draws other units than those of the panel, as generators do: a drawn
        unit's factors are then what its path says of them, and the mean probability stays in every
        panel. False: units are those of the panel, as in `FactorModel`.

    Returns
    -------
    by_probability, or by_path if ``drawn``

    Raises
    ------
    InputError
        As in `unit_factor_probabilities`, and in `by_probability`.

    Examples
    --------
    The baseline of Arkhangelsky et al.: ``with_effect(FactorModel.fit(cps, "log_wage"),
    outcome="log_wage", assignment=by_unit_factors(cps, "log_wage", "min_wage"))``.
    """
    p = unit_factor_probabilities(panel, outcome, indicator, rank=rank, strength=strength)
    if not drawn:
        return by_probability(p, max_treated=max_treated, start=start)
    _, slopes, loadings, adopted = _fit_logit(panel, outcome, indicator, rank)
    weights = loadings @ slopes
    spread = float((standardized(panel[outcome]) @ weights).std())
    return by_path(
        column=outcome, weights=weights, strength=strength * spread, share=float(adopted.mean()),
        max_treated=max_treated, start=start,
    )  # fmt: skip


@with_remedies()
def unit_factor_probabilities(
    panel: Panel, outcome: str, indicator: str, *, rank: int = 4, strength: float = 1.0
) -> np.ndarray:
    """Estimate each unit's probability of adoption from its factors, by a logit.

    Parameters
    ----------
    panel : Panel
        A balanced panel.
    outcome : str
        The column whose left singular vectors are the factors.
    indicator : str
        A column of zeros and ones, who has adopted; the last period counts.
    rank : int
        Number of factors.
    strength : float
        How much the factors matter: 1 as estimated, 0 not at all (assignment at random, full
        overlap), more than 1 for worse overlap and more confounding. The mean probability stays.

    Returns
    -------
    array (unit,)

    Raises
    ------
    InputError
        For unknown columns, an indicator that is none, or factors that separate the adopters.

    References
    ----------
    Arkhangelsky, Athey, Hirshberg, Imbens & Wager (2021), American Economic Review 111: 4088-4118.

    Examples
    --------
    >>> import jax
    >>> y, law = jax.random.normal(jax.random.key(1), (30, 12)), np.arange(30) % 3 == 0
    >>> panel = Panel({"y": y, "law": np.repeat(law[:, None], 12, axis=1)})
    >>> p = unit_factor_probabilities(panel, "y", "law", rank=2)
    >>> p.shape, round(float(p.mean()), 6)
    ((30,), 0.333333)
    """
    require_panel(panel)
    raise_all(_faults(panel, outcome, indicator, rank, strength))
    factors, slopes, _, adopted = _fit_logit(panel, outcome, indicator, rank)
    index = strength * (factors @ slopes)
    reach = 40 + np.abs(index).max()
    intercept: Any = brentq(
        lambda a: expit(a + index).mean() - adopted.mean(), -reach, reach, xtol=1e-13
    )
    return expit(intercept + index)


def _fit_logit(panel: Panel, outcome: str, indicator: str, rank: int) -> tuple[np.ndarray, ...]:
    """Return the units' factors, their slopes, what makes paths factors, and who adopted."""
    left, sizes, right = np.linalg.svd(standardized(panel[outcome]), full_matrices=False)
    factors = left[:, :rank] * len(left) ** 0.5
    loadings = right[:rank].T / sizes[:rank] * len(left) ** 0.5
    adopted = np.asarray(panel[indicator], dtype=float)[:, -1]
    slopes = _logit(np.column_stack([np.ones(len(left)), factors]), adopted)[1:]
    return factors, slopes, loadings, adopted


def _logit(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Maximum likelihood by Newton's method."""
    coefficients = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        p = expit(np.clip(x @ coefficients, -30, 30))
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x, x.T @ (y - p))
        coefficients = coefficients + step
        if np.abs(step).max() < 1e-10:
            return coefficients
        if np.abs(coefficients).max() > 1e3:
            break
    raise InputError(
        "indicator: the factors separate those who adopted from those who did not, so that no "
        "logit has a maximum; lower rank"
    )


def _faults(panel, outcome, indicator, rank, strength) -> list[str]:
    faults = faults_of_rank(panel, outcome, rank)
    if indicator not in panel:
        faults.append(f"indicator: got {indicator!r}{did_you_mean(indicator, panel)}")
    else:
        last = np.asarray(panel[indicator])[:, -1]
        if set(np.unique(last).tolist()) != {0.0, 1.0}:
            values = np.unique(last)[:5].tolist()
            faults.append(
                f"indicator: {indicator!r} holds {values} in the last period, expected zeros and "
                "ones, both"
            )
    if not np.isfinite(strength):
        faults.append(f"strength: got {strength}, expected a finite number")
    return faults
