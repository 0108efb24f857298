"""What mcsim exports: the names, where they come from, their documentation."""

import importlib
import inspect
import subprocess
import sys

import pytest

import mcsim

NAMES = [
    "Column", "Comparison", "DGP", "Design", "Estimate", "Estimator", "FidelityTable",
    "Generator", "Panel", "PanelFidelityTable", "Results", "Sample", "Schema", "Status", "Study",
    "compare",
    "datasets", "dgps", "errors", "estimate", "estimators", "fidelity", "fit_many",
    "from_files", "from_frame", "generators", "grid", "host", "infer_schema", "key", "keys", "load",
    "model_cache", "open", "read_replications", "read_table", "report", "run", "save", "summarize",
    "to_frame",
]  # fmt: skip

MODULES = ["datasets", "dgps", "errors", "estimators", "generators", "report"]

PARTS = {
    "dgps": [
        "Bootstrap", "DynamicPanel", "ErrorComponents", "FactorModel", "InteractiveEffects",
        "LinearIV", "PotentialOutcomes", "at_random", "by_cohort", "by_exposure", "by_path",
        "by_probability", "by_unit_factors", "heterogeneous", "in_random_periods",
        "permuted", "unit_factor_probabilities",
        "with_effect",
    ],
    "estimators": [
        "ClusterDiagnostics", "NativeEstimator", "aipw", "arellano_bond", "between",
        "callaway_santanna", "cluster_diagnostics", "did", "difference_in_means", "difp",
        "event_study", "first_difference", "fixed_effects", "half_panel_jackknife", "imputation",
        "ipw", "iv_2sls", "liml", "matching", "ols", "outcome_regression", "random_effects",
        "synthetic_control", "synthetic_did", "twfe_weights",
    ],
    "generators": [
        "Autoregressive", "BlockBootstrap", "FactorVAR", "FittedGenerator", "FittedMacroPanel",
        "FittedPanel", "Flow", "GAN", "GaussianCopula", "GaussianMixture", "Latent", "MacroPanel",
        "Posterior", "SmoothedBootstrap", "UnitBootstrap", "VAE", "WGAN", "fit_many", "latent",
        "load", "model_cache", "save",
    ],
    "measures": [
        "Comparison", "MEASURES", "compare", "detectable_effect", "reps_needed", "summarize",
    ],
    "testing": [
        "assert_coverage", "assert_se_calibrated", "assert_size", "assert_unbiased", "check_dgp",
        "check_estimator", "constant_dgp", "exact_estimator",
    ],
}  # fmt: skip


def public_names(module):
    values = {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}
    return sorted(
        name for name, value in values.items() if not inspect.ismodule(value) or name in MODULES
    )


def test_the_names_at_the_top():
    assert public_names(mcsim) == sorted(NAMES)
    assert mcsim.__version__


@pytest.mark.parametrize("part", PARTS)
def test_the_names_of_the_parts(part):
    module = importlib.import_module(f"mcsim.{part}")
    assert public_names(module) == sorted(PARTS[part])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in MODULES])
def test_public_names_are_documented(name):
    summary, *_ = (inspect.getdoc(getattr(mcsim, name)) or "").splitlines()
    assert summary.endswith(".")


def test_figures_come_with_mcsim_when_asked_for():
    code = "import mcsim; print(mcsim.plots.fidelity.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "fidelity\n"
    with pytest.raises(AttributeError, match="has no attribute 'plot'"):
        mcsim.plot  # noqa: B018


def test_importing_mcsim_does_not_import_what_is_for_figures_or_fits():
    code = "import mcsim, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    slow = {"matplotlib", "sklearn", "statsmodels", "flax", "optax", "scipy.stats"}
    assert not slow & set(done.stdout.split())
