"""The README's example as a loop: ``example_by_hand.py REPS``."""

import sys

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf

rng, reps = np.random.default_rng(0), int(sys.argv[1])
for selection in (0.0, 0.5):
    found = []
    for _ in range(reps):
        ability = rng.normal(size=200)
        educ = 12 + 2 * selection * ability + 2 * rng.normal(size=200)
        log_wage = 1 + 0.08 * educ + 0.2 * ability + rng.normal(scale=0.4, size=200)
        frame = pd.DataFrame({"log_wage": log_wage, "educ": educ})
        fit = smf.ols("log_wage ~ educ", frame).fit(cov_type="HC1")
        found.append([fit.params["educ"], *fit.conf_int().loc["educ"]])
    value, lower, upper = np.array(found).T
    covered = (lower <= 0.08) & (upper >= 0.08)
    print(selection, value.mean() - 0.08, value.std(ddof=1), covered.mean())
