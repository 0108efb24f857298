"""Fidelity of the WGAN on LaLonde: ``pytest -o addopts= tests/benchmarks/bench_fidelity.py``.

Five fits with five keys on all rows (training AUC, mass points, learned effect) and five on 4/5 of
them, scored on the other fifth. Each line shows a mean over the five, the figure aimed at, and
whether it was reached; nothing is asserted, since these are the docs' figures, not tests.
"""

import time

import numpy as np
import pytest

import mcsim
from mcsim.dgps import PotentialOutcomes
from mcsim.estimators import aipw
from mcsim.generators import (
    GAN,
    VAE,
    WGAN,
    Autoregressive,
    Flow,
    GaussianCopula,
    GaussianMixture,
    SmoothedBootstrap,
    UnitBootstrap,
    fit_many,
)

AIMS = {
    "lalonde_experimental": {
        "auc_training": (0.45, 0.55),
        "auc_cross": (0.0, 0.60),
        "nn_ratio": (0.90, np.inf),
        "duplicates": (0.0, 6.0),
        "mass_points": (0.0, 1.0),
        "learned ATT": (1494.0, 2094.0),
        "learned ATT, sd": (0.0, 150.0),
    },
    "lalonde_cps": {
        "auc_holdout": (0.0, 0.60),
        "auc_cross": (0.0, 0.62),
        "nn_ratio": (0.95, np.inf),
        "correlations": (0.0, 0.05),
        "mass_points": (0.0, 1.0),
        "learned ATT": (900.0, 1700.0),
        "learned ATT, sd": (0.0, 250.0),
    },
}


@pytest.mark.parametrize("name", AIMS)
def test_fidelity(name, capsys):
    panel, schema = mcsim.from_frame(mcsim.datasets.load(name))
    options = {"given": ["treat"], "schema": schema, "progress": False}
    whole = fit_many(WGAN(), mcsim.keys(11, 5), panel, resample=None, **options)
    folds = fit_many(WGAN(), mcsim.keys(12, 5), panel, resample="folds", **options)
    table = mcsim.fidelity(
        panel,
        {"folds": folds, **{f"all rows {i}": fit for i, fit in enumerate(whole)}},
        key=mcsim.key(13),
        schema=schema,
        outcome="re78",
    )
    effects = [learned_effect(fit) for fit in whole]
    reached = {
        **fold_means(table.measures),
        **training_means(table.measures),
        "learned ATT": float(np.mean(effects)),
        "learned ATT, sd": float(np.std(effects, ddof=1)),
    }
    with capsys.disabled():
        print(f"\n{name}, means over five fits (all measures below, by arm where it says so)")
        for measure, value in reached.items():
            low, high = AIMS[name].get(measure.split(" [")[0], (-np.inf, np.inf))
            mark = "" if low <= value <= high else "   NOT REACHED"
            aim = f"   aim {low:g} to {high:g}" if np.isfinite([low, high]).any() else ""
            print(f"  {measure:<28}{value:10.3f}{aim}{mark}")


def learned_effect(fit) -> float:
    dgp = PotentialOutcomes(fit, outcome="re78", treatment="treat", n_treated=1, n_control=1)
    return dgp.truth(mcsim.key(14), mcsim.Design())["att"][0]


def fold_means(measures) -> dict[str, float]:
    rows = measures[measures["generator"] == "folds"]
    rows = rows[rows["measure"] != "auc_training"]
    return {label(row): float(row["value"]) for _, row in rows.iterrows()}


def training_means(measures) -> dict[str, float]:
    rows = measures[measures["generator"].str.startswith("all rows")]
    rows = rows[rows["measure"].isin(["auc_training", "mass_points"])]
    means = rows.assign(label=rows.apply(label, axis=1)).groupby("label")["value"].mean()
    return {name: float(value) for name, value in means.items()}


def label(row) -> str:
    return row["measure"] + (f" [{row['arm']}]" if row["arm"] not in ("", "all", None) else "")


KINDS = {
    "Autoregressive": Autoregressive(),
    "WGAN": WGAN(),
    "VAE": VAE(),
    "Flow": Flow(),
    "GAN": GAN(),
    "GaussianCopula": GaussianCopula(),
    "GaussianMixture": GaussianMixture(),
    "SmoothedBootstrap": SmoothedBootstrap(),
    "UnitBootstrap": UnitBootstrap(),
}
MEASURES = ("auc_training", "auc_holdout", "auc_cross", "nn_ratio", "duplicates")


@pytest.mark.parametrize("name", AIMS)
def test_every_kind(name, capsys):
    """One line of Markdown for each kind of generator; five fits of each."""
    panel, schema = mcsim.from_frame(mcsim.datasets.load(name))
    options = {"given": ["treat"], "schema": schema, "progress": False}
    with capsys.disabled():
        print(f"\n{name}\n| generator | {' | '.join(MEASURES)} | learned ATT (sd) | fit, s |")
    for kind, trainer in KINDS.items():
        start = time.perf_counter()
        folds = fit_many(trainer, mcsim.keys(12, 5), panel, resample="folds", **options)
        seconds = (time.perf_counter() - start) / len(folds)
        table = mcsim.fidelity(
            panel, {kind: folds}, key=mcsim.key(13), schema=schema, outcome="re78"
        )
        rows = table.measures.query("generator == @kind and arm == 'all'")
        values = rows.set_index("measure")["value"]
        effects = [adjusted_effect(fit, panel) for fit in folds]
        figures = [f"{values[measure]:.3f}" for measure in MEASURES]
        effect = f"{np.mean(effects):,.0f} ({np.std(effects, ddof=1):,.0f})"
        with capsys.disabled():
            print(f"| {kind} | {' | '.join(figures)} | {effect} | {seconds:.1f} |")


def adjusted_effect(fit, panel, rows=20_000):
    """The ATT that AIPW finds in a large draw: not all kinds have potential outcomes."""
    treat = np.resize(np.asarray(panel["treat"])[:, 0], rows)
    covariates = " + ".join(name for name in panel if name not in ("treat", "re78"))
    drawn = fit.sample(mcsim.key(14), rows, given={"treat": treat})
    (found,) = aipw(f"re78 ~ treat | {covariates}")(mcsim.key(0), drawn).values()
    return float(found.value)
