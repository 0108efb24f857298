"""Estimators of a training program's effect, on data like LaLonde's experiment.

Aims        Bias, RMSE, coverage and power of six estimators of the effect on the treated, on
            experimental data (the National Supported Work program: 185 treated, 260 controls).
Data        Five conditional WGANs and five autoregressive likelihoods, each fit on 4/5 of the men;
            and a bootstrap of the men.
Estimand    ATT on earnings in 1978: each fit's own population effect; for the bootstrap it is
            assumed to be the experiment's difference in means, 1,794.34 dollars.
Methods     Difference in means, outcome regression, inverse propensity weighting, AIPW,
            bias-corrected matching; OLS with HC1 errors from statsmodels.
Measures    Bias, empirical and model standard error, RMSE, coverage, rejection of no effect,
            share of failures, each with its Monte Carlo error.

Run it with ``mcsim run studies/lalonde.py``. After Athey, Imbens, Metzger & Munro (2024), Journal
of Econometrics 240: 105076, section 4.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import statsmodels.api as sm

import mcsim
from mcsim import plots
from mcsim import report as tables
from mcsim.dgps import Bootstrap, PotentialOutcomes
from mcsim.estimators import aipw, difference_in_means, ipw, matching, outcome_regression
from mcsim.generators import WGAN, Autoregressive, fit_many

COVARIATES = ["age", "educ", "black", "hisp", "marr", "nodegree", "re74", "re75"]
FORMULA = f"re78 ~ treat | {' + '.join(COVARIATES)}"
EXPERIMENT = 1794.34  # the experiment's difference in means, dollars
TRAINERS = {"wgan": WGAN(), "autoregressive": Autoregressive()}


@mcsim.host(term="x1", estimand="att")
def ols_hc1(frame):
    """OLS of earnings on treatment (x1, after the constant) and covariates, HC1 standard error.

    statsmodels gets arrays: columns of a frame, with their names, take three times as long.
    """
    regressors = sm.add_constant(frame[["treat", *COVARIATES]].to_numpy())
    return sm.OLS(frame["re78"].to_numpy(), regressors).fit(cov_type="HC1")


ESTIMATORS = {
    "difference_in_means": difference_in_means("re78 ~ treat"),
    "outcome_regression": outcome_regression(FORMULA),
    "ipw": ipw(FORMULA),
    "aipw": aipw(FORMULA),
    "matching": matching(FORMULA),
}


def data():
    """The 445 men."""
    return mcsim.from_frame(mcsim.datasets.load("lalonde_experimental"))


def learn(panel, schema, n_fits=5):
    """Fit an ensemble of each kind, each member on all men but one fold of them."""
    keys = mcsim.keys(seed=1986, n=n_fits)
    options = {"given": ["treat"], "schema": schema, "resample": "folds"}
    return {name: fit_many(trainer, keys, panel, **options) for name, trainer in TRAINERS.items()}


def study():
    """The study that ``mcsim run`` runs."""
    panel, schema = data()
    return build(panel, schema, learn(panel, schema), bootstrap_truth={"att": EXPERIMENT})


def build(panel, schema, fits, bootstrap_truth):
    """Cross the learned DGPs and the bootstrap with the six estimators."""
    treated = int(panel["treat"].sum())
    learned = {
        name: PotentialOutcomes(
            members,
            outcome="re78",
            treatment="treat",
            n_treated=treated,
            n_control=panel.n_units - treated,
        )
        for name, members in fits.items()
    }
    resampled = Bootstrap(panel, truth=bootstrap_truth, strata="treat", schema=schema)
    return mcsim.Study(
        aim="Which estimators of the effect on the treated may be trusted on data like these?",
        dgp={**learned, "bootstrap": resampled},
        estimators={**ESTIMATORS, "ols_hc1": ols_hc1},
        scale=1000,
        unit="thousand dollars",
    )


def report(results, folder):
    """Tables and figures beside the results."""
    panel, schema = data()
    describe(results, Path(folder), panel, schema, learn(panel, schema))


def describe(results, folder, panel, schema, fits, drawn=None):
    """Estimates on the real data, learned effects, fidelity, figures (of ``drawn`` the bias)."""
    folder.mkdir(parents=True, exist_ok=True)
    estimates = mcsim.estimate({**ESTIMATORS, "ols_hc1": ols_hc1}, panel, schema=schema)
    fidelity = mcsim.fidelity(
        panel,
        fits,
        key=mcsim.key(1),
        schema=schema,
        outcome="re78",
        estimators=ESTIMATORS,
        progress=True,
    )
    texts = {
        "estimates": tables.estimates_table(estimates, scale=1000),
        "learned_effects": learned_effects(results),
        "results": tables.results_table(results),
    }
    print(f"On the real data, thousand dollars:\n{tables.as_text(texts['estimates'])}\n")
    print(f"Learned effects, dollars:\n{tables.as_text(texts['learned_effects'])}\n\n{fidelity}\n")
    for name, table in texts.items():
        (folder / f"{name}.md").write_text(tables.as_markdown(table) + "\n")
    (folder / "fidelity.md").write_text(fidelity.to_markdown(details=True) + "\n")
    tables.write_html(results, folder / "page.html", store=folder.parent, fidelity=fidelity)
    draw(results, folder, panel, schema, fits, drawn)
    print(f"Tables and figures in {folder}")


def learned_effects(results):
    """Each generator's population ATT, from a large draw, with the error of that draw."""
    rows = []
    for name in TRAINERS:
        learned = results.truth[results.truth["dgp"] == name]
        effects = {f"fit {row.generator}": f"{row.value:,.0f}" for row in learned.itertuples()}
        spread = {n: f"{learned['value'].agg(n):,.0f}" for n in ("mean", "std")}
        error = f"{learned['mcse'].max():,.1f}"
        rows.append(
            {
                "generator": name,
                **effects,
                "mean": spread["mean"],
                "sd": spread["std"],
                "error": error,
            }
        )
    return pd.DataFrame(rows)


def draw(results, folder, panel, schema, fits, drawn):
    """Bias, zips of coverage, real and generated marginals."""
    treat = np.asarray(panel["treat"])[:, 0]
    given = {"treat": np.sort(np.resize(treat, 50_000))}
    plots.bias(results, estimators=drawn).savefig(folder / "bias.png", dpi=110)
    for name, members in fits.items():
        sample = members[0].sample(mcsim.key(2), 50_000, given=given)
        figure = plots.marginals(panel, sample, schema, by="treat")
        figure.savefig(folder / f"marginals_{name}.png", dpi=80)
    for dgp in dict.fromkeys(results.replicates["dgp"]):
        plots.zip_plot(results, dgp=dgp).savefig(folder / f"zip_{dgp}.png", dpi=90)
