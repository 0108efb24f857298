"""Rejection rates under the null: on panels of a distribution, and on those a method predicts."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import pandas as pd

import mcsim
from mcsim import Design, Generator, Panel
from mcsim.dgps import at_random, by_cohort, with_effect
from mcsim.estimators import fixed_effects
from mcsim.generators import VAE, GaussianCopula, UnitBootstrap

from .distributions import DISTRIBUTIONS, Distribution, realized

CLOSED = ("iid", "CR1", "CR2:BM", "CR3")
RESAMPLED = ("wild", "RI")
RESAMPLES = 199
RATES = ["rejection", "empirical_se"]

METHODS: dict[str, Callable[[Any, Panel], Any]] = {
    "raw panel": lambda key, panel: panel,
    "unit bootstrap": UnitBootstrap().fit,
    "copula": GaussianCopula().fit,
    "copula, volatility": GaussianCopula(volatility=True).fit,
    "VAE": VAE().fit,
}
"""From one panel to a source of untreated outcomes: the panel itself, or a fitted generator."""


def assignments(one: Distribution) -> dict[str, Any]:
    """Return the placebo assignments of the designs."""
    middle = one.n_periods // 2
    cohorts = {start: 0.25 for start in (middle // 2 + 1, middle, middle + middle // 2)}
    return {
        "half": at_random(share=0.5, start=middle),
        "few": at_random(n_treated=one.few, start=middle),
        "one": at_random(n_treated=1, start=middle),
        "staggered": by_cohort(cohorts),
    }


def true_rates(name: str, number: int, tests: tuple[str, ...], reps: int) -> pd.DataFrame:
    """Return the rates of a realization's distribution, by design and variance."""
    source = realized(name, key_of(name, number, 0))
    return rates({"truth": source}, DISTRIBUTIONS[name], tests, reps)


def predicted_rates(name: str, number: int, tests: tuple[str, ...], reps: int) -> pd.DataFrame:
    """Draw a realization's panel, and return the rates that every method predicts from it."""
    distribution = realized(name, key_of(name, number, 0))
    panel = distribution(key_of(name, number, 1), Design()).panel
    key = key_of(name, number, 2)
    sources = {method: learn(key, panel) for method, learn in METHODS.items()}
    return rates(sources, DISTRIBUTIONS[name], tests, reps)


def rates(
    sources: Mapping[str, Any], one: Distribution, tests: tuple[str, ...], reps: int
) -> pd.DataFrame:
    """Return each test's rejection rate and the sd of the estimate, by method and design."""
    dgps = {
        f"{method}; {design}": with_effect(
            source,
            outcome="y",
            assignment=assignment,
            n_units=one.n_units if isinstance(source, Generator) else None,
        )
        for method, source in sources.items()
        for design, assignment in assignments(one).items()
    }
    estimator = fixed_effects(
        "y ~ d | unit + time", term="d", estimand="att", vcov=list(tests), resamples=RESAMPLES
    )
    study = mcsim.Study(dgp=dgps, estimators={"two-way": estimator}, reps=reps)
    results = mcsim.run(study, progress=False, workers=0)
    found = mcsim.summarize(results.replicates, by=["dgp", "inference"], measures=RATES)
    names = found["dgp"].str.split("; ", expand=True)
    return found[["inference", *RATES]].assign(method=names[0], design=names[1])


def key_of(name: str, number: int, part: int) -> jax.Array:
    """Return a key: part 0 draws what a realization fixes, 1 its panel, 2 fits its generators."""
    key = jax.random.fold_in(mcsim.key(21), list(DISTRIBUTIONS).index(name))
    return jax.random.fold_in(jax.random.fold_in(key, number), part)


def computed(path: Path, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Return a table from its file, or compute and write it: a killed benchmark goes on."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        compute().to_csv(unfinished, index=False)
        unfinished.rename(path)
    return pd.read_csv(path)


def all_rates(
    folder: Path, names: list[str], realizations: int, tests: tuple[str, ...], reps: tuple[int, int]
) -> pd.DataFrame:
    """Return true and predicted rates, one row per distribution, realization, method, design, test.

    ``reps`` are the panels behind a true rate and behind a predicted one.
    """
    parts = []
    for name in names:
        for number in range(realizations):
            own = folder / name.replace(" ", "_")
            same = DISTRIBUTIONS[name].factor is None  # one truth for all realizations
            true = computed(
                own / f"truth-{0 if same else number}.csv",
                lambda n=name, k=0 if same else number: true_rates(n, k, tests, reps[0]),
            )
            predicted = computed(
                own / f"{number}.csv",
                lambda n=name, k=number: predicted_rates(n, k, tests, reps[1]),
            )
            truth = true.drop(columns="method").rename(columns={m: f"true_{m}" for m in RATES})
            both = predicted.merge(truth, on=["design", "inference"], validate="many_to_one")
            parts.append(both.assign(distribution=name, realization=number))
    return pd.concat(parts, ignore_index=True)
