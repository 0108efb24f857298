"""What generators of a macro panel tell about a placebo test: growth of 25 OECD countries.

Aims        Which generator, fit to one macro panel, tells how often a two-way fixed effects
            regression finds effects of policies that never were?
Data        Quarterly growth of GDP, 25 countries, 1961 to 2020. Half of the countries adopt a
            placebo policy, each at a date drawn from the middle half of the quarters: on the real
            panel, and on panels of MacroPanel, of a block bootstrap of quarters, of a one-factor
            model, and of the networks of the chapter that started mcsim (a VAE and a GAN).
Estimand    The effect: 0.
Methods     Two-way fixed effects with conventional and with Driscoll-Kraay errors.
Measures    Standard deviation of the estimate, mean standard error, rejection of no effect at 5 %.

Run it with ``mcsim run studies/gdp_growth.py``; it needs the data set oecd_gdp_growth.
``state_growth.py`` is the same with data that come with a package.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import mcsim
from mcsim import Panel, plots
from mcsim import report as tables
from mcsim._fidelity._panels.statistics import panel_statistics
from mcsim.dgps import at_random, with_effect
from mcsim.estimators import fixed_effects
from mcsim.generators import GAN, VAE, BlockBootstrap, MacroPanel, latent

PANELS = 200  # generated panels that statistics are averaged over
CHAPTER = {  # affine coder of two latents whose draws are means; its losses weigh the latent law 59
    "vae_chapter": VAE(
        latent=2, hidden=(), beta=59.0, likelihood="normal", noise=False, volatility=False,
        skip=False, latent_distribution="prior", calibrate=False, folds=0, steps=2500, batch_size=8,
        learning_rate=1e-3,
    ),
    "gan_chapter": GAN(),
    "gan_lstm": GAN(arch="lstm"),
}  # fmt: skip


TRAINERS = {
    "macro_panel": MacroPanel(),
    "block_bootstrap": BlockBootstrap(),
    "vae": VAE(),
    "vae_lstm": VAE(arch="lstm", hidden=(16,)),
    **CHAPTER,
}


def data():
    """Quarterly growth, percent."""
    frame = mcsim.datasets.load("oecd_gdp_growth")
    return mcsim.from_frame(frame, unit="country", time="date")


def study():
    """Placebo policies on the real panel and on generated ones."""
    return build(*data(), TRAINERS)


def learn(panel, schema, trainers):
    """Fit every generator."""
    with warnings.catch_warnings():  # that units are few for networks is what the study shows
        warnings.simplefilter("ignore", UserWarning)
        fits = {name: t.fit(mcsim.key(1961), panel, schema=schema) for name, t in trainers.items()}
    return {**fits, "one_factor": OneFactor.fit(panel, schema)}


def build(panel, schema, trainers):
    """Cross the real panel and the generators with the two standard errors."""
    outcome, periods = schema.names[0], panel.n_periods
    policy = at_random(share=0.5, start=(periods // 4, 3 * periods // 4), staggered=True)
    law = {"outcome": outcome, "assignment": policy, "schema": schema}
    fits = learn(panel, schema, trainers)
    drawn = {name: with_effect(fit, n_units=panel.n_units, **law) for name, fit in fits.items()}
    return mcsim.Study(
        aim="Which generator tells how often a placebo policy seems to have an effect?",
        dgp={"real": with_effect(panel, **law), **drawn},
        estimators={
            "twfe": fixed_effects(
                f"{outcome} ~ d | unit + time", term="d", estimand="att", vcov=["iid", "DK"]
            )
        },
        reps=2000,
    )


def report(results, folder):
    """Statistics of the generators, and the chapter's figures."""
    describe(Path(folder), *data(), TRAINERS, unit="USA")


def describe(folder, panel, schema, trainers, unit):
    """Write the table of statistics and draw the figures."""
    folder.mkdir(parents=True, exist_ok=True)
    fits = learn(panel, schema, trainers)
    tables.write_table(statistics(panel, fits), folder, "statistics")
    draw(folder, panel, schema, fits, unit)


