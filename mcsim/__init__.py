"""Monte Carlo studies of econometric estimators on data like yours.

A DGP draws a sample; an estimator turns its panel into an estimate; a study crosses DGPs and
designs with estimators; measures summarize.
"""

import typing as _typing
from importlib import import_module as _import_module

from mcsim import errors as errors
from mcsim._core.design import Design as Design
from mcsim._core.design import grid as grid
from mcsim._core.keys import key as key
from mcsim._core.keys import keys as keys
from mcsim._core.protocols import DGP as DGP
from mcsim._core.protocols import Estimator as Estimator
from mcsim._core.protocols import Generator as Generator
from mcsim._core.records import Estimate as Estimate
from mcsim._core.records import Panel as Panel
from mcsim._core.records import Sample as Sample
from mcsim._core.records import Status as Status
from mcsim._data import read_table as read_table
from mcsim._data.frames import from_frame as from_frame
from mcsim._data.frames import to_frame as to_frame
from mcsim._data.schema import Column as Column
from mcsim._data.schema import Schema as Schema
from mcsim._data.schema import infer_schema as infer_schema
from mcsim._host.host import host as host
from mcsim._results.open import open_results as open  # noqa: F401  mcsim.open(store)
from mcsim._results.results import Results as Results
from mcsim._run.estimate import estimate as estimate
from mcsim._run.run import run as run
from mcsim._run.study import Study as Study
from mcsim._version import __version__ as __version__
from mcsim.measures import Comparison as Comparison
from mcsim.measures import compare as compare
from mcsim.measures import summarize as summarize

if _typing.TYPE_CHECKING:
    from mcsim import datasets as datasets
    from mcsim import dgps as dgps
    from mcsim import estimators as estimators
    from mcsim import generators as generators
    from mcsim import plots as plots
    from mcsim import report as report
    from mcsim._fidelity.fidelity import fidelity as fidelity
    from mcsim._fidelity.tables import FidelityTable as FidelityTable
    from mcsim._fidelity.tables import PanelFidelityTable as PanelFidelityTable
    from mcsim.generators import fit_many as fit_many
    from mcsim.generators import load as load
    from mcsim.generators import model_cache as model_cache
    from mcsim.generators import save as save

_HOMES = {
    "FidelityTable": "mcsim._fidelity.tables",
    "PanelFidelityTable": "mcsim._fidelity.tables",
    "fidelity": "mcsim._fidelity.fidelity",
    **dict.fromkeys(("fit_many", "load", "model_cache", "save"), "mcsim.generators"),
}
_PACKAGES = ("datasets", "dgps", "estimators", "generators", "plots", "report")


def __getattr__(name: str) -> _typing.Any:
    """Import a slow part at its first use: workers do without."""
    if name in _PACKAGES:
        return _import_module(f"mcsim.{name}")
    if name in _HOMES:
        return getattr(_import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mcsim' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List these names too, for those who complete names."""
    return sorted({*globals(), *_PACKAGES, *_HOMES})
