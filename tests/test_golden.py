"""Rows, draws and fidelity tables of small studies are those of the golden record.

What is recorded, when, and how: `tests/golden.py`.
"""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcsim
from golden import check, draw_of, replicates_of, rows_of
from mcsim import Design, Estimate, Panel, Sample, Study, fit_many, grid, keys, run
from mcsim._run.replay import replay
from mcsim.dgps import (
    Bootstrap,
    DynamicPanel,
    ErrorComponents,
    InteractiveEffects,
    LinearIV,
    PotentialOutcomes,
    at_random,
    by_cohort,
    by_exposure,
    by_path,
    by_probability,
    by_unit_factors,
    heterogeneous,
    in_random_periods,
    permuted,
    with_effect,
)
from mcsim.estimators import (
    aipw,
    arellano_bond,
    between,
    callaway_santanna,
    did,
    difference_in_means,
    difp,
    event_study,
    first_difference,
    fixed_effects,
    half_panel_jackknife,
    imputation,
    ipw,
    iv_2sls,
    liml,
    matching,
    ols,
    outcome_regression,
    random_effects,
    synthetic_control,
    synthetic_did,
)
from mcsim.generators import (
    GAN,
    VAE,
    WGAN,
    Autoregressive,
    BlockBootstrap,
    FactorVAR,
    Flow,
    GaussianCopula,
    GaussianMixture,
    MacroPanel,
    SmoothedBootstrap,
    UnitBootstrap,
    load,
    save,
)

KEY = mcsim.key(18)
QUIETLY = {"progress": False, "workers": 0}


def rows(dgp, estimators, designs=None, reps=3, **options):
    study = Study(dgp, estimators, [Design()] if designs is None else designs)
    with warnings.catch_warnings():  # of estimands without a truth, which are recorded all the same
        warnings.simplefilter("ignore", UserWarning)
        return replicates_of(run(study, reps=reps, seed=18, **QUIETLY, **options))


# Studies


def groups(key, design):
    """A cross-section: 40 units, 15 of them treated, which have a higher x."""
    x, noise = jax.random.normal(key, (2, 40))
    treated = jnp.arange(40) < 15
    x = x + 0.5 * treated
    y = x + design["effect"] * treated + noise
    return Sample(Panel({"y": y, "d": treated.astype(float), "x": x}), {"att": design["effect"]})


CROSS_SECTION = {
    "means": difference_in_means("y ~ d", vcov=["HC2", "iid", "HC1", "HC3", "aimm2024"]),
    "regression": outcome_regression("y ~ d | x", vcov=["sandwich", "aimm2024"]),
    "ipw": ipw("y ~ d | x", trim=0.9),
    "aipw": aipw("y ~ d | x", vcov=["sandwich", "aimm2024"]),
    "matching": matching("y ~ d | x", n_neighbors=2),
    "ols": ols("y ~ d + x", term="d", estimand="att", vcov=["iid", "HC0", "HC1", "HC2:BM", "HC3"]),
}

REGRESSIONS = {
    "ols": ols("y ~ x", vcov=["CR1", "CR1(unit + time)", "CR2:BM", "CR3", "DK(1)", "wild", "RI"],
               resamples=19),
    "within": fixed_effects("y ~ x | unit + time", vcov=["iid", "HC1", "CR0(group)", "CR2", "NW"]),
    "differences": first_difference("y ~ x", vcov=["CR1", "wild:webb"], resamples=19),
    "between": between("y ~ x"),
    "random": random_effects("y ~ x", components=True),
    "jackknife": half_panel_jackknife("y ~ x | unit"),
}  # fmt: skip

ADOPTION = {
    "did": did("y ~ d", vcov=["iid", "CR1"]),
    "event": event_study("y ~ d", leads=1, lags=1),
    "cs": callaway_santanna("y ~ d", aggregation="event"),
    "imputation": imputation("y ~ d", horizons=[0, 1]),
}

FEW_TREATED = {
    "sc": synthetic_control("y ~ d", resamples=3),
    "difp": difp("y ~ d", vcov="jackknife"),
    "sdid": synthetic_did("y ~ d", vcov=["placebo", "jackknife"], resamples=3),
    "sdid aahiw": synthetic_did("y ~ d", resamples=3, solver="aahiw2021"),
}


def factors(n_units=12, n_periods=8, **options):
    return InteractiveEffects(n_units=n_units, n_periods=n_periods, **options)