def draw(folder, panel, schema, fits, unit):
    """The chapter's figures: a unit reconstructed and moved, the GAN's losses, fakes beside it."""
    name, place = schema.names[0], schema.unit_labels.index(unit)
    own = panel.take(np.array([place]))
    for kind in ("vae_chapter", "vae", "vae_lstm"):
        space = latent(fits[kind])
        perturbed = space.decode(space.encode(own).mean + 0.5)
        shown = {"real": own, "reconstructed": space.reconstruct(own), "moved by .5": perturbed}
        plots.paths(shown, name, units=[0]).savefig(folder / f"{kind}_{unit}.png", dpi=90)
        plots.latent_grid(space, panel, place, name).savefig(folder / f"{kind}_grid.png", dpi=90)
    for kind in ("gan_chapter", "gan_lstm"):
        plots.losses(fits[kind]).savefig(folder / f"{kind}_losses.png", dpi=90)
    fakes = {kind: fit.sample(mcsim.key(7), panel.n_units) for kind, fit in fits.items()}
    plots.paths({"real": panel, **fakes}, name, units=[0]).savefig(folder / "paths.png", dpi=90)


def statistics(panel, fits):
    """What each generator's panels look like on average, beside the real one."""
    name = next(iter(panel))
    rows = {"real": panel_statistics(panel[name])}
    for kind, fit in fits.items():
        found, paths = drawn(fit, name, panel.n_units)
        rows[kind] = {statistic: values.mean() for statistic, values in found.items()}
        rows[kind]["frozen"] = frozen_share(np.asarray(paths))
    table = pd.DataFrame(rows).astype(float).T
    return table.map(lambda x: "" if np.isnan(x) else f"{x:.3f}").rename_axis("dgp").reset_index()


def drawn(fit, name, n_units):
    """Draw panels; return their statistics and mean paths."""

    def one(key):
        values = fit.sample(key, n_units)[name]
        return panel_statistics(values), values.mean(axis=0)

    keys = mcsim.keys(seed=2020, n=PANELS)
    return jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=10))(keys)


def frozen_share(paths):
    """Share of the variance of mean paths that is the same in every panel, net of chance."""
    within = paths.var(axis=0, ddof=1).mean()
    frozen = max(paths.mean(axis=0).var() - within / len(paths), 0.0)
    return frozen / (frozen + within)


@dataclass(frozen=True, eq=False)
class OneFactor:
    """A one-factor model: means, loadings on a normal AR(1) factor, and normal AR(1) noise."""

    schema: Any
    factor: tuple[float, float]  # persistence and innovations' standard deviation
    units: np.ndarray  # (unit, 4): mean, loading, persistence, innovations' standard deviation

    @classmethod
    def fit(cls, panel, schema):
        """Take the mean path for the factor, and regress."""
        values = np.asarray(panel[schema.names[0]])
        means = values.mean(axis=1)
        path = (values - means[:, None]).mean(axis=0)
        loadings = (values - means[:, None]) @ path / (path @ path)
        rest = values - means[:, None] - np.outer(loadings, path)
        own = np.array([autoregression(series) for series in rest])
        units = np.column_stack([means, loadings, own])
        return cls(schema, autoregression(path), units)

    @property
    def summary(self):
        """One line for the head of a report."""
        return f"one-factor model of {self.schema.names[0]}, normal AR(1) parts"

    def sample(self, key, n_units, n_periods=None, *, given=None):
        """Draw a panel of the units as they are."""
        periods = len(self.schema.period_labels) if n_periods is None else n_periods
        noise = jax.random.normal(key, (n_units + 1, periods))
        factor = ar1(noise[:1], *(jnp.asarray([x]) for x in self.factor))[0]
        mean, loading, persistence, sd = jnp.asarray(self.units[:n_units]).T[:, :, None]
        own = ar1(noise[1:], persistence[:, 0], sd[:, 0])
        return Panel({self.schema.names[0]: mean + loading * factor + own})


def autoregression(series):
    """Return the AR(1) coefficient and the standard deviation of the innovations."""
    persistence = float(series[1:] @ series[:-1] / (series @ series))
    return persistence, float(series.std() * np.sqrt(1 - persistence**2))


def ar1(noise, persistence, sd):
    """Return stationary AR(1) paths (series, period) from standard normals."""

    def step(before, innovation):
        now = persistence * before + sd * innovation
        return now, now

    first = sd * noise[:, 0] / jnp.sqrt(1 - persistence**2)
    rest = jax.lax.scan(step, first, noise[:, 1:].T)[1]
    return jnp.concatenate([first[:, None], rest.T], axis=1)
