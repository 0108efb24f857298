"""Monte Carlo studies of econometric estimators on data like yours.

A DGP draws a sample; an estimator turns its panel into an estimate; a study crosses DGPs and
designs with estimators; measures summarize.
"""

import typing as _typing

from mcsim import datasets as datasets
from mcsim import dgps as dgps
from mcsim import errors as errors
from mcsim import estimators as estimators
from mcsim import generators as generators
from mcsim import report as report
from mcsim._core import DGP as DGP
from mcsim._core import Estimate as Estimate
from mcsim._core import Estimator as Estimator
from mcsim._core import Generator as Generator
from mcsim._core import Panel as Panel
from mcsim._core import Sample as Sample
from mcsim._core import Status as Status
from mcsim._design import Design as Design
from mcsim._design import grid as grid
from mcsim._estimate import estimate as estimate
from mcsim._fidelity import FidelityTable as FidelityTable
from mcsim._frames import from_frame as from_frame
from mcsim._frames import to_frame as to_frame
from mcsim._host import host as host
from mcsim._keys import key as key
from mcsim._keys import keys as keys
from mcsim._open import open_results as open  # noqa: F401  mcsim.open(store)
from mcsim._panel_fidelity import PanelFidelityTable as PanelFidelityTable
from mcsim._panel_fidelity import fidelity as fidelity
from mcsim._results import Results as Results
from mcsim._runner import run as run
from mcsim._schema import Column as Column
from mcsim._schema import Schema as Schema
from mcsim._schema import infer_schema as infer_schema
from mcsim._study import Study as Study
from mcsim._version import __version__ as __version__
from mcsim.generators import fit_many as fit_many
from mcsim.generators import load as load
from mcsim.generators import model_cache as model_cache
from mcsim.generators import save as save
from mcsim.measures import Comparison as Comparison
from mcsim.measures import compare as compare
from mcsim.measures import summarize as summarize

if _typing.TYPE_CHECKING:
    from mcsim import plots as plots


def __getattr__(name: str) -> _typing.Any:
    """Import `mcsim.plots` when it is first asked for: matplotlib is slow to import."""
    if name != "plots":
        raise AttributeError(f"module 'mcsim' has no attribute {name!r}")
    from importlib import import_module

    return import_module("mcsim.plots")


def __dir__() -> list[str]:
    """List `mcsim.plots` too, for those who complete names."""
    return sorted([*globals(), "plots"])
