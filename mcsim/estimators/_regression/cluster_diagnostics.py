"""Diagnostics of the clusters of a regression: sizes, leverage, effective number.

Sources: Carter, Schnepel & Steigerwald (2017, Review of Economics and Statistics 99: 698-709);
MacKinnon, Nielsen & Webb (2023, Stata Journal 23: 942-982).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim._core.machine import require_float64
from mcsim._core.markup import html_table, in_html
from mcsim._core.records import Panel, require_panel
from mcsim.errors import InputError, did_you_mean, raise_all
from mcsim.estimators._formula import (
    INTERCEPT,
    RegressionFormula,
    check_columns,
    spread,
    with_dummies,
)
from mcsim.estimators._linear_model.least_squares import LinearFit, fit_linear
from mcsim.estimators._native import NativeEstimator
from mcsim.estimators._regression.fixed_effects import read_with_effects
from mcsim.estimators._regression.regression import treated_clusters
from mcsim.estimators._variance.leverage import (
    POWERS,
    cluster_leverage,
    directions,
    lost_without,
    nested_in,
)
from mcsim.estimators._variance.names import AXES, Groups, cluster_sums, read_groups

METHODS = ("ols", "fixed_effects")

LARGEST = 8  # clusters in the table of a notebook


class ClusterDiagnostics(NamedTuple):
    """The contribution of clusters to one coefficient.

    Attributes
    ----------
    term, cluster : str
        The coefficient, and the column or axis of its clusters.
    coefficient : float
        The estimate from all clusters.
    n_clusters : int
        Clusters with an observation.
    treated : int or None
        Clusters in which a 0/1 regressor is ever 1; None for another. With one of them no variance
        by clusters is right.
    effective : float
        Their effective number G*(0) for errors that are independent within clusters.
    effective_correlated : float
        G*(1), for errors that are perfectly correlated; NaN where effects are nested in the
        clusters, which removes such errors.
    by_cluster : mapping of str to array (cluster,)
        ``cluster`` (the unit's or period's position, or the column's value), ``observations``,
        ``leverage`` (of the slopes and of effects that are not nested; sums to their number),
        ``partial_leverage`` (of the coefficient alone; sums to 1), ``coefficient_without`` (the
        estimate when the cluster is left out; NaN where there is none).
    """

    term: str
    cluster: str
    coefficient: float
    n_clusters: int
    treated: int | None
    effective: float
    effective_correlated: float
    by_cluster: Mapping[str, np.ndarray]

    def __repr__(self) -> str:
        treated = "" if self.treated is None else f", {self.treated} of them treated"
        return (
            f"ClusterDiagnostics({self.term}: {self.n_clusters:,} clusters by {self.cluster}"
            f"{treated}, effectively {self.effective:.1f})"
        )

    def _repr_html_(self) -> str:
        """Return the clusters of the largest partial leverage, for a notebook."""
        order = np.argsort(-self.by_cluster["partial_leverage"], kind="stable")[:LARGEST]
        heads = [name.replace("_", " ") for name in self.by_cluster]
        rows = [[_shown(column[i]) for column in self.by_cluster.values()] for i in order]
        caption = "Clusters of the largest partial leverage"
        return f"<p>{in_html(repr(self))}</p>\n{html_table([heads], rows, 1, caption)}"


def _shown(cell: Any) -> str:
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)


def cluster_diagnostics(
    estimator: NativeEstimator, panel: Panel, term: str | None = None
) -> ClusterDiagnostics:
    """Return the effective number of clusters of an estimate, and the clusters that dominate.

    Parameters
    ----------
    estimator : NativeEstimator
        From `ols` or `fixed_effects`, with one ``cluster``.
    panel : Panel
        The data. Observations that the estimator leaves out are left out here too.
    term : str, optional
        The coefficient; by default the estimator's first.

    Returns
    -------
    ClusterDiagnostics
        ``pandas.DataFrame(diagnostics.by_cluster)`` is its table.

    Raises
    ------
    InputError
        For another estimator, an unknown term, two-way clusters, a column that varies over a
        unit's periods, or data on which the regression cannot be estimated.

    References
    ----------
    Carter, Schnepel & Steigerwald (2017), Review of Economics and Statistics 99: 698-709.
    MacKinnon, Nielsen & Webb (2023), Stata Journal 23: 942-982.

    Examples
    --------
    >>> from mcsim.estimators import ols
    >>> panel = Panel({"y": [[1.0, 2.0], [3.0, 6.5], [2.0, 2.5]], "x": [[0, 1], [2, 9], [1, 3]]})
    >>> diagnostics = cluster_diagnostics(ols("y ~ x"), panel)
    >>> diagnostics.n_clusters, round(diagnostics.effective, 2)
    (3, 1.62)
    >>> diagnostics.by_cluster["partial_leverage"].round(2)
    array([0.19, 0.76, 0.05])
    """
    require_float64("estimate")
    require_panel(panel)
    options, formula = _checked(estimator, term)
    cluster = options["cluster"][0]
    name = options["term"][0] if term is None else term
    check_columns((*formula.columns, *{cluster}.difference(AXES)), panel)
    formula, names = with_dummies(formula, panel.nominal)
    name = spread((name,), names)[0]
    data = read_with_effects(formula, panel, options["ssc"])
    solver = options.get("solver", "cholesky")
    fit = fit_linear(data, formula.effects, formula.positions((name,)), solver=solver)
    groups = read_groups({cluster}, panel)
    if int(fit.status) or any(int(status) for status in groups.status.values()):
        raise InputError(
            f"panel: {str(formula)!r} with clusters by {cluster!r} cannot be estimated on it; the "
            "status of its estimates shows whether it is collinear, too small, or holds NaN"
        )
    sizes = _of_clusters(data.observed, cluster, groups)
    present = sizes > 0
    partial = _of_clusters(fit.loading[0] ** 2, cluster, groups)[present]
    table = {
        "cluster": _labels(panel, cluster, groups, len(sizes))[present],
        "observations": sizes[present].astype(int),
        "leverage": _leverage(fit, cluster, groups)[present],
        "partial_leverage": partial / partial.sum(),
        "coefficient_without": _coefficients_without(fit, cluster, groups)[present],
    }
    column = data.x[formula.positions((name,))[0]] if name != INTERCEPT else data.observed * np.nan
    treated = float(treated_clusters(column, data.observed, cluster, groups))
    correlated = _of_clusters(fit.loading[0], cluster, groups)[present] ** 2
    return ClusterDiagnostics(
        term=name,
        cluster=cluster,
        coefficient=float(fit.coef[0]),
        n_clusters=int(present.sum()),
        treated=None if np.isnan(treated) else int(treated),
        effective=effective_number(partial),
        effective_correlated=np.nan if nested_in(fit, cluster) else effective_number(correlated),
        by_cluster=table,
    )


def effective_number(contributions: Float[np.ndarray, " cluster"]) -> float:
    """Return G / (1 + squared coefficient of variation) of clusters' parts of a variance."""
    spread = contributions.var() / contributions.mean() ** 2
    return float(len(contributions) / (1.0 + spread))


def _checked(estimator: NativeEstimator, term: str | None) -> tuple[dict, RegressionFormula]:
    formula = getattr(estimator, "formula", None)
    name = getattr(estimator, "name", type(estimator).__name__)
    if name not in METHODS or not isinstance(formula, RegressionFormula):
        raise InputError(
            f"estimator: got {name!r}, expected one from {' or '.join(METHODS)}"
            + (_regression_of(formula) if name == "did" else "")
        )
    options, faults = dict(estimator.options), []
    if len(options["cluster"]) != 1:
        faults.append(f"estimator: got clusters {' + '.join(options['cluster'])!r}, expected one")
    if term is not None and term not in options["term"]:
        faults.append(
            f"term: {term!r} is not estimated by {estimator!r}{did_you_mean(term, options['term'])}"
        )
    raise_all(faults)
    return options, formula


def _regression_of(formula: Any) -> str:
    """Return the end of a message that names the regression of a difference in differences."""
    slopes = str(formula).replace(" | ", " + ")
    return f"; its regression is fixed_effects('{slopes} | unit + time')"


def _of_clusters(
    cells: Float[Array, "unit period"], cluster: str, groups: Groups
) -> Float[np.ndarray, " cluster"]:
    return np.asarray(cluster_sums(cells[None], (cluster,), groups)).ravel()


def _leverage(fit: LinearFit, cluster: str, groups: Groups) -> Float[np.ndarray, " cluster"]:
    squares = (directions(fit, nested_in(fit, cluster)) ** 2).sum(axis=0)
    return _of_clusters(squares, cluster, groups)


def _coefficients_without(
    fit: LinearFit, cluster: str, groups: Groups
) -> Float[np.ndarray, " cluster"]:
    clusters = cluster_leverage(fit, cluster, groups)
    scaled = clusters.scale(POWERS["CR3"]) * clusters.loading
    change = (clusters.score[..., None] * scaled).sum(axis=1)[:, 0]
    lost = lost_without(clusters)[:, 0]
    return np.asarray(jnp.where(lost, jnp.nan, fit.coef[0] - change))


def _labels(panel: Panel, cluster: str, groups: Groups, number: int) -> np.ndarray:
    """Return the label of each cluster: its position, or the column's value in it."""
    if cluster in AXES:
        return np.arange(number)
    seen = np.ones((panel.n_units, panel.n_periods)) if panel.mask is None else panel.mask
    values = np.asarray(panel[cluster])[np.arange(panel.n_units), np.asarray(seen).argmax(axis=1)]
    labels = np.full(number, np.nan)
    present = np.asarray(seen).any(axis=1)
    labels[np.asarray(groups.of_unit[cluster])[present]] = values[present]
    return labels