ASSIGNMENTS = {
    "at random": at_random(n_treated=4, start=(2, 4), staggered=True),
    "in periods": in_random_periods(n_treated=4, n_treated_periods=3),
    "cohorts": by_cohort({3: 4, 4: 3}),
    "probability": by_probability(0.3, start=4),
    "path": by_path(column="wage", start=4),
}


def learned():
    """A real panel: 24 units in 4 regions over 6 years."""
    rng = np.random.default_rng(18)
    region = np.repeat(np.arange(4.0), 6)[:, None] * np.ones(6)
    level = rng.normal(size=(24, 1))
    scale = np.exp(rng.choice([-0.5, 0.5], (24, 1)))
    wage = level + scale * rng.normal(size=(24, 6)) + np.linspace(0, 1, 6)
    hours = np.where(
        rng.uniform(size=(24, 6)) < 0.2, 40.0, 40 + 2 * level + rng.normal(size=(24, 6))
    )
    female = (rng.uniform(size=(24, 1)) < 0.4) * np.ones(6)
    return Panel({"wage": wage, "hours": hours, "female": female, "region": region})


def ensemble():
    fits = fit_many(GaussianCopula(), keys(18, 2), learned(), progress=False)
    law = at_random(n_treated=6, start=3)
    return with_effect(fits, outcome="wage", assignment=law, effect=0.5, n_units=18)


@mcsim.host
def host_dgp(rng, design):
    import pandas as pd

    x = rng.normal(size=300)
    frame = pd.DataFrame({"y": design["slope"] * x + rng.normal(size=300), "x": x})
    return frame, {"x": design["slope"]}


@mcsim.host
def host_ols(frame):
    """One of five fails: it has a status."""
    x = np.column_stack([np.ones(len(frame)), frame["x"]])
    coefficients, *_ = np.linalg.lstsq(x, frame["y"], rcond=None)
    if coefficients[1] > 1.04:
        raise ValueError("too steep")
    residuals = frame["y"] - x @ coefficients
    variance = residuals @ residuals / (len(frame) - 2) * np.linalg.inv(x.T @ x)[1, 1]
    return {"x": Estimate(coefficients[1], np.sqrt(variance), df=float(len(frame) - 2))}


STUDIES = {
    "groups": lambda: rows(groups, CROSS_SECTION, grid(effect=[0.0, 0.5])),
    "components": lambda: rows(
        ErrorComponents(n_units=12, n_periods=5, unit_share=0.3, time_share=0.2, x_unit_share=0.3,
                        group_share=0.1, n_groups=4, rho=0.2), REGRESSIONS),
    "instruments": lambda: rows(
        LinearIV(n_units=60, n_instruments=2),
        {"2sls": iv_2sls("y ~ 1 | d ~ z1 + z2", first_stage=True),
         "liml": liml("y ~ 1 | d ~ z1 + z2", fuller=1.0)}),
    "dynamic": lambda: rows(
        DynamicPanel(n_units=40, n_periods=6),
        {"ab": arellano_bond("y ~ lag(y) + x", tests=True),
         "ab1": arellano_bond("y ~ lag(y) + x", steps=1, collapse=True)}),
    "adoption": lambda: rows(
        with_effect(factors(rank=1, confounding=0.0), outcome="y", horizons=[0, 1],
                    assignment=by_cohort({4: 3, 6: 2}), effect=by_exposure([0.1, 0.2, 0.3])),
        ADOPTION, grid(effect_scale=[1.0, 2.0])),
    "few treated": lambda: rows(
        with_effect(factors(8, 6, rank=1), outcome="y", assignment=at_random(n_treated=2, start=4),
                    effect=heterogeneous(1.0, 0.5)), FEW_TREATED),
    "population": lambda: rows(
        with_effect(factors(), outcome="y", assignment=at_random(n_treated=4, start=4),
                    effect=heterogeneous(1.0, 0.5), truth="population"),
        {"did": did("y ~ d")}),
    "assignments": lambda: rows(
        {name: with_effect(learned(), outcome="wage", assignment=law, effect=0.3)
         for name, law in ASSIGNMENTS.items()},
        {"means": fixed_effects("wage ~ d | unit + time")}),
    "bootstrap": lambda: rows(
        {"whole": Bootstrap(learned()), "regions": Bootstrap(learned(), cluster="region")},
        {"within": fixed_effects("wage ~ hours | unit")}),
    "ensemble": lambda: rows(ensemble(), {"did": did("wage ~ d")}),
    "host": lambda: rows(host_dgp, {"numpy": host_ols, "ols": ols("y ~ x", vcov="iid")},
                         grid(slope=[1.0]), reps=5),
    "host on native": lambda: rows(LinearIV(n_units=20), {"host": mcsim.host(simple_slope)}),
}  # fmt: skip

