"""Overlap: whether generated units are as likely to be treated as the real ones of their arm."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from mcsim._fidelity._distances import marginal_wasserstein
from mcsim._fidelity._layout import Layout, Matrix


class Propensity(NamedTuple):
    """A logit of the treatment on the other columns, the outcome left out.

    Attributes
    ----------
    layout : Layout
    chosen : array of bool (encoded column,)
        The covariates among the standardized columns.
    coefficients : array (covariate,)
        Logit coefficients, in units of the index's standard deviation over the real rows.
    """

    layout: Layout
    chosen: Bool[ndarray, " encoded"]
    coefficients: Float[ndarray, " covariate"]

    def gap(self, real: Matrix, generated: ndarray) -> float:
        """Wasserstein-1 distance of the index between real and generated rows of one arm."""
        return marginal_wasserstein(self._index(real), self._index(generated))

    def _index(self, rows: Matrix) -> ndarray:
        return (self.layout.standardized(rows)[:, self.chosen] @ self.coefficients)[:, None]


def fit_propensity(rows: Matrix, layout: Layout) -> Propensity | None:
    """Fit on all real rows (slightly shrunk, so that separation does no harm); None without arms.

    The same index then serves training, held-out and generated rows, so none has an advantage.
    """
    from sklearn.linear_model import LogisticRegression

    chosen = np.array([n not in (layout.treatment, layout.outcome) for n in layout.encoded_names])
    if layout.treatment is None or not chosen.any():
        return None
    covariates = layout.standardized(rows)[:, chosen]
    center = covariates.mean(axis=0)
    model = LogisticRegression(max_iter=5_000).fit(covariates - center, layout.arm(rows))
    scale = float((covariates @ model.coef_[0]).std())
    return Propensity(layout, chosen, model.coef_[0] / (scale or 1.0))
