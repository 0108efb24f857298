"""The estimators of the average effect on the treated, as they are called by users."""

from collections.abc import Sequence
from typing import Any, Literal

from mcsim._core.checks import Rule, at_least, faults_of_value, is_number, plain
from mcsim.estimators._cross_section.att import (
    fit_aipw,
    fit_difference_in_means,
    fit_ipw,
    fit_outcome_regression,
)
from mcsim.estimators._cross_section.matching import fit_matching
from mcsim.estimators._native import NativeEstimator, Numerics, makes_estimator
from mcsim.estimators._options import native_of_treatment

_MEANS = ("iid", "HC1", "HC2", "HC3", "aimm2024")
_MODELS = ("sandwich", "aimm2024")
_MATCHING = ("abadie-imbens", "aimm2024")

_PROBABILITY = Rule(
    lambda value: is_number(value) and 0 < value <= 1, "a probability in (0, 1], such as 0.9"
)


@makes_estimator(version=1)
def difference_in_means(formula: str, *, vcov: str | Sequence[str] = "HC2") -> NativeEstimator:
    """Estimate the effect by the mean of the treated less the mean of the controls.

    Parameters
    ----------
    formula : str
        ``"outcome ~ treatment"``; this method has no covariates.
    vcov : str or sequence of str
        ``"HC2"`` (Neyman's variance, unbiased; df of Bell & McCaffrey), ``"iid"`` (pooled, the
        conventional one of least squares), ``"HC1"``, ``"HC3"`` (these three with n - 2 df), or
        ``"aimm2024"`` (``"iid"`` with the normal distribution). Each gives an estimate of its own.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``("att", vcov)``.

    Raises
    ------
    InputError
        For a formula that cannot be parsed or has covariates, or an unknown variance.

    References
    ----------
    MacKinnon & White (1985), Journal of Econometrics 29: 305-325. Imbens & Kolesar (2016), Review
    of Economics and Statistics 98: 701-712.

    Examples
    --------
    >>> from mcsim import Panel
    >>> panel = Panel({"y": [3.0, 5.0, 1.0, 2.0], "d": [1, 1, 0, 0]})
    >>> estimate = difference_in_means("y ~ d")(None, panel)["att", "HC2"]
    >>> round(float(estimate.value), 3), round(float(estimate.se), 3)
    (2.5, 1.118)
    """
    return _configure(fit_difference_in_means, formula, vcov, _MEANS, "none")


@makes_estimator(version=1)
def outcome_regression(formula: str, *, vcov: str | Sequence[str] = "sandwich") -> NativeEstimator:
    """Estimate the effect by a regression among the controls, predicted for the treated.

    Parameters
    ----------
    formula : str
        ``"outcome ~ treatment | covariates"``.
    vcov : str or sequence of str
        ``"sandwich"``, or ``"aimm2024"``, which takes the regression as known: its standard errors
        are too small. Both use the normal distribution.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``("att", vcov)``.

    Raises
    ------
    InputError
        For a formula that cannot be parsed, or an unknown variance.

    References
    ----------
    Imbens & Wooldridge (2009), Journal of Economic Literature 47: 5-86, section 5.

    Examples
    --------
    >>> columns = {"y": [4.0, 6.0, 0.1, 0.9, 2.0, 3.0], "d": [1, 1, 0, 0, 0, 0]}
    >>> from mcsim import Panel
    >>> panel = Panel({**columns, "x": [1.0, 3.0, 0.0, 1.0, 2.0, 3.0]})
    >>> estimate = outcome_regression("y ~ d | x")(None, panel)["att", "sandwich"]
    >>> round(float(estimate.value), 3), round(float(estimate.se), 3)
    (3.01, 0.03)
    """
    return _configure(fit_outcome_regression, formula, vcov, _MODELS)


@makes_estimator(version=1)
def ipw(
    formula: str, *, vcov: str | Sequence[str] = "sandwich", trim: float | None = None
) -> NativeEstimator:
    """Estimate the effect by weighting the controls with their odds of treatment (logit).

    The weights are normalized to sum to one (Hajek).

    Parameters
    ----------
    formula : str
        ``"outcome ~ treatment | covariates"``.
    vcov : str or sequence of str
        ``"sandwich"``, or ``"aimm2024"``, which takes the propensity score as known and does not
        center the outcome: its standard errors are too large. Both use the normal distribution.
    trim : float, optional
        Leave out units whose estimated probability of treatment exceeds this. The logit is fitted
        on all units; the estimand becomes the effect on the treated who are kept, and the variances
        take who is kept as given. Athey et al. (2024) use 0.9.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``("att", vcov)``.

    Raises
    ------
    InputError
        For a formula that cannot be parsed, an unknown variance, or ``trim`` outside (0, 1].

    References
    ----------
    Hirano, Imbens & Ridder (2003), Econometrica 71: 1161-1189. Athey, Imbens, Metzger & Munro
    (2024), Journal of Econometrics 240, 105076.

    Examples
    --------
    >>> columns = {"y": [4.0, 6.0, 0.1, 0.9, 2.0, 3.0], "d": [1, 1, 0, 0, 0, 0]}
    >>> from mcsim import Panel
    >>> panel = Panel({**columns, "x": [1.0, 3.0, 0.0, 1.0, 2.0, 3.0]})
    >>> estimate = ipw("y ~ d | x")(None, panel)["att", "sandwich"]
    >>> round(float(estimate.value), 3), round(float(estimate.se), 3)
    (3.002, 0.1)
    """
    return _configure(fit_ipw, formula, vcov, _MODELS, trim=trim)


