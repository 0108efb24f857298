"""Which standard errors cover when shocks are common: fixed shocks, and shocks drawn anew.

Aims        Growth of output is regressed on growth of employment in a panel of states, all of which
            boom and slump together. Which standard error covers, and does a simulation that
            repeats the realized shocks in every replication tell?
Data        48 states, 1971 to 1986 (Munnell 1990): growth of gross state product and of employment,
            in percent, learned by a Gaussian copula. From one fit come two worlds: ``fixed``
            repeats the means of the years that the data show, ``redrawn`` draws them anew in every
            replication. 48 states, or 480.
Estimand    The population coefficient of each regression over as many years: expected cross
            products over expected squares, given the shocks where they are fixed, over all shocks
            where they are not.
Methods     Regressions of output on employment: pooled, with state effects, with state and year
            effects; and of output on the mean growth of employment over states, with state effects.
            Standard errors clustered by state, by year, two-way, and by Driscoll & Kraay.
Measures    Coverage of 95 % intervals; mean model against empirical standard error.

Run it with ``mcsim run studies/which_shocks.py``; the data are in the package linearmodels. On
standard errors: Driscoll & Kraay (1998), Review of Economics and Statistics 80: 549-560; Cameron,
Gelbach & Miller (2011), Journal of Business & Economic Statistics 29: 238-249. On what is held
fixed: Abadie, Athey, Imbens & Wooldridge (2023), Quarterly Journal of Economics 138: 1-35.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import mcsim
from mcsim import plots
from mcsim.estimators import fixed_effects, ols
from mcsim.generators import GaussianCopula
from mcsim.report import as_markdown, notes, results_table, write_table

VCOV = ["CR1", "CR1(time)", "CR1(unit + time)", "DK"]

TRUTH_DRAWS = 4_096


def growth():
    """Growth of output and of employment in percent, 48 states over 16 years."""
    frame = mcsim.datasets.load("munnell").set_index(["state", "year"])[["gsp", "emp"]]
    logs = frame.transform(np.log)
    return mcsim.from_frame(100 * logs.groupby(level="state").diff().dropna())


@dataclass(frozen=True)
class Growth:
    """Panels of a generator, with the mean growth of employment over states as a column."""

    generator: Any

    truth_kind = f"the population coefficient, from {TRUTH_DRAWS:,} panels"

    @property
    def summary(self) -> str:
        """One line for the head of a report."""
        return self.generator.summary

    @property
    def caveats(self) -> tuple[str, ...]:
        """What a reader may not conclude."""
        return self.generator.caveats

    @property
    def common_shocks(self) -> str:
        """Whether the years' means are those of the data, or drawn anew."""
        return self.generator.common_shocks

    def __call__(self, key, design):
        """Draw a panel."""
        panel = self.generator.sample(key, design["n_units"])
        nation = jnp.broadcast_to(panel["emp"].mean(axis=0), panel["emp"].shape)
        return mcsim.Sample(panel.with_columns({"nation": nation}), {})

    def truth(self, key, design):
        """Population coefficients, with their Monte Carlo errors."""
        draw = jax.jit(lambda one: cross_products(self(one, design).panel))
        products = np.asarray(jax.lax.map(draw, jax.random.split(key, TRUTH_DRAWS)))
        return {name: ratio(products[:, place]) for place, name in enumerate(REGRESSIONS)}


REGRESSIONS = {
    "pooled": partial(ols, "gsp ~ emp", term="emp"),
    "state effects": partial(fixed_effects, "gsp ~ emp | unit", term="emp"),
    "state and year effects": partial(fixed_effects, "gsp ~ emp | unit + time", term="emp"),
    "national employment": partial(fixed_effects, "gsp ~ nation | unit", term="nation"),
}


def cross_products(panel):
    """Cross product and square of each regression, (regression, 2)."""
    y, x, nation = panel["gsp"], panel["emp"], panel["nation"]
    pairs = [
        (y - y.mean(), x - x.mean()),
        (of_states(y), of_states(x)),
        (of_states(y) - of_states(y).mean(axis=0), of_states(x) - of_states(x).mean(axis=0)),
        (of_states(y), of_states(nation)),
    ]
    return jnp.stack([jnp.stack([(a * b).mean(), (b * b).mean()]) for a, b in pairs])


def of_states(values):
    """Deviations from the states' means."""
    return values - values.mean(axis=1, keepdims=True)


def ratio(products):
    """A ratio of means, and its standard error by the delta method."""
    found = products[:, 0].mean() / products[:, 1].mean()
    residuals = (products[:, 0] - found * products[:, 1]) / products[:, 1].mean()
    return float(found), float(residuals.std(ddof=1) / len(residuals) ** 0.5)


def study():
    """Fixed and redrawn shocks by number of states."""
    panel, schema = growth()
    generator = GaussianCopula().fit(mcsim.key(0), panel, schema=schema)
    return mcsim.Study(
        aim="Which standard errors cover when shocks are common, and does a simulation tell?",
        dgp={
            "fixed": Growth(generator),
            "redrawn": Growth(generator.with_shocks("redraw")),
        },
        estimators={
            name: regression(estimand=name, vcov=VCOV) for name, regression in REGRESSIONS.items()
        },
        designs=mcsim.grid(n_units=[48, 480]),
        reps=4000,
    )


def report(results, folder):
    """Coverage and standard errors by regression; coverage side by side."""
    folder.mkdir(parents=True, exist_ok=True)
    table = results_table(results, measures=["coverage", "model_se", "empirical_se"])
    table = table.drop(columns="estimand")  # each regression has its own
    below = notes(results, "markdown")
    (folder / "shocks.md").write_text(f"{as_markdown(table)}\n\n{below}\n")
    write_table(side_by_side(results), folder, "coverage")
    one = results.replicates.assign(estimand="coefficient")
    figure = plots.coverage(replace(results, replicates=one[one["n_units"] == 48]))
    figure.savefig(folder / "shocks.png", dpi=100)


def side_by_side(results):
    """Coverage by regression and number of states: fixed shocks, then redrawn ones."""
    coverage = results.summary(measures=["coverage"])
    wide = coverage.pivot_table(
        index=["estimator", "n_units"], columns=["dgp", "inference"], values="coverage", sort=False
    )
    wide.columns = [f"{dgp}: {inference}" for dgp, inference in wide.columns]
    return wide.map("{:.3f}".format).reset_index()
