"""Which standard error of two-way fixed effects covers, with 30, 10 or 6 clusters.

Aims        Which of seven standard errors may be trusted on a panel like Vella & Verbeek's, where
            wages of a man are correlated over the years and there are few men?
Data        545 men, 8 years (Vella & Verbeek 1998, the package linearmodels): 30, 10 or 6 men are
            drawn with replacement; half of them, or a sixth, are treated for good from a year on,
            which is drawn from the third to the seventh. The effect on log wages is 0.
Estimand    The effect, 0.
Methods     Two-way fixed effects with the conventional variance, HC1, clusters by man (CR1, CR2
            with Bell & McCaffrey's degrees of freedom, CR3), Driscoll & Kraay, and the restricted
            wild cluster bootstrap.
Measures    Coverage of 95 % intervals, model against empirical standard error, width.

Run it with ``mcsim run studies/which_standard_error.py``. The data: Vella & Verbeek (1998), Journal
of Applied Econometrics 13: 163-183.
"""

import mcsim
from mcsim import plots
from mcsim.dgps import Bootstrap, at_random, with_effect
from mcsim.estimators import fixed_effects
from mcsim.report import as_markdown, results_table

VCOV = ["iid", "HC1", "CR1", "CR2:BM", "CR3", "DK", "wild"]


def study():
    """Clusters by share of the treated; one fit gives all seven."""
    panel, schema = mcsim.from_frame(
        mcsim.datasets.load("wage_panel"), unit="nr", time="year", columns=["lwage"]
    )
    men = Bootstrap(panel, schema=schema)
    laws = at_random(share=0.5, start=(2, 6))
    return mcsim.Study(
        aim="Which standard error covers with few clusters?",
        dgp={"men": with_effect(men, outcome="lwage", assignment=laws)},
        estimators={
            "fixed_effects": fixed_effects(
                "lwage ~ d | unit + time", term="d", estimand="att", vcov=VCOV, resamples=399
            )
        },
        designs=mcsim.grid(n_units=[30, 10, 6], share=[0.5, 1 / 6]),
        reps=4000,
    )


def report(results, folder):
    """Coverage by standard error and number of clusters."""
    folder.mkdir(parents=True, exist_ok=True)
    table = results_table(results, measures=["coverage", "model_se", "empirical_se", "width"])
    (folder / "coverage.md").write_text(as_markdown(table) + "\n")
    plots.coverage(results).savefig(folder / "coverage.png", dpi=100)
