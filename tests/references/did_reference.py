"""Make did_panel.csv and did_reference.json: other libraries' differences in differences.

Needs diff-diff 3.13 and pyfixest 0.60, which the tests do not. The panel is drawn once and rounded;
``unit`` 1 to 60 over periods 1 to 6, adoption in 3, 4, 5 or never (``start`` 0); ``x`` is constant,
``z`` varies; ``kept`` is 0 in cells that the unbalanced panel lacks.

    python tests/references/did_reference.py
"""

import json
import warnings
from pathlib import Path

import diff_diff as dd
import numpy as np
import pandas as pd
import pyfixest as pf

HERE = Path(__file__).parent
UNITS, PERIODS = 60, 6
IDS = {"outcome": "y", "unit": "unit", "time": "time", "first_treat": "start"}
TIGHT = {"fixef_tol": 1e-13, "fixef_maxiter": 1_000_000}
CONTROLS = {"never": "never_treated", "notyet": "not_yet_treated"}
COVARIATES = {"": None, "x": ["x"], "x + z": ["x", "z"]}


def draw() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(UNITS, 1))
    start = np.array([PERIODS, 2, 3, 4])[rng.integers(0, 4, UNITS)]
    event = np.arange(PERIODS) - start[:, None]
    z = rng.normal(size=event.shape) + 0.3 * x
    trend = 0.2 * np.arange(PERIODS) + 0.3 * x * np.arange(PERIODS)
    effect = (event >= 0) * (1 + 0.5 * event + 0.3 * x)
    noise = rng.normal(size=(UNITS, 1)) + rng.normal(size=event.shape)
    columns = {
        "unit": np.arange(1, UNITS + 1)[:, None] + 0 * event,
        "time": np.arange(1, PERIODS + 1) + 0 * event,
        "y": (trend + 0.5 * z + effect + noise).round(3),
        "d": (event >= 0).astype(int),
        "x": (x + 0 * z).round(3),
        "z": z.round(3),
        "start": np.where(start == PERIODS, 0, start + 1)[:, None] + 0 * event,
        "kept": (rng.uniform(size=event.shape) > 0.15).astype(int),
    }
    return pd.DataFrame({name: column.ravel() for name, column in columns.items()})


def by_label(table, name: str) -> dict[str, list[float]]:
    rows = zip(table[name], table["att"], table["se"], strict=True)
    return {str(at): [float(value), float(se)] for at, value, se in rows if np.isfinite(se)}


def callaway_santanna(frame: pd.DataFrame) -> dict:
    found = {}
    for control, group in CONTROLS.items():
        for text, covariates in COVARIATES.items():
            # With covariates its "dr" divides by the number of treated; ours and that of DRDID for
            # R by the sum of the weights (Sant'Anna & Zhao 2020, equation 2.6).
            for method in ("reg", "ipw") if covariates else ("dr",):
                fit = dd.CallawaySantAnna(
                    control_group=group, estimation_method=method, pscore_trim=1e-9
                ).fit(frame, covariates=covariates, **IDS)
                values = {"att": [fit.overall_att, fit.overall_se]}
                events = fit.aggregate("event_study").to_dataframe()
                values |= by_label(events, "event_time")
                groups = fit.aggregate("group").to_dataframe()
                values |= {f"g={int(k) - 1}": v for k, v in by_label(groups, "label").items()}
                found[f"{control} | {text} | {method}"] = values
    return found


def imputation(frame: pd.DataFrame, name: str) -> dict:
    found = {}
    for text, covariates in {"": None, "z": ["z"]}.items():
        for leave_out in (False, True):
            fit = dd.ImputationDiD(leave_one_out=leave_out).fit(frame, covariates=covariates, **IDS)
            values = {"att": [fit.overall_att, fit.overall_se]}
            values |= by_label(fit.aggregate("event_study").to_dataframe(), "event_time")
            found[f"{name} | {text} | {'bjs:loo' if leave_out else 'bjs'}"] = values
    return found


def two_way(frame: pd.DataFrame, name: str) -> dict:
    found = {}
    for text in ("", "z"):
        formula = "y ~ d" + (f" + {text}" if text else "") + " | unit + time"
        for vcov in ("iid", "HC1", "CR1"):
            fit = pf.feols(
                formula, frame, vcov={"CRV1": "unit"} if vcov == "CR1" else vcov, **TIGHT
            )
            found[f"{name} | {text} | {vcov}"] = [fit.coef()["d"], fit.se()["d"]]
    return found


def event_study(frame: pd.DataFrame) -> dict:
    """Dummies by hand: ends binned at -2 and 2; all event times; cells beyond left out."""
    event = (frame.time - frame.start).where(frame.start > 0)
    inside = event.isna() | event.between(-2, 2)
    samples = {
        "binned": (frame, event.clip(-2, 2)),
        "restricted": (frame, event.where(event.between(-2, 2))),
        "dropped": (frame[inside], event[inside]),
        "all": (frame, event),
    }
    found = {}
    for ends, (sample, time) in samples.items():
        times = [int(e) for e in np.unique(time.dropna()) if e != -1]
        names = {f"e{e}".replace("-", "m"): e for e in times}
        dummies = {name: (time == e).astype(float) for name, e in names.items()}
        formula = f"y ~ {' + '.join(names)} | unit + time"
        fit = pf.feols(formula, sample.assign(**dummies), vcov={"CRV1": "unit"}, **TIGHT)
        found[ends] = {str(e): [fit.coef()[name], fit.se()[name]] for name, e in names.items()}
        post = np.array([float(e >= 0) for e in times]) / sum(e >= 0 for e in times)
        found[ends]["att"] = [post @ fit.coef().to_numpy(), np.sqrt(post @ fit._vcov @ post)]
    return found


def others(frame: pd.DataFrame) -> dict:
    """Point estimates that coincide: Sun-Abraham and CS, did2s and imputation."""
    sun_abraham = dd.SunAbraham().fit(frame, **IDS)
    events = sun_abraham.event_study_effects
    did2s = pf.did2s(
        frame, yname="y", first_stage="~ 0 | unit + time", second_stage="~ i(d, ref=0)",
        treatment="d", cluster="unit",
    )  # fmt: skip
    return {
        "sun_abraham": {str(e): v["effect"] for e, v in events.items() if e != -1},
        "did2s": float(did2s.coef().iloc[0]),
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    panel = draw()
    panel.to_csv(HERE / "did_panel.csv", index=False)
    unbalanced = panel[panel.kept == 1]
    first = unbalanced.time.where(unbalanced.d == 1).groupby(unbalanced.unit).transform("min")
    unbalanced = unbalanced.assign(start=first.fillna(0))  # adoption as far as it is observed
    treated_only = panel[panel.start > 0]
    values = {
        "versions": {"diff-diff": dd.__version__, "pyfixest": pf.__version__},
        "callaway_santanna": callaway_santanna(panel),
        "imputation": imputation(panel, "balanced")
        | imputation(unbalanced, "unbalanced")
        | imputation(treated_only, "treated"),
        "did": two_way(panel, "balanced") | two_way(unbalanced, "unbalanced"),
        "event_study": event_study(panel),
        **others(panel),
    }
    fit = dd.CallawaySantAnna(control_group="not_yet_treated").fit(treated_only, **IDS)
    values["callaway_santanna"]["treated"] = {"att": [fit.overall_att, fit.overall_se]}
    text = json.dumps(values, indent=1, default=float)
    (HERE / "did_reference.json").write_text(text + "\n")