COSTLY = {"few treated"}
"""A block of these takes 20 seconds, for three rows; they are recorded from a block of 32."""


def simple_slope(rng, frame):
    chosen = frame.iloc[rng.permutation(len(frame))[:10]]
    return {"d": Estimate(float(np.polyfit(chosen["d"], chosen["y"], 1)[0]))}


@pytest.mark.parametrize("name", STUDIES)
def test_rows(name, request):
    if name in COSTLY:
        request.getfixturevalue("small_blocks")
    check(f"rows_{name.replace(' ', '_')}", {name: STUDIES[name]()}, elsewhere=True)


def test_treatments_that_real_panels_had():
    """Untreated outcomes of a panel that was treated itself, and placebo laws on it."""
    panel = learned()
    treated = (np.arange(24)[:, None] % 3 == 0) & (np.arange(6) >= 3)
    panel = panel.with_columns({"d": treated.astype(float)})
    on = {"outcome": "wage", "assignment": permuted(), "effect": 0.2}
    dgps = {
        name: with_effect(panel, untreated=name, **on) for name in ("average", "event", "as is")
    }
    likely = by_unit_factors(panel, "wage", "d", rank=2, start=3)
    dgps["factors"] = with_effect(panel, outcome="wage", untreated="as is", assignment=likely)
    found = rows(dgps, {"within": fixed_effects("wage ~ d | unit + time")})
    check("rows_untreated", {"untreated": found}, elsewhere=True)


@pytest.mark.slow
def test_rows_by_the_names_of_potential_outcomes():
    """Draws of a cross-section's generator, given the treatment: not the same elsewhere."""
    trainer = WGAN(hidden=(4,), critic_hidden=(4,), steps=2, batch_size=16, critic_steps=1)
    fitted = trainer.fit(KEY, cross_section(), given=["d"], progress=False)
    dgp = PotentialOutcomes(
        fitted, outcome="y", treatment="d", n_treated=15, n_control=25, truth_draws=2000
    )
    found = rows(dgp, {"means": difference_in_means("y ~ d")})
    check("rows_potential_outcomes", {"potential outcomes": found})


def test_truth_of_a_population():
    dgp = with_effect(
        factors(), outcome="y", assignment=by_path(column="y", start=4),
        effect=heterogeneous(1.0, 0.5), truth="population",
    )  # fmt: skip
    study = Study({"population": dgp}, {"did": did("y ~ d")})
    results = run(study, reps=2, seed=18, **QUIETLY)
    direct = dgp.truth(mcsim.key(3), Design())
    found = [[name, *map(float, value)] for name, value in direct.items()]
    check("truth", {"of the results": rows_of(results.truth), "of the DGP": found}, elsewhere=True)


def test_replayed_rows(tmp_path):
    study = Study({"c": ErrorComponents(n_units=8, n_periods=4)}, {"ols": ols("y ~ x")})
    run(study, reps=3, seed=18, store=tmp_path / "store", **QUIETLY)
    results = mcsim.open(tmp_path / "store")
    cell = results.study["cells"][0]["hash"]
    sample, found = replay(study, tmp_path / "store", cell, 2)
    assert (found["value"] == found["stored"]).all()
    check("replay", {"rows": rows_of(found), "sample": rows_of(sample.head(4))}, elsewhere=True)


# Generators


def cross_section():
    rng = np.random.default_rng(18)
    treated = (np.arange(60) % 3 == 0).astype(float)
    x = rng.normal(size=60) + treated
    zero = rng.uniform(size=60) < 0.2
    return Panel({"d": treated, "x": x, "y": np.where(zero, 0.0, x + rng.normal(size=60))})


def long_panel():
    rng = np.random.default_rng(18)
    shocks, noise = rng.normal(size=40), rng.standard_t(5, size=(8, 40))
    return Panel({"growth": 2.0 + 0.6 * shocks + noise})


UNTRAINED = {
    "copula": (GaussianCopula(), learned),
    "copula of regions": (GaussianCopula(cluster="region", common_shocks="redraw"), learned),
    "mixture": (GaussianMixture(components=2), learned),
    "unit bootstrap": (UnitBootstrap(), learned),
    "block bootstrap": (BlockBootstrap(block=2.0), learned),
    "smoothed bootstrap": (SmoothedBootstrap(), learned),
    "factor VAR": (FactorVAR(factors=1, lags=1), learned),
}

