"""Errors of predicted rates, over realizations: in percentage points, methods paired."""

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

BY = ["distribution", "design", "inference", "method"]
DRAWS = 2000  # bootstrap samples of realizations behind an interval

Errors = Float[ndarray, " realization"]


def errors(rates: pd.DataFrame, against: str = "raw panel") -> pd.DataFrame:
    """Return the errors of each method's prediction by distribution, design and test.

    Columns: ``rmse`` with the limits of its 90 % interval, ``bias`` and ``spread`` (standard
    deviation over realizations) in percentage points; ``paired``, the mean difference in squared
    errors to those of the method ``against`` on the same realizations, in its standard errors
    (negative: smaller errors); ``log_sd``, the mean of log predicted over true standard deviation
    of the estimate, and ``log_sd_paired``, the same less the one of ``against``.
    """
    rates = rates.assign(
        error=100 * (rates["rejection"] - rates["true_rejection"]),
        log_sd=np.log(rates["empirical_se"] / rates["true_empirical_se"]),
    )
    wide = rates.pivot(index=[*BY[:-1], "realization"], columns="method")
    rows = []
    for cell, part in wide.groupby(level=BY[:-1], sort=False):
        for method in dict.fromkeys(rates["method"]):
            own, other = part["error"][method], part["error"][against]
            sds = part["log_sd"][method]
            rows.append(
                dict(zip(BY, (*cell, method), strict=True))
                | _of_errors(own.to_numpy())
                | {
                    "paired": _in_standard_errors((own**2 - other**2).to_numpy()),
                    "log_sd": sds.mean(),
                    "log_sd_paired": (sds - part["log_sd"][against]).mean(),
                }
            )
    return pd.DataFrame(rows)


def averages(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean rmse over distributions, and the largest, by method, design and test."""
    groups = table.groupby(["design", "inference", "method"], sort=False)
    return groups.agg(
        rmse=("rmse", "mean"), largest=("rmse", "max"), log_sd=("log_sd", "mean"),
        log_sd_paired=("log_sd_paired", "mean"),
    ).reset_index()  # fmt: skip


def _of_errors(own: Errors) -> dict[str, float]:
    rng = np.random.default_rng(1)
    again = own[rng.integers(len(own), size=(DRAWS, len(own)))]
    lower, upper = np.quantile(np.sqrt((again**2).mean(axis=1)), [0.05, 0.95])
    return {
        "rmse": float(np.sqrt((own**2).mean())),
        "rmse_lower": float(lower),
        "rmse_upper": float(upper),
        "bias": float(own.mean()),
        "spread": float(own.std(ddof=1)) if len(own) > 1 else np.nan,
    }


def _in_standard_errors(differences: Errors) -> float:
    error = differences.std(ddof=1) / np.sqrt(len(differences)) if len(differences) > 1 else 0.0
    return float(differences.mean() / error) if error else np.nan


def as_text(table: pd.DataFrame, design: str, inference: str) -> str:
    """Return Markdown: distributions down, methods across; rmse, bias and comparison."""
    own = table[(table["design"] == design) & (table["inference"] == inference)]
    shown = own.assign(
        cell=[
            f"{row.rmse:.1f} ({row.rmse_lower:.1f}-{row.rmse_upper:.1f}), bias {row.bias:+.1f}"
            + ("" if np.isnan(row.paired) else f" [{row.paired:+.1f}]")
            for row in own.itertuples()
        ]
    )
    wide = shown.pivot(index="distribution", columns="method", values="cell")
    order = list(dict.fromkeys(own["method"]))
    return wide.loc[list(dict.fromkeys(own["distribution"])), order].to_markdown()
