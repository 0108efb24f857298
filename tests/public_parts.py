"""A study's parts that come from mcsim: every estimator, DGP, assignment, effect and trainer."""

import json

import jax
import numpy as np

import mcsim
import mcsim.testing
from mcsim import Panel, dgps, estimators, generators
from mcsim._core.keys import digest
from mcsim._definitions.describe import describe

ESTIMATORS = {
    "aipw": ("y ~ d | x", {}),
    "arellano_bond": ("y ~ lag(y)", {}),
    "between": ("y ~ x", {}),
    "callaway_santanna": ("y ~ d", {}),
    "did": ("y ~ d", {}),
    "difference_in_means": ("y ~ d", {}),
    "difp": ("y ~ d", {}),
    "event_study": ("y ~ d", {"leads": 2, "lags": 1}),
    "first_difference": ("y ~ x", {}),
    "fixed_effects": ("y ~ log(x) + lag(x) | unit", {}),
    "half_panel_jackknife": ("y ~ lag(y) | unit", {}),
    "imputation": ("y ~ d", {}),
    "ipw": ("y ~ d | x", {}),
    "iv_2sls": ("y ~ x | d ~ z", {}),
    "liml": ("y ~ x | d ~ z", {}),
    "matching": ("y ~ d | x", {}),
    "ols": ("y ~ x:z + x", {"vcov": "wild", "cluster": "unit"}),
    "outcome_regression": ("y ~ d | x", {}),
    "random_effects": ("y ~ x", {}),
    "synthetic_control": ("y ~ d", {}),
    "synthetic_did": ("y ~ d", {}),
}
"""A formula and options of each."""


def panel():
    rng = np.random.default_rng(1)
    adopted = np.arange(20)[:, None] % 4 + np.arange(6) >= 6
    return Panel(
        {"y": rng.normal(size=(20, 6)), "x": rng.normal(size=(20, 6)), "d": adopted.astype(float)}
    )


def parts():
    """Return the parts by name."""
    made = {name: getattr(estimators, name)(f, **o) for name, (f, o) in ESTIMATORS.items()}
    return {**made, **_dgps(), **_trainers(), "host": mcsim.host(_mean), "draw": mcsim.host(_draw)}


def _mean(frame):
    return frame["y"].mean()


def _draw(rng, design):
    return rng.normal(size=9), {}


def _dgps():
    data = panel()
    states = dgps.ErrorComponents(n_units=20, n_periods=6, beta=None)
    copula = generators.GaussianCopula().fit(jax.random.key(0), data.select(["y", "x"]))
    arms = generators.GaussianCopula().fit(
        jax.random.key(0), Panel({"y": data["y"][:, :1], "d": data["d"][:, -1:]}), given=["d"]
    )
    assignments = {
        "at_random": dgps.at_random(n_treated=5, start=3),
        "by_cohort": dgps.by_cohort({3: 0.5}),
        "by_path": dgps.by_path(column="y", start=3),
        "by_probability": dgps.by_probability(0.5, start=3),
        "in_random_periods": dgps.in_random_periods(n_treated=3, n_treated_periods=2),
    }
    of_states = {
        name: dgps.with_effect(states, outcome="y", assignment=assignment, effect=effect)
        for (name, assignment), effect in zip(
            assignments.items(),
            [0.5, dgps.by_exposure([1.0, 2.0]), dgps.heterogeneous(0.0, 1.0), _effect, 0.0],
            strict=True,
        )
    }
    options = {"outcome": "y", "assignment": assignments["at_random"]}
    return {
        **of_states,
        "permuted": dgps.with_effect(
            data, outcome="y", assignment=dgps.permuted(), untreated="average"
        ),
        "generator": dgps.with_effect(copula, **options),
        "Bootstrap": dgps.Bootstrap(data, truth={"mean": 0.0}),
        "DynamicPanel": dgps.DynamicPanel(n_units=20),
        "ErrorComponents": states,
        "FactorModel": dgps.FactorModel.fit(data, "y", rank=1),
        "InteractiveEffects": dgps.InteractiveEffects(n_units=20),
        "LinearIV": dgps.LinearIV(n_units=20),
        "PotentialOutcomes": dgps.PotentialOutcomes(
            arms, outcome="y", treatment="d", n_treated=5, n_control=5
        ),
        "constant_dgp": mcsim.testing.constant_dgp(),
        "exact_estimator": mcsim.testing.exact_estimator(),
        "a user's function": _uses_public_names,
    }


def _effect(key, exposure, panel):
    return exposure * 1.0


def _uses_public_names(key, panel):
    return estimators.ols("y ~ x")(key, panel), Panel


def _trainers():
    kinds = {name: getattr(generators, name) for name in generators.__all__}
    return {name: kind() for name, kind in kinds.items() if hasattr(kind, "fit_members")}


if __name__ == "__main__":
    hashes = {name: digest({"": describe(part)}) for name, part in parts().items()}
    print(json.dumps([mcsim.__file__, hashes]))