@makes_estimator(version=1)
def aipw(
    formula: str, *, vcov: str | Sequence[str] = "sandwich", trim: float | None = None
) -> NativeEstimator:
    """Estimate the effect by regression and weighting: right if one of the two models is.

    The outcome is linear, the propensity score a logit, the weights are normalized.

    Parameters
    ----------
    formula : str
        ``"outcome ~ treatment | covariates"``.
    vcov : str or sequence of str
        ``"sandwich"`` (right also where one of the two models is wrong), or ``"aimm2024"``, which
        treats both models as known. Both use the normal distribution.
    trim : float, optional
        Leave out units whose estimated probability of treatment exceeds this: see `ipw`.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``("att", vcov)``.

    Raises
    ------
    InputError
        For a formula that cannot be parsed, an unknown variance, or ``trim`` outside (0, 1].

    References
    ----------
    Robins, Rotnitzky & Zhao (1994), Journal of the American Statistical Association 89: 846-866.

    Examples
    --------
    >>> columns = {"y": [4.0, 6.0, 0.1, 0.9, 2.0, 3.0], "d": [1, 1, 0, 0, 0, 0]}
    >>> from mcsim import Panel
    >>> panel = Panel({**columns, "x": [1.0, 3.0, 0.0, 1.0, 2.0, 3.0]})
    >>> aipw("y ~ d | x", vcov=["sandwich", "aimm2024"])
    aipw('y ~ d | x', vcov=('sandwich', 'aimm2024'))
    >>> estimate = aipw("y ~ d | x")(None, panel)["att", "sandwich"]
    >>> round(float(estimate.value), 3), round(float(estimate.se), 3)
    (3.006, 0.023)
    """
    return _configure(fit_aipw, formula, vcov, _MODELS, trim=trim)


@makes_estimator(version=1)
def matching(
    formula: str, *, vcov: str | Sequence[str] = "abadie-imbens", n_neighbors: int = 1
) -> NativeEstimator:
    """Estimate the effect by nearest neighbors with replacement, corrected for their distance.

    The metric weighs covariates by their inverse variance. Controls whose squared distance is
    within 1e-5 of the last neighbor's are tied and have equal weights. The correction is a
    regression among the controls, weighted by the numbers of matches.

    Parameters
    ----------
    formula : str
        ``"outcome ~ treatment | covariates"``.
    vcov : str or sequence of str
        ``"abadie-imbens"``, whose conditional variances come from each control's nearest other
        control, or ``"aimm2024"``, the default of Matching for R, whose conditional variance is the
        same for all units. Both use the normal distribution.
    n_neighbors : int
        Controls matched to each treated unit.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``("att", vcov)``.

    Raises
    ------
    InputError
        For a formula that cannot be parsed or has no covariates, an unknown variance, or
        ``n_neighbors`` below 1.

    References
    ----------
    Abadie & Imbens (2006), Econometrica 74: 235-267; (2011), Journal of Business & Economic
    Statistics 29: 1-11. Sekhon (2011), Journal of Statistical Software 42(7).

    Examples
    --------
    >>> columns = {"y": [4.0, 6.0, 0.1, 0.9, 2.0, 3.0], "d": [1, 1, 0, 0, 0, 0]}
    >>> from mcsim import Panel
    >>> panel = Panel({**columns, "x": [1.0, 3.0, 0.0, 1.1, 2.0, 3.0]})
    >>> estimate = matching("y ~ d | x")(None, panel)["att", "abadie-imbens"]
    >>> round(float(estimate.value), 3)
    3.105
    """
    return _configure(fit_matching, formula, vcov, _MATCHING, "needed", n_neighbors=n_neighbors)


def _configure(
    fit: Numerics,
    formula: str,
    vcov: str | Sequence[str],
    known: Sequence[str],
    covariates: Literal["none", "optional", "needed"] = "optional",
    **options: Any,
) -> NativeEstimator:
    """Return the estimator of a method, whose options are a share to trim or numbers of matches."""
    faults = _faults_of_options(**options)
    options = {option: plain(value) for option, value in options.items()}
    return native_of_treatment(fit, formula, vcov, known, faults, covariates=covariates, **options)


def _faults_of_options(trim: Any = None, n_neighbors: Any = 1) -> list[str]:
    faults = faults_of_value("trim", trim, _PROBABILITY, or_none=True)
    return faults + faults_of_value("n_neighbors", n_neighbors, at_least(1))
