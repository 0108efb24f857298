"""Arkhangelsky et al. (2021): synthetic difference in differences on panels like the CPS.

Aims        How large are bias and error of synthetic difference in differences, next to those of
            difference in differences and of synthetic control?
Data        Log wages of women in 50 states, 1979 to 2018: two-way effects F, interactive effects M
            (rank 4 with F) and AR(2) noise. At most N1 = 10 states are treated in the last T1 = 10
            years, with probabilities that depend on the states' factors as the adoption of minimum
            wages did. Fifteen variants: without F, M, the noise or its autocorrelation; states
            treated as those that adopted open carry or abortion laws, or at random; hours and
            unemployment as outcomes; one treated state, one treated year, or both; and 200 or 400
            states drawn from the 50, a tenth of them treated.
Estimand    The effect on the treated, 0, in standard deviations of the outcome.
Methods     Difference in differences (DID), synthetic DID (SDID), synthetic control (SC) and
            demeaned synthetic control (DIFP). SC and DIFP with the weights of the authors' rule,
            which stops early, and with the exact ones.
Measures    RMSE and bias.

Run it with ``mcsim run studies/synthetic_did.py``; coverage is in ``synthetic_did_coverage.py``.
Published: Arkhangelsky, Athey, Hirshberg, Imbens & Wager (2021), American Economic Review 111:
4088-4118, Tables 2 and 4, with the Monte Carlo errors of the authors' 1,000 replicates. Compared
are DID, SDID, SC and DIFP in the sixteen CPS designs; not matrix completion, SC and DIFP with a
ridge, and the three designs on the Penn World Table.

The authors' weights are close to the exact ones, but for SC and DIFP with 200 and 400 states: there
many weights fit equally well, the published figures are those of an early stop, and the smallest
weights that fit have a smaller error.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

import mcsim
from mcsim.dgps import FactorModel, by_probability, unit_factor_probabilities, with_effect
from mcsim.estimators import did, difp, synthetic_control, synthetic_did
from mcsim.report import as_markdown, as_text, write_comparison

METHODS = ("did", "sdid", "sc", "difp")

# Each design: figure and Monte Carlo error of the four methods, in hundred-thousandths.
RMSE = """
baseline             4874  107    2768   61    3735   94    3175   71
no.corr              4889  107    2821   62    3789   95    3233   72
no.M                 1355   35    1615   38    1820   45    1637   38
no.F                 4874  107    2769   61    2293   52    3175   71
only.noise           1355   35    1616   38    1417   35    1637   38
no.noise             4689  112     557   11    1701  120    1063   75
gun.law              4663   97    2618   61    2734   59    2961   68
abortion             4480   92    2342   53    3136   71    2694   61
random               4408   94    2442   54    2460   59    2688   60
hours               20628  472   18953  421   20294  489   19722  426
urate               35309  513   19116  421   18412  466   18740  457
T1.is.one            6954  150    5044  117    5860  149    5426  133
N1.is.one           12591  377    6266  146    7249  209    8278  330
blocksize.is.one    15275  352   11183  263   12423  303   11670  302
resample.200         2885   64    1452   34    1660   39    1808   43
resample.400         2011   44     997   22    1381   32    1467   34
"""
BIAS = """
baseline             2054  140    1015   81    1982  100     658   98
no.corr              2058  140    1029   83    1995  102     664  100
no.M                   80   43      62   51     441   56      71   52
no.F                 2054  140    1011   82     424   71     658   98
only.noise             80   43      62   51      58   45      71   52
no.noise             1974  135     446   11     386   52      65   34
gun.law              1473  140     827   79    -260   86     930   89
abortion              348  141     419   73    1638   85      94   85
random                221  139      62   77    -103   78     -22   85
hours                8536  594   11092  486   -4894  623    9890  540
urate               30378  569   10015  515    7983  525    7771  539
T1.is.one            3769  185    1948  147    1658  178    1165  168
N1.is.one            1050  397     244  198    1425  225    -249  262
blocksize.is.one     3267  472    1426  351    2443  385    1120  367
resample.200         -103   91     -36   46    -202   52     -14   57
resample.400          -79   64       3   32    -416   42      26   46
"""

ESTIMATORS = {
    "did": did("y ~ d"),
    "sdid": synthetic_did("y ~ d", vcov="none"),
    "sc": synthetic_control("y ~ d", vcov="none", solver="aahiw2021"),
    "difp": difp("y ~ d", vcov="none", solver="aahiw2021"),
    "sc_exact": synthetic_control("y ~ d", vcov="none"),
    "difp_exact": difp("y ~ d", vcov="none"),
}


def data(outcome="log_wage"):
    """One outcome of the 50 states, called y, with the laws."""
    frame = mcsim.datasets.load("cps_state_wages").rename(columns={outcome: "y"})
    laws = ["min_wage", "open_carry", "abort_ban"]
    frame = frame[["state", "year", "y", *laws]].astype(dict.fromkeys(laws, float))
    panel, _ = mcsim.from_frame(frame, unit="state", time="year")
    return panel


def designs():
    """The sixteen designs by the name that the authors gave them."""
    panel = data()
    wages = FactorModel.fit(panel, "y")
    adoption = unit_factor_probabilities(panel, "y", "min_wage")

    def design(model=wages, p=adoption, max_treated=10, start=-10, n_units=None):
        assignment = by_probability(p, max_treated=max_treated, start=start)
        return with_effect(replace(model, n_units=n_units), outcome="y", assignment=assignment)

    def law(name):
        return design(p=unit_factor_probabilities(panel, "y", name))

    def other(outcome):
        changed = data(outcome)
        p = unit_factor_probabilities(changed, "y", "min_wage")
        return design(FactorModel.fit(changed, "y"), p)

    def resampled(n):  # the authors' probabilities stay in place while the states are drawn
        return design(p=np.resize(adoption, n), max_treated=n // 10, n_units=n)

    return {
        "baseline": design(),
        "no.corr": design(wages.without("autocorrelation")),
        "no.M": design(wages.without("interactive")),
        "no.F": design(wages.without("additive")),
        "only.noise": design(wages.without("additive", "interactive")),
        "no.noise": design(wages.without("noise")),
        "gun.law": law("open_carry"),
        "abortion": law("abort_ban"),
        "random": design(p=np.full(50, 0.5)),
        "hours": other("hours"),
        "urate": other("urate"),
        "T1.is.one": design(start=-1),
        "N1.is.one": design(max_treated=1),
        "blocksize.is.one": design(max_treated=1, start=-1),
        "resample.200": resampled(200),
        "resample.400": resampled(400),
    }


def study():
    """Sixteen designs, four methods."""
    return mcsim.Study(
        aim="How large is the error of synthetic difference in differences on state panels?",
        dgp=designs(),
        estimators=ESTIMATORS,
        reps=1024,
    )


def published():
    """The authors' figures, one row each."""
    rows = []
    for measure, table in {"rmse": RMSE, "bias": BIAS}.items():
        for line in table.strip().splitlines():
            name, *numbers = line.split()
            figures = 1e-5 * np.array(numbers, dtype=float).reshape(4, 2)
            for method, (figure, error) in zip(METHODS, figures, strict=True):
                row = {"dgp": name, "estimator": method, "measure": measure}
                rows.append({**row, "published": figure, "published_mcse": error, "decimals": 5})
    return pd.DataFrame(rows)


def report(results, folder):
    """The authors' figures beside ours, and what exact weights change."""
    summary = results.summary(measures=["rmse", "bias"])
    write_comparison(mcsim.compare(summary, published()), folder)
    table = summary.pivot(index="dgp", columns="estimator", values="rmse")
    table = table.loc[list(dict.fromkeys(summary["dgp"])), list(ESTIMATORS)]
    shown = table.map("{:.4f}".format).reset_index()
    print(f"\nRMSE:\n{as_text(shown)}")
    (folder / "rmse.md").write_text(as_markdown(shown) + "\n")
