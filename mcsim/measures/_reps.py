"""How many replications a target Monte Carlo standard error asks for."""

from math import ceil
from typing import Any, Literal

from mcsim._core.checks import is_finite
from mcsim.errors import raise_all


def reps_needed(
    mcse: float | int,
    *,
    share: float | int | None = None,
    sd: float | int | None = None,
    measure: Literal["bias", "empirical_se"] = "bias",
) -> int:
    """Return the number of replications that reach a Monte Carlo standard error.

    Parameters
    ----------
    mcse
        The Monte Carlo standard error to reach, in the units of the measure.
    share
        For a proportion (coverage, rejection, failures): its expected value, between 0 and 1.
    sd
        For bias or the empirical SE: the expected standard deviation of the estimates.
    measure
        With `sd`: ``"bias"`` asks for (sd / mcse)^2, ``"empirical_se"`` for
        1 + sd^2 / (2 mcse^2), which holds for normal estimates.

    Raises
    ------
    InputError
        If `mcse` is not positive, or not exactly one of `share` and `sd` is given.

    References
    ----------
    Morris, White & Crowther (2019), "Using simulation studies to evaluate statistical methods",
    Statistics in Medicine 38, 2074-2102.

    Examples
    --------
    >>> reps_needed(0.005, share=0.95)
    1900
    >>> reps_needed(0.005, sd=0.2)
    1600
    """
    raise_all(_faults(mcse, share, sd, measure))
    if share is not None:
        needed = share * (1 - share) / mcse**2
    else:
        scaled = (sd or 0.0) ** 2 / mcse**2
        needed = scaled if measure == "bias" else 1 + scaled / 2
    # 0.05 / 0.005**2 and its like are whole numbers but for the last bits
    return max(1, ceil(needed * (1 - 1e-12)))


def _faults(mcse: Any, share: Any, sd: Any, measure: Any) -> list[str]:
    positive = is_finite(mcse) and mcse > 0
    faults = [] if positive else [f"mcse: got {mcse!r}, expected a positive number"]
    if (share is None) == (sd is None):
        faults.append("share, sd: expected one of the two")
    if share is not None and not (is_finite(share) and 0 <= share <= 1):
        faults.append(f"share: got {share!r}, expected a number between 0 and 1")
    if sd is not None and not (is_finite(sd) and sd >= 0):
        faults.append(f"sd: got {sd!r}, expected a number that is not negative")
    if measure not in ("bias", "empirical_se"):
        faults.append(f"measure: got {measure!r}, expected 'bias' or 'empirical_se'")
    return faults