SMALL = {"hidden": (4,), "steps": 3}
CRITIC = {**SMALL, "critic_hidden": (4,), "batch_size": 16, "critic_steps": 1}
TRAINED = {
    "VAE": (VAE(**SMALL, folds=2), learned),
    "VAE lstm": (VAE(**SMALL, folds=2, arch="lstm", noise=False), learned),
    "flow": (Flow(**SMALL, folds=2, couplings=2), learned),
    "GAN": (GAN(**SMALL), learned),
    "WGAN of panels": (WGAN(**CRITIC), learned),
    "WGAN of a cross-section": (WGAN(**CRITIC), cross_section),
    "autoregressive panels": (Autoregressive(**SMALL, components=2, folds=2), learned),
    "autoregressive cross-section": (Autoregressive(**SMALL, components=2), cross_section),
    "macro": (MacroPanel(steps=2, panels=4), long_panel),
}


def draws(trainer, data, folder):
    panel = data()
    given = ["d"] if "d" in panel else []
    generator = trainer.fit(KEY, panel, given=given, progress=False)
    asked = {"given": {"d": panel["d"][:20]}} if given else {}
    n_units = 20 if panel.n_units > 10 else panel.n_units
    found = draw_of(generator.sample(mcsim.key(1), n_units, **asked))
    again = load(save(generator, folder / "model.safetensors"))
    assert draw_of(again.sample(mcsim.key(1), n_units, **asked)) == found
    return found


@pytest.mark.parametrize("name", UNTRAINED)
def test_draws(name, tmp_path):
    trainer, data = UNTRAINED[name]
    copies = isinstance(trainer, (UnitBootstrap, BlockBootstrap))  # the values of the data
    found = {name: draws(trainer, data, tmp_path)}
    check(f"draws_{name.replace(' ', '_')}", found, elsewhere=copies)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_draws_of_networks(name, tmp_path):
    trainer, data = TRAINED[name]
    check(f"draws_{name.replace(' ', '_')}", {name: draws(trainer, data, tmp_path)})


@pytest.mark.slow
def test_draws_of_an_ensemble_of_networks():
    fits = fit_many(VAE(**SMALL, folds=2), keys(18, 2), learned(), progress=False)
    found = {f"member {i}": draw_of(fit.sample(KEY, 10)) for i, fit in enumerate(fits)}
    check("draws_ensemble", found)


# Fidelity


def by_generator(tables, chosen):
    """Return the rows of the reference generators, or of the others.

    They are recorded apart, since a change of references may be meant. (Of the others, the
    columns ``against``, ``difference`` and ``ratio`` of a panel's score are about references too.)
    """
    return {
        name: rows_of(frame[frame["generator"].isin(REFERENCES) == (chosen == "references")])
        for name, frame in tables.items()
    }


REFERENCES = ("bootstrap", "normal", "smoothed bootstrap", "copula", "factor VAR", "mixture")


@pytest.fixture(scope="module")
def cross_section_table():
    trainer = WGAN(hidden=(4,), critic_hidden=(4,), steps=2, batch_size=16, critic_steps=1)
    return mcsim.fidelity(
        cross_section(), {"wgan": trainer}, key=KEY, given=["d"], outcome="y", splits=2,
        estimators={"means": difference_in_means("y ~ d")}, n_generated=300, permutations=9,
    )  # fmt: skip


@pytest.fixture(scope="module")
def panel_table():
    return mcsim.fidelity(
        learned(), {"redrawn": GaussianCopula(common_shocks="redraw")}, key=KEY, splits=2,
        replications=8, draws=4, permutations=40, outcome=["wage", "hours"],
        estimators={"within": fixed_effects("wage ~ hours | unit")},
    )  # fmt: skip


FRAMES = ("inference", "rejection", "score", "measures", "estimates", "statistics")


@pytest.mark.slow
@pytest.mark.parametrize("chosen", ["generators", "references"])
@pytest.mark.parametrize("kind", ["cross_section", "panel"])
def test_fidelity(kind, chosen, request):
    table = request.getfixturevalue(f"{kind}_table")
    tables = {name: getattr(table, name) for name in FRAMES if hasattr(table, name)}
    check(f"fidelity_{kind}_{chosen}", by_generator(tables, chosen))
